//! Claims, leases and the fence that every commit passes.

use crate::common::{Scratch, TTL, build, content, fingerprint, owner, plan};
use audiorag_core::id::{EmbeddingKey, PartKey, SourceId};
use audiorag_core::model::{Media, PartTranscript, SourceStatus};
use audiorag_core::{Error, ErrorKind, Span, Stage};
use audiorag_state::{Claim, Failure, Lease, NewTranscript, Outcome, PartRow, RevisionFacts};
use std::time::Duration;

fn granted(claim: Claim) -> Lease {
    match claim {
        Claim::Granted(lease) => lease,
        Claim::Busy(owner) => panic!("held by {owner}"),
    }
}

#[tokio::test]
async fn a_living_owner_keeps_the_source() {
    let scratch = Scratch::new().await;
    let id = scratch.add("/a/x.mp3").await.id;
    let first = granted(scratch.state.claim(&id, &owner(1), TTL, &|_| true).await.unwrap());
    assert_eq!(
        scratch.state.claim(&id, &owner(2), TTL, &|_| true).await.unwrap(),
        Claim::Busy(owner(1))
    );
    let read = scratch.state.source(&id).await.unwrap().unwrap();
    assert_eq!((read.owner, read.epoch), (Some(owner(1)), first.epoch));
    assert!(read.lease_until.unwrap() > std::time::SystemTime::now());
    // The same process again: its earlier claim is over.
    let second = granted(scratch.state.claim(&id, &owner(1), TTL, &|_| true).await.unwrap());
    assert_eq!(second.epoch, first.epoch + 1);
    assert_eq!(
        scratch.state.renew(&first, TTL).await.unwrap_err().kind(),
        ErrorKind::Cancelled
    );
    scratch.state.renew(&second, TTL).await.unwrap();
}

#[tokio::test]
async fn dead_owners_and_ended_leases_are_taken_over() {
    let scratch = Scratch::new().await;
    let id = scratch.add("/a/x.mp3").await.id;
    granted(scratch.state.claim(&id, &owner(1), TTL, &|_| true).await.unwrap());
    let asked = std::sync::Mutex::new(Vec::new());
    let dead = |owner: &audiorag_state::Owner| {
        asked.lock().unwrap().push(owner.clone());
        false
    };
    let second = granted(scratch.state.claim(&id, &owner(2), TTL, &dead).await.unwrap());
    assert_eq!(*asked.lock().unwrap(), [owner(1)]);
    scratch.state.renew(&second, Duration::ZERO).await.unwrap();
    let third = granted(scratch.state.claim(&id, &owner(3), TTL, &|_| true).await.unwrap());
    assert_eq!(third.epoch, 3);
    // A process that got the number of a dead one is another process.
    let reborn = audiorag_state::Owner {
        started_at: 8,
        ..owner(3)
    };
    assert_eq!(
        scratch.state.claim(&id, &reborn, TTL, &|_| true).await.unwrap(),
        Claim::Busy(owner(3))
    );
    let unknown = SourceId::from_stored("nobody");
    let error = scratch
        .state
        .claim(&unknown, &owner(1), TTL, &|_| true)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn release_records_the_outcome_and_frees_the_source() {
    let scratch = Scratch::new().await;
    let id = scratch.add("/a/x.mp3").await.id;
    let failure = Failure {
        stage: Some(Stage::Transcribe),
        kind: ErrorKind::Unavailable,
        message: "the vendor is down".into(),
    };
    let lease = scratch.lease(&id).await;
    scratch
        .state
        .set_status(&lease, SourceStatus::Transcribing)
        .await
        .unwrap();
    scratch
        .state
        .release(&lease, &Outcome::Failed(failure.clone()))
        .await
        .unwrap();
    let read = scratch.state.source(&id).await.unwrap().unwrap();
    assert_eq!(
        (read.status, read.failure, read.owner),
        (SourceStatus::Failed, Some(failure), None)
    );
    let lease = scratch.lease(&id).await;
    scratch.state.release(&lease, &Outcome::Cancelled).await.unwrap();
    let read = scratch.state.source(&id).await.unwrap().unwrap();
    assert_eq!((read.status, read.failure), (SourceStatus::Cancelled, None));
    let lease = scratch.lease(&id).await;
    scratch
        .state
        .set_status(&lease, SourceStatus::Chunked)
        .await
        .unwrap();
    scratch.state.release(&lease, &Outcome::Done).await.unwrap();
    assert_eq!(
        scratch.state.source(&id).await.unwrap().unwrap().status,
        SourceStatus::Chunked
    );
    // Released: anybody may have it.
    granted(scratch.state.claim(&id, &owner(9), TTL, &|_| true).await.unwrap());
}

#[tokio::test]
async fn every_commit_is_refused_under_an_old_lease() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let id = scratch.add("/a/x.mp3").await.id;
    let old = scratch.lease(&id).await;
    let revision = build(state, &old, "config", &["some words"]).await;
    granted(state.claim(&id, &owner(2), TTL, &|_| false).await.unwrap());
    let before = state.source(&id).await.unwrap();
    let key = PartKey::from_stored("late");
    let part = PartRow {
        index: 1,
        span: Span::default(),
        key: None,
    };
    let facts = RevisionFacts {
        duration: audiorag_core::MediaTime::ZERO,
        language: None,
    };
    let vector = (EmbeddingKey::from_stored("late"), vec![1.0, 0.0, 0.0]);
    let refusals: Vec<Error> = vec![
        state.renew(&old, TTL).await.unwrap_err(),
        state.set_status(&old, SourceStatus::Completed).await.unwrap_err(),
        state.release(&old, &Outcome::Done).await.unwrap_err(),
        state
            .update_media(&old, &fingerprint("y"), &Media::default(), None)
            .await
            .unwrap_err(),
        state.begin_revision(&old, &plan("config")).await.unwrap_err(),
        state.record_part(&old, revision, &part).await.unwrap_err(),
        state.save_chunks(&old, revision, &facts, &[]).await.unwrap_err(),
        state
            .publish_revision(&old, revision, SourceStatus::Completed)
            .await
            .unwrap_err(),
        state
            .save_part_transcript(
                &old,
                &key,
                &NewTranscript {
                    content: &content("x"),
                    span: Span::default(),
                    provider: "p",
                    transcript: &PartTranscript::default(),
                    paid: None,
                },
            )
            .await
            .unwrap_err(),
        state
            .save_embeddings(&old, &crate::common::space(), std::slice::from_ref(&vector), None)
            .await
            .unwrap_err(),
    ];
    for error in refusals {
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Cancelled, "superseded by pid 2 on here")
        );
    }
    assert_eq!(state.source(&id).await.unwrap(), before);
    assert_eq!(state.chunks_of(revision).await.unwrap().len(), 1);
    // What was paid for is kept all the same.
    assert!(state.part_transcript(&key).await.unwrap().is_some());
    assert_eq!(
        state
            .cached_embeddings(std::slice::from_ref(&vector.0))
            .await
            .unwrap()[&vector.0],
        vector.1
    );
    // Whoever worked on a source that is gone hears that.
    state.delete_source(&id).await.unwrap();
    let error = state.set_status(&old, SourceStatus::Completed).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Cancelled && error.message().contains("deletion"),
        "{error}"
    );
}

