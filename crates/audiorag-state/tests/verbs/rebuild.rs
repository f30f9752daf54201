//! Switching all sources to another embedding space at once, waiting for equal recordings, and garbage.

use crate::common::{Scratch, TTL, build, build_of, chunk, content, owner, plan, space};
use audiorag_core::ErrorKind;
use audiorag_core::id::{EmbeddingKey, PartKey, RevisionId};
use audiorag_core::model::{EmbeddingSpace, SourceStatus};
use audiorag_state::{Claim, NewTranscript, Outcome, RevisionPlan, SourceRecord, Switch};
use std::time::{Duration, SystemTime};

fn other_space() -> EmbeddingSpace {
    EmbeddingSpace {
        model: "large".into(),
        ..space()
    }
}

/// A verified revision in the other space, made of the live one's parts.
async fn prepare(scratch: &Scratch, source: &SourceRecord, text: &str) -> RevisionId {
    let state = &scratch.state;
    let lease = scratch.lease(&source.id).await;
    let live = state.live_revision(&source.id).await.unwrap().unwrap();
    let plan = RevisionPlan {
        content: live.content,
        space: other_space(),
        ..plan("other")
    };
    let revision = state.begin_revision(&lease, &plan).await.unwrap();
    state.copy_parts(&lease, live.id, revision).await.unwrap();
    let facts = audiorag_state::RevisionFacts {
        duration: live.duration,
        language: None,
    };
    let chunks = [chunk(&source.id, revision, 0, text)];
    state
        .save_chunks(&lease, revision, &facts, &chunks)
        .await
        .unwrap();
    state.mark_verified(&lease, revision).await.unwrap();
    state.release(&lease, &Outcome::Done).await.unwrap();
    revision
}

#[tokio::test]
async fn all_sources_change_to_another_space_together_or_not_at_all() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let (a, old) = scratch.publish("/a.mp3", &["one"]).await;
    let (b, _) = scratch.publish("/b.mp3", &["two"]).await;
    let new_a = prepare(&scratch, &a, "one").await;
    assert_eq!(
        state.switch_space(&other_space()).await.unwrap(),
        Switch::Waiting(vec![b.id.clone()])
    );
    assert_eq!(state.live_spaces().await.unwrap(), [(space().fingerprint(), 2)]);
    assert_eq!(state.live_revision(&a.id).await.unwrap().unwrap().id, old);

    let new_b = prepare(&scratch, &b, "two").await;
    let before = state.live_mark().await.unwrap();
    assert_eq!(
        state.switch_space(&other_space()).await.unwrap(),
        Switch::Done(vec![(a.id.clone(), new_a), (b.id.clone(), new_b)])
    );
    assert_ne!(state.live_mark().await.unwrap(), before);
    assert_eq!(
        state.live_spaces().await.unwrap(),
        [(other_space().fingerprint(), 2)]
    );
    let source = state.source(&a.id).await.unwrap().unwrap();
    assert_eq!(
        (source.active_revision, source.status, source.chunk_count),
        (Some(new_a), SourceStatus::Completed, 1)
    );
    let retired = state.pending_retirements().await.unwrap();
    assert_eq!(retired.len(), 2);
    assert!(retired.iter().all(|retirement| retirement.space == space()));
    // The parts went along.
    assert_eq!(state.transcript(new_a).await.unwrap().segments[0].text, "one");
    // Again is nothing.
    assert_eq!(
        state.switch_space(&other_space()).await.unwrap(),
        Switch::Done(vec![])
    );
}

#[tokio::test]
async fn a_prepared_revision_is_void_when_the_source_is_indexed_anew() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let (a, _) = scratch.publish("/a.mp3", &["one"]).await;
    prepare(&scratch, &a, "one").await;
    let lease = scratch.lease(&a.id).await;
    let edited = build(state, &lease, "edited", &["one and more"]).await;
    state
        .publish_revision(&lease, edited, SourceStatus::Completed)
        .await
        .unwrap();
    assert_eq!(
        state.switch_space(&other_space()).await.unwrap(),
        Switch::Waiting(vec![a.id])
    );
}

#[tokio::test]
async fn whoever_began_before_the_switch_cannot_publish_after_it() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let (a, _) = scratch.publish("/a.mp3", &["one"]).await;
    prepare(&scratch, &a, "one").await;
    // A new source, and a claim on the old one, both of a process with the old model.
    let late = scratch.add("/late.mp3").await;
    let late_lease = scratch.lease(&late.id).await;
    let late_revision = build(state, &late_lease, "config", &["late"]).await;
    let a_lease = scratch.lease(&a.id).await;
    assert!(matches!(
        state.switch_space(&other_space()).await.unwrap(),
        Switch::Done(switched) if switched.len() == 1
    ));
    let error = state
        .publish_revision(&late_lease, late_revision, SourceStatus::Completed)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("test/large/3"), "{error}");
    let error = state.begin_revision(&a_lease, &plan("config")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(
        state.live_spaces().await.unwrap(),
        [(other_space().fingerprint(), 1)]
    );
}

