//! ElevenLabs Scribe: speech to text with words and speakers.
//!
//! - <https://elevenlabs.io/docs/api-reference/speech-to-text/convert>
//! - <https://elevenlabs.io/docs/overview/capabilities/speech-to-text>
//! - <https://help.elevenlabs.io/hc/en-us/articles/19572237925521> (errors)
//!
//! The wire format is that of the elevenlabs package 2.78.0 and of the example in the capability guide, both read in
//! November 2026. Files longer than eight minutes count as several concurrent requests.

use super::{Model, Offer, SettingKind, Vendor, VendorContext, VendorSetting};
use crate::http::{Answer, Call, Field, Refinement, Refusal, Reply, Service, health_of};
use crate::wire::audio::{LONGEST_PART, encoded, primary};
use crate::wire::words::{Spoken, Turn, probability, seconds, segments, speaker, terms};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, PromptLimit, ProviderInfo, TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
    Usage,
};
use audiorag_core::model::PartTranscript;
use audiorag_core::{Error, ErrorKind, MediaTime, Result, Span};
use bytes::Bytes;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;

pub(super) const VENDOR: Vendor = Vendor {
    id: ID,
    about: "speech to text with words and speakers (Scribe)",
    docs: "https://elevenlabs.io/docs/api-reference/speech-to-text/convert",
    settings: &[
        VendorSetting {
            path: "elevenlabs.api_key",
            aliases: &["ELEVENLABS_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key for ElevenLabs, with access to Speech to Text.",
        },
        VendorSetting {
            path: "elevenlabs.base_url",
            aliases: &["ELEVENLABS_BASE_URL"],
            kind: SettingKind::Url,
            default: Some(BASE_URL),
            doc: "Where ElevenLabs is reached.",
        },
    ],
    transcribe: Some(Offer::new(MODELS, |ctx| Ok(Arc::new(Scribe::new(ctx)?)))),
    ..Vendor::NONE
};

const ID: &str = "elevenlabs";
const BASE_URL: &str = "https://api.elevenlabs.io";
/// Rises when the mapping of answers changes.
const VERSION: u32 = 1;
const DEFAULT: &str = "scribe_v2";

/// From the capability guide; the package also speaks of `scribe_v3`, which the guide does not list yet.
const MODELS: &[Model] = &[
    Model::new(
        "scribe_v2",
        "90 languages and more, words, up to 32 speakers; takes key terms",
    ),
    Model::new("scribe_v1", "99 languages, words, up to 32 speakers"),
];

/// Up to here a request counts once against the concurrency of a plan.
const PREFERRED_PART: MediaTime = MediaTime::from_seconds(480);
/// The package says 2 GB for files by URL, third parties 3 GB for uploads.
const MAX_BYTES: u64 = 2_000_000_000;
/// The smallest paid plans allow about this many requests at once (third parties).
const CONCURRENCY: usize = 4;
/// With more than this, 20 seconds are billed at least.
const MAX_TERMS: usize = 100;
const MAX_TERM_WORDS: usize = 5;
/// Letters of a key term, and those it must not hold.
const MAX_TERM_LETTERS: usize = 50;
const FORBIDDEN_IN_TERMS: &[char] = &['<', '>', '{', '}', '[', ']', '\\'];

/// BCP 47 wants the short code of a language where it has one; Scribe answers with the long one.
const LANGUAGES: &str = "\
    ara:ar bul:bg cat:ca ces:cs cmn:zh cym:cy dan:da deu:de ell:el eng:en est:et fas:fa fin:fi \
    fra:fr gle:ga glg:gl heb:he hin:hi hrv:hr hun:hu ind:id isl:is ita:it jpn:ja kor:ko lav:lv \
    lit:lt msa:ms nld:nl nor:no pol:pl por:pt ron:ro rus:ru slk:sk slv:sl spa:es srp:sr swa:sw \
    swe:sv tam:ta tha:th tur:tr ukr:uk urd:ur vie:vi zho:zh";

/// Speech to text with Scribe.
struct Scribe {
    info: ProviderInfo,
    service: Service,
}

impl Scribe {
    fn new(ctx: &VendorContext<'_>) -> Result<Self> {
        let key = ctx.key("elevenlabs.api_key", "ELEVENLABS_API_KEY")?;
        let service = ctx
            .http
            .service(ID, ctx.required("elevenlabs.base_url")?)?
            .secret_header("xi-api-key", "", &key)?
            .key_hint("check ELEVENLABS_API_KEY")
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

    fn form(&self, request: &TranscribeRequest, wav: Bytes) -> Vec<Field> {
        let mut fields = vec![
            Field::Text("model_id", self.info.model.clone()),
            Field::Text("diarize", "true".to_owned()),
            Field::Text("timestamps_granularity", "word".to_owned()),
            // "(laughter)" is not said, and must not be found or quoted.
            Field::Text("tag_audio_events", "false".to_owned()),
        ];
        if let Some(language) = &request.language {
            fields.push(Field::Text("language_code", primary(language)));
        }
        let listed = terms(
            request.prompt.as_deref(),
            MAX_TERMS,
            MAX_TERM_WORDS,
            MAX_TERM_LETTERS,
        );
        let allowed = listed
            .into_iter()
            .filter(|term| !term.contains(FORBIDDEN_IN_TERMS));
        fields.extend(allowed.map(|term| Field::Text("keyterms", term)));
        fields.push(Field::File("file", "part.wav", "audio/wav", wav));
        fields
    }
}

/// ElevenLabs says what went wrong in `detail.status`, newer routes in `detail.code`.
fn refine(refusal: &Refusal<'_>) -> Refinement {
    let said = |field: &str| refusal.body.pointer(&format!("/detail/{field}"))?.as_str();
    let (kind, hint) = match said("status").or_else(|| said("code")).unwrap_or_default() {
        "quota_exceeded" => (Some(ErrorKind::Budget), None),
        "missing_permissions" => (
            Some(ErrorKind::Auth),
            Some("give the ElevenLabs key access to Speech to Text"),
        ),
        "model_not_found" | "invalid_model_id" => (Some(ErrorKind::NotFound), None),
        _ => (None, None),
    };
    Refinement {
        kind,
        hint,
        ..Refinement::default()
    }
}

#[async_trait]
impl Transcriber for Scribe {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        TranscriberLimits {
            preferred_part: PREFERRED_PART,
            max_part: LONGEST_PART,
            max_bytes: Some(MAX_BYTES),
            concurrency: CONCURRENCY,
            prompt: PromptLimit::Terms { max_terms: MAX_TERMS },
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
        let call = Call::post("v1/speech-to-text")
            .form(self.form(&request, wav))
            .audio(part.duration());
        let parse = |reply: &Reply| transcript(reply.json()?, part);
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
        // The list holds models for speech only, not Scribe.
        let outcome = match self.service.done(&Call::get("v1/models")).await {
            Ok(_) => Ok(format!("the key is accepted; {} is not checked", self.info.model)),
            // A key that may do nothing but transcribe is a good key.
            Err(error) if is_restricted(&error) => Ok("the key is accepted, and restricted".to_owned()),
            Err(error) => Err(error),
        };
        health_of(outcome, started.elapsed())
    }
}

/// Whether a key was recognised but may not do what was asked.
fn is_restricted(error: &Error) -> bool {
    let said = error.context().iter().find(|(key, _)| *key == "said");
    error.kind() == ErrorKind::Auth && said.is_some_and(|(_, said)| said.contains("missing the permission"))
}

fn transcript(chunk: Chunk, part: Span) -> Result<PartTranscript> {
    let mut words: Vec<Spoken> = Vec::with_capacity(chunk.words.len() / 2);
    // Where a language has no spaces, nothing stands between words.
    let mut spaces = "";
    for word in chunk.words {
        match word.kind.as_str() {
            "spacing" => spaces = " ",
            "word" => words.push(Spoken {
                span: seconds(word.start, word.end)?,
                text: word.text,
                lead: std::mem::take(&mut spaces),
                confidence: probability(word.logprob.map(f64::exp)),
                speaker: word
                    .speaker_id
                    .map(|id| speaker(id.trim_start_matches("speaker_"))),
            }),
            _ => {}
        }
    }
    if words.is_empty() && !chunk.text.trim().is_empty() && !chunk.text.trim_start().starts_with('(') {
        return Err(Error::protocol(
            "ElevenLabs answers with text but without its words",
        ));
    }
    let turn = Turn { written: None, words };
    Ok(PartTranscript {
        segments: segments(vec![turn], part),
        language: chunk.language_code.as_deref().map(language),
    })
}

fn language(code: &str) -> String {
    let code = primary(code);
    let short = LANGUAGES
        .split_whitespace()
        .filter_map(|pair| pair.split_once(':'))
        .find(|(long, _)| *long == code);
    short.map_or(code.clone(), |(_, short)| short.to_owned())
}

#[derive(Deserialize)]
struct Chunk {
    language_code: Option<String>,
    text: String,
    words: Vec<ScribeWord>,
}

#[derive(Deserialize)]
struct ScribeWord {
    text: String,
    start: Option<f64>,
    end: Option<f64>,
    #[serde(rename = "type")]
    kind: String,
    speaker_id: Option<String>,
    logprob: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(json: &str) -> Result<PartTranscript> {
        transcript(serde_json::from_str(json).unwrap(), Span::from_millis(0, 5_000))
    }

    #[test]
    fn words_are_joined_as_the_language_writes_them() {
        let found = heard(
            r#"{"language_code": "jpn", "text": "東京です", "words": [
                {"text": "東京", "start": 0.0, "end": 0.4, "type": "word", "logprob": 0.0},
                {"text": "です", "start": 0.4, "end": 0.8, "type": "word", "logprob": -0.6931471805599453}
            ]}"#,
        )
        .unwrap();
        assert_eq!(found.language.as_deref(), Some("ja"));
        assert_eq!(found.segments[0].text, "東京です");
        assert_eq!(found.segments[0].words[1].confidence, Some(0.5));
        assert_eq!(found.segments[0].speaker, None);
        assert_eq!(
            (language("en"), language("xyz")),
            ("en".to_owned(), "xyz".to_owned())
        );
    }

    #[test]
    fn sounds_are_not_words() {
        let found = heard(
            r#"{"language_code": null, "text": "(laughter)", "words": [
                {"text": "(laughter)", "start": 0.0, "end": 0.4, "type": "audio_event", "logprob": 0.0}
            ]}"#,
        )
        .unwrap();
        assert!(found.segments.is_empty());
        let lost = heard(r#"{"language_code": "eng", "text": "lost", "words": []}"#);
        assert_eq!(lost.unwrap_err().kind(), ErrorKind::Protocol);
    }
}
