//! Accounting of what calls may use up, as arithmetic: no clock, no waiting and no storage of its own.
//!
//! A call reserves what it is expected to need, and settles with what it used. Reservations count from the moment
//! they are made, so that calls side by side cannot all take the last of it.

use crate::MediaTime;
use crate::capability::Usage;
use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// How much may be used in a while. `None` means as much as anybody likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in any minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens read and written in any minute.
    pub tokens_per_minute: Option<u64>,
    /// Seconds of audio sent to speech-to-text in any hour.
    pub audio_seconds_per_hour: Option<u64>,
}

impl Allowance {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// What a call needs, or has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Requests.
    pub requests: u64,
    /// Tokens read and written.
    pub tokens: u64,
    /// Audio sent to speech-to-text.
    pub audio: MediaTime,
}

impl From<Usage> for Need {
    fn from(usage: Usage) -> Self {
        Self {
            requests: u64::from(usage.requests),
            tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            audio: usage.audio,
        }
    }
}

/// Why a reservation was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// It fits after this wait, as far as is known now.
    Later {
        /// What is used up, in words.
        what: &'static str,
        /// How long until enough of it is free.
        wait: Duration,
    },
    /// A single call needs more than the whole allowance.
    Never {
        /// What it needs too much of, in words.
        what: &'static str,
    },
}

/// A reservation, to be settled or released.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// What was used or reserved at one time.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ticket: u64,
    at: Duration,
    amount: u64,
}

/// One limited thing over a sliding stretch of time.
#[derive(Clone, Debug)]
struct Window {
    what: &'static str,
    limit: u64,
    length: Duration,
    measure: fn(&Need) -> u64,
    entries: VecDeque<Entry>,
}

impl Window {
    fn used(&self) -> u64 {
        self.entries
            .iter()
            .fold(0, |sum, entry| sum.saturating_add(entry.amount))
    }

    fn forget(&mut self, now: Duration) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.at + self.length <= now)
        {
            self.entries.pop_front();
        }
    }

    /// Why `need` does not fit now, if it does not.
    fn shortage(&self, now: Duration, need: &Need) -> Option<Shortage> {
        let what = self.what;
        let amount = (self.measure)(need);
        if amount > self.limit {
            return Some(Shortage::Never { what });
        }
        let mut excess = self.used().saturating_add(amount).saturating_sub(self.limit);
        for entry in &self.entries {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(entry.amount);
            if excess == 0 {
                let wait = (entry.at + self.length).saturating_sub(now);
                return Some(Shortage::Later { what, wait });
            }
        }
        None
    }
}

/// The accounts of an [`Allowance`]. Times are those of any clock that does not run backwards.
#[derive(Clone, Debug)]
pub struct Budget {
    windows: Vec<Window>,
    tickets: u64,
}

