//! Speakers: told apart as far as is known, named once, and found by their names.

use super::support::{Place, index};
use audiorag::export::{Format, render};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::speakers::{NamingScope, Speaker};
use audiorag::{AudioRag, CancellationToken, ErrorKind};
use audiorag_core::id::SourceId;
use audiorag_core::model::Filter;
use audiorag_testkit::fake::FakeTranscriber;

/// A vendor that tells `speaker 1` and `speaker 2` apart in every part that it is sent.
fn place() -> Place {
    let transcriber = FakeTranscriber::new().with_limits(|limits| limits.speakers = true);
    let mut place = Place::with(transcriber);
    place.set(Key::ChunkDurationSeconds, "3");
    place
}

async fn names(audiorag: &AudioRag) -> Vec<String> {
    let speakers = audiorag.speakers(None).await.unwrap();
    speakers.into_iter().map(|speaker| speaker.name).collect()
}

/// Passages by somebody.
async fn by(audiorag: &AudioRag, name: &str) -> usize {
    let options = QueryOptions {
        filter: Filter {
            speakers: vec![name.to_owned()],
            ..Filter::default()
        },
        ..QueryOptions::default()
    };
    let hits = audiorag.search("anything at all", options).await.unwrap().hits;
    assert!(
        hits.iter()
            .all(|hit| hit.speakers.iter().any(|speaker| speaker == name)),
        "{hits:?}"
    );
    hits.len()
}

async fn rename(audiorag: &AudioRag, scope: &NamingScope, old: &str, new: &str) -> audiorag::Result<usize> {
    let run = audiorag.rename_speaker(scope, old, new, &(), CancellationToken::new());
    let report = run.await?;
    assert!(report.failed.is_empty(), "{report:?}");
    Ok(report.indexed.len())
}

async fn id_of(audiorag: &AudioRag, title: &str) -> SourceId {
    let sources = audiorag.state().list_sources().await.unwrap();
    sources
        .into_iter()
        .find(|source| source.title == title)
        .unwrap()
        .id
}