#[tokio::test]
async fn of_many_claims_at_once_one_is_granted() {
    let scratch = Scratch::new().await;
    let id = scratch.add("/a/x.mp3").await.id;
    let mut tasks = tokio::task::JoinSet::new();
    for pid in 0..8 {
        let (state, id) = (scratch.state.clone(), id.clone());
        tasks.spawn(async move { state.claim(&id, &owner(pid), TTL, &|_| true).await.unwrap() });
    }
    let claims = tasks.join_all().await;
    assert_eq!(
        claims
            .iter()
            .filter(|claim| matches!(claim, Claim::Granted(_)))
            .count(),
        1
    );
}

/// Moves the end of every lease, as a clock does that jumps the other way.
async fn shift_leases(scratch: &Scratch, millis: i64) {
    use sea_orm::ConnectionTrait as _;
    let url = format!("sqlite://{}", scratch.path().display());
    let connection = sea_orm::Database::connect(url).await.unwrap();
    let statement = format!("UPDATE source SET lease_until = lease_until + {millis}");
    connection.execute_unprepared(&statement).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_jumps_a_day_neither_locks_a_source_nor_lets_two_write_it() {
    const DAY: i64 = 86_400_000;
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let id = scratch.add("/a/x.mp3").await.id;
    // Backwards: the lease of a process that died seems to run for a day, and is not waited for, wherever it died.
    granted(state.claim(&id, &owner(1), TTL, &|_| true).await.unwrap());
    shift_leases(&scratch, DAY).await;
    granted(state.claim(&id, &owner(2), TTL, &|_| true).await.unwrap());
    shift_leases(&scratch, DAY).await;
    let second = granted(state.claim(&id, &owner(2), TTL, &|_| false).await.unwrap());
    // Forwards: a lease seems to have ended. While nobody else wants the source, its holder goes on.
    shift_leases(&scratch, -DAY).await;
    state.renew(&second, TTL).await.unwrap();
    // And when somebody does, only one of the two can commit.
    shift_leases(&scratch, -DAY).await;
    let third = granted(state.claim(&id, &owner(3), TTL, &|_| true).await.unwrap());
    let error = state
        .set_status(&second, SourceStatus::Chunked)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    state.set_status(&third, SourceStatus::Chunked).await.unwrap();
}
