//! The formats of the matrix: what ffmpeg is asked to write, how exactly it must come back, and what is left of it when
//! the file is cut.

use std::f64::consts::TAU;

const TO_48: &[u32] = &[8000, 11_025, 16_000, 22_050, 44_100, 48_000];
const UP_TO_192: &[u32] = &[
    8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000,
];
const MPEG: &[u32] = &[16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
const ALL_CHANNELS: &[u16] = &[1, 2, 6, 8];
const STEREO: &[u16] = &[1, 2];

/// What a container cannot tell of a delay or a length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slack {
    /// Where its times are rounded.
    pub(crate) millis: f64,
    /// The delay of an encoder, or what fills its last frame.
    pub(crate) samples: f64,
}

impl Slack {
    /// In milliseconds, with the sample that resampling may round away.
    pub(crate) fn at(self, rate: u32) -> f64 {
        0.07 + self.millis + self.samples * 1000.0 / f64::from(rate)
    }
}

/// What becomes of a file that is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// The header says how long it is: refused below nine tenths, read with a warning above.
    Counted,
    /// The index is at the end: always refused.
    Refused,
    /// Nothing says how long it is: read as far as it goes, with a warning.
    Open,
}

/// A row of the table in docs/formats.md.
pub(crate) struct Row {
    /// The ending of the file that ffmpeg is asked for.
    pub(crate) ending: &'static str,
    /// What it is called there.
    pub(crate) format: &'static str,
    /// Container and codec as they are found.
    pub(crate) found: (&'static str, &'static str),
    pub(crate) arguments: &'static [&'static str],
    pub(crate) rates: &'static [u32],
    pub(crate) channels: &'static [u16],
    /// The largest difference from the signal, relative to it, at the best place.
    pub(crate) most: f64,
    /// By how much the sound may be late: an encoder's delay that the container cannot tell.
    pub(crate) late: Slack,
    /// By how much it may be longer: what fills the last frame.
    pub(crate) longer: Slack,
    pub(crate) cut: Cut,
}

