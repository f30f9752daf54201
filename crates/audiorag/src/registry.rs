//! From settings to guarded providers. Nothing is loaded or connected before its first call.

#[cfg(feature = "http")]
mod reference;
mod vendor;

#[cfg(feature = "http")]
pub use reference::vendors_markdown;

use crate::guard::{Guarded, Policy, Purse, Spending};
use crate::index::web::Web;
use crate::index::{InWork, IndexSettings, Verification};
use crate::prices::Prices;
use crate::query::sentences::Memory;
use crate::query::{AnswerMode, Reranking};
use crate::settings::{BudgetPolicy, Capability, FEWEST_SOURCES, Settings, VerifyMode};
use audiorag_audio::{DecodeOptions, Isolation, SplitSettings};
use audiorag_core::capability::{
    Embedder, Generator, ProviderInfo, Reranker, Transcriber, Usage, VectorStore,
};
use audiorag_core::chunking::ChunkSettings;
use audiorag_core::{Error, MediaTime, Result};
use audiorag_state::State;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Providers of your own. Each that is set takes the place of the configured one.
#[derive(Clone, Default)]
pub struct Providers {
    /// Speech to text.
    pub transcriber: Option<Arc<dyn Transcriber>>,
    /// Text to vectors.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// Where vectors are kept.
    pub store: Option<Arc<dyn VectorStore>>,
    /// Who orders passages.
    pub reranker: Option<Arc<dyn Reranker>>,
    /// Who writes answers.
    pub generator: Option<Arc<dyn Generator>>,
}

/// What a provider is wanted for: a single question should not wait for a model tuned to run for hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Purpose {
    /// To find passages while somebody waits.
    Query,
    /// To write an answer. A model on a machine of one's own may read the passages for minutes before its first word.
    Answer,
    /// To index.
    Bulk,
}

impl Purpose {
    /// The longest that a call may take at the HTTP seam with all its attempts, for those who do not wait longer.
    /// Work in bulk has the deadline of the settings, and attempts that grow with the audio.
    const fn patience(self) -> Option<Duration> {
        match self {
            Self::Query => Some(Duration::from_secs(30)),
            Self::Answer => Some(Duration::from_mins(3)),
            Self::Bulk => None,
        }
    }

    /// The longest that one call may take, whatever the provider thinks: a little more than the seam's, whose errors
    /// say more.
    fn deadline(self) -> Option<Duration> {
        self.patience().map(|patience| patience + Duration::from_secs(15))
    }
}

/// Builds each provider once, when it is first asked for.
pub(crate) struct Registry {
    settings: Arc<Settings>,
    custom: Providers,
    built: Mutex<Built>,
    /// What calls are paid from; absent where nothing can be written.
    purse: Option<Arc<Purse>>,
    prices: Prices,
    /// What is being worked on, by whichever run of this process.
    in_work: InWork,
    sentences: Arc<Memory>,
    web: Arc<Web>,
    #[cfg(feature = "http")]
    http: std::sync::OnceLock<audiorag_providers::http::HttpClient>,
}

#[derive(Default)]
struct Built {
    transcriber: Option<Guarded<dyn Transcriber>>,
    embedder: Option<BuiltEmbedder>,
}

/// One embedder behind two policies: a question must not queue behind the batches of a long run.
struct BuiltEmbedder {
    tuned_for: Purpose,
    for_query: Guarded<dyn Embedder>,
    for_bulk: Guarded<dyn Embedder>,
}

impl BuiltEmbedder {
    fn for_purpose(&self, purpose: Purpose) -> Guarded<dyn Embedder> {
        match purpose {
            Purpose::Bulk => self.for_bulk.clone(),
            _ => self.for_query.clone(),
        }
    }
}

impl Registry {
    pub(crate) fn new(settings: Arc<Settings>, custom: Providers) -> Self {
        Self {
            purse: None,
            prices: Prices::built_in(),
            in_work: InWork::default(),
            sentences: Arc::default(),
            web: Arc::new(Web::new(&settings)),
            settings,
            custom,
            built: Mutex::default(),
            #[cfg(feature = "http")]
            http: std::sync::OnceLock::new(),
        }
    }

