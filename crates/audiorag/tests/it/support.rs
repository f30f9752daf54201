//! A place of its own for each test, and providers that count.

use audiorag::index::{IndexOptions, IndexReport, Input};
use audiorag::settings::{Key, Settings, Sources};
use audiorag::{AudioRag, CancellationToken, Providers};
use audiorag_core::capability::Transcriber;
use audiorag_testkit::fake::{FakeTranscriber, HashEmbedder, MemoryVectorStore};
use audiorag_testkit::synth::Track;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) transcriber: Arc<FakeTranscriber>,
    pub(crate) embedder: Arc<HashEmbedder>,
    pub(crate) store: Option<Arc<MemoryVectorStore>>,
    pub(crate) settings: Vec<(Key, String)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(FakeTranscriber::new())
    }

    pub(crate) fn with(transcriber: FakeTranscriber) -> Self {
        // Parts of up to four seconds, so that small files have several.
        let transcriber = transcriber.with_limits(|limits| {
            limits.preferred_part = audiorag_core::MediaTime::from_seconds(4);
            limits.max_part = audiorag_core::MediaTime::from_seconds(6);
        });
        Self {
            dir: tempfile::tempdir().unwrap(),
            transcriber: Arc::new(transcriber),
            embedder: Arc::new(HashEmbedder::new(64)),
            store: None,
            settings: Vec::new(),
        }
    }

    pub(crate) fn set(&mut self, key: Key, value: &str) {
        self.settings.push((key, value.to_owned()));
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut sources = Sources::isolated(self.dir.path());
        for (key, value) in &self.settings {
            sources = sources.with(*key, value);
        }
        Settings::resolve(&sources).unwrap().settings
    }

    pub(crate) fn providers(&self) -> Providers {
        Providers {
            transcriber: Some(Arc::clone(&self.transcriber) as Arc<dyn Transcriber>),
            embedder: Some(self.embedder.clone()),
            store: self.store.clone().map(|store| store as _),
            ..Providers::default()
        }
    }

    pub(crate) async fn open(&self) -> AudioRag {
        AudioRag::builder(self.settings())
            .with_providers(self.providers())
            .open()
            .await
            .unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("audio").join(name)
    }

    /// Writes a recording of `bursts` stretches of synthetic speech, two seconds each with a second between.
    pub(crate) fn speech(&self, name: &str, bursts: u64, seed: u64) -> PathBuf {
        let mut track = Track::new(16_000).silence(300);
        for burst in 0..bursts {
            track = track.speech(2000, seed + burst).silence(1000);
        }
        self.write(name, &track.to_wav())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

pub(crate) async fn index(audiorag: &AudioRag, paths: &[&Path]) -> IndexReport {
    index_with(audiorag, paths, IndexOptions::default()).await
}

pub(crate) async fn index_with(audiorag: &AudioRag, paths: &[&Path], options: IndexOptions) -> IndexReport {
    let inputs = paths.iter().map(|path| Input::Path(path.to_path_buf())).collect();
    audiorag
        .index(inputs, options, &(), CancellationToken::new())
        .await
        .unwrap()
}
