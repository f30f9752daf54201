//! A piece of a recording as a file of its own.
//!
//! A span of a citation is cut to the sample, as speech-to-text hears the recording: mono at 16 kHz. WAV is made here.
//! For MP3 and M4A the same samples are handed to ffmpeg to encode, so that whatever can be indexed can be clipped, and
//! all formats hold the same span. Packets of the recording are not copied: sentences do not end where packets do.

use crate::AudioRag;
use crate::index::blocking;
use crate::workdir::WorkDir;
use audiorag_audio::{DecodeOptions, SampleReader};
use audiorag_core::model::SAMPLE_RATE;
use audiorag_core::samples::Wav;
use audiorag_core::{Error, Locator, Result, Span};
use audiorag_state::SourceRecord;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

/// The longest clip, in milliseconds: a WAV file holds no more than 4 GiB, and nobody needs half of that.
const LONGEST: u64 = 12 * 3_600_000;

/// What a clip is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipFormat {
    /// 16-bit samples, mono at 16 kHz.
    Wav,
    /// MPEG layer 3, by ffmpeg.
    Mp3,
    /// AAC in MP4, by ffmpeg.
    M4a,
}

impl ClipFormat {
    /// The format of a file with this name.
    ///
    /// # Errors
    /// [`Input`](crate::ErrorKind::Input) for every other extension.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("wav") => Ok(Self::Wav),
            Some("mp3") => Ok(Self::Mp3),
            Some("m4a") => Ok(Self::M4a),
            _ => Err(
                Error::input(format!("no clip can be written as '{}'", path.display()))
                    .with_hint("end the name of the file in .wav, .mp3 or .m4a"),
            ),
        }
    }

    /// What ffmpeg is told of it.
    const fn encoding(self) -> &'static [&'static str] {
        match self {
            Self::Wav => &["-c:a", "pcm_s16le", "-f", "wav"],
            Self::Mp3 => &["-c:a", "libmp3lame", "-q:a", "2", "-f", "mp3"],
            Self::M4a => &["-c:a", "aac", "-b:a", "160k", "-f", "ipod"],
        }
    }
}

/// A piece of a recording to listen to.
#[derive(Debug)]
pub struct Excerpt {
    /// A WAV file in a directory of ours that only its owner can read.
    pub path: PathBuf,
    /// What it holds.
    pub span: Span,
    /// Removes the file.
    _work: WorkDir,
}

impl AudioRag {
    /// Writes what is heard in `span` of a source into `output`, in the format of its extension. Returns the span,
    /// which ends with the recording at the latest.
    ///
    /// # Errors
    /// [`Input`](crate::ErrorKind::Input) for a span beyond the recording, a file that exists unless `replace` is set,
    /// and a recording that changed since it was indexed; [`Unsupported`](crate::ErrorKind::Unsupported) for recordings
    /// of which no copy is here, and for formats that need ffmpeg where there is none.
    pub async fn clip(
        &self,
        source: &SourceRecord,
        span: Span,
        output: &Path,
        replace: bool,
    ) -> Result<Span> {
        let format = ClipFormat::of(output)?;
        let input = self.recording(source).await?;
        let bounds = source
            .duration
            .map_or(span, |end| Span::between(audiorag_core::MediaTime::ZERO, end));
        let cut = Span::between(span.start().min(bounds.end()), span.end().min(bounds.end()));
        if cut.is_empty() {
            return Err(
                Error::input(format!("nothing of '{}' lies in {span}", source.title))
                    .with_hint(format!("it ends at {}", bounds.end())),
            );
        }
        if cut.duration().as_millis() > LONGEST {
            return Err(Error::input("a clip has twelve hours at most").with_hint("make several"));
        }
        if output.exists() && !replace {
            return Err(Error::input(format!("{} exists", output.display()))
                .with_hint("--force replaces it; or choose another name with -o"));
        }
        let job = Job {
            decode: crate::registry::decode_options(self.settings())?,
            input,
            partial: partial(output),
            output: output.to_owned(),
            format,
            span: cut,
        };
        blocking(move || job.run()).await?;
        Ok(cut)
    }

    /// What is heard in `span` of a source, as a WAV file that is gone when the excerpt is dropped.
    ///
    /// # Errors
    /// As for [`clip`](Self::clip), and [`State`](crate::ErrorKind::State) when the work directory cannot be written.
    pub async fn excerpt(&self, source: &SourceRecord, span: Span) -> Result<Excerpt> {
        let work = WorkDir::create(&self.settings().work_dir)?;
        let path = work.path().join("excerpt.wav");
        let span = self.clip(source, span, &path, false).await?;
        Ok(Excerpt {
            path,
            span,
            _work: work,
        })
    }

    /// The file that is heard: the source itself, or the copy that was kept of a recording on the web.
    async fn recording(&self, source: &SourceRecord) -> Result<PathBuf> {
        let url = match &source.locator {
            Locator::File(path) => {
                if let Some(fingerprint) = &source.fingerprint {
                    audiorag_audio::check_unchanged(path, fingerprint)?;
                }
                return Ok(path.clone());
            }
            Locator::Url(url) => url,
        };
        let gone = || {
            Error::unsupported(format!(
                "'{}' is on the web, and no copy of what was indexed is kept here",
                source.title
            ))
            .with_hint(
                "index it again with AUDIORAG_FETCH_KEEP=true and --force; or download it, index the file, and clip \
                 that",
            )
        };
        let path = self.registry.web().copy_of(url).ok_or_else(gone)?;
        let indexed = source.fingerprint.as_ref().map(|print| print.content.clone());
        let copy = path.clone();
        let there = blocking(move || audiorag_audio::fingerprint(&copy)).await?;
        match indexed {
            // A later run may have fetched another version and failed.
            Some(indexed) if indexed != there.content => Err(gone()),
            _ => Ok(path),
        }
    }
}

