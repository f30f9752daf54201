//! Reciprocal rank fusion.

use std::collections::HashMap;
use std::hash::Hash;

/// The constant of Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
/// Rank Learning Methods" (SIGIR 2009).
pub const RRF_K: f32 = 60.0;

/// Fuses rankings, each best first, into one: an item scores `weight / (k + rank)` in every ranking it is in.
///
/// Ties keep the order in which items first appear. An item that one ranking names twice counts once, at its
/// better place.
pub fn reciprocal_rank_fusion<T: Clone + Eq + Hash>(rankings: &[(f32, &[T])], k: f32) -> Vec<(T, f32)> {
    let mut order: Vec<(T, f32)> = Vec::new();
    let mut place: HashMap<T, usize> = HashMap::new();
    for (weight, ranking) in rankings {
        let mut seen = std::collections::HashSet::new();
        let distinct = ranking.iter().filter(|item| seen.insert((*item).clone()));
        for (rank, item) in distinct.enumerate() {
            let at = *place.entry(item.clone()).or_insert_with(|| {
                order.push((item.clone(), 0.0));
                order.len() - 1
            });
            if let Some((_, score)) = order.get_mut(at) {
                *score += weight / (k + rank as f32 + 1.0);
            }
        }
    }
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agreement_beats_a_single_first_place() {
        let fused = reciprocal_rank_fusion(&[(1.0, &["a", "b"]), (1.0, &["c", "b"])], RRF_K);
        assert_eq!(fused.first().map(|(item, _)| *item), Some("b"));
        assert_eq!(fused.len(), 3);
    }

    proptest! {
        #[test]
        fn every_item_appears_once_and_scores_fall(a in prop::collection::vec(0u8..20, 0..20), b in prop::collection::vec(0u8..20, 0..20)) {
            let fused = reciprocal_rank_fusion(&[(1.0, &a), (0.5, &b)], RRF_K);
            let mut items: Vec<u8> = fused.iter().map(|(item, _)| *item).collect();
            prop_assert!(fused.windows(2).all(|w| w[0].1 >= w[1].1));
            items.sort_unstable();
            let mut expected: Vec<u8> = a.iter().chain(&b).copied().collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn one_ranking_keeps_its_order(a in Just((0u8..30).collect::<Vec<_>>()).prop_shuffle()) {
            let fused: Vec<u8> = reciprocal_rank_fusion(&[(1.0, &a)], RRF_K).into_iter().map(|(i, _)| i).collect();
            prop_assert_eq!(fused, a);
        }
    }
}
