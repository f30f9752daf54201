//! What a recording may cost at most.

use audiorag_core::MediaTime;

/// Bounds that a recording must keep. The defaults fit real recordings and stop hostile ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Largest file in bytes; it is refused before it is read. Default 16 GiB.
    pub max_bytes: u64,
    /// Longest recording. Default 24 h.
    pub max_duration: MediaTime,
    /// Shortest recording; anything below holds no word. Default 80 ms.
    pub min_duration: MediaTime,
    /// Most channels. Default 64.
    pub max_channels: u16,
    /// Highest sample rate in Hz. Default 768,000.
    pub max_sample_rate: u32,
    /// The part of the announced length that must be decodable, from 0 to 1. Default 0.9.
    pub min_decodable: f64,
    /// Longest time a decoder in this process may work without a sample coming out. Default 60 s.
    pub max_stall: MediaTime,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 16 << 30,
            max_duration: MediaTime::from_seconds(24 * 3600),
            min_duration: MediaTime::from_millis(80),
            max_channels: 64,
            max_sample_rate: 768_000,
            min_decodable: 0.9,
            max_stall: MediaTime::from_seconds(60),
        }
    }
}
