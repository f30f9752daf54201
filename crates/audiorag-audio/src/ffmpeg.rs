//! Recordings that only ffmpeg can decode, such as HE-AAC, AMR, WMA and AC-3.
//!
//! ffmpeg is asked for what this crate cannot decode and for nothing else. It is started twice: to say what is in the
//! file, and to put out mono samples at 16 kHz, from which on everything is as for other recordings. Its arguments
//! are fixed; the path is the only thing in them that comes from outside, and is spelled so that it can be neither
//! an option nor a protocol.

use crate::file::FileName;
use crate::process::{self, ChildStream, Stopped};
use crate::{DecodeOptions, Limits, asf, container, isolate, tags};
use audiorag_core::model::{Chapter, Media, SAMPLE_RATE};
use audiorag_core::{Error, MediaTime, Result, Stage};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The most ffmpeg may allocate at once, in bytes.
const MAX_ALLOCATION: &str = "268435456";
/// Headers are read within this time.
const PROBE_WALL: Duration = Duration::from_mins(1);
/// Bytes that are read in a second at least.
const SLOWEST_BYTES: u64 = 100_000;
/// The most address space it may have, in bytes; Linux only. Its libraries alone take some hundred megabytes.
const MAX_MEMORY: u64 = 2 << 30;
/// Tags and chapters beyond this are not read.
const MAX_METADATA: usize = 1 << 20;
const BYTES: usize = size_of::<f32>();

/// What ffmpeg says of a file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    container: String,
    duration: Option<MediaTime>,
    is_estimate: bool,
    tracks: Vec<Track>,
}

#[derive(Debug, Default, PartialEq)]
struct Track {
    codec: String,
    profile: String,
    rate: u32,
    channels: u16,
    language: Option<String>,
}

/// Whether ffmpeg finds high-efficiency AAC where the headers say nothing of it. Its upper half of the spectrum is
/// coded apart, and plain AAC decoders leave it out without noticing.
pub(crate) fn finds_high_efficiency(path: &Path, program: &Path, track: Option<u32>, stage: Stage) -> bool {
    let name = FileName::new(path, stage);
    let Ok((report, _)) = ask(path, program, &name) else {
        return false;
    };
    let index = track.map_or(0, |number| number.saturating_sub(1) as usize);
    report
        .tracks
        .get(index)
        .is_some_and(|track| track.profile.contains("HE-AAC"))
}

/// What a recording that ffmpeg can decode holds.
pub(crate) fn probe(path: &Path, program: &Path, options: &DecodeOptions, stage: Stage) -> Result<Media> {
    let name = FileName::new(path, stage);
    describe(path, program, options, &name).map(|(media, _)| media)
}

fn describe(path: &Path, program: &Path, options: &DecodeOptions, name: &FileName) -> Result<(Media, bool)> {
    let (report, metadata) = ask(path, program, name)?;
    let count = report.tracks.len();
    if count == 0 {
        return Err(name
            .input("has no audio track that ffmpeg can find")
            .with_hint("give a recording with sound"));
    }
    let number = options.track.unwrap_or(1);
    let track = (number as usize)
        .checked_sub(1)
        .and_then(|index| report.tracks.get(index))
        .ok_or_else(|| container::no_track(name, number, count))?;
    container::check_shape(track.rate, usize::from(track.channels), name, &options.limits)?;
    container::check_channel(options.channel, usize::from(track.channels), name)?;
    let mut media = Media {
        container: report.container,
        codec: track.codec.clone(),
        sample_rate: track.rate,
        channels: track.channels,
        duration: report.duration,
        language: track.language.clone(),
        ..Media::default()
    };
    if let Some(length) = media
        .duration
        .filter(|length| *length > options.limits.max_duration)
    {
        return Err(container::too_long(name, length, &options.limits));
    }
    read_metadata(&metadata, number as usize, &mut media);
    let stated = asf::announced(path);
    media.duration = media.duration.max(stated);
    Ok((media, report.is_estimate && stated.is_none()))
}

