//! Deepgram: speech to text with words, speakers and utterances.
//!
//! - <https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded>
//! - <https://developers.deepgram.com/docs/models-languages-overview>
//! - <https://developers.deepgram.com/docs/errors>
//!
//! The wire format is that of deepgram-sdk 7.17.0, read in November 2026. Limits are concurrent requests for each
//! project, answered with 429. Third parties name 2 GB and ten minutes of processing (504) as the largest request;
//! parts stay far below both.

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Answer, Call, Refinement, Refusal, Reply, Service, health_of};
use crate::wire::audio::{LONGEST_PART, encoded, primary};
use crate::wire::words::{Spoken, Turn, probability, seconds, segments, speaker, terms};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, PromptLimit, ProviderInfo, TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
    Usage,
};
use audiorag_core::model::PartTranscript;
use audiorag_core::{Error, ErrorKind, MediaTime, Result, Span};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;

pub(super) const VENDOR: Vendor = Vendor {
    id: ID,
    about: "speech to text with words, speakers and utterances",
    docs: "https://developers.deepgram.com/docs/pre-recorded-audio",
    settings: &[
        VendorSetting {
            path: "deepgram.api_key",
            aliases: &["DEEPGRAM_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key for Deepgram.",
        },
        VendorSetting {
            path: "deepgram.base_url",
            aliases: &["DEEPGRAM_BASE_URL"],
            kind: SettingKind::Url,
            default: Some(BASE_URL),
            doc: "Where Deepgram is reached: another region, or a server of one's own.",
        },
    ],
    transcribe: Some(Offer::new(MODELS, |ctx| Ok(Arc::new(Deepgram::new(ctx)?)))),
    ..Vendor::NONE
};

const ID: &str = "deepgram";
const BASE_URL: &str = "https://api.deepgram.com/v1";
/// Rises when the mapping of answers changes.
const VERSION: u32 = 1;
const DEFAULT: &str = "nova-3";

/// Without `model` Deepgram uses `base`, so it is always sent. The first is the default.
const MODELS: &[Model] = &[
    Model::new("nova-3", "words, speakers, detected language; takes key terms")
        // Pre-recorded, with the 0.0020 that telling speakers apart adds to 0.0043.
        .priced(Price {
            usd: 0.0063,
            unit: Unit::AudioMinute,
            checked: "2026-05-05",
            source: "deepgram.com/pricing, quoted in github.com/hail-hq/hail costs/stt.json",
        }),
    Model::new("nova-2", "words, speakers, detected language"),
];

/// Long enough that speakers keep their number for a while; 19 MB of WAV.
const PREFERRED_PART: MediaTime = MediaTime::from_seconds(600);
/// From third parties; Deepgram's own pages could not be read for it.
const MAX_BYTES: u64 = 2_000_000_000;
/// A project may run 50 to 100 requests at once; more than these only move the queue to the other side.
const CONCURRENCY: usize = 8;
/// From <https://developers.deepgram.com/docs/keyterms>, for models of the third generation only.
const MAX_TERMS: usize = 100;

/// Speech to text with Deepgram.
struct Deepgram {
    info: ProviderInfo,
    service: Service,
}

impl Deepgram {
    fn new(ctx: &VendorContext<'_>) -> Result<Self> {
        let key = ctx.key("deepgram.api_key", "DEEPGRAM_API_KEY")?;
        let service = ctx
            .http
            .service(ID, ctx.required("deepgram.base_url")?)?
            .secret_header("authorization", "Token ", &key)?
            .key_hint("check DEEPGRAM_API_KEY")
            .refine(refine)
            .build();
        Ok(Self {
            info: ProviderInfo {
                vendor: ID.to_owned(),
                model: ctx.model_or(DEFAULT),
                version: VERSION,
            },
            service,
        })
    }

    /// Only models of the third generation know key terms.
    fn takes_terms(&self) -> bool {
        self.info.model.starts_with("nova-3")
    }

    fn call(&self, request: &TranscribeRequest) -> Call {
        let mut call = Call::post("listen")
            .query("model", &self.info.model)
            .query("smart_format", "true")
            .query("punctuate", "true")
            .query("utterances", "true")
            // `diarize=true` is deprecated.
            .query("diarize_model", "latest");
        call = match &request.language {
            Some(language) => call.query("language", language),
            // Without either, English is assumed and everything else becomes nonsense without an error.
            None => call.query("detect_language", "true"),
        };
        if self.takes_terms() {
            for term in terms(request.prompt.as_deref(), MAX_TERMS, 10, 100) {
                call = call.query("keyterm", term);
            }
        }
        call.audio(request.span().duration())
    }
}

fn refine(refusal: &Refusal<'_>) -> Refinement {
    let said = refusal.body.get("err_msg").and_then(|said| said.as_str());
    match refusal.status {
        400 if said.is_some_and(|said| said.contains("No such model")) => Refinement {
            kind: Some(ErrorKind::NotFound),
            hint: Some("choose a model that Deepgram offers for this language"),
            ..Refinement::default()
        },
        403 => Refinement {
            hint: Some(
                "the project of this Deepgram key may not use what was asked for: check its model access",
            ),
            ..Refinement::default()
        },
        _ => Refinement::default(),
    }
}

#[async_trait]
impl Transcriber for Deepgram {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        TranscriberLimits {
            preferred_part: PREFERRED_PART,
            max_part: LONGEST_PART,
            max_bytes: Some(MAX_BYTES),
            concurrency: CONCURRENCY,
            prompt: if self.takes_terms() {
                PromptLimit::Terms { max_terms: MAX_TERMS }
            } else {
                PromptLimit::NotTaken
            },
            segment_times: true,
            word_times: true,
            speakers: true,
            languages: Vec::new(),
        }
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        if request.speech.is_empty() {
            return Ok(TranscribeResponse::default());
        }
        let part = request.span();
        let wav = encoded(&request, LONGEST_PART).await?;
        let call = self.call(&request).bytes("audio/wav", wav);
        let parse = |reply: &Reply| transcript(reply.json()?, request.language.as_deref(), part);
        let answer: Answer<PartTranscript> = self.service.send(&call, parse).await?;
        Ok(TranscribeResponse {
            transcript: answer.value,
            usage: Usage {
                requests: answer.requests,
                unknown: answer.unknown,
                audio: part.duration(),
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        let started = Instant::now();
        // Deepgram has no route for health. Listing the projects of a key is what its own examples check keys with.
        let found = self.service.json::<Projects>(&Call::get("projects")).await;
        let outcome = found.map(|answer| {
            let count = answer.value.projects.len();
            format!(
                "the key is accepted for {count} projects; {} is not checked",
                self.info.model
            )
        });
        health_of(outcome, started.elapsed())
    }
}

/// What Deepgram heard: its utterances where it gives them, else its words.
fn transcript(listened: Listened, asked: Option<&str>, part: Span) -> Result<PartTranscript> {
    let channel = listened.results.channels.into_iter().next();
    let channel = channel.ok_or_else(|| Error::protocol("Deepgram answers without a channel"))?;
    let language = channel.detected_language.as_deref().or(asked).map(primary);
    let best = channel.alternatives.into_iter().next().unwrap_or_default();
    let said = best.transcript.is_some_and(|text| !text.trim().is_empty());
    let utterances = listened.results.utterances.unwrap_or_default();
    let turns = if utterances.is_empty() {
        let words = best.words.into_iter().map(HeardWord::spoken);
        vec![Turn {
            written: None,
            words: words.collect::<Result<_>>()?,
        }]
    } else {
        utterances
            .into_iter()
            .map(Utterance::turn)
            .collect::<Result<_>>()?
    };
    let segments = segments(turns, part);
    if said && segments.is_empty() {
        return Err(Error::protocol(
            "Deepgram answers with text but without its words",
        ));
    }
    Ok(PartTranscript { segments, language })
}

#[derive(Deserialize)]
struct Projects {
    projects: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Listened {
    results: Results,
}

#[derive(Deserialize)]
struct Results {
    channels: Vec<Channel>,
    utterances: Option<Vec<Utterance>>,
}

#[derive(Deserialize)]
struct Channel {
    alternatives: Vec<Alternative>,
    detected_language: Option<String>,
}

#[derive(Default, Deserialize)]
struct Alternative {
    transcript: Option<String>,
    #[serde(default)]
    words: Vec<HeardWord>,
}

#[derive(Deserialize)]
struct Utterance {
    transcript: String,
    confidence: Option<f64>,
    #[serde(default)]
    words: Vec<HeardWord>,
}

impl Utterance {
    fn turn(self) -> Result<Turn> {
        Ok(Turn {
            written: Some((self.transcript, probability(self.confidence))),
            words: self
                .words
                .into_iter()
                .map(HeardWord::spoken)
                .collect::<Result<_>>()?,
        })
    }
}

/// A word of a channel or an utterance.
#[derive(Deserialize)]
struct HeardWord {
    word: String,
    punctuated_word: Option<String>,
    start: Option<f64>,
    end: Option<f64>,
    confidence: Option<f64>,
    speaker: Option<u32>,
}

impl HeardWord {
    fn spoken(self) -> Result<Spoken> {
        Ok(Spoken {
            span: seconds(self.start, self.end)?,
            text: self.punctuated_word.unwrap_or(self.word),
            lead: " ",
            confidence: probability(self.confidence),
            speaker: self.speaker.map(speaker),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(json: &str) -> Result<PartTranscript> {
        transcript(
            serde_json::from_str(json).unwrap(),
            Some("pt-BR"),
            Span::from_millis(0, 5_000),
        )
    }

    #[test]
    fn words_stand_in_for_missing_utterances() {
        let found = heard(
            r#"{"results": {"channels": [{"alternatives": [{"transcript": "two words", "words": [
                {"word": "words", "start": 0.5, "end": 0.9, "confidence": 0.8, "speaker": 1},
                {"word": "two", "punctuated_word": "Two", "start": 0.1, "end": 0.4, "confidence": 1.0, "speaker": 1}
            ]}]}]}}"#,
        )
        .unwrap();
        assert_eq!(found.language.as_deref(), Some("pt"));
        let segment = &found.segments[0];
        assert_eq!(
            (segment.text.as_str(), segment.speaker.as_deref()),
            ("Two words", Some("speaker 1"))
        );
        assert_eq!(segment.span, Span::from_millis(100, 900));
        assert_eq!(segment.confidence, Some(0.9));
    }

    #[test]
    fn silence_is_empty_and_lost_words_are_noticed() {
        let silent = r#"{"results": {"channels": [{"alternatives": [{"transcript": "", "words": []}]}]}}"#;
        assert!(heard(silent).unwrap().segments.is_empty());
        for broken in [
            r#"{"results": {"channels": []}}"#,
            r#"{"results": {"channels": [{"alternatives": [{"transcript": "lost", "words": []}]}]}}"#,
            r#"{"results": {"channels": [{"alternatives": [{"words": [{"word": "x", "end": 1.0}]}]}]}}"#,
        ] {
            assert_eq!(heard(broken).unwrap_err().kind(), ErrorKind::Protocol);
        }
    }
}
