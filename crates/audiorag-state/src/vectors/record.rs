//! One vector in eight bits a component, as it lies in a side file.
//!
//! `id (8 bytes) · scale (4) · components (one each) · CRC-32 of all that (4)`, little-endian. A component stands for
//! its value times the scale, which is chosen for each vector so that its largest component takes the full range.

use simsimd::SpatialSimilarity as _;

const ID: usize = 8;
const SCALE: usize = 4;
const CHECKSUM: usize = 4;

/// Bytes of a record.
pub(super) const fn size(dimensions: usize) -> usize {
    ID + SCALE + dimensions + CHECKSUM
}

/// A vector in eight bits a component.
pub(super) struct Quantized {
    pub(super) scale: f32,
    pub(super) components: Vec<i8>,
}

/// Rounds a vector to eight bits a component.
pub(super) fn quantize(vector: &[f32]) -> Quantized {
    let largest = vector
        .iter()
        .fold(0f32, |largest, component| largest.max(component.abs()));
    let scale = largest / 127.0;
    let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let components = vector
        .iter()
        .map(|component| (component * factor).round() as i8)
        .collect();
    Quantized { scale, components }
}

/// Appends the record of a vector.
pub(super) fn write(out: &mut Vec<u8>, id: i64, vector: &[f32]) {
    let start = out.len();
    let quantized = quantize(vector);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&quantized.scale.to_le_bytes());
    out.extend_from_slice(bytemuck::cast_slice(&quantized.components));
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Appends the record of a vector that may be damaged: one of another length is written as zeros, which are near
/// nothing. A record of another size would shift all that follow it, and nothing of them could be found.
pub(super) fn write_sized(out: &mut Vec<u8>, id: i64, vector: &[f32], dimensions: usize) {
    if vector.len() == dimensions {
        write(out, id, vector);
    } else {
        write(out, id, &vec![0.0; dimensions]);
    }
}

/// A record's id.
pub(super) fn id(record: &[u8]) -> i64 {
    record.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// Whether a record is as it was written.
pub(super) fn is_valid(record: &[u8]) -> bool {
    record
        .split_last_chunk::<CHECKSUM>()
        .is_some_and(|(body, checksum)| crc32fast::hash(body).to_le_bytes() == *checksum)
}

/// What a component of the record stands for is it times this.
pub(super) fn scale(record: &[u8]) -> f32 {
    record
        .get(ID..ID + SCALE)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0.0, f32::from_le_bytes)
}

/// The components of a record.
pub(super) fn components(record: &[u8]) -> &[i8] {
    let bytes = record.get(ID + SCALE..record.len().saturating_sub(CHECKSUM));
    bytemuck::cast_slice(bytes.unwrap_or_default())
}

/// The inner product of a record and a query, in units of the query's scale. A record that cannot be read comes
/// last.
pub(super) fn similarity(record: &[u8], query: &[i8]) -> f32 {
    let product = i8::dot(components(record), query).unwrap_or(f64::NEG_INFINITY);
    let score = product as f32 * scale(record);
    if score.is_nan() { f32::NEG_INFINITY } else { score }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_product_is_close_and_the_record_checks(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..200),
            number in 1i64..i64::MAX,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let mut out = Vec::new();
            write(&mut out, number, &a);
            prop_assert_eq!(out.len(), size(a.len()));
            prop_assert_eq!(id(&out), number);
            prop_assert!(is_valid(&out));
            let query = quantize(&b);
            let approximate = similarity(&out, &query.components) * query.scale;
            let exact: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            // Half a step of each factor, summed without any luck.
            let bound = a.len() as f32 * (query.scale + quantize(&a).scale) * 0.51 + 1e-4;
            prop_assert!((approximate - exact).abs() <= bound, "{approximate} for {exact}");
        }

        #[test]
        fn one_flipped_bit_is_noticed(bit in 0usize..(size(16) * 8)) {
            let mut out = Vec::new();
            write(&mut out, 77, &[0.25; 16]);
            out[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_valid(&out));
        }
    }

    #[test]
    fn hopeless_records_come_last() {
        let mut out = Vec::new();
        write(&mut out, 1, &[0.0; 4]);
        assert!(similarity(&out, &[1; 4]).abs() < f32::EPSILON);
        assert!(similarity(&out, &[1; 5]) <= 0.0);
        assert!(similarity(&[], &[1; 4]) <= 0.0);
        out[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(similarity(&out, &[1; 4]) == f32::NEG_INFINITY);
    }
}
