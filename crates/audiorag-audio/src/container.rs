//! Opening a recording: which container, which track, which decoder, and what the headers say.

use crate::edit::{self, Edit};
use crate::file::{self, FileName, OpenFile};
use crate::patience::{Patience, Watched};
use crate::sniff::{self, Content};
use crate::{
    DecodeOptions, Limits, caf, chapters, cutoff, ending, ffmpeg, hidden, isolate, opus, riff, tags,
};
use audiorag_core::model::Media;
use audiorag_core::{Error, ErrorKind, MediaTime, Result, Stage};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::TimeBase;

pub(crate) const CONVERT: &str =
    "convert it first, for example with: ffmpeg -i INPUT -vn -ac 1 -ar 16000 OUTPUT.flac";
/// What helps with what only ffmpeg decodes, where it is not asked.
const WITH_FFMPEG: &str =
    "with the program ffmpeg on the PATH it is read as it is; without it on this machine,";

/// Reads the headers of a recording: container, codec, rate, channels, announced length and tags.
///
/// Only headers are read, so the length is what the container claims; see
/// [`PartReader::duration`](crate::PartReader::duration) for the truth. Content decides, the name plays no part.
///
/// # Errors
/// [`NotFound`](audiorag_core::ErrorKind::NotFound) for a missing path,
/// [`Unsupported`](audiorag_core::ErrorKind::Unsupported) for codecs and containers that are not decoded here,
/// [`Input`](audiorag_core::ErrorKind::Input) for everything else that is not a usable recording: directories,
/// pipes, empty, unreadable or too large files, other contents, video without sound.
pub fn probe(path: &Path) -> Result<Media> {
    probe_with(path, &DecodeOptions::default())
}

/// [`probe`] with other options than the default ones.
///
/// # Errors
/// As [`probe`], and [`Input`](audiorag_core::ErrorKind::Input) for a track or channel that the recording does not
/// have.
pub fn probe_with(path: &Path, options: &DecodeOptions) -> Result<Media> {
    let stage = Stage::Probe;
    let media = match &options.isolation {
        Some(isolation) => isolate::probe(path, options, isolation, stage),
        None => open(path, options, stage).map(|opened| opened.media),
    };
    match ffmpeg_for(path, options, media.as_ref(), stage) {
        Some(program) => ffmpeg::probe(path, program, options, stage),
        None => media,
    }
}

/// The ffmpeg program, when it is there and has to decode what was found, or not found, here.
pub(crate) fn ffmpeg_for<'a>(
    path: &Path,
    options: &'a DecodeOptions,
    media: Result<&Media, &Error>,
    stage: Stage,
) -> Option<&'a Path> {
    let program = options.ffmpeg.as_deref()?;
    let is_wanted = match media {
        Err(error) => error.kind() == ErrorKind::Unsupported,
        // High-efficiency AAC codes its lower half at half the rate, and need not say that there is another.
        Ok(media) => {
            media.codec == "aac"
                && media.sample_rate <= 24_000
                && ffmpeg::finds_high_efficiency(path, program, options.track, stage)
        }
    };
    is_wanted.then_some(program)
}

/// A recording whose headers have been read.
pub(crate) struct Opened {
    pub(crate) reader: Box<dyn FormatReader>,
    pub(crate) decoder: Box<dyn AudioDecoder>,
    pub(crate) track: u32,
    pub(crate) media: Media,
    pub(crate) name: FileName,
    /// Converts the track's timestamps to seconds.
    pub(crate) time_base: Option<TimeBase>,
    /// What an MP4 edit list asks for.
    pub(crate) edit: Edit,
    /// Whether the announced length is a statement rather than an estimate.
    pub(crate) is_announced: bool,
    /// Whether the file is known to be incomplete.
    pub(crate) is_cut_off: bool,
    /// What is wrong with the end of a file that states no length.
    pub(crate) ending: Option<&'static str>,
    /// The channel that is wanted, counted from 0; `None` for all.
    pub(crate) channel: Option<u16>,
    /// Knows when the decoder has had its time.
    pub(crate) patience: Patience,
}

