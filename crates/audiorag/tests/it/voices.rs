//! Recordings in which every channel is a speaker.

use super::support::{Place, index, index_with};
use audiorag::core::MediaTime;
use audiorag::core::model::{Filter, Transcript};
use audiorag::index::{IndexOptions, Reindex, ReindexOptions};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::{AudioRag, CancellationToken, ErrorKind};
use audiorag_testkit::synth::Track;
use std::path::PathBuf;

const HEADER: usize = 44;

/// A call: what is in the one WAV file on the left, what is in the other on the right.
fn stereo(left: &[u8], right: &[u8]) -> Vec<u8> {
    let (left, right) = (&left[HEADER..], &right[HEADER..]);
    let frames = left.len().max(right.len()) / 2;
    let sample = |channel: &[u8], frame: usize| -> [u8; 2] {
        channel
            .get(frame * 2..frame * 2 + 2)
            .map_or([0, 0], |bytes| [bytes[0], bytes[1]])
    };
    let mut out = Vec::new();
    out.extend(b"RIFF");
    out.extend((frames as u32 * 4 + 36).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    out.extend(16_000_u32.to_le_bytes());
    out.extend(64_000_u32.to_le_bytes());
    out.extend(b"\x04\0\x10\0data");
    out.extend((frames as u32 * 4).to_le_bytes());
    for frame in 0..frames {
        out.extend(sample(left, frame));
        out.extend(sample(right, frame));
    }
    out
}

/// Somebody speaks on the left, then somebody else on the right.
fn call(place: &Place) -> PathBuf {
    let left = Track::new(16_000)
        .silence(500)
        .speech(3000, 1)
        .silence(6500)
        .to_wav();
    let right = Track::new(16_000)
        .silence(5000)
        .speech(3000, 9)
        .silence(2000)
        .to_wav();
    place.write("call.wav", &stereo(&left, &right))
}

fn place() -> Place {
    let mut place = Place::new();
    place.set(Key::DecodeChannelsAsSpeakers, "true");
    place
}

async fn transcript(audiorag: &AudioRag) -> Transcript {
    let source = &audiorag.state().list_sources().await.unwrap()[0];
    audiorag.transcript(source).await.unwrap()
}

#[tokio::test]
async fn each_channel_is_a_speaker_at_the_time_of_the_recording() {
    let place = place();
    let path = call(&place);
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&path]).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    assert_eq!(place.transcriber.script().calls(), 2, "one for each channel");
    let said = transcript(&audiorag).await;
    let who: Vec<(&str, u64)> = said
        .segments
        .iter()
        .map(|segment| {
            let start = segment.span.start().as_millis();
            (segment.speaker.as_deref().unwrap_or_default(), start / 1000)
        })
        .collect();
    assert_eq!(who.first().map(|(name, _)| *name), Some("channel 1"), "{who:?}");
    let second: Vec<u64> = who
        .iter()
        .filter(|(name, _)| *name == "channel 2")
        .map(|(_, at)| *at)
        .collect();
    assert!(second.first().is_some_and(|at| (4..6).contains(at)), "{who:?}");
    assert_eq!(said.duration, MediaTime::from_seconds(10));
    assert_eq!(audiorag.check().await.unwrap(), []);

    let filter = Filter {
        speakers: vec!["channel 2".to_owned()],
        ..Filter::default()
    };
    let options = QueryOptions {
        filter,
        ..QueryOptions::default()
    };
    let hits = audiorag.search("anything", options).await.unwrap().hits;
    assert!(
        !hits.is_empty()
            && hits
                .iter()
                .all(|hit| hit.speakers.contains(&"channel 2".to_owned())),
        "{hits:?}"
    );

    // Nothing is sent twice: not in a second run, not when it is indexed anew, not when only chunks change.
    assert_eq!(index(&audiorag, &[&path]).await.skipped.len(), 1);
    let force = IndexOptions {
        force: true,
        ..IndexOptions::default()
    };
    assert_eq!(index_with(&audiorag, &[&path], force).await.indexed.len(), 1);
    assert_eq!(place.transcriber.script().calls(), 2);
}

#[tokio::test]
async fn an_interrupted_run_sends_only_the_channel_that_is_missing() {
    let place = place();
    let path = call(&place);
    let audiorag = place.open().await;
    place.transcriber.script().fail_nth(2, ErrorKind::Unavailable);
    assert_eq!(index(&audiorag, &[&path]).await.failed.len(), 1);
    let before = place.transcriber.script().calls();
    assert_eq!(index(&audiorag, &[&path]).await.indexed.len(), 1);
    assert_eq!(place.transcriber.script().calls(), before + 1);
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn one_channel_is_nobody_in_particular_and_the_setting_is_part_of_the_index() {
    let mut place = Place::new();
    let path = call(&place);
    {
        let audiorag = place.open().await;
        index(&audiorag, &[&path]).await;
        let said = transcript(&audiorag).await;
        assert!(
            said.segments.iter().all(|segment| segment.speaker.is_none()),
            "the mix"
        );
    }
    place.set(Key::DecodeChannelsAsSpeakers, "true");
    let mono = place.speech("mono.wav", 1, 4);
    let audiorag = place.open().await;
    let mix = place.transcriber.script().calls();
    assert_eq!(index(&audiorag, &[&path]).await.indexed.len(), 1, "made anew");
    assert_eq!(place.transcriber.script().calls(), mix + 2);
    index(&audiorag, &[&mono]).await;
    let sources = audiorag.state().list_sources().await.unwrap();
    let single = sources.iter().find(|source| source.title == "mono").unwrap();
    let said = audiorag.transcript(single).await.unwrap();
    assert!(said.segments.iter().all(|segment| segment.speaker.is_none()));

    // Both channels are transcribed again, and the plan knows.
    let again = || ReindexOptions {
        what: Reindex::Retranscribe,
        sources: vec![
            sources
                .iter()
                .find(|source| source.title == "call")
                .unwrap()
                .id
                .clone(),
        ],
        max_cost: None,
    };
    let plan = audiorag.plan_reindex(&again()).await.unwrap();
    assert_eq!(plan.parts(), 2);
    let calls = place.transcriber.script().calls();
    let report = audiorag
        .reindex(again(), &(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    assert_eq!(place.transcriber.script().calls(), calls + 2);
    assert_eq!(audiorag.check().await.unwrap(), []);
}
