//! The invariants: each is broken by hand, found by the check and mended by the repair, as far as the state can.

use crate::common::{Scratch, TTL, build, lease, owner, space};
use audiorag_core::capability::{VectorRecord, VectorStore as _};
use audiorag_core::id::RevisionId;
use audiorag_core::model::{Filter, SourceStatus};
use audiorag_state::{Finding, Invariant, Outcome, Owner, Problem, Severity, State, StateOptions};
use sea_orm::{ConnectionTrait as _, Database};

const TEXTS: [&str; 3] = ["a whale", "a ship", "a storm"];

/// Everybody but process 13 is at work.
fn is_alive(owner: &Owner) -> bool {
    owner.pid != 13
}

async fn check(state: &State) -> Vec<Finding> {
    state.check(true, &is_alive).await.unwrap()
}

async fn problems(state: &State) -> Vec<Problem> {
    check(state)
        .await
        .into_iter()
        .map(|finding| finding.problem)
        .collect()
}

/// Changes the database behind the program's back.
async fn run(scratch: &Scratch, statements: &str) {
    let url = format!("sqlite://{}", scratch.path().display());
    let connection = Database::connect(url).await.unwrap();
    connection
        .execute_unprepared(&format!("PRAGMA foreign_keys = OFF; {statements}"))
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn store_vectors(state: &State, revision: RevisionId) {
    let vectors = state.vectors();
    vectors.prepare(&space()).await.unwrap();
    let records = state
        .chunks_of(revision)
        .await
        .unwrap()
        .into_iter()
        .map(|chunk| VectorRecord {
            id: chunk.chunk_id,
            source_id: chunk.source_id,
            revision,
            embedding_key: chunk.embedding_key,
            vector: vec![1.0, 0.0, 0.0],
            span: chunk.span,
            text: chunk.text,
            title: chunk.title,
            speakers: chunk.speakers,
            language: chunk.language,
            date: chunk.date,
        });
    vectors.upsert(records.collect()).await.unwrap();
}

/// Two searchable sources, a silent one, one that was replaced and is to be retired, and one in the middle of its
/// work: nothing of it is damage.
async fn library() -> Scratch {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    for path in ["/a/x.mp3", "/a/y.mp3"] {
        let (_, revision) = scratch.publish(path, &TEXTS).await;
        store_vectors(state, revision).await;
    }
    let silent = scratch.add("/a/silent.mp3").await.id;
    let held = scratch.lease(&silent).await;
    let revision = build(state, &held, "config", &[]).await;
    state
        .publish_revision(&held, revision, SourceStatus::Empty)
        .await
        .unwrap();
    state.release(&held, &Outcome::Done).await.unwrap();
    let (replaced, old) = scratch.publish("/a/replaced.mp3", &TEXTS).await;
    store_vectors(state, old).await;
    let held = scratch.lease(&replaced.id).await;
    let new = build(state, &held, "another", &TEXTS[..2]).await;
    store_vectors(state, new).await;
    state
        .publish_revision(&held, new, SourceStatus::Completed)
        .await
        .unwrap();
    state.release(&held, &Outcome::Done).await.unwrap();
    let busy = scratch.add("/a/busy.mp3").await.id;
    let held = scratch.lease(&busy).await;
    state.set_status(&held, SourceStatus::Embedding).await.unwrap();
    let unfinished = build(state, &held, "config", &TEXTS).await;
    store_vectors(state, unfinished).await;
    scratch
}

#[tokio::test]
async fn a_healthy_state_has_nothing_but_its_pending_retirement() {
    let scratch = library().await;
    let found = check(&scratch.state).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].problem, found[0].count), (Problem::Retiring, 1));
    assert_eq!(found[0].problem.severity(), Severity::Notice);
    assert_eq!(scratch.state.file_damage().await.unwrap(), Vec::<String>::new());
    // The repair has nothing to change.
    let before = scratch.state.list_sources().await.unwrap();
    scratch.state.repair(true, &is_alive).await.unwrap();
    assert_eq!(scratch.state.list_sources().await.unwrap(), before);
    assert_eq!(check(&scratch.state).await, found);
    // Without a store of its own the state says nothing of vectors, and it can be asked read-only.
    let options = StateOptions {
        read_only: true,
        ..StateOptions::new(scratch.path())
    };
    let reader = State::open(options).await.unwrap();
    assert_eq!(reader.check(false, &is_alive).await.unwrap(), found);
}

