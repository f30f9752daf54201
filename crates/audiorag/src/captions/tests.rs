//! What is written is read back, what others write is understood, and what nobody should write does no harm.

use super::*;
use crate::export::{Format, render};
use audiorag_core::id::SourceId;
use audiorag_core::model::{SourceStatus, Suspicion, TimeQuality, Word};
use audiorag_core::{ErrorKind, Locator};
use audiorag_state::SourceRecord;
use proptest::prelude::*;
use std::time::SystemTime;

fn source() -> SourceRecord {
    SourceRecord {
        id: SourceId::from_stored("0123"),
        locator: Locator::File("/talk.mp3".into()),
        title: "A talk".into(),
        fingerprint: None,
        media: None,
        duration: None,
        status: SourceStatus::Completed,
        failure: None,
        epoch: 0,
        owner: None,
        lease_until: None,
        active_revision: None,
        chunk_count: 0,
        created_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
    }
}

/// Start, end, speaker and text of each segment.
fn said(text: &str) -> Vec<(u64, u64, Option<String>, String)> {
    lines_of(&parse(text.as_bytes(), "test").unwrap())
}

fn lines_of(given: &GivenTranscript) -> Vec<(u64, u64, Option<String>, String)> {
    given
        .transcript
        .segments
        .iter()
        .map(|segment| {
            (
                segment.span.start().as_millis(),
                segment.span.end().as_millis(),
                segment.speaker.clone(),
                segment.text.clone(),
            )
        })
        .collect()
}

fn line(start: u64, end: u64, speaker: Option<&str>, text: &str) -> (u64, u64, Option<String>, String) {
    (start, end, speaker.map(str::to_owned), text.to_owned())
}

fn refused(bytes: &[u8]) -> String {
    let error = parse(bytes, "talk.srt").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(
        error.message().contains("talk.srt") && error.hint().is_some(),
        "{error}"
    );
    error.message().to_owned()
}

prop_compose! {
    fn any_word(bounds: Span)(
        from in bounds.start().as_millis()..=bounds.end().as_millis(),
        length in 0u64..500,
        text in "[a-z<&]{1,8}",
        confidence in prop::option::of(0f32..1.0),
    ) -> Word {
        Word { span: Span::from_millis(from, from + length), text, confidence }
    }
}

prop_compose! {
    fn any_segment(speaks: bool)(
        start in 0u64..100_000_000,
        length in 0u64..60_000,
        text in "[a-zA-Zäß&;'.!?,-]{1,9}( [a-z0-9>&]{1,9}){0,9}",
        speaker in prop::sample::select(vec!["Ada", "Grace Hopper", "speaker 0 (part 2)", "Zoë & Co"]),
    )(
        words in prop::collection::vec(any_word(Span::from_millis(start, start + length)), 0..3),
        confidence in prop::option::of(0f32..1.0),
        estimated in any::<bool>(),
        suspicion in prop::option::weighted(0.2, prop::sample::select(Suspicion::ALL.to_vec())),
        start in Just(start), length in Just(length), text in Just(text), speaker in Just(speaker),
    ) -> Segment {
        Segment {
            span: Span::from_millis(start, start + length),
            text,
            speaker: speaks.then(|| speaker.to_owned()),
            confidence,
            words,
            times: if estimated { TimeQuality::Estimated } else { TimeQuality::Measured },
            suspicion,
        }
    }
}

/// A transcript in which either everybody has a name or nobody has.
fn any_transcript() -> impl Strategy<Value = Transcript> {
    (any::<bool>(), prop::option::of("[a-z]{2}(-[A-Z]{2})?"))
        .prop_flat_map(|(speaks, language)| {
            (prop::collection::vec(any_segment(speaks), 1..12), Just(language))
        })
        .prop_map(|(mut segments, language)| {
            segments.sort_by_key(|segment| segment.span);
            let duration = segments.iter().map(|segment| segment.span.end()).max().unwrap();
            Transcript {
                segments,
                language,
                duration,
            }
        })
}

