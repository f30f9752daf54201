//! Transcripts that come with recordings: used at no cost, followed when they change, and never trusted.

use super::support::{Place, index, index_with};
use audiorag::export::{Format, render};
use audiorag::index::{IndexEvent, IndexObserver, IndexOptions, IndexReport, Input, Reindex, ReindexOptions};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::{AudioRag, CancellationToken, ErrorKind};
use audiorag_core::model::{Filter, Transcript};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const SUBTITLES: &str = "WEBVTT\n\n00:00.500 --> 00:02.000\n<v Ada>The harbour is closed on Sundays.\n\n\
                         00:03.000 --> 00:05.000\n<v Grace>Then we sail on Monday.\n";

async fn transcript(audiorag: &AudioRag) -> Transcript {
    let source = &audiorag.state().list_sources().await.unwrap()[0];
    audiorag.transcript(source).await.unwrap()
}

async fn texts(audiorag: &AudioRag) -> Vec<String> {
    let transcript = transcript(audiorag).await;
    transcript
        .segments
        .into_iter()
        .map(|segment| segment.text)
        .collect()
}

/// Nothing contradicts the invariants, and nothing was sent to speech-to-text.
async fn at_no_cost(place: &Place, audiorag: &AudioRag) {
    assert_eq!(audiorag.check().await.unwrap(), []);
    assert_eq!(place.transcriber.script().calls(), 0);
}

fn name(file: &Path) -> IndexOptions {
    IndexOptions {
        transcript_file: Some(file.to_owned()),
        ..IndexOptions::default()
    }
}

fn recording(place: &Place) -> PathBuf {
    place.speech("talk.wav", 2, 1)
}

/// Indexes and collects the warnings.
async fn warned(audiorag: &AudioRag, file: &Path) -> (IndexReport, Vec<String>) {
    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);
    impl IndexObserver for Warnings {
        fn event(&self, event: IndexEvent) {
            if let IndexEvent::Warning { message, .. } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }
    let warnings = Warnings::default();
    let inputs = vec![Input::Path(file.to_owned())];
    let run = audiorag.index(
        inputs,
        IndexOptions::default(),
        &warnings,
        CancellationToken::new(),
    );
    let report = run.await.unwrap();
    (report, warnings.0.into_inner().unwrap())
}

#[tokio::test]
async fn a_transcript_beside_a_recording_is_indexed_at_no_cost() {
    let place = Place::new();
    let file = recording(&place);
    place.write("talk.vtt", SUBTITLES.as_bytes());
    let audiorag = place.open().await;
    let plan = audiorag
        .plan(vec![Input::Path(file.clone())], IndexOptions::default())
        .await
        .unwrap();
    assert_eq!(plan.sources[0].transcript.as_deref(), Some("talk.vtt"));
    assert_eq!(plan.sources[0].transcribe.needed.usage.requests, 0);
    assert!(plan.sources[0].embed.exact && plan.sources[0].embed.needed.usage.requests > 0);

    let report = index(&audiorag, &[&file]).await;
    let done = &report.indexed[0];
    assert_eq!(done.transcript.as_deref(), Some("talk.vtt"), "{report:?}");
    assert_eq!((done.transcribed_parts, done.duration.as_millis()), (0, 6300));
    let hits = audiorag
        .search(
            "when is the harbour closed?",
            QueryOptions {
                filter: Filter {
                    speakers: vec!["Ada".into()],
                    ..Filter::default()
                },
                ..QueryOptions::default()
            },
        )
        .await
        .unwrap()
        .hits;
    assert!(hits[0].text.contains("closed on Sundays"), "{hits:?}");
    assert_eq!(hits[0].span.start().as_millis(), 500);
    // The words of the transcript, times of the recording, and no second look at either.
    assert_eq!(index(&audiorag, &[&file]).await.skipped.len(), 1);
    at_no_cost(&place, &audiorag).await;

    // What is made of it later does not need the transcript's file.
    std::fs::remove_file(place.path("talk.vtt")).unwrap();
    let mut place = place;
    place.set(Key::ChunkDurationSeconds, "2");
    let audiorag = place.open().await;
    let options = |what| ReindexOptions {
        what,
        sources: Vec::new(),
        max_cost: None,
    };
    let cut = audiorag.reindex(options(Reindex::Rechunk), &(), CancellationToken::new());
    assert_eq!(cut.await.unwrap().indexed[0].chunks, 2);
    let plan = audiorag
        .plan_reindex(&options(Reindex::Retranscribe))
        .await
        .unwrap();
    assert!(
        plan.sources[0].skip.as_deref().unwrap().contains("was given"),
        "{plan:?}"
    );
    let again = audiorag.reindex(options(Reindex::Retranscribe), &(), CancellationToken::new());
    assert_eq!(again.await.unwrap().skipped.len(), 1);
    audiorag.gc(false).await.unwrap();
    assert_eq!(texts(&audiorag).await.len(), 2);
    at_no_cost(&place, &audiorag).await;
}

