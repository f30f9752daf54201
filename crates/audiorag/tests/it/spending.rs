//! Money: planned before it is spent, capped, written down, and never spent twice.

use super::support::{Place, index, index_with};
use audiorag::index::{IndexOptions, IndexPlan, Input};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::state::{CostBy, CostRow, CostWindow};
use audiorag::{AudioRag, CancellationToken, ErrorKind, Providers};
use audiorag_core::{Money, Stage};
use audiorag_testkit::fake::{FakeGenerator, FakeTranscriber};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A dollar for ten seconds of audio, and a cent for a thousand tokens.
const PRICES: &str = r#"
[price."fake/transcriber"]
audio_minute = 6.0
[price."fake/hash-embedder"]
million_tokens = 10.0
[price."fake/generator"]
million_tokens = 10.0
million_tokens_written = 10.0
"#;

fn place() -> Place {
    let mut place = Place::new();
    let file = place.dir.path().join("prices.toml");
    std::fs::write(&file, PRICES).unwrap();
    let file = file.to_str().unwrap().to_owned();
    place.set(Key::PricesFile, &file);
    place.set(Key::SttConcurrency, "2");
    place
}

async fn costs(audiorag: &AudioRag, by: CostBy) -> Vec<CostRow> {
    audiorag.state().costs(by, CostWindow::default()).await.unwrap()
}

async fn speech(audiorag: &AudioRag) -> CostRow {
    let rows = costs(audiorag, CostBy::Provider).await;
    let row = rows.into_iter().find(|row| row.group.ends_with(" transcribe"));
    row.unwrap()
}

async fn plan(audiorag: &AudioRag, path: &Path) -> IndexPlan {
    let inputs = vec![Input::Path(path.to_path_buf())];
    audiorag.plan(inputs, IndexOptions::default()).await.unwrap()
}

fn usd(money: Option<Money>) -> f64 {
    money.unwrap().as_usd()
}

#[tokio::test]
async fn a_plan_says_the_most_a_run_can_cost_and_does_nothing() {
    let mut place = place();
    let file = place.speech("a.wav", 4, 1);
    let copy = place.path("b.wav");
    std::fs::copy(&file, &copy).unwrap();
    let folder = file.parent().unwrap();
    let audiorag = place.open().await;
    let before = plan(&audiorag, folder).await;
    assert_eq!(before.sources.len(), 2);
    let first = &before.sources[0];
    // Four bursts of two seconds with a second after each, and 0.3 s before: 12.3 s, in parts of four.
    assert_eq!(first.transcribe.needed.usage.audio.as_millis(), 12_300);
    assert_eq!(first.transcribe.needed.usage.requests, 4);
    assert!(!first.transcribe.exact);
    assert!((usd(first.transcribe.needed.cost) - 1.23).abs() < 1e-9);
    assert!(first.stages.contains(&Stage::Transcribe) && first.stages.contains(&Stage::Embed));
    // The same bytes again: paid for once.
    let second = &before.sources[1];
    assert_eq!(second.transcribe.needed.usage.requests, 0);
    assert!(usd(second.transcribe.saved.cost) > 1.0);
    assert!(!second.stages.contains(&Stage::Transcribe));
    // Nothing was sent, and nothing was written.
    assert_eq!(
        place.transcriber.script().calls() + place.embedder.script().calls(),
        0
    );
    assert!(audiorag.state().list_sources().await.unwrap().is_empty());
    assert!(costs(&audiorag, CostBy::Day).await.is_empty());

    let report = index(&audiorag, &[folder]).await;
    assert!(report.cost.as_usd() > 0.0 && report.cost.as_usd() <= usd(before.cost()));
    assert_eq!(report.unpriced_calls, 0);
    let after = plan(&audiorag, folder).await;
    assert!(
        after.sources.iter().all(|source| source.skipped.is_some()),
        "{after:?}"
    );
    assert_eq!(after.cost(), Some(Money::ZERO));

    // Other chunks: the transcripts are there, and what is missing of the vectors is known to the text.
    drop(audiorag);
    place.set(Key::ChunkDurationSeconds, "5");
    let audiorag = place.open().await;
    let planned = plan(&audiorag, &file).await.sources.remove(0);
    assert!(planned.transcribe.exact && planned.embed.exact);
    assert_eq!(planned.transcribe.needed.usage.requests, 0);
    let saved = planned.transcribe.saved.usage;
    assert_eq!(u64::from(saved.requests), speech(&audiorag).await.calls);
    assert_eq!(saved.audio, speech(&audiorag).await.amounts.usage.audio);
    let calls = place.transcriber.script().calls();
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(place.transcriber.script().calls(), calls);
    let embedded: u64 = costs(&audiorag, CostBy::Operation)
        .await
        .into_iter()
        .filter(|row| row.group == report.operation_id.as_str())
        .map(|row| row.amounts.usage.input_tokens)
        .sum();
    assert!(embedded > 0);
    assert_eq!(planned.embed.needed.usage.requests, 1);
}

