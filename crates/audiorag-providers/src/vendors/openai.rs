//! OpenAI, and servers that speak its dialect.
//!
//! Documentation: <https://developers.openai.com/api/reference>; the wire types are those of the openai SDK 3.54.0.
//! - Speech to text: `gpt-transcribe` gives text alone, so the times inside a part are estimates and parts are
//!   short; the models that measure times end on 2027-02-26. A body holds at most 26,214,400 bytes.
//! - Embeddings: 2,048 texts, 8,192 tokens each and 300,000 tokens together in a request. A longer text is refused
//!   by the service, so it is cut here.
//! - Answers: the Responses API, or chat completions for other servers. Models think before they answer, and their
//!   thoughts count against the same limit of tokens: they are told not to where they can be.
//!
//! With `openai.base_url` set, Ollama, vLLM, llama.cpp, LM Studio or speaches answer instead. They need no key.

mod embeddings;
mod responses;

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Refinement, Refusal, Service};
use crate::wire::answer::{self, ROOM_TO_THINK};
use crate::wire::openai::transcription::{self, Format, MAX_BYTES, MAX_PART, Manner};
use crate::wire::openai::{self, Chat, FIRST_WORD};
use crate::wire::put;
use async_trait::async_trait;
use audiorag_core::capability::{
    GenerateRequest, GenerateStream, Generator, GeneratorLimits, Health, PromptLimit, ProviderInfo,
    TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
};
use audiorag_core::{MediaTime, Result};
use serde_json::json;
use std::sync::Arc;

pub(super) const VENDOR: Vendor = Vendor {
    id: "openai",
    about: "OpenAI, or any server that speaks its dialect: speech, embeddings, answers",
    docs: "https://developers.openai.com/api/reference",
    settings: SETTINGS,
    transcribe: Some(Offer::new(SPEECH_MODELS, build_transcriber)),
    embed: Some(Offer::new(embeddings::MODELS, embeddings::build)),
    generate: Some(Offer::new(ANSWER_MODELS, build_generator)),
    ..Vendor::NONE
};

const SETTINGS: &[VendorSetting] = &[
    VendorSetting {
        path: "openai.api_key",
        aliases: &["OPENAI_API_KEY"],
        kind: SettingKind::Secret,
        default: None,
        doc: "The key for OpenAI. Other servers need none, unless they say so.",
    },
    VendorSetting {
        path: "openai.base_url",
        aliases: &["OPENAI_BASE_URL"],
        kind: SettingKind::Url,
        default: Some("https://api.openai.com/v1"),
        doc: "Where OpenAI or a server that speaks its dialect answers; usually ends in /v1.",
    },
    VendorSetting {
        path: "openai.organization",
        aliases: &["OPENAI_ORG_ID"],
        kind: SettingKind::Text,
        default: None,
        doc: "The organization that pays, for keys that belong to several. Without it the key's own default.",
    },
    VendorSetting {
        path: "openai.dialect",
        aliases: &[],
        kind: SettingKind::Choice(&["responses", "chat"]),
        default: None,
        doc: "How answers are asked for. Without it the Responses API at OpenAI, and chat completions elsewhere.",
    },
    VendorSetting {
        path: "openai.stt_format",
        aliases: &[],
        kind: SettingKind::Choice(&["auto", "json", "verbose_json", "diarized_json"]),
        default: Some("auto"),
        doc: "The shape of transcripts. Auto asks known models for the richest they have, models called whisper for \
              verbose_json, and others for json.",
    },
    VendorSetting {
        path: "openai.reasoning_effort",
        aliases: &[],
        kind: SettingKind::Choice(&["none", "minimal", "low", "medium", "high"]),
        default: None,
        doc: "How much the model thinks before it answers. Without it models that can do without do not think, and \
              others decide.",
    },
    VendorSetting {
        path: "openai.context_tokens",
        aliases: &[],
        kind: SettingKind::Integer(1_024, 10_000_000),
        default: None,
        doc: "Tokens of prompt and answer together. Without it what is known of the model, or 8192 for other servers.",
    },
];

/// The day the older speech models are switched off (SDK 3.54.0 `audio_model.py`, and the speech-to-text guide).
const SPEECH_END: &str = "2027-02-26";

