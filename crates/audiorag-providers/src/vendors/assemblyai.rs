//! AssemblyAI: speech to text as a job that is paid when it is created.
//!
//! - <https://www.assemblyai.com/docs/pre-recorded-audio/select-the-speech-model>
//! - <https://www.assemblyai.com/docs/api-reference/transcripts/submit>
//! - <https://assemblyai.com/docs/guides/common_errors_and_solutions>
//!
//! Audio is uploaded, a job is created for it, and the job is polled until it has ended. The wire format is that of
//! assemblyai 1.8.2 and of the vendor's OpenAPI description, read in November 2026: times are whole milliseconds, and
//! a job that failed is an answer with status 200.
//!
//! A run may end while the job goes on. Its id is therefore written down before the first poll, and the next run that
//! brings the same audio asks for that job instead of paying for another one. It was counted, with what was expected
//! of it, when that run lost sight of it, and is not counted again: an answer of an earlier job has used nothing.
//! Looking at a job is no request that anybody limits or bills. Uploads take up to 2.2 GB, jobs 10 h.

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Refinement, Refusal, Replay, Service, health_of};
use crate::wire::audio::{LONGEST_PART, encoded, primary};
use crate::wire::words::{Spoken, Turn, probability, seconds, segments, speaker, terms};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, PromptLimit, ProviderInfo, TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
    Usage,
};
use audiorag_core::model::PartTranscript;
use audiorag_core::{Attempts, Error, ErrorKind, MediaTime, Result, Span};
use bytes::Bytes;
use notes::Note;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

mod notes;

