//! Is everything that is configured there, and does it work?

pub(crate) mod invariants;
pub(crate) mod repair;

pub use repair::{RepairOptions, RepairReport, Unmended};

use crate::query::AnswerMode;
use crate::registry::{Purpose, Registry};
use crate::settings::Settings;
use audiorag_core::capability::{Health, HealthStatus};
use audiorag_core::{Error, ErrorKind, Result};
use audiorag_state::{Finding, Invariant, Severity, State};
use invariants::Examination;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long one check may take; looking at everything that is stored takes as long as it takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// Findings that the detail of a check names one by one.
const NAMED: usize = 3;

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
    /// What is wrong, one by one, where the check is one of an invariant.
    pub findings: Vec<Finding>,
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
        check("index", index(state, registry)),
    );
    let deeper = if deep {
        let mut deeper = vec![damage(state).await];
        deeper.extend(examination(state, registry).await);
        deeper
    } else {
        Vec::new()
    };
    [work_dir, database, transcriber, embedder, store]
        .into_iter()
        .chain(reranker)
        .chain(generator)
        .chain([index])
        .chain(deeper)
        .collect()
}

/// What SQLite finds wrong with the file.
async fn damage(state: &State) -> Check {
    timed("file", async {
        let damage = state.file_damage().await?;
        if damage.is_empty() {
            return Ok((
                CheckStatus::Ok,
                "every page of the database can be read".to_owned(),
            ));
        }
        Err(
            Error::state(format!("the database is damaged: {}", damage.join("; "))).with_hint(
                "restore a copy (such as a .backup- file beside it), or move it away to start afresh",
            ),
        )
    })
    .await
}

/// One check for each invariant.
async fn examination(state: &State, registry: &Registry) -> Vec<Check> {
    let started = Instant::now();
    let Examination { findings, store } = match invariants::examine(state, registry).await {
        Ok(examination) => examination,
        Err(error) => return vec![outcome("invariants", Err(error), started.elapsed())],
    };
    let latency = started.elapsed();
    let mut checks: Vec<Check> = Invariant::ALL
        .into_iter()
        .map(|invariant| judge(invariant, &findings, latency))
        .collect();
    if let Err(error) = store {
        checks.push(Check {
            is_provider: true,
            ..outcome("vectors", Err(error), latency)
        });
    }
    checks
}

/// What the findings say of one invariant.
fn judge(invariant: Invariant, findings: &[Finding], latency: Duration) -> Check {
    let mut own: Vec<Finding> = findings
        .iter()
        .filter(|finding| finding.problem.invariant() == invariant)
        .cloned()
        .collect();
    // What matters first.
    own.sort_by_key(|finding| std::cmp::Reverse(finding.problem.severity()));
    let worst = own.first().map(|finding| finding.problem.severity());
    let mut details: Vec<String> = own.iter().take(NAMED).map(Finding::detail).collect();
    if own.len() > NAMED {
        details.push(format!("and {} more", own.len() - NAMED));
    }
    Check {
        name: invariant.id().to_owned(),
        status: match worst {
            None => CheckStatus::Ok,
            Some(Severity::Notice) => CheckStatus::Warn,
            Some(Severity::Damage) => CheckStatus::Fail,
        },
        detail: if own.is_empty() {
            invariant.statement().to_owned()
        } else {
            details.join("; ")
        },
        remedy: (worst == Some(Severity::Damage))
            .then(|| "run 'audiorag doctor --repair': what is cached is not paid for again".to_owned()),
        kind: (worst == Some(Severity::Damage)).then_some(ErrorKind::State),
        is_provider: false,
        findings: own,
        latency,
    }
}

/// A check of something that was chosen in the settings.
async fn provider(name: &str, work: impl Future<Output = Result<(CheckStatus, String)>>) -> Check {
    Check {
        is_provider: true,
        ..check(name, work).await
    }
}

async fn check(name: &str, work: impl Future<Output = Result<(CheckStatus, String)>>) -> Check {
    let work = async {
        tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| {
            Err(Error::timeout(format!(
                "no answer within {} s",
                DEADLINE.as_secs()
            )))
        })
    };
    timed(name, work).await
}

async fn timed(name: &str, work: impl Future<Output = Result<(CheckStatus, String)>>) -> Check {
    let started = Instant::now();
    let found = work.await;
    outcome(name, found, started.elapsed())
}

fn outcome(name: &str, found: Result<(CheckStatus, String)>, latency: Duration) -> Check {
    match found {
        Ok((status, detail)) => Check {
            name: name.to_owned(),
            status,
            detail,
            remedy: None,
            kind: None,
            is_provider: false,
            findings: Vec::new(),
            latency,
        },
        Err(error) => Check {
            name: name.to_owned(),
            status: CheckStatus::Fail,
            detail: error.report(),
            remedy: error.hint().map(str::to_owned),
            kind: Some(error.kind()),
            is_provider: false,
            findings: Vec::new(),
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

/// The live index: of one embedding model, the configured one.
async fn index(state: &State, registry: &Registry) -> Result<(CheckStatus, String)> {
    if state.live_spaces().await?.is_empty() {
        return Ok((CheckStatus::Ok, "nothing is indexed yet".to_owned()));
    }
    let space = registry.embedder(Purpose::Query)?.space().fingerprint();
    crate::index::refuse_other_spaces(state, &space).await?;
    Ok((CheckStatus::Ok, format!("built with {space}")))
}