const SPEECH_MODELS: &[Model] = &[
    Model::new("gpt-transcribe", "text alone: times inside a part are estimated").priced(Price {
        usd: 0.0045,
        unit: Unit::AudioMinute,
        checked: "2026-11-23",
        source: "https://developers.openai.com/api/docs/models/gpt-transcribe",
    }),
    Model::new("whisper-1", "times of segments and words").retiring(SPEECH_END),
    Model::new("gpt-4o-transcribe", "text alone").retiring(SPEECH_END),
    Model::new("gpt-4o-mini-transcribe", "text alone").retiring(SPEECH_END),
    Model::new(
        "gpt-4o-transcribe-diarize",
        "speakers, whose names hold within one part",
    )
    .retiring(SPEECH_END),
];

/// Retirements: SDK 3.54.0 `chat_model.py`. The first line's facts: <https://vercel.com/ai-gateway/models/openai/gpt-6-luna>,
/// looked up 2026-11-23.
const ANSWER_MODELS: &[Model] = &[
    // What it writes: apidog.com/jp/blog/claude-sonnet-5-5-pricing, read on the same day.
    Model::new("gpt-6-luna", "small and fast, 1,050,000 tokens of context")
        .priced(Price {
            usd: 0.1,
            unit: Unit::MillionTokens,
            checked: "2026-11-23",
            source: "https://vercel.com/ai-gateway/models/openai/gpt-6-luna",
        })
        .writing(0.5),
    Model::new("gpt-6.1-terra", "larger"),
    Model::new("gpt-6.2-sol", "larger"),
    Model::new("gpt-6.2-astra", "larger"),
    Model::new("gpt-5.4-mini", "small, of the generation before"),
    Model::new("gpt-5-mini", "small, two generations back").retiring("2026-12-11"),
    Model::new("gpt-4.1", "does not think").retiring("2027-01-14"),
    Model::new("gpt-4.1-mini", "does not think").retiring("2027-01-14"),
    Model::new("gpt-4o", "does not think").retiring("2027-01-14"),
    Model::new("gpt-4o-mini", "does not think").retiring("2027-01-14"),
];

/// Models that answer without thinking when `reasoning.effort` is `none`
/// (<https://docs.oxen.ai/inference-api/reference/models/gpt-6-luna.md>, 2026-11-23).
const CAN_STOP_THINKING: &[&str] = &["gpt-6-luna"];
/// Models that cannot think and do not know the field.
const CANNOT_THINK: &[&str] = &["gpt-4", "gpt-3"];

/// Tokens of context: the smallest of the current models, and what servers of one's own give at least.
const CONTEXT: usize = 128_000;
const CONTEXT_LUNA: usize = 1_050_000;
const CONTEXT_ELSEWHERE: usize = 8_192;

/// A service and whether it is OpenAI's own.
fn service(ctx: &VendorContext<'_>) -> Result<(Service, bool)> {
    let base = ctx.required("openai.base_url")?;
    let own = is_own(base);
    let key = if own {
        ctx.key("openai.api_key", "OPENAI_API_KEY")?
    } else {
        ctx.optional_key("openai.api_key")
    };
    let mut builder = ctx
        .http
        .service("openai", base)?
        .bearer(&key)?
        .key_hint("check OPENAI_API_KEY");
    if let Some(organization) = ctx.value("openai.organization") {
        builder = builder.header("openai-organization", organization)?;
    }
    let refine = if own { refine_own } else { refine_other };
    Ok((builder.refine(refine).build(), own))
}

/// Whether the base URL is one of OpenAI's own, such as `https://eu.api.openai.com/v1`.
fn is_own(base: &str) -> bool {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    host == "api.openai.com" || host.ends_with(".api.openai.com")
}

fn refine_own(refusal: &Refusal<'_>) -> Refinement {
    Refinement {
        hint: (refusal.status == 404).then_some("check the model's name, and whether the key may use it"),
        ..Refinement::default()
    }
}

fn refine_other(refusal: &Refusal<'_>) -> Refinement {
    Refinement {
        hint: (refusal.status == 404)
            .then_some("check the model's name, and openai.base_url, which usually ends in /v1"),
        ..Refinement::default()
    }
}

fn info(model: &str) -> ProviderInfo {
    ProviderInfo {
        vendor: "openai".to_owned(),
        model: model.to_owned(),
        version: 1,
    }
}