#[tokio::test]
async fn speakers_of_two_parts_are_not_taken_for_one_until_somebody_names_them() {
    let place = place();
    let file = place.speech("talk.wav", 4, 1);
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    let heard = names(&audiorag).await;
    assert!(
        heard.contains(&"speaker 1 (part 1)".to_owned()) && heard.contains(&"speaker 1 (part 2)".to_owned()),
        "{heard:?}"
    );
    let calls = place.transcriber.script().calls();
    let scope = NamingScope::Source(id_of(&audiorag, "talk").await);

    // Merged, they are one, in everything that is asked and written, and nothing was transcribed for it.
    let merged = audiorag
        .merge_speakers(&scope, &heard, "Ada", &(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(merged.indexed.len(), 1, "{merged:?}");
    let [ada] = audiorag
        .speakers(None)
        .await
        .unwrap()
        .try_into()
        .unwrap_or_else(|all: Vec<Speaker>| panic!("{all:?}"));
    assert_eq!((ada.name.as_str(), ada.labels.len()), ("Ada", heard.len()));
    assert!(by(&audiorag, "Ada").await > 0);
    assert_eq!(by(&audiorag, "speaker 1 (part 1)").await, 0);
    let source = &audiorag.state().list_sources().await.unwrap()[0];
    let transcript = audiorag.transcript(source).await.unwrap();
    for (format, mark) in [
        (Format::Vtt, "<v Ada>"),
        (Format::Srt, "Ada: "),
        (Format::Txt, "Ada: "),
        (Format::Markdown, "] Ada:** "),
        (Format::Json, "\"speaker\": \"Ada\""),
        (Format::Tsv, "\tAda\t"),
    ] {
        let text = render(format, source, &transcript);
        assert!(text.contains(mark) && !text.contains("speaker 1"), "{text}");
    }
    assert_eq!(audiorag.check().await.unwrap(), []);
    // The next run has nothing to do: the names are part of what it would build.
    assert_eq!(index(&audiorag, &[&file]).await.skipped.len(), 1);

    // One of them by the label of the transcript, and all of them back.
    assert_eq!(
        rename(&audiorag, &scope, "speaker 1 (part 2)", "Grace")
            .await
            .unwrap(),
        1
    );
    assert!(by(&audiorag, "Grace").await > 0 && by(&audiorag, "Ada").await > 0);
    for label in &heard {
        rename(&audiorag, &scope, label, label).await.unwrap();
    }
    assert_eq!(names(&audiorag).await, heard);
    assert_eq!(by(&audiorag, "Ada").await, 0);
    assert_eq!(place.transcriber.script().calls(), calls);
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_name_that_an_interrupted_run_left_is_mended_by_the_next() {
    let place = place();
    let file = place.speech("talk.wav", 2, 1);
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    let heard = names(&audiorag).await;
    let scope = NamingScope::Source(id_of(&audiorag, "talk").await);
    // The embedder is away when the chunks are to be made anew.
    place.embedder.script().go_down(ErrorKind::Unavailable);
    let run = audiorag.rename_speaker(&scope, &heard[0], "Ada", &(), CancellationToken::new());
    let report = run.await.unwrap();
    assert_eq!(report.failed.len(), 1, "{report:?}");
    assert_eq!(by_words(&audiorag, &heard[0]).await, 1, "the old index answers");
    assert!(names(&audiorag).await.contains(&"Ada".to_owned()));
    place.embedder.script().recover();
    let mended = index(&audiorag, &[&file]).await;
    assert_eq!(
        (mended.indexed.len(), mended.transcribed_parts()),
        (1, 0),
        "{mended:?}"
    );
    assert!(by(&audiorag, "Ada").await > 0);
    assert_eq!(audiorag.check().await.unwrap(), []);
}

/// How many sources have chunks by somebody.
async fn by_words(audiorag: &AudioRag, name: &str) -> usize {
    let indexed = audiorag.state().indexed_speakers().await.unwrap();
    indexed.iter().filter(|count| count.name == name).count()
}

#[tokio::test]
async fn a_name_can_be_given_in_all_sources_and_in_those_to_come() {
    let place = Place::new();
    let subtitles = |text: &str| {
        format!("WEBVTT\n\n00:00.500 --> 00:02.000\n<v Bob>{text}\n\n00:02.100 --> 00:03.000\n<v Ada>Yes.\n")
    };
    let mut files = Vec::new();
    for (seed, title) in (1..).zip(["one", "two", "three"]) {
        files.push(place.speech(&format!("{title}.wav"), 2, seed));
        place.write(&format!("{title}.vtt"), subtitles(title).as_bytes());
    }
    let audiorag = place.open().await;
    index(&audiorag, &[&files[0], &files[1]]).await;
    let one = NamingScope::Source(id_of(&audiorag, "one").await);
    assert_eq!(rename(&audiorag, &one, "Ada", "Robert").await.unwrap(), 1);
    assert_eq!(
        rename(&audiorag, &NamingScope::All, "Bob", "Robert")
            .await
            .unwrap(),
        2
    );
    assert_eq!(names(&audiorag).await, ["Ada", "Robert", "Robert"]);
    index(&audiorag, &[&files[2]]).await;
    assert_eq!(
        names(&audiorag).await,
        ["Ada", "Ada", "Robert", "Robert", "Robert"]
    );
    assert_eq!(by(&audiorag, "Bob").await, 0);
    // Whoever is called so anywhere, whatever the label was.
    assert_eq!(
        rename(&audiorag, &NamingScope::All, "Robert", "Rob")
            .await
            .unwrap(),
        3
    );
    assert_eq!(names(&audiorag).await, ["Ada", "Ada", "Rob", "Rob", "Rob"]);

    let nobody = rename(&audiorag, &one, "Charles", "x").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    assert!(nobody.hint().unwrap().contains("Rob"), "{nobody:?}");
    for (old, new) in [("speaker 0", "x"), ("Rob", " \n")] {
        let refused = rename(&audiorag, &NamingScope::All, old, new).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Input);
    }
    let both = ["Rob".to_owned(), "nobody".to_owned()];
    let many = audiorag.merge_speakers(&one, &both, "y", &(), CancellationToken::new());
    assert_eq!(many.await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        names(&audiorag).await,
        ["Ada", "Ada", "Rob", "Rob", "Rob"],
        "nothing was changed"
    );
    assert_eq!(audiorag.check().await.unwrap(), []);
}
