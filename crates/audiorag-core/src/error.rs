//! One error type for every crate: what happened, where, and what the caller can do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// The result of every fallible operation of AudioRAG.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the *caller* can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing, malformed or contradicts another one. Change the configuration.
    Config,
    /// The given file, text or argument cannot be used. Change the input.
    Input,
    /// The named thing does not exist.
    NotFound,
    /// Credentials are missing or were refused.
    Auth,
    /// A vendor asks for fewer calls. Wait.
    RateLimited,
    /// A quota or spending limit is used up.
    Budget,
    /// The other side could not be reached or is down. Try later.
    Unavailable,
    /// The other side did not answer in time.
    Timeout,
    /// The other side broke its contract: malformed, truncated or contradictory answers.
    Protocol,
    /// The operation is not available here: not compiled in, or not offered by the provider.
    Unsupported,
    /// The local state (database, disk, directory) does not allow the operation.
    State,
    /// The operation was cancelled or superseded.
    Cancelled,
    /// A defect of AudioRAG itself.
    Internal,
}

impl ErrorKind {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 13] = [
        Self::Config,
        Self::Input,
        Self::NotFound,
        Self::Auth,
        Self::RateLimited,
        Self::Budget,
        Self::Unavailable,
        Self::Timeout,
        Self::Protocol,
        Self::Unsupported,
        Self::State,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The stable lower-case name used in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Input => "input",
            Self::NotFound => "not_found",
            Self::Auth => "auth",
            Self::RateLimited => "rate_limited",
            Self::Budget => "budget",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Unsupported => "unsupported",
            Self::State => "state",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// The kind with this [`as_str`](Self::as_str) name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The step of an operation that failed; also the name of its tracing span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Expanding inputs into sources.
    Discover,
    /// Fetching remote bytes.
    Download,
    /// Reading container headers and hashing.
    Probe,
    /// Decoding, resampling and splitting.
    Split,
    /// Speech to text.
    Transcribe,
    /// Cutting the transcript into chunks.
    Chunk,
    /// Turning chunks into vectors.
    Embed,
    /// Writing vectors.
    Store,
    /// Checking that the store holds what was written.
    Verify,
    /// Making a revision visible.
    Publish,
    /// Removing the revision that was replaced.
    Retire,
    /// Making a follow-up question understandable by itself.
    Rewrite,
    /// Dense and lexical search.
    Search,
    /// Ordering hits by relevance.
    Rerank,
    /// Writing the answer.
    Generate,
}

impl Stage {
    /// Every stage, index path first.
    pub const ALL: [Self; 15] = [
        Self::Discover,
        Self::Download,
        Self::Probe,
        Self::Split,
        Self::Transcribe,
        Self::Chunk,
        Self::Embed,
        Self::Store,
        Self::Verify,
        Self::Publish,
        Self::Retire,
        Self::Rewrite,
        Self::Search,
        Self::Rerank,
        Self::Generate,
    ];

    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Download => "download",
            Self::Probe => "probe",
            Self::Split => "split",
            Self::Transcribe => "transcribe",
            Self::Chunk => "chunk",
            Self::Embed => "embed",
            Self::Store => "store",
            Self::Verify => "verify",
            Self::Publish => "publish",
            Self::Retire => "retire",
            Self::Rewrite => "rewrite",
            Self::Search => "search",
            Self::Rerank => "rerank",
            Self::Generate => "generate",
        }
    }

    /// The stage with this [`as_str`](Self::as_str) name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a call that failed sent to the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Requests that left.
    pub requests: u32,
    /// Those among them of which nobody knows whether they were carried out, and billed.
    pub unknown: u32,
}

impl Attempts {
    /// Whether any of the requests may have been billed.
    pub const fn may_have_been_billed(self) -> bool {
        self.unknown > 0
    }
}

type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// A failure with its kind, its place and its remedy.
///
/// `Display` is one line without the causes, [`Error::report`] adds them, and [`Error::hint`] is the remedy to
/// print on a line of its own. Messages start in lower case, end without a period and never hold a secret.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    stage: Option<Stage>,
    source_name: Option<String>,
    provider: Option<String>,
    hint: Option<String>,
    retry_after: Option<Duration>,
    persistent: bool,
    attempts: Option<Attempts>,
    context: Vec<(&'static str, String)>,
    cause: Option<Cause>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self { Self::new(ErrorKind::$kind, message) })*
    };
}

