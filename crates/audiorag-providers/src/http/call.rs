//! What is asked of a service, and what it answers.

use super::Head;
use audiorag_core::{Error, MediaTime, Result};
use bytes::Bytes;
use reqwest::Method;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The most bytes of an answer that are read, after decompression, unless a call says otherwise.
const DEFAULT_CAP: usize = 16 << 20;

/// When a call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Repeating it changes nothing and costs next to nothing.
    Free,
    /// Each arrival may be billed: it is made again when it was refused, and once more when nobody knows whether
    /// it arrived.
    Billed,
    /// It creates something that costs: it is made again only when it certainly was not taken.
    Creates,
}

/// A field of a `multipart/form-data` body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Text.
    Text(&'static str, String),
    /// A file: name of the field, name of the file, content type, bytes.
    File(&'static str, &'static str, &'static str, Bytes),
}

/// The body of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Empty,
    Json(Bytes),
    Bytes(String, Bytes),
    Form(Vec<Field>),
}

/// A request to a [`Service`](super::Service).
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
    pub(super) replay: Replay,
    pub(super) timeout: Option<Duration>,
    pub(super) extra: Duration,
    pub(super) cap: usize,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, replay: Replay) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            payload: Payload::Empty,
            replay,
            timeout: None,
            extra: Duration::ZERO,
            cap: DEFAULT_CAP,
        }
    }

    /// A GET of `path`, which is appended to the service's base URL, or is a whole URL on the base URL's origin.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Replay::Free)
    }

    /// A POST to `path`. It counts as billed until [`replay`](Self::replay) says otherwise.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, Replay::Billed)
    }

    /// A PUT to `path`.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, Replay::Free)
    }

    /// A DELETE of `path`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, Replay::Free)
    }

    /// Adds a parameter to the query of the URL.
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends JSON.
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.payload = Payload::Json(Bytes::from(body.to_string()));
        self
    }

    /// Sends bytes as they are.
    pub fn bytes(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.payload = Payload::Bytes(content_type.into(), body.into());
        self
    }

    /// Sends a `multipart/form-data` body.
    pub fn form(mut self, fields: Vec<Field>) -> Self {
        self.payload = Payload::Form(fields);
        self
    }

    /// Says when the call may be made again.
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Says how much audio the call carries: each attempt is given half its length on top of the usual limit.
    pub fn audio(mut self, length: MediaTime) -> Self {
        self.extra = Duration::from_millis(length.as_millis() / 2);
        self
    }

    /// The longest one attempt may take, whatever the usual limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The most bytes of the answer that are read, after decompression.
    pub fn cap(mut self, cap: usize) -> Self {
        self.cap = cap;
        self
    }
}

/// A successful answer, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status and headers.
    pub head: Head,
    /// The body.
    pub body: Bytes,
    pub(super) name: String,
}

impl Reply {
    /// The body as JSON of a known shape.
    ///
    /// # Errors
    /// [`Protocol`](audiorag_core::ErrorKind::Protocol) when it has another.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::protocol(format!(
                "{} answers with something else than its documentation says",
                self.name
            ))
            .with_cause(error)
        })
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Protocol`](audiorag_core::ErrorKind::Protocol) when it is not UTF-8.
    pub fn text(&self) -> Result<String> {
        String::from_utf8(self.body.to_vec()).map_err(|error| {
            Error::protocol(format!("{} does not answer with text", self.name)).with_cause(error)
        })
    }
}

/// What a call brought, and how often it was made for that.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What was parsed from the answer.
    pub value: T,
    /// Requests that left, the successful one included: the number for [`Usage`](audiorag_core::capability::Usage).
    pub requests: u32,
    /// Those among them of which nobody knows whether they were carried out: an attempt that timed out, say.
    pub unknown: u32,
}
