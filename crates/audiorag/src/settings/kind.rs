//! What values a setting takes, and how text becomes one.

use super::vendor::Capability;
use std::time::Duration;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// Yes or no.
    Flag,
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A decimal number.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// Seconds, whole or decimal.
    Seconds {
        /// The fewest.
        min: f64,
        /// The most.
        max: f64,
    },
    /// A length of time with its unit, such as `30d`, `12h`, `90m` or `45s`.
    Age,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The name of a provider for a role.
    Provider(Capability),
    /// A file.
    File,
    /// A directory, which need not exist yet.
    Directory,
    /// A database file or `sqlite:` URL.
    Database,
    /// An `http:` or `https:` address.
    Url,
    /// Limits of single providers.
    Limits,
}

impl Kind {
    /// The values in words, to follow "expected".
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "text, never shown".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Seconds { min, max } => format!("seconds from {min} to {max}"),
            Self::Age => "a number with its unit: 45s, 90m, 12h, 30d or 4w".to_owned(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Provider(role) => format!("one of {}", role.names().join(", ")),
            Self::File => "a path to a file".to_owned(),
            Self::Directory => "a path to a directory".to_owned(),
            Self::Database => "a path to a file, or a sqlite: URL".to_owned(),
            Self::Url => "an address that starts with http:// or https://".to_owned(),
            Self::Limits => Self::LIMITS_FORM.to_owned(),
        }
    }
}

/// Reads yes or no, as people and other programs write it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Reads a whole number in a range.
pub(super) fn integer(text: &str, min: u64, max: u64) -> Option<u64> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

/// Reads a decimal number in a range.
pub(super) fn number(text: &str, min: f64, max: f64) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && (min..=max).contains(number))
}

/// Reads a length of time with its unit, up to a hundred years.
pub(super) fn age(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => DAY,
        "w" => 7 * DAY,
        _ => return None,
    };
    let number: u64 = number.trim().parse().ok()?;
    number
        .checked_mul(seconds)
        .filter(|seconds| *seconds <= 36_525 * DAY)
        .map(Duration::from_secs)
}

/// A length of time as [`age`] reads it, in the largest unit that fits.
pub(super) fn show_age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (unit, letter) = [(DAY, 'd'), (3_600, 'h'), (60, 'm')]
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit))
        .unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// Reads an address and drops its trailing slash.
pub(super) fn url(text: &str) -> Option<String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let clean = !host.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    clean.then(|| text.trim_end_matches('/').to_owned())
}

/// Hides the password of an address, which people put into settings that are not secrets.
pub(super) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        // A user name can be a token as well.
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => text.to_owned(),
    }
}

/// Declares an enumeration whose names are words in settings.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(| $other:literal)*,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The words, as they are documented.
            pub const NAMES: &'static [&'static str] = &[$($word,)+];

            /// The word for this value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value of a word in any case, older spellings included.
            pub fn parse(word: &str) -> Option<Self> {
                match word.to_ascii_lowercase().as_str() {
                    $($word $(| $other)* => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_scheme_and_a_host() {
        assert_eq!(
            url("https://hub.example/"),
            Some("https://hub.example".to_owned())
        );
        for bad in ["hub.example", "ftp://x", "https://", "http:///x", "http://a b"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }

    #[test]
    fn passwords_in_addresses_are_hidden() {
        assert_eq!(
            without_password("postgres://me:s3cret@db/x"),
            "postgres://***@db/x"
        );
        assert_eq!(without_password("https://token@host"), "https://***@host");
        assert_eq!(without_password("https://host/a@b"), "https://host/a@b");
        assert_eq!(without_password("/plain/path"), "/plain/path");
    }

    #[test]
    fn numbers_stay_in_range() {
        assert_eq!(integer("5", 1, 10), Some(5));
        assert_eq!(integer("0", 1, 10), None);
        assert_eq!(integer("1.5", 1, 10), None);
        assert_eq!(number("nan", 0.0, 1.0), None);
        assert_eq!(number("0.25", 0.0, 1.0), Some(0.25));
        assert_eq!(flag("ON"), Some(true));
        assert_eq!(flag("maybe"), None);
    }

    #[test]
    fn ages_have_a_unit() {
        let seconds = |text| age(text).map(|age| age.as_secs());
        assert_eq!(seconds("45s"), Some(45));
        assert_eq!(seconds("90m"), Some(5_400));
        assert_eq!(seconds("12h"), Some(43_200));
        assert_eq!(seconds("30d"), Some(2_592_000));
        assert_eq!(seconds("4 w"), Some(2_419_200));
        assert_eq!(seconds("0d"), Some(0));
        for text in ["45s", "90m", "12h", "30d", "0d"] {
            assert_eq!(age(text).map(show_age).as_deref(), Some(text));
        }
        for bad in [
            "",
            "d",
            "30",
            "-1d",
            "1.5h",
            "30é",
            "99999999999999999999d",
            "40000d",
        ] {
            assert_eq!(age(bad), None, "{bad}");
        }
    }
}
