//! Recordings on the web: URLs, podcast feeds and pages, against servers on this machine.

use super::support::Place;
use audiorag::index::{IndexOptions, IndexReport, Input, Reindex, ReindexOptions};
use audiorag::settings::Key;
use audiorag::{AudioRag, CancellationToken, ErrorKind};
use audiorag_core::MediaTime;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::synth::Track;
use std::sync::{Arc, Mutex};

fn speech(bursts: u64, seed: u64) -> Vec<u8> {
    let mut track = Track::new(16_000).silence(300);
    for burst in 0..bursts {
        track = track.speech(2000, seed + burst).silence(1000);
    }
    track.to_wav()
}

/// What a server has at a path, and the tag of its version.
type Shelf = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// A server that has files with tags, and answers "not modified" to whoever names the tag.
async fn server(shelf: &Shelf) -> Server {
    let shelf = Arc::clone(shelf);
    Server::answering(move |_, request: &Request| {
        let shelf = shelf.lock().unwrap();
        let Some((_, tag, body)) = shelf.iter().find(|(path, ..)| path == request.path()) else {
            return Reply::json(404, "{}");
        };
        let tag = format!("\"{tag}\"");
        if request.header("if-none-match") == Some(tag.as_str()) {
            return Reply::json(304, "").with_header("ETag", tag);
        }
        Reply::json(200, "")
            .with_header("Content-Type", "application/octet-stream")
            .with_header("ETag", tag)
            .with_body(body.clone())
    })
    .await
}

fn put(shelf: &Shelf, path: &str, tag: &str, body: impl Into<Vec<u8>>) {
    let mut shelf = shelf.lock().unwrap();
    shelf.retain(|(there, ..)| there != path);
    shelf.push((path.to_owned(), tag.to_owned(), body.into()));
}

/// A place whose program may fetch from this machine.
fn place() -> Place {
    let mut place = Place::new();
    place.set(Key::FetchAllowHosts, "127.0.0.1");
    place.set(Key::RetryMaxAttempts, "1");
    place
}

async fn index(audiorag: &AudioRag, url: &str, options: IndexOptions) -> IndexReport {
    let inputs = vec![Input::Uri(url.to_owned())];
    audiorag
        .index(inputs, options, &(), CancellationToken::new())
        .await
        .unwrap()
}

