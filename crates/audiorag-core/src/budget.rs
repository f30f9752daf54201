//! What calls may use up, as arithmetic: no clock, no waiting and no storage.
//!
//! A call reserves what it is expected to need, and settles with what it used. Reservations count from the moment
//! they are made, so that calls side by side cannot all take the last of it. Who keeps the amounts, and for how
//! long, is not decided here: the state keeps them in its journal of calls.

use crate::Money;
use crate::capability::Usage;
use std::collections::BTreeMap;
use std::time::Duration;

/// How much may be used in a while. `None` means as much as anybody likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in any minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens read and written in any minute.
    pub tokens_per_minute: Option<u64>,
    /// Seconds of audio sent to speech-to-text in any hour.
    pub audio_seconds_per_hour: Option<u64>,
    /// Money spent in any 24 hours.
    pub money_per_day: Option<Money>,
}

impl Allowance {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// The limits of an installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// For all providers together.
    pub overall: Allowance,
    /// For single providers, by vendor id, on top of that.
    pub providers: BTreeMap<String, Allowance>,
    /// Hundredths of every limit that indexing leaves to queries.
    pub query_share: u8,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        self.overall.is_unlimited() && self.providers.values().all(Allowance::is_unlimited)
    }

    /// The limits that a call to `provider` is under: `None` stands for all providers.
    pub fn scopes<'a>(&'a self, provider: &'a str) -> impl Iterator<Item = (Option<&'a str>, &'a Allowance)> {
        let own = self
            .providers
            .get(provider)
            .map(|allowance| (Some(provider), allowance));
        std::iter::once((None, &self.overall)).chain(own)
    }
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Making recordings searchable: it can wait.
    Index,
    /// Answering somebody who is waiting.
    Query,
}

impl Purpose {
    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Query => "query",
        }
    }
}

/// What a call needs, or has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Requests, tokens and audio.
    pub usage: Usage,
    /// Their price; absent where none is known.
    pub cost: Option<Money>,
}

