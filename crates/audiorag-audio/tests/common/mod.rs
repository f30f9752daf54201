//! What the integration tests share: fixtures, generated WAV files, reading to the end.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test should panic"
)]
#![expect(dead_code, reason = "each test file uses another part")]

use audiorag_audio::{PartReader, SampleReader, SplitSettings};
use audiorag_core::MediaTime;
use audiorag_core::model::AudioPart;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

/// The 8 s cuts of the reading, one for each container and codec.
pub(crate) const CUTS: [&str; 14] = [
    "two_cities-8s.wav",
    "two_cities-8s.adpcm.wav",
    "two_cities-8s.aiff",
    "two_cities-8s.caf",
    "two_cities-8s.mp3",
    "two_cities-8s.m4a",
    "two_cities-8s.alac.m4a",
    "two_cities-8s.aac",
    "two_cities-8s.ogg",
    "two_cities-8s.opus",
    "two_cities-8s.webm",
    "video.mp4",
    "video.mkv",
    "two_cities.flac",
];

pub(crate) fn settings(preferred: u64, max: u64) -> SplitSettings {
    SplitSettings::new(MediaTime::from_seconds(preferred), MediaTime::from_seconds(max))
}

/// All samples of a recording and its warnings.
pub(crate) fn samples(path: &Path) -> audiorag_core::Result<(Vec<f32>, Vec<String>)> {
    let mut reader = SampleReader::open(path)?;
    let mut all = Vec::new();
    while let Some(block) = reader.next_block()? {
        assert!(!block.is_empty() && block.iter().all(|sample| sample.abs() <= 1.0));
        all.extend_from_slice(block);
    }
    assert_eq!(reader.position(), all.len() as u64);
    Ok((all, reader.warnings().to_vec()))
}

/// All parts of a recording, checked to tile it.
pub(crate) fn parts(path: &Path, settings: SplitSettings) -> audiorag_core::Result<Vec<AudioPart>> {
    let max = settings.max;
    let mut reader = PartReader::open(path, settings)?;
    let mut parts: Vec<AudioPart> = Vec::new();
    while let Some(part) = reader.next().transpose()? {
        let end = parts.last().map_or(MediaTime::ZERO, |part| part.span.end());
        assert_eq!(part.span.start(), end);
        assert_eq!(part.index as usize, parts.len());
        assert!(part.span.duration() <= max && !part.samples.is_empty());
        let span = part.span.duration().as_millis() * 16;
        assert!((part.samples.len() as u64) <= span && span - (part.samples.len() as u64) < 16);
        for (index, speech) in part.speech.iter().enumerate() {
            assert!(part.span.contains(*speech) && !speech.is_empty());
            assert!(index == 0 || part.speech[index - 1].end() < speech.start());
        }
        parts.push(part);
    }
    assert_eq!(reader.duration(), parts.last().map(|part| part.span.end()));
    assert!(reader.next().is_none());
    Ok(parts)
}

