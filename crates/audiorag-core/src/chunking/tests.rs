//! What holds of every chunk, and what each strategy does.

use super::*;
use crate::model::Suspicion;
use proptest::prelude::*;

fn settings(target: u64, max: u64, overlap: u64) -> ChunkSettings {
    ChunkSettings::new(
        MediaTime::from_millis(target),
        MediaTime::from_millis(max),
        MediaTime::from_millis(overlap),
    )
    .unwrap()
}

fn said(start: u64, end: u64, speaker: Option<&str>, text: &str) -> Segment {
    Segment {
        span: Span::from_millis(start, end),
        text: text.into(),
        speaker: speaker.map(Into::into),
        ..Segment::default()
    }
}

fn transcript(segments: Vec<Segment>) -> Transcript {
    let duration = segments.last().map_or(MediaTime::ZERO, |s| s.span.end());
    Transcript {
        segments,
        language: None,
        duration,
    }
}

#[test]
fn a_turn_ends_a_chunk_that_is_half_full() {
    let chunks = chunk(
        &transcript(vec![
            said(0, 6000, Some("A"), "one"),
            said(6000, 8000, Some("B"), "two"),
            said(8000, 9000, Some("A"), "three"),
        ]),
        &settings(10_000, 20_000, 0),
        Surroundings {
            title: Some("Talk"),
            ..Surroundings::default()
        },
    );
    let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, ["one", "two\nthree"]);
    assert_eq!(chunks[1].speakers, ["B", "A"]);
    assert_eq!(chunks[1].embedded_text(), "Talk - B, A\ntwo\nthree");
}

#[test]
fn suspicious_segments_are_left_out() {
    let mut invented = said(0, 1000, None, "thank you");
    invented.suspicion = Some(Suspicion::Outro);
    assert!(
        chunk(
            &transcript(vec![invented]),
            &ChunkSettings::default(),
            Surroundings::default()
        )
        .is_empty()
    );
}

#[test]
fn an_endless_segment_is_cut_at_sentences() {
    let long = said(
        0,
        90_000,
        None,
        "First part of it. Second part of it. Third part of it.",
    );
    let chunks = chunk(
        &transcript(vec![long]),
        &settings(30_000, 40_000, 0),
        Surroundings::default(),
    );
    let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(
        texts,
        ["First part of it.", "Second part of it.", "Third part of it."]
    );
    assert!(chunks.iter().all(|c| c.times == TimeQuality::Estimated));
}

#[test]
fn overlap_repeats_the_last_segments() {
    let segments = (0..6)
        .map(|i| said(i * 4000, i * 4000 + 4000, None, &format!("s{i}")))
        .collect();
    let chunks = chunk(
        &transcript(segments),
        &settings(12_000, 20_000, 4000),
        Surroundings::default(),
    );
    let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, ["s0 s1 s2", "s2 s3 s4", "s4 s5"]);
}

fn chapters(marks: &[(u64, &str)]) -> Vec<Chapter> {
    let chapter = |(start, title): &(u64, &str)| Chapter {
        start: MediaTime::from_millis(*start),
        title: (*title).to_owned(),
    };
    marks.iter().map(chapter).collect()
}

#[test]
fn a_chapter_ends_a_chunk_and_names_it() {
    let segments = vec![
        said(0, 1000, None, "hello"),
        // Begins a moment before the chapter does, and belongs to it.
        said(1900, 4000, Some("A"), "to the point"),
        said(4000, 6000, Some("A"), "and on"),
    ];
    let marks = chapters(&[(2000, "The point")]);
    let surroundings = Surroundings {
        title: Some("Talk"),
        date: Some("2026"),
        chapters: &marks,
    };
    let chunks = chunk(
        &transcript(segments),
        &settings(30_000, 60_000, 5000),
        surroundings,
    );
    let texts: Vec<String> = chunks.iter().map(Chunk::embedded_text).collect();
    assert_eq!(
        texts,
        [
            "Talk - 2026\nhello",
            "Talk - 2026 - The point - A\nto the point and on"
        ]
    );
}

