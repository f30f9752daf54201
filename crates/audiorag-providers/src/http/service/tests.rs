//! The retry loop on a clock that stands still, against attempts that end as told.

use super::super::status::kind_of_status;
use super::super::{HttpSettings, transport::full_text};
use super::*;
use audiorag_core::Secret;
use audiorag_core::retry::RetryPolicy;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Good,
    /// A status, and the seconds of `Retry-After`.
    Status(u16, Option<u64>),
    /// A status and `x-should-retry`.
    Advised(u16, bool),
    /// The connection was refused.
    Refused,
    /// The connection broke after the request was sent.
    Reset,
    /// Nothing comes.
    Silence,
    /// A body that is not what was promised.
    Garbled,
}

async fn attempt(end: End) -> Result<(), Failure> {
    let declined = |status: u16, wait: Option<u64>, advice| {
        let error = Error::new(kind_of_status(status), format!("status {status}"));
        Failure {
            error: match wait {
                Some(seconds) => error.with_retry_after(Duration::from_secs(seconds)),
                None => error,
            },
            reached: Reached::Declined(status),
            advice,
            left: true,
        }
    };
    let sent = |error: Error, reached| Failure {
        error,
        reached,
        advice: None,
        left: true,
    };
    match end {
        End::Good => Ok(()),
        End::Status(status, wait) => Err(declined(status, wait, None)),
        End::Advised(status, advice) => Err(declined(status, None, Some(advice))),
        End::Refused => Err(sent(Error::unavailable("refused"), Reached::No)),
        End::Reset => Err(sent(Error::unavailable("reset"), Reached::Unknown)),
        End::Garbled => Err(sent(Error::protocol("garbled"), Reached::Unknown)),
        End::Silence => std::future::pending().await,
    }
}

fn service(change: impl FnOnce(&mut HttpSettings)) -> Service {
    let mut settings = HttpSettings::default();
    change(&mut settings);
    let http = HttpClient::new(&settings).unwrap();
    http.service("openai", "http://127.0.0.1:9/v1").unwrap().build()
}

/// Attempts that end as a function of their number says.
struct Scripted<F> {
    made: AtomicU32,
    end: F,
}

impl<F: Fn(u32) -> End + Sync> Work for Scripted<F> {
    type Output = ();

    async fn run(&self, _: Attempt<'_>, _: &Call) -> Result<(), Failure> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        attempt((self.end)(number)).await
    }
}

/// Runs a call whose attempts end as `ends` says, the last one for ever, and returns how often it was made.
async fn run(service: &Service, replay: Replay, ends: &[End]) -> (Result<Answer<()>>, u32) {
    let work = Scripted {
        made: AtomicU32::new(0),
        end: |number| *ends.get(number as usize).or(ends.last()).unwrap(),
    };
    let call = Call::post("x").replay(replay);
    let outcome = service.persist(&call, &work).await;
    (outcome, work.made.into_inner())
}