/// Opens a recording to be decoded in this process.
pub(crate) fn open(path: &Path, options: &DecodeOptions, stage: Stage) -> Result<Opened> {
    let OpenFile {
        mut file,
        metadata,
        name,
    } = file::open(path, &options.limits, stage)?;
    check_content(&file, &name)?;
    let shown = caf::look(&file).map_err(|objection| {
        name.input(objection).with_hint(format!(
            "copy or download it again; if it plays elsewhere, {CONVERT}"
        ))
    })?;
    let edits = edit::of_tracks(&file);
    let is_cut_off = cutoff::is_cut_off(&file);
    let mut ending = ending::complaint(&file);
    let (chapters, patch) = chapters::of_file(&file);
    let mut patches = hidden::of_file(&file);
    patches.extend(patch);
    let listed = riff::of_file(&file);
    file.rewind().map_err(|cause| name.io("read", cause))?;
    let stall = Duration::from_millis(options.limits.max_stall.as_millis());
    let patience = Patience::new(stall, metadata.len());
    let counting = patience.count();
    // A file that is cut off is read as a stream, which promises no length. So is Ogg without the end of its last page:
    // Symphonia looks for that page before it gives out the first.
    let is_stream = is_cut_off || ending == Some(ending::WITHIN_PAGE);
    let mut length = (!is_stream).then_some(metadata.len());
    let mut stated = None;
    if let Some(shown) = shown {
        (length, stated, ending) = (Some(shown.end), shown.stated, shown.complaint);
        patches.extend(shown.patch);
    }
    let source = Watched::new(file, patience.clone(), length, patches);
    let opened = guarded(&name, "reading the headers", || {
        open_container(source, &edits, stated, &name, options)
    })?;
    drop(counting);
    opened
        .map(|mut opened| {
            (opened.is_cut_off, opened.ending) = (is_cut_off, ending);
            if opened.media.chapters.is_empty() {
                opened.media.chapters = chapters;
            }
            let Media {
                title,
                artist,
                album,
                date,
                language,
                ..
            } = listed;
            let media = &mut opened.media;
            media.title = media.title.take().or(title);
            media.artist = media.artist.take().or(artist);
            media.album = media.album.take().or(album);
            media.date = media.date.take().or(date);
            media.language = media.language.take().or(language);
            opened
        })
        .map_err(|error| {
            if patience.is_over() {
                isolate::too_slow(&name, stall)
            } else if patience.is_greedy() {
                hidden::too_much(&name)
            } else {
                error
            }
        })
}

fn check_content(file: &File, name: &FileName) -> Result<()> {
    let mut head = Vec::with_capacity(sniff::HEAD);
    file.take(sniff::HEAD as u64)
        .read_to_end(&mut head)
        .map_err(|cause| name.io("read", cause))?;
    match sniff::recognise(&head) {
        Content::Known => Ok(()),
        Content::Unsupported(what) => Err(name
            .error(
                Error::unsupported,
                format_args!("is in a format that is not decoded here: {what}"),
            )
            .with_hint(format!("{WITH_FFMPEG} {CONVERT}"))),
        Content::Foreign(what) => Err(name
            .input(format_args!("is not a recording: it seems to be {what}"))
            .with_hint("give an audio or video file")),
        Content::Unknown => Err(name
            .input("is not a recording in any known format")
            .with_hint(format!("give an audio or video file; if it is one, {CONVERT}"))),
    }
}

