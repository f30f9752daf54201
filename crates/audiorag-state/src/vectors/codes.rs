//! One bit for each component of a vector: whether it lies above the middle of all vectors.
//!
//! The number of bits in which two codes differ grows with the angle between the vectors, so the records of which few
//! differ are the ones to compare properly. Codes are an eighth of the bytes of the records, and a scan waits for
//! memory most of the time. They are worth most where components lie around zero, which subtracting the middle sees
//! to for models whose vectors all point in one direction.

use super::mapping::Mapping;
use super::record::{self, Quantized};

/// Bytes of a word of a code.
const WORD: usize = 8;
/// Codes that are compared before the best are picked from them.
const BLOCK: usize = 1024;
/// Codes that are passed over together when none of them is near.
const FEW: usize = 16;
/// Bits that the place of a code takes.
const PLACE_BITS: u32 = 48;
const PLACE: u64 = (1 << PLACE_BITS) - 1;
/// Codes for which a second thread pays.
const THREAD_SHARE: usize = 131_072;

/// What the components of a code are held against.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Centre(Vec<f32>);

impl Centre {
    pub(super) fn from_components(components: Vec<f32>) -> Self {
        Self(components)
    }

    /// The middle of some records, which stand for all that follow.
    pub(super) fn of<'a>(records: impl Iterator<Item = &'a [u8]>, dimensions: usize) -> Self {
        let (mut sums, mut count) = (vec![0f64; dimensions], 0f64);
        for record in records {
            let scale = record::scale(record);
            for (sum, component) in sums.iter_mut().zip(record::components(record)) {
                *sum += f64::from(scale * f32::from(*component));
            }
            count += 1.0;
        }
        Self(
            sums.into_iter()
                .map(|sum| (sum / count.max(1.0)) as f32)
                .collect(),
        )
    }

    pub(super) fn components(&self) -> &[f32] {
        &self.0
    }

    /// Words of a code.
    pub(super) fn words(&self) -> usize {
        self.0.len().div_ceil(u64::BITS as usize)
    }

    /// Bytes of a code.
    pub(super) fn size(&self) -> usize {
        self.words() * WORD
    }

    /// The code of a vector in eight bits a component.
    pub(super) fn code(&self, scale: f32, components: &[i8]) -> Vec<u64> {
        let mut code = vec![0; self.words()];
        for (place, (component, middle)) in components.iter().zip(&self.0).enumerate() {
            if let Some(word) = code.get_mut(place / 64)
                && scale * f32::from(*component) > *middle
            {
                *word |= 1 << (place % 64);
            }
        }
        code
    }
}

/// Appends a code as it lies in a file.
pub(super) fn write(out: &mut Vec<u8>, code: &[u64]) {
    out.extend(code.iter().flat_map(|word| word.to_le_bytes()));
}

/// The codes of the oldest records of a side file.
pub(super) struct Codes {
    centre: Centre,
    mapped: Mapping,
}

impl Codes {
    pub(super) fn new(centre: Centre, mapped: Mapping) -> Self {
        Self { centre, mapped }
    }

    /// Records that have a code.
    pub(super) fn len(&self) -> usize {
        self.mapped.bytes().len() / self.centre.size().max(1)
    }

    /// Bytes of all codes.
    pub(super) fn bytes(&self) -> usize {
        self.mapped.bytes().len()
    }

