//! What holds of every chunk, and what each strategy does.

use super::*;
use crate::align::sentence_ranges;
use crate::model::{Segment, Suspicion, Word};
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation as _;

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

#[test]
fn each_sentence_of_an_utterance_is_a_line_with_the_times_of_its_words() {
    // As Deepgram answers: an utterance with its words, below the maximum of a chunk.
    let said_at = [
        ("so", 1_000, 1_300),
        ("we", 1_300, 1_500),
        ("paid", 1_600, 2_000),
        ("five", 2_100, 2_300),
        ("dollars", 2_300, 2_800),
        ("nobody", 20_000, 20_600),
        ("objected", 20_700, 21_500),
        ("the", 40_000, 40_200),
        ("five", 40_200, 40_500),
        ("left", 40_600, 41_000),
    ];
    let utterance = Segment {
        words: said_at
            .map(|(text, start, end)| Word {
                span: Span::from_millis(start, end),
                text: text.to_owned(),
                confidence: None,
            })
            .to_vec(),
        ..said(
            1_000,
            41_000,
            Some("A"),
            "So we paid $5. Nobody objected. The five left.",
        )
    };
    for strategy in [ChunkStrategy::Time, ChunkStrategy::Speaker] {
        let chunks = chunk(
            &transcript(vec![utterance.clone()]),
            &ChunkSettings::default().with_strategy(strategy),
            Surroundings::default(),
        );
        let [only] = chunks.as_slice() else {
            panic!("{chunks:?}")
        };
        assert_eq!(only.text, utterance.text);
        assert_eq!((only.span, only.times), (utterance.span, TimeQuality::Measured));
        let lines: Vec<(&str, Span, TimeQuality)> = only
            .lines
            .iter()
            .map(|line| (&only.text[line.from..line.to], line.span, line.times))
            .collect();
        let measured = TimeQuality::Measured;
        assert_eq!(
            lines,
            [
                ("So we paid $5.", Span::from_millis(1_000, 2_800), measured),
                ("Nobody objected.", Span::from_millis(20_000, 21_500), measured),
                ("The five left.", Span::from_millis(40_000, 41_000), measured)
            ]
        );
        assert!(only.lines.iter().all(|line| line.speaker.as_deref() == Some("A")));
    }
}

#[test]
fn what_is_cut_and_joined_again_keeps_its_measured_times() {
    let sentences = ["One is it.", "Two is it.", "Three is it."];
    let word = |(number, text): (u64, &str)| Word {
        span: Span::from_millis(number * 10_000, number * 10_000 + 9_000),
        text: text.to_owned(),
        confidence: None,
    };
    let long = Segment {
        words: (0..)
            .zip(sentences.iter().flat_map(|s| s.split(' ')))
            .map(word)
            .collect(),
        ..said(0, 90_000, None, &sentences.join("  "))
    };
    let chunks = chunk(
        &transcript(vec![long]),
        &settings(60_000, 60_000, 0),
        Surroundings::default(),
    );
    let found: Vec<(&str, Span, TimeQuality)> = chunks
        .iter()
        .map(|c| (c.text.as_str(), c.span, c.times))
        .collect();
    assert_eq!(
        found,
        [
            (
                "One is it.  Two is it.",
                Span::from_millis(0, 59_000),
                TimeQuality::Measured
            ),
            (
                "Three is it.",
                Span::from_millis(60_000, 89_000),
                TimeQuality::Measured
            )
        ]
    );
}

prop_compose! {
    /// A segment's text: sentences with and without an end, in scripts with and without spaces.
    fn any_text()(
        sentences in prop::collection::vec(
            ("[a-zé]{1,6}(,? [a-zéß]{1,6}){0,12}[.?!]?|[你好再见天气🎧]{1,15}[。，]?|[กขา]{1,9}|\\$5[.]", "  ?|\n|"),
            1..5,
        ),
    ) -> String {
        let mut text = String::new();
        for (sentence, space) in sentences {
            text.push_str(&sentence);
            text.push_str(&space);
        }
        text.trim().to_owned()
    }
}

