//! Speech to text in OpenAI's dialect: `POST audio/transcriptions`, and the three shapes of its answers.
//!
//! - `json`: text alone. Its sentences are laid over the detected speech, so their times are estimates.
//! - `verbose_json`: Whisper's segments and words with times, and the numbers by which Whisper itself tells speech
//!   from its own inventions.
//! - `diarized_json`: segments with speakers, whose names hold within one request only.

use super::languages;
use crate::http::{Call, Field, Reply, Service};
use crate::wire::audio::{encoded, primary};
use audiorag_core::capability::{PromptLimit, TranscribeRequest, TranscribeResponse, Usage};
use audiorag_core::model::{PartTranscript, Segment, Suspicion, TimeQuality, Word};
use audiorag_core::{Error, MediaTime, Result, Span, align};
use bytes::Bytes;
use serde::Deserialize;

/// The most bytes of audio in a request. OpenAI and Groq count 26,214,400 bytes of the whole body (a 413 in
/// murtaza-nasir/speakr#42 says so); what is left is for the form's other fields.
pub(crate) const MAX_BYTES: u64 = 24 << 20;

/// The longest part that fits into [`MAX_BYTES`]: 13 minutes of 32,000 bytes a second.
pub(crate) const MAX_PART: MediaTime = MediaTime::from_seconds(13 * 60);

/// Above this compression ratio Whisper takes its own text for a loop (`compression_ratio_threshold`).
const REPETITIVE: f64 = 2.4;
/// Below this average log probability and above this probability of silence Whisper takes its own text for an
/// invention (`logprob_threshold`, `no_speech_threshold`).
const IMPROBABLE: (f64, f64) = (-1.0, 0.6);

/// The shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "openai"),
    expect(dead_code, reason = "Groq is asked for the richest shape only")
)]
pub(crate) enum Format {
    /// Text alone.
    Json,
    /// Segments, and words where the server measures them.
    VerboseJson,
    /// Segments with speakers.
    DiarizedJson,
}

impl Format {
    /// The value of `response_format`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::VerboseJson => "verbose_json",
            Self::DiarizedJson => "diarized_json",
        }
    }
}

/// How a model wants to be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// The shape of its answer.
    pub(crate) format: Format,
    /// The field for the expected language: `language`, or `languages[]` for gpt-transcribe.
    pub(crate) language: &'static str,
    /// What it makes of a prompt.
    pub(crate) prompt: PromptLimit,
}

/// Transcribes a part. One without speech costs no call.
pub(crate) async fn transcribe(
    service: &Service,
    model: &str,
    manner: Manner,
    request: &TranscribeRequest,
) -> Result<TranscribeResponse> {
    if request.speech.is_empty() {
        return Ok(TranscribeResponse::default());
    }
    let wav = encoded(request, MAX_PART).await?;
    let answer = service
        .send(&call(model, manner, request, wav), |reply| read(reply, request))
        .await?;
    let (transcript, tokens) = answer.value;
    Ok(TranscribeResponse {
        transcript,
        usage: Usage {
            requests: answer.requests,
            unknown: answer.unknown,
            audio: request.span().duration(),
            input_tokens: tokens.input_tokens,
            output_tokens: tokens.output_tokens,
        },
    })
}

/// The call that transcribes `request`.
fn call(model: &str, manner: Manner, request: &TranscribeRequest, wav: Bytes) -> Call {
    let mut fields = vec![
        Field::File("file", "part.wav", "audio/wav", wav),
        Field::Text("model", model.to_owned()),
        Field::Text("response_format", manner.format.as_str().to_owned()),
    ];
    match manner.format {
        Format::Json => {}
        Format::VerboseJson => {
            // Either alone is answered without the other.
            fields.push(Field::Text("timestamp_granularities[]", "word".to_owned()));
            fields.push(Field::Text("timestamp_granularities[]", "segment".to_owned()));
        }
        // Required beyond 30 seconds.
        Format::DiarizedJson => fields.push(Field::Text("chunking_strategy", "auto".to_owned())),
    }
    if let Some(language) = &request.language {
        // ISO 639-1: regions are not understood.
        fields.push(Field::Text(manner.language, primary(language)));
    }
    if let Some(prompt) = request.prompt.as_deref().map(str::trim)
        && let PromptLimit::Text { max_bytes } = manner.prompt
        && !prompt.is_empty()
    {
        let end = prompt.floor_char_boundary(max_bytes.unwrap_or(usize::MAX));
        fields.push(Field::Text(
            "prompt",
            prompt.get(..end).unwrap_or_default().to_owned(),
        ));
    }
    Call::post("audio/transcriptions")
        .form(fields)
        .audio(request.span().duration())
}