/// `stated`: the length in nanoseconds that the file states and Symphonia does not see.
fn open_container(
    source: Watched<File>,
    edits: &[(u32, Edit)],
    stated: Option<u64>,
    name: &FileName,
    options: &DecodeOptions,
) -> Result<Opened> {
    let limits = &options.limits;
    let patience = source.patience().clone();
    let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    let mut reader = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|error| unreadable(name, error))?;
    let (track, parameters) = choose_track(&*reader, options.track, name)?;
    if is_decoded_wrongly(&parameters) {
        let codec = codec_name(parameters.codec);
        return Err(unsupported_codec(
            name,
            &format!("{codec} with {} channels", channel_count(&parameters)),
        ));
    }
    let decoder = make_decoder(&parameters, name)?;

    let mut media = Media {
        container: container_name(&*reader),
        codec: codec_name(parameters.codec),
        sample_rate: parameters.sample_rate.unwrap_or(0),
        channels: channel_count(&parameters),
        ..Media::default()
    };
    check_shape(media.sample_rate, usize::from(media.channels), name, limits)?;
    if media.channels > 0 {
        check_channel(options.channel, usize::from(media.channels), name)?;
    }
    let mut edit = edits
        .iter()
        .find(|(id, _)| media.container == "mp4" && *id == track.id)
        .map_or_else(Edit::default, |(_, edit)| *edit);
    let mut announced = stated.or_else(|| announced(&track, &*reader, &parameters));
    if edit.skip == 0 {
        edit.skip = opus::nanos_before_start(&parameters);
        // Other containers announce the length with what is skipped.
        if media.container == "mkv" {
            announced = announced.map(|nanos| nanos.saturating_add(edit.skip));
        }
    }
    media.duration = announced
        .map(|nanos| {
            let played = nanos.saturating_sub(edit.skip);
            edit.lead
                .saturating_add(edit.play.map_or(played, |play| play.min(played)))
        })
        .map(|nanos| MediaTime::from_millis(nanos.div_ceil(1_000_000)));
    if let Some(length) = media.duration.filter(|length| *length > limits.max_duration) {
        return Err(too_long(name, length, limits));
    }
    tags::collect(&mut *reader, &mut media);
    if media.language.is_none() {
        media.language = track.language.as_deref().and_then(tags::language);
    }
    // MPEG streams without a LAME header only have an estimate; Matroska states the length of its longest
    // track, which need not be this one.
    let is_announced = match media.container.as_str() {
        "mp3" | "mp2" | "mp1" => track.delay.is_some(),
        "aac" | "mkv" | "webm" => false,
        _ => true,
    };
    Ok(Opened {
        reader,
        decoder,
        track: track.id,
        media,
        name: name.clone(),
        time_base: track.time_base,
        edit,
        is_announced,
        is_cut_off: false,
        ending: None,
        channel: options.channel.map(|channel| channel.saturating_sub(1)),
        patience,
    })
}

/// The error of a track, counted from 1, that is not there.
pub(crate) fn no_track(name: &FileName, number: u32, count: usize) -> Error {
    name.input(format_args!("has no audio track {number} of {count}"))
        .with_hint(format!("choose a track from 1 to {count}"))
}

/// Refuses a channel, counted from 1, that is not there.
pub(crate) fn check_channel(wanted: Option<u16>, channels: usize, name: &FileName) -> Result<()> {
    match wanted {
        Some(channel) if channel == 0 || usize::from(channel) > channels => Err(name
            .input(format_args!("has no channel {channel} of {channels}"))
            .with_hint(format!(
                "choose a channel from 1 to {channels}, or none to mix them"
            ))),
        _ => Ok(()),
    }
}

/// The audio track that is wanted, counted from 1, or the first with a decoder.
pub(crate) fn choose_track(
    reader: &dyn FormatReader,
    wanted: Option<u32>,
    name: &FileName,
) -> Result<(Track, AudioCodecParameters)> {
    let audio: Vec<(&Track, &AudioCodecParameters)> = reader
        .tracks()
        .iter()
        .filter_map(|track| {
            Some((
                track,
                track.codec_params.as_ref().and_then(CodecParameters::audio)?,
            ))
        })
        .collect();
    let codecs = opus::codecs();
    let can_decode = |parameters: &AudioCodecParameters| codecs.get_audio_decoder(parameters.codec).is_some();
    let audio = match wanted {
        Some(number) if !audio.is_empty() => {
            let chosen = (number as usize)
                .checked_sub(1)
                .and_then(|index| audio.get(index));
            vec![*chosen.ok_or_else(|| no_track(name, number, audio.len()))?]
        }
        _ => audio,
    };
    if let Some((track, parameters)) = audio.iter().find(|(_, parameters)| can_decode(parameters)) {
        let mut parameters = (*parameters).clone();
        if matches!(
            parameters.codec,
            codec::CODEC_ID_PCM_ALAW | codec::CODEC_ID_PCM_MULAW
        ) {
            // CAF states the eight bits of the coded sample where the decoder expects those of the decoded one.
            (parameters.bits_per_sample, parameters.bits_per_coded_sample) = (None, None);
        }
        return Ok(((*track).clone(), parameters));
    }
    if let Some((_, parameters)) = audio.first() {
        return Err(unsupported_codec(name, &codec_name(parameters.codec)));
    }
    let unknown = reader
        .tracks()
        .iter()
        .filter(|track| track.track_type().is_none())
        .count();
    let videos = reader
        .tracks()
        .iter()
        .filter(|track| track.track_type() == Some(TrackType::Video))
        .count();
    if videos == 0 && unknown > 0 {
        return Err(unsupported_codec(name, "unknown"));
    }
    Err(name
        .input("has no audio track")
        .with_hint("give a recording with sound"))
}