/// What breaks the library, what the check calls it, and whether the state's own repair mends it.
const BREAKS: &[(&str, Problem, bool)] = &[
    ("DELETE FROM vector WHERE id = 2", Problem::VectorsMissing, false),
    ("UPDATE vector SET end_ms = end_ms + 1 WHERE id = 2", Problem::VectorsMissing, false),
    (
        "DELETE FROM embedding WHERE id = 1; DELETE FROM vector WHERE embedding_id = 1",
        Problem::EmbeddingsMissing,
        false,
    ),
    ("UPDATE embedding SET vector = x'00' WHERE id = 1", Problem::EmbeddingsMissing, false),
    (
        "INSERT INTO chunk_fts (chunk_fts, rowid, src, text, header)
         SELECT 'delete', id, source_id || 'x', text, coalesce(header, '') FROM chunk WHERE id = 2",
        Problem::LexicalIndex,
        true,
    ),
    ("INSERT INTO chunk_sound (chunk_sound) VALUES ('delete-all')", Problem::LexicalIndex, true),
    (
        "DROP TRIGGER chunk_changed; UPDATE chunk SET text = 'another whale' WHERE id = 1",
        Problem::LexicalIndex,
        true,
    ),
    ("UPDATE revision SET chunk_count = 1 WHERE id = 1", Problem::ChunkCount, true),
    ("DELETE FROM chunk WHERE id = 2", Problem::ChunksLost, false),
    ("DELETE FROM chunk WHERE id = 3", Problem::ChunksLost, false),
    ("DELETE FROM part WHERE revision_id = 1", Problem::PartsGap, false),
    ("UPDATE part SET start_ms = 10 WHERE revision_id = 1", Problem::PartsGap, false),
    ("UPDATE part SET end_ms = end_ms + 1 WHERE revision_id = 1", Problem::PartsGap, false),
    ("UPDATE chunk SET start_ms = 5000, end_ms = 5100 WHERE id = 1", Problem::ChunkOrder, false),
    ("UPDATE chunk SET end_ms = 900000 WHERE id = 3", Problem::ChunkOrder, false),
    ("UPDATE vector SET record_id = 'nobody' WHERE id = 1", Problem::OrphanVectors, true),
    ("UPDATE vector SET revision_id = 900 WHERE id = 1", Problem::OrphanVectors, true),
    ("UPDATE vector SET source_id = 'deleted' WHERE id = 1", Problem::OrphanVectors, true),
    ("DELETE FROM retirement", Problem::Forgotten, true),
    (
        "INSERT INTO call (operation_id, purpose, capability, provider, model, state, owner_host, owner_pid,
         owner_started, requests, input_tokens, output_tokens, audio_ms, sent_at) VALUES
         ('o', 'index', 'transcribe', 'v', 'm', 'sent', 'here', 13, 7, 1, 0, 0, 0, 9000000000000)",
        Problem::OpenCalls,
        true,
    ),
    (
        "INSERT INTO call (operation_id, purpose, capability, provider, model, state, owner_host, owner_pid,
         owner_started, requests, input_tokens, output_tokens, audio_ms, sent_at) VALUES
         ('o', 'index', 'transcribe', 'v', 'm', 'sent', 'elsewhere', 1, 7, 1, 0, 0, 0, 5)",
        Problem::OpenCalls,
        true,
    ),
    ("UPDATE source SET active_revision = NULL WHERE title = 'x'", Problem::NoRevision, true),
    ("UPDATE source SET active_revision = 999 WHERE title = 'x'", Problem::NoRevision, true),
    (
        "UPDATE revision SET state = 'live' WHERE state = 'retired'",
        Problem::SecondRevision,
        true,
    ),
    ("UPDATE source SET status = 'empty' WHERE title = 'x'", Problem::WrongStatus, true),
    ("UPDATE source SET status = 'completed' WHERE title = 'silent'", Problem::WrongStatus, true),
    ("UPDATE source SET status = 'chunking' WHERE title = 'x'", Problem::NobodyWorks, true),
    (
        "INSERT INTO retirement SELECT id, source_id, space_id, 0 FROM revision WHERE id = 1",
        Problem::LiveRetirement,
        true,
    ),
    (
        "UPDATE source SET owner_host = 'here', owner_pid = 13, owner_started = 7, lease_until = 9000000000000
         WHERE title = 'busy'",
        Problem::DeadClaim,
        true,
    ),
    ("UPDATE source SET lease_until = 1 WHERE title = 'busy'", Problem::DeadClaim, true),
    ("UPDATE source SET owner_host = NULL WHERE title = 'busy'", Problem::DeadClaim, true),
    (
        "DELETE FROM part_transcript WHERE part_key = (SELECT part_key FROM part WHERE revision_id = 1)",
        Problem::TranscriptsMissing,
        false,
    ),
];