impl Error {
    /// A failure of `kind`, described by `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                stage: None,
                source_name: None,
                provider: None,
                hint: None,
                retry_after: None,
                persistent: false,
                attempts: None,
                context: Vec::new(),
                cause: None,
            }),
        }
    }

    constructors! {
        /// An [`ErrorKind::Config`] failure.
        config => Config;
        /// An [`ErrorKind::Input`] failure.
        input => Input;
        /// An [`ErrorKind::NotFound`] failure.
        not_found => NotFound;
        /// An [`ErrorKind::Unavailable`] failure.
        unavailable => Unavailable;
        /// An [`ErrorKind::Timeout`] failure.
        timeout => Timeout;
        /// An [`ErrorKind::Protocol`] failure.
        protocol => Protocol;
        /// An [`ErrorKind::Unsupported`] failure.
        unsupported => Unsupported;
        /// An [`ErrorKind::State`] failure.
        state => State;
        /// An [`ErrorKind::Cancelled`] failure.
        cancelled => Cancelled;
        /// An [`ErrorKind::Internal`] failure.
        internal => Internal;
    }

    /// Adds the underlying cause.
    pub fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.inner.cause = Some(cause.into());
        self
    }

    /// Names the stage, unless a deeper one is named already.
    pub fn with_stage(mut self, stage: Stage) -> Self {
        self.inner.stage.get_or_insert(stage);
        self
    }

    /// Names the source (its display locator), unless it is named already.
    pub fn with_source(mut self, source: impl Into<String>) -> Self {
        if self.inner.source_name.is_none() {
            self.inner.source_name = Some(source.into());
        }
        self
    }

    /// Names the provider, unless it is named already.
    pub fn with_provider(mut self, provider: impl Into<String>) -> Self {
        if self.inner.provider.is_none() {
            self.inner.provider = Some(provider.into());
        }
        self
    }

    /// Says what the user can do, in one sentence or command.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Records how long the other side asked us to wait.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.inner.retry_after = Some(wait);
        self
    }

    /// Adds a named value.
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((key, value.to_string()));
        self
    }

    /// Records what the call sent before it failed, in the place of what was recorded so far.
    pub fn with_attempts(mut self, attempts: Attempts) -> Self {
        self.inner.attempts = Some(attempts);
        self
    }

    /// Marks the failure as retried out, so that no layer above tries again.
    pub fn into_persistent(mut self) -> Self {
        self.inner.persistent = true;
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The stage that failed.
    pub fn stage(&self) -> Option<Stage> {
        self.inner.stage
    }

    /// The source concerned, as its display locator.
    pub fn source_name(&self) -> Option<&str> {
        self.inner.source_name.as_deref()
    }

    /// The provider concerned.
    pub fn provider(&self) -> Option<&str> {
        self.inner.provider.as_deref()
    }

    /// The remedy.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// How long the other side asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// What the call sent before it failed; `None` where that was not recorded.
    pub fn attempts(&self) -> Option<Attempts> {
        self.inner.attempts
    }

    /// Named values, oldest first.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }

    /// Whether the same call may succeed when made again.
    pub fn is_retryable(&self) -> bool {
        !self.inner.persistent
            && matches!(
                self.inner.kind,
                ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Protocol
            )
    }

    /// Whether the failure concerns every source alike, so that starting others is pointless.
    pub fn stops_batch(&self) -> bool {
        matches!(
            self.inner.kind,
            ErrorKind::Auth | ErrorKind::Config | ErrorKind::Budget | ErrorKind::State | ErrorKind::Cancelled
        )
    }

    /// The message with its named values and all causes, on one line.
    pub fn report(&self) -> String {
        use fmt::Write as _;
        let mut text = self.to_string();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let message = error.to_string();
            // Wrappers often repeat what they wrap.
            if !text.contains(&message) {
                let _ = write!(text, ": {message}");
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if !self.inner.context.is_empty() {
            f.write_str(" (")?;
            for (index, (key, value)) in self.inner.context.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{key}: {value}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.inner.kind)
            .field("message", &self.inner.message);
        if let Some(stage) = self.inner.stage {
            out.field("stage", &stage);
        }
        if let Some(source) = &self.inner.source_name {
            out.field("source_name", source);
        }
        if let Some(provider) = &self.inner.provider {
            out.field("provider", provider);
        }
        if !self.inner.context.is_empty() {
            out.field("context", &self.inner.context);
        }
        if let Some(hint) = &self.inner.hint {
            out.field("hint", hint);
        }
        if let Some(cause) = &self.inner.cause {
            out.field("cause", cause);
        }
        out.finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .cause
            .as_deref()
            .map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_names_the_chain_once() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::state("cannot write the journal")
            .with_context("path", "/var/x")
            .with_cause(Error::unavailable("disk on fire").with_cause(io));
        assert_eq!(
            error.report(),
            "cannot write the journal (path: /var/x): disk on fire"
        );
    }

    #[test]
    fn the_deepest_stage_and_source_win() {
        let error = Error::input("bad")
            .with_stage(Stage::Split)
            .with_stage(Stage::Publish);
        assert_eq!(error.stage(), Some(Stage::Split));
        let error = Error::input("bad").with_source("a.mp3").with_source("b.mp3");
        assert_eq!(error.source_name(), Some("a.mp3"));
    }

    #[test]
    fn a_persistent_failure_is_not_retried() {
        let error = Error::unavailable("down");
        assert!(error.is_retryable());
        assert!(!error.into_persistent().is_retryable());
        assert!(!Error::input("bad").is_retryable());
    }

    #[test]
    fn names_round_trip() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::parse(kind.as_str()), Some(kind));
        }
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
        assert_eq!(ErrorKind::parse("nope"), None);
    }
}
