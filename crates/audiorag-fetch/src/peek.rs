//! A first look at a URL, and documents that are small enough for memory.

use crate::client::{Arrived, Encoding, WebClient};
use crate::download::{Validators, encoded, too_large};
use crate::status::{redact, status_error};
use crate::{hints, sniff};
use audiorag_core::{Error, Result, Stage};
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use std::future::Future;
use tokio_util::sync::CancellationToken;

/// What a URL leads to, judged by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RSS, Atom or JSON Feed.
    Feed,
    /// Something to read: HTML, other text, a playlist.
    Page,
    /// Anything else, so most likely a recording; a decoder will say.
    Media,
}

/// What a first look at a URL found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// What it is.
    pub kind: Kind,
    /// Where it was found in the end, after redirects.
    pub final_url: String,
    /// Whether a redirect left HTTPS on the way.
    pub downgraded: bool,
    /// What the server says it is, without parameters: a hint only.
    pub content_type: Option<String>,
    /// A name to show, never a path.
    pub file_name_hint: Option<String>,
    /// What the server says about its version.
    pub validators: Validators,
    /// The length of a recording, where the server gives one.
    pub length: Option<u64>,
    /// The whole of a feed, so that it is not fetched twice. Empty for anything else.
    pub body: Vec<u8>,
}

/// The answer to a request for a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// The server says that the version the caller has is the newest.
    NotModified,
    /// The document.
    Body(DocumentBody),
}

/// A document that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentBody {
    /// All of it, decompressed.
    pub bytes: Vec<u8>,
    /// Where it came from in the end, after redirects.
    pub final_url: String,
    /// What the server says it is, without parameters: a hint only.
    pub content_type: Option<String>,
    /// What the server says about its version.
    pub validators: Validators,
}

impl WebClient {
    /// Looks at what `url` leads to. Of a recording only the beginning is read; a feed is read whole.
    ///
    /// # Errors
    /// As [`download`](Self::download).
    pub async fn peek(&self, url: &str, cancel: &CancellationToken) -> Result<Peek> {
        let url = self.policy().check(url)?;
        self.small(cancel, async || {
            let mut arrived = self.arrive(&url, &HeaderMap::new()).await?;
            let length = arrived.response.content_length();
            let mut body = Vec::new();
            while body.len() < sniff::ENOUGH {
                match self.next_bytes(&mut arrived).await? {
                    Some(bytes) => body.extend_from_slice(&bytes),
                    None => break,
                }
            }
            if body.is_empty() {
                return Err(Error::input(format!("{} is empty", redact(&arrived.url))));
            }
            let headers = arrived.response.headers();
            let content_type = hints::content_type(headers);
            let kind = sniff::kind(&body, content_type.as_deref());
            let mut peek = Peek {
                kind,
                final_url: arrived.url.to_string(),
                downgraded: arrived.downgraded,
                file_name_hint: hints::file_name(headers, &arrived.url),
                content_type,
                validators: Validators::of(headers),
                length,
                body: Vec::new(),
            };
            if kind == Kind::Feed {
                self.rest(&mut arrived, &mut body).await?;
                peek.body = body;
            }
            Ok(peek)
        })
        .await
    }

    /// Fetches something small: a feed, a transcript, a list of chapters. With `validators` of an earlier answer, an
    /// unchanged document is [`NotModified`](Document::NotModified).
    ///
    /// # Errors
    /// As [`download`](Self::download); the limit is that on documents, after decompression.
    pub async fn document(
        &self,
        url: &str,
        validators: Option<&Validators>,
        cancel: &CancellationToken,
    ) -> Result<Document> {
        let url = self.policy().check(url)?;
        let mut headers = HeaderMap::new();
        if let Some(validators) = validators {
            validators.ask(&mut headers);
        }
        self.small(cancel, async || {
            let mut arrived = self.arrive(&url, &headers).await?;
            if arrived.response.status() == StatusCode::NOT_MODIFIED {
                return Ok(Document::NotModified);
            }
            let mut bytes = Vec::new();
            self.rest(&mut arrived, &mut bytes).await?;
            let headers = arrived.response.headers();
            Ok(Document::Body(DocumentBody {
                content_type: hints::content_type(headers),
                validators: Validators::of(headers),
                final_url: arrived.url.to_string(),
                bytes,
            }))
        })
        .await
    }

    /// An answer that is a success, or says that nothing has changed if that was asked.
    async fn arrive(&self, url: &Url, headers: &HeaderMap) -> Result<Arrived> {
        let arrived = self.get(url, Encoding::Decoded, headers).await?;
        let status = arrived.response.status();
        let unchanged = status == StatusCode::NOT_MODIFIED && !headers.is_empty();
        if status != StatusCode::OK && !unchanged {
            return Err(status_error(
                &arrived.url,
                status,
                arrived.response.headers(),
                jiff::Timestamp::now(),
            ));
        }
        if let Some(coding) = encoded(arrived.response.headers()) {
            return Err(Error::protocol(format!(
                "{} compresses in a way nobody asked for",
                redact(&arrived.url)
            ))
            .with_context("coding", coding)
            .into_persistent());
        }
        Ok(arrived)
    }

    async fn rest(&self, arrived: &mut Arrived, body: &mut Vec<u8>) -> Result<()> {
        let most = self.policy().max_document_bytes;
        let fits = |length: usize| {
            if length as u64 <= most {
                Ok(())
            } else {
                Err(too_large(&arrived.url, most))
            }
        };
        fits(body.len())?;
        fits(arrived.response.content_length().unwrap_or_default() as usize)?;
        let url = arrived.url.clone();
        while let Some(bytes) = self.next_bytes(arrived).await? {
            body.extend_from_slice(&bytes);
            if body.len() as u64 > most {
                return Err(too_large(&url, most));
            }
        }
        Ok(())
    }

    /// Runs something small with retries, until it is cancelled or takes too long.
    async fn small<T, F: Future<Output = Result<T>>>(
        &self,
        cancel: &CancellationToken,
        mut once: impl FnMut() -> F,
    ) -> Result<T> {
        let work = async {
            let mut attempt = 1;
            loop {
                let error = match once().await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                let Some(wait) = self.policy().retry.wait_after(attempt, &error, fastrand::f64()) else {
                    return Err(if attempt == 1 {
                        error
                    } else {
                        error.with_context("attempts", attempt).into_persistent()
                    });
                };
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
        };
        let longest = self.policy().total_timeout;
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(longest, Box::pin(work)) => outcome
                .unwrap_or_else(|_| Err(Error::timeout(format!("no answer within {} s", longest.as_secs())))),
            () = cancel.cancelled() => Err(Error::cancelled("the request was stopped")),
        };
        outcome.map_err(|error| error.with_stage(Stage::Download))
    }
}