pub(crate) const ROWS: &[Row] = &[
    row(
        "wav",
        "WAV, 16 bit",
        ("wav", "pcm_s16le"),
        &["-c:a", "pcm_s16le"],
        UP_TO_192,
        ALL_CHANNELS,
    ),
    row(
        "wav",
        "WAV, 24 bit",
        ("wav", "pcm_s24le"),
        &["-c:a", "pcm_s24le"],
        UP_TO_192,
        ALL_CHANNELS,
    ),
    row(
        "wav",
        "WAV, 32-bit float",
        ("wav", "pcm_f32le"),
        &["-c:a", "pcm_f32le"],
        UP_TO_192,
        ALL_CHANNELS,
    ),
    row(
        "wav",
        "WAV, u-law",
        ("wav", "pcm_mulaw"),
        &["-c:a", "pcm_mulaw"],
        TO_48,
        STEREO,
    )
    .within(0.05),
    row(
        "wav",
        "WAV, A-law",
        ("wav", "pcm_alaw"),
        &["-c:a", "pcm_alaw"],
        TO_48,
        STEREO,
    )
    .within(0.05),
    row(
        "wav",
        "WAV, IMA ADPCM",
        ("wav", "adpcm_ima_wav"),
        &["-c:a", "adpcm_ima_wav"],
        TO_48,
        STEREO,
    )
    .within(0.2)
    .padded(0.0, 2041.0),
    row(
        "wav",
        "WAV, Microsoft ADPCM",
        ("wav", "adpcm_ms"),
        &["-c:a", "adpcm_ms"],
        TO_48,
        STEREO,
    )
    .within(0.2)
    .padded(0.0, 2041.0),
    row(
        "aiff",
        "AIFF, 16 bit",
        ("aiff", "pcm_s16be"),
        &["-c:a", "pcm_s16be"],
        UP_TO_192,
        ALL_CHANNELS,
    ),
    row(
        "caf",
        "CAF, 16 bit",
        ("caf", "pcm_s16be"),
        &["-c:a", "pcm_s16be"],
        UP_TO_192,
        ALL_CHANNELS,
    ),
    row(
        "caf",
        "CAF, u-law",
        ("caf", "pcm_mulaw"),
        &["-c:a", "pcm_mulaw"],
        TO_48,
        STEREO,
    )
    .within(0.05),
    row(
        "caf",
        "ALAC in CAF",
        ("caf", "alac"),
        &["-c:a", "alac"],
        &[44_100, 48_000],
        STEREO,
    )
    .cut(Cut::Refused),
    row(
        "caf",
        "Opus in CAF",
        ("caf", "opus"),
        &["-c:a", "libopus", "-b:a", "256k"],
        &[48_000],
        STEREO,
    )
    .within(0.25)
    .padded(312.0, 960.0)
    .cut(Cut::Refused),
    row(
        "flac",
        "FLAC, 16 bit",
        ("flac", "flac"),
        &["-c:a", "flac"],
        UP_TO_192,
        ALL_CHANNELS,
    ),
    row(
        "flac",
        "FLAC, 24 bit",
        ("flac", "flac"),
        &["-c:a", "flac", "-sample_fmt", "s32"],
        UP_TO_192,
        ALL_CHANNELS,
    ),
    row(
        "m4a",
        "ALAC in MP4",
        ("mp4", "alac"),
        &["-c:a", "alac"],
        UP_TO_192,
        &[1, 2, 6],
    )
    .cut(Cut::Refused),
    row(
        "mp3",
        "MP3, constant rate",
        ("mp3", "mp3"),
        &["-c:a", "libmp3lame", "-b:a", "128k"],
        MPEG,
        STEREO,
    )
    .within(0.1),
    row(
        "mp3",
        "MP3, variable rate",
        ("mp3", "mp3"),
        &["-c:a", "libmp3lame", "-q:a", "4"],
        MPEG,
        STEREO,
    )
    .within(0.1),
    row(
        "mp3",
        "MP3, MPEG-2.5",
        ("mp3", "mp3"),
        &["-c:a", "libmp3lame", "-b:a", "48k"],
        &[8000, 11_025, 12_000],
        &[1],
    )
    .within(0.1),
    row(
        "mp2",
        "MP2",
        ("mp2", "mp2"),
        &["-c:a", "mp2", "-b:a", "128k"],
        MPEG,
        STEREO,
    )
    .within(0.16)
    .padded(560.0, 1280.0)
    .cut(Cut::Open),
    row(
        "m4a",
        "AAC-LC in MP4",
        ("mp4", "aac"),
        &["-c:a", "aac", "-b:a", "128k"],
        TO_48,
        STEREO,
    )
    .within(0.15)
    .rounded(0.2, 0.2)
    .cut(Cut::Refused),
    row(
        "aac",
        "AAC-LC in ADTS",
        ("aac", "aac"),
        &["-c:a", "aac", "-b:a", "128k"],
        TO_48,
        STEREO,
    )
    .within(0.15)
    .padded(1024.0, 2048.0)
    .cut(Cut::Open),
    row(
        "ogg",
        "Vorbis in Ogg",
        ("ogg", "vorbis"),
        &["-c:a", "libvorbis", "-q:a", "5"],
        TO_48,
        &[1, 2, 6],
    )
    .within(0.15)
    .cut(Cut::Open),
    row(
        "webm",
        "Vorbis in WebM",
        ("mkv", "vorbis"),
        &["-c:a", "libvorbis", "-q:a", "5"],
        TO_48,
        STEREO,
    )
    .within(0.15)
    .rounded(1.0, 1.0)
    .padded(0.0, 1024.0),
    row(
        "opus",
        "Opus in Ogg",
        ("ogg", "opus"),
        &["-c:a", "libopus", "-b:a", "256k"],
        &[8000, 16_000, 24_000, 48_000],
        ALL_CHANNELS,
    )
    .within(0.25)
    .cut(Cut::Open),
    row(
        "webm",
        "Opus in WebM",
        ("mkv", "opus"),
        &["-c:a", "libopus", "-b:a", "256k"],
        &[48_000],
        ALL_CHANNELS,
    )
    .within(0.25)
    .rounded(1.0, 25.0),
    row(
        "mp4",
        "Opus in MP4",
        ("mp4", "opus"),
        &["-c:a", "libopus", "-b:a", "256k", "-strict", "-2"],
        &[48_000],
        STEREO,
    )
    .within(0.2)
    .rounded(0.2, 25.0)
    .cut(Cut::Refused),
    row(
        "mkv",
        "FLAC in Matroska",
        ("mkv", "flac"),
        &["-c:a", "flac"],
        UP_TO_192,
        STEREO,
    )
    .rounded(1.0, 1.0),
    row(
        "mkv",
        "AAC-LC in Matroska",
        ("mkv", "aac"),
        &["-c:a", "aac", "-b:a", "128k"],
        &[44_100, 48_000],
        STEREO,
    )
    .within(0.15)
    .rounded(1.0, 1.0)
    .padded(1024.0, 3300.0),
    row(
        "mkv",
        "MP3 in Matroska",
        ("mkv", "mp3"),
        &["-c:a", "libmp3lame", "-b:a", "128k"],
        &[44_100, 48_000],
        STEREO,
    )
    .within(0.12)
    .rounded(1.0, 1.0)
    .padded(2600.0, 3500.0),
];

