//! The settings that shape a revision: what it is recognised by, and when it has to be built anew.

use super::Indexer;
use super::generation::generation_of;
use audiorag_core::id::{ConfigHash, ContentHash, KeyHasher};
use audiorag_core::model::{EmbeddingSpace, Media};
use audiorag_core::speaker::SpeakerNames;
use audiorag_core::{Error, Result};
use audiorag_state::{RevisionPlan, RevisionRecord, SourceRecord, State};
use serde_json::{Value, json};

/// What of a source itself shapes its revisions, besides the settings. Sources without any of it have the settings
/// alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    chapters: Option<String>,
    speakers: Option<String>,
}

impl Shape {
    /// That of a source with these headers and names.
    pub(crate) fn new(media: &Media, names: &SpeakerNames) -> Self {
        let chapters = media
            .chapters
            .iter()
            .fold(KeyHasher::new("chapters/1"), |key, chapter| {
                key.number(chapter.start.as_millis()).text(&chapter.title)
            });
        Self {
            chapters: (!media.chapters.is_empty()).then(|| chapters.finish()),
            speakers: names.fingerprint(),
        }
    }

    /// That of a source as it is known.
    pub(crate) async fn of(state: &State, source: &SourceRecord) -> Result<Self> {
        let names = state.speaker_names(&source.id).await?;
        Ok(Self::new(&source.media.clone().unwrap_or_default(), &names))
    }
}

/// How the labels of speakers are made, for transcribers that tell speakers apart.
const LABELS: &str = "labels";

/// The settings that shape a revision.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) hash: ConfigHash,
    pub(crate) json: Value,
    /// Whether a transcript that was once named for a source stays its own.
    pub(crate) keeps: bool,
}

impl Config {
    pub(crate) fn new(json: Value) -> Self {
        // serde_json keeps object keys sorted, so equal settings give equal text.
        let hash = ConfigHash::from_stored(KeyHasher::new("config/1").text(&json.to_string()).finish());
        Self {
            hash,
            json,
            keeps: false,
        }
    }

    /// The settings that a source with this live revision and shape would be built with now.
    pub(crate) fn as_of(&self, live: &RevisionRecord, shape: &Shape) -> Self {
        self.keeping(live)
            .of_generation(generation_of(live))
            .shaped(shape)
    }

    /// The same settings for a source of this shape.
    pub(crate) fn shaped(&self, shape: &Shape) -> Self {
        self.with("chapters", shape.chapters.as_deref().map(Value::from))
            .with("speakers", shape.speakers.as_deref().map(Value::from))
    }

    /// The same with one setting more, or less.
    pub(super) fn with(&self, name: &str, value: Option<Value>) -> Self {
        let mut json = self.json.clone();
        if let Value::Object(json) = &mut json {
            match value {
                Some(value) => json.insert(name.to_owned(), value),
                None => json.remove(name),
            };
        }
        Self {
            keeps: self.keeps,
            ..Self::new(json)
        }
    }

    /// What a revision of `content` is begun with.
    pub(crate) fn plan(&self, content: &ContentHash, space: &EmbeddingSpace) -> RevisionPlan {
        RevisionPlan {
            content: content.clone(),
            config: self.hash.clone(),
            config_json: self.json.to_string(),
            space: space.clone(),
        }
    }
}

impl Indexer {
    /// The settings that shape a revision, as data.
    pub(crate) fn config_json(&self, title: Option<&str>) -> Value {
        let mut json = json!({
            "audio": self.settings.speech.audio_fingerprint(),
            "transcriber": self.transcriber.info().fingerprint(),
            "language": self.settings.speech.language,
            "prompt": self.settings.speech.prompt,
            "chunking": self.settings.chunks.fingerprint(),
            "embedder": self.embedder.info().fingerprint(),
            "space": self.embedder.space().fingerprint(),
            "title": title,
        });
        // Transcribers that tell nobody apart have no labels that could be written in another way.
        if let (Value::Object(json), true) = (&mut json, self.transcriber.limits().speakers) {
            json.insert(LABELS.to_owned(), "part/1".into());
        }
        json
    }

    /// The settings of a source's revision, with today's for what follows the transcript.
    pub(super) async fn config_like(&self, live: &RevisionRecord, source: &SourceRecord) -> Result<Config> {
        let mut json = read_config(live)?;
        let today = self.config_json(None);
        if let (Value::Object(json), Value::Object(today)) = (&mut json, today) {
            let same_voice = json.get("transcriber") == today.get("transcriber");
            for (name, value) in today {
                let follows = ["chunking", "embedder", "space"].contains(&name.as_str());
                if follows || (name == LABELS && same_voice) {
                    json.insert(name, value);
                }
            }
        }
        Ok(Config::new(json).shaped(&Shape::of(&self.state, source).await?))
    }
}

pub(super) fn read_config(revision: &RevisionRecord) -> Result<Value> {
    serde_json::from_str(&revision.config_json).map_err(|error| {
        Error::state(format!("the settings of revision {} cannot be read", revision.id))
            .with_cause(error)
            .with_hint("run `audiorag index --force` on the source")
    })
}

/// The title that the user gave when the revision was made.
pub(super) fn title_of(config: &Config) -> Option<String> {
    config.json.get("title")?.as_str().map(str::to_owned)
}

/// Whether two settings differ at most in what the source itself adds to them.
pub(crate) fn is_same_but_for_its_source(one: &Value, other: &Value) -> bool {
    let plain = |json: &Value| Config::new(json.clone()).shaped(&Shape::default()).json;
    plain(one) == plain(other)
}