/// The ledger and the provider agree, whatever becomes of the calls.
#[tokio::test]
async fn every_call_is_in_the_ledger_once() {
    let place = place();
    let file = place.speech("a.wav", 5, 1);
    let other = place.speech("b.wav", 3, 9);
    let audiorag = place.open().await;
    place.transcriber.script().fail_nth(2, ErrorKind::Input);
    place.transcriber.script().fail_nth(4, ErrorKind::Protocol);
    for _ in 0..4 {
        index(&audiorag, &[&file, &other]).await;
    }
    let row = speech(&audiorag).await;
    let script = place.transcriber.script();
    assert_eq!(row.calls as usize, script.calls());
    assert_eq!((row.failed, row.lost, row.open, row.unpriced), (1, 1, 0, 0));
    assert_eq!(script.succeeded(), script.calls() - 2);
    let sources = costs(&audiorag, CostBy::Source).await;
    assert_eq!(sources.len(), 2);
    assert!(
        sources.iter().all(|row| row.group.starts_with("file://")),
        "{sources:?}"
    );
    // A second run needs nothing, and so costs nothing.
    let report = index(&audiorag, &[&file, &other]).await;
    assert_eq!((report.calls, report.cost), (0, Money::ZERO));
}

#[tokio::test]
async fn a_run_stops_before_it_costs_more_than_it_may() {
    let place = place();
    let file = place.speech("a.wav", 8, 1);
    let audiorag = place.open().await;
    let capped = |usd| IndexOptions {
        max_cost: Money::from_usd(usd),
        ..IndexOptions::default()
    };
    let report = index_with(&audiorag, &[&file], capped(1.0)).await;
    let failed = &report.failed[0];
    assert_eq!(failed.kind, ErrorKind::Budget, "{failed:?}");
    assert!(
        failed.message.contains("may cost $1.00 at most"),
        "{}",
        failed.message
    );
    assert!(failed.hint.as_deref().unwrap().contains("--max-cost"));
    assert!(
        report.cost.as_usd() > 0.3 && report.cost.as_usd() <= 1.0,
        "{}",
        report.cost
    );
    let calls = place.transcriber.script().calls();
    assert!(calls > 0);
    // What was paid for is kept: the rest costs only the rest.
    let report = index_with(&audiorag, &[&file], capped(100.0)).await;
    let done = &report.indexed[0];
    assert_eq!(done.reused_parts as usize, calls);
    assert_eq!(
        (done.reused_parts + done.transcribed_parts) as usize,
        place.transcriber.script().calls()
    );
    assert_eq!(
        speech(&audiorag).await.calls as usize,
        place.transcriber.script().calls()
    );
}

#[tokio::test]
async fn a_cap_without_a_price_is_refused_before_anything_is_sent() {
    let place = Place::new();
    let file = place.speech("a.wav", 1, 1);
    let audiorag = place.open().await;
    let inputs = vec![Input::Path(file)];
    let options = IndexOptions {
        max_cost: Money::from_usd(1.0),
        ..IndexOptions::default()
    };
    let error = audiorag
        .index(inputs, options, &(), CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("no price is known of fake/"), "{error}");
    assert!(error.hint().unwrap().contains("AUDIORAG_PRICES_FILE"));
    assert_eq!(place.transcriber.script().calls(), 0);
}

