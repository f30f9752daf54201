//! The deep check and the repair: each invariant is broken by hand, named, and mended from what is cached.

use super::support::{Place, index};
use audiorag::AudioRag;
use audiorag::doctor::{CheckStatus, RepairOptions, RepairReport};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::state::{Claim, Finding, Owner, Problem};
use audiorag_core::ErrorKind;
use audiorag_core::capability::{Selector, VectorRecord, VectorStore as _};
use audiorag_core::id::{ChunkId, RevisionId, SourceId};
use audiorag_testkit::fake::{HashEmbedder, MemoryVectorStore};
use audiorag_testkit::synth::Track;
use sea_orm::{ConnectionTrait as _, Database};
use std::sync::Arc;
use std::time::Duration;

const FREE: RepairOptions = RepairOptions {
    dry_run: false,
    pay: false,
    max_cost: None,
};
const DRY: RepairOptions = RepairOptions {
    dry_run: true,
    pay: false,
    max_cost: None,
};
const PAID: RepairOptions = RepairOptions {
    dry_run: false,
    pay: true,
    max_cost: None,
};

fn place() -> Place {
    let mut place = Place::new();
    place.set(Key::ChunkDurationSeconds, "2");
    place
}

/// Two recordings with several parts and chunks each, and a silent one.
async fn library(place: &Place) -> AudioRag {
    let audiorag = place.open().await;
    let files = [
        place.speech("a.wav", 4, 1),
        place.speech("b.wav", 3, 50),
        place.write("quiet.wav", &Track::new(16_000).silence(9_000).to_wav()),
    ];
    let report = index(&audiorag, &[&files[0], &files[1], &files[2]]).await;
    assert!(
        report.indexed.len() == 2 && report.indexed.iter().all(|source| source.chunks > 2),
        "{report:?}"
    );
    audiorag
}

/// Changes the database behind the program's back.
async fn run(audiorag: &AudioRag, statements: &str) {
    let url = format!("sqlite://{}", audiorag.state().path().display());
    let connection = Database::connect(url).await.unwrap();
    connection
        .execute_unprepared(&format!("PRAGMA foreign_keys = OFF; {statements}"))
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn problems(audiorag: &AudioRag) -> Vec<Problem> {
    let found = audiorag.check().await.unwrap();
    found.into_iter().map(|finding| finding.problem).collect()
}

fn paid(place: &Place) -> (usize, usize) {
    (
        place.transcriber.script().calls(),
        place.embedder.script().calls(),
    )
}

/// Ids and scores of everything that a search finds.
async fn everything(audiorag: &AudioRag) -> Vec<(String, u64)> {
    let options = QueryOptions {
        top_k: Some(100),
        ..QueryOptions::default()
    };
    let reply = audiorag.search("anything at all", options).await.unwrap();
    let mut hits: Vec<(String, u64)> = reply
        .hits
        .iter()
        .map(|hit| (hit.title.clone(), hit.span.start().as_millis()))
        .collect();
    hits.sort();
    hits
}

fn left(report: &RepairReport) -> Vec<Problem> {
    report.left.iter().map(|left| left.finding.problem).collect()
}

/// What is broken in the database, and what the check calls it.
const BREAKS: &[(&str, Problem)] = &[
    ("DELETE FROM vector WHERE id IN (1, 4)", Problem::VectorsMissing),
    ("DELETE FROM vector", Problem::VectorsMissing),
    (
        "UPDATE vector SET embedding_id = 2 WHERE id = 1",
        Problem::VectorsMissing,
    ),
    (
        "INSERT INTO chunk_fts (chunk_fts) VALUES ('delete-all')",
        Problem::LexicalIndex,
    ),
    (
        "UPDATE revision SET chunk_count = 1 WHERE id = 1",
        Problem::ChunkCount,
    ),
    (
        "DELETE FROM chunk WHERE id = (SELECT min(id) FROM chunk)",
        Problem::ChunksLost,
    ),
    (
        "UPDATE chunk SET end_ms = end_ms + 900000 WHERE id = (SELECT min(id) FROM chunk)",
        Problem::ChunkOrder,
    ),
    ("DELETE FROM part WHERE idx = 0", Problem::PartsGap),
    (
        "UPDATE vector SET record_id = 'nobody' WHERE id = 1",
        Problem::OrphanVectors,
    ),
    (
        "UPDATE vector SET source_id = 'deleted' WHERE id = 1",
        Problem::OrphanVectors,
    ),
    (
        "INSERT INTO call (operation_id, purpose, capability, provider, model, state, owner_host, owner_pid,
         owner_started, requests, input_tokens, output_tokens, audio_ms, sent_at) VALUES
         ('o', 'index', 'transcribe', 'v', 'm', 'sent', 'elsewhere', 1, 7, 1, 0, 0, 0, 5)",
        Problem::OpenCalls,
    ),
    ("UPDATE source SET active_revision = NULL", Problem::NoRevision),
    ("UPDATE source SET status = 'empty'", Problem::WrongStatus),
    ("UPDATE source SET status = 'transcribing'", Problem::NobodyWorks),
    (
        "INSERT INTO retirement SELECT id, source_id, space_id, 0 FROM revision",
        Problem::LiveRetirement,
    ),
    (
        "UPDATE source SET owner_host = 'gone', owner_pid = 1, owner_started = 1, lease_until = 1",
        Problem::DeadClaim,
    ),
];