#[tokio::test]
async fn of_the_owners_of_equal_recordings_one_works_and_the_others_wait_for_its_end() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let claim = async |path: &str, pid| {
        let source = scratch.add(path).await;
        let alive = move |owner: &audiorag_state::Owner| owner.pid != 9;
        let Claim::Granted(lease) = state.claim(&source.id, &owner(pid), TTL, &alive).await.unwrap() else {
            panic!("nobody holds it");
        };
        let revision = state.begin_revision(&lease, &plan("config")).await.unwrap();
        (lease, revision)
    };
    let start = async |(lease, _): &(audiorag_state::Lease, RevisionId), pid, alive: bool| {
        state
            .start_on_bytes(
                lease,
                &content("x"),
                SourceStatus::Transcribing,
                &owner(pid),
                &move |_| alive,
            )
            .await
            .unwrap()
    };
    // What a run that was killed left behind, and the others after it: an older revision, and the word of the dead.
    let killed = claim("/a.mp3", 9).await;
    assert_eq!(start(&killed, 9, true).await, None);
    let b = claim("/b.mp3", 2).await;
    let a = claim("/a.mp3", 1).await;
    assert_eq!(a.1, killed.1, "goes on with the older revision");
    assert_eq!(start(&b, 2, true).await, None, "the new owner has not begun");
    assert_eq!(start(&a, 1, true).await, Some(owner(2)));
    assert_eq!(start(&a, 1, false).await, None, "a dead owner is not waited for");
    let a = claim("/a.mp3", 1).await;
    assert_eq!(start(&a, 2, true).await, None, "nor is one's own process");

    // However far it is, until nothing is left to pay for.
    let a = claim("/a.mp3", 1).await;
    for status in [
        SourceStatus::Transcribed,
        SourceStatus::Embedding,
        SourceStatus::Embedded,
    ] {
        state.set_status(&b.0, status).await.unwrap();
        assert_eq!(start(&a, 1, true).await, Some(owner(2)), "{status:?}");
    }
    state.release(&b.0, &Outcome::Cancelled).await.unwrap();
    assert_eq!(start(&a, 1, true).await, None);
}

#[tokio::test]
async fn garbage_is_what_no_revision_needs_and_nobody_used_of_late() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    scratch.publish("/live.mp3", &["live"]).await;
    let (gone, _) = scratch.publish("/gone.mp3", &["gone"]).await;
    let lease = scratch.lease(&scratch.add("/unfinished.mp3").await.id).await;
    let unfinished = RevisionPlan {
        content: content("unfinished"),
        ..plan("config")
    };
    build_of(state, &lease, unfinished, &["unfinished"]).await;
    let rows =
        ["live", "gone", "unfinished"].map(|text| (EmbeddingKey::of(text, &space()), vec![1.0, 0.0, 0.0]));
    state
        .save_embeddings(&lease, &space(), &rows, None)
        .await
        .unwrap();
    // Two transcripts that no revision has noted yet: one of the recording in work, one of none.
    let transcript = audiorag_core::model::PartTranscript::default();
    for name in ["unfinished", "unknown"] {
        let span = audiorag_core::Span::from_millis(5_000, 9_000);
        let key = PartKey::from_stored(name);
        state
            .save_part_transcript(
                &lease,
                &key,
                &NewTranscript {
                    content: &content(name),
                    span,
                    provider: "test/m@1",
                    transcript: &transcript,
                    paid: None,
                },
            )
            .await
            .unwrap();
    }
    let soon = SystemTime::now() + Duration::from_mins(1);
    let past = SystemTime::now() - Duration::from_mins(1);
    assert_eq!(state.garbage(soon).await.unwrap().part_transcripts, 1);
    state.delete_source(&gone.id).await.unwrap();
    assert_eq!(
        state.garbage(past).await.unwrap(),
        audiorag_state::Garbage::default()
    );
    let found = state.garbage(soon).await.unwrap();
    assert_eq!(
        (found.part_transcripts, found.embeddings, found.embedding_bytes),
        (2, 1, 12)
    );
    assert_eq!(state.collect_garbage(soon).await.unwrap(), found);
    assert_eq!(
        state.garbage(soon).await.unwrap(),
        audiorag_state::Garbage::default()
    );
    let kept = state.cache_stats().await.unwrap();
    assert_eq!((kept.part_transcripts, kept.embeddings), (3, 2));
}

#[tokio::test]
async fn what_a_replaced_revision_used_is_kept_from_then_on() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let (source, _) = scratch.publish("/a.mp3", &["before"]).await;
    let made = SystemTime::now();
    // The clock of the database counts whole milliseconds.
    while SystemTime::now() < made + Duration::from_millis(2) {
        tokio::task::yield_now().await;
    }
    let replaced_at = SystemTime::now();
    let lease = scratch.lease(&source.id).await;
    let edited = build(state, &lease, "edited", &["after"]).await;
    state
        .publish_revision(&lease, edited, SourceStatus::Completed)
        .await
        .unwrap();
    let retirement = state.pending_retirements().await.unwrap().remove(0);
    let soon = SystemTime::now() + Duration::from_mins(1);
    assert_eq!(
        state.garbage(soon).await.unwrap().part_transcripts,
        0,
        "as long as its vectors are in the store, the revision is there"
    );
    state.finish_retirement(&retirement).await.unwrap();
    assert_eq!(state.garbage(replaced_at).await.unwrap().part_transcripts, 0);
    assert_eq!(state.garbage(soon).await.unwrap().part_transcripts, 1);
}
