//! What calls cost: the dated prices of the vendors' table, and those of a file that goes before them.

use crate::settings::Settings;
use audiorag_core::capability::{ProviderInfo, Usage};
use audiorag_core::{Error, Money, Result};
use audiorag_providers::vendors::{self, Unit};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Tokens that prices are for.
const MILLION: f64 = 1e6;

/// What a model costs. A part that is absent is unknown, not free: 0 is free.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// US dollars for a minute of audio.
    pub audio_minute: Option<f64>,
    /// US dollars for a million tokens read.
    pub million_tokens: Option<f64>,
    /// US dollars for a million tokens written.
    pub million_tokens_written: Option<f64>,
    /// US dollars for a request, on top.
    pub request: Option<f64>,
    /// The day the price was looked up, `YYYY-MM-DD`.
    pub checked: Option<String>,
    /// Where.
    pub source: Option<String>,
}

impl Price {
    /// What `usage` costs; `None` where a price that it needs is unknown.
    fn of(&self, usage: &Usage) -> Option<Money> {
        let audio = usage.audio.as_seconds_f64() / 60.0;
        // Speech-to-text that is paid by the minute may tell tokens as well: they are not paid for twice.
        let by_minute = audio > 0.0 && self.audio_minute.is_some();
        let tokens = |count: u64, price: Option<f64>| match (count, price) {
            (0, _) => Some(0.0),
            (count, Some(price)) => Some(count as f64 / MILLION * price),
            (_, None) => by_minute.then_some(0.0),
        };
        let read = tokens(usage.input_tokens, self.million_tokens)?;
        let written = tokens(usage.output_tokens, self.million_tokens_written)?;
        let heard = match self.audio_minute {
            Some(price) => audio * price,
            // Paid by the token.
            None if usage.input_tokens > 0 => 0.0,
            None if audio > 0.0 => return None,
            None => 0.0,
        };
        let asked = f64::from(usage.requests) * self.request.unwrap_or_default();
        Money::from_usd(read + written + heard + asked)
    }

    /// Whether a part is less than nothing or no number.
    fn is_nonsense(&self) -> bool {
        [
            self.audio_minute,
            self.million_tokens,
            self.million_tokens_written,
            self.request,
        ]
        .into_iter()
        .flatten()
        .any(|usd| Money::from_usd(usd).is_none())
    }
}

/// The prices of an installation, by `vendor/model`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices(BTreeMap<String, Price>);

/// The file that goes before the vendors' table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    #[serde(default)]
    price: BTreeMap<String, Price>,
}

impl Prices {
    /// The vendors' table with the file of `prices.file` over it.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config) when the file is missing or cannot be understood.
    pub fn load(settings: &Settings) -> Result<Self> {
        let mut prices = Self::built_in();
        if let Some(file) = &settings.prices.file {
            prices.0.extend(read(file)?);
        }
        Ok(prices)
    }

    /// The vendors' table alone.
    pub fn built_in() -> Self {
        let mut prices = BTreeMap::new();
        for vendor in vendors::VENDORS {
            for capability in vendors::Capability::ALL {
                let Some((models, _)) = vendor.models(capability) else {
                    continue;
                };
                for model in models {
                    let Some(listed) = model.price else { continue };
                    let mut price = Price {
                        million_tokens_written: model.writing,
                        checked: Some(listed.checked.to_owned()),
                        source: Some(listed.source.to_owned()),
                        ..Price::default()
                    };
                    match listed.unit {
                        Unit::AudioMinute => price.audio_minute = Some(listed.usd),
                        Unit::MillionTokens => price.million_tokens = Some(listed.usd),
                    }
                    prices.insert(format!("{}/{}", vendor.id, model.id), price);
                }
            }
        }
        Self(prices)
    }