impl Budget {
    /// Accounts with nothing used.
    pub fn new(allowance: &Allowance) -> Self {
        type Row = (&'static str, Option<u64>, Duration, fn(&Need) -> u64);
        let rows: [Row; 3] = [
            (
                "requests a minute",
                allowance.requests_per_minute,
                MINUTE,
                |need| need.requests,
            ),
            ("tokens a minute", allowance.tokens_per_minute, MINUTE, |need| {
                need.tokens
            }),
            // In milliseconds, so that many short parts are not rounded away.
            (
                "seconds of audio an hour",
                allowance
                    .audio_seconds_per_hour
                    .map(|seconds| seconds.saturating_mul(1000)),
                HOUR,
                |need| need.audio.as_millis(),
            ),
        ];
        let windows = rows.into_iter().filter_map(|(what, limit, length, measure)| {
            Some(Window {
                what,
                limit: limit?,
                length,
                measure,
                entries: VecDeque::new(),
            })
        });
        Self {
            windows: windows.collect(),
            tickets: 0,
        }
    }

    /// Sets `need` aside at the time `now`, all of it or nothing.
    ///
    /// # Errors
    /// The longest wait, or that no wait helps.
    pub fn reserve(&mut self, now: Duration, need: &Need) -> Result<Ticket, Shortage> {
        let mut longest: Option<Shortage> = None;
        for window in &mut self.windows {
            window.forget(now);
            match (window.shortage(now, need), longest) {
                (Some(never @ Shortage::Never { .. }), _) => return Err(never),
                (Some(Shortage::Later { wait, .. }), Some(Shortage::Later { wait: known, .. }))
                    if wait <= known => {}
                (Some(later), _) => longest = Some(later),
                (None, _) => {}
            }
        }
        if let Some(shortage) = longest {
            return Err(shortage);
        }
        self.tickets += 1;
        for window in &mut self.windows {
            let amount = (window.measure)(need);
            if amount > 0 {
                window.entries.push_back(Entry {
                    ticket: self.tickets,
                    at: now,
                    amount,
                });
            }
        }
        Ok(Ticket(self.tickets))
    }

    /// Replaces a reservation by what was really used, which may be more, and of things nobody expected.
    pub fn settle(&mut self, now: Duration, ticket: &Ticket, used: &Need) {
        for window in &mut self.windows {
            let amount = (window.measure)(used);
            let reserved = window.entries.iter_mut().find(|entry| entry.ticket == ticket.0);
            match reserved {
                Some(entry) => entry.amount = amount,
                None if amount > 0 => window.entries.push_back(Entry {
                    ticket: ticket.0,
                    at: now,
                    amount,
                }),
                None => {}
            }
        }
    }

    /// Gives a reservation back: the call was not made.
    pub fn release(&mut self, ticket: &Ticket) {
        for window in &mut self.windows {
            window.entries.retain(|entry| entry.ticket != ticket.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn requests(count: u64) -> Need {
        Need {
            requests: count,
            ..Need::default()
        }
    }

    fn two_a_minute() -> Budget {
        Budget::new(&Allowance {
            requests_per_minute: Some(2),
            ..Allowance::default()
        })
    }

    #[test]
    fn what_is_used_up_comes_back_when_its_time_is_over() {
        let mut budget = two_a_minute();
        budget.reserve(at(0), &requests(1)).unwrap();
        budget.reserve(at(10), &requests(1)).unwrap();
        let what = "requests a minute";
        assert_eq!(
            budget.reserve(at(20), &requests(1)),
            Err(Shortage::Later { what, wait: at(40) })
        );
        assert_eq!(
            budget.reserve(at(20), &requests(2)),
            Err(Shortage::Later { what, wait: at(50) })
        );
        assert!(budget.reserve(at(60), &requests(1)).is_ok());
        assert_eq!(
            budget.reserve(at(60), &requests(3)),
            Err(Shortage::Never { what })
        );
    }

    #[test]
    fn reservations_are_settled_and_released() {
        let mut budget = Budget::new(&Allowance {
            tokens_per_minute: Some(100),
            ..Allowance::default()
        });
        let tokens = |tokens| Need {
            tokens,
            ..Need::default()
        };
        let first = budget.reserve(at(0), &tokens(90)).unwrap();
        assert!(budget.reserve(at(0), &tokens(20)).is_err());
        budget.settle(at(0), &first, &tokens(10));
        let second = budget.reserve(at(0), &tokens(90)).unwrap();
        budget.release(&second);
        assert!(budget.reserve(at(0), &tokens(90)).is_ok());
        // More than was reserved counts as well.
        budget.settle(at(0), &first, &tokens(50));
        assert!(budget.reserve(at(1), &tokens(1)).is_err());
    }

    #[test]
    fn what_is_not_limited_is_not_counted() {
        let mut budget = Budget::new(&Allowance::default());
        assert!(Allowance::default().is_unlimited());
        for _ in 0..1_000 {
            budget.reserve(at(0), &requests(1_000)).unwrap();
        }
        assert!(budget.windows.is_empty());
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_limit(calls in prop::collection::vec((0u64..30, 1u64..4), 1..200)) {
            let mut budget = two_a_minute();
            let mut granted: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (pause, count) in calls {
                now += pause;
                match budget.reserve(at(now), &requests(count)) {
                    Ok(_) => granted.push((now, count)),
                    Err(Shortage::Later { wait, .. }) => {
                        // The wait that is named is enough, when nobody else comes.
                        let later = at(now) + wait;
                        prop_assert!(budget.clone().reserve(later, &requests(count)).is_ok());
                    }
                    Err(Shortage::Never { .. }) => prop_assert!(count > 2),
                }
                let recent: u64 = granted.iter().filter(|(at, _)| at + 60 > now).map(|(_, count)| count).sum();
                prop_assert!(recent <= 2);
            }
        }
    }
}
