//! Cutting a transcript into sections.

use audiorag_core::id::ChunkId;
use audiorag_core::model::{Chapter, ChunkLine, Hit, Scores, Segment, TimeQuality, Transcript};
use audiorag_core::{MediaTime, Span};
use audiorag_state::SourceRecord;
use std::borrow::Cow;

/// A section is not much longer than this, in milliseconds.
const SECTION: u64 = 5 * 60_000;

/// Cuts a transcript into sections: at chapters, and between segments wherever one would grow too long, in time or for
/// a generator that reads no more than `longest` bytes at once. A segment that is longer than that is cut itself.
pub(super) fn sections(source: &SourceRecord, transcript: &Transcript, longest: Option<usize>) -> Vec<Hit> {
    let longest = longest.unwrap_or(usize::MAX);
    let chapters: &[Chapter] = source.media.as_ref().map_or(&[], |media| &media.chapters);
    let mut sections: Vec<Hit> = Vec::new();
    let mut open: Option<usize> = None;
    for segment in transcript
        .indexable()
        .flat_map(|segment| pieces(segment, longest))
    {
        // As chunks have it: a segment belongs to the chapter in which its middle lies.
        let chapter = chapters
            .iter()
            .rposition(|chapter| chapter.start <= segment.span.middle());
        let goes_on = sections.last().is_some_and(|section| {
            let length = section.span.union(segment.span).duration();
            open == chapter
                && length <= MediaTime::from_millis(SECTION)
                && section.text.len() + segment.text.len() < longest
        });
        if !goes_on {
            let title = chapter.and_then(|index| chapters.get(index));
            sections.push(begin(source, &segment, title, sections.len()));
        }
        open = chapter;
        if let Some(section) = sections.last_mut() {
            add(section, &segment);
        }
    }
    sections
}

/// A segment, or what it is cut into when it has more than `longest` bytes: after sentences, else between words, at
/// times estimated from the length of the text.
fn pieces(segment: &Segment, longest: usize) -> Vec<Cow<'_, Segment>> {
    if segment.text.len() <= longest {
        return vec![Cow::Borrowed(segment)];
    }
    let (start, length) = (
        segment.span.start().as_millis(),
        segment.span.duration().as_millis(),
    );
    let total = segment.text.len() as u64;
    let time = |at: usize| start + length * at as u64 / total;
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(rest) = segment.text.get(from..).filter(|rest| !rest.is_empty()) {
        let end = from + cut_at(rest, longest);
        let text = segment.text.get(from..end).unwrap_or_default().trim();
        if !text.is_empty() {
            out.push(Cow::Owned(Segment {
                span: Span::from_millis(time(from), time(end)),
                text: text.to_owned(),
                speaker: segment.speaker.clone(),
                confidence: segment.confidence,
                words: Vec::new(),
                times: TimeQuality::Estimated,
                suspicion: None,
            }));
        }
        from = end;
    }
    out
}

/// Where to cut `text` so that at most `longest` bytes stand before; all of it where it is no longer. Never zero.
pub(super) fn cut_at(text: &str, longest: usize) -> usize {
    if text.len() <= longest {
        return text.len();
    }
    let end = text.floor_char_boundary(longest);
    let head = text.get(..end).unwrap_or_default();
    let after_sentence = head
        .match_indices(['.', '!', '?', '\u{3002}'])
        .map(|(at, mark)| at + mark.len())
        .rfind(|at| *at * 2 >= end);
    let after_word = || head.rfind(char::is_whitespace).filter(|at| *at > 0);
    let first_letter = || text.chars().next().map_or(1, char::len_utf8);
    after_sentence
        .or_else(after_word)
        .unwrap_or_else(|| end.max(first_letter()))
}

/// Several passages, in their order, as one.
pub(super) fn merged<'a>(hits: impl IntoIterator<Item = &'a Hit>) -> Option<Hit> {
    let mut hits = hits.into_iter();
    let mut whole = hits.next()?.clone();
    for hit in hits {
        whole.text.push(' ');
        let shift = whole.text.len();
        whole.text.push_str(&hit.text);
        whole.span = whole.span.union(hit.span);
        whole.lines.extend(hit.lines.iter().map(|line| ChunkLine {
            from: line.from + shift,
            to: line.to + shift,
            ..line.clone()
        }));
        for name in &hit.speakers {
            if !whole.speakers.contains(name) {
                whole.speakers.push(name.clone());
            }
        }
    }
    Some(whole)
}

