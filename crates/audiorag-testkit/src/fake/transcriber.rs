//! Speech to text without a model.

use super::{Script, health, info, lock};
use crate::synth::Random;
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, PromptLimit, ProviderInfo, TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
    Usage,
};
use audiorag_core::model::{PartTranscript, SAMPLE_RATE, Segment, TimeQuality, Word};
use audiorag_core::{MediaTime, Result, Span};
use std::sync::Mutex;

/// Nouns, verbs and adjectives that no two of share a stem, so that lexical search tells sentences apart.
const WORDS: [&str; 64] = [
    "harbour",
    "lantern",
    "violet",
    "engine",
    "meadow",
    "copper",
    "whisper",
    "glacier",
    "orchard",
    "pepper",
    "satellite",
    "blanket",
    "thunder",
    "marble",
    "compass",
    "velvet",
    "canyon",
    "biscuit",
    "trumpet",
    "lizard",
    "cathedral",
    "saffron",
    "anchor",
    "puzzle",
    "feather",
    "volcano",
    "ribbon",
    "tunnel",
    "walnut",
    "mirror",
    "caravan",
    "pebble",
    "sonnet",
    "bamboo",
    "cactus",
    "dolphin",
    "ember",
    "falcon",
    "gallery",
    "hammock",
    "island",
    "jasmine",
    "kettle",
    "lagoon",
    "magnet",
    "nectar",
    "opera",
    "pigeon",
    "quartz",
    "raven",
    "summit",
    "temple",
    "umbrella",
    "vineyard",
    "window",
    "yacht",
    "zeppelin",
    "almond",
    "bridge",
    "cinder",
    "dagger",
    "elbow",
    "fossil",
    "granite",
];

/// What the words of a call come from.
enum Text {
    /// A hash of the samples: the same audio is always the same text, different audio is different text.
    Samples,
    /// Given texts, one for each call in order of arrival; the last repeats.
    Calls(Vec<String>),
}

/// A transcriber that makes one segment of each speech span.
///
/// By default its words are a function of the samples in the span, about two a second, so that any change of
/// the audio or of its cut shows in the text. [`saying`](Self::saying) gives the words instead.
pub struct FakeTranscriber {
    info: ProviderInfo,
    limits: TranscriberLimits,
    text: Text,
    script: Script,
    requests: Mutex<Vec<TranscribeRequest>>,
}

impl Default for FakeTranscriber {
    fn default() -> Self {
        Self {
            info: info("transcriber"),
            limits: TranscriberLimits {
                preferred_part: MediaTime::from_seconds(30),
                max_part: MediaTime::from_seconds(120),
                max_bytes: None,
                concurrency: 4,
                prompt: PromptLimit::NotTaken,
                segment_times: true,
                word_times: false,
                speakers: false,
                languages: vec!["en".to_owned()],
            },
            text: Text::Samples,
            script: Script::default(),
            requests: Mutex::default(),
        }
    }
}

impl FakeTranscriber {
    /// Words derived from the audio, four calls side by side, parts of about 30 s.
    pub fn new() -> Self {
        Self::default()
    }