/// Words for a segment: none, or those of its text with some missing and some spelled out, at even times.
fn words_for(segment: &Segment, kind: u8) -> Vec<Word> {
    let texts: Vec<&str> = segment.text.split_whitespace().collect();
    let (start, length) = (
        segment.span.start().as_millis(),
        segment.span.duration().as_millis(),
    );
    let count = texts.len() as u64;
    (0..count)
        .zip(texts)
        .filter(|(place, _)| kind == 1 || (kind == 2 && place % 3 > 0))
        .map(|(place, text)| Word {
            span: Span::from_millis(
                start + length * place / count,
                start + length * (place + 1) / count + u64::from(kind) * 10,
            ),
            text: text.replace("$5", "five dollars").to_lowercase(),
            confidence: None,
        })
        .collect()
}

prop_compose! {
    fn any_transcript()(
        steps in prop::collection::vec((0u64..5000, 100u64..70_000, 0u8..3, any_text(), 0u8..3), 0..16),
    ) -> Transcript {
        let mut at = 0;
        let segments = steps.into_iter().map(|(gap, length, speaker, text, words)| {
            let start = at + gap;
            at = start + length;
            let mut segment = said(start, at, ["A", "B"].get(usize::from(speaker)).copied(), &text);
            segment.words = words_for(&segment, words);
            segment
        }).collect();
        transcript(segments)
    }
}

/// All that is said, with what stands between segments.
fn whole_text(transcript: &Transcript) -> String {
    let mut text = String::new();
    let mut before: Option<&Segment> = None;
    for segment in &transcript.segments {
        if let Some(before) = before {
            text.push(if before.speaker == segment.speaker {
                ' '
            } else {
                '\n'
            });
        }
        text.push_str(&segment.text);
        before = Some(segment);
    }
    text
}

/// Whether the chunks are the text, cut: nothing is between them but white space.
fn assert_preserved(chunks: &[Chunk], transcript: &Transcript) -> Result<(), TestCaseError> {
    let text = whole_text(transcript);
    let mut rest = text.as_str();
    for piece in chunks {
        let after = rest.trim_start().strip_prefix(piece.text.as_str());
        prop_assert!(after.is_some(), "{:?} is not next in {:?}", piece.text, rest);
        rest = after.unwrap_or_default();
        let mut at = 0;
        for line in &piece.lines {
            prop_assert!(piece.text[at..line.from].trim().is_empty());
            prop_assert!(line.from < line.to);
            at = line.to;
        }
        prop_assert!(piece.text[at..].trim().is_empty());
    }
    prop_assert!(rest.trim().is_empty(), "{rest:?} is missing");
    Ok(())
}

