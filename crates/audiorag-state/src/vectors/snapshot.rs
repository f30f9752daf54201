//! The records of a side file as they were at one moment, and the scan over them.

use super::codes::Codes;
use super::mapping::Mapping;
use super::record::{self, Quantized};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Records for which a second thread pays.
const THREAD_SHARE: usize = 65_536;
/// The most threads of one scan.
const MAX_THREADS: usize = 8;
/// Bytes of records that are kept in memory before the file is mapped again.
pub(super) const TAIL_LIMIT: usize = 1 << 20;

/// Records that are chosen by their codes for each one that is wanted, and the share of all that is chosen at least.
/// The ten nearest of a million embedded sentences were among the nearest 4,000 codes in 99.6 % of cases, of a hundred
/// thousand among 1,000 in 99.8 %.
const CHOSEN_FOR_EACH: usize = 20;
const CHOSEN_SHARE: usize = 160;
/// Of so many records one may be chosen at the most for choosing to pay.
const WORTH_CHOOSING: usize = 8;

/// How many of `count` records are chosen by their codes.
fn preselected(count: usize, wanted: usize) -> usize {
    wanted.saturating_mul(CHOSEN_FOR_EACH).max(count / CHOSEN_SHARE)
}

/// An immutable run of records with rising ids.
#[derive(Clone)]
pub(super) struct Snapshot {
    stride: usize,
    mapped: Arc<Mapping>,
    /// The records behind the mapped ones.
    tail: Arc<Vec<u8>>,
    last_id: i64,
    /// Of the oldest records, if there are many.
    codes: Option<Arc<Codes>>,
}