    /// All of them, by `vendor/model`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Price)> {
        self.0.iter().map(|(name, price)| (name.as_str(), price))
    }

    /// What `usage` of a model costs. Models of this process cost nothing; `None` where the price is unknown.
    pub fn cost(&self, info: &ProviderInfo, usage: &Usage) -> Option<Money> {
        if info.vendor == "local" {
            return Some(Money::ZERO);
        }
        self.0.get(&format!("{}/{}", info.vendor, info.model))?.of(usage)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Price>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::config(format!("the price file {} cannot be read", path.display()))
            .with_cause(error)
            .with_hint("correct AUDIORAG_PRICES_FILE (prices.file), or unset it")
    })?;
    let file: PriceFile = toml::from_str(&text).map_err(|error| {
        Error::config(format!(
            "the price file {} cannot be understood: {}",
            path.display(),
            error.message()
        ))
        .with_hint(EXAMPLE)
    })?;
    match file
        .price
        .iter()
        .find(|(name, price)| !name.contains('/') || price.is_nonsense())
    {
        Some((name, _)) => Err(Error::config(format!(
            "the price file {} has a wrong entry '{name}'",
            path.display()
        ))
        .with_hint(EXAMPLE)),
        None => Ok(file.price),
    }
}

/// What an entry looks like.
const EXAMPLE: &str = "an entry is [price.\"openai/gpt-transcribe\"] with some of audio_minute, million_tokens, \
                       million_tokens_written and request in US dollars, checked and source";

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::{ErrorKind, MediaTime};

    fn usage(seconds: u64, read: u64, written: u64) -> Usage {
        Usage {
            requests: 1,
            audio: MediaTime::from_seconds(seconds),
            input_tokens: read,
            output_tokens: written,
            ..Usage::default()
        }
    }

    fn usd(price: &Price, usage: &Usage) -> Option<f64> {
        price.of(usage).map(Money::as_usd)
    }

    #[test]
    fn what_a_call_costs_is_the_sum_of_its_parts_or_unknown() {
        let by_minute = Price {
            audio_minute: Some(0.006),
            ..Price::default()
        };
        assert_eq!(usd(&by_minute, &usage(600, 0, 0)), Some(0.06));
        assert_eq!(usd(&by_minute, &usage(600, 9, 9)), Some(0.06));
        assert_eq!(usd(&by_minute, &usage(0, 9, 0)), None);
        let by_token = Price {
            million_tokens: Some(2.0),
            million_tokens_written: Some(10.0),
            request: Some(0.5),
            ..Price::default()
        };
        assert_eq!(usd(&by_token, &usage(0, 500_000, 100_000)), Some(2.5));
        let read_only = Price {
            million_tokens: Some(2.0),
            ..Price::default()
        };
        assert_eq!(usd(&read_only, &usage(0, 500_000, 0)), Some(1.0));
        assert_eq!(
            usd(&read_only, &usage(0, 500_000, 1)),
            None,
            "writing has no known price"
        );
        assert_eq!(
            usd(&read_only, &usage(60, 0, 0)),
            None,
            "hearing has no known price"
        );
    }

    #[test]
    fn the_vendors_table_is_dated_and_a_file_goes_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prices.toml");
        std::fs::write(
            &path,
            "[price.\"openai/gpt-transcribe\"]\naudio_minute = 0.1\nchecked = \"2026-11-01\"\n\
             [price.\"mine/own\"]\nrequest = 0\n",
        )
        .unwrap();
        let prices = read(&path).unwrap();
        assert_eq!(prices["openai/gpt-transcribe"].audio_minute, Some(0.1));
        for (name, price) in Prices::built_in().iter() {
            assert!(price.checked.is_some() && price.source.is_some(), "{name}");
            assert!(!price.is_nonsense(), "{name}");
        }
        let free = ProviderInfo {
            vendor: "local".into(),
            model: "any".into(),
            version: 1,
        };
        assert_eq!(Prices::default().cost(&free, &usage(60, 5, 5)), Some(Money::ZERO));
    }

    #[test]
    fn a_wrong_price_file_is_named_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prices.toml");
        let fails = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = read(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains("prices.toml") && error.hint().is_some());
            error.message().to_owned()
        };
        assert!(fails(None).contains("cannot be read"));
        assert!(fails(Some("[price")).contains("cannot be understood"));
        assert!(fails(Some("[price.\"a/b\"]\nminute = 1")).contains("unknown field `minute`"));
        assert!(fails(Some("[price.\"a/b\"]\nrequest = -1")).contains("wrong entry 'a/b'"));
        assert!(fails(Some("[price.lonely]\nrequest = 1")).contains("wrong entry 'lonely'"));
    }
}
