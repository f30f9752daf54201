//! Decoding, resampling, voice activity detection and splitting for AudioRAG.
