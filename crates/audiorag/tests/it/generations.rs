//! Transcripts made again beside those that are live: which words a source has, what is paid, and what is left over.

use super::support::{Place, index, index_with};
use audiorag::index::{IndexOptions, IndexReport, Reindex, ReindexOptions};
use audiorag::settings::Key;
use audiorag::{AudioRag, CancellationToken, ErrorKind};
use audiorag_testkit::fake::{FakeTranscriber, HashEmbedder};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FORCE: IndexOptions = IndexOptions {
    min_age: None,
    since: None,
    latest: None,
    force: true,
    include: Vec::new(),
    exclude: Vec::new(),
    title: None,
    max_cost: None,
    transcript_file: None,
};

/// A place that works on one part after the other, whose speech-to-text hears `words` everywhere.
fn hearing(words: &str) -> Place {
    let mut place = Place::with(FakeTranscriber::saying([words]));
    place.set(Key::IndexSourceConcurrency, "1");
    place.set(Key::SttConcurrency, "1");
    place
}

/// Lets the same model hear other words from now on.
fn hear(place: &mut Place, words: &str) {
    place.transcriber = Place::with(FakeTranscriber::saying([words])).transcriber;
}

async fn reindex_some(audiorag: &AudioRag, what: Reindex, paths: &[&Path]) -> IndexReport {
    let mut sources = Vec::new();
    for source in audiorag.state().list_sources().await.unwrap() {
        if paths.iter().any(|path| source.locator.as_path() == Some(path)) {
            sources.push(source.id);
        }
    }
    assert_eq!(sources.len(), paths.len());
    audiorag
        .reindex(
            ReindexOptions {
                what,
                sources,
                max_cost: None,
            },
            &(),
            CancellationToken::new(),
        )
        .await
        .unwrap()
}

async fn reindex(audiorag: &AudioRag, what: Reindex) -> IndexReport {
    reindex_some(audiorag, what, &[]).await
}

/// What an export of the source says.
async fn words(audiorag: &AudioRag, path: &Path) -> String {
    let sources = audiorag.state().list_sources().await.unwrap();
    let source = sources
        .iter()
        .find(|source| source.locator.as_path() == Some(path))
        .unwrap();
    let transcript = audiorag.transcript(source).await.unwrap();
    let texts: Vec<&str> = transcript
        .segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect();
    texts.join(" ")
}

fn all_are(text: &str, word: &str) -> bool {
    !text.is_empty() && text.split_whitespace().all(|other| other == word)
}

async fn plan(audiorag: &AudioRag) -> u32 {
    let options = ReindexOptions {
        what: Reindex::Retranscribe,
        sources: Vec::new(),
        max_cost: None,
    };
    audiorag.plan_reindex(&options).await.unwrap().parts()
}

