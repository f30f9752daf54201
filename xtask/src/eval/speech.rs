//! Speaking a recording: sentence after sentence, so that the time of each is known to the sample.

use super::random::Random;
use crate::{environment, models, process};
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// Who speaks: a program, its voice and how slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    engine: Engine,
    name: &'static str,
    /// Words a minute for espeak-ng; the stretch of every sound in percent for flite.
    pace: u32,
}

#[derive(Clone, Copy, Debug)]
enum Engine {
    Espeak,
    Flite,
}

const fn espeak(name: &'static str, pace: u32) -> Voice {
    Voice {
        engine: Engine::Espeak,
        name,
        pace,
    }
}

const fn flite(name: &'static str, pace: u32) -> Voice {
    Voice {
        engine: Engine::Flite,
        name,
        pace,
    }
}

/// The voices, which recordings take in turns.
pub(super) const VOICES: [Voice; 7] = [
    flite("rms", 138),
    espeak("en-us", 106),
    flite("slt", 150),
    flite("awb", 160),
    espeak("en-us+f3", 100),
    flite("slt", 172),
    espeak("en-gb", 103),
];

/// How much louder than the noise the speech is, in decibels, in turns of another length than those of the voices.
/// `None` is no noise at all.
pub(super) const NOISE: [Option<f64>; 4] = [None, Some(30.0), Some(20.0), Some(12.0)];

/// A recording with the spans of its sentences.
pub(super) struct Spoken {
    pub(super) rate: u32,
    pub(super) samples: Vec<i16>,
    /// Start and end of each sentence in seconds.
    pub(super) spans: Vec<(f64, f64)>,
}

/// Installs the speech synthesizers where they are missing and it is possible.
pub(super) fn ensure_synthesizers() -> Result<()> {
    let missing: Vec<&str> = ["espeak-ng", "flite"]
        .into_iter()
        .filter(|name| !environment::has_program(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        environment::has_program("apt-get"),
        "{} must be installed first",
        missing.join(" and ")
    );
    process::headline(&format!("installing {}", missing.join(" and ")));
    models::install(&missing)
}

/// Speaks `sentences` with pauses between them and noise beneath.
pub(super) fn speak(
    sentences: &[String],
    voice: Voice,
    noise: Option<f64>,
    random: &mut Random,
    folder: &Path,
) -> Result<Spoken> {
    let mut spoken = Spoken {
        rate: 0,
        samples: Vec::new(),
        spans: Vec::with_capacity(sentences.len()),
    };
    let wav = folder.join("sentence.wav");
    for sentence in sentences {
        voice.say(sentence, &wav)?;
        let (rate, samples) = read_wav(&wav)?;
        ensure!(
            spoken.rate == 0 || spoken.rate == rate,
            "a voice changed its rate"
        );
        spoken.rate = rate;
        // Half a second to almost three: speakers breathe, and think.
        spoken.silence(0.5 + 2.3 * random.unit());
        let start = spoken.seconds();
        spoken.samples.extend_from_slice(trimmed(&samples));
        spoken.spans.push((start, spoken.seconds()));
    }
    spoken.silence(1.0);
    if let Some(decibels) = noise {
        spoken.add_noise(decibels, random);
    }
    Ok(spoken)
}

impl Voice {
    fn say(self, text: &str, wav: &Path) -> Result<()> {
        let mut command = match self.engine {
            Engine::Espeak => {
                let mut command = process::program("espeak-ng");
                command.args(["-v", self.name, "-s", &self.pace.to_string(), "-w"]);
                command.arg(wav).arg(text);
                command
            }
            Engine::Flite => {
                let mut command = process::program("flite");
                let stretch = format!("duration_stretch={:.2}", f64::from(self.pace) / 100.0);
                command.args(["-voice", self.name, "--setf", &stretch, "-t", text, "-o"]);
                command.arg(wav);
                command
            }
        };
        process::capture(&mut command).map(drop)
    }

    /// As it is told in the manifest of the set.
    pub(super) fn describe(self) -> String {
        match self.engine {
            Engine::Espeak => format!("espeak-ng {} at {}", self.name, self.pace),
            Engine::Flite => format!("flite {} stretched to {} %", self.name, self.pace),
        }
    }
}

impl Spoken {
    pub(super) fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate.max(1))
    }

    fn silence(&mut self, seconds: f64) {
        let more = (seconds * f64::from(self.rate)) as usize;
        self.samples.resize(self.samples.len() + more, 0);
    }

    /// Lays noise of a room under everything, so many decibels below the mean power of the speech.
    fn add_noise(&mut self, decibels: f64, random: &mut Random) {
        let speech: Vec<f64> = self.samples.iter().map(|s| f64::from(*s)).collect();
        let loud: Vec<f64> = speech.iter().copied().filter(|s| s.abs() > 100.0).collect();
        let mut low = 0.0;
        let noise: Vec<f64> = speech
            .iter()
            .map(|_| {
                let white = random.unit() * 2.0 - 1.0;
                // Rooms and motors hum more than they hiss.
                low = 0.97 * low + 0.03 * white;
                4.0 * low + 0.2 * white
            })
            .collect();
        let gain = rms(&loud) / rms(&noise).max(1e-9) / 10f64.powf(decibels / 20.0);
        for ((sample, speech), noise) in self.samples.iter_mut().zip(&speech).zip(&noise) {
            *sample = (speech + gain * noise).clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
        }
    }
}

