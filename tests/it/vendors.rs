//! The program with its stages moved to a vendor: a server on the loopback interface that speaks OpenAI's dialect.

use crate::recordings::short;
use crate::sandbox::{Run, Sandbox};
use audiorag_testkit::http::{Reply, Request, Server};
use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A key that must be found nowhere.
const CANARY: &str = "canary-7c1e55d0";
const SAID: &str = "It was the best of times. It was the worst of times. It was the age of wisdom.";
const DIMENSIONS: usize = 1536;

/// The server and the runtime that it lives on.
pub(crate) struct Vendor {
    pub(crate) server: Server,
    _runtime: Runtime,
}

impl Vendor {
    pub(crate) fn answering(handler: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::answering(handler));
        Self {
            server,
            _runtime: runtime,
        }
    }

    /// One that works.
    fn working() -> Self {
        Self::answering(|_, request| work(request))
    }

    /// How many requests there were for a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        let requests = self.server.requests();
        requests.iter().filter(|request| request.path() == path).count()
    }

    /// A user who moved speech-to-text, embeddings and answers here.
    pub(crate) fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::without_models();
        sandbox.set("OPENAI_API_KEY", CANARY);
        sandbox.set("OPENAI_BASE_URL", self.server.url("/v1"));
        for role in ["STT", "EMBEDDING", "GENERATION"] {
            sandbox.set(&format!("AUDIORAG_{role}_PROVIDER"), "openai");
        }
        sandbox.set("AUDIORAG_RETRY_FIRST_WAIT_SECONDS", "0.01");
        sandbox.write("talk.wav", short().to_wav());
        sandbox
    }
}

/// What a vendor that works replies.
pub(crate) fn work(request: &Request) -> Reply {
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {CANARY}").as_str()),
        "{}",
        request.target
    );
    match request.path() {
        "/v1/audio/transcriptions" => Reply::json(
            200,
            json!({"text": SAID, "languages": [{"code": "en"}]}).to_string(),
        ),
        "/v1/embeddings" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let texts: Vec<&str> = match &body["input"] {
                Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
                text => text.as_str().into_iter().collect(),
            };
            let dimensions = body["dimensions"]
                .as_u64()
                .map_or(DIMENSIONS, |number| number as usize);
            let data: Vec<Value> = texts
                .iter()
                .enumerate()
                .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": bag_of_words(text, dimensions)}))
                .collect();
            let tokens = texts.len() * 10;
            Reply::json(
                200,
                json!({"object": "list", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
                    .to_string(),
            )
        }
        "/v1/chat/completions" => {
            let delta = |text: &str| {
                let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
                format!(
                    "data: {}\n\n",
                    json!({"object": "chat.completion.chunk", "choices": [choice]})
                )
            };
            let end = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
            let body = format!(
                "{}{}data: {}\n\ndata: [DONE]\n\n",
                delta("They were the best "),
                delta("of times [1]. Nobody said this [7]."),
                json!({"object": "chat.completion.chunk", "choices": [end]})
            );
            Reply::status(200)
                .with_header("content-type", "text/event-stream")
                .with_body(body)
                .chunked()
        }
        "/v1/models" => Reply::json(200, json!({"object": "list", "data": []}).to_string()),
        path if path.starts_with("/v1/models/") => {
            let id = path.trim_start_matches("/v1/models/");
            Reply::json(200, json!({"id": id, "object": "model"}).to_string())
        }
        other => Reply::json(
            404,
            json!({"error": {"message": format!("no route {other}")}}).to_string(),
        ),
    }
}