    /// The same, whose calls are written into the journal of `state` and paid from the budget.
    ///
    /// # Errors
    /// When the price file cannot be read.
    pub(crate) fn paying(mut self, state: &State) -> Result<Self> {
        let budget = &self.settings.budget;
        let spending = match budget.policy {
            BudgetPolicy::Wait => Spending::Wait(budget.max_wait),
            BudgetPolicy::Fail => Spending::Fail,
        };
        self.prices = Prices::load(&self.settings)?;
        // Questions are answered from a database that cannot be written, too: their calls are not recorded then.
        self.purse = (!state.is_read_only()).then(|| {
            let (limits, prices) = (budget.limits.clone(), self.prices.clone());
            Purse::new(state.clone(), limits, spending, prices)
        });
        Ok(self)
    }

    /// A cap on what a run may cost holds only where prices are known.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config), naming the model without a price.
    pub(crate) fn refuse_unpriced(
        &self,
        transcriber: Option<&ProviderInfo>,
        embedder: &ProviderInfo,
    ) -> Result<()> {
        // What is set aside before a call: a price that only its answer leads to would come too late.
        let heard = Usage {
            requests: 1,
            audio: MediaTime::from_seconds(1),
            ..Usage::default()
        };
        let read = Usage {
            requests: 1,
            input_tokens: 1,
            ..Usage::default()
        };
        let calls = transcriber.map(|info| (info, heard));
        for (info, expected) in calls.into_iter().chain([(embedder, read)]) {
            if self.prices.cost(info, &expected).is_none() {
                return Err(Error::config(format!(
                    "no price is known of {}/{}, so that a cap on the cost cannot hold",
                    info.vendor, info.model
                ))
                .with_hint(
                    "give its price in the file of AUDIORAG_PRICES_FILE (prices.file), or lift the cap",
                ));
            }
        }
        Ok(())
    }

    /// The sentences that questions came near.
    pub(crate) fn sentences(&self) -> &Arc<Memory> {
        &self.sentences
    }

    /// What fetches recordings.
    pub(crate) fn web(&self) -> &Arc<Web> {
        &self.web
    }

    /// What is being worked on, by whichever run of this process.
    pub(crate) fn in_work(&self) -> &InWork {
        &self.in_work
    }

    /// What calls cost.
    pub(crate) fn prices(&self) -> &Prices {
        &self.prices
    }

    /// The budget, for providers that use it up: models of this process do not.
    fn purse_for(&self, info: &ProviderInfo) -> Option<Arc<Purse>> {
        self.purse.clone().filter(|_| info.vendor != "local")
    }