#[tokio::test]
async fn whatever_is_broken_is_named_and_mended_for_nothing() {
    let place = place();
    let template = library(&place).await;
    let expected = everything(&template).await;
    assert_eq!(template.check().await.unwrap(), []);
    let original = template.state().path().to_owned();
    template.state().clone().close().await;
    let healthy = std::fs::read(&original).unwrap();
    for (statements, problem) in BREAKS {
        for entry in std::fs::read_dir(original.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().starts_with(original.to_str().unwrap()) {
                std::fs::remove_file(path).unwrap();
            }
        }
        std::fs::write(&original, &healthy).unwrap();
        let audiorag = place.open().await;
        let before = paid(&place);
        run(&audiorag, statements).await;
        let found = audiorag.check().await.unwrap();
        assert!(
            found.iter().any(|finding| finding.problem == *problem),
            "{statements}: {found:?}"
        );
        // A dry run changes nothing and knows what a real one will do.
        let dry = audiorag.repair(DRY).await.unwrap();
        assert!(dry.dry_run && dry.left.is_empty(), "{statements}: {dry:?}");
        assert_eq!(audiorag.check().await.unwrap(), found, "{statements}");
        let report = audiorag.repair(FREE).await.unwrap();
        assert!(
            report.mended.iter().any(|finding| finding.problem == *problem) && report.left.is_empty(),
            "{statements}: {report:?}"
        );
        assert_eq!(audiorag.check().await.unwrap(), [], "{statements}");
        assert_eq!(
            audiorag.state().file_damage().await.unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(paid(&place), before, "{statements}");
        assert_eq!(everything(&audiorag).await, expected, "{statements}");
        let again = audiorag.repair(FREE).await.unwrap();
        assert_eq!(
            (again.written, again.computed, again.rebuilt),
            (0, 0, 0),
            "{statements}"
        );
        audiorag.state().clone().close().await;
    }
}

#[tokio::test]
async fn what_is_in_no_cache_is_computed_with_leave_to_pay_and_nothing_else_is() {
    let place = place();
    let audiorag = library(&place).await;
    let expected = everything(&audiorag).await;
    run(
        &audiorag,
        "UPDATE embedding SET vector = x'00' WHERE id = 1; DELETE FROM vector WHERE embedding_id = 2;
         DELETE FROM embedding WHERE id = 2",
    )
    .await;
    let before = paid(&place);
    let dry = audiorag.repair(DRY).await.unwrap();
    assert_eq!(left(&dry), [Problem::EmbeddingsMissing]);
    assert!(
        dry.costs() && dry.left[0].reason.contains("fake/hash-embedder"),
        "{dry:?}"
    );
    let report = audiorag.repair(FREE).await.unwrap();
    assert!(left(&report).contains(&Problem::EmbeddingsMissing), "{report:?}");
    assert_eq!(paid(&place), before);
    let capped = RepairOptions {
        max_cost: audiorag_core::Money::from_usd(1.0),
        ..PAID
    };
    // Of a provider without a price nobody can say what it would cost.
    let error = audiorag.repair(capped).await.unwrap_err();
    assert!(error.message().contains("no price is known"), "{error:?}");
    assert_eq!(paid(&place), before);
    let report = audiorag.repair(PAID).await.unwrap();
    assert_eq!((left(&report), report.computed), (Vec::new(), 2), "{report:?}");
    let batches = place.embedder.batches();
    assert_eq!(batches.last().unwrap().1.len(), 2, "the two that were missing");
    assert_eq!(paid(&place), (before.0, before.1 + 1));
    assert_eq!(audiorag.check().await.unwrap(), []);
    assert_eq!(everything(&audiorag).await, expected);
}

/// How many vectors the store inside the database has.
async fn vectors(audiorag: &AudioRag) -> u64 {
    let store = audiorag.state().vectors();
    let live = audiorag.state().list_sources().await.unwrap();
    let revision = audiorag
        .state()
        .live_revision(&live[0].id)
        .await
        .unwrap()
        .unwrap();
    store.prepare(&revision.space).await.unwrap();
    store.count(&Selector::All).await.unwrap()
}

#[tokio::test]
async fn what_is_left_of_a_damaged_index_is_found() {
    let place = place();
    let audiorag = library(&place).await;
    run(
        &audiorag,
        "UPDATE embedding SET vector = x'00' WHERE id = (SELECT min(embedding_id) FROM vector);
         DELETE FROM vector WHERE embedding_id = (SELECT max(embedding_id) FROM vector);
         INSERT INTO chunk_fts (chunk_fts) VALUES ('delete-all')",
    )
    .await;
    let found = everything(&audiorag).await;
    assert_eq!(found.len() as u64, vectors(&audiorag).await, "{found:?}");
    for (which, statement) in [
        ("whole", "DELETE FROM vector WHERE id <> 3"),
        ("damaged", "UPDATE embedding SET vector = x'00'"),
    ] {
        run(&audiorag, statement).await;
        for audiorag in [&audiorag, &place.open().await] {
            let found = everything(audiorag).await;
            println!("the last vector is {which}: {found:?}");
            assert_eq!(found.len(), 1, "the last vector is {which}");
        }
    }
}

#[tokio::test]
async fn a_lost_transcript_is_transcribed_again_with_leave_to_pay() {
    let place = place();
    let audiorag = library(&place).await;
    run(
        &audiorag,
        "DELETE FROM part_transcript WHERE part_key = (SELECT part_key FROM part WHERE part_key IS NOT NULL
         ORDER BY revision_id, idx LIMIT 1)",
    )
    .await;
    assert_eq!(problems(&audiorag).await, [Problem::TranscriptsMissing]);
    let before = paid(&place);
    let report = audiorag.repair(FREE).await.unwrap();
    assert!(
        report.costs() && left(&report) == [Problem::TranscriptsMissing],
        "{report:?}"
    );
    assert_eq!(paid(&place), before);
    let dear = RepairOptions {
        max_cost: Some(audiorag_core::Money::ZERO),
        ..PAID
    };
    // Of a provider without a price nobody can say what it would cost.
    let error = audiorag.repair(dear).await.unwrap_err();
    assert!(error.message().contains("no price is known"), "{error:?}");
    assert_eq!(paid(&place), before);
    let report = audiorag.repair(PAID).await.unwrap();
    assert_eq!((left(&report), report.rebuilt), (Vec::new(), 1), "{report:?}");
    assert_eq!(paid(&place).0, before.0 + 1, "one part, not all of them");
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_recording_that_is_gone_is_a_notice_until_it_is_needed() {
    let place = place();
    let audiorag = library(&place).await;
    std::fs::remove_file(place.path("a.wav")).unwrap();
    assert_eq!(problems(&audiorag).await, [Problem::RecordingMissing]);
    let checks = audiorag.doctor(true).await;
    let names = checks.iter().find(|check| check.name == "I6").unwrap();
    assert_eq!((names.status, names.kind), (CheckStatus::Warn, None), "{names:?}");
    let report = audiorag.repair(FREE).await.unwrap();
    assert!(report.left.is_empty() && report.notices.len() == 1, "{report:?}");
    // Its vectors come back without it; its chunks do not.
    run(&audiorag, "DELETE FROM vector").await;
    assert!(audiorag.repair(FREE).await.unwrap().left.is_empty());
    run(&audiorag, "DELETE FROM part WHERE idx = 0").await;
    let report = audiorag.repair(PAID).await.unwrap();
    assert_eq!(left(&report), [Problem::PartsGap], "{report:?}");
    assert!(report.left[0].reason.contains("recording is not there") && !report.costs());
}

/// A library whose vectors are in a store outside the database.
async fn outside() -> (Place, Arc<MemoryVectorStore>, AudioRag) {
    let mut place = place();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    let audiorag = library(&place).await;
    (place, store, audiorag)
}

#[tokio::test]
async fn a_store_that_lost_vectors_gets_them_back_from_the_cache() {
    let (place, store, audiorag) = outside().await;
    assert_eq!(audiorag.check().await.unwrap(), []);
    let (before, whole) = (paid(&place), store.records());
    let lost = [
        vec![whole[0].id.clone(), whole[2].id.clone()],
        whole.iter().map(|r| r.id.clone()).collect(),
    ];
    for ids in lost {
        store.delete(&Selector::Chunks(ids)).await.unwrap();
        assert!(problems(&audiorag).await.contains(&Problem::VectorsMissing));
        let report = audiorag.repair(FREE).await.unwrap();
        assert!(
            report.left.is_empty() && report.written > 0 && report.computed == 0,
            "{report:?}"
        );
        assert_eq!(store.records(), whole);
    }
    // One lost and one too many make the right number and are wrong all the same.
    let mut odd = whole[0].clone();
    store
        .delete(&Selector::Chunks(vec![odd.id.clone()]))
        .await
        .unwrap();
    odd.id = ChunkId::from_stored("odd");
    store.upsert(vec![odd]).await.unwrap();
    let found = problems(&audiorag).await;
    assert_eq!(found, [Problem::VectorsMissing, Problem::OrphanVectors]);
    audiorag.repair(FREE).await.unwrap();
    assert_eq!(store.records(), whole);
    assert_eq!(paid(&place), before);
}

#[tokio::test]
async fn orphans_of_a_source_are_removed_and_those_of_strangers_are_told() {
    let (_place, store, audiorag) = outside().await;
    let whole = store.records();
    let mut orphan = whole[0].clone();
    orphan.id = ChunkId::from_stored("orphan");
    orphan.revision = RevisionId(77);
    let mut stranger = orphan.clone();
    stranger.id = ChunkId::from_stored("stranger");
    stranger.source_id = SourceId::from_stored("another-database");
    store.upsert(vec![orphan, stranger.clone()]).await.unwrap();
    assert_eq!(
        problems(&audiorag).await,
        [Problem::OrphanVectors, Problem::Strangers]
    );
    let report = audiorag.repair(FREE).await.unwrap();
    assert!(report.left.is_empty(), "{report:?}");
    assert_eq!(report.notices, [Finding::new(Problem::Strangers, 1)]);
    let mut kept = whole;
    kept.push(stranger);
    kept.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(store.records(), kept);
}

/// As a repair leaves it that was killed while it built the source anew.
#[tokio::test]
async fn an_unfinished_revision_does_not_keep_orphans() {
    let (place, store, audiorag) = outside().await;
    let (whole, before) = (store.records(), paid(&place));
    run(
        &audiorag,
        "CREATE TEMP TABLE left_over AS SELECT * FROM revision WHERE state = 'live';
         UPDATE left_over SET id = id + 1000, state = 'building', config_hash = 'of other settings';
         INSERT INTO revision SELECT * FROM left_over;",
    )
    .await;
    let mut written = Vec::new();
    for record in &whole {
        let mut unfinished = record.clone();
        unfinished.id = ChunkId::from_stored(format!("unfinished {}", record.id.as_str()));
        unfinished.revision = RevisionId(record.revision.0 + 1000);
        written.push(unfinished);
    }
    let mut orphan = whole[0].clone();
    orphan.id = ChunkId::from_stored("orphan");
    orphan.revision = RevisionId(77);
    written.push(orphan);
    store.upsert(written).await.unwrap();
    let report = audiorag.repair(FREE).await.unwrap();
    assert!(report.left.is_empty(), "{report:?}");
    let of_source = |records: &[VectorRecord]| -> Vec<VectorRecord> {
        let mine = records
            .iter()
            .filter(|record| record.source_id == whole[0].source_id);
        mine.cloned().collect()
    };
    assert_eq!(of_source(&store.records()), of_source(&whole));
    assert_eq!(paid(&place), before);
    assert!(!problems(&audiorag).await.contains(&Problem::OrphanVectors));
}

#[tokio::test]
async fn what_could_not_be_deleted_is_deleted_by_the_repair() {
    let (_place, store, audiorag) = outside().await;
    let source = &audiorag.state().list_sources().await.unwrap()[0];
    // Through the state alone, as when the store was down.
    audiorag.state().delete_source(&source.id).await.unwrap();
    assert_eq!(problems(&audiorag).await, [Problem::Retiring]);
    let report = audiorag.repair(FREE).await.unwrap();
    assert_eq!(report.mended.len(), 1, "{report:?}");
    assert!(store.records().iter().all(|record| record.source_id != source.id));
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_store_that_is_down_is_told_and_the_state_is_checked_all_the_same() {
    let (_place, store, audiorag) = outside().await;
    run(&audiorag, "UPDATE source SET status = 'empty'").await;
    store.script().go_down(ErrorKind::Unavailable);
    let checks = audiorag.doctor(true).await;
    let status = |name: &str| checks.iter().find(|check| check.name == name).unwrap().status;
    assert_eq!(
        (status("vectors"), status("I5"), status("I2")),
        (CheckStatus::Fail, CheckStatus::Fail, CheckStatus::Ok)
    );
    assert_eq!(audiorag.check().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        audiorag.repair(FREE).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    store.script().recover();
    assert!(audiorag.repair(FREE).await.unwrap().left.is_empty());
}

#[tokio::test]
async fn a_source_that_somebody_works_on_is_left_to_them() {
    let place = place();
    let audiorag = library(&place).await;
    run(&audiorag, "DELETE FROM vector").await;
    let busy = audiorag
        .state()
        .resolve_source(place.path("a.wav").to_str().unwrap())
        .await
        .unwrap();
    let other = Owner {
        host: "elsewhere".into(),
        pid: 12,
        started_at: 1,
    };
    let ttl = Duration::from_mins(1);
    let claim = audiorag
        .state()
        .claim(&busy.id, &other, ttl, &|_| true)
        .await
        .unwrap();
    let Claim::Granted(lease) = claim else {
        unreachable!("nobody else asks")
    };
    let report = audiorag.repair(FREE).await.unwrap();
    assert_eq!(left(&report), [Problem::VectorsMissing], "{report:?}");
    assert_eq!(report.left[0].finding.source, Some(busy.id));
    assert!(
        report.left[0]
            .reason
            .contains("in progress by pid 12 on elsewhere"),
        "{report:?}"
    );
    // They notice nothing.
    audiorag.state().renew(&lease, ttl).await.unwrap();
}

#[tokio::test]
async fn a_failure_of_the_last_run_is_still_told_after_a_repair() {
    let place = place();
    let audiorag = library(&place).await;
    std::fs::write(place.path("a.wav"), b"no recording any more").unwrap();
    let failed = index(&audiorag, &[&place.path("a.wav")]).await;
    assert_eq!(failed.failed.len(), 1, "{failed:?}");
    run(&audiorag, "DELETE FROM vector").await;
    audiorag.repair(FREE).await.unwrap();
    assert_eq!(audiorag.check().await.unwrap(), []);
    let path = place.path("a.wav");
    let source = audiorag
        .state()
        .resolve_source(path.to_str().unwrap())
        .await
        .unwrap();
    assert!(source.failure.is_some() && source.owner.is_none(), "{source:?}");
}

#[tokio::test]
async fn vectors_of_another_model_come_back_from_the_cache_too() {
    let mut place = place();
    let audiorag = library(&place).await;
    run(
        &audiorag,
        "DELETE FROM vector; DELETE FROM embedding WHERE id = 1",
    )
    .await;
    audiorag.state().clone().close().await;
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    let audiorag = place.open().await;
    let report = audiorag.repair(PAID).await.unwrap();
    // Another model's vectors are nothing that this one can replace.
    assert!(left(&report).contains(&Problem::EmbeddingsMissing), "{report:?}");
    assert!(
        report.left.iter().any(|left| left.reason.contains("another/32")),
        "{report:?}"
    );
    assert_eq!(place.embedder.script().calls(), 0);
    // The source that lacked nothing is whole.
    let missing = report
        .left
        .iter()
        .filter(|left| left.finding.problem == Problem::VectorsMissing);
    assert_eq!(missing.count(), 1, "{report:?}");
}