fn begin(source: &SourceRecord, segment: &Segment, chapter: Option<&Chapter>, number: usize) -> Hit {
    Hit {
        chunk_id: ChunkId::from_stored(format!("section-{number}")),
        source_id: source.id.clone(),
        title: source.title.clone(),
        locator: source.locator.clone(),
        span: segment.span,
        text: String::new(),
        chapter: chapter.map(|chapter| chapter.title.clone()),
        speakers: Vec::new(),
        lines: Vec::new(),
        times: TimeQuality::Measured,
        scores: Scores::default(),
    }
}

fn add(section: &mut Hit, segment: &Segment) {
    if !section.text.is_empty() {
        section.text.push(' ');
    }
    let from = section.text.len();
    section.text.push_str(&segment.text);
    section.span = section.span.union(segment.span);
    section.lines.push(ChunkLine {
        from,
        to: section.text.len(),
        span: segment.span,
        speaker: segment.speaker.clone(),
        times: segment.times,
    });
    if let Some(name) = segment
        .speaker
        .as_ref()
        .filter(|name| !section.speakers.contains(name))
    {
        section.speakers.push(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_longer_than_a_generator_reads_is_cut_and_nothing_is_lost() {
        let text = "The pier was painted blue. Nobody had asked for it! Das Meer ist weit und \u{e4}lter als wir. \
                    \u{6d77}\u{306f}\u{5e83}\u{3044}\u{3002}Ende";
        let segment = Segment {
            span: Span::from_millis(1_000, 11_000),
            text: text.into(),
            ..Segment::default()
        };
        for longest in 1..text.len() + 2 {
            let cut = pieces(&segment, longest);
            let joined: String = cut.iter().map(|piece| piece.text.as_str()).collect();
            assert_eq!(joined.replace(' ', ""), text.replace(' ', ""));
            for (piece, next) in cut.iter().zip(cut.iter().skip(1)) {
                assert!(piece.text.len() <= longest.max(3), "{longest}: {piece:?}");
                assert!(piece.span.start() <= piece.span.end() && piece.span.end() <= next.span.start());
                assert_eq!(piece.times, TimeQuality::Estimated);
            }
            assert_eq!(cut.last().unwrap().span.end(), segment.span.end());
        }
        assert_eq!(
            pieces(&segment, 60)[0].text,
            "The pier was painted blue. Nobody had asked for it!"
        );
    }

    #[test]
    fn merged_passages_keep_their_lines() {
        let hit = |text: &str, start| {
            let segment = Segment {
                span: Span::from_millis(start, start + 900),
                text: text.into(),
                speaker: Some(text.into()),
                ..Segment::default()
            };
            let mut hit = Hit {
                chunk_id: ChunkId::from_stored("c"),
                source_id: audiorag_core::id::SourceId::from_stored("s"),
                title: "Talk".into(),
                locator: audiorag_core::Locator::Url("https://h/a.mp3".into()),
                span: segment.span,
                text: String::new(),
                chapter: None,
                speakers: vec![],
                lines: vec![],
                times: TimeQuality::Measured,
                scores: Scores::default(),
            };
            add(&mut hit, &segment);
            hit
        };
        let hits = [hit("One.", 0), hit("Two, then.", 5_000), hit("Three.", 9_000)];
        let whole = merged(&hits).unwrap();
        let said: Vec<_> = whole
            .lines
            .iter()
            .map(|line| (&whole.text[line.from..line.to], line.span.start().as_millis()))
            .collect();
        assert_eq!(said, [("One.", 0), ("Two, then.", 5_000), ("Three.", 9_000)]);
        assert_eq!(
            (whole.span, whole.speakers.len()),
            (Span::from_millis(0, 9_900), 3)
        );
        assert!(merged(&[]).is_none());
    }
}