/// The units that a chunk is made of.
fn parts_of<'a>(piece: &Chunk, units: &'a [Unit]) -> Vec<&'a Unit> {
    let begins =
        |unit: &Unit| unit.lines[0].span == piece.lines[0].span && piece.text.starts_with(unit.text.as_str());
    let mut lines = 0;
    let from = units.iter().position(begins).unwrap();
    let parts = units[from..].iter().take_while(|unit| {
        let more = lines < piece.lines.len();
        lines += unit.lines.len();
        more
    });
    parts.collect()
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
        assert_preserved(&chunks, &transcript)?;
    }

    /// As channels come one after the other.
    #[test]
    fn the_order_in_which_segments_come_changes_nothing(
        transcript in any_transcript(),
        strategy in any_strategy(),
        target in 1000u64..60_000,
    ) {
        let settings = settings(target, target, 0).with_strategy(strategy);
        let mut cutting = Cutting::new(&settings);
        let (first, second): (Vec<_>, Vec<_>) = transcript.segments.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        for (_, segment) in second.into_iter().chain(first) {
            cutting.push(segment);
        }
        prop_assert_eq!(cutting.into_units(), units(&transcript, &settings));
    }

    #[test]
    fn no_line_is_longer_than_a_sentence(
        transcript in any_transcript(),
        strategy in any_strategy(),
        target in 1000u64..60_000,
    ) {
        let settings = settings(target, target * 2, 0).with_strategy(strategy);
        let sentences: usize = transcript.segments.iter().map(|s| sentence_ranges(&s.text).len()).sum();
        let chunks = chunk(&transcript, &settings, Surroundings::default());
        let lines: usize = chunks.iter().map(|c| c.lines.len()).sum();
        prop_assert!(lines >= sentences);
        for piece in &chunks {
            for line in &piece.lines {
                prop_assert_eq!(sentence_ranges(&piece.text[line.from..line.to]).len(), 1);
            }
        }
    }

    #[test]
    fn the_same_transcript_gives_the_same_chunks(
        transcript in any_transcript(),
        strategy in any_strategy(),
        target in 1000u64..60_000,
        overlap in 0u64..20_000,
    ) {
        let settings = settings(target, target * 2, overlap.min(target / 3)).with_strategy(strategy);
        let again = transcript.clone();
        prop_assert_eq!(
            chunk(&transcript, &settings, Surroundings::default()),
            chunk(&again, &settings, Surroundings::default())
        );
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
        let units = units(&transcript, &settings);
        let chunks = chunk_at(&units, &changes, &settings, Surroundings::default());
        for (index, piece) in chunks.iter().enumerate() {
            prop_assert_eq!(piece.index as usize, index);
            prop_assert!(bounds.contains(piece.span));
            // Within a tenth of the target, unless a single unit is longer than that.
            let limit = MediaTime::from_millis(target + target / 10);
            let alone = units.iter().any(|unit| unit.span == piece.span && unit.text == piece.text);
            prop_assert!(piece.span.duration() <= limit || alone);
            let single = piece.text.graphemes(true).count() == 1;
            prop_assert!(piece.span.duration() <= MediaTime::from_millis(target + extra) || single);
            for line in &piece.lines {
                prop_assert!(piece.span.contains(line.span));
                prop_assert!(piece.text.get(line.from..line.to).is_some());
            }
            for pair in piece.lines.windows(2) {
                prop_assert!(pair[0].span.end() <= pair[1].span.start());
                prop_assert!(pair[0].to <= pair[1].from);
            }
        }
        prop_assert!(chunks.windows(2).all(|w| w[0].span.end() <= w[1].span.start()));
    }

    #[test]
    fn appended_audio_changes_only_the_last_chunk(
        transcript in any_transcript(),
        strategy in any_strategy(),
        keep in 0usize..16,
        overlap in prop::bool::ANY,
    ) {
        let settings = settings(20_000, 30_000, if overlap { 6_000 } else { 0 }).with_strategy(strategy);
        let mut shorter = transcript.clone();
        shorter.segments.truncate(keep);
        let all = chunk(&transcript, &settings, Surroundings::default());
        let some = chunk(&shorter, &settings, Surroundings::default());
        let settled = some.len().saturating_sub(1);
        prop_assert_eq!(&all[..settled], &some[..settled]);
    }

    #[test]
    fn appended_audio_changes_no_subject_but_the_last_ones(
        transcript in any_transcript(),
        keep in 0usize..16,
        overlap in prop::bool::ANY,
    ) {
        let settings = settings(20_000, 30_000, if overlap { 6_000 } else { 0 })
            .with_strategy(ChunkStrategy::Semantic);
        let mut shorter = transcript.clone();
        shorter.segments.truncate(keep);
        let by_subject = |transcript: &Transcript| {
            let units = units(transcript, &settings);
            // Letters stand for what an embedding model would make of them.
            let vectors: Vec<Vec<f32>> = units
                .iter()
                .map(|unit| {
                    let mut vector = vec![0.0; 4];
                    unit.text.chars().for_each(|c| vector[c as usize % 4] += 1.0);
                    vector
                })
                .collect();
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            (chunk_at(&units, &topics(&vectors), &settings, Surroundings::default()), units)
        };
        let (all, _) = by_subject(&transcript);
        let (some, units) = by_subject(&shorter);
        let settled = units
            .len()
            .checked_sub(UNSETTLED + 1)
            .and_then(|place| units.get(place))
            .map_or(MediaTime::ZERO, |unit| unit.span.end());
        let before = |chunks: &[Chunk]| -> Vec<Chunk> {
            chunks.iter().filter(|c| c.span.end() < settled).cloned().collect()
        };
        prop_assert_eq!(before(&all), before(&some));
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
        let settings = settings(target, target * 2, overlap);
        let chunks = chunk(&transcript, &settings, surroundings);
        let units = units(&transcript, &settings);
        for piece in &chunks {
            let parts = parts_of(piece, &units);
            let of = |unit: &Unit| surroundings.chapter(unit.span);
            prop_assert!(parts.windows(2).all(|pair| of(pair[0]) == of(pair[1])), "{piece:?}");
            let title = of(parts[0]).map(|chapter| chapter.title.as_str());
            let header = piece.header.as_deref().unwrap_or_default();
            prop_assert_eq!(header.split(" - ").find(|part| part.starts_with('c')), title);
        }
        if overlap == 0 {
            assert_preserved(&chunks, &transcript)?;
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