fn downloads(place: &Place) -> usize {
    let dir = &place.settings().fetch.dir;
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_recording_on_the_web_is_fetched_once_and_again_when_it_changed() {
    let (place, shelf) = (place(), Shelf::default());
    put(&shelf, "/talk.wav", "one", speech(3, 1));
    let server = server(&shelf).await;
    let url = server.url("/talk.wav#t=3");
    let audiorag = place.open().await;
    let report = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    assert_eq!(downloads(&place), 0, "the copy is not needed any more");
    let sources = audiorag.state().list_sources().await.unwrap();
    assert_eq!(sources[0].locator.to_uri(), server.url("/talk.wav"));
    assert_eq!(sources[0].title, "talk");
    let calls = place.transcriber.script().calls();

    let again = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(again.skipped.len(), 1, "{again:?}");
    let last = server.requests().pop().unwrap();
    assert_eq!(
        last.header("if-none-match"),
        Some("\"one\""),
        "asked, and not fetched"
    );

    put(&shelf, "/talk.wav", "two", speech(3, 1));
    let same = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(same.skipped.len(), 1, "another tag, the same bytes: {same:?}");
    assert_eq!(place.transcriber.script().calls(), calls);

    put(&shelf, "/talk.wav", "three", speech(4, 9));
    let changed = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(changed.indexed.len(), 1, "{changed:?}");
    assert_eq!(changed.indexed[0].source_id, report.indexed[0].source_id);
    assert!(place.transcriber.script().calls() > calls);
    // Citations play where the recording is.
    let reply = audiorag
        .search("anything", audiorag::query::QueryOptions::default())
        .await
        .unwrap();
    assert_eq!(reply.hits[0].locator.to_uri(), server.url("/talk.wav"));
}

#[tokio::test]
async fn a_copy_outlives_a_run_that_fails_and_is_not_fetched_again() {
    let (place, shelf) = (place(), Shelf::default());
    put(&shelf, "/talk.wav", "one", speech(3, 1));
    let server = server(&shelf).await;
    let url = server.url("/talk.wav");
    let audiorag = place.open().await;
    place.transcriber.script().fail_nth(1, ErrorKind::Unavailable);
    let failed = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(failed.failed.len(), 1, "{failed:?}");
    let resumed = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(resumed.indexed.len(), 1, "{resumed:?}");
    let last = server.requests().pop().unwrap();
    assert_eq!(last.header("if-none-match"), Some("\"one\""));
    assert_eq!(downloads(&place), 0);
    // Transcribing again needs the bytes again.
    let options = ReindexOptions {
        what: Reindex::Retranscribe,
        sources: Vec::new(),
        max_cost: None,
    };
    let report = audiorag
        .reindex(options, &(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    assert_eq!(downloads(&place), 0);
}

fn feed(items: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
        <rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
             xmlns:podcast="https://podcastindex.org/namespace/1.0">
        <channel><title>Harbour Talk</title><language>en</language>{items}</channel></rss>"#
    )
}

fn item(guid: &str, day: u32, path: &str, more: &str) -> String {
    format!(
        r#"<item><title>Episode {guid}</title><guid>{guid}</guid>
        <pubDate>{day:02} Jan 2026 08:00:00 GMT</pubDate>
        <enclosure url="{path}" length="1" type="audio/mpeg"/>{more}</item>"#
    )
}

#[tokio::test]
async fn a_feed_is_its_episodes_and_only_new_ones_are_fetched() {
    let (place, shelf) = (place(), Shelf::default());
    let chapters = r#"<podcast:chapters url="/b.json" type="application/json+chapters"/>"#;
    let items = [
        item("a", 1, "/a.wav", ""),
        item("b", 2, "/b.wav", chapters),
        item("c", 3, "/c.wav", ""),
    ];
    put(&shelf, "/feed.xml", "f", feed(&items.concat()));
    put(
        &shelf,
        "/b.json",
        "c",
        r#"{"version": "1.2.0", "chapters": [{"startTime": 0, "title": "Start"}, {"startTime": 4.5, "title": "Later"}]}"#,
    );
    for (path, seed) in [("/a.wav", 1), ("/b.wav", 20), ("/c.wav", 40)] {
        put(&shelf, path, "x", speech(3, seed));
    }
    let server = server(&shelf).await;
    let url = server.url("/feed.xml");
    let audiorag = place.open().await;
    let latest = IndexOptions {
        latest: Some(2),
        ..IndexOptions::default()
    };
    let report = index(&audiorag, &url, latest).await;
    assert_eq!(report.indexed.len(), 2, "{report:?}");
    let b = audiorag
        .state()
        .resolve_source(&server.url("/b.wav"))
        .await
        .unwrap();
    let media = b.media.clone().unwrap();
    assert_eq!(b.title, "Episode b");
    assert_eq!(
        (
            media.album.as_deref(),
            media.day().as_deref(),
            media.language.as_deref()
        ),
        (Some("Harbour Talk"), Some("2026-01-02"), Some("en"))
    );
    let starts: Vec<_> = media.chapters.iter().map(|chapter| chapter.start).collect();
    assert_eq!(starts, [MediaTime::ZERO, MediaTime::from_millis(4500)]);

    let before = server.requests().len();
    let all = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!((all.indexed.len(), all.skipped.len()), (1, 2), "{all:?}");
    let asked: Vec<String> = server.requests()[before..]
        .iter()
        .map(|request| request.path().to_owned())
        .collect();
    assert_eq!(asked, ["/feed.xml", "/a.wav"], "known episodes cost no request");

    // The feed moves an episode: it is the same source, and costs no speech-to-text.
    let calls = place.transcriber.script().calls();
    put(&shelf, "/new/b.wav", "x", speech(3, 20));
    let moved = items.concat().replace("\"/b.wav\"", "\"/new/b.wav\"");
    put(&shelf, "/feed.xml", "g", feed(&moved));
    let report = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(report.skipped.len(), 3, "{report:?}");
    let after = audiorag
        .state()
        .resolve_source(&server.url("/new/b.wav"))
        .await
        .unwrap();
    assert_eq!(after.id, b.id);
    assert_eq!(place.transcriber.script().calls(), calls);
    assert_eq!(audiorag.state().list_sources().await.unwrap().len(), 3);

    let since = IndexOptions {
        since: Some("2027-01-01".into()),
        ..IndexOptions::default()
    };
    let none = index(&audiorag, &url, since).await;
    assert!(none.failed[0].message.contains("no episode"), "{none:?}");
}

#[tokio::test]
async fn where_only_given_transcripts_are_used_nothing_is_fetched_without_one() {
    let (mut place, shelf) = (place(), Shelf::default());
    place.set(Key::IndexTranscript, "only");
    let offer = r#"<podcast:transcript url="/b.srt" type="application/x-subrip"/>"#;
    let items = [item("a", 1, "/a.wav", ""), item("b", 2, "/b.wav", offer)];
    put(&shelf, "/feed.xml", "f", feed(&items.concat()));
    put(&shelf, "/a.wav", "x", speech(2, 1));
    put(&shelf, "/b.wav", "x", speech(2, 9));
    put(
        &shelf,
        "/b.srt",
        "s",
        "1\n00:00:00,500 --> 00:00:02,000\nGood morning.\n",
    );
    let server = server(&shelf).await;
    let audiorag = place.open().await;
    let report = index(&audiorag, &server.url("/feed.xml"), IndexOptions::default()).await;
    assert_eq!((report.indexed.len(), report.failed.len()), (1, 1), "{report:?}");
    assert!(
        report.failed[0]
            .message
            .contains("no transcript is offered for it"),
        "{report:?}"
    );
    let asked: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.path().to_owned())
        .collect();
    assert!(!asked.contains(&"/a.wav".to_owned()), "{asked:?}");
}

#[tokio::test]
async fn an_episode_with_a_transcript_costs_no_speech_to_text_and_keeps_to_its_chapters() {
    let (place, shelf) = (place(), Shelf::default());
    let more = r#"<podcast:chapters url="/chapters.json" type="application/json+chapters"/>
        <podcast:transcript url="/page.html" type="text/html"/>
        <podcast:transcript url="/said.srt" type="application/x-subrip"/>
        <podcast:transcript url="/said.json" type="application/json"/>"#;
    put(&shelf, "/feed.xml", "f", feed(&item("a", 1, "/a.wav", more)));
    put(&shelf, "/a.wav", "x", speech(2, 1));
    let chapters = r#"{"version": "1.2.0", "chapters": [{"startTime": 0, "title": "Greetings"},
        {"startTime": 3, "title": "The harbour"}]}"#;
    put(&shelf, "/chapters.json", "c", chapters);
    // The one that says most is broken, so that the next one counts.
    put(&shelf, "/said.json", "j", "{\"segments\": [");
    put(&shelf, "/page.html", "h", "<p>Hello</p>");
    let said = "1\n00:00:00,500 --> 00:00:02,000\nAda: Good morning.\n\n\
                2\n00:00:03,500 --> 00:00:05,000\nGrace: The harbour is closed.\n";
    put(&shelf, "/said.srt", "s", said);
    let server = server(&shelf).await;
    let url = server.url("/feed.xml");
    let audiorag = place.open().await;
    let plan = audiorag
        .plan(vec![Input::Uri(url.clone())], IndexOptions::default())
        .await
        .unwrap();
    assert!(plan.sources[0].transcript.is_some() && plan.sources[0].transcribe.needed.usage.requests == 0);
    let report = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(
        report.indexed[0].transcript.as_deref(),
        Some(server.url("/said.srt").as_str()),
        "{report:?}"
    );
    let hits = audiorag
        .search(
            "when is the harbour closed?",
            audiorag::query::QueryOptions::default(),
        )
        .await
        .unwrap()
        .hits;
    // Half a minute is in a chunk otherwise.
    let chapters: Vec<_> = hits
        .iter()
        .map(|hit| (hit.chapter.as_deref(), hit.speakers.join(",")))
        .collect();
    assert!(
        chapters.contains(&(Some("The harbour"), "Grace".to_owned())),
        "{hits:?}"
    );
    assert!(
        chapters.contains(&(Some("Greetings"), "Ada".to_owned())),
        "{hits:?}"
    );
    let source = &audiorag.state().list_sources().await.unwrap()[0];
    let live = audiorag.state().live_revision(&source.id).await.unwrap().unwrap();
    let headers: Vec<_> = audiorag.state().chunks_of(live.id).await.unwrap();
    assert_eq!(
        headers[1].header.as_deref(),
        Some("Episode a - 2026-01-01 - The harbour - Grace")
    );
    let markdown = audiorag::export::render(
        audiorag::export::Format::Markdown,
        source,
        &audiorag.transcript(source).await.unwrap(),
    );
    assert!(
        markdown.contains("## 00:03 The harbour\n\n**[00:03] Grace:**"),
        "{markdown}"
    );

    // Nothing is fetched for what did not change, and what was given stays.
    let before = server.requests().len();
    assert_eq!(
        index(&audiorag, &url, IndexOptions::default())
            .await
            .skipped
            .len(),
        1
    );
    assert_eq!(server.requests().len(), before + 1, "the feed alone");
    assert_eq!(place.transcriber.script().calls(), 0);
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn what_cannot_be_fetched_is_told_and_the_rest_goes_on() {
    let (place, shelf) = (place(), Shelf::default());
    put(&shelf, "/good.wav", "x", speech(2, 1));
    put(&shelf, "/page.html", "x", "<!doctype html><title>Player</title>");
    put(&shelf, "/letter.mp3", "x", vec![0_u8; 4096]);
    let server = server(&shelf).await;
    let audiorag = place.open().await;
    let urls = [
        server.url("/missing.mp3"),
        server.url("/page.html"),
        server.url("/letter.mp3"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://user:secret@127.0.0.1/x.mp3".to_owned(),
        server.url("/good.wav"),
    ];
    let inputs = urls.iter().map(|url| Input::Uri(url.clone())).collect();
    let report = audiorag
        .index(inputs, IndexOptions::default(), &(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.indexed.len(), report.failed.len()), (1, 5), "{report:?}");
    let kinds: Vec<ErrorKind> = report.failed.iter().map(|failed| failed.kind).collect();
    assert_eq!(
        kinds,
        [
            ErrorKind::NotFound,
            ErrorKind::Unsupported,
            ErrorKind::Input,
            ErrorKind::Input,
            ErrorKind::Input
        ],
        "{report:?}"
    );
    assert!(
        report.failed[1]
            .hint
            .as_deref()
            .unwrap_or_default()
            .contains("yt-dlp"),
        "{report:?}"
    );
    assert!(
        report.failed[2].message.starts_with("download is not"),
        "{report:?}"
    );
    let told = format!("{report:?}");
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test]
async fn offline_means_no_request() {
    let (mut place, shelf) = (place(), Shelf::default());
    put(&shelf, "/good.wav", "x", speech(2, 1));
    let server = server(&shelf).await;
    place.set(Key::Offline, "true");
    let audiorag = place.open().await;
    let report = index(&audiorag, &server.url("/good.wav"), IndexOptions::default()).await;
    assert!(report.failed[0].message.contains("offline"), "{report:?}");
    assert!(server.requests().is_empty());
}

#[cfg(unix)]
#[tokio::test]
async fn a_page_is_read_by_yt_dlp_and_kept_as_one_source() {
    use std::os::unix::fs::PermissionsExt as _;
    let (mut place, shelf) = (place(), Shelf::default());
    put(&shelf, "/watch", "x", "<!doctype html><title>Player</title>");
    let sound = place.write("sound.wav", &speech(3, 5));
    let program = place.write(
        "yt-dlp",
        format!(
            "#!/bin/sh\ncase \"$*\" in *--no-simulate*) cp '{}' media.webm ;; esac\n\
             echo '{{\"_type\": \"video\", \"id\": \"x\", \"extractor_key\": \"Site\", \"title\": \"On a page\", \
             \"channel\": \"Ada\", \"upload_date\": \"20260107\"}}'\n",
            sound.display()
        )
        .as_bytes(),
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    place.set(Key::FetchYtDlp, program.to_str().unwrap());
    let server = server(&shelf).await;
    let url = server.url("/watch");
    let audiorag = place.open().await;
    let report = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    let source = audiorag.state().resolve_source(&url).await.unwrap();
    let media = source.media.unwrap();
    assert_eq!(
        (
            source.title.as_str(),
            media.artist.as_deref(),
            media.day().as_deref()
        ),
        ("On a page", Some("Ada"), Some("2026-01-07"))
    );
    let again = index(&audiorag, &url, IndexOptions::default()).await;
    assert_eq!(again.skipped.len(), 1, "{again:?}");
    assert_eq!(downloads(&place), 0);
    audiorag.delete(&source.id).await.unwrap();
    assert_eq!(audiorag.state().download(&url).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_left_of_a_download_goes_with_its_source() {
    let (mut place, shelf) = (place(), Shelf::default());
    place.set(Key::FetchKeep, "true");
    put(&shelf, "/talk.wav", "one", speech(3, 1));
    let server = server(&shelf).await;
    let audiorag = place.open().await;
    let report = index(&audiorag, &server.url("/talk.wav"), IndexOptions::default()).await;
    assert_eq!(downloads(&place), 1, "kept, as asked");
    audiorag.delete(&report.indexed[0].source_id).await.unwrap();
    assert_eq!(downloads(&place), 0);
}

/// Table: buckets | `audiorag index s3://bucket/folder/` | recordings indexed, those with a known tag asked for and
/// not fetched
#[cfg(feature = "s3")]
#[tokio::test]
async fn the_recordings_of_a_bucket_are_indexed_and_asked_for_again_by_their_tags() {
    let (mut place, audio) = (place(), speech(3, 1));
    let listing = format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
        ["talks/a.wav", "talks/.hidden.wav", "talks/notes.txt"]
            .map(|key| format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-07T05:00:00.000Z</LastModified>\
                 <ETag>&quot;one&quot;</ETag><Size>{}</Size></Contents>",
                audio.len()
            ))
            .concat()
    );
    let server = Server::answering(move |_, request: &Request| match request.path() {
        "/recordings" if request.target.contains("prefix=talks") => Reply::status(200)
            .with_header("Content-Type", "application/xml")
            .with_body(listing.clone()),
        "/recordings/talks/a.wav" if request.header("if-none-match") == Some("\"one\"") => {
            Reply::status(304).with_header("ETag", "\"one\"")
        }
        "/recordings/talks/a.wav" => Reply::status(200)
            .with_header("ETag", "\"one\"")
            .with_header("Last-Modified", "Wed, 07 Jan 2026 05:00:00 GMT")
            .with_body(audio.clone()),
        _ => Reply::status(404),
    })
    .await;
    place.set(Key::FetchS3Endpoint, &server.url(""));
    place.set(Key::FetchS3AccessKeyId, "NAME");
    place.set(Key::FetchS3SecretAccessKey, "canary-of-the-bucket");
    let audiorag = place.open().await;
    let report = index(&audiorag, "s3://recordings/talks/", IndexOptions::default()).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    let sources = audiorag.state().list_sources().await.unwrap();
    assert_eq!(sources[0].locator.to_uri(), "s3://recordings/talks/a.wav");
    assert_eq!(downloads(&place), 0);

    let again = index(&audiorag, "s3://recordings/talks/", IndexOptions::default()).await;
    assert_eq!(again.skipped.len(), 1, "{again:?}");
    let last = server.requests().pop().unwrap();
    assert_eq!(last.header("if-none-match"), Some("\"one\""));
    assert!(!format!("{:?}", server.requests()).contains("canary"));

    let none = index(&audiorag, "s3://recordings/none/", IndexOptions::default()).await;
    assert_eq!(none.failed.len(), 1, "{none:?}");
}

#[tokio::test]
async fn a_recording_on_the_web_is_clipped_from_the_copy_that_was_kept() {
    let (mut place, shelf) = (place(), Shelf::default());
    put(&shelf, "/talk.wav", "one", speech(3, 1));
    let server = server(&shelf).await;
    let url = server.url("/talk.wav");
    let span = audiorag_core::Span::from_millis(500, 1_500);
    place.write("other.txt", b"");
    let output = place.path("piece.wav");
    let audiorag = place.open().await;
    index(&audiorag, &url, IndexOptions::default()).await;
    let source = audiorag.state().list_sources().await.unwrap().remove(0);
    let error = audiorag.clip(&source, span, &output, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("AUDIORAG_FETCH_KEEP"), "{error:?}");
    drop(audiorag);

    place.set(Key::FetchKeep, "true");
    let audiorag = place.open().await;
    let force = IndexOptions {
        force: true,
        ..IndexOptions::default()
    };
    index(&audiorag, &url, force).await;
    let source = audiorag.state().list_sources().await.unwrap().remove(0);
    assert_eq!(audiorag.clip(&source, span, &output, false).await.unwrap(), span);
    assert_eq!(std::fs::read(&output).unwrap().len(), 44 + 2 * 16_000);
    // A copy of something else is not what was indexed.
    let folder = std::fs::read_dir(&place.settings().fetch.dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::write(folder.path().join("download"), speech(4, 7)).unwrap();
    let error = audiorag.clip(&source, span, &output, true).await.unwrap_err();
    assert!(
        error.message().contains("no copy of what was indexed"),
        "{error:?}"
    );
}