proptest! {
    #[test]
    fn json_is_read_back_exactly(transcript in any_transcript()) {
        let given = parse(render(Format::Json, &source(), &transcript).as_bytes(), "talk.json").unwrap();
        prop_assert_eq!(given.format, CaptionFormat::Json);
        prop_assert_eq!(&given.warnings, &Vec::<String>::new());
        prop_assert_eq!(given.transcript, transcript);
    }

    #[test]
    fn subtitles_and_tables_are_read_back_to_the_millisecond(transcript in any_transcript()) {
        let expected: Vec<_> = transcript
            .indexable()
            .map(|s| line(s.span.start().as_millis(), s.span.end().as_millis(), s.speaker.as_deref(), &s.text))
            .collect();
        prop_assume!(!expected.is_empty());
        for format in [Format::Srt, Format::Vtt, Format::Tsv] {
            let given = parse(render(format, &source(), &transcript).as_bytes(), "talk").unwrap();
            prop_assert_eq!(given.format.as_str(), format.extension());
            prop_assert_eq!(lines_of(&given), expected.clone(), "{:?}", format);
        }
    }

    #[test]
    fn nothing_makes_it_panic_and_what_it_returns_is_in_order(
        start in prop::sample::select(vec!["", "WEBVTT\n\n", "1\n00:00:01,000 --> 00:00:02,000\n", "{\"segments\":[",
            "start\tend\ttext\n", "\u{feff}", "[{\"start\":1,\"end\":"]),
        rest in prop::collection::vec(prop_oneof![
            Just("-->".to_owned()), Just("00:00:03.5 --> 1:00:00,1\n".to_owned()), Just("<v ".to_owned()),
            Just("<00:00:01.000>".to_owned()), Just("&#x110000;".to_owned()), Just("&".to_owned()),
            Just("\r\n".to_owned()), Just("{\\an8".to_owned()), Just("1e999".to_owned()), Just("}]}".to_owned()),
            Just("\t9223372036854775807\t".to_owned()), ".{0,12}",
        ], 0..24),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let text = start.to_owned() + &rest.concat();
        for input in [text.as_bytes(), &bytes, &[text.as_bytes(), &bytes].concat()] {
            if let Ok(given) = parse(input, "hostile") {
                let given = given.within(MediaTime::from_seconds(60));
                let segments = &given.transcript.segments;
                prop_assert!(segments.windows(2).all(|pair| pair[0].span <= pair[1].span));
                for segment in segments {
                    prop_assert!(!segment.text.is_empty() && segment.span.end() <= MediaTime::from_seconds(60));
                }
            }
        }
    }
}

#[test]
fn webvtt_voices_tags_and_blocks() {
    let text = "WEBVTT - a talk\nLanguage: en\n\nNOTE a comment\nover two lines\n\nSTYLE\n::cue { color: red }\n\n\
                intro\n00:01.000 --> 00:03.500 line:0 position:20%\n<v.loud Ada>Good <i>morning</i> &amp; welcome</v>\n\n\
                2\n01:00:04.000 --> 01:00:08.000\n<v Ada>Yes.</v><v Grace Hopper>And you know.\n\n\
                00:09.000 --> 00:10.000\n5 &lt; 6 &#8211; always";
    let given = parse(text.as_bytes(), "talk.vtt").unwrap();
    assert_eq!(given.transcript.language.as_deref(), Some("en"));
    assert_eq!(
        lines_of(&given),
        [
            line(1000, 3500, Some("Ada"), "Good morning & welcome"),
            line(9000, 10_000, None, "5 < 6 – always"),
            // One cue, two people: its time is shared by the length of what they say.
            line(3_604_000, 3_604_941, Some("Ada"), "Yes."),
            line(3_604_941, 3_608_000, Some("Grace Hopper"), "And you know."),
        ]
    );
    assert_eq!(given.transcript.segments[2].times, TimeQuality::Estimated);
}

#[test]
fn captions_that_roll_are_said_once() {
    let text = "WEBVTT\nKind: captions\nLanguage: en\n\n\
                00:00:01.000 --> 00:00:03.000 align:start\n \nthe<00:00:01.500><c> harbour</c>\n\n\
                00:00:03.000 --> 00:00:03.010\nthe harbour\n \n\n\
                00:00:03.010 --> 00:00:05.000\nthe harbour\nwas<00:00:03.500><c> closed</c>\n\n";
    assert_eq!(
        said(text),
        [
            line(1000, 3000, None, "the harbour"),
            line(3010, 5000, None, "was closed")
        ]
    );
}

#[test]
fn srt_as_programs_write_it() {
    let text = "1\r\n00:00:01,5 --> 00:00:02,500 X1:10 X2:20\r\n<i>Good</i> {\\an8}<font color=\"red\">morning</font>\r\n\r\n\
                over a blank line, where 5 < 6\r\n\r\n2\r\n0:00:03.000 --> 0:00:04.000\r\n42\r\n\r\n3\r\n\
                00:00:05,000 --> 00:00:04,500\r\nbackwards\r\n";
    assert_eq!(
        said(text),
        [
            line(1500, 2500, None, "Good morning over a blank line, where 5 < 6"),
            line(3000, 4000, None, "42"),
            line(4500, 5000, None, "backwards"),
        ]
    );
    // Without numbers, and with old line ends.
    assert_eq!(
        said("00:01,000 --> 00:02,000\rone\r\r00:03,000 --> 00:04,000\rtwo").len(),
        2
    );
}

