//! Transcripts that come with a recording and take the place of speech-to-text.
//!
//! A transcript lies beside the recording, or is named for it. Its bytes are read and understood in every run, so that an
//! edited, a new or a removed one changes the source although the recording is as it was. What it says becomes the
//! transcript of a single part that is the whole recording, and from there on nothing is special about it.

use super::config::Config;
use super::discover::{Found, Offered};
use super::event::IndexEvent;
use super::identify::{Target, blocking};
use super::stage::Stages;
use super::transcribe::PartsReport;
use super::{IndexOptions, Indexer};
use crate::captions::{self, CAPTIONS_VERSION, GivenTranscript};
use crate::settings::TranscriptMode;
use audiorag_core::id::{ContentHash, KeyHasher, PartKey, RevisionId};
use audiorag_core::language::primary;
use audiorag_core::model::Media;
use audiorag_core::{Error, Locator, MediaTime, Result, Span, Stage};
use audiorag_state::{Lease, NewTranscript, PartRow, RevisionRecord};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// What a transcript is called that was named in an earlier run.
pub(super) const NAMED_BEFORE: &str = "the one named for it";
/// Why a source is not transcribed again.
pub(super) const GIVEN: &str =
    "its transcript was given: `audiorag index --transcript never` has it transcribed";
/// The name of a given transcript in the settings of a revision.
const TRANSCRIPT: &str = "transcript";
/// Inside it: whether the user named it for this recording.
const NAMED: &str = "named";
/// What the settings of a revision with a given transcript do not depend on.
const OF_SPEECH: [&str; 5] = ["audio", "transcriber", "language", "prompt", "labels"];
/// Extensions of transcripts, those that say most first.
const EXTENSIONS: [&str; 4] = ["json", "vtt", "srt", "tsv"];

/// A transcript before it is read.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The file or address it came from, or its media type: for messages.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) bytes: Vec<u8>,
    /// The language that its name or whoever offers it says it is in.
    pub(crate) language: Option<String>,
    /// Whether the user named it for this recording, so that it stays in use when it is not named again.
    pub(crate) named: bool,
}

/// A transcript that can be indexed.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) name: String,
    given: GivenTranscript,
    /// What its bytes are recognised by.
    hash: String,
    named: bool,
}

/// What is to be used for a recording.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// The transcript; speech-to-text where there is none.
    pub(crate) ready: Option<Ready>,
    /// Why others were not used, in sentences for the user.
    pub(crate) complaints: Vec<String>,
}

impl Ready {
    /// Reads a transcript. One that does not say its language is in the one its name tells, or in `language`.
    pub(crate) fn new(given: Given, language: Option<&str>) -> Result<Self> {
        let mut parsed = captions::parse(&given.bytes, &given.name)?;
        let told = given.language.or_else(|| language.map(str::to_owned));
        parsed.transcript.language = parsed.transcript.language.or(told);
        Ok(Self {
            name: given.name,
            given: parsed,
            hash: KeyHasher::new("captions/1").bytes(&given.bytes).finish(),
            named: given.named,
        })
    }

    /// What a revision made from it says of it.
    fn json(&self) -> Value {
        json!({
            "hash": self.hash,
            "version": CAPTIONS_VERSION,
            "language": self.given.transcript.language,
            NAMED: self.named,
        })
    }

    /// What it says of a recording of this length, or of its own where the headers do not tell.
    fn for_recording(&self, duration: Option<MediaTime>) -> GivenTranscript {
        let duration = duration.filter(|length| *length > MediaTime::ZERO);
        let given = self.given.clone();
        let duration = duration.unwrap_or(given.transcript.duration);
        given.within(duration)
    }

    /// The transcript as it will be cut, for a plan.
    pub(super) fn transcript(&self, media: &Media) -> audiorag_core::model::Transcript {
        self.for_recording(media.duration).transcript
    }
}

impl Config {
    /// The same settings with a transcript that is given.
    fn with_transcript(&self, transcript: &Value) -> Self {
        let mut json = self.json.clone();
        if let Value::Object(fields) = &mut json {
            for name in OF_SPEECH {
                fields.remove(name);
            }
            fields.insert(TRANSCRIPT.to_owned(), transcript.clone());
        }
        Self {
            keeps: false,
            ..Self::new(json)
        }
    }

    /// The same settings for a source with this live revision: a transcript that was named for it stays, where this
    /// run has no other.
    pub(super) fn keeping(&self, live: &RevisionRecord) -> Self {
        match given_of(live) {
            Some(given) if self.keeps && given.get(NAMED).and_then(Value::as_bool) == Some(true) => {
                self.with_transcript(&given)
            }
            _ => self.clone(),
        }
    }
}