/// `file:` in front, so that no path is taken for an option, a protocol or a device.
fn input(path: &Path) -> OsString {
    let mut input = OsString::from("file:");
    input.push(path);
    input
}

fn command(program: &Path, level: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args([
            "-nostdin",
            "-hide_banner",
            "-loglevel",
            level,
            "-max_alloc",
            MAX_ALLOCATION,
        ])
        .args(["-threads", "1", "-protocol_whitelist", "file,pipe", "-i"])
        .arg(input(path));
    command
}

fn start(command: Command, program: &Path, wall: Duration, name: &FileName) -> Result<ChildStream> {
    let child = ChildStream::spawn(command, PROBE_WALL, wall).map_err(|cause| {
        let program = process::called(program.as_os_str());
        name.error(
            Error::unsupported,
            format_args!("needs ffmpeg, which could not be started: {program}"),
        )
        .with_cause(cause)
        .with_hint("install ffmpeg, or convert the recording on another machine")
    })?;
    child.limit(MAX_MEMORY, wall);
    Ok(child)
}

fn stopped(name: &FileName, stopped: Stopped) -> Error {
    match stopped {
        Stopped::TooSlow(limit) => isolate::too_slow(name, limit),
        Stopped::Unreadable(cause) => name.io("decoded", cause),
    }
}

/// What ffmpeg writes about a file: its log, and the tags as `ffmetadata`.
fn ask(path: &Path, program: &Path, name: &FileName) -> Result<(Report, String)> {
    let mut command = command(program, "info", path);
    // Streams are named so that their tags are written as well, and nothing of them is read.
    command.args([
        "-map",
        "0:a?",
        "-c",
        "copy",
        "-frames:a",
        "0",
        "-f",
        "ffmetadata",
        "pipe:1",
    ]);
    let mut child = start(command, program, PROBE_WALL, name)?;
    let mut metadata = Vec::new();
    while let Some(block) = child.next().map_err(|reason| stopped(name, reason))? {
        if metadata.len() < MAX_METADATA {
            metadata.extend(block);
        }
    }
    let (_, log) = child.finish().map_err(|cause| name.io("decoded", cause))?;
    let report = Report::parse(&log);
    if report.container.is_empty() {
        return Err(refused(name, &log));
    }
    Ok((report, String::from_utf8_lossy(&metadata).into_owned()))
}

fn refused(name: &FileName, log: &str) -> Error {
    let said = log.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let said: String = said
        .unwrap_or("no reason")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    name.input(format_args!("could not be decoded by ffmpeg either: {said}"))
        .with_hint("copy or download it again; if it plays elsewhere, convert it there")
}

impl Report {
    /// Reads the lines that ffmpeg prints about its input, such as
    /// `Stream #0:1[0x2](eng): Audio: ac3 (AC-3 / 0x332D4341), 48000 Hz, 5.1(side), fltp, 448 kb/s`.
    fn parse(log: &str) -> Self {
        let mut report = Self::default();
        for line in log.lines() {
            let line = line.trim_start();
            if let Some(rest) = line
                .strip_prefix("Input #0, ")
                .filter(|_| report.container.is_empty())
            {
                let kind = rest.split([',', ' ']).next().unwrap_or_default();
                kind.clone_into(&mut report.container);
            } else if let Some(rest) = line.strip_prefix("Duration: ") {
                report.duration = rest.split(',').next().and_then(clock);
            } else if let Some((stream, what)) = line
                .strip_prefix("Stream #0:")
                .and_then(|rest| rest.split_once(": Audio: "))
            {
                report.tracks.push(Track::parse(stream, what));
            } else if line.contains("Estimating duration from bitrate") {
                report.is_estimate = true;
            } else if line.starts_with("Output #0") {
                break;
            }
        }
        report
    }
}

