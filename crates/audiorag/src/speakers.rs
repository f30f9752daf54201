//! Who speaks in the recordings, and what they are called.
//!
//! Transcripts keep the labels that they came with. A name is kept beside them, in one transaction for all that it
//! concerns, and from then on it is what transcripts, exports, filters and answers have. The chunks that it stands in are
//! made anew from the stored transcripts, as by `reindex --rechunk`: nothing is transcribed, and only texts that are
//! headed by the name are embedded again. A run that ends in between leaves sources that are not up to date, which the
//! next `index` or `reindex --rechunk` sees and mends.

use crate::index::{IndexObserver, IndexReport, Reindex, ReindexOptions};
use crate::{AudioRag, CancellationToken};
use audiorag_core::id::SourceId;
use audiorag_core::model::Transcript;
use audiorag_core::speaker::{SpeakerNames, check_name, is_anonymous};
use audiorag_core::{Error, MediaTime, Result};
use audiorag_state::{SourceRecord, SpeakerName};
use std::collections::{BTreeMap, BTreeSet};

/// Somebody who speaks in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// What they are called.
    pub name: String,
    /// The source.
    pub source_id: SourceId,
    /// Its title.
    pub title: String,
    /// What its transcript calls them; several when speakers were merged.
    pub labels: Vec<String>,
    /// How many segments they speak.
    pub segments: usize,
    /// How long those are together.
    pub time: MediaTime,
}

/// In which sources a name is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamingScope {
    /// In this one.
    Source(SourceId),
    /// In all of them, and in those that are indexed later.
    All,
}

/// A source with what its transcript calls its speakers.
struct Voices {
    source: SourceRecord,
    transcript: Transcript,
    names: SpeakerNames,
}

impl Voices {
    fn labels(&self) -> BTreeSet<String> {
        let labels = self
            .transcript
            .segments
            .iter()
            .filter_map(|segment| segment.speaker.clone());
        labels.collect()
    }

    fn speakers(&self) -> Vec<Speaker> {
        let mut speakers: BTreeMap<&str, Speaker> = BTreeMap::new();
        for segment in &self.transcript.segments {
            let Some(label) = &segment.speaker else { continue };
            let name = self.names.name_of(label);
            let speaker = speakers.entry(name).or_insert_with(|| Speaker {
                name: name.to_owned(),
                source_id: self.source.id.clone(),
                title: self.source.title.clone(),
                labels: Vec::new(),
                segments: 0,
                time: MediaTime::ZERO,
            });
            if !speaker.labels.contains(label) {
                speaker.labels.push(label.clone());
            }
            speaker.segments += 1;
            speaker.time = speaker.time.saturating_add(segment.span.duration());
        }
        speakers.into_values().collect()
    }
}

impl AudioRag {
    /// Who speaks, by name: in a source, or in all of them.
    ///
    /// # Errors
    /// [`State`](crate::ErrorKind::State) when the database cannot be read.
    pub async fn speakers(&self, source: Option<&SourceId>) -> Result<Vec<Speaker>> {
        let scope = source.map_or(NamingScope::All, |id| NamingScope::Source(id.clone()));
        let mut speakers: Vec<Speaker> = self
            .voices(&scope)
            .await?
            .iter()
            .flat_map(Voices::speakers)
            .collect();
        speakers.sort_by(|a, b| (&a.name, &a.title, &a.source_id).cmp(&(&b.name, &b.title, &b.source_id)));
        Ok(speakers)
    }

    /// Calls somebody by another name. `old` is what they are called, or else what the transcript calls them; calling
    /// them that again takes the name back. Returns the report of the sources that were made anew.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when nobody is called `old`, [`Input`](crate::ErrorKind::Input) for an
    /// empty name, and for a label such as `speaker 0` in all sources, where it is somebody else in each; otherwise as
    /// for [`reindex`](Self::reindex).
    pub async fn rename_speaker(
        &self,
        scope: &NamingScope,
        old: &str,
        new: &str,
        observer: &dyn IndexObserver,
        cancel: CancellationToken,
    ) -> Result<IndexReport> {
        self.merge_speakers(scope, &[old.to_owned()], new, observer, cancel)
            .await
    }

