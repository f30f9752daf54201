//! Recordings from the web, for AudioRAG.
//!
//! Everything here is asked for by a user, or by a feed that a user named, and is served by anybody. So the client
//! is not the one that speaks to vendors: it judges every address before it connects ([`WebPolicy`]), follows
//! redirects by itself, uses no proxy, carries no credentials, and bounds bytes and time.
//!
//! [`WebClient::peek`] says whether a URL is a feed, a page or a recording, [`WebClient::document`] fetches something
//! small into memory, and [`WebClient::download`] fetches something large into a file, going on where an earlier
//! attempt ended.

mod address;
mod client;
mod download;
#[cfg(feature = "feeds")]
pub mod feed;
mod hints;
mod partial;
mod peek;
mod policy;
mod resolver;
#[cfg(feature = "s3")]
pub mod s3;
mod sniff;
mod status;
mod ytdlp;

pub use address::refusal;
pub use client::WebClient;
pub use download::{Downloaded, Fetched, Validators};
pub use partial::discard_partial;
pub use peek::{Document, DocumentBody, Kind, Peek};
pub use policy::{AllowedHost, WebPolicy};
pub use reqwest::Url;
pub use ytdlp::{Listed, PageDownload, PageMedia, Resolved, YtDlp};

/// What the client returns may be awaited on any thread.
#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn futures_may_be_sent() {
        fn check<T: Send>(_: T) {}
        let client = WebClient::new(WebPolicy::default()).unwrap();
        let cancel = CancellationToken::new();
        let (url, path) = ("https://host.example/", std::path::Path::new("x"));
        let program = YtDlp::new("yt-dlp");
        check(client.document(url, None, &cancel));
        check(client.peek(url, &cancel));
        check(client.download(url, path, None, &|_, _| {}, &cancel));
        check(program.resolve(&client, url, &cancel));
        check(program.download(&client, url, path, &|_, _| {}, &cancel));
    }
}