impl Track {
    fn parse(stream: &str, what: &str) -> Self {
        let mut fields = what.split(", ");
        let codec = fields.next().unwrap_or_default();
        let (name, profile) = codec.split_once(' ').unwrap_or((codec, ""));
        let mut track = Self {
            codec: name.to_owned(),
            profile: profile.to_owned(),
            language: stream
                .split_once('(')
                .and_then(|(_, rest)| rest.split_once(')'))
                .and_then(|(text, _)| tags::language(text)),
            ..Self::default()
        };
        while let Some(field) = fields.next() {
            if let Some(rate) = field.strip_suffix(" Hz") {
                track.rate = rate.parse().unwrap_or(0);
                track.channels = fields.next().map_or(0, channels);
            }
        }
        track
    }
}

/// The number of channels of a layout as ffmpeg names it: `mono`, `5.1(side)`, `12 channels`.
fn channels(layout: &str) -> u16 {
    let layout = layout.split('(').next().unwrap_or(layout).trim();
    match layout {
        "mono" => 1,
        "stereo" | "downmix" => 2,
        "quad" => 4,
        "hexagonal" => 6,
        "octagonal" | "cube" => 8,
        "hexadecagonal" => 16,
        _ => match layout.split_once([' ', '.']) {
            Some((count, "channels")) => count.parse().unwrap_or(0),
            Some((main, rest)) => {
                let digits = |text: &str| text.parse::<u16>().unwrap_or(0);
                let low: u16 = rest.split('.').map(digits).fold(0, u16::saturating_add);
                digits(main).saturating_add(low)
            }
            None => 0,
        },
    }
}

/// `00:01:02.50`.
fn clock(text: &str) -> Option<MediaTime> {
    let mut seconds = 0.0;
    for part in text.trim().split(':') {
        seconds = seconds * 60.0 + part.parse::<f64>().ok().filter(|value| *value >= 0.0)?;
    }
    (seconds > 0.0).then(|| MediaTime::from_millis((seconds * 1000.0).round() as u64))
}

