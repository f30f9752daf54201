//! Vendors and local models behind the capability traits of AudioRAG.
