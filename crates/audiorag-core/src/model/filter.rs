//! What a search is restricted to.

use crate::id::SourceId;
use crate::{Span, language};

/// Restricts a search. Empty fields do not restrict; all others must hold together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Any of these sources.
    pub sources: Vec<SourceId>,
    /// Any of these speakers.
    pub speakers: Vec<String>,
    /// This language (BCP 47), whatever the region.
    pub language: Option<String>,
    /// Sources dated on or after this day, `YYYY-MM-DD`.
    pub after: Option<String>,
    /// Sources dated on or before this day, `YYYY-MM-DD`.
    pub before: Option<String>,
    /// Chunks that overlap this span.
    pub within: Option<Span>,
}

impl Filter {
    /// Whether nothing is restricted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same filter with its language as it is stored (see [`language::primary`]).
    #[must_use]
    pub fn normalised(mut self) -> Self {
        // A tag that names no language is left, and finds nothing.
        self.language = self.language.map(|tag| language::primary(&tag).unwrap_or(tag));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_asked_for_as_it_is_stored() {
        let of = |tag: &str| Filter {
            language: Some(tag.to_owned()),
            ..Filter::default()
        };
        assert_eq!(of("en-US").normalised(), of("en"));
        assert_eq!(of("deu").normalised(), of("de"));
        assert_eq!(of("und").normalised(), of("und"));
        assert!(Filter::default().normalised().is_empty());
    }
}