#[test]
fn contradictory_settings_are_refused() {
    let millis = MediaTime::from_millis;
    assert!(ChunkSettings::new(millis(0), millis(10), millis(0)).is_err());
    assert!(ChunkSettings::new(millis(20), millis(10), millis(0)).is_err());
    assert!(ChunkSettings::new(millis(10), millis(10), millis(5)).is_err());
}

fn any_strategy() -> impl Strategy<Value = ChunkStrategy> {
    prop::sample::select(ChunkStrategy::NAMES).prop_map(|name| ChunkStrategy::parse(name).unwrap())
}

#[test]
fn every_strategy_has_the_name_it_is_read_by() {
    for name in ChunkStrategy::NAMES {
        assert_eq!(ChunkStrategy::parse(name).map(ChunkStrategy::as_str), Some(*name));
    }
    assert_eq!(ChunkStrategy::parse("Time "), None);
}

#[test]
fn strategies_cut_at_turns_sentences_and_subjects() {
    let said = transcript(vec![
        said(0, 3000, Some("A"), "One. Two."),
        said(3000, 4000, Some("B"), "Three."),
        said(4000, 12_000, Some("B"), "Four. Five. Six. Seven."),
    ]);
    let texts = |strategy, changes: &[usize]| -> Vec<String> {
        let settings = settings(6000, 9000, 0).with_strategy(strategy);
        let units = units(&said, &settings);
        let changes = changes.iter().copied().collect();
        let chunks = chunk_at(&units, &changes, &settings, Surroundings::default());
        chunks.into_iter().map(|chunk| chunk.text).collect()
    };
    assert_eq!(
        texts(ChunkStrategy::Time, &[]),
        ["One. Two.", "Three.", "Four. Five. Six. Seven."]
    );
    assert_eq!(
        texts(ChunkStrategy::Speaker, &[]),
        ["One. Two.", "Three.", "Four. Five. Six. Seven."]
    );
    assert_eq!(
        texts(ChunkStrategy::Sentence, &[]),
        ["One. Two.", "Three. Four. Five.", "Six. Seven."]
    );
    assert_eq!(
        texts(ChunkStrategy::Semantic, &[4]),
        ["One. Two.", "Three. Four.", "Five. Six. Seven."]
    );
}

prop_compose! {
    fn any_transcript()(
        steps in prop::collection::vec((0u64..5000, 100u64..70_000, 0u8..3, "[a-z]{1,6}( [a-z]{1,6}){0,20}[.]?"), 0..40),
    ) -> Transcript {
        let mut at = 0;
        let segments = steps.into_iter().map(|(gap, length, speaker, text)| {
            let start = at + gap;
            at = start + length;
            said(start, at, ["A", "B"].get(usize::from(speaker)).copied(), &text)
        }).collect();
        transcript(segments)
    }
}