/// Where a clip is written until it is whole.
fn partial(output: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(output.file_name().unwrap_or_default());
    name.push(format!(".{}.partial", std::process::id()));
    output.with_file_name(name)
}

struct Job {
    decode: DecodeOptions,
    input: PathBuf,
    partial: PathBuf,
    output: PathBuf,
    format: ClipFormat,
    span: Span,
}

impl Job {
    fn run(&self) -> Result<()> {
        let written = match self.format {
            ClipFormat::Wav => self.cut(),
            ClipFormat::Mp3 | ClipFormat::M4a => self.encode(),
        };
        let written = written.and_then(|()| {
            std::fs::rename(&self.partial, &self.output).map_err(|error| unwritable(&self.output, error))
        });
        if written.is_err() {
            // What is there of it is of no use; that it cannot be removed either is not worth another message.
            let _ = std::fs::remove_file(&self.partial);
        }
        written
    }

    /// Writes a WAV file.
    fn cut(&self) -> Result<()> {
        let unwritable = |error| unwritable(&self.output, error);
        let mut file = BufWriter::new(File::create(&self.partial).map_err(unwritable)?);
        file.write_all(&Wav::header(0)).map_err(unwritable)?;
        let count = self.hear(&mut file)?.map_err(unwritable)?;
        file.seek(SeekFrom::Start(0)).map_err(unwritable)?;
        file.write_all(&Wav::header(count)).map_err(unwritable)?;
        file.into_inner()
            .map_err(|error| unwritable(error.into_error()))?
            .sync_all()
            .map_err(unwritable)
    }

    /// Decodes up to the end of the span, and writes the samples in it as numbers of 16 bits. Returns how many there
    /// are, or why `out` takes no more.
    fn hear(&self, out: &mut impl Write) -> Result<io::Result<usize>> {
        let (start, end) = (
            self.span.start().to_samples(SAMPLE_RATE),
            self.span.end().to_samples(SAMPLE_RATE),
        );
        let mut reader = SampleReader::open_with(&self.input, &self.decode)?;
        let (mut position, mut count) = (0u64, 0usize);
        while position < end
            && let Some(block) = reader.next_block()?
        {
            let skip = start.saturating_sub(position);
            let take = end.saturating_sub(position.max(start));
            let wanted = block.iter().skip(skip as usize).take(take as usize);
            for sample in wanted {
                let value = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
                if let Err(error) = out.write_all(&value.to_le_bytes()) {
                    return Ok(Err(error));
                }
                count += 1;
            }
            position += block.len() as u64;
        }
        Ok(out.flush().map(|()| count))
    }

    /// Hands the samples to ffmpeg, which writes the file.
    fn encode(&self) -> Result<()> {
        let Some(program) = &self.decode.ffmpeg else {
            return Err(
                Error::unsupported("MP3 and M4A are encoded by ffmpeg, which is not on the PATH")
                    .with_hint("install ffmpeg, set AUDIORAG_DECODE_FFMPEG, or write a .wav"),
            );
        };
        let mut child = Command::new(program)
            .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1"])
            .args(["-protocol_whitelist", "file,pipe"])
            .args(["-f", "s16le", "-ar", &SAMPLE_RATE.to_string(), "-ac", "1"])
            .args(["-i", "pipe:0", "-y"])
            .args(self.format.encoding())
            .arg(named(&self.partial))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| unstartable(program, error))?;
        let input = child.stdin.take();
        // What it says is read while it is fed: a pipe holds only so much.
        let (fed, outcome) = std::thread::scope(|scope| {
            let feeder = scope.spawn(|| self.feed(input));
            let outcome = child.wait_with_output();
            (feeder.join(), outcome)
        });
        let fed = fed.unwrap_or_else(|_| Err(Error::internal("decoding for ffmpeg panicked")))?;
        let outcome = outcome.map_err(|error| unstartable(program, error))?;
        if outcome.status.success() && fed.is_ok() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&outcome.stderr);
        let last: String = said
            .lines()
            .last()
            .unwrap_or("no reason")
            .chars()
            .take(300)
            .collect();
        Err(
            Error::unsupported(format!("ffmpeg cannot write {}: {last}", self.output.display()))
                .with_hint("write a .wav, which needs no ffmpeg"),
        )
    }

    /// All samples for the input of ffmpeg, which is closed afterwards.
    fn feed(&self, input: Option<ChildStdin>) -> Result<io::Result<usize>> {
        match input {
            Some(input) => self.hear(&mut BufWriter::new(input)),
            None => Ok(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn unstartable(program: &Path, error: io::Error) -> Error {
    Error::unsupported(format!("cannot start {}", program.display()))
        .with_cause(error)
        .with_hint("set AUDIORAG_DECODE_FFMPEG, or write a .wav")
}

/// `file:` in front, so that no path is taken for an option or a protocol.
fn named(path: &Path) -> OsString {
    let mut name = OsString::from("file:");
    name.push(path);
    name
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::state(format!("cannot write {}", path.display()))
        .with_cause(error)
        .with_hint("choose another place with -o")
}
