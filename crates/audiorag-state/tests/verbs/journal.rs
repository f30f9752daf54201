//! The journal of calls: what counts, when it counts, and what is left of processes that died.

use crate::common::{Scratch, content, space};
use audiorag_core::budget::{Allowance, Amounts, Limits, Purpose, Shortage};
use audiorag_core::capability::Usage;
use audiorag_core::id::{OperationId, PartKey, SourceId};
use audiorag_core::model::PartTranscript;
use audiorag_core::{ErrorKind, MediaTime, Money, Span};
use audiorag_state::{
    CallEnd, CallId, CostBy, CostRow, CostWindow, NewCall, NewTranscript, Opening, Owner, Settlement, State,
    StateOptions,
};
use std::time::{Duration, SystemTime};

fn owner(pid: u32) -> Owner {
    Owner {
        host: "here".into(),
        pid,
        started_at: 1,
    }
}

fn amounts(requests: u32, tokens: u64, seconds: u64, usd: Option<f64>) -> Amounts {
    Amounts {
        usage: Usage {
            requests,
            input_tokens: tokens,
            output_tokens: 0,
            audio: MediaTime::from_seconds(seconds),
            ..Usage::default()
        },
        cost: usd.and_then(Money::from_usd),
    }
}

fn call(expected: Amounts) -> NewCall {
    NewCall {
        operation: OperationId::from_stored("op"),
        purpose: Purpose::Index,
        capability: "transcribe",
        provider: "openai".into(),
        model: "m".into(),
        source: None,
        owner: owner(1),
        expected,
    }
}

async fn open(state: &State, call: &NewCall, limits: &Limits) -> CallId {
    match state.open_call(call, limits).await.unwrap() {
        Opening::Opened(id) => id,
        Opening::Short(shortage) => panic!("{shortage:?}"),
    }
}

async fn short(state: &State, call: &NewCall, limits: &Limits) -> Shortage {
    match state.open_call(call, limits).await.unwrap() {
        Opening::Short(shortage) => shortage,
        Opening::Opened(_) => panic!("there was room"),
    }
}

async fn total(state: &State) -> CostRow {
    let mut rows = state
        .costs(CostBy::Provider, CostWindow::default())
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn money_a_day(usd: f64) -> Limits {
    Limits {
        overall: Allowance {
            money_per_day: Money::from_usd(usd),
            ..Allowance::default()
        },
        ..Limits::default()
    }
}

#[tokio::test]
async fn what_is_expected_counts_until_what_was_used_is_known() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let limits = money_a_day(1.0);
    let first = open(state, &call(amounts(1, 0, 600, Some(0.9))), &limits).await;
    let next = call(amounts(1, 0, 60, Some(0.2)));
    assert!(matches!(
        short(state, &next, &limits).await,
        Shortage::Later { what: "money a day", wait } if wait <= Duration::from_hours(24)
    ));
    // It turns out cheaper: what was set aside too much is there again.
    let end = CallEnd::Done(amounts(2, 0, 600, Some(0.5)));
    let settlement = Settlement { call: first, end };
    state.settle_call(settlement).await.unwrap();
    let second = open(state, &next, &limits).await;
    // A call is closed once: who comes later changes nothing.
    for end in [
        CallEnd::Lost,
        CallEnd::LostAtMost(amounts(9, 9, 9, None)),
        CallEnd::Failed { requests: 9 },
    ] {
        state.settle_call(Settlement { call: first, end }).await.unwrap();
    }
    let end = CallEnd::Failed { requests: 1 };
    state.settle_call(Settlement { call: second, end }).await.unwrap();
    let sum = total(state).await;
    assert_eq!(
        (sum.calls, sum.failed, sum.lost, sum.open, sum.unpriced),
        (2, 1, 0, 0, 0)
    );
    assert_eq!(sum.amounts, amounts(3, 0, 600, Some(0.5)));
    assert!(matches!(
        short(state, &call(amounts(1, 0, 1, Some(1.5))), &limits).await,
        Shortage::Never { .. }
    ));
}

