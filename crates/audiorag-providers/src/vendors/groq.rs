//! Groq: Whisper with measured times, and open models, both fast.
//!
//! Documentation: <https://console.groq.com/docs/api-reference>; the wire types are those of the groq SDK 1.7.0.
//! - Speech to text: at most 25 MB attached, a prompt of at most 896 bytes, at least ten seconds billed. The free tier
//!   allows 20 requests a minute and 7,200 seconds of audio an hour.
//! - Answers: chat completions. The models think before they answer, and cannot be told not to, only to think little.

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Refinement, Refusal, Service};
use crate::wire::answer::ROOM_TO_THINK;
use crate::wire::openai::transcription::{self, Format, MAX_BYTES, MAX_PART, Manner};
use crate::wire::openai::{self, Chat};
use async_trait::async_trait;
use audiorag_core::capability::{
    GenerateRequest, GenerateStream, Generator, GeneratorLimits, Health, PromptLimit, ProviderInfo,
    TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
};
use audiorag_core::{ErrorKind, MediaTime, Result};
use std::sync::Arc;

pub(super) const VENDOR: Vendor = Vendor {
    id: "groq",
    about: "Whisper with times of segments and words, and open models for answers",
    docs: "https://console.groq.com/docs/api-reference",
    settings: SETTINGS,
    transcribe: Some(Offer::new(SPEECH_MODELS, build_transcriber)),
    generate: Some(Offer::new(ANSWER_MODELS, build_generator)),
    ..Vendor::NONE
};

const SETTINGS: &[VendorSetting] = &[
    VendorSetting {
        path: "groq.api_key",
        aliases: &["GROQ_API_KEY"],
        kind: SettingKind::Secret,
        default: None,
        doc: "The key for Groq.",
    },
    VendorSetting {
        path: "groq.base_url",
        aliases: &["GROQ_BASE_URL"],
        kind: SettingKind::Url,
        default: Some("https://api.groq.com/openai/v1"),
        doc: "Where Groq answers.",
    },
];

const SPEECH_MODELS: &[Model] = &[
    Model::new("whisper-large-v3-turbo", "times of segments and words; fast").priced(Price {
        usd: 0.04 / 60.0,
        unit: Unit::AudioMinute,
        checked: "2026-11-23",
        source: "https://console.groq.com/docs/model/whisper-large-v3-turbo",
    }),
    Model::new(
        "whisper-large-v3",
        "times of segments and words; a little more exact",
    ),
];

/// Production models by <https://console.groq.com/docs/models.md>; what Groq hosted before ended on 2026-08-16.
const ANSWER_MODELS: &[Model] = &[
    Model::new("openai/gpt-oss-20b", "131,072 tokens of context"),
    Model::new("openai/gpt-oss-120b", "131,072 tokens of context; larger"),
];

/// The prompt's limit (OpenWhispr/openwhispr#405), counted in bytes to be safe.
const PROMPT: PromptLimit = PromptLimit::Text { max_bytes: Some(896) };

/// Tokens of context and of answer of the models above.
const CONTEXT: usize = 131_072;
const MAX_ANSWER: u32 = 32_768;

fn service(ctx: &VendorContext<'_>) -> Result<Service> {
    let key = ctx.key("groq.api_key", "GROQ_API_KEY")?;
    Ok(ctx
        .http
        .service("groq", ctx.required("groq.base_url")?)?
        .bearer(&key)?
        .key_hint("check GROQ_API_KEY")
        .refine(refine)
        .build())
}

fn refine(refusal: &Refusal<'_>) -> Refinement {
    match refusal.status {
        404 => Refinement {
            hint: Some("check the model's name: Groq replaces its models often"),
            ..Refinement::default()
        },
        413 => Refinement {
            hint: Some("the request is larger than this model or the account's plan allows"),
            ..Refinement::default()
        },
        // The flexible tier is full.
        498 => Refinement {
            kind: Some(ErrorKind::Unavailable),
            ..Refinement::default()
        },
        _ => Refinement::default(),
    }
}

fn info(model: &str) -> ProviderInfo {
    ProviderInfo {
        vendor: "groq".to_owned(),
        model: model.to_owned(),
        version: 1,
    }
}

fn build_transcriber(ctx: &VendorContext<'_>) -> Result<Arc<dyn Transcriber>> {
    Ok(Arc::new(GroqTranscriber {
        service: service(ctx)?,
        info: info(&ctx.model_or("whisper-large-v3-turbo")),
    }))
}

struct GroqTranscriber {
    service: Service,
    info: ProviderInfo,
}

#[async_trait]
impl Transcriber for GroqTranscriber {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        TranscriberLimits {
            preferred_part: MediaTime::from_seconds(3 * 60),
            max_part: MAX_PART,
            max_bytes: Some(MAX_BYTES),
            concurrency: 2,
            prompt: PROMPT,
            segment_times: true,
            word_times: true,
            speakers: false,
            languages: Vec::new(),
        }
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        let manner = Manner {
            format: Format::VerboseJson,
            language: "language",
            prompt: PROMPT,
        };
        transcription::transcribe(&self.service, &self.info.model, manner, &request).await
    }

    async fn health_check(&self) -> Health {
        openai::health(&self.service, &self.info.model, true).await
    }
}

fn build_generator(ctx: &VendorContext<'_>) -> Result<Arc<dyn Generator>> {
    let model = ctx.model_or("openai/gpt-oss-20b");
    Ok(Arc::new(GroqGenerator {
        service: service(ctx)?,
        info: info(&model),
        chat: Chat {
            vendor: "groq",
            effort: model.starts_with("openai/gpt-oss").then(|| "low".to_owned()),
            model,
            limit: "max_completion_tokens",
            room: ROOM_TO_THINK,
        },
    }))
}

struct GroqGenerator {
    service: Service,
    info: ProviderInfo,
    chat: Chat,
}

#[async_trait]
impl Generator for GroqGenerator {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> GeneratorLimits {
        GeneratorLimits {
            context_tokens: CONTEXT - ROOM_TO_THINK as usize,
            max_output_tokens: MAX_ANSWER - ROOM_TO_THINK,
        }
    }

    async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream> {
        self.chat.generate(&self.service, &request).await
    }

    async fn health_check(&self) -> Health {
        openai::health(&self.service, &self.info.model, true).await
    }
}
