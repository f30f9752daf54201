//! What of a recording is decoded, how, and within which bounds.

use crate::{Isolation, Limits};
use std::fmt::Write as _;
use std::path::PathBuf;

/// How a recording is opened: which of its tracks and channels, within which [`Limits`], and with whose help.
///
/// The default decodes the first audio track that can be decoded, mixes all its channels, runs inside this process
/// and starts no other program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecodeOptions {
    /// The audio track, counted from 1 among the audio tracks of the file; others are not counted. `None` takes
    /// the first that can be decoded.
    pub track: Option<u32>,
    /// The channel, counted from 1. `None` mixes all of them.
    pub channel: Option<u16>,
    /// What the recording may cost at most.
    pub limits: Limits,
    /// The ffmpeg program, best as an absolute path, asked for recordings in codecs and containers that are not
    /// decoded here. `None` refuses them with [`Unsupported`](audiorag_core::ErrorKind::Unsupported).
    pub ffmpeg: Option<PathBuf>,
    /// Decodes in a child process, which a hostile file can crash, stall or fill without harm to this one.
    pub isolation: Option<Isolation>,
}

impl DecodeOptions {
    /// A stable text that is equal exactly when the samples of a file come out equal: it belongs into part keys.
    /// Empty for the defaults. Limits and isolation do not change samples; a recording that ffmpeg decoded is
    /// told by [`PartReader::fingerprint`](crate::PartReader::fingerprint), since only opening it shows who can.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        if let Some(track) = self.track {
            let _ = write!(text, " track={track}");
        }
        if let Some(channel) = self.channel {
            let _ = write!(text, " channel={channel}");
        }
        text.split_off(text.len().min(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_tells_what_changes_samples_and_nothing_else() {
        let options = |track, channel| DecodeOptions {
            track,
            channel,
            ..DecodeOptions::default()
        };
        assert_eq!(options(None, None).fingerprint(), "");
        assert_eq!(options(Some(2), None).fingerprint(), "track=2");
        assert_eq!(options(None, Some(1)).fingerprint(), "channel=1");
        assert_eq!(options(Some(2), Some(1)).fingerprint(), "track=2 channel=1");
        let helped = DecodeOptions {
            ffmpeg: Some("ffmpeg".into()),
            limits: Limits {
                max_bytes: 1,
                ..Limits::default()
            },
            ..DecodeOptions::default()
        };
        assert_eq!(helped.fingerprint(), "");
    }
}
