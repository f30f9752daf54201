//! Where the subject changes.

use std::collections::BTreeSet;

/// Sentences on each side of a gap that are compared.
const WINDOW: usize = 3;
/// Gaps on each side among which one has to be the lowest.
const REACH: usize = 3;
/// How far the similarity has to fall below the hills on both sides together.
const DEPTH: f32 = 0.2;

/// How many of the last units may be grouped otherwise when more is said: what lies so near to a gap decides about it.
pub const UNSETTLED: usize = WINDOW + REACH;

/// The units with which a new subject begins, given the vector of each: where the similarity of what is said before and
/// after dips, as in Hearst, "TextTiling" (Computational Linguistics 23(1), 1997), with embeddings for words. Only what
/// lies near a gap decides, so that audio appended later changes no gap before the last [`UNSETTLED`] units.
pub fn topics(vectors: &[&[f32]]) -> BTreeSet<usize> {
    let similarity: Vec<f32> = (1..vectors.len())
        .map(|gap| {
            let before = vectors.get(gap.saturating_sub(WINDOW)..gap).unwrap_or_default();
            let after = vectors
                .get(gap..vectors.len().min(gap + WINDOW))
                .unwrap_or_default();
            cosine(&sum(before), &sum(after))
        })
        .collect();
    let is_dip = |place: usize| {
        let near = |place: usize| similarity.get(place).copied();
        let Some(here) = near(place) else { return false };
        let left = similarity
            .get(place.saturating_sub(REACH)..place)
            .unwrap_or_default();
        let right = similarity
            .get(place + 1..similarity.len().min(place + 1 + REACH))
            .unwrap_or_default();
        let hill = |side: &[f32]| side.iter().copied().fold(here, f32::max) - here;
        // Of equals the first is the dip.
        left.iter().all(|other| here < *other)
            && right.iter().all(|other| here <= *other)
            && hill(left) + hill(right) >= DEPTH
    };
    (0..similarity.len())
        .filter(|place| is_dip(*place))
        .map(|place| place + 1)
        .collect()
}

fn sum(vectors: &[&[f32]]) -> Vec<f32> {
    let mut total = vec![0.0; vectors.first().map_or(0, |vector| vector.len())];
    for vector in vectors {
        for (total, value) in total.iter_mut().zip(*vector) {
            *total += value;
        }
    }
    total
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_of_subject_is_found_where_it_is() {
        let (a, b, c) = ([1.0, 0.1, 0.0], [0.0, 1.0, 0.1], [0.1, 0.0, 1.0]);
        let said: Vec<&[f32]> = vec![&a, &a, &a, &a, &b, &b, &b, &b, &b, &c, &c, &c];
        assert_eq!(topics(&said), BTreeSet::from([4, 9]));
        let same: Vec<&[f32]> = vec![&a; 10];
        assert!(topics(&same).is_empty());
        assert!(topics(&[]).is_empty() && topics(&[&a]).is_empty());
    }

    proptest! {
        #[test]
        fn what_comes_later_changes_only_the_last_gaps(
            vectors in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 4), 0..40),
            keep in 0usize..40,
        ) {
            let all: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            let some = &all[..keep.min(all.len())];
            let settled = some.len().saturating_sub(UNSETTLED);
            let before = |places: BTreeSet<usize>| -> Vec<usize> {
                places.into_iter().filter(|place| *place < settled).collect()
            };
            prop_assert_eq!(before(topics(&all)), before(topics(some)));
            prop_assert!(topics(&all).iter().all(|place| (1..all.len()).contains(place)));
        }
    }
}
