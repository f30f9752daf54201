//! Verbs on the names of speakers.
//!
//! Transcripts are kept with the labels that they came with. Names are kept beside them and given whenever a transcript
//! is read, so that a name can be taken back, and so that nothing has to be transcribed for it.

use crate::State;
use crate::db::{commit, sql};
use crate::failpoint::Step;
use crate::fault::Attempt;
use crate::revision::{LIVE, assembled};
use audiorag_core::Result;
use audiorag_core::id::{RevisionId, SourceId};
use audiorag_core::model::Transcript;
use audiorag_core::speaker::SpeakerNames;
use sea_orm::ConnectionTrait;
use std::collections::BTreeMap;

/// A name that is given, or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerName {
    /// The source in which it counts; every source when absent.
    pub source: Option<SourceId>,
    /// Whose name it is, as the transcript has them.
    pub label: String,
    /// What they are called; their label again when absent.
    pub name: Option<String>,
}

/// The chunks of the live index that somebody speaks in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerCount {
    /// The name.
    pub name: String,
    /// The source.
    pub source: SourceId,
    /// How many chunks of its live revision.
    pub chunks: u64,
}

impl State {
    /// What the speakers of a source are called.
    pub async fn speaker_names(&self, id: &SourceId) -> Result<SpeakerNames> {
        self.db
            .explain("read the names of speakers", names(self.db.reader(), id.as_str()))
            .await
    }

    /// Every name that counts in all sources, by label.
    pub async fn common_speaker_names(&self) -> Result<BTreeMap<String, String>> {
        self.db
            .explain("read the names of speakers", async {
                let rows = self
                    .db
                    .reader()
                    .query_all_raw(sql(
                        "SELECT label, name FROM speaker_name WHERE source_id IS NULL",
                        [],
                    ))
                    .await?;
                let mut names = BTreeMap::new();
                for row in rows {
                    names.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                }
                Ok(names)
            })
            .await
    }

    /// Gives names and takes them back, all of them or none.
    pub async fn name_speakers(&self, changes: &[SpeakerName]) -> Result<()> {
        self.db
            .explain("name speakers", async {
                let tx = self.db.begin().await?;
                for change in changes {
                    let source = change.source.as_ref().map(|id| id.as_str().to_owned());
                    tx.execute_raw(sql(
                        "DELETE FROM speaker_name WHERE source_id IS $1 AND label = $2",
                        [source.clone().into(), change.label.as_str().into()],
                    ))
                    .await?;
                    if let Some(name) = &change.name {
                        // A source that was deleted meanwhile needs no names.
                        tx.execute_raw(sql(
                            "INSERT INTO speaker_name (source_id, label, name) SELECT $1, $2, $3
                             WHERE $1 IS NULL OR EXISTS (SELECT 1 FROM source WHERE id = $1)",
                            [source.into(), change.label.as_str().into(), name.as_str().into()],
                        ))
                        .await?;
                    }
                }
                commit(tx, Step::NameSpeakers).await
            })
            .await
    }

    /// The transcript of a revision as [`transcript`](Self::transcript) has it, but with the labels that speakers were
    /// heard or given under.
    ///
    /// # Errors
    /// As for [`transcript`](Self::transcript).
    pub async fn labelled_transcript(&self, revision: RevisionId) -> Result<Transcript> {
        self.db
            .explain("read a transcript", async {
                Ok(assembled(self.db.reader(), revision).await?.1)
            })
            .await
    }

    /// Who speaks in the live index, as it was built: names, sources and chunks.
    pub async fn indexed_speakers(&self) -> Result<Vec<SpeakerCount>> {
        self.db
            .explain("list the speakers", async {
                let rows = self
                    .db
                    .reader()
                    .query_all_raw(sql(
                        "SELECT c.source_id, n.value, count(*) FROM chunk c
                         JOIN revision r ON r.id = c.revision_id AND r.state = $1, json_each(c.speakers) n
                         GROUP BY c.source_id, n.value ORDER BY n.value, c.source_id",
                        [LIVE.into()],
                    ))
                    .await?;
                let mut speakers = Vec::with_capacity(rows.len());
                for row in rows {
                    let source: String = row.try_get_by_index(0)?;
                    let chunks: i64 = row.try_get_by_index(2)?;
                    speakers.push(SpeakerCount {
                        name: row.try_get_by_index(1)?,
                        source: SourceId::from_stored(source),
                        chunks: chunks.max(0) as u64,
                    });
                }
                Ok(speakers)
            })
            .await
    }
}

/// What the speakers of a source are called.
pub(crate) async fn names(connection: &impl ConnectionTrait, source: &str) -> Attempt<SpeakerNames> {
    let rows = connection
        .query_all_raw(sql(
            "SELECT source_id IS NULL, label, name FROM speaker_name WHERE source_id = $1 OR source_id IS NULL",
            [source.into()],
        ))
        .await?;
    let (mut own, mut common) = (Vec::new(), Vec::new());
    for row in rows {
        let everywhere: bool = row.try_get_by_index(0)?;
        let named = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        if everywhere { &mut common } else { &mut own }.push(named);
    }
    Ok(SpeakerNames::new(own, common))
}