/// Reads an answer in any of its shapes.
fn read(reply: &Reply, request: &TranscribeRequest) -> Result<(PartTranscript, WireUsage)> {
    let wire: Wire = reply.json()?;
    let part = request.span();
    let words = wire
        .words
        .unwrap_or_default()
        .into_iter()
        .map(|word| word.place(part))
        .collect::<Result<Vec<Option<Word>>>>()?;
    let words: Vec<Word> = words.into_iter().flatten().collect();
    let mut segments = Vec::new();
    for segment in wire.segments.unwrap_or_default() {
        segments.extend(segment.place(part)?);
    }
    segments.sort_by_key(|segment| segment.span.start());
    let segments = if segments.is_empty() {
        whole(&wire.text, words, request)
    } else {
        give_words(&mut segments, words);
        segments
    };
    let heard = wire.language.or_else(|| {
        wire.languages
            .unwrap_or_default()
            .into_iter()
            .next()
            .map(|l| l.code)
    });
    let transcript = PartTranscript {
        segments,
        language: heard
            .and_then(|language| languages::tag(&language))
            .or_else(|| request.language.clone()),
    };
    Ok((transcript, wire.usage.unwrap_or_default()))
}

/// Text that came without segments: cut at its sentences, by word times where there are any.
fn whole(text: &str, words: Vec<Word>, request: &TranscribeRequest) -> Vec<Segment> {
    let text = text.trim();
    let (Some(first), Some(last)) = (words.first(), words.last()) else {
        return align::sentences(text, request.span(), &request.speech);
    };
    if text.is_empty() {
        return Vec::new();
    }
    align::split_segment(&Segment {
        span: first.span.union(last.span),
        text: text.to_owned(),
        words,
        ..Segment::default()
    })
}

/// Hands each word to the segment it is spoken in.
fn give_words(segments: &mut [Segment], mut words: Vec<Word>) {
    words.sort_by_key(|word| word.span.start());
    for word in words {
        let middle = word
            .span
            .start()
            .saturating_add(MediaTime::from_millis(word.span.duration().as_millis() / 2));
        let place = segments
            .partition_point(|segment| segment.span.start() <= middle)
            .saturating_sub(1);
        if let Some(segment) = segments.get_mut(place) {
            segment.words.push(word);
        }
    }
}

/// A span given in seconds, inside the part.
fn span(start: f64, end: f64, part: Span) -> Result<Span> {
    // Servers round zero down now and then.
    let time = |seconds: f64| MediaTime::from_seconds_f64(seconds.max(0.0));
    match (time(start), time(end)) {
        (Some(start), Some(end)) => Ok(Span::between(start, end).clamp_to(part)),
        _ => Err(Error::protocol(
            "a segment of the transcript has times that cannot be",
        )),
    }
}