fn rms(samples: &[f64]) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    (samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64).sqrt()
}

/// The samples from the first to the last that can be heard.
fn trimmed(samples: &[i16]) -> &[i16] {
    let audible = |sample: &i16| sample.unsigned_abs() > 200;
    let first = samples.iter().position(audible).unwrap_or(0);
    let last = samples
        .iter()
        .rposition(audible)
        .map_or(samples.len(), |last| last + 1);
    samples.get(first..last).unwrap_or(samples)
}

/// Reads 16-bit mono PCM. The synthesizers write it with the size of a pipe in the header, so its end is that of the
/// file.
fn read_wav(path: &Path) -> Result<(u32, Vec<i16>)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rate = bytes.get(24..28).and_then(|b| b.first_chunk().copied());
    let kind = bytes.get(20..24);
    ensure!(
        bytes.get(..4) == Some(b"RIFF") && kind == Some(&[1, 0, 1, 0]),
        "{} is not a mono WAV file",
        path.display()
    );
    let data = bytes
        .windows(4)
        .position(|four| four == b"data")
        .with_context(|| format!("{} has no samples", path.display()))?;
    let body = bytes.get(data + 8..).unwrap_or_default();
    let samples = body
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| i16::from_le_bytes(*pair));
    Ok((u32::from_le_bytes(rate.context("no rate")?), samples.collect()))
}

/// Writes 16-bit mono PCM.
pub(super) fn write_wav(path: &Path, spoken: &Spoken) -> Result<()> {
    let bytes = spoken.samples.len() as u32 * 2;
    let mut out = Vec::with_capacity(44 + bytes as usize);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(bytes + 36).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16_u32.to_le_bytes());
    out.extend_from_slice(&[1, 0, 1, 0]);
    out.extend_from_slice(&spoken.rate.to_le_bytes());
    out.extend_from_slice(&(spoken.rate * 2).to_le_bytes());
    out.extend_from_slice(&[2, 0, 16, 0]);
    out.extend_from_slice(b"data");
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend(spoken.samples.iter().flat_map(|sample| sample.to_le_bytes()));
    std::fs::write(path, out).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_as_loud_as_it_should_be_and_the_same_each_time() {
        let tone = |_| Spoken {
            rate: 8000,
            samples: (0..8000)
                .map(|n: i32| if n % 2 == 0 { 4000 } else { -4000 })
                .collect(),
            spans: vec![],
        };
        let [clean, mut noisy, mut again] = [0, 1, 2].map(tone);
        noisy.add_noise(20.0, &mut Random::of("x"));
        again.add_noise(20.0, &mut Random::of("x"));
        assert_eq!(noisy.samples, again.samples);
        let added: Vec<f64> = noisy
            .samples
            .iter()
            .zip(&clean.samples)
            .map(|(noisy, clean)| f64::from(*noisy) - f64::from(*clean))
            .collect();
        assert!((rms(&added) - 400.0).abs() < 10.0, "{}", rms(&added));
    }

    #[test]
    fn what_is_written_is_read_and_silence_is_cut_off() {
        let spoken = Spoken {
            rate: 16_000,
            samples: vec![0, 3, 900, 0, -900, 10, 0],
            spans: vec![],
        };
        let path = std::env::temp_dir().join(format!("xtask-speech-{}.wav", std::process::id()));
        write_wav(&path, &spoken).unwrap();
        let (rate, samples) = read_wav(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((rate, samples.as_slice()), (16_000, spoken.samples.as_slice()));
        assert_eq!(trimmed(&samples), [900, 0, -900]);
    }
}
