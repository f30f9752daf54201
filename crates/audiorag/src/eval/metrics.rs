//! What is measured of one question: pure functions of what was found and what is right.

use audiorag_core::Span;
use audiorag_core::id::SourceId;

/// A stretch of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The source.
    pub source: SourceId,
    /// When.
    pub span: Span,
}

/// Whether a passage that was found shows a stretch that answers: at least half of the one lies in the other.
///
/// A long passage around a short answer counts, and so does a short passage inside a long answer; one that only
/// touches the answer does not.
pub fn covers(passage: &Place, gold: &Place) -> bool {
    if passage.source != gold.source {
        return false;
    }
    let shared = passage.span.overlap(gold.span).as_millis();
    let shorter = passage
        .span
        .duration()
        .as_millis()
        .min(gold.span.duration().as_millis());
    shared > 0 && shared * 2 >= shorter
}

/// The share of the right stretches that the first `k` passages cover. 0 when there are none.
pub fn recall_at(k: usize, ranked: &[Place], gold: &[Place]) -> f64 {
    let first = ranked.get(..k).unwrap_or(ranked);
    let found = gold
        .iter()
        .filter(|gold| first.iter().any(|passage| covers(passage, gold)))
        .count();
    share(found, gold.len())
}

/// The share of the right stretches that are covered within the first `millis` milliseconds of passages, listened to
/// in their order. Unlike [`recall_at`] it does not favour long passages.
pub fn recall_within(millis: u64, ranked: &[Place], gold: &[Place]) -> f64 {
    let mut heard = 0;
    let k = ranked
        .iter()
        .take_while(|passage| {
            heard += passage.span.duration().as_millis();
            heard <= millis
        })
        .count();
    recall_at(k, ranked, gold)
}

/// Normalized discounted cumulative gain of the first `k` passages. A passage gains one for each right stretch that
/// none before it covers; the ideal order has one right stretch a passage from the first on.
pub fn ndcg_at(k: usize, ranked: &[Place], gold: &[Place]) -> f64 {
    let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let mut missing: Vec<&Place> = gold.iter().collect();
    let mut gain = 0.0;
    for (rank, passage) in ranked.iter().take(k).enumerate() {
        let before = missing.len();
        missing.retain(|gold| !covers(passage, gold));
        gain += (before - missing.len()) as f64 * discount(rank);
    }
    let ideal: f64 = (0..gold.len().min(k)).map(discount).sum();
    // A passage that covers two stretches does better than the ideal of one each.
    if ideal > 0.0 { (gain / ideal).min(1.0) } else { 0.0 }
}

/// The first place, from 1, of a passage that covers any right stretch.
pub fn first_rank(ranked: &[Place], gold: &[Place]) -> Option<usize> {
    let place = ranked
        .iter()
        .position(|passage| gold.iter().any(|gold| covers(passage, gold)))?;
    Some(place + 1)
}

/// Length of what two spans share by the length of what they cover together, 0 to 1.
pub fn intersection_over_union(a: Span, b: Span) -> f64 {
    let shared = a.overlap(b).as_millis();
    let both = a.duration().as_millis() + b.duration().as_millis() - shared;
    share(shared as usize, both as usize)
}

/// The best citation of a right stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// [`intersection_over_union`] of the two.
    pub overlap: f64,
    /// How far the citation's start is from the right one, in seconds.
    pub start_error: f64,
}

/// The citation that overlaps `gold` best; the earliest of equals. `None` when none does.
pub fn best_citation(cited: &[Place], gold: &Place) -> Option<Best> {
    cited
        .iter()
        .filter(|place| place.source == gold.source)
        .map(|place| Best {
            overlap: intersection_over_union(place.span, gold.span),
            start_error: place
                .span
                .start()
                .as_millis()
                .abs_diff(gold.span.start().as_millis()) as f64
                / 1000.0,
        })
        .filter(|best| best.overlap > 0.0)
        .reduce(|best, next| if next.overlap > best.overlap { next } else { best })
}