#[derive(Deserialize)]
struct Wire {
    text: String,
    language: Option<String>,
    languages: Option<Vec<Language>>,
    segments: Option<Vec<WireSegment>>,
    words: Option<Vec<WireWord>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Language {
    code: String,
}

#[derive(Deserialize)]
struct WireSegment {
    start: f64,
    end: f64,
    text: String,
    speaker: Option<String>,
    avg_logprob: Option<f64>,
    compression_ratio: Option<f64>,
    no_speech_prob: Option<f64>,
    words: Option<Vec<WireWord>>,
}

impl WireSegment {
    /// The segment, unless it says nothing.
    fn place(self, part: Span) -> Result<Option<Segment>> {
        let span = span(self.start, self.end, part)?;
        let text = self.text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        // vLLM fills in −1 for what it does not compute (vllm-project/vllm#24209).
        let computed = self.compression_ratio.is_none_or(|ratio| ratio >= 0.0);
        let log_probability = self.avg_logprob.filter(|_| computed);
        let mut words = Vec::new();
        for word in self.words.unwrap_or_default() {
            words.extend(word.place(part)?);
        }
        words.sort_by_key(|word: &Word| word.span.start());
        Ok(Some(Segment {
            span,
            text: text.to_owned(),
            speaker: self.speaker.filter(|speaker| !speaker.trim().is_empty()),
            confidence: log_probability.map(|log| log.exp().clamp(0.0, 1.0) as f32),
            words,
            times: TimeQuality::Measured,
            suspicion: judge(self.compression_ratio, log_probability, self.no_speech_prob),
        }))
    }
}

/// What Whisper's own numbers say against a segment.
fn judge(ratio: Option<f64>, log_probability: Option<f64>, silence: Option<f64>) -> Option<Suspicion> {
    if ratio.is_some_and(|ratio| ratio > REPETITIVE) {
        return Some(Suspicion::Repetitive);
    }
    let improbable = log_probability.is_some_and(|log| log < IMPROBABLE.0);
    let silent = silence.is_some_and(|probability| probability > IMPROBABLE.1);
    (improbable && silent).then_some(Suspicion::Improbable)
}

#[derive(Deserialize)]
struct WireWord {
    word: String,
    start: f64,
    end: f64,
    /// Only servers of one's own give it.
    probability: Option<f32>,
}

impl WireWord {
    fn place(self, part: Span) -> Result<Option<Word>> {
        let span = span(self.start, self.end, part)?;
        let text = self.word.trim();
        Ok((!text.is_empty()).then(|| Word {
            span,
            text: text.to_owned(),
            confidence: self.probability.map(|p| p.clamp(0.0, 1.0)),
        }))
    }
}

/// Seconds for some models, tokens for others; the seconds are known here anyway.
#[derive(Default, Deserialize)]
struct WireUsage {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(json: &str) -> Vec<Segment> {
        let wire: Wire = serde_json::from_str(json).unwrap();
        let part = Span::from_millis(0, 10_000);
        let mut segments: Vec<Segment> = wire
            .segments
            .unwrap_or_default()
            .into_iter()
            .filter_map(|segment| segment.place(part).unwrap())
            .collect();
        let words = wire.words.unwrap_or_default();
        give_words(
            &mut segments,
            words
                .into_iter()
                .filter_map(|word| word.place(part).unwrap())
                .collect(),
        );
        segments
    }

    #[test]
    fn whispers_own_doubts_are_kept() {
        let judged = |numbers: &str| {
            placed(&format!(
                r#"{{"text":"a","segments":[{{"start":0,"end":1,"text":" a ",{numbers}}}]}}"#
            ))
            .remove(0)
        };
        let plain = judged(r#""avg_logprob":-0.5,"compression_ratio":1.2,"no_speech_prob":0.1"#);
        assert_eq!((plain.text.as_str(), plain.suspicion), ("a", None));
        assert!((plain.confidence.unwrap() - 0.606).abs() < 0.01);
        let loops = judged(r#""avg_logprob":-0.5,"compression_ratio":2.5,"no_speech_prob":0.1"#);
        assert_eq!(loops.suspicion, Some(Suspicion::Repetitive));
        let invented = judged(r#""avg_logprob":-1.2,"compression_ratio":1.0,"no_speech_prob":0.7"#);
        assert_eq!(invented.suspicion, Some(Suspicion::Improbable));
        let quiet = judged(r#""avg_logprob":-0.2,"compression_ratio":1.0,"no_speech_prob":0.9"#);
        assert_eq!(quiet.suspicion, None);
        let unknown = judged(r#""avg_logprob":-1.0,"compression_ratio":-1.0,"no_speech_prob":-1.0"#);
        assert_eq!((unknown.confidence, unknown.suspicion), (None, None));
    }

    #[test]
    fn words_go_to_the_segment_they_are_spoken_in() {
        let segments = placed(
            r#"{"text":"a b c","segments":[{"start":0,"end":2,"text":"a b"},{"start":2,"end":99,"text":"c"}],
                "words":[{"word":" c","start":1.9,"end":2.5},{"word":"a","start":-0.01,"end":0.5},
                         {"word":"b","start":0.5,"end":2.2},{"word":" ","start":3,"end":4}]}"#,
        );
        let words: Vec<Vec<&str>> = segments
            .iter()
            .map(|segment| segment.words.iter().map(|word| word.text.as_str()).collect())
            .collect();
        assert_eq!(words, [vec!["a", "b"], vec!["c"]]);
        assert_eq!(segments[1].span, Span::from_millis(2_000, 10_000));
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        assert!(span(0.0, 1e300, Span::from_millis(0, 1)).is_err());
        assert_eq!(
            span(-0.02, 0.5, Span::from_millis(0, 400)).unwrap(),
            Span::from_millis(0, 400)
        );
    }
}