    /// Gives several speakers, who are the same person, one name. Each of them can be told apart again by the label
    /// that the transcript has, with [`rename_speaker`](Self::rename_speaker).
    ///
    /// # Errors
    /// As for [`rename_speaker`](Self::rename_speaker); when one is not found, nothing is changed.
    pub async fn merge_speakers(
        &self,
        scope: &NamingScope,
        old: &[String],
        into: &str,
        observer: &dyn IndexObserver,
        cancel: CancellationToken,
    ) -> Result<IndexReport> {
        let into = check_name(into)?;
        let voices = self.voices(scope).await?;
        let mut changes: BTreeMap<(Option<SourceId>, String), Option<String>> = BTreeMap::new();
        let mut sources: BTreeSet<SourceId> = BTreeSet::new();
        for old in old {
            if *scope == NamingScope::All && is_anonymous(old) {
                return Err(
                    Error::input(format!("'{old}' is somebody else in every recording")).with_hint(
                        "name the speaker in one source first: audiorag speakers rename SOURCE OLD NEW",
                    ),
                );
            }
            let mut found = false;
            for voices in &voices {
                for (label, name) in voices.names.renamed(&voices.labels(), old, &into) {
                    found = true;
                    sources.insert(voices.source.id.clone());
                    changes.insert((Some(voices.source.id.clone()), label), name);
                }
            }
            if !found {
                return Err(nobody(old, &voices));
            }
        }
        if *scope == NamingScope::All {
            let common = self.state.common_speaker_names().await?;
            let known = common
                .iter()
                .filter(|(_, name)| old.contains(name))
                .map(|(label, _)| label);
            for label in known.chain(old) {
                let name = (*label != into).then(|| into.clone());
                changes.insert((None, label.clone()), name);
            }
        }
        let changes: Vec<SpeakerName> = changes
            .into_iter()
            .map(|((source, label), name)| SpeakerName { source, label, name })
            .collect();
        let options = ReindexOptions {
            what: Reindex::Rechunk,
            sources: sources.into_iter().collect(),
            max_cost: None,
        };
        // What keeps sources from being made anew is better known before the names are changed.
        self.plan_reindex(&options).await?;
        self.state.name_speakers(&changes).await?;
        self.reindex(options, observer, cancel).await
    }

    /// The sources of a scope in which somebody speaks who can be told from others.
    async fn voices(&self, scope: &NamingScope) -> Result<Vec<Voices>> {
        let sources = match scope {
            NamingScope::Source(id) => vec![id.clone()],
            NamingScope::All => {
                let indexed = self.state.indexed_speakers().await?;
                let sources: BTreeSet<SourceId> = indexed.into_iter().map(|count| count.source).collect();
                sources.into_iter().collect()
            }
        };
        let mut voices = Vec::with_capacity(sources.len());
        for id in sources {
            let live = self.state.live_revision(&id).await?;
            if let Some((source, live)) = self.state.source(&id).await?.zip(live) {
                voices.push(Voices {
                    transcript: self.state.labelled_transcript(live.id).await?,
                    names: self.state.speaker_names(&id).await?,
                    source,
                });
            }
        }
        Ok(voices)
    }
}

fn nobody(name: &str, voices: &[Voices]) -> Error {
    let known: BTreeSet<String> = voices
        .iter()
        .flat_map(Voices::speakers)
        .map(|speaker| speaker.name)
        .collect();
    let known: Vec<String> = known.into_iter().take(20).collect();
    let error = Error::not_found(format!("nobody is called '{name}'"));
    if known.is_empty() {
        error.with_hint(
            "no speakers are known: they come from transcripts with names and from speech-to-text that tells them apart",
        )
    } else {
        error.with_hint(format!("known speakers: {}", known.join(", ")))
    }
}
