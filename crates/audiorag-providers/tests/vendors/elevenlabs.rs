//! elevenlabs