/// What a revision says of the transcript that was given for it.
pub(crate) fn given_of(live: &RevisionRecord) -> Option<Value> {
    let json: Value = serde_json::from_str(&live.config_json).ok()?;
    json.get(TRANSCRIPT).filter(|given| given.is_object()).cloned()
}

/// Refuses one transcript for several recordings.
pub(super) fn refuse_several(options: &IndexOptions, sources: usize) -> Result<()> {
    if options.transcript_file.is_some() && sources != 1 {
        return Err(
            Error::input(format!("one transcript is named for {sources} recordings")).with_hint(
                "name one recording, or put each transcript beside its own: talk.srt beside talk.mp3",
            ),
        );
    }
    Ok(())
}

impl Indexer {
    /// The settings that shape a revision made with or without a given transcript.
    pub(super) fn config(&self, title: Option<&str>, given: Option<&Ready>) -> Config {
        let config = Config::new(self.config_json(title));
        match given {
            Some(ready) => config.with_transcript(&ready.json()),
            None => Config {
                keeps: self.settings.transcript != TranscriptMode::Never,
                ..config
            },
        }
    }

    /// Which transcript takes the place of speech-to-text for a recording.
    ///
    /// # Errors
    /// For a named transcript that cannot be read, and when only given ones may be used and none can.
    pub(super) async fn given(&self, found: &Found, options: &IndexOptions) -> Result<Choice> {
        let locator = &found.locator;
        let language = self.settings.speech.language.clone();
        if let Some(path) = options.transcript_file.clone() {
            let read = blocking(move || Ready::new(read(&path, None, true)?, language.as_deref())).await;
            return Ok(Choice {
                ready: Some(read.map_err(|error| error.with_stage(Stage::Probe))?),
                complaints: Vec::new(),
            });
        }
        let mode = self.settings.transcript;
        let (Some(path), true) = (
            locator.as_path().map(Path::to_owned),
            mode != TranscriptMode::Never,
        ) else {
            // Nothing is fetched that could not be used.
            let offers = found
                .remote
                .as_ref()
                .is_some_and(|remote| !remote.transcripts.is_empty());
            if mode == TranscriptMode::Only && !offers && self.named_for(locator).await?.is_none() {
                return Err(refuse_to_transcribe(&[], "no transcript is offered for it"));
            }
            return Ok(Choice::default());
        };
        let sidecars = self.sidecars.clone();
        let beside = blocking(move || Ok(sidecars.choose(&path, language.as_deref()))).await?;
        if mode == TranscriptMode::Only && beside.ready.is_none() && self.named_for(locator).await?.is_none()
        {
            return Err(refuse_to_transcribe(
                &beside.complaints,
                "no transcript lies beside it",
            ));
        }
        Ok(beside)
    }

    /// Which transcript of a feed takes the place of speech-to-text for an episode that is to be built. One that was
    /// used for the same recording before is not fetched again, unless everything is to be made anew.
    pub(super) async fn given_by_feed(
        &self,
        found: &Found,
        target: &Target,
        options: &IndexOptions,
        cancel: &CancellationToken,
    ) -> Result<Choice> {
        let mode = self.settings.transcript;
        let live = self.state.live_revision(&target.source.id).await?;
        let live = live.filter(|live| live.content == target.fingerprint.content);
        let kept = live.as_ref().and_then(given_of).is_some();
        if mode == TranscriptMode::Never || (kept && !options.force) {
            return Ok(Choice::default());
        }
        let remote = found.remote.as_deref();
        let asked = self.settings.speech.language.clone();
        let language = remote
            .and_then(|remote| remote.said.as_ref()?.language.clone())
            .or_else(|| asked.clone());
        let mut links: Vec<_> = remote
            .map(|remote| remote.transcripts.iter().collect())
            .unwrap_or_default();
        // A translation is no transcript of what is said: one in the language of the episode comes first.
        let wanted = asked.or_else(|| language.clone());
        links.sort_by_key(|link: &&Offered| {
            let translated = link.language.as_deref().zip(wanted.as_deref());
            let translated = translated.is_some_and(|(its, wanted)| primary(its) != primary(wanted));
            (translated, preference(&link.url, link.media_type.as_deref()))
        });
        let mut choice = Choice::default();
        for Offered {
            url, language: its, ..
        } in links
        {
            let fetched = self.web.document(url, cancel).await;
            if cancel.is_cancelled() {
                return Err(Error::cancelled("interrupted while a transcript was fetched"));
            }
            let ready = fetched.and_then(|bytes| {
                let given = Given {
                    // What follows may be a key to it.
                    name: url.split(['?', '#']).next().unwrap_or(url).to_owned(),
                    bytes,
                    language: its.clone(),
                    named: true,
                };
                Ready::new(given, language.as_deref())
            });
            match ready {
                Ok(ready) => {
                    choice.ready = Some(ready);
                    return Ok(choice);
                }
                Err(error) => choice.complaints.push(error.report()),
            }
        }
        if mode == TranscriptMode::Only && !kept {
            return Err(refuse_to_transcribe(
                &choice.complaints,
                "its feed offers no transcript",
            ));
        }
        Ok(choice)
    }

