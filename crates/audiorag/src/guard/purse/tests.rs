//! What is set aside, settled, refused and lost.

use super::*;
use audiorag_core::budget::Allowance;
use audiorag_core::id::OperationId;
use audiorag_state::{CostBy, CostRow, CostWindow, StateOptions};
use tempfile::TempDir;

/// A model that has a price in the built-in table of no build: it is given here.
fn info() -> ProviderInfo {
    ProviderInfo {
        vendor: "mine".into(),
        model: "speech".into(),
        version: 1,
    }
}

fn minute() -> Usage {
    Usage {
        requests: 1,
        audio: MediaTime::from_seconds(60),
        ..Usage::default()
    }
}

fn order(purpose: Purpose) -> Order<'static> {
    Order {
        capability: "transcribe",
        purpose,
        source: None,
        expected: minute(),
    }
}

fn run(cap: Option<f64>) -> Run {
    let cap = cap.map(|usd| Money::from_usd(usd).unwrap());
    Run::new(OperationId::from_stored("op"), cap)
}

async fn purse(allowance: Allowance, spending: Spending) -> (TempDir, Arc<Purse>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.toml");
    std::fs::write(&file, "[price.\"mine/speech\"]\naudio_minute = 0.1\n").unwrap();
    let mut settings =
        crate::settings::Settings::resolve(&crate::settings::Sources::isolated(directory.path()))
            .unwrap()
            .settings;
    settings.prices.file = Some(file);
    let state = State::open(StateOptions::new(directory.path().join("state.db")))
        .await
        .unwrap();
    let limits = Limits {
        overall: allowance,
        ..Limits::default()
    };
    let prices = Prices::load(&settings).unwrap();
    (directory, Purse::new(state, limits, spending, prices))
}

async fn total(purse: &Purse) -> CostRow {
    let mut rows = purse
        .state
        .costs(CostBy::Provider, CostWindow::default())
        .await
        .unwrap();
    rows.remove(0)
}

#[tokio::test]
async fn a_used_up_budget_is_refused_with_when_to_come_back() {
    let allowance = Allowance {
        requests_per_minute: Some(1),
        ..Allowance::default()
    };
    let (_directory, purse) = purse(allowance, Spending::Fail).await;
    let bill = purse
        .open(&run(None), &info(), order(Purpose::Index))
        .await
        .unwrap()
        .unwrap();
    bill.done(Some(&minute())).await;
    let error = purse
        .open(&run(None), &info(), order(Purpose::Index))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Budget);
    assert!(error.retry_after().unwrap() <= Duration::from_mins(1));
    assert!(
        error.message().contains("requests a minute is used up"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("what is done is kept"));
}

#[tokio::test]
async fn waiting_has_an_end_which_comes_sooner_for_a_question() {
    let allowance = Allowance {
        audio_seconds_per_hour: Some(60),
        ..Allowance::default()
    };
    let (_directory, purse) = purse(allowance, Spending::Wait(Duration::from_hours(2))).await;
    let bill = purse
        .open(&run(None), &info(), order(Purpose::Index))
        .await
        .unwrap()
        .unwrap();
    bill.done(Some(&minute())).await;
    // An hour is less than the two that indexing may wait, and more than a question does.
    let shortage = Shortage::Later {
        what: "x",
        wait: Duration::from_mins(50),
    };
    assert_eq!(
        purse.nap(shortage, Purpose::Index, Duration::ZERO).unwrap(),
        LONGEST_NAP
    );
    let late = Duration::from_mins(80);
    assert_eq!(
        purse.nap(shortage, Purpose::Index, late).unwrap_err().kind(),
        ErrorKind::Budget
    );
    let error = purse
        .open(&run(None), &info(), order(Purpose::Query))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Budget);
    assert!(error.message().contains("60 min"), "{error}");
}