#[tokio::test]
async fn limits_of_a_provider_are_its_own_and_queries_keep_a_share() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let mut limits = Limits {
        query_share: 50,
        ..Limits::default()
    };
    limits.providers.insert(
        "openai".into(),
        Allowance {
            requests_per_minute: Some(4),
            ..Allowance::default()
        },
    );
    let one = call(amounts(1, 10, 0, None));
    for _ in 0..2 {
        open(state, &one, &limits).await;
    }
    assert!(matches!(
        short(state, &one, &limits).await,
        Shortage::Later { what: "requests a minute", wait } if wait <= Duration::from_mins(1)
    ));
    let query = NewCall {
        purpose: Purpose::Query,
        ..one.clone()
    };
    for _ in 0..2 {
        open(state, &query, &limits).await;
    }
    short(state, &query, &limits).await;
    let other = NewCall {
        provider: "groq".into(),
        ..one
    };
    for _ in 0..20 {
        open(state, &other, &limits).await;
    }
}

#[tokio::test]
async fn processes_side_by_side_cannot_both_take_the_last_of_it() {
    let scratch = Scratch::new().await;
    let limits = money_a_day(1.0);
    let mut tasks = tokio::task::JoinSet::new();
    for pid in 1..=4 {
        let options = StateOptions::new(scratch.path());
        let limits = limits.clone();
        tasks.spawn(async move {
            let state = State::open(options).await.unwrap();
            let mut granted = 0;
            for _ in 0..10 {
                let call = NewCall {
                    owner: owner(pid),
                    ..call(amounts(1, 0, 1, Some(0.06)))
                };
                granted += u32::from(matches!(
                    state.open_call(&call, &limits).await.unwrap(),
                    Opening::Opened(_)
                ));
            }
            granted
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u32>(), 16);
}

#[tokio::test]
async fn calls_of_the_dead_are_lost_and_go_on_counting() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let limits = money_a_day(1.0);
    for pid in [1, 1, 2] {
        let call = NewCall {
            owner: owner(pid),
            ..call(amounts(1, 0, 60, Some(0.3)))
        };
        open(state, &call, &limits).await;
    }
    assert_eq!(state.owners_of_open_calls().await.unwrap().len(), 2);
    assert_eq!(state.lose_calls(&|owner| owner.pid == 2).await.unwrap(), 2);
    assert_eq!(state.owners_of_open_calls().await.unwrap(), [owner(2)]);
    assert_eq!(state.lose_calls(&|owner| owner.pid == 2).await.unwrap(), 0);
    let sum = total(state).await;
    assert_eq!((sum.calls, sum.lost, sum.open), (3, 2, 1));
    assert_eq!(sum.amounts.cost, Money::from_usd(0.9));
    short(state, &call(amounts(1, 0, 1, Some(0.2))), &limits).await;
}

#[tokio::test]
async fn a_call_is_closed_with_what_it_returned_or_not_at_all() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let source = scratch.add("/a/b.mp3").await;
    let lease = scratch.lease(&source.id).await;
    let new = NewCall {
        source: Some(source.id.clone()),
        ..call(amounts(1, 0, 60, None))
    };
    let id = open(state, &new, &Limits::default()).await;
    let used = amounts(1, 0, 61, Some(0.01));
    let paid = Some(Settlement {
        call: id,
        end: CallEnd::Done(used),
    });
    // Vectors that do not belong to the space are not stored, and the call stays open.
    let bad = [(audiorag_core::id::EmbeddingKey::from_stored("e"), vec![1.0])];
    let error = state
        .save_embeddings(&lease, &space(), &bad, paid)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(total(state).await.open, 1);
    let transcript = PartTranscript::default();
    let new = NewTranscript {
        content: &content("x"),
        span: Span::default(),
        provider: "p",
        transcript: &transcript,
        paid,
    };
    let key = PartKey::from_stored("k");
    state.save_part_transcript(&lease, &key, &new).await.unwrap();
    let sum = total(state).await;
    assert_eq!((sum.open, sum.unpriced, sum.amounts), (0, 0, used));
    // What was paid for outlives its source.
    state.delete_source(&source.id).await.unwrap();
    let rows = state.costs(CostBy::Source, CostWindow::default()).await.unwrap();
    assert_eq!(rows[0].group, source.id.as_str());
    assert_eq!(rows[0].amounts, used);
}