fn words_of(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    texts
        .into_iter()
        .flat_map(|t| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

proptest! {
    #[test]
    fn text_is_preserved_exactly(
        transcript in any_transcript(),
        strategy in any_strategy(),
        changes in prop::collection::btree_set(0usize..60, 0..10),
        target in 1000u64..60_000,
        extra in 0u64..60_000,
    ) {
        let settings = settings(target, target + extra, 0).with_strategy(strategy);
        let chunks = chunk_at(&units(&transcript, &settings), &changes, &settings, Surroundings::default());
        let chunked = words_of(chunks.iter().map(|c| c.text.clone()));
        let spoken = words_of(transcript.segments.iter().map(|s| s.text.clone()));
        prop_assert_eq!(chunked, spoken);
    }

    #[test]
    fn spans_are_monotone_inside_and_bounded(
        transcript in any_transcript(),
        strategy in any_strategy(),
        changes in prop::collection::btree_set(0usize..60, 0..10),
        target in 1000u64..60_000,
        extra in 0u64..60_000,
    ) {
        let settings = settings(target, target + extra, 0).with_strategy(strategy);
        let bounds = Span::between(MediaTime::ZERO, transcript.duration);
        let chunks = chunk_at(&units(&transcript, &settings), &changes, &settings, Surroundings::default());
        for (index, piece) in chunks.iter().enumerate() {
            prop_assert_eq!(piece.index as usize, index);
            prop_assert!(bounds.contains(piece.span));
            // Within a tenth of the target, unless a single segment is longer than that.
            let limit = MediaTime::from_millis(target + target / 10);
            prop_assert!(piece.span.duration() <= limit || piece.lines.len() == 1);
            let single = piece.lines.len() == 1 && piece.text.split_whitespace().count() == 1;
            prop_assert!(piece.span.duration() <= MediaTime::from_millis(target + extra) || single);
            for line in &piece.lines {
                prop_assert!(piece.span.contains(line.span));
                prop_assert!(piece.text.get(line.from..line.to).is_some());
            }
        }
        prop_assert!(chunks.windows(2).all(|w| w[0].span.end() <= w[1].span.start()));
    }

    #[test]
    fn appended_audio_changes_only_the_last_chunk(
        transcript in any_transcript(),
        strategy in any_strategy(),
        keep in 0usize..40,
    ) {
        let settings = settings(20_000, 30_000, 0).with_strategy(strategy);
        let mut shorter = transcript.clone();
        shorter.segments.truncate(keep);
        let all = chunk(&transcript, &settings, Surroundings::default());
        let some = chunk(&shorter, &settings, Surroundings::default());
        let settled = some.len().saturating_sub(1);
        prop_assert_eq!(&all[..settled], &some[..settled]);
    }

    #[test]
    fn no_chunk_spans_two_chapters(
        transcript in any_transcript(),
        starts in prop::collection::btree_set(0u64..1_000_000, 0..8),
        target in 1000u64..60_000,
        overlap in prop::bool::ANY,
    ) {
        let marks: Vec<(u64, String)> = starts.into_iter().map(|start| (start, format!("c{start}"))).collect();
        let marks: Vec<(u64, &str)> = marks.iter().map(|(start, title)| (*start, title.as_str())).collect();
        let marks = chapters(&marks);
        let surroundings = Surroundings { chapters: &marks, ..Surroundings::default() };
        let overlap = if overlap { target / 3 } else { 0 };
        let chunks = chunk(&transcript, &settings(target, target * 2, overlap), surroundings);
        for piece in &chunks {
            let of = |line: &ChunkLine| surroundings.chapter(line.span);
            prop_assert!(piece.lines.windows(2).all(|pair| of(&pair[0]) == of(&pair[1])), "{piece:?}");
            let title = of(&piece.lines[0]).map(|chapter| chapter.title.as_str());
            let header = piece.header.as_deref().unwrap_or_default();
            prop_assert_eq!(header.split(" - ").find(|part| part.starts_with('c')), title);
        }
        if overlap == 0 {
            let chunked = words_of(chunks.iter().map(|c| c.text.clone()));
            prop_assert_eq!(chunked, words_of(transcript.segments.iter().map(|s| s.text.clone())));
        }
        prop_assert!(chunks.windows(2).all(|w| w[0].span.start() < w[1].span.start()));
    }

    #[test]
    fn overlap_never_stalls(transcript in any_transcript(), target in 1000u64..60_000) {
        let chunks = chunk(&transcript, &settings(target, target * 2, target / 3), Surroundings::default());
        prop_assert!(chunks.windows(2).all(|w| w[0].span.start() < w[1].span.start()));
        let lines: usize = chunks.iter().map(|c| c.lines.len()).sum();
        prop_assert!(lines >= transcript.segments.len());
    }
}
