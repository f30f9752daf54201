//! yt-dlp's place is taken by a script that repeats its arguments: the real program has nothing to talk to here.
#![cfg(target_os = "linux")]

use audiorag_core::{Error, ErrorKind, MediaTime};
use audiorag_fetch::{Listed, PageDownload, PageMedia, Resolved, WebClient, WebPolicy, YtDlp};
use std::ffi::OsString;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Addresses of the public internet, so that they are judged without a resolver. Nobody connects to them.
const SITE: &str = "https://1.1.1.1";

fn stand_in() -> YtDlp {
    YtDlp::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand-in-yt-dlp.sh"))
}

fn client(max_bytes: u64) -> WebClient {
    let policy = WebPolicy {
        max_bytes,
        ..WebPolicy::default()
    };
    match WebClient::new(policy) {
        Ok(client) => client,
        Err(error) => unreachable!("{}", error.report()),
    }
}

async fn resolve(program: &YtDlp, page: &str) -> Result<Resolved, Error> {
    let url = format!("{SITE}{page}");
    program
        .resolve(&client(1_000), &url, &CancellationToken::new())
        .await
}

#[track_caller]
fn one(resolved: Result<Resolved, Error>) -> PageMedia {
    match resolved {
        Ok(Resolved::One(media)) => media,
        Ok(Resolved::Many { .. }) => unreachable!("a list"),
        Err(error) => unreachable!("{}", error.report()),
    }
}

async fn download(page: &str, folder: &Path, cancel: &CancellationToken) -> Result<PageDownload, Error> {
    let url = format!("{SITE}{page}");
    stand_in()
        .download(&client(1_000_000), &url, folder, &|_, _| {}, cancel)
        .await
}

/// Table: pages | a page with a recording | title, uploader, date, chapters, language; audio only, under a name of
/// ours
#[tokio::test]
async fn a_page_is_described_and_the_url_comes_last_behind_two_dashes() {
    let media = one(resolve(&stand_in(), "/one").await);
    assert_eq!(media.id.as_deref(), Some("Site abc"));
    assert_eq!(media.title.as_deref(), Some("A title"));
    assert_eq!(media.uploader.as_deref(), Some("Ada"));
    assert_eq!(media.date.as_deref(), Some("2026-01-07"));
    assert_eq!(media.duration, Some(MediaTime::from_millis(61_500)));
    assert_eq!(media.language.as_deref(), Some("en"));
    let chapters: Vec<_> = media
        .chapters
        .iter()
        .map(|chapter| (chapter.start.as_millis(), chapter.title.as_str()))
        .collect();
    assert_eq!(chapters, [(0, "One"), (30_000, "Two")]);
    let arguments = media.description.unwrap();
    assert!(arguments.ends_with("|--|https://1.1.1.1/one|"), "{arguments}");
    for wanted in [
        "--ignore-config|",
        "--no-exec|",
        "--flat-playlist|",
        "--dump-single-json|",
    ] {
        assert!(arguments.contains(wanted), "{arguments}");
    }
    assert!(!arguments.contains("--cookies"), "{arguments}");
}

/// Table: pages | a list | its entries, without those that lead inside
#[tokio::test]
async fn a_list_names_its_entries_and_those_that_lead_inside_are_left_out() {
    let Ok(Resolved::Many { title, entries }) = resolve(&stand_in(), "/list").await else {
        panic!("a list is there")
    };
    assert_eq!(title.as_deref(), Some("List"));
    let urls: Vec<&str> = entries.iter().map(|entry: &Listed| entry.url.as_str()).collect();
    assert_eq!(urls, ["https://1.1.1.1/one", "https://1.1.1.1/two"]);
}