/// The ffmpeg program. Without one the test fails, because a test that did not run must not look like one that passed;
/// only `AUDIORAG_TEST_WITHOUT=ffmpeg` leaves it out, and then that is said where nothing hides it.
pub(crate) fn ffmpeg() -> Option<PathBuf> {
    let without = environment("AUDIORAG_TEST_WITHOUT").unwrap_or_default();
    let path = environment("PATH").unwrap_or_default();
    match program("ffmpeg", &path, &without.to_string_lossy()) {
        Ok(Some(program)) => Some(program),
        Ok(None) => {
            // Not `println`, which is only shown of tests that fail.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: AUDIORAG_TEST_WITHOUT says to do without ffmpeg"
            );
            None
        }
        Err(why) => panic!("{why}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Where a program is on a search path; `None` when `without` names it, and what to do when it is not there.
pub(crate) fn program(name: &str, path: &OsStr, without: &str) -> Result<Option<PathBuf>, String> {
    if without.split(',').any(|left_out| left_out.trim() == name) {
        return Ok(None);
    }
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .map(Some)
        .ok_or_else(|| {
            format!(
                "{name} is not on the PATH, and this test needs it: install it (`cargo xtask test` does where there is \
                 apt-get), or set AUDIORAG_TEST_WITHOUT={name} to leave such tests out"
            )
        })
}

/// Runs ffmpeg, which must succeed; the last argument is the file it makes.
pub(crate) fn encode(program: &Path, arguments: &[&str], to: &Path) {
    let output = Command::new(program)
        .args(["-nostdin", "-y", "-loglevel", "error"])
        .args(arguments)
        .arg(to)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// How loud samples are.
pub(crate) fn rms(samples: impl IntoIterator<Item = f32>) -> f64 {
    let (sum, count) = samples.into_iter().fold((0.0, 0_u64), |(sum, count), sample| {
        (sum + f64::from(sample).powi(2), count + 1)
    });
    (sum / count.max(1) as f64).sqrt()
}

/// The difference of two recordings where both have samples, relative to the first.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f64 {
    rms(a.iter().zip(b).map(|(a, b)| a - b)) / rms(a.iter().copied())
}

/// How a WAV sample is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Depth {
    U8,
    S16,
    S24,
    S32,
    F32,
    F64,
    ALaw,
    MuLaw,
}

impl Depth {
    pub(crate) const ALL: [Self; 8] = [
        Self::U8,
        Self::S16,
        Self::S24,
        Self::S32,
        Self::F32,
        Self::F64,
        Self::ALaw,
        Self::MuLaw,
    ];

    fn tag_and_bytes(self) -> (u16, u16) {
        match self {
            Self::U8 => (1, 1),
            Self::S16 => (1, 2),
            Self::S24 => (1, 3),
            Self::S32 => (1, 4),
            Self::F32 => (3, 4),
            Self::F64 => (3, 8),
            Self::ALaw => (6, 1),
            Self::MuLaw => (7, 1),
        }
    }

    /// Largest error of a sample.
    pub(crate) fn tolerance(self) -> f64 {
        match self {
            Self::U8 => 0.01,
            Self::ALaw | Self::MuLaw => 0.03,
            _ => 0.001,
        }
    }

    fn write(self, sample: f64, out: &mut Vec<u8>) {
        match self {
            Self::U8 => out.push((sample * 127.0 + 128.0).round() as u8),
            Self::S16 => out.extend(((sample * 32767.0).round() as i16).to_le_bytes()),
            Self::S24 => out.extend(&((sample * 8_388_607.0).round() as i32).to_le_bytes()[..3]),
            Self::S32 => out.extend(((sample * 2_147_483_647.0).round() as i32).to_le_bytes()),
            Self::F32 => out.extend((sample as f32).to_le_bytes()),
            Self::F64 => out.extend(sample.to_le_bytes()),
            Self::ALaw => out.push(a_law((sample * 32767.0) as i32)),
            Self::MuLaw => out.push(mu_law((sample * 32767.0) as i32)),
        }
    }
}

/// G.711: sign, three bits of exponent, four of mantissa, inverted.
fn mu_law(sample: i32) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.abs().min(32_635) + 132;
    let exponent = 31 - magnitude.leading_zeros() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 15;
    !(sign | ((exponent as u8) << 4) | mantissa as u8)
}

/// G.711: the same without bias, every other bit inverted.
fn a_law(sample: i32) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = (sample.abs() >> 3).min(4095);
    let exponent = if magnitude < 32 {
        0
    } else {
        31 - magnitude.leading_zeros() - 4
    };
    let mantissa = if exponent == 0 {
        magnitude >> 1
    } else {
        magnitude >> exponent
    } & 15;
    (sign | ((exponent as u8) << 4) | mantissa as u8) ^ 0x55
}

/// The header of a WAV file with `bytes` of data.
pub(crate) fn wav_header(depth: Depth, rate: u32, channels: u16, bytes: u32) -> Vec<u8> {
    let (tag, width) = depth.tag_and_bytes();
    let mut out = Vec::new();
    out.extend(b"RIFF");
    // Formats other than plain PCM end with the size of an extension.
    let extension: &[u8] = if tag == 1 { &[] } else { &[0, 0] };
    let around = 36 + extension.len() as u32;
    out.extend(bytes.saturating_add(around).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend((16 + extension.len() as u32).to_le_bytes());
    out.extend(tag.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(channels) * u32::from(width)).to_le_bytes());
    out.extend((channels * width).to_le_bytes());
    out.extend((width * 8).to_le_bytes());
    out.extend(extension);
    out.extend(b"data");
    out.extend(bytes.to_le_bytes());
    out
}

/// A WAV file of `seconds`; `signal` gives the sample at a time for a channel.
pub(crate) fn wav(
    depth: Depth,
    rate: u32,
    channels: u16,
    seconds: f64,
    signal: impl Fn(f64, u16) -> f64,
) -> Vec<u8> {
    let frames = (seconds * f64::from(rate)).round() as u32;
    let mut data = Vec::new();
    for frame in 0..frames {
        for channel in 0..channels {
            depth.write(signal(f64::from(frame) / f64::from(rate), channel), &mut data);
        }
    }
    let mut out = wav_header(depth, rate, channels, u32::try_from(data.len()).unwrap());
    out.append(&mut data);
    out
}
