//! Reading a sample and writing long recordings made of it.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

const HEADER: u64 = 44;

/// 16-bit mono PCM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wav {
    pub(super) rate: u32,
    pub(super) samples: Vec<i16>,
}

impl Wav {
    /// Reads a 16-bit mono WAV file, the only kind the benchmarks need.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(
            bytes.get(..4) == Some(b"RIFF") && bytes.get(8..12) == Some(b"WAVE"),
            "not a WAV file"
        );
        let mut rest = bytes.get(12..).unwrap_or_default();
        let mut rate = None;
        while let Some((header, body)) = rest.split_first_chunk::<8>() {
            let [a, b, c, d, size @ ..] = *header;
            let size = u32::from_le_bytes(size) as usize;
            let content = body.get(..size).unwrap_or(body);
            match &[a, b, c, d] {
                b"fmt " => rate = Some(format(content)?),
                b"data" => {
                    let samples = content
                        .as_chunks::<2>()
                        .0
                        .iter()
                        .map(|pair| i16::from_le_bytes(*pair))
                        .collect();
                    return Ok(Self {
                        rate: rate.context("no format before the samples")?,
                        samples,
                    });
                }
                _ => {}
            }
            // Chunks are padded to an even length.
            rest = body.get(size + size % 2..).unwrap_or_default();
        }
        bail!("no samples")
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(self.rate))
    }
}

fn format(content: &[u8]) -> Result<u32> {
    let short = |at: usize| -> Option<u16> { Some(u16::from_le_bytes(*content.get(at..)?.first_chunk()?)) };
    let long = |at: usize| -> Option<u32> { Some(u32::from_le_bytes(*content.get(at..)?.first_chunk()?)) };
    ensure!(
        short(0) == Some(1) && short(2) == Some(1) && short(14) == Some(16),
        "only 16-bit mono PCM is read here"
    );
    long(4).context("the format is cut short")
}

/// Writes a recording of a given length in which the reading is repeated, and returns its seconds of speech.
///
/// `period` is the time from one start of the reading to the next; each pause differs a little, so that no two
/// stretches of the recording are the same bytes to a cache. Pauses are holes in the file and take no disk.
pub(super) fn write_repeated(
    path: &Path,
    reading: &Wav,
    length: Duration,
    period: Duration,
) -> Result<Duration> {
    let rate = u64::from(reading.rate);
    let total = (length.as_secs_f64() * f64::from(reading.rate)) as u64;
    ensure!(
        u32::try_from(total * 2 + HEADER).is_ok(),
        "a WAV file cannot hold {} s",
        length.as_secs()
    );
    let mut file =
        BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    file.write_all(&header(reading.rate, total * 2))?;
    let body: Vec<u8> = reading
        .samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    let (mut at, mut round, mut spoken) = (0_u64, 0_u64, 0_u64);
    while at < total {
        file.seek(SeekFrom::Start(HEADER + at * 2))?;
        let fits = (reading.samples.len() as u64).min(total - at);
        file.write_all(body.get(..fits as usize * 2).unwrap_or(&body))?;
        spoken += fits;
        round += 1;
        // 0 to 0.9 s more, by a step that is no divisor of a second.
        let jitter = (round * 7 % 10) * rate / 10 + round % 97;
        at += ((period.as_secs_f64() * f64::from(reading.rate)) as u64).max(reading.samples.len() as u64)
            + jitter;
    }
    file.flush()?;
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .set_len(HEADER + total * 2)?;
    Ok(Duration::from_secs_f64(spoken as f64 / f64::from(reading.rate)))
}

/// Writes a recording of a given length without a pause, in which the phrases of the reading come in an order that is
/// another each time they are through. So hardly two passages have the same words, and nothing is embedded once for all.
pub(super) fn write_shuffled(path: &Path, reading: &Wav, length: Duration) -> Result<()> {
    let total = (length.as_secs_f64() * f64::from(reading.rate)) as usize;
    let mut phrases = phrases(reading);
    ensure!(!phrases.is_empty(), "there is nothing to read");
    let bytes = total as u64 * 2;
    ensure!(
        u32::try_from(bytes + HEADER).is_ok(),
        "a WAV file cannot hold that much"
    );
    let mut file =
        BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    file.write_all(&header(reading.rate, bytes))?;
    // Written as it comes: what this process holds at its most is counted as its children's.
    let (mut left, mut random) = (total, 1_u64);
    while left > 0 {
        for place in (1..phrases.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            phrases.swap(place, (random >> 33) as usize % (place + 1));
        }
        for phrase in &phrases {
            for sample in phrase.iter().take(left) {
                file.write_all(&sample.to_le_bytes())?;
            }
            left = left.saturating_sub(phrase.len());
        }
    }
    file.flush()?;
    Ok(())
}