    pub(crate) fn transcriber(&self) -> Result<Guarded<dyn Transcriber>> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transcriber) = &built.transcriber {
            return Ok(transcriber.clone());
        }
        let inner = match &self.custom.transcriber {
            Some(custom) => Arc::clone(custom),
            None => self.configured_transcriber()?,
        };
        let stt = &self.settings.stt;
        let is_vendor = self.custom.transcriber.is_none() && stt.provider != "local";
        let chosen = stt.concurrency_chosen && is_vendor;
        let concurrency = side_by_side(stt.concurrency, chosen, inner.limits().concurrency);
        let purse = self.purse_for(inner.info());
        let transcriber = Guarded::new(inner, Policy::new(concurrency, None).paid_from(purse));
        built.transcriber = Some(transcriber.clone());
        Ok(transcriber)
    }

    pub(crate) fn embedder(&self, purpose: Purpose) -> Result<Guarded<dyn Embedder>> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedder) = &built.embedder
            && embedder.tuned_for >= purpose
        {
            return Ok(embedder.for_purpose(purpose));
        }
        let inner = match &self.custom.embedder {
            Some(custom) => Arc::clone(custom),
            None => self.configured_embedder(purpose)?,
        };
        let embedding = &self.settings.embedding;
        let is_vendor = self.custom.embedder.is_none() && embedding.provider != "local";
        let chosen = embedding.concurrency_chosen && is_vendor;
        let concurrency = side_by_side(embedding.concurrency, chosen, inner.limits().concurrency);
        let purse = self.purse_for(inner.info());
        let guarded = |purpose: Purpose| {
            let policy = Policy::new(concurrency, purpose.deadline()).paid_from(purse.clone());
            Guarded::new(Arc::clone(&inner), policy)
        };
        let embedder = BuiltEmbedder {
            tuned_for: purpose,
            for_query: guarded(Purpose::Query),
            for_bulk: guarded(Purpose::Bulk),
        };
        let wanted = embedder.for_purpose(purpose);
        built.embedder = Some(embedder);
        Ok(wanted)
    }

    pub(crate) fn store(&self, state: &State, purpose: Purpose) -> Result<Guarded<dyn VectorStore>> {
        let provider = self.settings.vector_store.provider.as_str();
        let inner: Arc<dyn VectorStore> = if let Some(custom) = &self.custom.store {
            Arc::clone(custom)
        } else {
            Capability::VectorStore.check(provider)?;
            match self.vendor_store(provider, purpose)? {
                Some(store) => store,
                None => Arc::new(state.vectors()),
            }
        };
        Ok(Guarded::new(inner, Policy::new(16, purpose.deadline())))
    }

    /// The model that orders passages, if one does.
    pub(crate) fn reranker(&self) -> Result<Option<Guarded<dyn Reranker>>> {
        let provider = self.settings.reranker.provider.as_str();
        let inner = if let Some(custom) = &self.custom.reranker {
            Some(Arc::clone(custom))
        } else {
            Capability::Reranker.check(provider)?;
            self.vendor_reranker(provider)?
        };
        Ok(inner.map(|inner| {
            let purse = self.purse_for(inner.info());
            Guarded::new(inner, Policy::new(4, Purpose::Query.deadline()).paid_from(purse))
        }))
    }

    /// How passages are ordered before they are shown.
    pub(crate) fn reranking(&self) -> Result<Reranking> {
        if let Some(reranker) = self.reranker()? {
            return Ok(Reranking::Model(reranker));
        }
        Ok(match self.settings.reranker.provider.as_str() {
            "sentences" => Reranking::Sentences,
            _ => Reranking::None,
        })
    }

    pub(crate) fn answer_mode(&self) -> Result<AnswerMode> {
        let provider = self.settings.generation.provider.as_str();
        let generator = if let Some(custom) = &self.custom.generator {
            Some(Arc::clone(custom))
        } else {
            Capability::Generation.check(provider)?;
            self.vendor_generator(provider)?
        };
        Ok(match generator {
            Some(generator) => {
                let purse = self.purse_for(generator.info());
                let policy = Policy::new(4, Purpose::Answer.deadline()).paid_from(purse);
                AnswerMode::Generator(Guarded::new(generator, policy))
            }
            None if provider == "none" => AnswerMode::None,
            None => AnswerMode::Extractive,
        })
    }

    fn configured_transcriber(&self) -> Result<Arc<dyn Transcriber>> {
        let provider = self.settings.stt.provider.as_str();
        Capability::Stt.check(provider)?;
        #[cfg(feature = "local")]
        if provider == "local" {
            use audiorag_providers::local::MoonshineTranscriber;
            let models = self.model_store();
            let files = models.speech()?;
            return Ok(Arc::new(MoonshineTranscriber::new(
                files,
                self.runtime(&models)?,
                self.settings.stt.concurrency,
            )));
        }
        self.vendor_transcriber(provider)?
            .ok_or_else(|| not_compiled("transcriber"))
    }

    fn configured_embedder(&self, purpose: Purpose) -> Result<Arc<dyn Embedder>> {
        let provider = self.settings.embedding.provider.as_str();
        Capability::Embedding.check(provider)?;
        #[cfg(feature = "local")]
        if provider == "local" {
            use audiorag_providers::local::{MiniLmEmbedder, MiniLmLoad};
            let models = self.model_store();
            let files = models.embedding()?;
            let load = match purpose {
                Purpose::Query => MiniLmLoad::Quick,
                // Beside the question there are the sentences of what it finds.
                Purpose::Answer | Purpose::Bulk => MiniLmLoad::Thorough,
            };
            let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            return Ok(Arc::new(MiniLmEmbedder::new(
                files,
                self.runtime(&models)?,
                load,
                threads,
            )));
        }
        let purpose = match purpose {
            Purpose::Bulk => Purpose::Bulk,
            _ => Purpose::Query,
        };
        self.vendor_embedder(provider, purpose)?
            .ok_or_else(|| not_compiled("embedder"))
    }

    /// The model files on this machine.
    #[cfg(feature = "local")]
    fn model_store(&self) -> crate::models::ModelStore {
        crate::models::store(&self.settings)
    }

    #[cfg(feature = "local")]
    fn runtime(
        &self,
        models: &audiorag_providers::local::models::ModelStore,
    ) -> Result<audiorag_providers::local::Runtime> {
        let library = match &self.settings.models.onnxruntime_library {
            Some(library) => library.clone(),
            None => models.runtime()?,
        };
        Ok(audiorag_providers::local::Runtime::new(library))
    }
}