#[tokio::test]
async fn an_edited_added_or_removed_transcript_changes_the_source() {
    let place = Place::new();
    let file = recording(&place);
    let beside = place.write("talk.vtt", SUBTITLES.as_bytes());
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    place.write("talk.vtt", SUBTITLES.replace("Sundays", "Fridays").as_bytes());
    assert_eq!(index(&audiorag, &[&file]).await.indexed.len(), 1);
    assert_eq!(texts(&audiorag).await[0], "The harbour is closed on Fridays.");
    // A better one comes before it.
    let better = r#"{"segments": [{"start": 1, "end": 2, "text": "Closed for good."}]}"#;
    place.write("talk.wav.json", better.as_bytes());
    index(&audiorag, &[&file]).await;
    assert_eq!(texts(&audiorag).await, ["Closed for good."]);
    at_no_cost(&place, &audiorag).await;
    // Without any, the recording itself is heard.
    std::fs::remove_file(beside).unwrap();
    std::fs::remove_file(place.path("talk.wav.json")).unwrap();
    let heard = index(&audiorag, &[&file]).await;
    assert!(heard.indexed[0].transcribed_parts > 0 && heard.indexed[0].transcript.is_none());
    // And what was heard is kept for the day on which the transcript comes and goes again.
    let calls = place.transcriber.script().calls();
    place.write("talk.srt", b"1\n00:00:01,000 --> 00:00:02,000\nBack again.\n");
    index(&audiorag, &[&file]).await;
    assert_eq!(texts(&audiorag).await, ["Back again."]);
    std::fs::remove_file(place.path("talk.srt")).unwrap();
    assert_eq!(index(&audiorag, &[&file]).await.transcribed_parts(), 0);
    assert_eq!(place.transcriber.script().calls(), calls);
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_named_transcript_stays_until_the_recording_changes() {
    let mut place = Place::new();
    let file = recording(&place);
    let named = place.write("elsewhere/words.vtt", SUBTITLES.as_bytes());
    let audiorag = place.open().await;
    let report = index_with(&audiorag, &[&file], name(&named)).await;
    assert_eq!(report.indexed[0].transcript.as_deref(), Some("words.vtt"));
    std::fs::remove_file(&named).unwrap();
    // Not named again, moved, made anew: still the same words, and nothing is paid.
    let plan = audiorag
        .plan(vec![Input::Path(file.clone())], IndexOptions::default())
        .await
        .unwrap();
    assert_eq!(plan.sources[0].skipped.as_deref(), Some("unchanged"));
    assert_eq!(index(&audiorag, &[&file]).await.skipped.len(), 1);
    let moved = place.path("moved.wav");
    std::fs::rename(&file, &moved).unwrap();
    assert_eq!(index(&audiorag, &[&moved]).await.skipped.len(), 1);
    let force = IndexOptions {
        force: true,
        ..IndexOptions::default()
    };
    assert_eq!(index_with(&audiorag, &[&moved], force).await.indexed.len(), 1);
    place.set(Key::ChunkDurationSeconds, "2");
    place.set(Key::IndexTranscript, "only");
    let audiorag = place.open().await;
    assert_eq!(index(&audiorag, &[&moved]).await.indexed[0].chunks, 2);
    assert_eq!(texts(&audiorag).await.len(), 2);
    at_no_cost(&place, &audiorag).await;
    // Another recording is not what the words were for.
    place.set(Key::IndexTranscript, "auto");
    let audiorag = place.open().await;
    place.speech("moved.wav", 3, 9);
    assert!(index(&audiorag, &[&moved]).await.transcribed_parts() > 0);

    let two = [place.speech("a.wav", 1, 20), place.speech("b.wav", 1, 30)];
    let inputs = two.iter().map(|file| Input::Path(file.clone())).collect();
    let refused = audiorag
        .index(inputs, name(&two[0]), &(), CancellationToken::new())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Input);
}

