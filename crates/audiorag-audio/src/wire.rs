//! What goes through the pipe between the process that isolates a decoder and the one that waits for it.
//!
//! A request is an argument of the child, in JSON. The answer is a sequence of frames, each a letter, a length of
//! four bytes (little endian) and that many bytes: `M` with what the headers say, any number of `S` with samples
//! (32-bit floats, little endian), and at last `W` with warnings or `E` with an error. Whatever ends without the
//! last one has crashed. The types are not those of the domain, and the reader trusts no number in them.

use crate::{DecodeOptions, Limits};
use audiorag_core::model::{Chapter, Media};
use audiorag_core::{Error, ErrorKind, MediaTime, Stage};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// Longest frame. Headers with hundreds of chapters stay far below.
const MAX_FRAME: usize = 4 << 20;
/// Samples of one frame.
const SAMPLES: usize = 16 << 10;

/// What the child is asked to do with the file that is named in the next argument.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Whether only the headers are wanted.
    pub(crate) probe: bool,
    pub(crate) stage: String,
    pub(crate) track: Option<u32>,
    pub(crate) channel: Option<u16>,
    pub(crate) max_bytes: u64,
    pub(crate) max_duration: u64,
    pub(crate) min_duration: u64,
    pub(crate) max_channels: u16,
    pub(crate) max_sample_rate: u32,
    pub(crate) min_decodable: f64,
    pub(crate) max_stall: u64,
    /// Most address space, in bytes.
    pub(crate) memory: u64,
    /// Most processor time, in seconds.
    pub(crate) processor: u64,
}

impl Request {
    pub(crate) fn new(
        probe: bool,
        stage: Stage,
        options: &DecodeOptions,
        memory: u64,
        processor: u64,
    ) -> Self {
        let limits = options.limits;
        Self {
            probe,
            stage: stage.to_string(),
            track: options.track,
            channel: options.channel,
            max_bytes: limits.max_bytes,
            max_duration: limits.max_duration.as_millis(),
            min_duration: limits.min_duration.as_millis(),
            max_channels: limits.max_channels,
            max_sample_rate: limits.max_sample_rate,
            min_decodable: limits.min_decodable,
            max_stall: limits.max_stall.as_millis(),
            memory,
            processor,
        }
    }