/// How many calls run side by side. What suits a vendor is a guess about its usual plan, and whoever `chose` a number
/// knows their own; what a provider in this process can bear is no guess.
fn side_by_side(wanted: usize, chose: bool, suits: usize) -> usize {
    if chose { wanted } else { wanted.min(suits.max(1)) }
}

fn not_compiled(role: &str) -> Error {
    Error::config(format!("no {role} is given, and none is part of this build"))
        .with_hint("rebuild with --features local, or give one of your own with Builder::with_providers")
}

/// What shapes an index run, from the settings and what the transcriber accepts.
pub(crate) fn index_settings(
    settings: &Settings,
    transcriber: &Guarded<dyn Transcriber>,
) -> Result<IndexSettings> {
    let limits = transcriber.limits();
    if let Some(language) = &settings.stt.language {
        let primary = language.split('-').next().unwrap_or(language).to_lowercase();
        if !limits.languages.is_empty() && !limits.languages.contains(&primary) {
            let info = transcriber.info();
            return Err(Error::config(format!(
                "{} does not know the language '{language}'; it knows: {}",
                info.model,
                limits.languages.join(", ")
            ))
            .with_hint(
                "choose another AUDIORAG_STT_PROVIDER or AUDIORAG_STT_MODEL, or unset AUDIORAG_STT_LANGUAGE",
            ));
        }
    }
    Ok(IndexSettings {
        speech: crate::index::SpeechSettings {
            split: SplitSettings::new(limits.preferred_part, limits.max_part),
            language: settings.stt.language.clone(),
            prompt: settings.stt.prompt.clone(),
            concurrency: transcriber.concurrency(),
            grace: settings.index.grace,
            decode: decode_options(settings)?,
            each_channel: settings.decode.channels_as_speakers,
        },
        chunks: ChunkSettings::new(settings.chunk.target, settings.chunk.max, settings.chunk.overlap)?
            .with_strategy(settings.chunk.strategy),
        embedding_batch: settings.embedding.batch,
        transcript: settings.index.transcript,
        source_concurrency: if settings.index.source_concurrency_chosen {
            settings.index.source_concurrency
        } else {
            let suits = transcriber.concurrency().max(FEWEST_SOURCES);
            settings.index.source_concurrency.min(suits)
        },
        verification: match settings.vector_store.verify_mode {
            VerifyMode::Off => Verification::Off,
            VerifyMode::BestEffort => Verification::BestEffort,
            VerifyMode::Strict => Verification::Strict,
        },
        verify_attempts: settings.vector_store.verify_max_attempts,
        verify_wait: settings.vector_store.verify_wait,
    })
}