fn build_transcriber(ctx: &VendorContext<'_>) -> Result<Arc<dyn Transcriber>> {
    let (service, own) = service(ctx)?;
    let model = ctx.model_or("gpt-transcribe");
    let mut manner = manner(&model);
    match ctx.value("openai.stt_format") {
        Some("json") => manner.format = Format::Json,
        Some("verbose_json") => manner.format = Format::VerboseJson,
        Some("diarized_json") => manner.format = Format::DiarizedJson,
        _ => {}
    }
    let mut info = info(&model);
    // The same model returns something else in another format, so caches must tell them apart.
    info.version = info.version * 10 + manner.format as u32;
    Ok(Arc::new(OpenAiTranscriber {
        service,
        own,
        info,
        manner,
    }))
}

/// How a model wants to be asked: cookbook `migrating_from_whisper_to_gpt_transcribe` and the SDK's types, 2026-11.
fn manner(model: &str) -> Manner {
    let any = PromptLimit::Text { max_bytes: None };
    let (format, language, prompt) = if model.starts_with("gpt-transcribe") {
        // Takes `languages` in place of `language`, never both.
        (Format::Json, "languages[]", any)
    } else if model.contains("diarize") {
        (Format::DiarizedJson, "language", PromptLimit::NotTaken)
    } else if model.contains("whisper") {
        (Format::VerboseJson, "language", any)
    } else {
        (Format::Json, "language", any)
    };
    Manner {
        format,
        language,
        prompt,
    }
}

struct OpenAiTranscriber {
    service: Service,
    own: bool,
    info: ProviderInfo,
    manner: Manner,
}

#[async_trait]
impl Transcriber for OpenAiTranscriber {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        let format = self.manner.format;
        TranscriberLimits {
            preferred_part: match format {
                // Times are estimates inside a part: a short one bounds their error.
                Format::Json => MediaTime::from_seconds(60),
                // Six of Whisper's windows: longer ones take more memory and keep fewer calls side by side at the end.
                Format::VerboseJson => MediaTime::from_seconds(3 * 60),
                // Speakers are only told apart within a part.
                Format::DiarizedJson => MAX_PART,
            },
            max_part: MAX_PART,
            max_bytes: Some(MAX_BYTES),
            concurrency: 4,
            prompt: self.manner.prompt,
            segment_times: format != Format::Json,
            // Other servers do not always measure them (speaches-ai/speaches#639, vllm-project/vllm#24209).
            word_times: format == Format::VerboseJson && self.own,
            speakers: format == Format::DiarizedJson,
            languages: Vec::new(),
        }
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        transcription::transcribe(&self.service, &self.info.model, self.manner, &request).await
    }

    async fn health_check(&self) -> Health {
        openai::health(&self.service, &self.info.model, self.own).await
    }
}

fn build_generator(ctx: &VendorContext<'_>) -> Result<Arc<dyn Generator>> {
    let (service, own) = service(ctx)?;
    let model = ctx.model_or("gpt-6-luna");
    let effort = ctx
        .value("openai.reasoning_effort")
        .or_else(|| (own && CAN_STOP_THINKING.contains(&model.as_str())).then_some("none"))
        .map(str::to_owned);
    let silent = effort.as_deref() == Some("none") || CANNOT_THINK.iter().any(|name| model.starts_with(name));
    let context_tokens = match ctx.value("openai.context_tokens").and_then(|n| n.parse().ok()) {
        Some(tokens) => tokens,
        None if !own => CONTEXT_ELSEWHERE,
        None if model == "gpt-6-luna" => CONTEXT_LUNA,
        None => CONTEXT,
    };
    Ok(Arc::new(OpenAiGenerator {
        service,
        own,
        info: info(&model),
        responses: ctx
            .value("openai.dialect")
            .map_or(own, |dialect| dialect == "responses"),
        context_tokens,
        chat: Chat {
            vendor: "openai",
            model,
            limit: if own {
                "max_completion_tokens"
            } else {
                "max_tokens"
            },
            effort,
            room: if silent { 0 } else { ROOM_TO_THINK },
        },
    }))
}

struct OpenAiGenerator {
    service: Service,
    own: bool,
    info: ProviderInfo,
    responses: bool,
    context_tokens: usize,
    chat: Chat,
}