/// What Symphonia 0.6.1 decodes to something else than was encoded, without an error: channels of Vorbis in the layouts
/// of three, four, five, seven and eight, and ALAC's eight channels, which it takes for seven (tests/matrix.rs compares
/// the others with ffmpeg).
fn is_decoded_wrongly(parameters: &AudioCodecParameters) -> bool {
    let channels = channel_count(parameters);
    match parameters.codec {
        codec::CODEC_ID_VORBIS => !matches!(channels, 0 | 1 | 2 | 6),
        codec::CODEC_ID_ALAC => channels > 6,
        _ => false,
    }
}

fn unsupported_codec(name: &FileName, codec: &str) -> Error {
    name.error(
        Error::unsupported,
        format_args!("is encoded with a codec that is not decoded here: {codec}"),
    )
    .with_hint(format!("{WITH_FFMPEG} {CONVERT}"))
}

pub(crate) fn make_decoder(
    parameters: &AudioCodecParameters,
    name: &FileName,
) -> Result<Box<dyn AudioDecoder>> {
    // Trimming is done in `decode`, which survives wrong announcements.
    let options = AudioDecoderOptions::default().gapless(false);
    opus::codecs()
        .make_audio_decoder(parameters, &options)
        .map_err(|error| match error {
            SymphoniaError::Unsupported(detail) => {
                unsupported_codec(name, &format!("{} ({detail})", codec_name(parameters.codec)))
            }
            other => unreadable(name, other),
        })
}

/// Refuses rates and channel counts that no recording has.
pub(crate) fn check_shape(rate: u32, channels: usize, name: &FileName, limits: &Limits) -> Result<()> {
    // Zero: some containers leave it to the decoder.
    if rate != 0 && !(1000..=limits.max_sample_rate).contains(&rate) {
        return Err(name
            .input(format_args!("has an unusable sample rate of {rate} Hz"))
            .with_hint(CONVERT));
    }
    if channels > usize::from(limits.max_channels) {
        return Err(name
            .input(format_args!(
                "has {channels} channels, at most {} are allowed",
                limits.max_channels
            ))
            .with_hint(CONVERT));
    }
    Ok(())
}

pub(crate) fn too_long(name: &FileName, length: MediaTime, limits: &Limits) -> Error {
    name.input(format_args!(
        "is too long: {length}, at most {} are allowed",
        limits.max_duration
    ))
    .with_hint("cut it into several recordings")
}

/// Judges a finished recording by its length in nanoseconds: what was decoded, how far that reaches, and what was
/// expected. Returns warnings, or an error when too much is missing.
pub(crate) fn judge_length(
    name: &FileName,
    limits: &Limits,
    decoded: u64,
    position: u64,
    expected: u64,
) -> Result<Vec<String>> {
    let (have, want) = (seconds(decoded), seconds(expected));
    if (decoded as f64) < expected as f64 * limits.min_decodable {
        return Err(name
            .input(format_args!(
                "is cut off or damaged: only {have} of {want} s could be decoded"
            ))
            .with_hint("copy or download it again"));
    }
    if position < limits.min_duration.as_millis().saturating_mul(1_000_000) {
        return Err(name
            .input(format_args!("is too short: {} ms of audio", position / 1_000_000))
            .with_hint("give a recording that holds at least a word"));
    }
    // Announcements are rounded: half a percent or a quarter of a second is no loss.
    let is_loss = expected - decoded > (expected / 200).max(250_000_000);
    Ok(is_loss
        .then(|| format!("decoded {have} of {want} s"))
        .into_iter()
        .collect())
}

