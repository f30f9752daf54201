//! Vendors and local models behind the capability traits of AudioRAG.
//!
//! One feature per vendor, one room per vendor, and one seam ([`http`]) for every request that leaves the
//! process. Nothing is compiled in by default; [`vendors`] says what is, and which feature would add the rest.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "local")]
pub mod local;
pub mod vendors;
#[cfg(feature = "http")]
mod wire;