/// How recordings are decoded.
pub(crate) fn decode_options(settings: &Settings) -> Result<DecodeOptions> {
    let decode = &settings.decode;
    let isolation = if decode.isolate {
        let program = decode.program.clone().ok_or_else(|| {
            Error::config("decoding in a child process needs the audiorag program, and this is another one")
                .with_hint(
                    "set AUDIORAG_DECODE_PROGRAM to the path of audiorag, or switch decode.isolate off",
                )
        })?;
        Some(Isolation::new(program, vec![crate::DECODER.into()]))
    } else {
        None
    };
    Ok(DecodeOptions {
        track: decode.track,
        channel: decode.channel,
        ffmpeg: decode.ffmpeg.clone(),
        isolation,
        ..DecodeOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Key, Sources};
    use audiorag_core::ErrorKind;
    use audiorag_core::capability::GenerateRequest;
    use audiorag_testkit::fake::{FakeGenerator, FakeTranscriber, HashEmbedder};

    fn registry(providers: Providers, values: &[(Key, &str)]) -> Registry {
        let mut sources = Sources::isolated(std::path::Path::new("/nowhere"));
        for (key, value) in values {
            sources = sources.with(*key, *value);
        }
        let settings = Settings::resolve(&sources).unwrap().settings;
        Registry::new(Arc::new(settings), providers)
    }

    #[tokio::test(start_paused = true)]
    async fn a_generator_may_think_for_minutes_before_its_first_word_but_not_for_ever() {
        let generator = Arc::new(FakeGenerator::saying(["so it is"]));
        let providers = Providers {
            generator: Some(Arc::clone(&generator) as Arc<dyn Generator>),
            ..Providers::default()
        };
        let AnswerMode::Generator(guarded) = registry(providers, &[]).answer_mode().unwrap() else {
            panic!("the given generator is not used");
        };
        generator.script().delay(Duration::from_secs(170));
        assert!(guarded.generate(GenerateRequest::default()).await.is_ok());
        generator.script().delay(Duration::from_mins(10));
        let error = guarded.generate(GenerateRequest::default()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[test]
    fn a_provider_of_ones_own_runs_as_many_calls_as_it_can_bear() {
        let limits = FakeTranscriber::new().limits().concurrency;
        let embedder = HashEmbedder::new(8);
        let bears = embedder.limits().concurrency;
        let registry = registry(
            Providers {
                transcriber: Some(Arc::new(FakeTranscriber::new())),
                embedder: Some(Arc::new(embedder)),
                ..Providers::default()
            },
            &[(Key::SttConcurrency, "200"), (Key::EmbeddingConcurrency, "200")],
        );
        assert_eq!(registry.transcriber().unwrap().concurrency(), limits);
        assert_eq!(registry.embedder(Purpose::Bulk).unwrap().concurrency(), bears);
    }

    #[cfg(feature = "openai")]
    #[test]
    fn a_number_that_somebody_chose_counts_for_more_than_what_suits_a_vendor() {
        let made = |values: &[(Key, &str)]| {
            let mut all = vec![
                (Key::SttProvider, "openai"),
                (Key::EmbeddingProvider, "openai"),
                (
                    Key::from_path("openai.base_url").unwrap(),
                    "http://127.0.0.1:9/v1",
                ),
                (Key::EmbeddingDimensions, "8"),
            ];
            all.extend(values);
            let registry = registry(Providers::default(), &all);
            let transcriber = registry.transcriber().unwrap();
            let index = index_settings(&registry.settings, &transcriber).unwrap();
            assert_eq!(index.speech.concurrency, transcriber.concurrency());
            assert_eq!(index.source_concurrency, transcriber.concurrency().max(2));
            let embedder = registry.embedder(Purpose::Bulk).unwrap();
            let suits = (transcriber.limits().concurrency, embedder.limits().concurrency);
            (transcriber.concurrency(), embedder.concurrency(), suits)
        };
        let (speech, vectors, suits) = made(&[]);
        assert!(suits.0 < 16, "{suits:?}");
        assert_eq!((speech, vectors), (suits.0, suits.1.min(16)));
        let (speech, vectors, _) = made(&[(Key::SttConcurrency, "24"), (Key::EmbeddingConcurrency, "48")]);
        assert_eq!((speech, vectors), (24, 48));
        let (speech, vectors, _) = made(&[(Key::SttConcurrency, "1"), (Key::EmbeddingConcurrency, "2")]);
        assert_eq!((speech, vectors), (1, 2));
    }
}