/// Whole seconds, or tenths below ten.
fn seconds(nanos: u64) -> String {
    let seconds = nanos as f64 / 1e9;
    if seconds < 10.0 {
        format!("{seconds:.1}")
    } else {
        format!("{seconds:.0}")
    }
}

fn unreadable(name: &FileName, error: SymphoniaError) -> Error {
    match error {
        SymphoniaError::IoError(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => name
            .input("is cut off: it ends within its headers")
            .with_hint("copy or download it again"),
        SymphoniaError::IoError(cause) => name.io("read", cause),
        SymphoniaError::Unsupported(detail) if detail.contains("moov") => name
            .input("is cut off: its index is missing")
            .with_hint("copy or download it again"),
        SymphoniaError::Unsupported(detail) => name
            .error(
                Error::unsupported,
                format_args!("is in a form of its format that is not decoded here: {detail}"),
            )
            .with_hint(CONVERT),
        other => name
            .input(format_args!("has headers that cannot be read: {other}"))
            .with_hint(format!(
                "copy or download it again; if it plays elsewhere, {CONVERT}"
            )),
    }
}

/// Runs decoder code. A panic in it is a defect of the file or the decoder, never the end of the program.
pub(crate) fn guarded<T>(name: &FileName, doing: &str, action: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(action)).map_err(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        name.input(format_args!("broke the decoder while {doing}"))
            .with_context("panic", message.lines().next().unwrap_or_default())
            .with_hint(format!("it is probably damaged; {CONVERT}"))
    })
}

fn channel_count(parameters: &AudioCodecParameters) -> u16 {
    let count = parameters
        .channels
        .as_ref()
        .map_or(0, symphonia::core::audio::Channels::count);
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// The announced length of the track in nanoseconds, before edits.
fn announced(track: &Track, reader: &dyn FormatReader, parameters: &AudioCodecParameters) -> Option<u64> {
    let from_frames = track
        .num_frames
        .zip(parameters.sample_rate)
        .and_then(|(frames, rate)| (rate > 0).then(|| u128::from(frames) * 1_000_000_000 / u128::from(rate)));
    let from_ticks = |base: Option<TimeBase>, ticks: Option<symphonia::core::units::Duration>| {
        let time = base?.calc_duration(ticks?)?;
        u128::try_from(time.as_nanos()).ok()
    };
    let info = reader.media_info();
    from_frames
        .or_else(|| from_ticks(track.time_base, track.duration))
        .or_else(|| from_ticks(info.time_base, info.duration))
        .and_then(|nanos| u64::try_from(nanos).ok())
        .filter(|nanos| *nanos > 0)
}

fn container_name(reader: &dyn FormatReader) -> String {
    match reader.format_info().short_name {
        "wave" => "wav",
        "isomp4" => "mp4",
        "matroska" => "mkv",
        other => other,
    }
    .to_owned()
}

/// The usual short name of a codec, whether it is decoded here or not.
pub(crate) fn codec_name(id: AudioCodecId) -> String {
    if let Some(registered) = opus::codecs().get_audio_decoder(id) {
        return registered.codec.info.short_name.to_owned();
    }
    match id {
        codec::CODEC_ID_SPEEX => "speex",
        codec::CODEC_ID_MUSEPACK => "musepack",
        codec::CODEC_ID_AC3 => "ac3",
        codec::CODEC_ID_EAC3 => "eac3",
        codec::CODEC_ID_AC4 => "ac4",
        codec::CODEC_ID_DCA => "dts",
        codec::CODEC_ID_WMA => "wma",
        codec::CODEC_ID_ADPCM_G722 => "g722",
        codec::CODEC_ID_ADPCM_G726 | codec::CODEC_ID_ADPCM_G726LE => "g726",
        codec::CODEC_ID_WAVPACK => "wavpack",
        codec::CODEC_ID_MONKEYS_AUDIO => "monkey's audio",
        codec::CODEC_ID_TTA => "tta",
        codec::CODEC_ID_TRUEHD => "truehd",
        _ => "unknown",
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
