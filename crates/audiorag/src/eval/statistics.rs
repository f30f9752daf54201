//! How sure a figure is: bootstrap over questions.
//!
//! Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), percentile intervals. The seed is fixed, so that
//! the same results give the same intervals everywhere.

/// Resamples of one interval.
const ROUNDS: usize = 1000;
const SEED: u64 = 0x5eed_a0d1_0a66;

/// A figure with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure itself.
    pub value: f64,
    /// 2.5 % of resamples are below.
    pub low: f64,
    /// 2.5 % of resamples are above.
    pub high: f64,
}

/// splitmix64: small, seeded, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// `statistic` of all items, with the interval in which it falls when items are drawn anew with replacement.
/// `None` when it is undefined for all of them; resamples for which it is undefined are left out.
pub fn bootstrap<T>(items: &[T], statistic: impl Fn(&[&T]) -> Option<f64>) -> Option<Estimate> {
    let all: Vec<&T> = items.iter().collect();
    let value = statistic(&all)?;
    let mut random = Random(SEED);
    let mut drawn: Vec<f64> = (0..ROUNDS)
        .filter_map(|_| {
            let sample: Vec<&T> = (0..all.len())
                .filter_map(|_| all.get(random.below(all.len())).copied())
                .collect();
            statistic(&sample)
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    Some(Estimate {
        value,
        low: quantile(&drawn, 0.025).unwrap_or(value),
        high: quantile(&drawn, 0.975).unwrap_or(value),
    })
}

/// The value below which a share `q` of the sorted `values` lies, interpolated. `None` of nothing.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
    Some(low + (high - low) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean(values: &[&f64]) -> Option<f64> {
        let sum: f64 = values.iter().copied().sum();
        (!values.is_empty()).then(|| sum / values.len() as f64)
    }

    #[test]
    fn quantiles_are_interpolated() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.5), Some(2.5));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_theory() {
        // 400 values of 0 and 1: the standard error of the mean is 0.025.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let estimate = bootstrap(&values, mean).unwrap();
        assert!((estimate.value - 0.5).abs() < 1e-12);
        let width = estimate.high - estimate.low;
        assert!((width - 2.0 * 1.96 * 0.025).abs() < 0.02, "{estimate:?}");
        assert_eq!(bootstrap(&values, mean), Some(estimate));
        assert_eq!(bootstrap(&[], mean), None);
    }

    proptest! {
        #[test]
        fn the_interval_lies_within_the_values(values in prop::collection::vec(-5.0f64..5.0, 1..30)) {
            let estimate = bootstrap(&values, mean).unwrap();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min) - 1e-9;
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) + 1e-9;
            prop_assert!(least <= estimate.low && estimate.low <= estimate.high && estimate.high <= most);
        }
    }
}