#[test]
fn names_before_a_colon_are_speakers_only_where_they_are_the_rule() {
    let srt = |texts: &[&str]| -> Vec<(Option<String>, String)> {
        let cues: Vec<String> = texts
            .iter()
            .enumerate()
            .map(|(at, text)| format!("{}\n00:00:{at:02},000 --> 00:00:{at:02},900\n{text}\n\n", at + 1))
            .collect();
        said(&cues.concat())
            .into_iter()
            .map(|(_, _, speaker, text)| (speaker, text))
            .collect()
    };
    let by = |speaker: Option<&str>, text: &str| (speaker.map(str::to_owned), text.to_owned());
    // At a change of speaker, as podcasts write it: the cues between belong to the name before them.
    assert_eq!(
        srt(&[
            "Adam: one",
            "two",
            "Dave J.: three",
            "Adam: four",
            "five",
            "Dave J.: six"
        ]),
        [
            by(Some("Adam"), "one"),
            by(Some("Adam"), "two"),
            by(Some("Dave J."), "three"),
            by(Some("Adam"), "four"),
            by(Some("Adam"), "five"),
            by(Some("Dave J."), "six"),
        ]
    );
    // Before every cue of somebody: a cue without a name is nobody's.
    assert_eq!(
        srt(&["Adam: one", "Adam: two", "(music)", "Dave: three", "Dave: four"])[2],
        by(None, "(music)")
    );
    // A colon alone is text.
    let prose = [
        "Note: bring a hammer",
        "and the rest",
        "Step two: more",
        "the end: it is near",
    ];
    assert!(
        srt(&prose)
            .iter()
            .zip(prose)
            .all(|((speaker, text), prose)| speaker.is_none() && text == prose)
    );
}

#[test]
fn json_of_other_programs() {
    let whisper = r#"{"text": " Hi there. ...", "language": "english", "duration": 9.5, "segments": [
        {"id": 0, "start": 0.0, "end": 1.25, "text": " Hi there.", "avg_logprob": -0.2, "no_speech_prob": 0.01,
         "words": [{"word": " Hi", "start": 0.0, "end": 0.5, "probability": 0.9}, {"word": " there."}]},
        {"id": 1, "start": 2.0, "end": 3.0, "text": "Thank you.", "avg_logprob": -1.4, "no_speech_prob": 0.9}]}"#;
    let given = parse(whisper.as_bytes(), "talk.json").unwrap();
    assert_eq!(given.transcript.language.as_deref(), Some("en"));
    assert_eq!(given.transcript.duration, MediaTime::from_millis(9500));
    let [first, second] = given.transcript.segments.as_slice() else {
        panic!("{given:?}")
    };
    assert_eq!((first.text.as_str(), first.words.len()), ("Hi there.", 1));
    assert_eq!(first.suspicion, None);
    assert_eq!(second.suspicion, Some(Suspicion::Improbable));

    let whisperx = r#"{"segments": [{"start": 1, "end": 2, "text": "One", "words": [
        {"word": "One", "start": 1, "end": 2, "score": 0.8, "speaker": "SPEAKER_01"}]},
        {"start": 2, "end": 3, "text": "Two", "speaker": "SPEAKER_00", "words": []}], "language": "de"}"#;
    assert_eq!(
        said(whisperx),
        [
            line(1000, 2000, Some("SPEAKER_01"), "One"),
            line(2000, 3000, Some("SPEAKER_00"), "Two")
        ]
    );
    let whisper_cpp = r#"{"result": {"language": "fr"}, "transcription": [{"timestamps": {"from": "00:00:00,000"},
        "offsets": {"from": 40, "to": 900}, "text": " Bonjour"}]}"#;
    assert_eq!(said(whisper_cpp), [line(40, 900, None, "Bonjour")]);
    let podcast = r#"{"version": "1.0.0", "segments": [
        {"speaker": "Darth Vader", "startTime": 0.5, "endTime": 2.25, "body": "I am your father."},
        {"speaker": "Luke", "startTime": 5.5, "endTime": 7.0, "body": "No."}]}"#;
    assert_eq!(
        said(podcast),
        [
            line(500, 2250, Some("Darth Vader"), "I am your father."),
            line(5500, 7000, Some("Luke"), "No.")
        ]
    );
}