    /// The places of the `wanted` records whose codes differ least from the query's, in no order.
    pub(super) fn nearest(&self, query: &Quantized, wanted: usize, threads: usize) -> Vec<usize> {
        let code = self.centre.code(query.scale, &query.components);
        let (codes, size) = (self.mapped.bytes(), self.centre.size().max(1));
        let threads = threads.min(self.len() / THREAD_SHARE).max(1);
        let share = self.len().div_ceil(threads).max(1);
        let scan = |first: usize, codes: &[u8]| {
            let mut nearest = Nearest::new(wanted);
            nearest.offer_all(first, codes, &code);
            nearest
        };
        let mut nearest = std::thread::scope(|scope| {
            let mut shares = codes.chunks(share * size).enumerate();
            let (_, mine) = shares.next().unwrap_or_default();
            let others: Vec<_> = shares
                .map(|(number, codes)| scope.spawn(move || scan(number * share, codes)))
                .collect();
            let mut nearest = scan(0, mine);
            for other in others {
                match other.join() {
                    Ok(found) => nearest.merge(found),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            nearest
        });
        nearest.cut();
        nearest
            .found
            .into_iter()
            .map(|key| (key & PLACE) as usize)
            .collect()
    }
}

/// The nearest codes so far.
struct Nearest {
    wanted: usize,
    /// Codes that come later and differ in so many bits are of no interest.
    limit: u16,
    /// How many bits differ, above [`PLACE_BITS`], and where: one number is sorted sooner than two.
    found: Vec<u64>,
}

impl Nearest {
    fn new(wanted: usize) -> Self {
        Self {
            wanted,
            limit: u16::MAX,
            found: Vec::new(),
        }
    }

    fn offer_all(&mut self, first: usize, codes: &[u8], query: &[u64]) {
        let (mut distances, mut least) = ([0; BLOCK], [0; BLOCK / FEW]);
        let size = query.len() * WORD;
        for (number, block) in codes.chunks(BLOCK * size).enumerate() {
            // Behind the last code nothing is near.
            distances.fill(u16::MAX);
            differences(block, query, &mut distances);
            minima(&distances, &mut least);
            self.offer(first + number * BLOCK, &distances, &least);
        }
    }

    /// Takes the near ones of a block. `least` has the least of each few, and most few have nothing near.
    fn offer(&mut self, first: usize, distances: &[u16], least: &[u16]) {
        for (number, (few, least)) in distances.chunks(FEW).zip(least).enumerate() {
            if *least >= self.limit {
                continue;
            }
            for (place, distance) in few.iter().enumerate() {
                if *distance < self.limit {
                    let place = first + number * FEW + place;
                    self.found.push(u64::from(*distance) << PLACE_BITS | place as u64);
                }
            }
        }
        if self.found.len() >= self.wanted.saturating_mul(2).max(1) {
            self.cut();
        }
    }

    /// Takes over what was found among later codes.
    fn merge(&mut self, other: Self) {
        self.found.extend(other.found);
    }

    /// Leaves the `wanted` nearest, of equally near ones the first.
    fn cut(&mut self) {
        if self.found.len() <= self.wanted {
            return;
        }
        let Some(last) = self.wanted.checked_sub(1) else {
            self.found.clear();
            return;
        };
        let (_, furthest, _) = self.found.select_nth_unstable(last);
        self.limit = (*furthest >> PLACE_BITS) as u16;
        self.found.truncate(self.wanted);
    }
}

/// In how many bits each code differs from the query's. Compiled several times: counting bits is one instruction on
/// most processors, which a program that is to run on all of them may not take for granted.
#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512vpopcntdq+popcnt+avx2",
    "x86_64+popcnt",
))]
fn differences(codes: &[u8], query: &[u64], out: &mut [u16]) {
    match query.len() {
        // Of a known number of words, nothing is left of the inner loop: these are the usual models' numbers.
        6 => differences_of::<6>(codes, query, out),
        8 => differences_of::<8>(codes, query, out),
        12 => differences_of::<12>(codes, query, out),
        16 => differences_of::<16>(codes, query, out),
        24 => differences_of::<24>(codes, query, out),
        words => {
            for (code, out) in codes.chunks_exact(words.max(1) * WORD).zip(out) {
                *out = code
                    .as_chunks::<WORD>()
                    .0
                    .iter()
                    .zip(query)
                    .map(|(word, wanted)| (u64::from_le_bytes(*word) ^ wanted).count_ones() as u16)
                    .sum();
            }
        }
    }
}

/// The least of each few.
#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx2",
    "x86_64+avx2",
    "x86_64+sse4.1"
))]
fn minima(distances: &[u16; BLOCK], out: &mut [u16; BLOCK / FEW]) {
    let (few, _) = distances.as_chunks::<FEW>();
    for (few, out) in few.iter().zip(out) {
        *out = few.iter().fold(u16::MAX, |least, distance| least.min(*distance));
    }
}