const NONE: Slack = Slack {
    millis: 0.0,
    samples: 0.0,
};

const fn row(
    ending: &'static str,
    format: &'static str,
    found: (&'static str, &'static str),
    arguments: &'static [&'static str],
    rates: &'static [u32],
    channels: &'static [u16],
) -> Row {
    Row {
        ending,
        format,
        found,
        arguments,
        rates,
        channels,
        most: 0.002,
        late: NONE,
        longer: NONE,
        cut: Cut::Counted,
    }
}

impl Row {
    const fn within(self, most: f64) -> Self {
        Self { most, ..self }
    }

    /// In milliseconds.
    const fn rounded(self, late: f64, longer: f64) -> Self {
        Self {
            late: Slack {
                millis: late,
                ..self.late
            },
            longer: Slack {
                millis: longer,
                ..self.longer
            },
            ..self
        }
    }

    /// In samples of the recording.
    const fn padded(self, late: f64, longer: f64) -> Self {
        Self {
            late: Slack {
                samples: late,
                ..self.late
            },
            longer: Slack {
                samples: longer,
                ..self.longer
            },
            ..self
        }
    }

    const fn cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    /// Every rate in mono, more channels at the usual rates: rates and channels do not meet in any decoder.
    pub(crate) fn cells(&self) -> Vec<(u32, u16)> {
        let mut cells = Vec::new();
        for rate in self.rates {
            for channels in self.channels {
                let is_usual = match channels {
                    1 => true,
                    2 => matches!(rate, 16_000 | 44_100 | 48_000),
                    _ => *rate == 48_000,
                };
                if is_usual {
                    cells.push((*rate, *channels));
                }
            }
        }
        cells
    }
}

/// Speech-like: partials below 3.4 kHz that come and go, so that no shift looks like another.
pub(crate) fn signal(time: f64) -> f64 {
    let swell = |rate: f64, phase: f64| 0.5 + 0.5 * (TAU * rate * time + phase).sin();
    0.2 * swell(1.3, 0.0) * (TAU * 230.0 * time).sin()
        + 0.15 * swell(2.1, 1.0) * (TAU * 710.0 * time).sin()
        + 0.1 * swell(1.7, 2.0) * (TAU * (1500.0 + 300.0 * time) * time).sin()
}

/// The steady tones of the other channels in Hz, and none of them near a partial of the first; that for low frequencies
/// has a low one.
const TONES: [f64; 8] = [0.0, 330.0, 420.0, 60.0, 530.0, 620.0, 880.0, 1050.0];

/// What a channel, counted from 0, holds: the first the signal, each other one a tone and a level of its own.
pub(crate) fn of_channel(time: f64, channel: u16) -> f64 {
    match tone(channel) {
        None => signal(time),
        Some((pitch, level)) => level * (TAU * pitch * time).sin(),
    }
}

/// Pitch in Hz and level of a channel's tone; `None` for the first.
pub(crate) fn tone(channel: u16) -> Option<(f64, f64)> {
    let pitch = TONES.get(usize::from(channel)).filter(|_| channel > 0)?;
    Some((*pitch, 0.08 + 0.02 * f64::from(channel)))
}