/// Something that is limited over a sliding stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Requests in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Audio in an hour, in milliseconds, so that many short parts are not rounded away.
    Audio,
    /// Money in a day, in billionths of a dollar.
    Money,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Requests, Self::Tokens, Self::Audio, Self::Money];

    /// In words, to follow "the budget of".
    pub const fn what(self) -> &'static str {
        match self {
            Self::Requests => "requests a minute",
            Self::Tokens => "tokens a minute",
            Self::Audio => "seconds of audio an hour",
            Self::Money => "money a day",
        }
    }

    /// How long something counts.
    pub const fn window(self) -> Duration {
        match self {
            Self::Requests | Self::Tokens => Duration::from_mins(1),
            Self::Audio => Duration::from_hours(1),
            Self::Money => Duration::from_hours(24),
        }
    }

    /// What an allowance says of it, in the unit of [`amount`](Self::amount).
    pub fn limit(self, allowance: &Allowance) -> Option<u64> {
        match self {
            Self::Requests => allowance.requests_per_minute,
            Self::Tokens => allowance.tokens_per_minute,
            Self::Audio => allowance
                .audio_seconds_per_hour
                .map(|seconds| seconds.saturating_mul(1000)),
            Self::Money => allowance.money_per_day.map(Money::as_nanos),
        }
    }

    /// How much of it a call takes. What has no known price takes no money.
    pub fn amount(self, amounts: &Amounts) -> u64 {
        let usage = &amounts.usage;
        match self {
            Self::Requests => u64::from(usage.requests),
            Self::Tokens => usage.input_tokens.saturating_add(usage.output_tokens),
            Self::Audio => usage.audio.as_millis(),
            Self::Money => amounts.cost.unwrap_or_default().as_nanos(),
        }
    }

    /// How much of `limit` a call of `amount` may find in use together with itself. Indexing leaves queries their
    /// share, but is never shut out by it: a single call that needs more than the rest gets through alone.
    /// Speech-to-text is not what queries wait for, so it may take all of its own.
    pub fn room(self, limit: u64, purpose: Purpose, query_share: u8, amount: u64) -> u64 {
        if purpose == Purpose::Query || self == Self::Audio {
            return limit;
        }
        // By whole hundredths first: a limit may be too large to be multiplied.
        let share = u64::from(query_share.min(100));
        let kept = limit / 100 * share + limit % 100 * share / 100;
        limit.saturating_sub(kept).max(amount.min(limit)).max(1)
    }

    /// Why a call of `amount` does not fit into `room`, if it does not. `used` are the ages and amounts that count,
    /// oldest first. Ages of the future, which a clock that was set back leaves behind, are given as zero.
    pub fn shortage(
        self,
        room: u64,
        amount: u64,
        used: impl IntoIterator<Item = (Duration, u64)>,
    ) -> Option<Shortage> {
        let what = self.what();
        if amount > room {
            return Some(Shortage::Never { what });
        }
        let used: Vec<(Duration, u64)> = used.into_iter().collect();
        let total = used
            .iter()
            .fold(0_u64, |sum, (_, used)| sum.saturating_add(*used));
        let mut excess = total.saturating_add(amount).saturating_sub(room);
        if excess == 0 {
            return None;
        }
        for (age, amount) in used {
            excess = excess.saturating_sub(amount);
            if excess == 0 {
                let wait = self.window().saturating_sub(age);
                return Some(Shortage::Later { what, wait });
            }
        }
        None
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

impl Shortage {
    /// The one that takes longer.
    #[must_use]
    pub fn or_longer(self, other: Self) -> Self {
        match (self, other) {
            (Self::Later { wait, .. }, Self::Later { wait: longer, .. }) if longer > wait => other,
            (Self::Later { .. }, Self::Never { .. }) => other,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaTime;
    use proptest::prelude::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_used_up_comes_back_when_its_time_is_over() {
        let what = "requests a minute";
        let used = [(secs(20), 1), (secs(10), 1)];
        let two = |amount| Measure::Requests.shortage(2, amount, used);
        assert_eq!(two(1), Some(Shortage::Later { what, wait: secs(40) }));
        assert_eq!(two(2), Some(Shortage::Later { what, wait: secs(50) }));
        assert_eq!(two(3), Some(Shortage::Never { what }));
        assert_eq!(Measure::Requests.shortage(3, 1, used), None);
    }

    #[test]
    fn every_measure_reads_its_own_limit_and_amount() {
        let allowance = Allowance {
            requests_per_minute: Some(1),
            tokens_per_minute: Some(2),
            audio_seconds_per_hour: Some(3),
            money_per_day: Some(Money::from_nanos(4)),
        };
        let amounts = Amounts {
            usage: Usage {
                requests: 10,
                input_tokens: 20,
                output_tokens: 5,
                audio: MediaTime::from_millis(30),
                ..Usage::default()
            },
            cost: Some(Money::from_nanos(40)),
        };
        let read = |measure: Measure| (measure.limit(&allowance), measure.amount(&amounts));
        assert_eq!(
            Measure::ALL.map(read),
            [(Some(1), 10), (Some(2), 25), (Some(3000), 30), (Some(4), 40)]
        );
        assert!(Allowance::default().is_unlimited() && !allowance.is_unlimited());
    }

    #[test]
    fn queries_keep_their_share_and_indexing_is_never_shut_out() {
        let room = |limit, purpose, amount| Measure::Tokens.room(limit, purpose, 20, amount);
        assert_eq!(room(100, Purpose::Index, 10), 80);
        assert_eq!(room(100, Purpose::Query, 10), 100);
        assert_eq!(room(100, Purpose::Index, 95), 95);
        assert_eq!(room(100, Purpose::Index, 500), 100);
        assert_eq!(room(1, Purpose::Index, 1), 1);
        assert_eq!(
            room(u64::MAX, Purpose::Index, 1),
            u64::MAX - (u64::MAX / 100 * 20 + 3)
        );
        assert_eq!(Measure::Audio.room(100, Purpose::Index, 20, 1), 100);
    }

    #[test]
    fn a_provider_is_under_its_own_limits_and_those_of_all() {
        let mut limits = Limits::default();
        assert!(limits.is_unlimited());
        limits.providers.insert(
            "openai".into(),
            Allowance {
                requests_per_minute: Some(5),
                ..Allowance::default()
            },
        );
        assert!(!limits.is_unlimited());
        assert_eq!(limits.scopes("openai").count(), 2);
        assert_eq!(limits.scopes("groq").count(), 1);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_limit(calls in prop::collection::vec((0u64..30, 1u64..4), 1..200)) {
            let mut granted: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            let shortage = |granted: &[(u64, u64)], now: u64, count| {
                let used = granted
                    .iter()
                    .filter(|(at, _)| at + 60 > now)
                    .map(|(at, count)| (secs(now - at), *count));
                Measure::Requests.shortage(2, count, used.collect::<Vec<_>>())
            };
            for (pause, count) in calls {
                now += pause;
                match shortage(&granted, now, count) {
                    None => granted.push((now, count)),
                    Some(Shortage::Later { wait, .. }) => {
                        // The wait that is named is enough, when nobody else comes.
                        prop_assert_eq!(shortage(&granted, now + wait.as_secs(), count), None);
                    }
                    Some(Shortage::Never { .. }) => prop_assert!(count > 2),
                }
                let recent: u64 = granted.iter().filter(|(at, _)| at + 60 > now).map(|(_, count)| count).sum();
                prop_assert!(recent <= 2);
            }
        }
    }
}