/// Row "budget reached mid-batch" of the failure table: what is finished is kept, and the next day goes on.
#[tokio::test]
async fn a_daily_budget_holds_over_runs_and_leaves_questions_their_share() {
    let mut place = place();
    place.set(Key::BudgetUsdPerDay, "2");
    place.set(Key::BudgetPolicy, "fail");
    let small = place.speech("a.wav", 3, 1);
    let large = place.speech("b.wav", 8, 20);
    let third = place.speech("c.wav", 8, 50);
    let audiorag = place.open().await;
    index(&audiorag, &[&small]).await;
    // The next process finds the budget as the last one left it.
    drop(audiorag);
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&large, &third]).await;
    assert_eq!(report.failed[0].kind, ErrorKind::Budget);
    assert!(
        report.failed[0]
            .message
            .contains("money a day is used up for the next 24 h")
    );
    assert_eq!(report.failed.len() + report.not_started, 2, "{report:?}");
    let spent: f64 = usd(costs(&audiorag, CostBy::Day).await[0].amounts.cost);
    assert!(
        (1.0..=1.6).contains(&spent),
        "indexing may use 80 % of $2: {spent}"
    );
    let reply = audiorag.query("which harbour?", QueryOptions::default()).await;
    reply.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_thrown_away_leaves_no_reservation() {
    let place = Place::with(FakeTranscriber::new());
    let file = place.speech("a.wav", 4, 1);
    let audiorag = place.open().await;
    place.transcriber.script().delay(Duration::from_hours(1));
    let run = {
        let (audiorag, inputs) = (audiorag.clone(), vec![Input::Path(file.clone())]);
        tokio::spawn(async move {
            let options = IndexOptions::default();
            audiorag
                .index(inputs, options, &(), CancellationToken::new())
                .await
        })
    };
    // Both parts: a call that is not sent yet is dropped for nothing, and is not lost.
    while place.transcriber.script().in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    loop {
        let row = speech(&audiorag).await;
        if row.open == 0 {
            assert_eq!((row.calls, row.lost), (2, 2));
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(audiorag.state().owners_of_open_calls().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_question_is_paid_for_when_its_answer_ends() {
    let mut place = place();
    // What the fakes say has nothing to do with what is asked.
    place.set(Key::RetrievalAbstainBelow, "0");
    let file = place.speech("a.wav", 3, 1);
    let generator = Arc::new(FakeGenerator::saying(["It is said [1]."]));
    let providers = Providers {
        generator: Some(Arc::clone(&generator) as _),
        ..place.providers()
    };
    let audiorag = AudioRag::builder(place.settings())
        .with_providers(providers)
        .open()
        .await
        .unwrap();
    index(&audiorag, &[&file]).await;
    let reply = audiorag
        .query("which harbour is it?", QueryOptions::default())
        .await
        .unwrap();
    let window = CostWindow::of(&reply.operation_id);
    let rows = audiorag.state().costs(CostBy::Provider, window).await.unwrap();
    let answered = rows.iter().find(|row| row.group.ends_with(" generate")).unwrap();
    assert_eq!((answered.calls, answered.open, answered.lost), (1, 0, 0));
    assert!(answered.amounts.usage.output_tokens > 0, "{answered:?}");
    let embedded = rows.iter().find(|row| row.group.ends_with(" embed")).unwrap();
    assert_eq!(embedded.calls, 1);
}

/// Indexing that has used up its share waits, and holds nothing that a question needs.
#[tokio::test]
async fn a_question_does_not_queue_behind_indexing_that_waits_for_the_budget() {
    let mut place = place();
    let indexed = place.speech("a.wav", 1, 1);
    let waiting = place.speech("b.wav", 8, 20);
    index(&place.open().await, &[&indexed]).await;
    place.set(Key::BudgetTokensPerMinute, "100000");
    place.set(Key::BudgetProviders, "fake: requests_per_minute=6");
    place.set(Key::BudgetQueryShare, "50");
    let audiorag = place.open().await;
    let cancel = CancellationToken::new();
    let running = async {
        let inputs = vec![Input::Path(waiting)];
        audiorag
            .index(inputs, IndexOptions::default(), &(), cancel.clone())
            .await
    };
    let asking = async {
        while speech(&audiorag).await.calls < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let found = audiorag.search("which harbour?", QueryOptions::default()).await;
            assert!(!found.unwrap().hits.is_empty());
        }
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(running, asking);
    assert!(report.unwrap().cancelled);
}