/// `part` by `whole`; 0 of nothing.
pub fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(source: &str, start: u64, end: u64) -> Place {
        Place {
            source: SourceId::from_stored(source),
            span: Span::from_millis(start, end),
        }
    }

    #[test]
    fn half_of_the_shorter_is_enough() {
        let gold = at("s", 1000, 2000);
        assert!(covers(&at("s", 0, 30_000), &gold));
        assert!(covers(&at("s", 1500, 9000), &gold));
        assert!(!covers(&at("s", 1501, 9000), &gold));
        assert!(!covers(&at("t", 0, 30_000), &gold));
        assert!(covers(&at("s", 1100, 1200), &gold));
        assert!(!covers(&at("s", 2000, 3000), &gold));
    }

    #[test]
    fn ranks_and_gains_of_a_worked_example() {
        let gold = [at("s", 0, 10), at("s", 100, 110)];
        let ranked = [at("t", 0, 10), at("s", 0, 10), at("s", 0, 12), at("s", 95, 115)];
        assert!((recall_at(1, &ranked, &gold)).abs() < 1e-12);
        assert!((recall_at(2, &ranked, &gold) - 0.5).abs() < 1e-12);
        assert!((recall_at(10, &ranked, &gold) - 1.0).abs() < 1e-12);
        assert_eq!(first_rank(&ranked, &gold), Some(2));
        // Gains of one at ranks 2 and 4; the third passage shows nothing new.
        let expected = (1.0 / 3f64.log2() + 1.0 / 5f64.log2()) / (1.0 + 1.0 / 3f64.log2());
        assert!((ndcg_at(10, &ranked, &gold) - expected).abs() < 1e-12);
        // 10 ms of "t", 10 ms and 12 ms of "s": the fourth would be heard to its end after 52 ms.
        assert!((recall_within(51, &ranked, &gold) - 0.5).abs() < 1e-12);
        assert!((recall_within(52, &ranked, &gold) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_best_citation_counts() {
        let gold = at("s", 1000, 3000);
        let cited = [at("s", 0, 30_000), at("s", 1500, 3000), at("t", 1000, 3000)];
        let best = best_citation(&cited, &gold).unwrap();
        assert!((best.overlap - 0.75).abs() < 1e-12 && (best.start_error - 0.5).abs() < 1e-12);
        assert_eq!(best_citation(&[at("s", 3000, 4000)], &gold), None);
    }

    fn places() -> impl Strategy<Value = Vec<Place>> {
        let place = (0u8..3, 0u64..5000, 1u64..2000)
            .prop_map(|(source, start, length)| at(&source.to_string(), start, start + length));
        prop::collection::vec(place, 0..12)
    }

    proptest! {
        #[test]
        fn everything_stays_between_nothing_and_all(ranked in places(), gold in places(), k in 1usize..12) {
            for value in [recall_at(k, &ranked, &gold), ndcg_at(k, &ranked, &gold), recall_within(3000, &ranked, &gold)] {
                prop_assert!((0.0..=1.0).contains(&value), "{value}");
            }
            prop_assert!(recall_at(k, &ranked, &gold) <= recall_at(k + 1, &ranked, &gold));
            prop_assert_eq!(first_rank(&ranked, &gold).is_some(), recall_at(ranked.len(), &ranked, &gold) > 0.0);
        }

        #[test]
        fn the_right_stretches_themselves_are_a_perfect_answer(gold in places()) {
            prop_assume!(!gold.is_empty());
            prop_assert!((recall_at(gold.len(), &gold, &gold) - 1.0).abs() < 1e-12);
            prop_assert_eq!(first_rank(&gold, &gold), Some(1));
            for place in &gold {
                let best = best_citation(&gold, place).unwrap();
                prop_assert!((best.overlap - 1.0).abs() < 1e-12);
            }
        }

        #[test]
        fn a_right_passage_is_worth_more_the_earlier_it_comes(count in 2usize..10, place in 1usize..10) {
            prop_assume!(place < count);
            let gold = [at("right", 0, 1000)];
            let mut ranked = vec![at("wrong", 0, 1000); count];
            ranked[place] = gold[0].clone();
            let mut better = ranked.clone();
            better.swap(place - 1, place);
            prop_assert!(ndcg_at(10, &better, &gold) > ndcg_at(10, &ranked, &gold));
            prop_assert!(first_rank(&better, &gold) < first_rank(&ranked, &gold));
        }

        #[test]
        fn overlap_is_symmetric_and_whole_only_for_equals(a in (0u64..5000, 1u64..2000), b in (0u64..5000, 1u64..2000)) {
            let (a, b) = (Span::from_millis(a.0, a.0 + a.1), Span::from_millis(b.0, b.0 + b.1));
            let value = intersection_over_union(a, b);
            prop_assert!((value - intersection_over_union(b, a)).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&value));
            prop_assert_eq!((value - 1.0).abs() < 1e-12, a == b);
        }
    }
}