/// Reads tags and chapters in the form of ffmpeg's `ffmetadata`: `key=value` with backslashes before special
/// characters, and a section for each stream and each chapter. Of the streams, the audio track with this number, counted
/// from 1, tells what the file as a whole does not: Ogg has its tags there.
fn read_metadata(text: &str, track: usize, media: &mut Media) {
    let mut in_chapter = false;
    let mut streams = 0;
    let mut of_track = Media::default();
    let (mut scale, mut start) = ((1_u64, 1000_u64), None);
    for line in text.lines() {
        if line.starts_with('[') {
            in_chapter = line == "[CHAPTER]";
            streams += usize::from(line == "[STREAM]");
            (scale, start) = ((1, 1000), None);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = unescape(value);
        if !in_chapter {
            if streams == 0 {
                tags::apply_named(key, &value, media);
            } else if streams == track {
                tags::apply_named(key, &value, &mut of_track);
            }
            continue;
        }
        match key {
            "TIMEBASE" => {
                scale = value
                    .split_once('/')
                    .and_then(|(top, bottom)| Some((top.parse().ok()?, bottom.parse().ok()?)))
                    .unwrap_or(scale);
            }
            "START" => start = value.parse::<u64>().ok(),
            "title" => {
                let millis = start.and_then(|ticks| {
                    let millis: u128 = u128::from(ticks) * u128::from(scale.0) * 1000;
                    u64::try_from(millis.checked_div(u128::from(scale.1))?).ok()
                });
                let title = tags::clean(&value);
                if let (Some(millis), Some(title)) = (millis, title) {
                    media.chapters.push(Chapter {
                        start: MediaTime::from_millis(millis),
                        title,
                    });
                }
            }
            _ => {}
        }
    }
    tags::order_chapters(&mut media.chapters);
    let fill = |field: &mut Option<String>, other: Option<String>| *field = field.take().or(other);
    fill(&mut media.title, of_track.title);
    fill(&mut media.artist, of_track.artist);
    fill(&mut media.album, of_track.album);
    fill(&mut media.date, of_track.date);
    fill(&mut media.language, of_track.language);
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        out.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    out
}

/// A recording that ffmpeg decodes.
pub(crate) struct Ffmpeg {
    child: ChildStream,
    media: Media,
    name: FileName,
    limits: Limits,
    /// Bytes of a sample that is not complete yet.
    pending: Vec<u8>,
    samples: u64,
    is_estimate: bool,
    warnings: Vec<String>,
}

impl Ffmpeg {
    pub(crate) fn open(path: &Path, program: &Path, options: &DecodeOptions, stage: Stage) -> Result<Self> {
        let name = FileName::new(path, stage);
        let (media, is_estimate) = describe(path, program, options, &name)?;
        let limits = options.limits;
        let track = options.track.unwrap_or(1).saturating_sub(1);
        let mut command = command(program, "error", path);
        command
            .args(["-map", &format!("0:a:{track}"), "-vn", "-sn", "-dn", "-af"])
            .arg(filter(media.channels, options.channel))
            .args(["-ac", "1", "-ar", &SAMPLE_RATE.to_string()])
            // A little more than allowed, to see whether there is more.
            .args(["-t", &(limits.max_duration.as_seconds_f64() + 1.0).to_string()])
            .args(["-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]);
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let wall = PROBE_WALL
            .saturating_add(Duration::from_secs(bytes / SLOWEST_BYTES))
            .saturating_add(Duration::from_millis(
                media.duration.map_or(0, MediaTime::as_millis),
            ));
        let child = start(command, program, wall, &name)?;
        Ok(Self {
            child,
            media,
            name,
            limits,
            pending: Vec::new(),
            samples: 0,
            is_estimate,
            warnings: Vec::new(),
        })
    }

    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Appends samples to `out`, perhaps none; false at the end.
    pub(crate) fn fill(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        let Some(block) = self.child.next().map_err(|reason| stopped(&self.name, reason))? else {
            return self.finish().map(|()| false);
        };
        self.pending.extend(block);
        let whole = self.pending.len() / BYTES * BYTES;
        let before = out.len();
        out.extend(
            self.pending
                .as_chunks::<BYTES>()
                .0
                .iter()
                .map(|sample| f32::from_le_bytes(*sample))
                .map(|sample| {
                    if sample.is_finite() {
                        sample.clamp(-1.0, 1.0)
                    } else {
                        0.0
                    }
                }),
        );
        self.pending.drain(..whole);
        self.samples += (out.len() - before) as u64;
        let length = MediaTime::from_millis(self.samples * 1000 / u64::from(SAMPLE_RATE));
        if length > self.limits.max_duration {
            return Err(container::too_long(&self.name, length, &self.limits));
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<()> {
        let (status, log) = self
            .child
            .finish()
            .map_err(|cause| self.name.io("decoded", cause))?;
        if self.samples == 0 && !status.success() {
            return Err(refused(&self.name, &log));
        }
        let decoded = self.samples * 1_000_000_000 / u64::from(SAMPLE_RATE);
        let announced = self
            .media
            .duration
            .map_or(0, |length| length.as_millis() * 1_000_000);
        let expected = if self.is_estimate {
            decoded
        } else {
            announced.max(decoded)
        };
        self.warnings = container::judge_length(&self.name, &self.limits, decoded, decoded, expected)?;
        if self.warnings.is_empty() && !status.success() {
            let ending = process::ending(status);
            self.warnings
                .push(format!("ffmpeg stopped before the end ({ending})"));
        }
        // Some formats do not say how long they are, so a damaged end is only known from what ffmpeg says.
        if self.warnings.is_empty() && !log.trim().is_empty() {
            self.warnings.push("ffmpeg found damage".to_owned());
            tracing::debug!(log, "ffmpeg found damage");
        }
        Ok(())
    }
}

/// One channel, or the average of all as everywhere else, with silence where timestamps have holes.
fn filter(channels: u16, channel: Option<u16>) -> String {
    let mixed = match channel {
        Some(number) => format!("c{}", number.saturating_sub(1)),
        None => (0..channels.max(1))
            .map(|index| format!("{}*c{index}", 1.0 / f64::from(channels.max(1))))
            .collect::<Vec<_>>()
            .join("+"),
    };
    format!("pan=mono|c0={mixed},aresample={SAMPLE_RATE}:async=1:min_hard_comp=0.25:first_pts=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read() {
        let log = "\
[mov @ 0x1] some warning
Input #0, matroska,webm, from 'file:/a/b.mkv':
  Metadata:
    title           : X
  Duration: 00:01:02.50, start: 0.000000, bitrate: 70 kb/s
  Stream #0:0: Video: h264 (High), yuv420p, 64x48, 5 fps
  Stream #0:1[0x2](eng): Audio: ac3 (AC-3 / 0x332D4341), 48000 Hz, 5.1(side), fltp, 448 kb/s (default)
  Stream #0:2(und): Audio: aac (HE-AACv2) (mp4a / 0x6134706D), 44100 Hz, stereo, fltp
Output #0, ffmetadata, to 'pipe:1':
  Stream #0:0: Audio: none
";
        let report = Report::parse(log);
        assert_eq!(report.container, "matroska");
        assert_eq!(report.duration, Some(MediaTime::from_millis(62_500)));
        let found: Vec<_> = report
            .tracks
            .iter()
            .map(|track| {
                (
                    track.codec.as_str(),
                    track.rate,
                    track.channels,
                    track.language.as_deref(),
                )
            })
            .collect();
        assert_eq!(found, [("ac3", 48_000, 6, Some("eng")), ("aac", 44_100, 2, None)]);
        assert!(report.tracks[1].profile.contains("HE-AAC"));
        assert!(
            Report::parse("x.bin: Invalid data found when processing input")
                .container
                .is_empty()
        );
    }

    #[test]
    fn layouts_have_channels() {
        let counts = [
            "mono",
            "stereo",
            "2.1",
            "5.1(side)",
            "7.1.4",
            "12 channels",
            "quad(side)",
            "odd",
        ]
        .map(channels);
        assert_eq!(counts, [1, 2, 3, 6, 12, 12, 4, 0]);
        assert_eq!(clock("N/A"), None);
    }

    #[test]
    fn metadata_is_read() {
        let text = ";FFMETADATA1\ntitle=A \\= B\nartist=C\nodd line\n[STREAM]\ntitle=no\n[CHAPTER]\nTIMEBASE=1/1000\n\
            START=2500\nEND=5000\ntitle=Second\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=2\ntitle=First\n\
            [CHAPTER]\nTIMEBASE=1/0\nSTART=7\ntitle=Never\n";
        let mut media = Media::default();
        read_metadata(text, 1, &mut media);
        assert_eq!(
            (media.title.as_deref(), media.artist.as_deref()),
            (Some("A = B"), Some("C"))
        );
        let chapters: Vec<_> = media
            .chapters
            .iter()
            .map(|chapter| (chapter.start.as_millis(), chapter.title.as_str()))
            .collect();
        assert_eq!(chapters, [(0, "First"), (2500, "Second")]);
    }

    #[test]
    fn paths_are_only_paths() {
        assert_eq!(input(Path::new("-i http://x")), "file:-i http://x");
        let sound = filter(2, None);
        assert!(sound.starts_with("pan=mono|c0=0.5*c0+0.5*c1,"), "{sound}");
        assert!(filter(6, Some(3)).starts_with("pan=mono|c0=c2,"));
    }
}
