//! The reduce step: from summaries of sections to an overview of the recording.
//!
//! A generator is shown summaries, and what it writes is bound to what was heard where they come from: no citation is
//! ever a line of a summary.

use super::{FRAME, LEAST_ROOM, OVERVIEW_ORDER, SummarySection, Writer, cut};
use crate::query::event::QueryObserver;
use crate::query::generate;
use audiorag_core::Result;
use audiorag_core::model::{Answer, Citation, Hit};

/// A summary and what it summarizes.
struct Piece {
    /// What the generator reads: the place of the piece, and its summary for a text.
    shown: Hit,
    /// What it is bound to: lines of the recording.
    heard: Hit,
}

impl Piece {
    fn new(heard: Hit, summary: &str, longest: usize) -> Self {
        let mut text = without_markers(summary);
        text.truncate(cut::cut_at(&text, longest));
        let shown = Hit {
            text,
            lines: Vec::new(),
            ..heard.clone()
        };
        Self { shown, heard }
    }

    fn size(&self) -> usize {
        self.shown.text.len() + self.shown.title.len() + FRAME
    }
}

impl Writer<'_> {
    /// Writes what all sections say, of which there are two or more. `hits` is what was heard in each of them.
    ///
    /// What does not fit into one request is summarized in groups of neighbours first, as often as needed.
    pub(super) async fn overview(&self, hits: &[Hit], sections: &[SummarySection]) -> Result<Answer> {
        let room = self
            .room
            .saturating_sub(self.order(OVERVIEW_ORDER).len())
            .max(LEAST_ROOM);
        // Two always fit, so that every round leaves fewer.
        let title = hits.first().map_or(0, |hit| hit.title.len());
        let longest = (room / 2).saturating_sub(FRAME + title).max(LEAST_ROOM / 3);
        let mut pieces: Vec<Piece> = hits
            .iter()
            .zip(sections)
            .map(|(hit, section)| Piece::new(hit.clone(), &section.answer.text, longest))
            .collect();
        loop {
            let groups = groups(pieces, room);
            if let [only] = groups.as_slice() {
                return self.ask(only).await;
            }
            pieces = Vec::with_capacity(groups.len());
            for mut group in groups {
                if group.len() == 1 {
                    pieces.append(&mut group);
                    continue;
                }
                let answer = self.ask(&group).await?;
                let cited: Vec<&Hit> = group
                    .iter()
                    .map(|piece| &piece.heard)
                    .filter(|hit| answer.citations.iter().any(|citation| is_of(citation, hit)))
                    .collect();
                // Where nothing is cited, everything may be meant.
                let heard = if cited.is_empty() {
                    cut::merged(group.iter().map(|piece| &piece.heard))
                } else {
                    cut::merged(cited)
                };
                pieces.extend(heard.map(|heard| Piece::new(heard, &answer.text, longest)));
            }
        }
    }

    async fn ask(&self, pieces: &[Piece]) -> Result<Answer> {
        let silent: &dyn QueryObserver = &();
        let order = self.order(OVERVIEW_ORDER);
        let shown: Vec<Hit> = pieces.iter().map(|piece| piece.shown.clone()).collect();
        let heard: Vec<Hit> = pieces.iter().map(|piece| piece.heard.clone()).collect();
        let written = generate::over(self.generator, &order, &shown, &heard, silent).await?;
        Ok(written.into_answer(Vec::new(), Vec::new()))
    }
}

/// Neighbours that fit into `room` bytes together, in groups of two at least where there are two.
fn groups(pieces: Vec<Piece>, room: usize) -> Vec<Vec<Piece>> {
    let mut groups: Vec<(usize, Vec<Piece>)> = Vec::new();
    for piece in pieces {
        let size = piece.size();
        match groups.last_mut() {
            Some((used, group)) if *used + size <= room || group.len() < 2 => {
                *used += size;
                group.push(piece);
            }
            _ => groups.push((size, vec![piece])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn is_of(citation: &Citation, hit: &Hit) -> bool {
    hit.lines.iter().any(|line| line.span == citation.span)
}

/// A text without its citation numbers and doubts, which mean nothing outside it.
fn without_markers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        match after.split_once(']') {
            Some((inside, after))
                if !inside.is_empty() && inside.chars().all(|c| c.is_ascii_digit() || "?, ".contains(c)) =>
            {
                out.push_str(before.trim_end());
                rest = after;
            }
            _ => {
                out.push_str(before);
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_another_text_are_taken_out() {
        assert_eq!(
            without_markers("Ships came [1]. Nobody saw them [2, 3] [?], or [sic] [unclosed"),
            "Ships came. Nobody saw them, or [sic] [unclosed"
        );
    }
}
