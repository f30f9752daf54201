//! Amounts of money, exact to a billionth of a US dollar.

use std::fmt;
use std::iter::Sum;

/// Nanodollars to the dollar.
const NANOS: f64 = 1e9;

/// A sum of US dollars, kept in billionths: a second of transcription costs some 75,000 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a dollar.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// So many dollars. `None` for less than nothing, for what is no number, and for more than there is.
    pub fn from_usd(usd: f64) -> Option<Self> {
        let nanos = (usd * NANOS).round();
        (nanos >= 0.0 && nanos < i64::MAX as f64).then_some(Self(nanos as u64))
    }

    /// Billionths of a dollar.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Dollars.
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / NANOS
    }

    /// The sum, or the largest amount there is.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// As in `$12.35`, `$0.0045` and `<$0.000001`: cents, and for small amounts as many digits as say something.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usd = self.as_usd();
        let text = match self.0 {
            0 => "$0".to_owned(),
            1..1_000 => "<$0.000001".to_owned(),
            1_000..10_000_000 => format!("${usd:.6}").trim_end_matches('0').to_owned(),
            10_000_000..1_000_000_000 => format!("${usd:.4}").trim_end_matches("00").to_owned(),
            _ => format!("${usd:.2}"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_far_as_they_say_something() {
        for (usd, text) in [
            (0.0, "$0"),
            (1e-8, "<$0.000001"),
            (0.000_075, "$0.000075"),
            (0.0045, "$0.0045"),
            (0.25, "$0.25"),
            (0.1234, "$0.1234"),
            (12.345_6, "$12.35"),
            (1200.0, "$1200.00"),
        ] {
            assert_eq!(Money::from_usd(usd).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for usd in [-0.01, f64::NAN, f64::INFINITY, 1e12] {
            assert_eq!(Money::from_usd(usd), None, "{usd}");
        }
        let most = Money::from_nanos(u64::MAX);
        assert_eq!([most, most].into_iter().sum::<Money>(), most);
        assert_eq!(Money::ZERO.saturating_sub(most), Money::ZERO);
        assert_eq!(Money::from_usd(1.5).unwrap().as_nanos(), 1_500_000_000);
    }
}