#[async_trait]
impl Generator for OpenAiGenerator {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> GeneratorLimits {
        GeneratorLimits {
            context_tokens: self.context_tokens.saturating_sub(self.chat.room as usize).max(1),
            max_output_tokens: u32::try_from(self.context_tokens / 2)
                .unwrap_or(u32::MAX)
                .min(16_384),
        }
    }

    async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream> {
        if !self.responses {
            return self.chat.generate(&self.service, &request).await;
        }
        let mut body = json!({
            "model": self.info.model,
            "instructions": request.system,
            "input": request.user,
            "max_output_tokens": request.max_output_tokens.saturating_add(self.chat.room),
            "stream": true,
            // Questions and transcripts are nobody's business.
            "store": false,
        });
        if let Some(effort) = &self.chat.effort {
            put(&mut body, "reasoning", json!({ "effort": effort }));
        }
        let call = Call::post("responses").json(&body).timeout(FIRST_WORD);
        let events = self.service.events(&call).await?;
        Ok(answer::pieces(events, responses::Reader::default()))
    }

    async fn health_check(&self) -> Health {
        openai::health(&self.service, &self.info.model, self.own).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::Secret;
    use std::collections::BTreeMap;

    #[test]
    fn openais_own_hosts_are_told_from_others() {
        for own in [
            "https://api.openai.com/v1",
            "https://API.openai.com",
            "https://eu.api.openai.com:443/v1",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "http://localhost:11434/v1",
            "https://api.openai.com.example.org/v1",
            "https://example.org/api.openai.com",
            "https://notapi.openai.com/v1",
            "https://api.openai.com@example.org/v1",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn each_family_of_speech_models_is_asked_in_its_manner() {
        let asked = |model| (manner(model).format, manner(model).language);
        assert_eq!(asked("gpt-transcribe"), (Format::Json, "languages[]"));
        assert_eq!(
            asked("gpt-4o-mini-transcribe-2025-12-15"),
            (Format::Json, "language")
        );
        assert_eq!(
            asked("gpt-4o-transcribe-diarize"),
            (Format::DiarizedJson, "language")
        );
        assert_eq!(
            asked("Systran/faster-whisper-small"),
            (Format::VerboseJson, "language")
        );
        assert_eq!(manner("gpt-4o-transcribe-diarize").prompt, PromptLimit::NotTaken);
        assert_eq!(
            manner("gpt-transcribe").prompt,
            PromptLimit::Text { max_bytes: None }
        );
    }

    /// What is made at OpenAI's own address, without reaching it.
    fn with_own<T>(model: &str, make: impl FnOnce(&VendorContext<'_>) -> T) -> T {
        let http = crate::http::HttpClient::new(&crate::http::HttpSettings::default()).unwrap();
        // The host decides; a machine without root certificates has no TLS.
        let values = BTreeMap::from([("openai.base_url", "http://api.openai.com/v1".to_owned())]);
        let secrets = BTreeMap::from([("openai.api_key", Secret::new("k"))]);
        make(&VendorContext {
            values: &values,
            secrets: &secrets,
            model: Some(model),
            dimensions: None,
            notes: None,
            http: &http,
        })
    }

    #[test]
    fn openais_own_whisper_measures_words() {
        let limits = |model| with_own(model, |ctx| build_transcriber(ctx).unwrap().limits());
        assert!(limits("whisper-1").word_times);
        assert!(!limits("gpt-transcribe").segment_times);
        assert!(limits("gpt-4o-transcribe-diarize").speakers);
        let version = |model| with_own(model, |ctx| build_transcriber(ctx).unwrap().info().version);
        assert_ne!(version("whisper-1"), version("gpt-transcribe"));
    }

    #[test]
    fn openais_own_default_answers_without_thinking() {
        let limits = |model| with_own(model, |ctx| build_generator(ctx).unwrap().limits());
        assert_eq!(limits("gpt-6-luna").context_tokens, CONTEXT_LUNA);
        assert_eq!(limits("gpt-4.1").context_tokens, CONTEXT);
        assert_eq!(
            limits("gpt-5-mini").context_tokens,
            CONTEXT - ROOM_TO_THINK as usize
        );
    }
}
