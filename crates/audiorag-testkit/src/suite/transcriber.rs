//! The contract of [`Transcriber`].

use super::{check_health, check_info};
use crate::synth::Track;
use audiorag_core::capability::{TranscribeRequest, TranscribeResponse, Transcriber};
use audiorag_core::model::{SAMPLE_RATE, Segment};
use audiorag_core::{MediaTime, Span};

/// What to transcribe and what to expect.
#[derive(Clone, Debug)]
pub struct TranscriberCase {
    /// A part that holds speech.
    pub speech: TranscribeRequest,
    /// A part that holds none.
    pub silence: TranscribeRequest,
    /// Words that the speech must contain, in lower case. May be empty for synthetic speech.
    pub words: Vec<String>,
    /// Whether the same request must give the same segments: true of local models.
    pub repeatable: bool,
}

impl TranscriberCase {
    /// Synthetic speech: for transcribers that listen to the samples without understanding them.
    pub fn synthetic() -> Self {
        let speech = Track::new(SAMPLE_RATE)
            .silence(400)
            .speech(3_000, 1)
            .silence(900)
            .speech(2_000, 2);
        Self {
            speech: request(&speech),
            silence: request(&Track::new(SAMPLE_RATE).silence(2_000)),
            words: Vec::new(),
            repeatable: true,
        }
    }
}

/// The request for a whole recording with its true speech spans.
///
/// # Panics
/// When the track is not at the rate of all decoded audio.
pub fn request(track: &Track) -> TranscribeRequest {
    assert_eq!(track.rate(), SAMPLE_RATE, "requests hold decoded audio");
    TranscribeRequest {
        samples: track.samples().into(),
        speech: track.speech_spans().to_vec(),
        language: None,
        prompt: None,
    }
}

/// Checks every line of the contract.
pub async fn run(transcriber: &dyn Transcriber, case: &TranscriberCase) {
    check_info(transcriber.info());
    let name = transcriber.info().fingerprint();
    check_limits(&name, transcriber);
    check_health(&name, &transcriber.health_check().await);

    let response = transcribe(&name, transcriber, &case.speech).await;
    check_segments(&name, transcriber, &case.speech, &response);
    let spoken = text(&response).to_lowercase();
    assert!(!spoken.is_empty(), "{name}: nothing was heard in speech");
    for word in &case.words {
        assert!(
            spoken.contains(word),
            "{name}: '{word}' is missing from '{spoken}'"
        );
    }
    assert!(
        response.usage.audio > MediaTime::ZERO,
        "{name}: the usage names no audio"
    );

    let response = transcribe(&name, transcriber, &case.silence).await;
    assert!(
        response.transcript.segments.is_empty(),
        "{name}: heard '{}' in audio without speech",
        text(&response)
    );
    let nothing = TranscribeRequest {
        samples: Vec::new().into(),
        speech: Vec::new(),
        ..case.silence.clone()
    };
    let response = transcribe(&name, transcriber, &nothing).await;
    assert!(
        response.transcript.segments.is_empty(),
        "{name}: heard something in no audio at all"
    );

    times_are_relative_to_the_part(&name, transcriber, case).await;
    repeating_is_safe(&name, transcriber, case).await;
}

fn check_limits(name: &str, transcriber: &dyn Transcriber) {
    let limits = transcriber.limits();
    assert!(limits.concurrency > 0, "{name}: no call may run");
    assert!(
        limits.preferred_part > MediaTime::ZERO,
        "{name}: parts without length"
    );
    assert!(
        limits.preferred_part <= limits.max_part,
        "{name}: prefers longer parts than it accepts"
    );
}

async fn transcribe(
    name: &str,
    transcriber: &dyn Transcriber,
    request: &TranscribeRequest,
) -> TranscribeResponse {
    match transcriber.transcribe(request.clone()).await {
        Ok(response) => response,
        Err(error) => panic!(
            "{name}: transcribing {} failed: {}",
            request.span(),
            error.report()
        ),
    }
}

