//! Instants and spans inside a recording, in whole milliseconds.
//!
//! The splitter cuts at whole milliseconds (16 samples at 16 kHz), so an instant is exact, adds without
//! rounding and prints the same in every output.

use std::fmt;

/// An instant or a length inside a recording, in milliseconds from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaTime(u64);

impl MediaTime {
    /// The start of the recording.
    pub const ZERO: Self = Self(0);

    /// `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// `seconds` seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The nearest millisecond to `seconds`; `None` for negative, infinite or undefined values.
    pub fn from_seconds_f64(seconds: f64) -> Option<Self> {
        (0.0..1e12)
            .contains(&seconds)
            .then(|| Self((seconds * 1000.0).round() as u64))
    }

    /// The millisecond in which sample number `samples` at `rate` Hz lies.
    pub fn from_samples(samples: u64, rate: u32) -> Self {
        Self((u128::from(samples) * 1000 / u128::from(rate.max(1))) as u64)
    }

    /// The first sample at `rate` Hz that is not before this instant.
    pub fn to_samples(self, rate: u32) -> u64 {
        (u128::from(self.0) * u128::from(rate)).div_ceil(1000) as u64
    }

    /// Milliseconds from the start.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Seconds from the start.
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The sum, clamped at the largest value.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero when `other` is later.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `m:ss` below an hour, `h:mm:ss` from there on; milliseconds are cut off.
    pub fn to_clock(self) -> String {
        let seconds = self.0 / 1000;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            format!("{hours}:{minutes:02}:{seconds:02}")
        } else {
            format!("{minutes:02}:{seconds:02}")
        }
    }

    /// Reads what people type: seconds (`90`, `90.5`), `m:ss` or `h:mm:ss`, with decimals if they like.
    pub fn parse_clock(text: &str) -> Option<Self> {
        let mut parts = text.trim().rsplit(':');
        let seconds = parts.next()?;
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, decimals) = seconds.split_once('.').unwrap_or((seconds, "0"));
        if !plain(whole) || !plain(decimals) {
            return None;
        }
        let mut total = Self::from_seconds_f64(seconds.parse().ok()?)?;
        let mut unit = 60;
        for (place, part) in parts.enumerate() {
            if place > 1 || !plain(part) || (total.0 >= unit * 1000) {
                return None;
            }
            total = total.saturating_add(Self::from_seconds(part.parse::<u64>().ok()?.checked_mul(unit)?));
            unit *= 60;
        }
        Some(total)
    }

    /// `hh:mm:ss` followed by `separator` and three digits, as SRT (`,`) and WebVTT (`.`) write it.
    pub fn to_subtitle(self, separator: char) -> String {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        format!(
            "{:02}:{:02}:{:02}{separator}{millis:03}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }

    /// Seconds with up to three decimals and no trailing zeros, as a media fragment (`#t=`) writes them.
    pub fn to_decimal_seconds(self) -> String {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        if millis == 0 {
            return seconds.to_string();
        }
        format!("{seconds}.{millis:03}").trim_end_matches('0').to_owned()
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_clock())
    }
}

/// A half-open range `[start, end)` of a recording. `start <= end` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    start: MediaTime,
    end: MediaTime,
}

impl Span {
    /// The span from `start` to `end`, or `None` when `end` is earlier.
    pub fn new(start: MediaTime, end: MediaTime) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// The span between two instants, whichever comes first.
    pub fn between(a: MediaTime, b: MediaTime) -> Self {
        Self {
            start: a.min(b),
            end: a.max(b),
        }
    }

    /// The span between two millisecond counts, whichever comes first.
    pub fn from_millis(a: u64, b: u64) -> Self {
        Self::between(MediaTime::from_millis(a), MediaTime::from_millis(b))
    }

    /// The first instant.
    pub const fn start(self) -> MediaTime {
        self.start
    }

    /// The instant after the last.
    pub const fn end(self) -> MediaTime {
        self.end
    }

    /// The instant half way between its bounds.
    pub const fn middle(self) -> MediaTime {
        MediaTime(u64::midpoint(self.start.0, self.end.0))
    }

    /// The length.
    pub const fn duration(self) -> MediaTime {
        self.end.saturating_sub(self.start)
    }

    /// Whether the span has no length.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `other` lies inside this span.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The length shared with `other`.
    pub fn overlap(self, other: Self) -> MediaTime {
        self.end
            .min(other.end)
            .saturating_sub(self.start.max(other.start))
    }

    /// The smallest span that holds both.
    pub fn union(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The span moved later by `offset`.
    pub fn shift(self, offset: MediaTime) -> Self {
        Self {
            start: self.start.saturating_add(offset),
            end: self.end.saturating_add(offset),
        }
    }

    /// The nearest span that lies inside `bounds`.
    pub fn clamp_to(self, bounds: Self) -> Self {
        Self {
            start: self.start.clamp(bounds.start, bounds.end),
            end: self.end.clamp(bounds.start, bounds.end),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_every_notation() {
        let time = MediaTime::from_millis(3_723_450);
        assert_eq!(time.to_clock(), "1:02:03");
        assert_eq!(time.to_subtitle(','), "01:02:03,450");
        assert_eq!(time.to_decimal_seconds(), "3723.45");
        assert_eq!(MediaTime::from_millis(12_000).to_decimal_seconds(), "12");
        assert_eq!(Span::from_millis(754_000, 771_900).to_string(), "12:34-12:51");
    }

    #[test]
    fn refuses_times_that_are_not_times() {
        for bad in [f64::NAN, f64::INFINITY, -0.001, 1e300] {
            assert_eq!(MediaTime::from_seconds_f64(bad), None);
        }
        assert_eq!(
            MediaTime::from_seconds_f64(1.0006),
            Some(MediaTime::from_millis(1001))
        );
        assert_eq!(
            Span::new(MediaTime::from_millis(2), MediaTime::from_millis(1)),
            None
        );
    }

    #[test]
    fn times_are_read_as_people_type_them() {
        for (text, millis) in [
            ("0", 0),
            ("90", 90_000),
            ("90.5", 90_500),
            ("1:30", 90_000),
            ("01:30.250", 90_250),
            ("1:02:03", 3_723_000),
            (" 2:00 ", 120_000),
        ] {
            assert_eq!(
                MediaTime::parse_clock(text),
                Some(MediaTime::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "", ":", "1:", ":30", "1:60", "1:60:00", "1:2:3:4", "-1", "1e3", "1.", "inf", "a", "1:-1",
        ] {
            assert_eq!(MediaTime::parse_clock(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_milliseconds_survive_samples(millis in 0u64..100_000_000, rate in prop::sample::select(vec![8_000u32, 16_000, 44_100, 48_000, 192_000])) {
            let time = MediaTime::from_millis(millis);
            prop_assert_eq!(MediaTime::from_samples(time.to_samples(rate), rate), time);
        }

        #[test]
        fn clamping_stays_inside(a in 0u64..1000, b in 0u64..1000, c in 0u64..1000, d in 0u64..1000) {
            let bounds = Span::from_millis(c, d);
            prop_assert!(bounds.contains(Span::from_millis(a, b).clamp_to(bounds)));
        }

        #[test]
        fn overlap_is_symmetric_and_bounded(a in 0u64..1000, b in 0u64..1000, c in 0u64..1000, d in 0u64..1000) {
            let (x, y) = (Span::from_millis(a, b), Span::from_millis(c, d));
            prop_assert_eq!(x.overlap(y), y.overlap(x));
            prop_assert!(x.overlap(y) <= x.duration().min(y.duration()));
        }
    }
}