    /// The given texts, one for each call; the words of a text are spread over the call's speech spans.
    pub fn saying<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self {
            text: Text::Calls(texts.into_iter().map(Into::into).collect()),
            ..Self::default()
        }
    }

    /// Changes the declared limits. With `word_times` words carry times; with `speakers` they take turns.
    pub fn with_limits(mut self, change: impl FnOnce(&mut TranscriberLimits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Another model name or version: another cache key.
    pub fn with_model(mut self, model: &str, version: u32) -> Self {
        model.clone_into(&mut self.info.model);
        self.info.version = version;
        self
    }

    /// Failures, delays and counts.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Every request so far, in order of arrival, failed ones included.
    pub fn requests(&self) -> Vec<TranscribeRequest> {
        lock(&self.requests).clone()
    }

    /// The audio of all requests together, as a vendor would bill it.
    pub fn billed(&self) -> MediaTime {
        lock(&self.requests).iter().fold(MediaTime::ZERO, |sum, request| {
            sum.saturating_add(request.span().duration())
        })
    }

    fn transcript(&self, number: usize, request: &TranscribeRequest) -> PartTranscript {
        let spans: Vec<Span> = request
            .speech
            .iter()
            .map(|span| span.clamp_to(request.span()))
            .filter(|span| !span.is_empty())
            .collect();
        let sentences: Vec<Vec<String>> = match &self.text {
            Text::Samples => spans.iter().map(|span| words_of(request, *span)).collect(),
            Text::Calls(texts) => {
                let text = texts.get(number - 1).or(texts.last()).map_or("", String::as_str);
                spread(text, spans.len())
            }
        };
        let segments = spans
            .iter()
            .zip(sentences)
            .enumerate()
            .filter(|(_, (_, words))| !words.is_empty())
            .map(|(index, (span, words))| self.segment(index, *span, &words))
            .collect();
        PartTranscript {
            segments,
            language: Some(request.language.clone().unwrap_or_else(|| "en".to_owned())),
        }
    }

    fn segment(&self, index: usize, span: Span, words: &[String]) -> Segment {
        let timed = |position: usize| {
            let at = |step: usize| {
                let along = span.duration().as_millis() * step as u64 / words.len() as u64;
                span.start().saturating_add(MediaTime::from_millis(along))
            };
            Span::between(at(position), at(position + 1))
        };
        let word = |(position, text): (usize, &String)| Word {
            span: timed(position),
            text: text.clone(),
            confidence: Some(0.9),
        };
        Segment {
            span,
            text: words.join(" "),
            speaker: self.limits.speakers.then(|| format!("speaker {}", index % 2 + 1)),
            confidence: Some(0.9),
            words: if self.limits.word_times {
                words.iter().enumerate().map(word).collect()
            } else {
                Vec::new()
            },
            times: TimeQuality::Measured,
            suspicion: None,
        }
    }
}

/// A sentence drawn from the samples under `span`.
fn words_of(request: &TranscribeRequest, span: Span) -> Vec<String> {
    let samples = request.samples.to_float();
    let at = |time: MediaTime| (time.to_samples(SAMPLE_RATE) as usize).min(samples.len());
    // 8-bit steps: rounding in the last bits of a decoder rarely reaches them.
    let seed =
        samples[at(span.start())..at(span.end())]
            .iter()
            .fold(0xCBF2_9CE4_8422_2325u64, |hash, sample| {
                (hash ^ u64::from((sample * 127.0).round() as i8 as u8)).wrapping_mul(0x0100_0000_01B3)
            });
    let mut random = Random::new(seed);
    let count = (span.duration().as_millis() / 500).clamp(3, 60) as usize;
    let mut words: Vec<String> = (0..count)
        .map(|_| WORDS[random.below(WORDS.len())].to_owned())
        .collect();
    if let Some(last) = words.last_mut() {
        last.push('.');
    }
    words
}

/// The words of `text` in `count` runs of nearly equal length.
fn spread(text: &str, count: usize) -> Vec<Vec<String>> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    (0..count)
        .map(|index| words[words.len() * index / count..words.len() * (index + 1) / count].to_vec())
        .collect()
}

#[async_trait]
impl Transcriber for FakeTranscriber {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        self.limits.clone()
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        let audio = request.span().duration();
        lock(&self.requests).push(request.clone());
        let (number, ticket) = self.script.enter().await?;
        let transcript = self.transcript(number, &request);
        ticket.succeed();
        Ok(TranscribeResponse {
            transcript,
            usage: Usage {
                requests: 1,
                audio,
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        health(&self.script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::transcriber::{TranscriberCase, request, run};
    use crate::synth::Track;
    use audiorag_core::ErrorKind;

    fn track() -> Track {
        Track::new(SAMPLE_RATE)
            .silence(300)
            .speech(2_000, 1)
            .silence(700)
            .speech(1_500, 2)
            .silence(100)
    }

    #[tokio::test]
    async fn honours_the_contract() {
        run(&FakeTranscriber::new(), &TranscriberCase::synthetic()).await;
        let rich = FakeTranscriber::new().with_limits(|limits| {
            limits.word_times = true;
            limits.speakers = true;
        });
        run(&rich, &TranscriberCase::synthetic()).await;
    }

    #[tokio::test]
    async fn text_depends_on_the_audio_and_on_nothing_else() {
        let fake = FakeTranscriber::new();
        let text = async |track: &Track| {
            let transcript = fake.transcribe(request(track)).await.unwrap().transcript;
            transcript
                .segments
                .iter()
                .map(|segment| segment.text.clone())
                .collect::<Vec<_>>()
        };
        let first = text(&track()).await;
        assert_eq!(first.len(), 2);
        assert_ne!(first[0], first[1]);
        assert_eq!(text(&track()).await, first);
        assert_ne!(text(&Track::new(SAMPLE_RATE).speech(2_000, 3)).await[0], first[0]);
        // A later start of the same burst is the same burst.
        assert_eq!(
            text(&Track::new(SAMPLE_RATE).silence(900).speech(2_000, 1)).await[0],
            first[0]
        );
        assert_eq!(fake.requests().len(), 4);
        assert_eq!(
            fake.billed(),
            MediaTime::from_millis(4_600 + 4_600 + 2_000 + 2_900)
        );
    }

    #[tokio::test]
    async fn says_what_it_is_told_in_order_and_fails_when_told() {
        let fake = FakeTranscriber::saying(["one two three four", "five six"]);
        fake.script().fail_nth(2, ErrorKind::Unavailable);
        let first = fake.transcribe(request(&track())).await.unwrap().transcript;
        assert_eq!(
            (first.segments[0].text.as_str(), first.segments[1].text.as_str()),
            ("one two", "three four")
        );
        assert!(fake.transcribe(request(&track())).await.is_err());
        assert_eq!(
            fake.transcribe(request(&track()))
                .await
                .unwrap()
                .transcript
                .segments[1]
                .text,
            "six"
        );
        assert_eq!(fake.script().calls(), 3);
        assert_eq!(fake.with_model("other", 2).info().fingerprint(), "fake/other@2");
    }
}