#[tokio::test]
async fn every_damage_is_named_and_what_the_state_can_mend_is_mended() {
    let mut named = std::collections::BTreeSet::new();
    for (statements, problem, mended) in BREAKS {
        let scratch = library().await;
        let old = check(&scratch.state).await;
        run(&scratch, statements).await;
        let found = check(&scratch.state).await;
        let new: Vec<&Finding> = found.iter().filter(|finding| !old.contains(finding)).collect();
        assert!(
            new.iter()
                .any(|finding| finding.problem == *problem && finding.count > 0),
            "{statements}: {found:?}"
        );
        named.insert(*problem);
        scratch.state.repair(true, &is_alive).await.unwrap();
        let left = problems(&scratch.state).await;
        assert_eq!(!left.contains(problem), *mended, "{statements}: {left:?}");
        // Mending again finds nothing more to do.
        scratch.state.repair(true, &is_alive).await.unwrap();
        assert_eq!(problems(&scratch.state).await, left, "{statements}");
    }
    let by_others = [Problem::Retiring, Problem::Strangers, Problem::RecordingMissing];
    for problem in Problem::ALL {
        assert!(
            named.contains(problem) || by_others.contains(problem),
            "{problem:?} is never found"
        );
    }
    assert!(
        Invariant::ALL
            .iter()
            .all(|invariant| named.iter().any(|p| p.invariant() == *invariant))
    );
}

#[tokio::test]
async fn a_finding_names_its_source_and_how_many() {
    let scratch = library().await;
    run(&scratch, "DELETE FROM vector WHERE id IN (1, 3)").await;
    let found = check(&scratch.state).await;
    let missing = found
        .iter()
        .find(|finding| finding.problem == Problem::VectorsMissing)
        .unwrap();
    let source = scratch.state.resolve_source("/a/x.mp3").await.unwrap();
    assert_eq!(missing.source.as_ref(), Some(&source.id));
    assert_eq!(missing.revision, source.active_revision);
    assert_eq!(
        missing.detail(),
        "/a/x.mp3: 2 chunks are missing from the vector store, or differ there"
    );
}

#[tokio::test]
async fn the_lexical_index_is_rebuilt_from_the_chunks() {
    let scratch = library().await;
    let hits = |word: &'static str| {
        let state = scratch.state.clone();
        async move {
            state
                .search_text(word, 10, &Filter::default())
                .await
                .unwrap()
                .len()
        }
    };
    let before = hits("whale").await;
    assert!(before > 0);
    run(
        &scratch,
        "INSERT INTO chunk_fts (chunk_fts) VALUES ('delete-all')",
    )
    .await;
    assert_eq!(hits("whale").await, 0);
    scratch.state.repair(true, &is_alive).await.unwrap();
    assert_eq!(hits("whale").await, before);
}