/// The Python AudioRAG counted a call that broke off as free.
#[tokio::test]
async fn what_was_refused_is_free_and_what_broke_off_is_not() {
    let (_directory, purse) = purse(Allowance::default(), Spending::Fail).await;
    let all = run(Some(0.35));
    let speech = info();
    let open = || purse.open(&all, &speech, order(Purpose::Index));
    open()
        .await
        .unwrap()
        .unwrap()
        .failed(&Error::config("no such model"))
        .await;
    let sum = total(&purse).await;
    assert_eq!(
        (sum.calls, sum.failed, sum.amounts.cost),
        (1, 1, Some(Money::ZERO))
    );
    assert_eq!(sum.amounts.usage.requests, 1);
    open()
        .await
        .unwrap()
        .unwrap()
        .failed(&Error::timeout("too slow"))
        .await;
    let sum = total(&purse).await;
    assert_eq!((sum.calls, sum.lost), (2, 1));
    assert_eq!(sum.amounts.cost, Money::from_usd(0.1));
    // Dropped before it was sent: free. Dropped after that: nobody knows.
    for sent in [false, true] {
        let mut bill = open().await.unwrap().unwrap();
        if sent {
            bill.send();
        }
        drop(bill);
        while total(&purse).await.open > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(total(&purse).await.lost, 2);
    let last = open().await.unwrap().unwrap();
    let error = open().await.unwrap_err();
    assert!(
        error.message().contains("$0.35 at most: $0.30 is spent"),
        "{error}"
    );
    // It cost less than expected, so that there is room again.
    let cheap = Usage {
        audio: MediaTime::from_seconds(30),
        ..minute()
    };
    last.done(Some(&cheap)).await;
    open().await.unwrap().unwrap().done(Some(&minute())).await;
    assert_eq!(total(&purse).await.amounts.cost, Money::from_usd(0.35));
}

/// Every attempt that may have been billed counts, and no other.
#[tokio::test]
async fn a_failure_is_booked_as_what_its_attempts_may_have_cost() {
    let attempts = |requests, unknown| Attempts { requests, unknown };
    let reset = || Error::unavailable("reset");
    // What failed; then the calls that are lost, the requests, the seconds of audio and the cost.
    let table = [
        (reset().with_attempts(attempts(1, 1)), 1, 1, 60, 0.1),
        (reset().with_attempts(attempts(3, 2)), 1, 3, 120, 0.2),
        (reset().with_attempts(attempts(3, 0)), 0, 3, 0, 0.0),
        (reset(), 0, 1, 0, 0.0),
        (
            Error::timeout("never sent").with_attempts(attempts(0, 0)),
            0,
            0,
            0,
            0.0,
        ),
        (Error::timeout("slow"), 1, 1, 60, 0.1),
    ];
    for (error, lost, requests, seconds, usd) in table {
        let (_directory, purse) = purse(Allowance::default(), Spending::Fail).await;
        let all = run(Some(0.3));
        let speech = info();
        let open = || purse.open(&all, &speech, order(Purpose::Index));
        open().await.unwrap().unwrap().failed(&error).await;
        let sum = total(&purse).await;
        assert_eq!(
            (sum.calls, sum.lost, sum.failed),
            (1, lost, 1 - lost),
            "{error:?}"
        );
        let used = sum.amounts;
        assert_eq!(
            (used.usage.requests, used.usage.audio, used.cost),
            (requests, MediaTime::from_seconds(seconds), Money::from_usd(usd)),
            "{error:?}"
        );
        // The cap of the run knows as well: of three calls it allows those that are not spent.
        let mut left = Vec::new();
        while let Ok(Some(bill)) = open().await {
            left.push(bill);
        }
        let spent = seconds / 60;
        assert_eq!(left.len() as u64, 3 - spent, "{error:?}");
        for bill in left {
            bill.done(None).await;
        }
    }
}

/// An attempt that timed out before the next one was answered may be on the vendor's invoice.
#[tokio::test]
async fn an_answer_pays_for_the_attempts_before_it_as_well() {
    let (_directory, purse) = purse(Allowance::default(), Spending::Fail).await;
    let half = Usage {
        requests: 3,
        unknown: 1,
        audio: MediaTime::from_seconds(30),
        ..Usage::default()
    };
    let bill = purse.open(&run(None), &info(), order(Purpose::Index)).await;
    let bill = bill.unwrap().unwrap();
    let CallEnd::Done(stored) = bill.settlement(&half).end else {
        unreachable!("it was answered");
    };
    bill.done(Some(&half)).await;
    let sum = total(&purse).await;
    assert_eq!(sum.amounts, stored);
    assert_eq!(
        (stored.usage.requests, stored.usage.audio, stored.cost),
        (3, MediaTime::from_seconds(90), Money::from_usd(0.15))
    );
}

/// A job that an earlier run paid for is handed over: the reservation is given back, and nothing is added.
#[tokio::test]
async fn a_resumed_job_is_free() {
    let (_directory, purse) = purse(Allowance::default(), Spending::Fail).await;
    let all = run(Some(0.1));
    for _ in 0..2 {
        let bill = purse.open(&all, &info(), order(Purpose::Index)).await;
        bill.unwrap().unwrap().done(Some(&Usage::default())).await;
    }
    let sum = total(&purse).await;
    assert_eq!((sum.calls, sum.unpriced), (2, 0));
    assert_eq!(sum.amounts.usage, Usage::default());
    assert_eq!(sum.amounts.cost, Some(Money::ZERO));
}

#[tokio::test]
async fn a_cap_holds_when_many_want_to_spend_at_once() {
    let (_directory, purse) = purse(Allowance::default(), Spending::Fail).await;
    let all = run(Some(1.0));
    let tasks = (0..40).map(|_| {
        let (purse, all) = (Arc::clone(&purse), all.clone());
        async move {
            let bill = purse.open(&all, &info(), order(Purpose::Index)).await.ok()??;
            bill.done(Some(&minute())).await;
            Some(())
        }
    });
    let made = futures_util::future::join_all(tasks)
        .await
        .into_iter()
        .flatten()
        .count();
    assert_eq!(made, 10);
    assert_eq!(total(&purse).await.amounts.cost, Money::from_usd(1.0));
}