/// Texts with words in common are near each other.
fn bag_of_words(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    for word in text
        .to_lowercase()
        .split(|letter: char| !letter.is_alphanumeric())
    {
        let slot = word.bytes().fold(7_usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        vector[slot % dimensions] += 1.0;
    }
    vector
}

fn shows_no_key(run: &Run) {
    assert!(!run.stdout.contains(CANARY), "{run:?}");
    assert!(!run.stderr.contains(CANARY), "{run:?}");
}

#[test]
fn every_stage_moves_to_a_vendor_and_nothing_is_paid_twice() {
    let vendor = Vendor::working();
    let mut sandbox = vendor.sandbox();
    sandbox.set("OPENAI_ORG_ID", "org-7");
    let run = sandbox.run(&["index", "talk.wav"]).ok();
    assert!(
        run.stderr
            .contains("openai/gpt-transcribe returns text without times"),
        "{run:?}"
    );
    let (heard, embedded) = (
        vendor.count("/v1/audio/transcriptions"),
        vendor.count("/v1/embeddings"),
    );
    assert!(heard > 0 && embedded > 0);
    for request in vendor.server.requests() {
        assert_eq!(request.header("openai-organization"), Some("org-7"));
    }

    let answer = sandbox
        .run(&["query", "--json", "were they the best of times?"])
        .ok()
        .json();
    assert_eq!(answer["model"], "openai/gpt-6-luna");
    let text = answer["answer"].as_str().unwrap();
    assert!(text.starts_with("They were the best of times"), "{answer}");
    assert!(
        !text.contains("[7]"),
        "a passage that was not given is no source: {text}"
    );
    let citation = &answer["citations"][0];
    assert!(
        citation["quote"].as_str().unwrap().contains("best of times"),
        "{answer}"
    );
    assert_eq!(citation["estimated_times"], true, "{answer}");

    // The same again, forced, and under another name: the vendor is asked for nothing that is known.
    sandbox.run(&["index", "talk.wav"]).ok();
    sandbox.run(&["index", "--force", "talk.wav"]).ok();
    sandbox.write("copy.wav", short().to_wav());
    sandbox.run(&["index", "copy.wav"]).ok();
    assert_eq!(vendor.count("/v1/audio/transcriptions"), heard);
}

/// One model's default was sent to other vendors.
#[test]
fn peer_defect_06_each_vendor_gets_a_model_of_its_own() {
    let vendor = Vendor::working();
    let mut sandbox = vendor.sandbox();
    for (provider, model) in [("openai", "gpt-transcribe"), ("groq", "whisper-large-v3-turbo")] {
        sandbox.set("AUDIORAG_STT_PROVIDER", provider);
        let shown = sandbox.run(&["config", "show", "--json"]).ok().json();
        let settings = shown["settings"].as_array().unwrap();
        let found = settings
            .iter()
            .find(|entry| entry["setting"] == "stt.model")
            .unwrap();
        assert_eq!(found["value"], model, "{found}");
    }
}

/// Speakers were asked for and thrown away.
#[test]
fn peer_defect_09_speakers_reach_exports_and_citations() {
    let vendor = Vendor::answering(|_, request| {
        if request.path() != "/v1/listen" {
            return work(request);
        }
        assert_eq!(
            request.header("authorization"),
            Some(format!("Token {CANARY}").as_str())
        );
        let utterance = |start: f64, end: f64, speaker: u32, text: &str| {
            let words: Vec<Value> = text
                .split(' ')
                .enumerate()
                .map(|(index, word)| {
                    let start = start + index as f64 * 0.3;
                    json!({"word": word, "punctuated_word": word, "start": start, "end": start + 0.3,
                           "confidence": 0.9, "speaker": speaker})
                })
                .collect();
            json!({"start": start, "end": end, "confidence": 0.9, "channel": 0, "transcript": text,
                   "speaker": speaker, "words": words})
        };
        let utterances = [
            utterance(1.0, 2.8, 0, "It was the best of times."),
            utterance(3.0, 4.8, 1, "It was the worst of times."),
        ];
        let alternative = json!({"transcript": SAID, "confidence": 0.9, "words": []});
        let channel = json!({"alternatives": [alternative], "detected_language": "en"});
        Reply::json(
            200,
            json!({"metadata": {"request_id": "r", "duration": 8.0, "channels": 1},
                   "results": {"channels": [channel], "utterances": utterances}})
            .to_string(),
        )
    });
    let mut sandbox = vendor.sandbox();
    sandbox.set("AUDIORAG_STT_PROVIDER", "deepgram");
    sandbox.set("DEEPGRAM_API_KEY", CANARY);
    sandbox.set("DEEPGRAM_BASE_URL", vendor.server.url("/v1"));
    sandbox.run(&["index", "talk.wav"]).ok();
    let exported = sandbox.run(&["export", "talk.wav", "-f", "tsv"]).ok().stdout;
    assert!(
        exported.contains("1000\t2800\tspeaker 0\tIt was the best of times."),
        "{exported}"
    );
    assert!(
        exported.contains("3000\t4800\tspeaker 1\tIt was the worst of times."),
        "{exported}"
    );
    let answer = sandbox.run(&["query", "--json", "the best of times"]).ok().json();
    let citation = &answer["citations"][0];
    assert_eq!(citation["estimated_times"], false, "{answer}");
    assert!(
        citation["speakers"]
            .as_array()
            .unwrap()
            .contains(&json!("speaker 0")),
        "{answer}"
    );
    let only = sandbox
        .run(&["search", "--json", "--speaker", "speaker 1", "times"])
        .ok()
        .json();
    assert!(!only["hits"].as_array().unwrap().is_empty(), "{only}");
}

/// Calls blocked the event loop; here many recordings are under way at a vendor that takes its time.
#[test]
fn peer_defect_12_requests_run_side_by_side() {
    // How many requests are without an answer, and the most that ever were.
    let under_way = Arc::new((Mutex::new((0, 0)), Condvar::new()));
    let vendor = Vendor::answering({
        let under_way = Arc::clone(&under_way);
        move |_, request| {
            if request.path() == "/v1/audio/transcriptions" {
                let (counts, changed) = &*under_way;
                let mut now = counts.lock().unwrap();
                now.0 += 1;
                now.1 = now.0.max(now.1);
                changed.notify_all();
                // The first answers come once three were waiting for one, however slow the machine.
                tokio::task::block_in_place(|| {
                    let (mut now, _) = changed
                        .wait_timeout_while(now, Duration::from_mins(1), |now| now.1 < 3)
                        .unwrap();
                    now.0 -= 1;
                });
            }
            work(request)
        }
    });
    let mut sandbox = vendor.sandbox();
    sandbox.set("AUDIORAG_INDEX_SOURCE_CONCURRENCY", "4");
    for name in ["b.wav", "c.wav", "d.wav"] {
        let mut wav = short().to_wav();
        // Other bytes, so that it is another recording.
        let last = wav.len() - 1;
        wav[last] = name.as_bytes()[0];
        sandbox.write(name, wav);
    }
    sandbox.run(&["index", "."]).ok();
    assert!(vendor.count("/v1/audio/transcriptions") >= 4);
    let (_, most) = *under_way.0.lock().unwrap();
    assert!(
        most >= 3,
        "requests waited for each other: {most} at once at most"
    );
}

#[test]
fn the_key_is_found_nowhere() {
    let vendor = Vendor::working();
    let sandbox = vendor.sandbox();
    for command in [
        &["-vvv", "--log-format", "json", "index", "talk.wav"][..],
        &["-vvv", "query", "best of times"],
        &["-vvv", "--json", "search", "best of times"],
        &["config", "show"],
        &["config", "show", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["list", "--json"],
        &["show", "talk.wav", "--json"],
        &["status"],
        &["export", "talk.wav", "-f", "json"],
        &["cache", "info"],
        &["db", "status"],
        &["config", "path"],
        &["models", "path"],
        &["--log-level", "trace", "--yes", "delete", "talk.wav"],
        &["--yes", "cache", "clear"],
    ] {
        shows_no_key(&sandbox.run(command).ok());
    }
    // A vendor that echoes what it was sent.
    let rude = Vendor::answering(|_, request| {
        let echo = format!("bad key {}", request.header("authorization").unwrap_or_default());
        Reply::json(
            401,
            json!({"error": {"message": echo, "type": "invalid_request_error"}}).to_string(),
        )
    });
    let sandbox = rude.sandbox();
    for command in [
        &["-vvv", "index", "talk.wav"][..],
        &["-vvv", "--log-format", "json", "index", "talk.wav"],
        &["doctor"],
    ] {
        shows_no_key(&sandbox.run(command).exits(4));
    }
    let database = std::fs::read(sandbox.path("home/.local/share/audiorag/audiorag.db")).unwrap();
    assert!(
        !database
            .windows(CANARY.len())
            .any(|bytes| bytes == CANARY.as_bytes())
    );
}

/// From silence to every byte that libraries talk about, with a vendor that works and with ones that quote the key.
#[test]
fn the_key_is_found_at_no_log_level() {
    let working = Vendor::working();
    let refusing = Vendor::answering(|_, request| {
        let key = request.header("authorization").unwrap_or_default();
        Reply::json(
            401,
            json!({"error": {"message": format!("bad {key}")}}).to_string(),
        )
    });
    // In the middle of an answer that began well.
    let breaking = Vendor::answering(|_, request| match request.path() {
        "/v1/chat/completions" => {
            let key = request.header("authorization").unwrap_or_default();
            let error = json!({"error": {"message": format!("bad {key}"), "code": "invalid_api_key"}});
            Reply::status(200)
                .with_header("content-type", "text/event-stream")
                .with_body(format!("data: {error}\n\n"))
        }
        _ => work(request),
    });
    let mut sandbox = working.sandbox();
    let (index, query) = (["index", "new.wav"], ["query", "best of times"]);
    let (mut round, mut quoted) = (0_u8, 0);
    for level in ["off", "error", "warn", "info", "debug", "trace"] {
        for format in ["human", "json"] {
            // A recording that nobody has heard yet, so that the vendor is asked for its words.
            let mut new = short().to_wav();
            let last = new.len() - 1;
            round += 1;
            new[last] = round;
            sandbox.write("new.wav", new);
            for (vendor, command, code) in [
                (&refusing, &index[..], 4),
                (&working, &index[..], 0),
                (&working, &query[..], 0),
                (&refusing, &query[..], 4),
                (&breaking, &query[..], 0),
            ] {
                sandbox.set("OPENAI_BASE_URL", vendor.server.url("/v1"));
                let options = ["--log-level", level, "--log-format", format];
                let run = sandbox.run(&[&options[..], command].concat()).exits(code);
                shows_no_key(&run);
                quoted += usize::from(run.stdout.contains("***") || run.stderr.contains("***"));
                assert_eq!(
                    run.stderr.contains("TRACE") || run.stderr.contains("\"trace\""),
                    level == "trace",
                    "the level is not kept: {run:?}"
                );
            }
        }
    }
    assert_eq!(working.count("/v1/audio/transcriptions"), usize::from(round));
    assert!(quoted >= 24, "the vendors' words were shown {quoted} times only");
}

#[test]
fn a_used_up_quota_stops_the_run_and_says_so() {
    let vendor = Vendor::answering(|_, request| match request.path() {
        "/v1/audio/transcriptions" => Reply::json(
            429,
            json!({"error": {"message": "You exceeded your current quota", "type": "insufficient_quota",
                             "code": "insufficient_quota"}})
            .to_string(),
        ),
        _ => work(request),
    });
    let sandbox = vendor.sandbox();
    let run = sandbox.run(&["index", "talk.wav"]).exits(5);
    assert!(run.stdout.contains("You exceeded your current quota"), "{run:?}");
    // Asked once for each part in flight, and not again.
    assert!(vendor.count("/v1/audio/transcriptions") <= 2, "{run:?}");
}

#[test]
fn a_budget_is_kept_and_what_was_paid_for_stays() {
    let vendor = Vendor::working();
    let mut sandbox = vendor.sandbox();
    sandbox.set("AUDIORAG_BUDGET_AUDIO_SECONDS_PER_HOUR", "2");
    let run = sandbox.run(&["index", "talk.wav"]).exits(5);
    assert!(
        run.stdout.contains("budget of seconds of audio an hour"),
        "{run:?}"
    );
    assert!(vendor.server.requests().is_empty(), "{run:?}");

    sandbox.unset("AUDIORAG_BUDGET_AUDIO_SECONDS_PER_HOUR");
    sandbox.set("AUDIORAG_BUDGET_RPM", "1");
    sandbox.set("AUDIORAG_BUDGET_POLICY", "fail");
    let run = sandbox.run(&["index", "talk.wav"]).exits(5);
    assert!(run.stdout.contains("budget of requests a minute"), "{run:?}");
    assert_eq!(vendor.server.requests().len(), 1, "{run:?}");

    sandbox.unset("AUDIORAG_BUDGET_RPM");
    sandbox.run(&["index", "talk.wav"]).ok();
    assert_eq!(vendor.count("/v1/audio/transcriptions"), 1);
}

#[test]
fn an_outage_is_survived_and_a_rate_limit_waited_for() {
    let vendor = Vendor::answering(|number, request| match number {
        1 => Reply::status(503),
        2 => Reply::json(429, "{}").with_header("retry-after-ms", "20"),
        _ => work(request),
    });
    vendor.sandbox().run(&["index", "talk.wav"]).ok();
}

#[test]
fn the_doctor_tells_causes_apart() {
    let vendor = Vendor::working();
    let mut sandbox = vendor.sandbox();
    sandbox.run(&["doctor"]).ok();

    sandbox.set("OPENAI_BASE_URL", "http://127.0.0.1:9/v1");
    let run = sandbox.run(&["doctor"]).exits(4);
    assert!(run.stdout.contains("refused"), "{run:?}");

    let denied = Vendor::answering(|_, _| Reply::json(401, r#"{"error": {"message": "no such key"}}"#));
    sandbox.set("OPENAI_BASE_URL", denied.server.url("/v1"));
    let run = sandbox.run(&["doctor"]).exits(4);
    assert!(run.stdout.contains("no such key"), "{run:?}");
    assert!(run.stdout.contains("check OPENAI_API_KEY"), "{run:?}");

    sandbox.unset("OPENAI_API_KEY");
    sandbox.set("AUDIORAG_STT_PROVIDER", "deepgram");
    sandbox.unset("AUDIORAG_OFFLINE");
    let run = sandbox.run(&["doctor"]).exits(4);
    assert!(run.stdout.contains("set DEEPGRAM_API_KEY"), "{run:?}");
}

#[test]
fn offline_keeps_everything_on_this_machine() {
    let vendor = Vendor::working();
    let mut sandbox = vendor.sandbox();
    sandbox.unset("OPENAI_BASE_URL");
    let run = sandbox.run(&["index", "talk.wav"]).exits(4);
    assert!(run.stderr.contains("`offline` is set"), "{run:?}");
    assert!(vendor.server.requests().is_empty());
}

#[test]
fn a_model_with_an_announced_end_is_warned_about() {
    let vendor = Vendor::working();
    let mut sandbox = vendor.sandbox();
    sandbox.set("AUDIORAG_STT_MODEL", "whisper-1");
    let run = sandbox.run(&["config", "show"]).ok();
    assert!(run.stderr.contains("2027-02-26"), "{run:?}");
    assert!(run.stderr.contains("gpt-transcribe"), "{run:?}");
}