    pub(crate) fn options(&self) -> DecodeOptions {
        DecodeOptions {
            track: self.track,
            channel: self.channel,
            limits: Limits {
                max_bytes: self.max_bytes,
                max_duration: MediaTime::from_millis(self.max_duration),
                min_duration: MediaTime::from_millis(self.min_duration),
                max_channels: self.max_channels,
                max_sample_rate: self.max_sample_rate,
                min_decodable: self.min_decodable,
                max_stall: MediaTime::from_millis(self.max_stall),
            },
            ffmpeg: None,
            isolation: None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Headers {
    container: String,
    codec: String,
    sample_rate: u32,
    channels: u16,
    duration: Option<u64>,
    title: Option<String>,
    artist: Option<String>,
    album: Option<String>,
    date: Option<String>,
    language: Option<String>,
    chapters: Vec<(u64, String)>,
}

impl Headers {
    fn of(media: &Media) -> Self {
        let media = media.clone();
        Self {
            container: media.container,
            codec: media.codec,
            sample_rate: media.sample_rate,
            channels: media.channels,
            duration: media.duration.map(MediaTime::as_millis),
            title: media.title,
            artist: media.artist,
            album: media.album,
            date: media.date,
            language: media.language,
            chapters: media
                .chapters
                .into_iter()
                .map(|chapter| (chapter.start.as_millis(), chapter.title))
                .collect(),
        }
    }

    fn media(self) -> Media {
        Media {
            container: self.container,
            codec: self.codec,
            sample_rate: self.sample_rate,
            channels: self.channels,
            duration: self.duration.map(MediaTime::from_millis),
            title: self.title,
            artist: self.artist,
            album: self.album,
            date: self.date,
            language: self.language,
            chapters: self
                .chapters
                .into_iter()
                .map(|(start, title)| Chapter {
                    start: MediaTime::from_millis(start),
                    title,
                })
                .collect(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    kind: String,
    message: String,
    stage: Option<String>,
    source: Option<String>,
    hint: Option<String>,
}

impl Failure {
    fn of(error: &Error) -> Self {
        Self {
            kind: error.kind().to_string(),
            // With its named values, whose names cannot be sent.
            message: error.to_string(),
            stage: error.stage().map(|stage| stage.to_string()),
            source: error.source_name().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }

    fn error(self) -> Error {
        let kind = ErrorKind::parse(&self.kind).unwrap_or(ErrorKind::Input);
        let mut error = Error::new(kind, self.message);
        if let Some(stage) = self.stage.as_deref().and_then(Stage::parse) {
            error = error.with_stage(stage);
        }
        if let Some(source) = self.source {
            error = error.with_source(source);
        }
        match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// One message of the child.
#[derive(Debug)]
pub(crate) enum Frame {
    Headers(Box<Media>),
    Samples(Vec<f32>),
    Warnings(Vec<String>),
    Failure(Error),
}

pub(crate) fn write_headers(out: &mut dyn Write, media: &Media) -> io::Result<()> {
    write(out, b'M', &serde_json::to_vec(&Headers::of(media))?)
}

pub(crate) fn write_samples(out: &mut dyn Write, samples: &[f32]) -> io::Result<()> {
    for part in samples.chunks(SAMPLES) {
        let bytes: Vec<u8> = part.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        write(out, b'S', &bytes)?;
    }
    Ok(())
}

pub(crate) fn write_warnings(out: &mut dyn Write, warnings: &[String]) -> io::Result<()> {
    write(out, b'W', &serde_json::to_vec(warnings)?)?;
    out.flush()
}

pub(crate) fn write_failure(out: &mut dyn Write, error: &Error) -> io::Result<()> {
    write(out, b'E', &serde_json::to_vec(&Failure::of(error))?)?;
    out.flush()
}

fn write(out: &mut dyn Write, letter: u8, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    out.write_all(&[letter])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(content)
}

/// Takes the first frame from `bytes`; `None` when more bytes are needed.
pub(crate) fn take(bytes: &mut Vec<u8>) -> io::Result<Option<Frame>> {
    let Some((&[letter, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::other("a frame is too long"));
    }
    let Some(content) = rest.get(..length) else {
        return Ok(None);
    };
    let frame = match letter {
        b'M' => Frame::Headers(Box::new(serde_json::from_slice::<Headers>(content)?.media())),
        b'S' => Frame::Samples(
            content
                .as_chunks::<4>()
                .0
                .iter()
                .map(|sample| f32::from_le_bytes(*sample))
                .map(|sample| {
                    if sample.is_finite() {
                        sample.clamp(-1.0, 1.0)
                    } else {
                        0.0
                    }
                })
                .collect(),
        ),
        b'W' => Frame::Warnings(serde_json::from_slice(content)?),
        b'E' => Frame::Failure(serde_json::from_slice::<Failure>(content)?.error()),
        _ => return Err(io::Error::other("a frame of no known kind")),
    };
    bytes.drain(..5 + length);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_however_the_pipe_cuts_it() {
        let media = Media {
            container: "mkv".into(),
            codec: "opus".into(),
            sample_rate: 48_000,
            channels: 2,
            duration: Some(MediaTime::from_millis(1500)),
            title: Some("Übung".into()),
            chapters: vec![Chapter {
                start: MediaTime::from_millis(20),
                title: "One".into(),
            }],
            ..Media::default()
        };
        let samples: Vec<f32> = (0..40_000).map(|n| (n as f32 / 1000.0).sin()).collect();
        let mut bytes = Vec::new();
        write_headers(&mut bytes, &media).unwrap();
        write_samples(&mut bytes, &samples).unwrap();
        write_warnings(&mut bytes, &["decoded 1 of 2 s".to_owned()]).unwrap();
        let error = Error::input("a.mp3 is odd")
            .with_stage(Stage::Split)
            .with_hint("copy it");
        write_failure(&mut bytes, &error).unwrap();

        let (mut pending, mut heard, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(977) {
            pending.extend_from_slice(piece);
            while let Some(frame) = take(&mut pending).unwrap() {
                match frame {
                    Frame::Samples(mut part) => heard.append(&mut part),
                    Frame::Headers(found) => assert_eq!(*found, media),
                    other => others.push(format!("{other:?}")),
                }
            }
        }
        assert!(pending.is_empty());
        assert_eq!(heard, samples);
        assert_eq!(others.len(), 2);
        assert!(others[0].contains("decoded 1 of 2 s"));
        assert!(others[1].contains("a.mp3 is odd") && others[1].contains("copy it"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(take(&mut vec![b'S', 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(take(&mut vec![b'?', 0, 0, 0, 0]).is_err());
        assert!(take(&mut vec![b'M', 2, 0, 0, 0, b'{', b'}']).is_err());
        assert!(take(&mut vec![b'S', 8, 0, 0, 0, 1]).unwrap().is_none());
        let nan = f32::NAN.to_le_bytes();
        let mut bytes = vec![b'S', 4, 0, 0, 0];
        bytes.extend(nan);
        assert!(matches!(take(&mut bytes).unwrap(), Some(Frame::Samples(found)) if found == [0.0]));
    }

    #[test]
    fn a_request_keeps_every_option() {
        let options = DecodeOptions {
            track: Some(2),
            channel: Some(3),
            limits: Limits {
                max_bytes: 1,
                max_duration: MediaTime::from_millis(2),
                min_duration: MediaTime::from_millis(3),
                max_channels: 4,
                max_sample_rate: 5,
                min_decodable: 0.125,
                max_stall: MediaTime::from_millis(6),
            },
            ..DecodeOptions::default()
        };
        let text = serde_json::to_string(&Request::new(true, Stage::Split, &options, 7, 8)).unwrap();
        let request: Request = serde_json::from_str(&text).unwrap();
        assert_eq!(request.options(), options);
        assert_eq!((request.memory, request.processor, request.probe), (7, 8, true));
    }
}
