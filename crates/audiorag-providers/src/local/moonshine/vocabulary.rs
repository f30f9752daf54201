//! Token ids to text, from Moonshine's `tokenizer.bin`.
//!
//! The file is one entry for each id: a length and that many bytes. A length below 128 is one byte, a longer
//! one two (`second * 128 + first - 128`), and zero marks an id that is not used.

use audiorag_core::{Error, Result};
use std::ops::Range;

/// U+2581, which stands for a space.
const SPACE: &[u8] = "\u{2581}".as_bytes();

/// The bytes of every token.
pub(crate) struct Vocabulary {
    bytes: Vec<u8>,
    tokens: Vec<Range<usize>>,
}

impl Vocabulary {
    /// Reads the contents of a `tokenizer.bin`.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(first) = bytes.get(at) {
            let (length, header) = match (first, bytes.get(at + 1)) {
                (0..=127, _) => (usize::from(*first), 1),
                (_, Some(second)) => (usize::from(*second) * 128 + usize::from(*first) - 128, 2),
                (_, None) => return Err(truncated(tokens.len())),
            };
            let token = at + header..at + header + length;
            if token.end > bytes.len() {
                return Err(truncated(tokens.len()));
            }
            at = token.end;
            tokens.push(token);
        }
        Ok(Self { bytes, tokens })
    }

    /// How many ids there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The text of `ids`. Marks such as `<s>` and unknown ids are left out; bytes that are not UTF-8 together
    /// become U+FFFD.
    pub(crate) fn decode(&self, ids: &[u32]) -> String {
        let mut text = Vec::new();
        for id in ids {
            let token = self
                .tokens
                .get(*id as usize)
                .and_then(|range| self.bytes.get(range.clone()));
            let Some(mut token) = token else { continue };
            if token.len() > 2 && token.starts_with(b"<") && token.ends_with(b">") {
                continue;
            }
            while let Some((byte, rest)) = token.split_first() {
                if let Some(rest) = token.strip_prefix(SPACE) {
                    text.push(b' ');
                    token = rest;
                } else {
                    text.push(*byte);
                    token = rest;
                }
            }
        }
        // Single tokens may be one byte of a longer character, so the bytes are joined first.
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

fn truncated(token: usize) -> Error {
    Error::config(format!("the tokenizer file ends inside token {token}"))
        .with_hint("run `audiorag models verify`, then `audiorag models pull`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if bytes.len() < 128 {
            out.push(bytes.len() as u8);
        } else {
            out.push((bytes.len() % 128) as u8 + 128);
            out.push((bytes.len() / 128) as u8);
        }
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn tokens_join_to_text() {
        let long = "x".repeat(300);
        let tokens: [&[u8]; 8] = [
            b"<unk>",
            b"<s>",
            b"</s>",
            b"\xc3",
            b"\xa9",
            "\u{2581}caf".as_bytes(),
            b"",
            long.as_bytes(),
        ];
        let file: Vec<u8> = tokens.iter().flat_map(|token| entry(token)).collect();
        let vocabulary = Vocabulary::parse(file).unwrap();
        assert_eq!(vocabulary.len(), 8);
        assert_eq!(vocabulary.decode(&[1, 5, 3, 4, 6, 2]), "caf\u{e9}");
        assert_eq!(vocabulary.decode(&[7]).len(), 300);
        assert_eq!(vocabulary.decode(&[99]), "");
        assert_eq!(vocabulary.decode(&[3]), "\u{fffd}");
    }

    #[test]
    fn a_cut_file_is_refused() {
        assert!(Vocabulary::parse(vec![3, b'a', b'b']).is_err());
        assert!(Vocabulary::parse(vec![200]).is_err());
        assert_eq!(Vocabulary::parse(Vec::new()).unwrap().len(), 0);
    }

    #[test]
    fn the_shipped_vocabulary_has_every_id_of_the_model() {
        let bytes = include_bytes!("../../../assets/moonshine-tiny-en-tokenizer.bin");
        let vocabulary = Vocabulary::parse(bytes.to_vec()).unwrap();
        assert_eq!(vocabulary.len(), 32_768);
        assert_eq!(vocabulary.decode(&[1, 2]), "");
    }
}
