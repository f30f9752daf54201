//! Contract suites, behavioural fakes and loopback servers for testing AudioRAG.