#[tokio::test]
async fn a_file_that_is_gone_does_not_keep_the_others_from_being_transcribed_again() {
    let place = hearing("before before before before");
    let files = [place.speech("a.wav", 3, 1), place.speech("b.wav", 3, 40)];
    let audiorag = place.open().await;
    index(&audiorag, &[&files[0], &files[1]]).await;
    std::fs::remove_file(&files[0]).unwrap();
    let first = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!((first.indexed.len(), first.failed.len()), (1, 1), "{first:?}");
    let again = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!((again.indexed.len(), again.failed.len()), (1, 1), "{again:?}");
    assert_eq!(again.transcribed_parts(), first.transcribed_parts());
    assert_eq!(again.failed[0].kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_request_goes_on_for_its_sources_and_a_new_one_begins_for_the_others() {
    let place = hearing("before before before before");
    let files = [place.speech("a.wav", 6, 1), place.speech("b.wav", 6, 40)];
    let audiorag = place.open().await;
    index(&audiorag, &[&files[0], &files[1]]).await;
    let script = place.transcriber.script();
    let parts = script.calls() / 2;
    assert!(parts > 1);
    script.fail_nth(script.calls() + 2, ErrorKind::Unavailable);
    let failed = reindex_some(&audiorag, Reindex::Retranscribe, &[&files[0]]).await;
    assert_eq!(failed.failed.len(), 1, "{failed:?}");
    assert_eq!(plan(&audiorag).await as usize, 2 * parts - 1);
    let report = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!(
        (report.indexed.len(), report.transcribed_parts() as usize),
        (2, 2 * parts - 1),
        "{report:?}"
    );
}

#[tokio::test]
async fn until_all_is_transcribed_again_the_old_words_are_whole_and_copies_keep_theirs() {
    let mut place = hearing("before");
    let file = place.speech("a.wav", 6, 1);
    let copy = place.path("copy.wav");
    std::fs::copy(&file, &copy).unwrap();
    let audiorag = place.open().await;
    index(&audiorag, &[&file, &copy]).await;
    let before = words(&audiorag, &file).await;
    assert!(all_are(&before, "before"), "{before}");

    hear(&mut place, "after");
    place.transcriber.script().fail_nth(2, ErrorKind::Unavailable);
    let audiorag = place.open().await;
    let failed = reindex_some(&audiorag, Reindex::Retranscribe, &[&file]).await;
    assert_eq!(failed.failed.len(), 1, "{failed:?}");
    assert_eq!(words(&audiorag, &file).await, before);
    assert_eq!(words(&audiorag, &copy).await, before);
    let done = reindex_some(&audiorag, Reindex::Retranscribe, &[&file]).await;
    assert_eq!(done.indexed.len(), 1, "{done:?}");
    let after = words(&audiorag, &file).await;
    assert!(all_are(&after, "after"), "{after}");
    assert_eq!(words(&audiorag, &copy).await, before);
}

#[tokio::test]
async fn the_newer_words_stay_and_are_not_paid_for_whatever_is_done_later() {
    let mut place = hearing("before");
    let file = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    hear(&mut place, "after");
    let audiorag = place.open().await;
    reindex(&audiorag, Reindex::Retranscribe).await;
    let after = words(&audiorag, &file).await;
    assert!(all_are(&after, "after"), "{after}");
    let calls = place.transcriber.script().calls();

    assert_eq!(index(&audiorag, &[&file]).await.skipped.len(), 1);
    assert_eq!(index_with(&audiorag, &[&file], FORCE).await.indexed.len(), 1);
    assert_eq!(words(&audiorag, &file).await, after);
    let titled = IndexOptions {
        title: Some("Another title".to_owned()),
        ..IndexOptions::default()
    };
    assert_eq!(index_with(&audiorag, &[&file], titled).await.indexed.len(), 1);
    assert_eq!(words(&audiorag, &file).await, after);
    place.set(Key::ChunkDurationSeconds, "2");
    let audiorag = place.open().await;
    assert_eq!(reindex(&audiorag, Reindex::Rechunk).await.indexed.len(), 1);
    assert_eq!(words(&audiorag, &file).await, after);
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    place.set(Key::GcRetention, "0s");
    let audiorag = place.open().await;
    assert_eq!(reindex(&audiorag, Reindex::Reembed).await.indexed.len(), 1);
    assert_eq!(words(&audiorag, &file).await, after);

    // Also when the first words are gone, and for a copy.
    assert!(audiorag.gc(false).await.unwrap().cache.part_transcripts > 0);
    let copy = place.path("copy.wav");
    std::fs::copy(&file, &copy).unwrap();
    let paths: [PathBuf; 2] = [file, copy];
    let report = index_with(&audiorag, &[&paths[0], &paths[1]], FORCE).await;
    assert_eq!(report.indexed.len(), 2, "{report:?}");
    for path in &paths {
        assert_eq!(words(&audiorag, path).await, after);
    }
    assert_eq!(place.transcriber.script().calls(), calls);
}

#[tokio::test]
async fn what_is_made_of_a_source_meanwhile_does_not_cost_it_the_parts_that_are_done() {
    for what in ["force", "rechunk", "reembed"] {
        let mut place = hearing("before");
        let file = place.speech("a.wav", 6, 1);
        let audiorag = place.open().await;
        index(&audiorag, &[&file]).await;
        let parts = place.transcriber.script().calls();
        hear(&mut place, "after");
        place.transcriber.script().fail_nth(parts, ErrorKind::Unavailable);
        let audiorag = place.open().await;
        let failed = reindex(&audiorag, Reindex::Retranscribe).await;
        assert_eq!(failed.failed.len(), 1, "{failed:?}");

        place.set(Key::ChunkDurationSeconds, "2");
        if what == "reembed" {
            place.embedder = Arc::new(HashEmbedder::named("another", 32));
        }
        let audiorag = place.open().await;
        let report = match what {
            "force" => index_with(&audiorag, &[&file], FORCE).await,
            "rechunk" => reindex(&audiorag, Reindex::Rechunk).await,
            _ => reindex(&audiorag, Reindex::Reembed).await,
        };
        assert_eq!(report.indexed.len(), 1, "{what}: {report:?}");
        let text = words(&audiorag, &file).await;
        assert!(all_are(&text, "before"), "{what}: {text}");
        assert_eq!(plan(&audiorag).await, 1, "{what}");
        let report = reindex(&audiorag, Reindex::Retranscribe).await;
        assert_eq!(report.transcribed_parts(), 1, "{what}: {report:?}");
        let text = words(&audiorag, &file).await;
        assert!(all_are(&text, "after"), "{what}: {text}");
        assert_eq!(place.transcriber.script().succeeded(), parts, "{what}");
        assert!(
            audiorag.state().unfinished_revisions().await.unwrap().is_empty(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn gc_gives_up_what_nobody_went_on_with() {
    let mut place = hearing("before");
    let files = [place.speech("a.wav", 6, 1), place.speech("b.wav", 3, 40)];
    place.transcriber.script().fail_nth(2, ErrorKind::Unavailable);
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&files[0], &files[1]]).await;
    assert_eq!((report.indexed.len(), report.failed.len()), (1, 1), "{report:?}");
    std::fs::remove_file(&files[0]).unwrap();
    let kept = audiorag.gc(false).await.unwrap();
    assert_eq!(kept, audiorag::gc::GcReport::default(), "it is too young");

    place.set(Key::GcRetention, "0s");
    let audiorag = place.open().await;
    let source = &audiorag.state().unfinished_revisions().await.unwrap()[0].source_id;
    let owner = audiorag_state::Owner {
        host: "elsewhere".to_owned(),
        pid: 1,
        started_at: 1,
    };
    let claim = audiorag
        .state()
        .claim(source, &owner, std::time::Duration::from_hours(1), &|_| true)
        .await
        .unwrap();
    let audiorag_state::Claim::Granted(lease) = claim else {
        panic!("nobody works on it");
    };
    let spared = audiorag.gc(false).await.unwrap();
    assert_eq!((spared.abandoned, spared.cache.part_transcripts), (0, 0));
    audiorag
        .state()
        .release(&lease, &audiorag_state::Outcome::Cancelled)
        .await
        .unwrap();

    let planned = audiorag.gc(true).await.unwrap();
    assert_eq!((planned.abandoned, planned.revisions), (1, 1), "{planned:?}");
    assert_eq!(audiorag.state().unfinished_revisions().await.unwrap().len(), 1);
    let done = audiorag.gc(false).await.unwrap();
    assert_eq!(
        audiorag::gc::GcReport {
            dry_run: false,
            ..planned
        },
        done
    );
    assert!(audiorag.state().unfinished_revisions().await.unwrap().is_empty());
    // Its transcript was in use until now; from now on nothing keeps it.
    let later = audiorag.gc(false).await.unwrap();
    assert_eq!(done.cache.part_transcripts + later.cache.part_transcripts, 1);
    assert!(all_are(&words(&audiorag, &files[1]).await, "before"));
}