    /// The transcript that was once named for a source.
    async fn named_for(&self, locator: &Locator) -> Result<Option<Value>> {
        let Some(source) = self.state.find_source(locator).await? else {
            return Ok(None);
        };
        let live = self.state.live_revision(&source.id).await?;
        let given = live.as_ref().and_then(given_of);
        Ok(given.filter(|given| given.get(NAMED).and_then(Value::as_bool) == Some(true)))
    }

    /// The part of a live revision whose transcript was named for its source, where the settings keep it and it is
    /// stored.
    pub(super) async fn kept(
        &self,
        config: &Config,
        live: Option<&RevisionRecord>,
    ) -> Result<Option<PartRow>> {
        let Some(live) = live else { return Ok(None) };
        if !config.keeps || config.keeping(live).keeps {
            return Ok(None);
        }
        let mut parts = self.state.parts_of(live.id).await?;
        let Some(part) = parts.pop().filter(|_| parts.is_empty()) else {
            return Ok(None);
        };
        match &part.key {
            Some(key) if self.state.part_transcript(key).await?.is_some() => Ok(Some(part)),
            _ => Ok(None),
        }
    }

    /// Stores a given transcript as the only part of a revision.
    pub(super) async fn take_given(
        &self,
        lease: &Lease,
        revision: RevisionId,
        target: &Target,
        media: &Media,
        ready: &Ready,
        stages: Stages<'_>,
    ) -> Result<PartsReport> {
        let content = &target.fingerprint.content;
        let given = ready.for_recording(media.duration);
        for warning in &given.warnings {
            stages.warn(format!("{}: {warning}", ready.name));
        }
        let duration = given.transcript.duration;
        let provider = format!("given/{}@{CAPTIONS_VERSION}", given.format.as_str());
        let key = key_of(content, ready, duration);
        let span = Span::between(MediaTime::ZERO, duration);
        let transcript = given.into_part();
        let new = NewTranscript {
            content,
            span,
            provider: &provider,
            transcript: &transcript,
            paid: None,
        };
        self.state.save_part_transcript(lease, &key, &new).await?;
        let part = PartRow {
            index: 0,
            span,
            key: Some(key),
        };
        self.take_part(lease, revision, &part, stages).await
    }

    /// Records a part that is the whole recording.
    pub(super) async fn take_part(
        &self,
        lease: &Lease,
        revision: RevisionId,
        part: &PartRow,
        stages: Stages<'_>,
    ) -> Result<PartsReport> {
        self.state.record_part(lease, revision, part).await?;
        stages.event(IndexEvent::Part {
            source: stages.source().to_owned(),
            index: 0,
            end: part.span.end(),
            duration: Some(part.span.end()),
            reused: true,
        });
        Ok(PartsReport {
            duration: part.span.end(),
            reused: 1,
            ..PartsReport::default()
        })
    }
}

/// The error for a recording without a transcript where nothing is to be transcribed.
fn refuse_to_transcribe(complaints: &[String], otherwise: &str) -> Error {
    let reason = if complaints.is_empty() {
        otherwise.to_owned()
    } else {
        complaints.join("; ")
    };
    Error::input(format!("{reason}, and only given transcripts are to be used"))
        .with_stage(Stage::Probe)
        .with_hint(
            "put one beside the recording, as talk.srt beside talk.mp3, name one with --transcript-file, or have it \
             transcribed with --transcript auto",
        )
}

/// Which of the transcripts of an episode is tried first: by its media type or the end of its address, what says most.
fn preference(url: &str, media_type: Option<&str>) -> usize {
    let url = url.split(['?', '#']).next().unwrap_or(url).to_ascii_lowercase();
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    let is = |extension: &&str| media_type.contains(*extension) || url.ends_with(&format!(".{extension}"));
    EXTENSIONS.iter().position(is).unwrap_or(EXTENSIONS.len())
}

/// The key of the transcript that a file gives a recording of this length.
fn key_of(content: &ContentHash, ready: &Ready, duration: MediaTime) -> PartKey {
    PartKey::from_stored(
        KeyHasher::new("given/1")
            .text(content.as_str())
            .number(duration.as_millis())
            .number(u64::from(CAPTIONS_VERSION))
            .text(&ready.hash)
            .optional(ready.given.transcript.language.as_deref())
            .finish(),
    )
}