#[expect(
    clippy::inline_always,
    reason = "as a function of its own it would be compiled for the least processor only"
)]
#[inline(always)]
fn differences_of<const WORDS: usize>(codes: &[u8], query: &[u64], out: &mut [u16]) {
    let Ok(query) = <[u64; WORDS]>::try_from(query) else {
        return;
    };
    let (words, _) = codes.as_chunks::<WORD>();
    let (codes, _) = words.as_chunks::<WORDS>();
    for (code, out) in codes.iter().zip(out) {
        let mut differing = 0;
        for (word, wanted) in code.iter().zip(query) {
            differing += (u64::from_le_bytes(*word) ^ wanted).count_ones();
        }
        *out = differing as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::record::quantize;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn vector(number: usize, dimensions: usize) -> Vec<f32> {
        (0..dimensions)
            .map(|place| 0.3 + ((number * 31 + place * 17) as f32).sin())
            .collect()
    }

    fn codes(centre: &Centre, vectors: &[Vec<f32>]) -> Codes {
        let mut bytes = Vec::new();
        for vector in vectors {
            let quantized = quantize(vector);
            write(&mut bytes, &centre.code(quantized.scale, &quantized.components));
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        Codes::new(centre.clone(), Mapping::new(&file, 0, bytes.len()).unwrap())
    }

    /// Components on one side of the centre in one vector and on the other side in the other.
    fn differing(centre: &Centre, a: &[f32], b: &[f32]) -> usize {
        let (a, b) = (quantize(a), quantize(b));
        let above = |vector: &Quantized, place: usize| {
            f32::from(vector.components[place]) * vector.scale > centre.components()[place]
        };
        (0..centre.components().len())
            .filter(|place| above(&a, *place) != above(&b, *place))
            .count()
    }

    #[test]
    fn the_nearest_are_those_that_differ_least_of_equal_ones_the_first() {
        // The numbers of words that are compiled for themselves, others, and some that do not fill their last word.
        for dimensions in [384, 512, 768, 1024, 1536, 256, 300, 2000] {
            let vectors: Vec<Vec<f32>> = (0..700).map(|number| vector(number, dimensions)).collect();
            let centre = Centre::from_components(vec![0.3; dimensions]);
            let (codes, query) = (codes(&centre, &vectors), vector(1_000_003, dimensions));
            let mut expected: Vec<(usize, usize)> = vectors
                .iter()
                .enumerate()
                .map(|(place, vector)| (differing(&centre, vector, &query), place))
                .collect();
            expected.sort_unstable();
            for wanted in [0, 1, 40, 699, 700, 5_000] {
                let mut places = codes.nearest(&quantize(&query), wanted, 2);
                places.sort_unstable();
                let mut true_ones: Vec<usize> =
                    expected.iter().take(wanted).map(|(_, place)| *place).collect();
                true_ones.sort_unstable();
                assert_eq!(places, true_ones, "{wanted} of {dimensions} components");
            }
        }
    }

    #[test]
    fn threads_find_what_one_finds() {
        let centre = Centre::from_components(vec![0.3; 64]);
        let vectors: Vec<Vec<f32>> = (0..THREAD_SHARE * 2 + 77)
            .map(|number| vector(number, 64))
            .collect();
        let codes = codes(&centre, &vectors);
        let query = quantize(&vector(12_345_678, 64));
        let sorted = |threads| {
            let mut places = codes.nearest(&query, 500, threads);
            places.sort_unstable();
            places
        };
        assert_eq!(sorted(2), sorted(1));
    }

    proptest! {
        #[test]
        fn cutting_on_the_way_loses_none(
            distances in prop::collection::vec(0u16..40, 0..5 * BLOCK),
            wanted in 0usize..3 * BLOCK,
        ) {
            let mut nearest = Nearest::new(wanted);
            for (number, block) in distances.chunks(BLOCK).enumerate() {
                let (mut whole, mut least) = ([u16::MAX; BLOCK], [0; BLOCK / FEW]);
                whole[..block.len()].copy_from_slice(block);
                minima(&whole, &mut least);
                nearest.offer(number * BLOCK, &whole, &least);
            }
            nearest.cut();
            let mut all: Vec<u64> = distances
                .iter()
                .enumerate()
                .map(|(place, distance)| u64::from(*distance) << PLACE_BITS | place as u64)
                .collect();
            all.sort_unstable();
            all.truncate(wanted);
            nearest.found.sort_unstable();
            prop_assert_eq!(nearest.found, all);
        }
    }

    #[test]
    fn the_centre_is_in_the_middle() {
        let mut records = Vec::new();
        for vector in [[1.0, -0.5, 0.0], [0.0, 0.5, 1.0]] {
            record::write(&mut records, 1, &vector);
        }
        let centre = Centre::of(records.chunks(record::size(3)), 3);
        for (middle, expected) in centre.components().iter().zip([0.5, 0.0, 0.5]) {
            assert!((middle - expected).abs() < 0.01, "{centre:?}");
        }
        assert_eq!(Centre::of(std::iter::empty(), 3).components(), [0.0; 3]);
    }
}