/// The reading, cut in the middle of its pauses.
fn phrases(reading: &Wav) -> Vec<&[i16]> {
    /// What is this much weaker than the reading is a pause,
    const WEAKER: f64 = 50.0;
    /// when it lasts so many windows of 20 ms.
    const WINDOWS: usize = 12;
    let energy = |samples: &[i16]| {
        let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        sum / samples.len().max(1) as f64
    };
    let quiet = energy(&reading.samples) / WEAKER;
    let width = (reading.rate / 50).max(1) as usize;
    let mut phrases = Vec::new();
    let (mut rest, mut at, mut pause) = (reading.samples.as_slice(), 0, 0);
    for window in reading.samples.chunks(width) {
        at += window.len();
        if energy(window) < quiet {
            pause += 1;
            continue;
        }
        if pause >= WINDOWS
            && let Some((phrase, later)) =
                rest.split_at_checked(at.saturating_sub(window.len() + pause * width / 2))
            && !phrase.is_empty()
        {
            phrases.push(phrase);
            at = window.len() + pause * width - pause * width / 2;
            rest = later;
        }
        pause = 0;
    }
    phrases.push(rest);
    phrases.retain(|phrase| !phrase.is_empty());
    phrases
}

fn header(rate: u32, bytes: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER as usize);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(bytes as u32 + 36).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&rate.to_le_bytes());
    header.extend_from_slice(&(rate * 2).to_le_bytes());
    header.extend_from_slice(&2_u16.to_le_bytes());
    header.extend_from_slice(&16_u16.to_le_bytes());
    header.extend_from_slice(b"data");
    header.extend_from_slice(&(bytes as u32).to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_repeats_the_reading() {
        let reading = Wav {
            rate: 1000,
            samples: (1..=500).collect(),
        };
        let path = std::env::temp_dir().join(format!("xtask-audio-{}.wav", std::process::id()));
        let spoken =
            write_repeated(&path, &reading, Duration::from_secs(10), Duration::from_secs(3)).unwrap();
        let written = Wav::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((written.rate, written.samples.len()), (1000, 10_000));
        assert_eq!(written.duration(), Duration::from_secs(10));
        assert_eq!(written.samples[..500], reading.samples);
        assert_eq!(written.samples[500..3000], vec![0; 2500]);
        // The second start is 3 s later, plus its jitter of 0.7 s and a sample.
        assert_eq!(written.samples[3701..4201], reading.samples);
        assert_eq!(spoken, Duration::from_millis(1500));
    }

    #[test]
    fn phrases_are_cut_in_pauses_and_shuffled() {
        let mut samples = Vec::new();
        for loudness in [1000, 2000, 3000] {
            samples.extend([loudness; 500]);
            samples.extend([0; 400]);
        }
        let reading = Wav { rate: 1000, samples };
        let lengths: Vec<usize> = phrases(&reading).iter().map(|phrase| phrase.len()).collect();
        assert_eq!(lengths, [700, 900, 1100]);
        assert_eq!(phrases(&reading).concat(), reading.samples);

        let path = std::env::temp_dir().join(format!("xtask-shuffled-{}.wav", std::process::id()));
        write_shuffled(&path, &reading, Duration::from_secs(8)).unwrap();
        let written = Wav::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(written.samples.len(), 8000);
        let mut first = written.samples[..2700].to_vec();
        let mut all = reading.samples.clone();
        first.sort_unstable();
        all.sort_unstable();
        assert_eq!(first, all, "every phrase is read once before any is read again");
        assert_ne!(written.samples[..2700], written.samples[2700..5400]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(Wav::parse(b"ID3 not a wave file").is_err());
        let mut stereo = header(16_000, 0);
        stereo[22] = 2;
        assert!(Wav::parse(&stereo).unwrap_err().to_string().contains("mono"));
    }
}