#[tokio::test]
async fn a_call_whose_owner_is_gone_is_lost_and_counts_no_longer_as_open() {
    let scratch = Scratch::new().await;
    let call = |pid: u32| {
        format!(
            "INSERT INTO call (operation_id, purpose, capability, provider, model, state, owner_host, owner_pid,
             owner_started, requests, input_tokens, output_tokens, audio_ms, sent_at) VALUES
             ('o', 'index', 'transcribe', 'v', 'm', 'sent', 'here', {pid}, 7, 1, 0, 0, 0, 9000000000000);"
        )
    };
    run(&scratch, &(call(13) + &call(13) + &call(14))).await;
    assert_eq!(check(&scratch.state).await, [Finding::new(Problem::OpenCalls, 2)]);
    scratch.state.repair(true, &is_alive).await.unwrap();
    assert_eq!(check(&scratch.state).await, []);
    // The call of the living process is still open: were that one to die, it would be found.
    let later = scratch.state.check(true, &|_| false).await.unwrap();
    assert_eq!(later, [Finding::new(Problem::OpenCalls, 1)]);
}

#[tokio::test]
async fn whoever_lost_its_claim_to_a_repair_may_not_go_on() {
    let scratch = Scratch::new().await;
    let id = scratch.add("/a/x.mp3").await.id;
    let held = lease(&scratch.state, &id).await;
    scratch
        .state
        .set_status(&held, SourceStatus::Transcribing)
        .await
        .unwrap();
    scratch.state.repair(true, &|_| false).await.unwrap();
    let source = scratch.state.source(&id).await.unwrap().unwrap();
    assert_eq!((source.status, source.owner), (SourceStatus::Pending, None));
    let error = scratch.state.renew(&held, TTL).await.unwrap_err();
    assert_eq!(error.kind(), audiorag_core::ErrorKind::Cancelled);
    let claim = scratch.state.claim(&id, &owner(2), TTL, &is_alive).await.unwrap();
    assert!(matches!(claim, audiorag_state::Claim::Granted(_)));
}

#[tokio::test]
async fn rows_that_refer_to_nothing_and_damaged_pages_are_told() {
    let scratch = library().await;
    run(&scratch, "DELETE FROM embedding WHERE id = 1").await;
    let damage = scratch.state.file_damage().await.unwrap();
    assert!(
        damage
            .iter()
            .any(|line| line.contains("vector") && line.contains("embedding")),
        "{damage:?}"
    );
    let scratch = library().await;
    let path = scratch.path();
    // A page of an index, so that everyday reading does not notice.
    let url = format!("sqlite://{}", path.display());
    let connection = Database::connect(url).await.unwrap();
    let statement = sea_orm::Statement::from_string(
        sea_orm::DbBackend::Sqlite,
        "SELECT rootpage FROM sqlite_master WHERE name = 'part_transcript_content'",
    );
    let row = connection.query_one_raw(statement).await.unwrap().unwrap();
    let page: i64 = row.try_get_by_index(0).unwrap();
    connection.close().await.unwrap();
    scratch.state.clone().close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let start = (page as usize - 1) * 8192;
    bytes[start..start + 64].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let state = State::open(StateOptions::new(path)).await.unwrap();
    let damage = state.file_damage().await;
    assert!(damage.is_err() || damage.is_ok_and(|lines| !lines.is_empty()));
}

#[tokio::test]
async fn the_revisions_in_a_store_are_the_live_the_unfinished_and_the_retiring_ones() {
    let scratch = library().await;
    let source = scratch.state.resolve_source("/a/replaced.mp3").await.unwrap();
    let revisions = scratch.state.revisions_in_store(&source.id).await.unwrap();
    let shape: Vec<(bool, usize)> = revisions.iter().map(|r| (r.is_live, r.chunks.len())).collect();
    assert_eq!(shape, [(false, 0), (true, 2)]);
    assert_eq!(source.active_revision, Some(revisions[1].id));
    scratch.state.delete_source(&source.id).await.unwrap();
    let revisions = scratch.state.revisions_in_store(&source.id).await.unwrap();
    assert!(revisions.len() == 2 && revisions.iter().all(|r| !r.is_live && r.space == space()));
}