#[test]
fn single_words_become_sentences() {
    let words: Vec<String> = ["The", "ferry", "leaves.", "It", "is", "late", "today", "again"]
        .iter()
        .enumerate()
        .map(|(at, word)| {
            format!(
                r#"{{"startTime": {at}, "endTime": {}, "body": "{word}", "speaker": "Ada"}}"#,
                at + 1
            )
        })
        .collect();
    let given = parse(
        format!(r#"{{"segments": [{}]}}"#, words.join(",")).as_bytes(),
        "x",
    )
    .unwrap();
    assert_eq!(
        lines_of(&given),
        [
            line(0, 3000, Some("Ada"), "The ferry leaves."),
            line(3000, 8000, Some("Ada"), "It is late today again"),
        ]
    );
    assert_eq!(given.transcript.segments[0].words.len(), 3);
}

/// A document with a text every second or every few.
fn spoken(texts: &[&str], seconds: usize) -> GivenTranscript {
    let rows: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let (start, end) = (at * seconds, (at + 1) * seconds);
            format!(r#"{{"start": {start}, "end": {end}, "text": "{text}"}}"#)
        })
        .collect();
    parse(format!(r#"{{"segments": [{}]}}"#, rows.join(",")).as_bytes(), "x").unwrap()
}

#[test]
fn sentences_in_scripts_without_spaces_are_no_words() {
    let sentences = ["渡轮七点离开码头。"; 9];
    let given = spoken(&sentences, 4);
    assert_eq!(given.transcript.segments.len(), 9);
    assert_eq!(given.transcript.segments[0].text, sentences[0]);
    // Long before they are many letters, they take longer than a word.
    assert_eq!(spoken(&["好的。"; 9], 4).transcript.segments.len(), 9);
    let words = spoken(
        &["渡轮", "七点", "离开", "码头", "。", "Ferry", "地", "点", "。"],
        1,
    );
    let texts: Vec<_> = words
        .transcript
        .segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect();
    assert_eq!(texts, ["渡轮七点离开码头。", "Ferry 地点。"]);
}

#[test]
fn encodings() {
    let text = "1\n00:00:01,000 --> 00:00:02,000\nGrüße – schön\n";
    let expected = [line(1000, 2000, None, "Grüße – schön")];
    let units: Vec<u16> = text.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let windows: Vec<u8> = text
        .chars()
        .map(|c| match c {
            '–' => 0x96,
            other => u8::try_from(u32::from(other)).unwrap(),
        })
        .collect();
    for (bytes, warnings) in [
        ([&[0xef, 0xbb, 0xbf], text.as_bytes()].concat(), 0),
        ([&[0xff, 0xfe], little.as_slice()].concat(), 0),
        ([&[0xfe, 0xff], big.as_slice()].concat(), 0),
        (little, 0),
        (big, 0),
        (windows, 1),
    ] {
        let given = parse(&bytes, "talk.srt").unwrap();
        assert_eq!(lines_of(&given), expected, "{bytes:?}");
        assert_eq!(given.warnings.len(), warnings);
    }
}

#[test]
fn what_is_no_transcript_says_what_it_is() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"<!DOCTYPE html><p>00:00 --> 00:01</p>", "web page"),
        (b"Dear diary,\ntoday", "without times"),
        (b"RIFF\0\0\0\0WAVE\xff\xfe", "not a text"),
        (b"{\"segments\": [", "not whole JSON"),
        (b"{\"title\": \"a video\", \"formats\": [1]}", "without a list"),
        (b"{\"segments\": []}", "without a single line"),
        (b"WEBVTT\n\nNOTE nothing\n", "without a single line"),
        (b"start\tend\ttext\n1\t2\t\n", "without a single line"),
    ] {
        let message = refused(bytes);
        assert!(message.contains(word), "{message}");
    }
    let deep = "[".repeat(100_000);
    assert!(refused(deep.as_bytes()).contains("JSON"));
}

#[test]
fn impossible_times_are_counted_and_the_end_of_the_recording_is_the_end() {
    let text = "1\n00:00:08,000 --> 00:00:12,000\nacross the end\n\n2\n-00:00:05,000 --> -00:00:01,000\nbefore\n\n\
                3\n-00:00:01,000 --> 00:00:01,000\nat the start\n\n4\n00:01:00,000 --> 00:01:01,000\nbehind\n\n\
                5\n999999:00:00,000 --> 999999:00:01,000\nnever\n\n6\n00:00:02,000 --> 00:00:07,000\none\n\n\
                7\n00:00:03,000 --> 00:00:04,000\nat the same time\n";
    let given = parse(text.as_bytes(), "talk.srt").unwrap();
    assert_eq!(given.warnings, ["2 segments without usable times are left out"]);
    let given = given.within(MediaTime::from_seconds(10));
    assert_eq!(
        lines_of(&given),
        [
            line(0, 1000, None, "at the start"),
            line(2000, 7000, None, "one"),
            line(3000, 4000, None, "at the same time"),
            line(8000, 10_000, None, "across the end"),
        ]
    );
    assert!(
        given.warnings[1].starts_with("1 of 5 segments lie beyond"),
        "{given:?}"
    );
    assert_eq!(given.transcript.duration, MediaTime::from_seconds(10));
}
