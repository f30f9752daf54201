//! Providers whose effects outlive the process: every call is written to a file before it is answered, as a vendor
//! counts what it was sent, and the vector store is a folder.

use async_trait::async_trait;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, Health, InputType, ProviderInfo, Selector, StoreLimits,
    TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits, VectorMatch, VectorRecord,
    VectorStore,
};
use audiorag_core::id::{ChunkId, EmbeddingKey, KeyHasher, RevisionId, SourceId};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{MediaTime, Result, Span};
use audiorag_testkit::fake::{FakeTranscriber, HashEmbedder, MemoryVectorStore};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// Appends a line. One write, so that lines of several tasks do not mix and none is half there.
fn note(log: &Path, line: &str) {
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// How often each line is in a log.
pub(crate) fn counts(log: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(log).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

fn digest(text: &str) -> String {
    KeyHasher::new("test/1").text(text).finish()
}

/// A transcriber of a vendor that counts.
pub(crate) struct CountingTranscriber {
    inner: FakeTranscriber,
    log: PathBuf,
}

impl CountingTranscriber {
    pub(crate) fn new(log: PathBuf) -> Self {
        // Parts of up to four seconds, so that small files have several.
        let inner = FakeTranscriber::new().with_limits(|limits| {
            limits.preferred_part = MediaTime::from_seconds(4);
            limits.max_part = MediaTime::from_seconds(6);
        });
        Self { inner, log }
    }
}

#[async_trait]
impl Transcriber for CountingTranscriber {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    fn limits(&self) -> TranscriberLimits {
        self.inner.limits()
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        let samples: Vec<u8> = request
            .samples
            .to_float()
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        note(&self.log, &KeyHasher::new("test/1").bytes(&samples).finish());
        self.inner.transcribe(request).await
    }

    async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

/// Which embedding model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Old,
    New,
}

/// An embedder of a vendor that counts every text.
pub(crate) struct CountingEmbedder {
    inner: HashEmbedder,
    log: PathBuf,
}

impl CountingEmbedder {
    pub(crate) fn new(log: PathBuf, model: Model, concurrency: usize) -> Self {
        let inner = match model {
            Model::Old => HashEmbedder::new(64),
            Model::New => HashEmbedder::named("another", 32),
        };
        let inner = inner.with_limits(|limits| limits.concurrency = concurrency);
        Self { inner, log }
    }
}

#[async_trait]
impl Embedder for CountingEmbedder {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.inner.space()
    }

    fn limits(&self) -> EmbedderLimits {
        self.inner.limits()
    }

    async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
        if input == InputType::Document {
            let lines: Vec<String> = texts.iter().map(|text| digest(text)).collect();
            note(&self.log, &lines.join("\n"));
        }
        self.inner.embed(texts, input).await
    }

    async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

/// A vector store outside of the process: a folder for each space, in it a file for each record, written one after
/// the other.
pub(crate) struct FolderStore {
    folder: PathBuf,
    /// The folder of the space that it was prepared for last.
    space: Mutex<Option<PathBuf>>,
    /// Does the searching, over what the folder holds.
    inner: MemoryVectorStore,
}

impl FolderStore {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            space: Mutex::default(),
            inner: MemoryVectorStore::new(),
        }
    }

    /// The folder of the prepared space.
    fn space(&self) -> PathBuf {
        self.space.lock().unwrap().clone().unwrap()
    }

    fn records(&self) -> Vec<VectorRecord> {
        let mut records = Vec::new();
        for entry in std::fs::read_dir(self.space()).unwrap() {
            let path = entry.unwrap().path();
            // A record under another name was not whole when its writer was killed.
            if path.extension().is_some_and(|extension| extension == "json") {
                records.push(read(&std::fs::read_to_string(path).unwrap()));
            }
        }
        records
    }

    fn path(&self, id: &ChunkId) -> PathBuf {
        self.space().join(format!("{}.json", id.as_str()))
    }
}

#[async_trait]
impl VectorStore for FolderStore {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        let folder = self.folder.join(digest(&space.fingerprint()));
        std::fs::create_dir_all(&folder).unwrap();
        *self.space.lock().unwrap() = Some(folder);
        self.inner.prepare(space).await
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        for record in records {
            let path = self.path(&record.id);
            let unfinished = path.with_extension("part");
            std::fs::write(&unfinished, write(&record)).unwrap();
            std::fs::rename(unfinished, path).unwrap();
        }
        Ok(())
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        self.inner.delete(&Selector::All).await?;
        self.inner.upsert(self.records()).await?;
        self.inner.search(vector, top_k, filter).await
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        for record in self.records() {
            if selects(selector, &record) {
                std::fs::remove_file(self.path(&record.id)).unwrap();
            }
        }
        Ok(())
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        let records = self.records();
        Ok(records.iter().filter(|record| selects(selector, record)).count() as u64)
    }

    async fn health_check(&self) -> Health {
        Health::of(Ok(self.folder.display().to_string()), Duration::ZERO)
    }
}

fn selects(selector: &Selector, record: &VectorRecord) -> bool {
    match selector {
        Selector::Source(source) => record.source_id == *source,
        Selector::Revision(source, revision) => record.source_id == *source && record.revision == *revision,
        Selector::Chunks(ids) => ids.contains(&record.id),
        Selector::All => true,
    }
}

fn write(record: &VectorRecord) -> String {
    json!({
        "id": record.id.as_str(), "source": record.source_id.as_str(), "revision": record.revision.0,
        "key": record.embedding_key.as_str(), "vector": record.vector,
        "start": record.span.start().as_millis(), "end": record.span.end().as_millis(),
        "text": record.text, "title": record.title, "language": record.language,
    })
    .to_string()
}

fn read(json: &str) -> VectorRecord {
    let value: Value = serde_json::from_str(json).unwrap();
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    let vector = value["vector"].as_array().unwrap();
    VectorRecord {
        id: ChunkId::from_stored(text("id")),
        source_id: SourceId::from_stored(text("source")),
        revision: RevisionId(value["revision"].as_i64().unwrap()),
        embedding_key: EmbeddingKey::from_stored(text("key")),
        vector: vector
            .iter()
            .map(|number| number.as_f64().unwrap() as f32)
            .collect(),
        span: Span::from_millis(value["start"].as_u64().unwrap(), value["end"].as_u64().unwrap()),
        text: text("text"),
        title: text("title"),
        speakers: Vec::new(),
        language: value["language"].as_str().map(str::to_owned),
        date: None,
    }
}
