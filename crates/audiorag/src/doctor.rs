//! Is everything that is configured there, and does it work?

use crate::query::AnswerMode;
use crate::registry::{Purpose, Registry};
use crate::settings::Settings;
use audiorag_core::capability::{Health, HealthStatus, Selector};
use audiorag_core::{Error, ErrorKind, Result};
use audiorag_state::State;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long one check may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// What was found.
    pub status: CheckStatus,
    /// A version, a number, or what is wrong.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The kind of failure.
    pub kind: Option<ErrorKind>,
    /// Whether what was looked at is a provider.
    pub is_provider: bool,
    /// How long it took.
    pub latency: Duration,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Usable, but worth knowing.
    Warn,
    /// Not usable.
    Fail,
}

impl CheckStatus {
    /// `ok`, `warn` or `fail`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// Runs all checks at once, each within a deadline. A capability that is not configured is not checked.
pub(crate) async fn run(settings: &Settings, state: &State, registry: &Registry, deep: bool) -> Vec<Check> {
    let reranker = async {
        match registry.reranker() {
            Ok(None) => None,
            reranker => Some(
                provider("reranker", async {
                    match reranker? {
                        Some(reranker) => healthy(reranker.health_check().await),
                        None => Ok((CheckStatus::Ok, String::new())),
                    }
                })
                .await,
            ),
        }
    };
    let generator = async {
        match registry.answer_mode() {
            Ok(AnswerMode::None | AnswerMode::Extractive) => None,
            mode => Some(
                provider("generator", async {
                    match mode? {
                        AnswerMode::Generator(generator) => healthy(generator.health_check().await),
                        _ => Ok((CheckStatus::Ok, String::new())),
                    }
                })
                .await,
            ),
        }
    };
    let (work_dir, database, transcriber, embedder, store, reranker, generator, index) = tokio::join!(
        check("work_dir", work_dir(settings)),
        check("database", database(state)),
        provider("speech-to-text", async {
            healthy(registry.transcriber()?.health_check().await)
        }),
        provider("embeddings", async {
            healthy(registry.embedder(Purpose::Query)?.health_check().await)
        }),
        provider("vector store", async {
            let store = registry.store(state, Purpose::Query)?;
            healthy(store.health_check().await)
        }),
        reranker,
        generator,
        check("index", index(state, registry, deep)),
    );
    [work_dir, database, transcriber, embedder, store]
        .into_iter()
        .chain(reranker)
        .chain(generator)
        .chain([index])
        .collect()
}

/// A check of something that was chosen in the settings.
async fn provider(name: &str, work: impl Future<Output = Result<(CheckStatus, String)>>) -> Check {
    Check {
        is_provider: true,
        ..check(name, work).await
    }
}

async fn check(name: &str, work: impl Future<Output = Result<(CheckStatus, String)>>) -> Check {
    let started = Instant::now();
    let outcome = tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| {
        Err(Error::timeout(format!(
            "no answer within {} s",
            DEADLINE.as_secs()
        )))
    });
    let latency = started.elapsed();
    match outcome {
        Ok((status, detail)) => Check {
            name: name.to_owned(),
            status,
            detail,
            remedy: None,
            kind: None,
            is_provider: false,
            latency,
        },
        Err(error) => Check {
            name: name.to_owned(),
            status: CheckStatus::Fail,
            detail: error.report(),
            remedy: error.hint().map(str::to_owned),
            kind: Some(error.kind()),
            is_provider: false,
            latency,
        },
    }
}

fn healthy(health: Health) -> Result<(CheckStatus, String)> {
    match health.status {
        HealthStatus::Healthy => Ok((CheckStatus::Ok, health.detail)),
        HealthStatus::Unhealthy => {
            let kind = health.kind.unwrap_or(ErrorKind::Unavailable);
            let error = Error::new(kind, health.detail);
            Err(match health.remedy {
                Some(remedy) => error.with_hint(remedy),
                None => error,
            })
        }
    }
}

async fn work_dir(settings: &Settings) -> Result<(CheckStatus, String)> {
    let parent = settings.work_dir.clone();
    crate::index::blocking(move || {
        drop(crate::workdir::WorkDir::create(&parent)?);
        Ok((CheckStatus::Ok, parent.display().to_string()))
    })
    .await
}

async fn database(state: &State) -> Result<(CheckStatus, String)> {
    let sources = state.list_sources().await?.len();
    let mode = if state.is_read_only() { ", read-only" } else { "" };
    Ok((
        CheckStatus::Ok,
        format!("{} ({sources} sources{mode})", state.path().display()),
    ))
}

/// The live index: of one embedding model, and, looked at deeply, with as many vectors in the store as the
/// state has chunks.
async fn index(state: &State, registry: &Registry, deep: bool) -> Result<(CheckStatus, String)> {
    let spaces = state.live_spaces().await?;
    if spaces.is_empty() {
        return Ok((CheckStatus::Ok, "nothing is indexed yet".to_owned()));
    }
    let embedder = registry.embedder(Purpose::Query)?;
    crate::index::refuse_other_spaces(state, &embedder.space().fingerprint()).await?;
    if !deep {
        return Ok((
            CheckStatus::Ok,
            format!("built with {}", embedder.space().fingerprint()),
        ));
    }
    let store = registry.store(state, Purpose::Query)?;
    store.prepare(embedder.space()).await?;
    let mut chunks = 0;
    let mut wrong = Vec::new();
    for source in state.list_sources().await? {
        let Some(live) = state.live_revision(&source.id).await? else {
            continue;
        };
        chunks += live.chunk_count;
        let found = store
            .count(&Selector::Revision(source.id.clone(), live.id))
            .await?;
        if found != live.chunk_count {
            wrong.push(format!(
                "{} ({found} of {} vectors)",
                source.locator, live.chunk_count
            ));
        }
    }
    if wrong.is_empty() {
        return Ok((
            CheckStatus::Ok,
            format!("{chunks} chunks, all in the vector store"),
        ));
    }
    Err(Error::state(format!(
        "the vector store does not hold what the index says: {}",
        wrong.join(", ")
    ))
    .with_hint("index these sources with --force: transcripts and vectors are cached, so it costs nothing"))
}
