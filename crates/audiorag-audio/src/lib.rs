//! Decoding, resampling, voice activity detection and splitting for AudioRAG.
//!
//! A recording goes through here as a stream: packets are decoded, mixed to mono, resampled to
//! [`SAMPLE_RATE`](audiorag_core::model::SAMPLE_RATE), judged by a voice activity detector and cut at pauses into
//! [`AudioPart`](audiorag_core::model::AudioPart)s that tile the recording exactly. Memory is bounded by the
//! longest part, never by the length of the recording. Everything is synchronous and CPU bound: callers run it
//! on a thread of their own.
//!
//! Files are hostile until proven otherwise: they are recognised by content, held against [`Limits`], and a
//! decoder that panics becomes an [`Input`](audiorag_core::ErrorKind::Input) error of that file. With [`Isolation`]
//! decoders run in a child process, where a crash or a loop costs nothing but that file.

mod asf;
mod caf;
mod chapters;
mod container;
mod cutoff;
mod decode;
mod edit;
mod ending;
mod ffmpeg;
mod file;
mod hidden;
mod isolate;
mod limits;
mod options;
mod opus;
mod parts;
mod patience;
mod process;
mod resample;
mod riff;
mod samples;
mod settings;
mod sniff;
mod split;
mod tags;
mod vad;
mod wire;

pub use container::{probe, probe_with};
pub use file::{check_unchanged, fingerprint};
pub use isolate::{Isolation, run_isolated};
pub use limits::Limits;
pub use options::DecodeOptions;
pub use parts::{Heartbeat, PartReader};
pub use samples::SampleReader;
pub use settings::SplitSettings;

/// Version of what this crate makes of the same bytes: samples, speech spans and cuts.
///
/// It enters the keys of cached part transcripts, so it changes exactly when the output changes.
pub const AUDIO_VERSION: &str = "1";