/// An approximate score and the id it belongs to, ordered by score, then by age.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) score: f32,
    pub(super) id: i64,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Snapshot {
    pub(super) fn new(stride: usize, mapped: Mapping, last_id: i64) -> Self {
        Self {
            stride,
            mapped: Arc::new(mapped),
            tail: Arc::default(),
            last_id,
            codes: None,
        }
    }

    /// The snapshot with codes of its oldest records.
    pub(super) fn with_codes(&self, codes: Arc<Codes>) -> Self {
        Self {
            codes: Some(codes),
            ..self.clone()
        }
    }

    /// The codes of the oldest records.
    pub(super) fn codes(&self) -> Option<&Arc<Codes>> {
        self.codes.as_ref()
    }

    /// The snapshot with `records` behind it.
    pub(super) fn extended(&self, records: &[u8], last_id: i64) -> Self {
        let mut tail = self.tail.as_ref().clone();
        tail.extend_from_slice(records);
        Self {
            tail: Arc::new(tail),
            last_id,
            ..self.clone()
        }
    }

    /// Whether the records in memory are many enough to map the file again.
    pub(super) fn wants_mapping(&self) -> bool {
        self.tail.len() >= TAIL_LIMIT
    }

    /// The newest id.
    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    /// Records.
    pub(super) fn len(&self) -> usize {
        (self.mapped.bytes().len() + self.tail.len()) / self.stride
    }

    /// Whether this vector is recorded under this id.
    pub(super) fn holds(&self, id: i64, vector: &[f32]) -> bool {
        let mut expected = Vec::with_capacity(self.stride);
        record::write_sized(&mut expected, id, vector, self.dimensions());
        self.record(self.find_from(0, id)) == expected
    }

    /// Bytes of a record.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// About how much a scan reads.
    pub(super) fn bytes_of_a_scan(&self) -> usize {
        let codes = self.codes.as_deref();
        let coded = codes.map_or(0, Codes::len);
        codes.map_or(0, Codes::bytes) + (self.len() - coded + coded / CHOSEN_SHARE) * self.stride
    }

    /// Components of a vector.
    pub(super) fn dimensions(&self) -> usize {
        self.stride.saturating_sub(record::size(0))
    }

    /// The record at a place, empty where there is none.
    pub(super) fn record(&self, place: usize) -> &[u8] {
        let mapped = self.mapped.bytes();
        let start = place * self.stride;
        match start.checked_sub(mapped.len()) {
            None => mapped.get(start..start + self.stride),
            Some(start) => self.tail.get(start..start + self.stride),
        }
        .unwrap_or_default()
    }

    /// The `wanted` records nearest to the query, best first. Where there are codes, only the records whose codes are
    /// near to the query's are compared, which are many times as many as are wanted.
    pub(super) fn scan(&self, query: &Quantized, wanted: usize) -> Vec<Candidate> {
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS);
        let coded = self.codes.as_ref().and_then(|codes| {
            let few = preselected(codes.len(), wanted);
            (few < codes.len() / WORTH_CHOOSING).then(|| (codes.len(), codes.nearest(query, few, threads)))
        });
        let Some((coded, places)) = coded else {
            return self.compare_all(0, query, wanted, threads).into_sorted();
        };
        let mut best = self.compare_all(coded, query, wanted, threads);
        best.offer_all(places.into_iter().map(|place| self.record(place)), query);
        best.into_sorted()
    }

    /// Compares all records from a place on.
    fn compare_all(&self, first: usize, query: &Quantized, wanted: usize, threads: usize) -> Best {
        let mapped = self.mapped.bytes();
        let (mapped, tail) = match (first * self.stride).checked_sub(mapped.len()) {
            None => (mapped.get(first * self.stride..), Some(self.tail.as_slice())),
            Some(skipped) => (None, self.tail.get(skipped..)),
        };
        let (mapped, tail) = (mapped.unwrap_or_default(), tail.unwrap_or_default());
        let threads = threads.min(mapped.len() / self.stride / THREAD_SHARE).max(1);
        let share = (mapped.len() / self.stride).div_ceil(threads).max(1) * self.stride;
        let mut best = Best::new(wanted);
        std::thread::scope(|scope| {
            let mut shares = mapped.chunks(share);
            let first = shares.next().unwrap_or_default();
            let others: Vec<_> = shares
                .map(|records| {
                    scope.spawn(move || {
                        let mut best = Best::new(wanted);
                        best.offer_all(records.chunks_exact(self.stride), query);
                        best
                    })
                })
                .collect();
            best.offer_all(first.chunks_exact(self.stride), query);
            best.offer_all(tail.chunks_exact(self.stride), query);
            for other in others {
                match other.join() {
                    Ok(found) => best.merge(found),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        best
    }

    /// The `wanted` records nearest to the query among those with the given ids, which rise.
    pub(super) fn scan_only(&self, query: &Quantized, wanted: usize, ids: &[i64]) -> Vec<Candidate> {
        let mut best = Best::new(wanted);
        let mut place = 0;
        for id in ids {
            place = self.find_from(place, *id);
            let record = self.record(place);
            if record.is_empty() {
                break;
            }
            if record::id(record) == *id {
                best.offer(Candidate {
                    score: record::similarity(record, &query.components),
                    id: *id,
                });
            }
        }
        best.into_sorted()
    }

    /// The first place at or behind `from` whose id is not below `id`: in growing steps, then by halving.
    fn find_from(&self, from: usize, id: i64) -> usize {
        let count = self.len();
        let (mut low, mut step) = (from, 1);
        while low + step < count && record::id(self.record(low + step)) < id {
            low += step;
            step *= 2;
        }
        let mut high = (low + step).min(count);
        while low < high {
            let middle = low + (high - low) / 2;
            if record::id(self.record(middle)) < id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// The best candidates so far, the worst of them on top.
struct Best {
    wanted: usize,
    heap: BinaryHeap<Reverse<Candidate>>,
}

impl Best {
    fn new(wanted: usize) -> Self {
        Self {
            wanted,
            heap: BinaryHeap::new(),
        }
    }

    fn offer_all<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>, query: &Quantized) {
        for record in records {
            let score = record::similarity(record, &query.components);
            if self.heap.len() < self.wanted || self.heap.peek().is_some_and(|worst| score > worst.0.score) {
                self.offer(Candidate {
                    score,
                    id: record::id(record),
                });
            }
        }
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.heap.len() < self.wanted {
            self.heap.push(Reverse(candidate));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate > worst.0
        {
            worst.0 = candidate;
        }
    }

    fn merge(&mut self, other: Self) {
        for Reverse(candidate) in other.heap {
            self.offer(candidate);
        }
    }

    fn into_sorted(self) -> Vec<Candidate> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse(candidate)| candidate)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::record::quantize;
    use proptest::prelude::*;

    /// Vectors with the ids 2, 4, 6, …; the first `mapped` of them in a file, the rest in memory.
    fn snapshot(vectors: &[Vec<f32>], mapped: usize) -> Snapshot {
        use std::io::Write as _;
        let stride = record::size(4);
        let mut bytes = Vec::new();
        for (place, vector) in vectors.iter().enumerate() {
            record::write(&mut bytes, place as i64 * 2 + 2, vector);
        }
        let (front, back) = bytes.split_at(mapped.min(vectors.len()) * stride);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(front).unwrap();
        let mapping = Mapping::new(&file, 0, front.len()).unwrap();
        Snapshot::new(stride, mapping, 0).extended(back, vectors.len() as i64 * 2)
    }

    proptest! {
        #[test]
        fn scans_agree_with_sorting_everything(
            vectors in prop::collection::vec(prop::collection::vec(-1f32..1.0, 4), 0..60),
            mapped in 0usize..60,
            wanted in 0usize..70,
            ids in prop::collection::btree_set(0i64..130, 0..40),
        ) {
            let snapshot = snapshot(&vectors, mapped);
            prop_assert_eq!(snapshot.len(), vectors.len());
            let query = quantize(&[0.3, -0.7, 0.2, 0.1]);
            let mut all = snapshot.scan(&query, usize::MAX);
            prop_assert_eq!(all.len(), vectors.len());
            prop_assert!(all.windows(2).all(|pair| pair[0] > pair[1]));
            let ids: Vec<i64> = ids.into_iter().collect();
            let mut only: Vec<Candidate> = all.iter().copied().filter(|found| ids.contains(&found.id)).collect();
            only.truncate(wanted);
            prop_assert_eq!(snapshot.scan_only(&query, wanted, &ids), only);
            all.truncate(wanted);
            prop_assert_eq!(snapshot.scan(&query, wanted), all);
        }
    }

    #[test]
    fn threads_find_what_one_finds() {
        let vectors: Vec<Vec<f32>> = (0..THREAD_SHARE * 2 + 5)
            .map(|number| {
                let angle = number as f32;
                vec![angle.sin(), angle.cos(), (angle * 0.7).sin(), 0.1]
            })
            .collect();
        let snapshot = snapshot(&vectors, vectors.len() - 3);
        let query = quantize(&[0.3, -0.7, 0.2, 0.1]);
        let ids: Vec<i64> = (1..=vectors.len() as i64 * 2).collect();
        assert_eq!(snapshot.scan(&query, 50), snapshot.scan_only(&query, 50, &ids));
    }
}