fn text(response: &TranscribeResponse) -> String {
    response
        .transcript
        .segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn check_segments(
    name: &str,
    transcriber: &dyn Transcriber,
    request: &TranscribeRequest,
    response: &TranscribeResponse,
) {
    let limits = transcriber.limits();
    let segments = &response.transcript.segments;
    assert!(
        segments.is_sorted_by_key(|segment| segment.span.start()),
        "{name}: segments are not sorted by start"
    );
    for segment in segments {
        let Segment {
            span,
            text,
            words,
            confidence,
            ..
        } = segment;
        assert!(
            request.span().contains(*span),
            "{name}: segment {span:?} leaves the part {:?}",
            request.span()
        );
        assert!(
            !text.is_empty() && text.trim() == text,
            "{name}: untrimmed or empty text '{text}'"
        );
        assert!(
            confidence.is_none_or(|p| (0.0..=1.0).contains(&p)),
            "{name}: confidence {confidence:?}"
        );
        assert!(
            words.is_sorted_by_key(|word| word.span.start()),
            "{name}: words are not sorted by start"
        );
        for word in words {
            assert!(
                request.span().contains(word.span),
                "{name}: word '{}' leaves the part",
                word.text
            );
            assert!(!word.text.is_empty(), "{name}: an empty word");
        }
        if limits.word_times {
            assert!(
                !words.is_empty(),
                "{name}: declares word times and gives none for '{text}'"
            );
        }
        if limits.speakers {
            assert!(
                segment.speaker.is_some(),
                "{name}: declares speakers and names none for '{text}'"
            );
        }
    }
}

/// The same speech behind a second of silence moves later by about a second, not more and not less.
async fn times_are_relative_to_the_part(name: &str, transcriber: &dyn Transcriber, case: &TranscriberCase) {
    let shift = MediaTime::from_seconds(1);
    let mut samples = vec![0.0; shift.to_samples(SAMPLE_RATE) as usize];
    samples.extend_from_slice(&case.speech.samples.to_float());
    let speech: Vec<Span> = case.speech.speech.iter().map(|span| span.shift(shift)).collect();
    let later = TranscribeRequest {
        samples: samples.into(),
        speech,
        ..case.speech.clone()
    };
    let response = transcribe(name, transcriber, &later).await;
    check_segments(name, transcriber, &later, &response);
    if !(case.repeatable && transcriber.limits().segment_times) {
        return;
    }
    let first = transcribe(name, transcriber, &case.speech).await;
    let starts = |response: &TranscribeResponse| response.transcript.segments.first().map(|s| s.span.start());
    let (Some(before), Some(after)) = (starts(&first), starts(&response)) else {
        panic!("{name}: nothing was heard in speech");
    };
    let moved = after.saturating_sub(before).as_millis();
    assert!(
        (500..=1_500).contains(&moved),
        "{name}: a second of silence moved the first segment by {moved} ms"
    );
}

async fn repeating_is_safe(name: &str, transcriber: &dyn Transcriber, case: &TranscriberCase) {
    let (one, two) = tokio::join!(
        transcribe(name, transcriber, &case.speech),
        transcribe(name, transcriber, &case.speech)
    );
    check_segments(name, transcriber, &case.speech, &two);
    if case.repeatable {
        assert_eq!(
            one.transcript, two.transcript,
            "{name}: the same request gave two answers"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeTranscriber;
    use async_trait::async_trait;
    use audiorag_core::Result;
    use audiorag_core::capability::{Health, ProviderInfo, TranscriberLimits};

    /// Breaks one line of the contract.
    struct Broken(FakeTranscriber, fn(&mut TranscribeResponse));

    #[async_trait]
    impl Transcriber for Broken {
        fn info(&self) -> &ProviderInfo {
            self.0.info()
        }
        fn limits(&self) -> TranscriberLimits {
            self.0.limits()
        }
        async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
            let mut response = self.0.transcribe(request).await?;
            (self.1)(&mut response);
            Ok(response)
        }
        async fn health_check(&self) -> Health {
            self.0.health_check().await
        }
    }

    async fn broken(breakage: fn(&mut TranscribeResponse)) {
        run(
            &Broken(FakeTranscriber::new(), breakage),
            &TranscriberCase::synthetic(),
        )
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "not sorted")]
    async fn notices_disorder() {
        broken(|response| response.transcript.segments.reverse()).await;
    }

    #[tokio::test]
    #[should_panic(expected = "leaves the part")]
    async fn notices_source_times() {
        broken(|response| {
            for segment in &mut response.transcript.segments {
                segment.span = segment.span.shift(MediaTime::from_seconds(60));
            }
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "untrimmed or empty")]
    async fn notices_untrimmed_text() {
        broken(|response| {
            for segment in &mut response.transcript.segments {
                segment.text.push(' ');
            }
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "without speech")]
    async fn notices_inventions() {
        broken(|response| {
            if response.transcript.segments.is_empty() {
                response.transcript.segments.push(Segment {
                    text: "Thank you.".into(),
                    ..Segment::default()
                });
            }
        })
        .await;
    }
}
