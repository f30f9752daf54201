//! Limits and money, read from the settings.

use super::key::Key;
use super::kind::{self, Kind};
use super::reader::Reader;
use super::resolve::Origin;
use super::{BudgetPolicy, BudgetSettings, PriceSettings};
use audiorag_core::Money;
use audiorag_core::budget::{Allowance, Limits};
use std::collections::BTreeMap;
use std::fmt::Write as _;

impl Reader<'_> {
    /// What calls to vendors may use up.
    pub(super) fn budget(&mut self) -> BudgetSettings {
        BudgetSettings {
            limits: Limits {
                overall: Allowance {
                    requests_per_minute: self.optional_integer(Key::BudgetRequestsPerMinute),
                    tokens_per_minute: self.optional_integer(Key::BudgetTokensPerMinute),
                    audio_seconds_per_hour: self.optional_integer(Key::BudgetAudioSecondsPerHour),
                    money_per_day: self.optional_money(Key::BudgetUsdPerDay),
                },
                providers: self.limits_of_providers(Key::BudgetProviders),
                query_share: self.integer(Key::BudgetQueryShare, 20).min(100) as u8,
            },
            policy: self.word(Key::BudgetPolicy, BudgetPolicy::parse, BudgetPolicy::Wait),
            max_wait: self.duration(Key::BudgetMaxWaitSeconds),
            per_run: self.optional_money(Key::BudgetUsdPerRun),
        }
    }

    /// What they cost.
    pub(super) fn prices(&mut self) -> PriceSettings {
        PriceSettings {
            file: self.file(Key::PricesFile),
        }
    }

    fn optional_money(&mut self, key: Key) -> Option<Money> {
        if !self.values.contains_key(&key) {
            self.record(key, None, Origin::Default);
            return None;
        }
        Money::from_usd(self.number(key, 0.0))
    }

    fn limits_of_providers(&mut self, key: Key) -> BTreeMap<String, Allowance> {
        if !self.values.contains_key(&key) {
            self.record(key, None, Origin::Default);
            return BTreeMap::new();
        }
        self.parsed(key, read, write, BTreeMap::new())
    }
}

/// Reads `openai: requests_per_minute=60, usd_per_day=5; groq: tokens_per_minute=6000`. Names are not checked against
/// the known ones: a provider of the caller's own can be limited, too.
fn read(text: &str) -> Option<BTreeMap<String, Allowance>> {
    let mut limits = BTreeMap::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, list) = entry.split_once(':')?;
        let name = name.trim().to_ascii_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        let mut allowance = Allowance::default();
        for limit in list.split(',') {
            let (measure, value) = limit.split_once('=')?;
            let number = || kind::integer(value.trim(), 1, u64::MAX);
            match measure.trim() {
                "requests_per_minute" => allowance.requests_per_minute = Some(number()?),
                "tokens_per_minute" => allowance.tokens_per_minute = Some(number()?),
                "audio_seconds_per_hour" => allowance.audio_seconds_per_hour = Some(number()?),
                "usd_per_day" => {
                    let usd = kind::number(value.trim(), 0.0, 1e9)?;
                    allowance.money_per_day = Some(Money::from_usd(usd)?);
                }
                _ => return None,
            }
        }
        if limits.insert(name, allowance).is_some() {
            return None;
        }
    }
    (!limits.is_empty()).then_some(limits)
}

/// The same as it is read.
fn write(limits: &BTreeMap<String, Allowance>) -> String {
    let mut text = String::new();
    for (name, allowance) in limits {
        let usd = allowance.money_per_day.map(Money::as_usd);
        let numbers = [
            ("requests_per_minute", allowance.requests_per_minute),
            ("tokens_per_minute", allowance.tokens_per_minute),
            ("audio_seconds_per_hour", allowance.audio_seconds_per_hour),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(measure, value)| Some(format!("{measure}={}", value?)));
        let all: Vec<String> = numbers
            .chain(usd.map(|usd| format!("usd_per_day={usd}")))
            .collect();
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{name}: {}", all.join(", "));
    }
    text
}

impl Kind {
    /// The form of `budget.providers` in words.
    pub(super) const LIMITS_FORM: &'static str = "limits of providers, as in 'openai: requests_per_minute=60, usd_per_day=5; groq: \
         tokens_per_minute=6000'; audio_seconds_per_hour is known as well";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_providers_are_read_as_they_are_written() {
        let text = "groq: tokens_per_minute=6000; openai: requests_per_minute=60, audio_seconds_per_hour=7200, \
                    usd_per_day=0.5";
        let limits = read(&format!(" {text} ;")).unwrap();
        assert_eq!(limits["openai"].money_per_day, Money::from_usd(0.5));
        assert_eq!(limits["openai"].audio_seconds_per_hour, Some(7200));
        assert_eq!(limits["groq"].tokens_per_minute, Some(6000));
        assert_eq!(write(&limits), text);
        for wrong in [
            "",
            ";",
            "openai",
            "openai:",
            "openai: usd_per_day",
            "openai: usd_per_day=much",
            "openai: usd_per_day=-1",
            "openai: requests_per_minute=0",
            "openai: speed=1",
            "two words: usd_per_day=1",
            "a: usd_per_day=1; A: usd_per_day=2",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