/// Table: pages | a page with a recording
#[tokio::test]
async fn a_recording_is_downloaded_as_audio_into_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let downloaded = download("/one", folder.path(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(downloaded.path, folder.path().join("media.webm"));
    assert_eq!(std::fs::read(&downloaded.path).unwrap(), b"sound");
    assert_eq!(downloaded.bytes, 5);
    assert_eq!(downloaded.media.title.as_deref(), Some("A title"));
    let arguments = downloaded.media.description.unwrap();
    for wanted in [
        "--format=bestaudio/best|",
        "--no-playlist|",
        "--output|media.%(ext)s|--|https://1.1.1.1/one|",
    ] {
        assert!(arguments.contains(wanted), "{arguments}");
    }
    let nothing = tempfile::tempdir().unwrap();
    let error = download("/live", nothing.path(), &CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.hint().unwrap().contains("live"));
}

/// Table: pages | cookies | handed over as a private copy, because yt-dlp writes to the file it gets
#[tokio::test]
async fn cookies_are_handed_over_as_a_private_copy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cookies.txt");
    std::fs::write(&file, "jar").unwrap();
    let media = one(resolve(&stand_in().with_cookies(Some(file.clone())), "/cookies").await);
    assert_eq!(media.id.as_deref(), Some("jar"));
    assert_eq!(media.title.as_deref(), Some("600"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "jar");
    assert!(!Path::new(&media.description.unwrap()).exists());
    let missing = stand_in().with_cookies(Some(folder.path().join("none")));
    assert_eq!(
        resolve(&missing, "/one").await.unwrap_err().kind(),
        ErrorKind::Config
    );
}

/// Table: pages | its environment | can be limited to what is given
#[tokio::test]
async fn the_environment_can_be_what_is_given_and_no_more() {
    let variables = [("GIVEN", "yes"), ("PATH", "/usr/bin:/bin")]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let media = one(resolve(&stand_in().with_environment(variables), "/environment").await);
    assert_eq!(media.title.as_deref(), Some("yes"));
    assert_eq!(media.description, None);
}

/// Table: pages | not installed, too old, asked who is there, removed | told plainly, with its version and what helps
#[tokio::test]
async fn failures_are_told_with_the_version_and_what_helps() {
    assert_eq!(stand_in().version().await.unwrap(), "2026.01.29");
    let error = resolve(&stand_in(), "/bot").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.hint().unwrap().contains("cookies file"));
    assert!(
        error.context().contains(&("yt-dlp", "2026.01.29".to_owned())),
        "{error}"
    );
    assert_eq!(
        resolve(&stand_in(), "/garbage").await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
    let missing = YtDlp::new("/nowhere/yt-dlp");
    let error = resolve(&missing, "/one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.message().contains("/nowhere/yt-dlp is not there"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("install yt-dlp"));
    let other = YtDlp::new("true");
    assert!(
        other
            .version()
            .await
            .unwrap_err()
            .message()
            .contains("is not yt-dlp")
    );
}

/// Table: pages | URLs that must not be fetched, or look like options | refused before it starts
#[tokio::test]
async fn urls_are_judged_before_they_are_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(1_000);
    let cancel = CancellationToken::new();
    for url in [
        "http://127.0.0.1/one",
        "file:///etc/passwd",
        "--version",
        "ytsearch:x",
        "https://u:p@1.1.1.1/one",
    ] {
        let error = stand_in().resolve(&client, url, &cancel).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{url}");
        let error = stand_in()
            .download(&client, url, folder.path(), &|_, _| {}, &cancel)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{url}");
    }
}

/// Table: pages | endless output, endless files, hanging | ended, with its children
#[tokio::test]
async fn output_has_an_end() {
    let media = one(resolve(&stand_in(), "/chatty").await);
    assert_eq!(media.title.as_deref(), Some("quiet at last"));
    let error = resolve(&stand_in(), "/endless").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

/// Table: pages | endless output, endless files, hanging
#[tokio::test]
async fn files_have_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let error = download("/grows", folder.path(), &CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.message().contains("limit of 1000000 bytes"), "{error}");
}

/// Table: pages | endless output, endless files, hanging
#[tokio::test]
async fn stopping_stops_the_program_and_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("child");
    let cancel = CancellationToken::new();
    let watch = async {
        // Until the child of the program has said who it is.
        loop {
            if let Ok(id) = std::fs::read_to_string(&note)
                && id.ends_with('\n')
            {
                cancel.cancel();
                return id;
            }
            tokio::task::yield_now().await;
        }
    };
    let (outcome, id) = tokio::join!(download("/hangs", folder.path(), &cancel), watch);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    // Gone, or dead and waiting for somebody to notice.
    let status = format!("/proc/{}/stat", id.trim());
    let alive = || std::fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z "));
    while alive() {
        tokio::task::yield_now().await;
    }
}