#[tokio::test(start_paused = true)]
async fn replies_become_calls_sleeps_and_kinds() {
    use End::{Advised, Garbled, Good, Refused, Reset, Silence, Status};
    use ErrorKind::{Auth, Budget, Input, NotFound, Protocol, RateLimited, Timeout, Unavailable};
    use Replay::{Billed, Creates, Free};
    // What is answered; then calls, the least and the most seconds that pass, and the kind of error.
    type Row<'a> = (Replay, &'a [End], u32, f64, f64, Option<ErrorKind>);
    let table: &[Row<'_>] = &[
        (Free, &[Good], 1, 0.0, 0.0, None),
        (Free, &[Status(503, None), Good], 2, 0.0, 0.5, None),
        (Free, &[Status(500, None)], 3, 0.0, 1.5, Some(Unavailable)),
        (
            Free,
            &[Status(529, None), Status(502, None), Good],
            3,
            0.0,
            1.5,
            None,
        ),
        (Free, &[Status(429, Some(7)), Good], 2, 7.0, 7.8, None),
        (
            Free,
            &[Status(429, Some(7)), Status(429, Some(2)), Good],
            3,
            9.0,
            9.9,
            None,
        ),
        (Free, &[Status(429, Some(121))], 1, 0.0, 0.0, Some(RateLimited)),
        (Free, &[Status(400, None)], 1, 0.0, 0.0, Some(Input)),
        (Free, &[Status(401, None)], 1, 0.0, 0.0, Some(Auth)),
        (Free, &[Status(402, None)], 1, 0.0, 0.0, Some(Budget)),
        (Free, &[Status(403, None)], 1, 0.0, 0.0, Some(Auth)),
        (Free, &[Status(404, None)], 1, 0.0, 0.0, Some(NotFound)),
        (Free, &[Status(413, None)], 1, 0.0, 0.0, Some(Input)),
        (Free, &[Status(422, Some(1))], 1, 0.0, 0.0, Some(Input)),
        (Free, &[Advised(422, true)], 1, 0.0, 0.0, Some(Input)),
        (Free, &[Advised(409, true), Good], 2, 0.0, 0.5, None),
        (Free, &[Advised(503, false)], 1, 0.0, 0.0, Some(Unavailable)),
        (Free, &[Refused, Good], 2, 0.0, 0.5, None),
        (Free, &[Reset, Garbled, Good], 3, 0.0, 1.5, None),
        (Free, &[Silence, Good], 2, 60.0, 60.5, None),
        (Billed, &[Silence], 2, 120.0, 120.5, Some(Timeout)),
        (Billed, &[Reset, Good], 2, 0.0, 0.5, None),
        (Billed, &[Garbled], 2, 0.0, 0.5, Some(Protocol)),
        (Billed, &[Refused], 3, 0.0, 1.5, Some(Unavailable)),
        (Billed, &[Status(503, None)], 3, 0.0, 1.5, Some(Unavailable)),
        (Billed, &[Status(502, None)], 2, 0.0, 0.5, Some(Unavailable)),
        (Creates, &[Reset], 1, 0.0, 0.0, Some(Unavailable)),
        (Creates, &[Status(500, None)], 1, 0.0, 0.0, Some(Unavailable)),
        (Creates, &[Status(503, None), Good], 2, 0.0, 0.5, None),
        (Creates, &[Refused, Good], 2, 0.0, 0.5, None),
    ];
    for (replay, ends, calls, least, most, kind) in table {
        let started = Instant::now();
        let (outcome, made) = run(&service(|_| {}), *replay, ends).await;
        let elapsed = started.elapsed().as_secs_f64();
        assert_eq!(made, *calls, "{replay:?} {ends:?}");
        assert!(
            (*least..=*most + 0.01).contains(&elapsed),
            "{replay:?} {ends:?}: {elapsed} s"
        );
        match outcome {
            Ok(answer) => {
                assert_eq!(*kind, None, "{replay:?} {ends:?}");
                assert_eq!(answer.requests, *calls, "{replay:?} {ends:?}");
            }
            Err(error) => {
                assert_eq!(Some(error.kind()), *kind, "{replay:?} {ends:?}");
                assert!(!error.is_retryable(), "no layer above may try again");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_left_and_what_may_have_been_billed_is_told() {
    use End::{Garbled, Good, Refused, Reset, Silence, Status};
    use Replay::{Billed, Creates, Free};
    // What is answered; then the requests, and those of which nobody knows what became of them.
    type Row<'a> = (Replay, &'a [End], u32, u32);
    let table: &[Row<'_>] = &[
        (Billed, &[Reset], 2, 2),
        (Billed, &[Garbled], 2, 2),
        (Billed, &[Refused, Reset], 3, 2),
        (Billed, &[Status(502, None)], 2, 2),
        (Billed, &[Status(504, None), Status(400, None)], 2, 1),
        (Billed, &[Status(503, None)], 3, 0),
        (Billed, &[Status(500, None)], 3, 0),
        (Billed, &[Status(429, None)], 3, 0),
        (Billed, &[Status(408, None)], 3, 0),
        (Billed, &[Status(400, None)], 1, 0),
        (Billed, &[Refused], 3, 0),
        (Billed, &[Silence, Status(401, None)], 2, 1),
        (Billed, &[Good], 1, 0),
        (Billed, &[Silence, Good], 2, 1),
        (Billed, &[Status(502, None), Good], 2, 1),
        (Billed, &[Status(503, None), Refused, Good], 3, 0),
        // Cheap enough to be repeated freely, and paid each time all the same.
        (Free, &[Reset], 3, 3),
        (Free, &[Garbled, Silence, Good], 3, 2),
        (Creates, &[Reset], 1, 1),
        (Creates, &[Status(500, None)], 1, 1),
        (Creates, &[Status(503, None)], 3, 0),
        (Creates, &[Status(422, None)], 1, 0),
    ];
    for (replay, ends, requests, unknown) in table {
        let told = match run(&service(|_| {}), *replay, ends).await.0 {
            Ok(answer) => (answer.requests, answer.unknown),
            Err(error) => {
                let attempts = error.attempts().unwrap();
                assert_eq!(attempts.may_have_been_billed(), *unknown > 0);
                (attempts.requests, attempts.unknown)
            }
        };
        assert_eq!(told, (*requests, *unknown), "{replay:?} {ends:?}");
    }
}

#[tokio::test]
async fn a_call_that_never_left_has_cost_nothing() {
    let service = service(|settings| settings.patient = false);
    let elsewhere = Call::post("http://127.0.0.1:8/v1/x");
    let error = service.done(&elsewhere).await.unwrap_err();
    assert_eq!(error.attempts(), Some(Attempts::default()));
    for _ in 0..5 {
        service.inner.gates.breaker.enter().unwrap().sick();
    }
    let error = service.done(&Call::post("x")).await.unwrap_err();
    assert_eq!(error.attempts(), Some(Attempts::default()));
}

#[tokio::test(start_paused = true)]
async fn audio_is_given_half_its_length_on_top() {
    let service = service(|settings| settings.retry.max_attempts = 1);
    let work = Scripted {
        made: AtomicU32::new(0),
        end: |_| End::Silence,
    };
    for (call, expected) in [
        (Call::post("x"), 60),
        (
            Call::post("x").audio(audiorag_core::MediaTime::from_seconds(300)),
            210,
        ),
        (Call::get("x").timeout(Duration::from_secs(20)), 20),
    ] {
        let started = Instant::now();
        let error = service.persist(&call, &work).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(started.elapsed(), Duration::from_secs(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn the_total_deadline_is_kept() {
    let service = service(|settings| {
        settings.deadline = Duration::from_secs(90);
        settings.retry.max_attempts = 50;
        settings.retry.first_wait = Duration::from_secs(30);
    });
    let started = Instant::now();
    let (outcome, _) = run(&service, Replay::Free, &[End::Silence]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(started.elapsed() <= Duration::from_secs(90));
    let (outcome, calls) = run(&service, Replay::Free, &[End::Status(503, Some(100))]).await;
    assert_eq!((outcome.unwrap_err().kind(), calls), (ErrorKind::Unavailable, 1));
}

/// A service that takes its time.
struct Slow(Duration);

impl Work for Slow {
    type Output = ();

    async fn run(&self, _: Attempt<'_>, _: &Call) -> Result<(), Failure> {
        tokio::time::sleep(self.0).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_answer_says_how_long() {
    let http = HttpClient::new(&HttpSettings::default()).unwrap();
    // As calls to generators are: a server of one's own may read the prompt for two minutes.
    let call = Call::post("x").timeout(Duration::from_mins(2));
    let slow = Slow(Duration::from_secs(100));
    for (longest, answers) in [(30, false), (180, true)] {
        let http = http.interactive(Duration::from_secs(longest));
        let service = http.service("openai", "http://127.0.0.1:9").unwrap().build();
        let started = Instant::now();
        let outcome = service.persist(&call, &slow).await;
        assert_eq!(outcome.is_ok(), answers, "{longest} s");
        assert!(started.elapsed() <= Duration::from_secs(longest));
    }
}

/// A service that takes a moment to refuse.
struct Dead(Arc<AtomicU32>);

impl Work for Dead {
    type Output = ();

    async fn run(&self, _: Attempt<'_>, _: &Call) -> Result<(), Failure> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        attempt(End::Refused).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_and_a_dead_provider() {
    for patient in [true, false] {
        let service = service(|settings| {
            settings.patient = patient;
            settings.retry = RetryPolicy {
                max_attempts: 4,
                ..RetryPolicy::default()
            };
        });
        let calls = Arc::new(AtomicU32::new(0));
        let callers: Vec<_> = (0..1_000)
            .map(|_| {
                let (service, dead) = (service.clone(), Dead(Arc::clone(&calls)));
                tokio::spawn(async move {
                    let call = Call::post("x").replay(Replay::Free);
                    service.persist(&call, &dead).await
                })
            })
            .collect();
        for caller in callers {
            let error = caller.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", full_text(&error));
        }
        // A living one would have cost a thousand.
        let calls = calls.load(Ordering::Relaxed);
        assert!(calls <= 1_200, "{calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn patience_outlasts_an_outage_and_haste_does_not_wait() {
    let outage = Duration::from_mins(2);
    for patient in [true, false] {
        let service = service(|settings| {
            settings.patient = patient;
            // The wait for the breaker is no attempt, yet a probe that fails is one.
            settings.retry.max_attempts = 20;
        });
        let started = Instant::now();
        // Somebody else's calls opened the breaker.
        let breaker = &service.inner.gates.breaker;
        for _ in 0..5 {
            breaker.enter().unwrap().sick();
        }
        assert!(breaker.peek().is_some());
        let work = Scripted {
            made: AtomicU32::new(0),
            end: |_| {
                if started.elapsed() > outage {
                    End::Good
                } else {
                    End::Refused
                }
            },
        };
        let call = Call::post("x").replay(Replay::Free);
        let outcome = service.persist(&call, &work).await;
        let made = work.made.into_inner();
        if patient {
            assert_eq!(outcome.unwrap().requests, made);
            assert!(started.elapsed() > outage && made > 1, "{made}");
            assert!(breaker.enter().is_ok(), "the probe that came through closed it");
        } else {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.retry_after().is_some());
            assert_eq!((made, started.elapsed()), (0, Duration::ZERO));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_asked_of_one_holds_everybody() {
    let service = service(|settings| settings.retry.max_attempts = 1);
    let _ = run(&service, Replay::Free, &[End::Status(429, Some(20))]).await;
    let started = Instant::now();
    run(&service, Replay::Free, &[End::Good]).await.0.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn the_rate_counts_retries_as_well() {
    let service = service(|settings| settings.requests_per_minute = NonZeroU32::new(6));
    let started = Instant::now();
    let (outcome, calls) = run(&service, Replay::Free, &[End::Status(503, None), End::Good]).await;
    assert!(outcome.is_ok());
    assert_eq!(calls, 2);
    assert!(
        started.elapsed() >= Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn what_may_have_been_billed_is_repeated_once_and_what_creates_never() {
    use Reached::{Declined, No, Unknown};
    use Replay::{Billed, Creates, Free};
    let table = [
        (Free, Unknown, 9, true),
        (Free, Declined(500), 0, true),
        (Billed, No, 0, true),
        (Billed, Declined(500), 0, true),
        (Billed, Declined(429), 0, true),
        (Billed, Unknown, 1, true),
        (Billed, Unknown, 2, false),
        (Billed, Declined(504), 2, false),
        (Creates, No, 0, true),
        (Creates, Declined(429), 0, true),
        (Creates, Declined(503), 0, true),
        (Creates, Declined(500), 0, false),
        (Creates, Unknown, 1, false),
    ];
    for (replay, reached, unknown, expected) in table {
        assert_eq!(
            may_repeat(replay, reached, None, unknown),
            expected,
            "{replay:?} {reached:?}"
        );
        assert!(!may_repeat(replay, reached, Some(false), unknown));
    }
}

#[test]
fn a_service_has_a_sound_address_and_calls_stay_on_it() {
    let http = HttpClient::new(&HttpSettings::default()).unwrap();
    for bad in ["canary", "ftp://x", "http://"] {
        let error = http.service("openai", bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.message().contains("canary"));
    }
    let service = http
        .service("openai", "http://user:canary@host/v1/?key=canary")
        .unwrap()
        .build();
    assert_eq!(service.base_url(), "http://host/v1/");
    let url = |path: &str| service.inner.url(&Call::get(path).query("a", "b c"));
    assert_eq!(url("/models").unwrap().path(), "/v1/models");
    assert_eq!(url("models").unwrap().query(), Some("a=b+c"));
    assert_eq!(url("http://elsewhere/x").unwrap_err().kind(), ErrorKind::Protocol);
    let other = http
        .service("openai", "http://user:canary@host/v1/?x=1")
        .unwrap()
        .build();
    assert!(Arc::ptr_eq(&service.inner.gates, &other.inner.gates));
}

#[test]
fn keys_are_neither_shown_nor_accepted_broken() {
    let http = HttpClient::new(&HttpSettings::default()).unwrap();
    let builder = || http.service("openai", "http://host").unwrap();
    let key = Secret::new("canary-key");
    let service = builder().bearer(&key).unwrap().build();
    assert!(!format!("{service:?}").contains("canary"));
    assert_eq!(service.inner.secrets.scrub("bad key canary-key!"), "bad key ***!");
    let error = builder().bearer(&Secret::new("canary\nkey")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!error.report().contains("canary"));
    assert!(builder().bearer(&Secret::new(" ")).unwrap().headers.is_empty());
}