#[tokio::test]
async fn costs_are_added_up_by_what_is_asked_for() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let source = scratch.add("/a/talk.mp3").await;
    let none = Limits::default();
    let cheap = NewCall {
        source: Some(source.id.clone()),
        ..call(amounts(1, 0, 60, Some(0.1)))
    };
    let dear = NewCall {
        purpose: Purpose::Query,
        capability: "generate",
        provider: "anthropic".into(),
        operation: OperationId::from_stored("q"),
        ..call(amounts(1, 500, 0, Some(0.4)))
    };
    let unknown = NewCall {
        source: Some(SourceId::from_stored("gone")),
        ..call(amounts(1, 5, 0, None))
    };
    for new in [&cheap, &cheap, &dear, &unknown] {
        let id = open(state, new, &none).await;
        let end = CallEnd::Done(new.expected);
        state.settle_call(Settlement { call: id, end }).await.unwrap();
    }
    let groups = |by| async move {
        let rows = state.costs(by, CostWindow::default()).await.unwrap();
        let groups = rows.into_iter().map(|row| (row.group, row.calls, row.unpriced));
        groups.collect::<Vec<_>>()
    };
    let row = |group: &str, calls, unpriced| (group.to_owned(), calls, unpriced);
    assert_eq!(
        groups(CostBy::Provider).await,
        [
            row("anthropic/m generate", 1, 0),
            row("openai/m transcribe", 3, 1)
        ]
    );
    assert_eq!(
        groups(CostBy::Source).await,
        [row("", 1, 0), row("file:///a/talk.mp3", 2, 0), row("gone", 1, 1)]
    );
    assert_eq!(groups(CostBy::Operation).await, [row("q", 1, 0), row("op", 3, 1)]);
    let days = groups(CostBy::Day).await;
    assert_eq!(
        (days.len(), days[0].0.len(), days[0].1),
        (1, "2026-11-23".len(), 4)
    );
    let tomorrow = SystemTime::now() + Duration::from_hours(24);
    let later = CostWindow {
        since: Some(tomorrow),
        ..CostWindow::default()
    };
    assert_eq!(state.costs(CostBy::Day, later).await.unwrap(), []);
    let all = CostWindow {
        until: Some(tomorrow),
        ..CostWindow::default()
    };
    assert_eq!(state.costs(CostBy::Day, all).await.unwrap()[0].calls, 4);
    let run = CostWindow {
        operation: Some(OperationId::from_stored("op")),
        ..CostWindow::default()
    };
    assert_eq!(state.costs(CostBy::Day, run).await.unwrap()[0].calls, 3);
}

/// Two rows of what a vendor may claim, of any size, must not make sums impossible for ever.
#[tokio::test]
async fn absurd_counts_are_cut_and_sums_go_on() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let absurd = Amounts {
        usage: Usage {
            requests: u32::MAX,
            input_tokens: u64::MAX,
            output_tokens: u64::MAX,
            audio: MediaTime::from_millis(u64::MAX / 2),
            ..Usage::default()
        },
        cost: Some(Money::from_nanos(u64::MAX)),
    };
    for _ in 0..3 {
        let id = open(state, &call(amounts(1, 0, 0, None)), &Limits::default()).await;
        let end = CallEnd::Done(absurd);
        state.settle_call(Settlement { call: id, end }).await.unwrap();
    }
    let sum = total(state).await;
    assert!(sum.amounts.cost.unwrap().as_usd() > 1e6);
    let limits = Limits {
        overall: Allowance {
            tokens_per_minute: Some(10),
            ..Allowance::default()
        },
        ..Limits::default()
    };
    short(state, &call(amounts(1, 5, 0, None)), &limits).await;
}

/// Row "clock jump" of the failure table: a day ahead and back again.
#[tokio::test]
async fn calls_of_a_clock_that_ran_ahead_do_not_stop_everything_until_then() {
    use sea_orm::ConnectionTrait as _;
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let mut limits = money_a_day(1.0);
    limits.overall.requests_per_minute = Some(2);
    let one = call(amounts(1, 0, 0, Some(0.6)));
    open(state, &one, &limits).await;
    let url = format!("sqlite://{}", scratch.path().display());
    let database = sea_orm::Database::connect(url).await.unwrap();
    database
        .execute_unprepared("UPDATE call SET sent_at = sent_at + 82800000")
        .await
        .unwrap();
    let cheap = call(amounts(1, 0, 0, Some(0.1)));
    open(state, &cheap, &limits).await;
    open(state, &cheap, &limits).await;
    assert!(matches!(
        short(state, &cheap, &limits).await,
        Shortage::Later {
            what: "requests a minute",
            ..
        }
    ));
    // Money is still money.
    limits.overall.requests_per_minute = None;
    short(state, &call(amounts(1, 0, 0, Some(0.3))), &limits).await;
}