/// Reads the file of a transcript, never more of it than is ever understood.
fn read(path: &Path, language: Option<String>, named: bool) -> Result<Given> {
    let name = Locator::File(path.to_owned()).to_string();
    let unreadable = |error| {
        Error::input(format!("the transcript '{name}' cannot be read"))
            .with_cause(error)
            .with_hint("check its path and that you may read it")
    };
    // A pipe would be waited for until somebody writes.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::input(format!("the transcript '{name}' is not a file")));
    }
    let mut bytes = Vec::new();
    let most = captions::MAX_BYTES as u64 + 1;
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    let name = path
        .file_name()
        .map_or(name, |name| name.to_string_lossy().into_owned());
    Ok(Given {
        name,
        bytes,
        language,
        named,
    })
}

/// The transcripts in folders, each folder looked at once in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sidecars(Arc<Mutex<HashMap<PathBuf, Arc<BTreeSet<OsString>>>>>);

/// A file beside a recording that may be its transcript.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// How its name is made from the recording's: what names it best comes first.
    rank: usize,
    /// Place among [`EXTENSIONS`].
    extension: usize,
    tag: Option<String>,
    name: OsString,
}

impl Sidecars {
    /// The first transcript beside a recording that can be read.
    fn choose(&self, recording: &Path, language: Option<&str>) -> Choice {
        let mut choice = Choice::default();
        let Some(folder) = recording.parent() else {
            return choice;
        };
        let mut candidates = candidates(&self.of(folder), recording);
        candidates.sort();
        let tags: BTreeSet<String> = candidates
            .iter()
            .filter_map(|candidate| candidate.tag.clone())
            .collect();
        let untagged = candidates.iter().any(|candidate| candidate.tag.is_none());
        if tags.len() > 1 && !untagged && !tags.iter().any(|tag| speaks(tag, language)) {
            choice.complaints.push(format!(
                "transcripts in several languages lie beside it ({}) and none is used: say which with --language",
                tags.into_iter().collect::<Vec<_>>().join(", ")
            ));
            return choice;
        }
        for candidate in candidates {
            let fits = candidate
                .tag
                .as_deref()
                .is_none_or(|tag| tags.len() == 1 || speaks(tag, language));
            if !fits {
                continue;
            }
            let given = read(&folder.join(&candidate.name), candidate.tag, false);
            match given.and_then(|given| Ready::new(given, language)) {
                Ok(ready) => {
                    choice.ready = Some(ready);
                    return choice;
                }
                Err(error) => choice.complaints.push(error.report()),
            }
        }
        choice
    }

    /// The transcripts of a folder, by name. A folder that cannot be listed has none.
    fn of(&self, folder: &Path) -> Arc<BTreeSet<OsString>> {
        let known = |folders: &HashMap<PathBuf, Arc<BTreeSet<OsString>>>| folders.get(folder).cloned();
        if let Some(names) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return names;
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names: BTreeSet<OsString> = entries
            .map(|entry| entry.file_name())
            .filter(|name| extension_of(Path::new(name)).is_some())
            .collect();
        let names = Arc::new(names);
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        folders.insert(folder.to_owned(), Arc::clone(&names));
        names
    }
}

/// Whether a language tag is of the language asked for, whatever the region.
fn speaks(tag: &str, language: Option<&str>) -> bool {
    language.is_some_and(|language| primary(language) == primary(tag))
}

fn extension_of(name: &Path) -> Option<usize> {
    let extension = name.extension().and_then(OsStr::to_str)?;
    EXTENSIONS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(extension))
}

/// What among the names may be the transcript of a recording: `talk.mp3.srt`, `talk.srt`, and with a language before
/// the extension.
fn candidates(names: &BTreeSet<OsString>, recording: &Path) -> Vec<Candidate> {
    let (Some(whole), Some(stem)) = (recording.file_name(), recording.file_stem()) else {
        return Vec::new();
    };
    let begin = stem.as_encoded_bytes();
    names
        .range::<OsStr, _>((Bound::Included(stem), Bound::Unbounded))
        .take_while(|name| name.as_encoded_bytes().starts_with(begin))
        .filter_map(|name| {
            let path = Path::new(name);
            let extension = extension_of(path)?;
            let named = path.file_stem()?;
            let rank = |named: &OsStr| match named {
                _ if named == whole => Some(0),
                _ if named == stem => Some(1),
                _ => None,
            };
            if let Some(rank) = rank(named).filter(|_| name != whole) {
                return Some(Candidate {
                    rank,
                    extension,
                    tag: None,
                    name: name.clone(),
                });
            }
            let tag = Path::new(named).extension().and_then(OsStr::to_str)?;
            let rank = rank(Path::new(named).file_stem()?)?;
            captions::is_tag(tag).then(|| Candidate {
                rank: rank + 2,
                extension,
                tag: Some(tag.to_owned()),
                name: name.clone(),
            })
        })
        .collect()
}
