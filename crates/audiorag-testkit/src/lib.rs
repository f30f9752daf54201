//! Contract suites, behavioural fakes, synthetic recordings and loopback servers for testing AudioRAG.
//!
//! - [`suite`] checks an implementation of a capability trait against every line of its contract;
//! - [`fake`] holds implementations that honour the contracts, count their calls and fail on request;
//! - [`synth`] and [`wav`] make recordings whose speech spans are known to the millisecond;
//! - [`http`] is a scripted HTTP/1.1 server on the loopback interface;
//! - [`page`] holds tables of the documentation against what was tested.
//!
//! Everything here panics with a message on a broken expectation: it is meant to be called from tests only.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "failing a test is what this crate is for"
)]

pub mod fake;
pub mod http;
pub mod page;
pub mod suite;
pub mod synth;
pub mod wav;