#[tokio::test]
async fn a_transcript_that_cannot_be_read_is_said_and_the_recording_is_heard() {
    let mut place = Place::new();
    let file = recording(&place);
    place.write("talk.json", b"{\"formats\": []}");
    let audiorag = place.open().await;
    let (report, warnings) = warned(&audiorag, &file).await;
    assert!(report.indexed[0].transcribed_parts > 0);
    assert!(
        warnings.iter().any(|text| text.contains("talk.json")),
        "{warnings:?}"
    );
    // The next best one is used all the same.
    place.write(
        "talk.srt",
        b"1\n00:00:01,000 --> 00:00:02,000\nHere.\n\n2\n00:09:00,000 --> 00:09:01,000\nBeyond.\n",
    );
    let (_, warnings) = warned(&audiorag, &file).await;
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("1 of 2 segments lie beyond")),
        "{warnings:?}"
    );
    assert_eq!(texts(&audiorag).await, ["Here."]);

    place.set(Key::IndexTranscript, "only");
    let audiorag = place.open().await;
    std::fs::remove_file(place.path("talk.srt")).unwrap();
    let bare = place.speech("bare.wav", 1, 7);
    let calls = place.transcriber.script().calls();
    let report = index(&audiorag, &[&file, &bare]).await;
    assert_eq!(report.failed.len(), 2, "{report:?}");
    assert!(
        report.failed[0].message.contains("without a list of segments"),
        "{report:?}"
    );
    assert!(
        report.failed[1].message.contains("no transcript lies beside it"),
        "{report:?}"
    );
    assert!(
        report
            .failed
            .iter()
            .all(|failed| failed.kind == ErrorKind::Input && failed.hint.is_some())
    );
    let missing = index_with(&audiorag, &[&bare], name(Path::new("/nowhere/x.srt"))).await;
    assert!(missing.failed[0].message.contains("x.srt"), "{missing:?}");
    assert_eq!(place.transcriber.script().calls(), calls);

    place.set(Key::IndexTranscript, "never");
    place.write("bare.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHere.\n");
    let report = index(&place.open().await, &[&bare]).await;
    assert!(report.indexed[0].transcribed_parts > 0, "{report:?}");
}

#[tokio::test]
async fn a_transcript_in_the_language_asked_for_is_taken() {
    let mut place = Place::new();
    let file = recording(&place);
    let srt = |text: &str| format!("1\n00:00:01,000 --> 00:00:02,000\n{text}\n");
    place.write("talk.de.srt", srt("Guten Tag.").as_bytes());
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    let only = transcript(&audiorag).await;
    assert_eq!(
        (only.segments[0].text.as_str(), only.language.as_deref()),
        ("Guten Tag.", Some("de"))
    );
    // Which of two is the recording's own cannot be told.
    place.write("talk.en-GB.srt", srt("Good day.").as_bytes());
    let (report, warnings) = warned(&audiorag, &file).await;
    assert!(report.indexed[0].transcribed_parts > 0);
    assert!(
        warnings[0].contains("de, en-GB") && warnings[0].contains("--language"),
        "{warnings:?}"
    );
    place.set(Key::SttLanguage, "en");
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    assert_eq!(texts(&audiorag).await, ["Good day."]);
}

#[tokio::test]
async fn what_was_exported_is_indexed_as_it_was() {
    let place = Place::new();
    let file = recording(&place);
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    let before = transcript(&audiorag).await;
    let source = &audiorag.state().list_sources().await.unwrap()[0];
    place.write("talk.json", render(Format::Json, source, &before).as_bytes());
    let calls = place.transcriber.script().calls();
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(report.indexed[0].transcript.as_deref(), Some("talk.json"));
    assert_eq!(
        report.indexed[0].embedded_chunks, 0,
        "the same words have the same vectors"
    );
    assert_eq!(transcript(&audiorag).await, before);
    assert_eq!(place.transcriber.script().calls(), calls);
}