pub(super) const VENDOR: Vendor = Vendor {
    id: ID,
    about: "speech to text with words and speakers, as resumable jobs",
    docs: "https://www.assemblyai.com/docs/pre-recorded-audio",
    settings: &[
        VendorSetting {
            path: "assemblyai.api_key",
            aliases: &["ASSEMBLYAI_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key for AssemblyAI.",
        },
        VendorSetting {
            path: "assemblyai.base_url",
            aliases: &["ASSEMBLYAI_BASE_URL"],
            kind: SettingKind::Url,
            default: Some(BASE_URL),
            doc: "Where AssemblyAI is reached; https://api.eu.assemblyai.com keeps data in the European Union.",
        },
        VendorSetting {
            path: "assemblyai.poll_ms",
            aliases: &[],
            kind: SettingKind::Integer(1, 600_000),
            default: Some("3000"),
            doc: "Milliseconds between two looks at a job.",
        },
        VendorSetting {
            path: "assemblyai.max_wait_minutes",
            aliases: &[],
            kind: SettingKind::Integer(0, 1_440),
            default: Some("60"),
            doc: "Minutes a job may take before a run stops waiting for it; the next run asks for it again.",
        },
    ],
    transcribe: Some(Offer::new(MODELS, |ctx| Ok(Arc::new(AssemblyAi::new(ctx)?)))),
    ..Vendor::NONE
};

const ID: &str = "assemblyai";
const BASE_URL: &str = "https://api.assemblyai.com";
/// Rises when the mapping of answers changes.
const VERSION: u32 = 1;
const DEFAULT: &str = "universal-3-5-pro";
/// Knows the 99 languages that the other models do not all know; named second, it takes over for those.
const FALLBACK: &str = "universal-2";
const PRICES: &str =
    "assemblyai.com/pricing, quoted in github.com/api-evangelist/assemblyai; speakers not included";

/// From the page on model selection and the release notes of Vercel's SDK, November 2026.
const MODELS: &[Model] = &[
    Model::new(
        DEFAULT,
        "18 languages, else universal-2; words, speakers; takes key terms",
    )
    .priced(per_hour(0.21)),
    Model::new(FALLBACK, "99 languages; words, speakers").priced(per_hour(0.15)),
    Model::new(
        "universal-3-pro",
        "6 languages, else universal-2; words, speakers; takes key terms",
    ),
];

const fn per_hour(usd: f64) -> Price {
    Price {
        usd: usd / 60.0,
        unit: Unit::AudioMinute,
        checked: "2026-10-07",
        source: PRICES,
    }
}

/// Long enough that speakers keep their letter for a while; 19 MB of WAV.
const PREFERRED_PART: MediaTime = MediaTime::from_seconds(600);
/// <https://assemblyai.com/docs/faq/are-there-any-limits-on-file-size-or-file-duration-for-files-submitted-to-the-api>
const MAX_UPLOAD: u64 = 2_200_000_000;
/// Free accounts run five jobs at once (third parties); more only wait.
const CONCURRENCY: usize = 4;
/// From <https://assemblyai.com/docs/pre-recorded-audio/keyterms-prompting>.
const MAX_TERMS: usize = 1_000;
const MAX_TERM_WORDS: usize = 6;
/// Speech to text with AssemblyAI.
struct AssemblyAi {
    info: ProviderInfo,
    service: Service,
    poll: Duration,
    max_wait: Duration,
    notes: Option<PathBuf>,
}

impl AssemblyAi {
    fn new(ctx: &VendorContext<'_>) -> Result<Self> {
        let key = ctx.key("assemblyai.api_key", "ASSEMBLYAI_API_KEY")?;
        let service = ctx
            .http
            .service(ID, ctx.required("assemblyai.base_url")?)?
            // The key alone: "Bearer" before it is refused.
            .secret_header("authorization", "", &key)?
            .key_hint("check ASSEMBLYAI_API_KEY")
            .refine(refine)
            .build();
        Ok(Self {
            info: ProviderInfo {
                vendor: ID.to_owned(),
                model: ctx.model_or(DEFAULT),
                version: VERSION,
            },
            service,
            poll: Duration::from_millis(number(ctx, "assemblyai.poll_ms")?),
            max_wait: Duration::from_mins(number(ctx, "assemblyai.max_wait_minutes")?),
            notes: ctx.notes.map(PathBuf::from),
        })
    }

    /// Only models of the third generation know key terms, and a second model to fall back to.
    fn is_third_generation(&self) -> bool {
        self.info.model.starts_with("universal-3")
    }

    /// What is asked of a job, all but its audio.
    fn options(&self, request: &TranscribeRequest) -> Map<String, Value> {
        let model = self.info.model.as_str();
        let models = if self.is_third_generation() {
            vec![model, FALLBACK]
        } else {
            vec![model]
        };
        let mut options = Map::from_iter([
            ("speech_models".to_owned(), json!(models)),
            ("speaker_labels".to_owned(), json!(true)),
        ]);
        let (field, value) = match &request.language {
            Some(language) => ("language_code", json!(primary(language))),
            None => ("language_detection", json!(true)),
        };
        options.insert(field.to_owned(), value);
        let terms = terms(request.prompt.as_deref(), MAX_TERMS, MAX_TERM_WORDS, usize::MAX);
        if !terms.is_empty() && self.is_third_generation() {
            options.insert("keyterms_prompt".to_owned(), json!(terms));
        }
        options
    }

    /// Uploads audio and creates a job for it.
    async fn create(
        &self,
        wav: Bytes,
        audio: MediaTime,
        mut options: Map<String, Value>,
        made: &mut Attempts,
    ) -> Result<String> {
        let upload = Call::post("v2/upload")
            .bytes("application/octet-stream", wav)
            // Only jobs are billed.
            .replay(Replay::Free)
            .audio(audio);
        // Whatever became of an upload, nobody pays for it.
        let uploaded = self.service.json::<Uploaded>(&upload).await.map_err(|error| {
            let requests = error.attempts().unwrap_or_default().requests;
            error.with_attempts(Attempts { requests, unknown: 0 })
        })?;
        made.requests += uploaded.requests;
        options.insert("audio_url".to_owned(), json!(uploaded.value.upload_url));
        let call = Call::post("v2/transcript")
            .json(&Value::Object(options))
            .replay(Replay::Creates);
        let created = self.service.json::<Job>(&call).await.map_err(|error| {
            let sent = error.attempts().unwrap_or_default();
            error.with_attempts(Attempts {
                requests: made.requests + sent.requests,
                unknown: sent.unknown,
            })
        })?;
        made.requests += created.requests;
        // Until the job has ended, nobody knows what it costs.
        made.unknown = 1;
        let id = created.value.id;
        if id.is_empty()
            || !id
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
        {
            return Err(
                Error::protocol("AssemblyAI names a job in a way that fits no address").with_attempts(*made),
            );
        }
        Ok(id)
    }

    /// Waits until a job has ended, well or badly.
    async fn finished(&self, id: &str) -> Result<Job> {
        let give_up = Instant::now() + self.max_wait;
        let call = Call::get(format!("v2/transcript/{id}"));
        loop {
            let answer = self.service.json::<Job>(&call).await?;
            if matches!(answer.value.status.as_str(), "completed" | "error") {
                return Ok(answer.value);
            }
            if Instant::now() + self.poll > give_up {
                let hint = match &self.notes {
                    Some(folder) => format!(
                        "run it again later: the job goes on, and its result is used; to give the job up, delete its \
                         note in {}",
                        folder.display()
                    ),
                    None => "raise AUDIORAG_ASSEMBLYAI_MAX_WAIT_MINUTES".to_owned(),
                };
                return Err(Error::timeout("AssemblyAI has not finished a job in time")
                    .with_context("job", id)
                    .with_context("limit", format!("{} min", self.max_wait.as_secs() / 60))
                    .with_hint(hint)
                    .into_persistent());
            }
            sleep(self.poll).await;
        }
    }

    /// The job that an earlier run left behind, if it still comes to something.
    async fn resumed(&self, note: &Note) -> Result<Option<Job>> {
        let Some(id) = note.read() else {
            return Ok(None);
        };
        tracing::debug!(vendor = ID, job = id, "resuming a job");
        match self.finished(&id).await {
            Ok(job) if job.status == "completed" => Ok(Some(job)),
            // It failed, and cost nothing: worth one that is new.
            Ok(_) => {
                note.remove();
                Ok(None)
            }
            // Deleted, expired, or of another account.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Input) => {
                note.remove();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A setting that counts.
fn number(ctx: &VendorContext<'_>, path: &'static str) -> Result<u64> {
    let text = ctx.required(path)?;
    text.parse()
        .map_err(|_| Error::config(format!("{path} is not a whole number: '{text}'")))
}

fn refine(refusal: &Refusal<'_>) -> Refinement {
    let said = refusal
        .body
        .get("error")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (kind, hint) = match refusal.status {
        400 if said.contains("balance") || said.contains("top up") => (Some(ErrorKind::Budget), None),
        400 if said.contains("speech_model") => (
            Some(ErrorKind::NotFound),
            Some("choose a model that AssemblyAI lists, such as universal-3-5-pro"),
        ),
        _ => (None, None),
    };
    Refinement {
        kind,
        hint,
        ..Refinement::default()
    }
}

#[async_trait]
impl Transcriber for AssemblyAi {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        TranscriberLimits {
            preferred_part: PREFERRED_PART,
            max_part: LONGEST_PART,
            max_bytes: Some(MAX_UPLOAD),
            concurrency: CONCURRENCY,
            prompt: if self.is_third_generation() {
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
        let audio = part.duration();
        let options = self.options(&request);
        let wav = encoded(&request, LONGEST_PART).await?;
        let note = match &self.notes {
            Some(folder) => {
                let key = vec![
                    Bytes::from(self.service.base_url()),
                    Bytes::from(Value::Object(options.clone()).to_string()),
                    wav.clone(),
                ];
                Some(Note::of(folder, ID, key).await?)
            }
            None => None,
        };
        // Stays at nothing while the job is one of an earlier run, whose call stands in the books.
        let mut made = Attempts::default();
        let left = match &note {
            Some(note) => self
                .resumed(note)
                .await
                .map_err(|error| error.with_attempts(made))?,
            None => None,
        };
        let job = if let Some(job) = left {
            job
        } else {
            let id = self.create(wav, audio, options, &mut made).await?;
            // Nothing is awaited between the answer that names the job and this, so that no cancellation forgets it.
            if let Some(note) = &note {
                note.write(&id);
            }
            self.finished(&id)
                .await
                .map_err(|error| error.with_attempts(made))?
        };
        let failed = job.status == "error";
        if failed {
            // Only what was transcribed is billed.
            made.unknown = 0;
        }
        let outcome = transcript(job, request.language.as_deref(), part);
        // A result that makes no sense is kept: it is paid, and a later version may read it.
        if let Some(note) = note.filter(|_| failed || outcome.is_ok()) {
            note.remove();
        }
        let is_billed = made.may_have_been_billed();
        Ok(TranscribeResponse {
            transcript: outcome.map_err(|error| error.with_attempts(made))?,
            usage: Usage {
                requests: made.requests,
                audio: if is_billed { audio } else { MediaTime::ZERO },
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        let started = std::time::Instant::now();
        let call = Call::get("v2/transcript").query("limit", "1");
        let outcome = self
            .service
            .json::<Listed>(&call)
            .await
            .map(|_| format!("the key is accepted; {} is not checked", self.info.model));
        health_of(outcome, started.elapsed())
    }
}

/// What a job that has ended says.
fn transcript(job: Job, asked: Option<&str>, part: Span) -> Result<PartTranscript> {
    if job.status == "error" {
        return failure(&job.error.unwrap_or_default()).map(|()| PartTranscript::default());
    }
    let said = job.text.is_some_and(|text| !text.trim().is_empty());
    let turns = match job.utterances {
        Some(utterances) if !utterances.is_empty() => utterances
            .into_iter()
            .map(Utterance::turn)
            .collect::<Result<_>>()?,
        _ => {
            let words = job.words.unwrap_or_default().into_iter().map(JobWord::spoken);
            vec![Turn {
                written: None,
                words: words.collect::<Result<_>>()?,
            }]
        }
    };
    let segments = segments(turns, part);
    if said && segments.is_empty() {
        return Err(Error::protocol(
            "AssemblyAI answers with text but without its words",
        ));
    }
    Ok(PartTranscript {
        segments,
        language: job.language_code.as_deref().or(asked).map(primary),
    })
}

/// What the failure of a job means. Audio in which it hears nobody is no failure.
fn failure(said: &str) -> Result<()> {
    let lower = said.to_lowercase();
    let holds = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    if holds(&["no spoken audio", "duration is too short"]) {
        return Ok(());
    }
    let error = if holds(&[
        "server error",
        "internal",
        "try again",
        "please retry",
        "download error",
    ]) {
        Error::unavailable("a job failed at AssemblyAI").with_hint("run it again")
    } else {
        Error::input("AssemblyAI cannot transcribe this audio")
    };
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(error.with_context("said", said.chars().take(300).collect::<String>()))
}

#[derive(Deserialize)]
struct Uploaded {
    upload_url: String,
}

#[derive(Deserialize)]
struct Listed {
    #[expect(dead_code, reason = "an answer without it is no list of transcripts")]
    transcripts: Vec<Value>,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    status: String,
    error: Option<String>,
    text: Option<String>,
    language_code: Option<String>,
    words: Option<Vec<JobWord>>,
    utterances: Option<Vec<Utterance>>,
}

#[derive(Deserialize)]
struct Utterance {
    text: String,
    confidence: Option<f64>,
    #[serde(default)]
    words: Vec<JobWord>,
}

impl Utterance {
    fn turn(self) -> Result<Turn> {
        Ok(Turn {
            written: Some((self.text, probability(self.confidence))),
            words: self
                .words
                .into_iter()
                .map(JobWord::spoken)
                .collect::<Result<_>>()?,
        })
    }
}

/// A word; its times are milliseconds.
#[derive(Deserialize)]
struct JobWord {
    text: String,
    start: Option<f64>,
    end: Option<f64>,
    confidence: Option<f64>,
    speaker: Option<String>,
}

impl JobWord {
    fn spoken(self) -> Result<Spoken> {
        let from_millis = |time: Option<f64>| time.map(|millis| millis / 1000.0);
        Ok(Spoken {
            span: seconds(from_millis(self.start), from_millis(self.end))?,
            text: self.text,
            lead: " ",
            confidence: probability(self.confidence),
            speaker: self.speaker.map(speaker),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_can_be_done() {
        failure("language_detection cannot be performed on files with no spoken audio.").unwrap();
        let kinds = [
            ("Internal server error", ErrorKind::Unavailable),
            (
                "Download error, unable to download the file",
                ErrorKind::Unavailable,
            ),
            (
                "Transcoding failed. File does not appear to contain audio",
                ErrorKind::Input,
            ),
        ];
        for (said, kind) in kinds {
            let error = failure(said).unwrap_err();
            assert_eq!(error.kind(), kind, "{said}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn words_stand_in_for_missing_utterances() {
        let job = serde_json::from_str(
            r#"{"id": "x", "status": "completed", "text": "Hi", "utterances": null, "language_code": "en_us",
                "words": [{"text": "Hi", "start": 250, "end": 650, "confidence": 0.9, "speaker": null}]}"#,
        );
        let found = transcript(job.unwrap(), None, Span::from_millis(0, 1_000)).unwrap();
        assert_eq!(found.segments[0].span, Span::from_millis(250, 650));
        assert_eq!(
            (found.segments[0].speaker.clone(), found.language.as_deref()),
            (None, Some("en"))
        );
    }
}
