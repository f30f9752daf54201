//! Indexing two hundred recordings with a vendor, killed again and again at any time.
//!
//! `cargo xtask crash --rounds R --seed S` runs it for as long as one likes; the suite runs a few rounds.

use crate::sandbox::{Running, Sandbox, environment};
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::synth::{Random, Track};
use rustix::process::Signal;
use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

const ROUNDS: usize = 25;
const SOURCES: usize = 200;
/// Recordings that get other words once all of them are indexed.
const EDITED: usize = 120;
/// Sources, and so calls of each kind, that are under way at once: a recording is one part and its chunks one batch.
const IN_FLIGHT: u64 = 4;
/// The longest that a run is left alone, in milliseconds.
const PATIENCE: usize = 1_500;
const DIMENSIONS: usize = 64;

/// What the vendor was asked for: how often, and by content.
#[derive(Default)]
struct Asked {
    requests: [u64; 2],
    recordings: HashMap<u64, u64>,
    texts: HashMap<String, u64>,
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// The words of a recording: a sentence that no other one has.
fn said(recording: u64) -> String {
    let words: Vec<String> = (0..6)
        .map(|word| {
            let mut random = Random::new(recording ^ word);
            let letters = (0..7).map(|_| char::from(b'a' + random.below(26) as u8));
            letters.collect()
        })
        .collect();
    format!("{}.", words.join(" "))
}

fn answer(request: &Request, asked: &Mutex<Asked>) -> Reply {
    match request.path() {
        "/v1/audio/transcriptions" => {
            // The form's boundary differs from call to call; the recording in it does not.
            let start = request
                .body
                .windows(4)
                .position(|bytes| bytes == b"RIFF")
                .unwrap();
            let size = u32::from_le_bytes(request.body[start + 4..start + 8].try_into().unwrap());
            let recording = hash(&request.body[start..start + 8 + size as usize]);
            let mut asked = asked.lock().unwrap();
            asked.requests[0] += 1;
            *asked.recordings.entry(recording).or_default() += 1;
            drop(asked);
            let reply = json!({"text": said(recording), "languages": [{"code": "en"}]});
            // Long enough to be killed in.
            Reply::json(200, reply.to_string()).after(Duration::from_millis(recording % 30))
        }
        "/v1/embeddings" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let texts = body["input"].as_array().unwrap();
            asked.lock().unwrap().requests[1] += 1;
            let mut data = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                let text = text.as_str().unwrap();
                *asked.lock().unwrap().texts.entry(text.to_owned()).or_default() += 1;
                let mut random = Random::new(hash(text.as_bytes()));
                let vector: Vec<f32> = (0..DIMENSIONS).map(|_| random.between(-1.0, 1.0)).collect();
                data.push(json!({"object": "embedding", "index": index, "embedding": vector}));
            }
            let reply = json!({
                "object": "list", "data": data,
                "usage": {"prompt_tokens": texts.len(), "total_tokens": texts.len()},
            });
            Reply::json(200, reply.to_string()).after(Duration::from_millis(hash(&request.body) % 20))
        }
        path if path.starts_with("/v1/models") => {
            let id = path.rsplit('/').next().unwrap();
            Reply::json(200, json!({"id": id, "object": "model", "data": []}).to_string())
        }
        other => Reply::json(404, json!({"error": {"message": other}}).to_string()),
    }
}

/// A user with many recordings, and the vendor.
struct World {
    sandbox: Sandbox,
    asked: Arc<Mutex<Asked>>,
    runtime: Runtime,
    random: Random,
    _server: Server,
}

impl World {
    fn new(seed: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let asked: Arc<Mutex<Asked>> = Arc::default();
        let counting = Arc::clone(&asked);
        let server = runtime.block_on(Server::answering(move |_, request| answer(request, &counting)));
        let mut sandbox = Sandbox::without_models();
        sandbox.set("OPENAI_API_KEY", "none");
        sandbox.set("OPENAI_BASE_URL", server.url("/v1"));
        sandbox.set("AUDIORAG_STT_PROVIDER", "openai");
        sandbox.set("AUDIORAG_EMBEDDING_PROVIDER", "openai");
        sandbox.set("AUDIORAG_EMBEDDING_DIMENSIONS", DIMENSIONS.to_string());
        sandbox.set("AUDIORAG_INDEX_SOURCE_CONCURRENCY", IN_FLIGHT.to_string());
        sandbox.set("AUDIORAG_DATABASE_URL", "audiorag.db");
        let mut world = Self {
            sandbox,
            asked,
            runtime,
            random: Random::new(seed),
            _server: server,
        };
        for number in 0..SOURCES {
            world.record(number);
        }
        world
    }

    /// Writes a recording that nobody has heard before.
    fn record(&mut self, number: usize) {
        let seed = self.random.next_u64();
        let track = Track::new(16_000).silence(200).speech(1_200, seed).silence(300);
        self.sandbox
            .write(format!("audio/{number:03}.wav"), track.to_wav());
    }

    fn start(&self) -> Running {
        self.sandbox.start(&["index", "--quiet", "--json", "audio"])
    }

    /// The first value of a statement's only row.
    fn query(&self, statement: &str) -> u64 {
        let url = format!(
            "sqlite://{}",
            self.sandbox.project().join("audiorag.db").display()
        );
        self.runtime.block_on(async {
            let database: DatabaseConnection = sea_orm::Database::connect(url).await.unwrap();
            let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, statement);
            let row = database.query_one_raw(statement).await.unwrap().unwrap();
            let value: i64 = row.try_get_by_index(0).unwrap();
            database.close().await.unwrap();
            u64::try_from(value).unwrap()
        })
    }

    /// Calls of the vendor, and those whose answers were lost: transcripts and vectors.
    fn calls(&self) -> [(u64, u64); 2] {
        let (heard, embedded) = {
            let asked = self.asked.lock().unwrap();
            (
                asked.recordings.values().sum::<u64>(),
                asked.texts.values().sum::<u64>(),
            )
        };
        let kept = |table: &str| self.query(&format!("SELECT count(*) FROM {table}"));
        [
            (heard, heard - kept("part_transcript")),
            (embedded, embedded - kept("embedding")),
        ]
    }

    /// What the journal of calls says, and what the vendor counted.
    fn ledger(&self) -> Ledger {
        let count = |condition: &str| self.query(&format!("SELECT count(*) FROM call WHERE {condition}"));
        let requests = self.asked.lock().unwrap().requests;
        Ledger {
            calls: CAPABILITIES.map(|capability| count(&format!("capability = '{capability}'"))),
            requests,
            done: count("state = 'done'"),
            failed: count("state = 'failed'"),
            lost: count("state = 'lost'"),
            open: count("state = 'sent'"),
        }
    }

    /// What holds at every moment.
    fn is_sound(&self, round: usize) {
        for (what, statement) in NEVER {
            let wrong = self.query(statement);
            assert_eq!(wrong, 0, "round {round}: {wrong} {what}");
        }
    }
}

/// How the journal names the two kinds of calls.
const CAPABILITIES: [&str; 2] = ["transcribe", "embed"];

/// The journal of calls beside the vendor's own count.
#[derive(Debug)]
struct Ledger {
    /// Calls of each capability in the journal.
    calls: [u64; 2],
    /// Requests of each kind that reached the vendor.
    requests: [u64; 2],
    done: u64,
    failed: u64,
    lost: u64,
    open: u64,
}

impl Ledger {
    /// Asserts that the vendor was asked for nothing that is not in the journal, that what is in the journal and did
    /// not reach the vendor was cut off by a kill, and that of one kill no more calls are open than were in flight.
    fn adds_up(&self, round: usize, kills: u64, killed: bool) {
        for (calls, requests) in self.calls.into_iter().zip(self.requests) {
            let never_arrived = calls.checked_sub(requests);
            assert!(
                never_arrived.is_some_and(|calls| calls <= kills * IN_FLIGHT),
                "round {round}: {self:?} after {kills} kills"
            );
        }
        let most = if killed { IN_FLIGHT } else { 0 };
        assert!(self.open <= most, "round {round}: {self:?}, {most} may be open");
        assert!(
            self.lost + self.open <= kills * IN_FLIGHT,
            "round {round}: {self:?}"
        );
        assert_eq!(
            self.failed, 0,
            "round {round}: the vendor refused nothing: {self:?}"
        );
    }
}

/// What is never in the database, and how to count it.
const NEVER: &[(&str, &str)] = &[
    (
        "pages are damaged",
        "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    ),
    (
        "live revisions have not all their chunks",
        "SELECT count(*) FROM revision r WHERE r.state = 'live'
         AND r.chunk_count <> (SELECT count(*) FROM chunk c WHERE c.revision_id = r.id)",
    ),
    (
        "live revisions have not all their vectors",
        "SELECT count(*) FROM revision r WHERE r.state = 'live'
         AND r.chunk_count <> (SELECT count(*) FROM vector v WHERE v.revision_id = r.id)",
    ),
    (
        "sources answer with a revision that is not live",
        "SELECT count(*) FROM source s WHERE s.active_revision IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM revision r WHERE r.id = s.active_revision AND r.state = 'live')",
    ),
    (
        "sources have two live revisions",
        "SELECT count(*) FROM (SELECT 1 FROM revision WHERE state = 'live' GROUP BY source_id HAVING count(*) > 1)",
    ),
    (
        "vectors belong to nobody",
        "SELECT count(*) FROM vector v WHERE NOT EXISTS (SELECT 1 FROM revision r WHERE r.id = v.revision_id)
         AND NOT EXISTS (SELECT 1 FROM retirement t WHERE t.revision_id = v.revision_id)",
    ),
    (
        "retired revisions are in no outbox",
        "SELECT count(*) FROM revision r WHERE r.state = 'retired'
         AND NOT EXISTS (SELECT 1 FROM retirement t WHERE t.revision_id = r.id)",
    ),
    (
        "live parts have no transcript",
        "SELECT count(*) FROM part p JOIN revision r ON r.id = p.revision_id AND r.state = 'live'
         WHERE p.part_key IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM part_transcript t WHERE t.part_key = p.part_key)",
    ),
    (
        "completed sources are without a revision",
        "SELECT count(*) FROM source WHERE status = 'completed' AND active_revision IS NULL",
    ),
];

fn number(name: &str, otherwise: usize) -> usize {
    environment(name).map_or(otherwise, |text| text.to_str().unwrap().parse().unwrap())
}

#[test]
fn killed_at_any_time_it_goes_on_and_repeats_no_more_than_was_in_flight() {
    let (rounds, seed) = (
        number("AUDIORAG_CRASH_ROUNDS", ROUNDS),
        number("AUDIORAG_CRASH_SEED", 4) as u64,
    );
    let mut world = World::new(seed);
    let (mut kills, mut finished) = (0_u64, 0);
    let mut lost = [0; 2];
    let mut most = [0; 2];
    // The first kill may come before there is a database.
    world.sandbox.run(&["db", "migrate"]).ok();
    for round in 1..=rounds {
        let running = world.start();
        std::thread::sleep(Duration::from_millis(world.random.below(PATIENCE) as u64));
        running.signal(Signal::KILL);
        let run = running.wait();
        if run.code() == 0 {
            finished += 1;
        } else {
            assert_eq!(run.code(), 128 + 9, "{run:?}");
            kills += 1;
        }
        world.is_sound(round);
        world.ledger().adds_up(round, kills, run.code() != 0);
        for (index, (calls, lost_so_far)) in world.calls().into_iter().enumerate() {
            let now = lost_so_far.checked_sub(lost[index]).unwrap();
            let bound = if run.code() == 0 { 0 } else { IN_FLIGHT };
            assert!(
                now <= bound,
                "round {round}: {now} of {calls} answers lost, and {bound} were in flight"
            );
            most[index] = most[index].max(now);
            lost[index] = lost_so_far;
        }
        if round % 3 == 0 {
            world.sandbox.run(&["doctor", "--deep"]).ok();
        }
        if run.code() == 0 {
            for _ in 0..EDITED {
                let edited = world.random.below(SOURCES);
                world.record(edited);
            }
        }
    }
    let last = world.start().wait().ok();
    assert!(
        last.summary()["failed"].as_array().unwrap().is_empty(),
        "{last:?}"
    );
    world.is_sound(rounds + 1);
    let complete = world.query(
        "SELECT count(*) FROM source WHERE status = 'completed' AND owner_pid IS NULL
         AND active_revision IS NOT NULL",
    );
    assert_eq!(complete, SOURCES as u64);
    assert_eq!(
        world.query("SELECT count(*) FROM retirement"),
        0,
        "something is still to be retired"
    );
    assert_eq!(world.query("SELECT count(*) FROM revision"), SOURCES as u64);
    assert_eq!(
        world.query("SELECT count(*) FROM vector"),
        world.query("SELECT count(*) FROM chunk")
    );
    world.sandbox.run(&["doctor", "--deep"]).ok();
    let ledger = world.ledger();
    ledger.adds_up(rounds + 1, kills, false);
    let told = world.sandbox.run(&["cost", "--json"]).ok();
    let groups = told.json()["groups"].clone();
    let told: u64 = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["calls"].as_u64().unwrap())
        .sum();
    assert_eq!(told, ledger.calls.iter().sum::<u64>(), "{groups}");
    let calls = world.calls();
    assert_eq!(
        calls.map(|(_, lost)| lost),
        lost,
        "nobody was killed, and something was lost"
    );
    let asked = world.asked.lock().unwrap();
    let again = [
        asked.recordings.values().map(|calls| calls - 1).sum::<u64>(),
        asked.texts.values().map(|calls| calls - 1).sum::<u64>(),
    ];
    for (again, lost) in again.into_iter().zip(lost) {
        assert!(again <= lost, "{again} calls again, and {lost} answers were lost");
    }
    let Ledger {
        done, lost: unknown, ..
    } = ledger;
    println!(
        "{rounds} rounds (seed {seed}): {kills} kills, {finished} runs that finished first; speech-to-text {} calls, \
         {} again, at most {} lost in a kill; embeddings {} texts, {} again, at most {} lost in a kill; {IN_FLIGHT} \
         may be in flight; the vendor counted {} and {} requests, the ledger has {} and {} calls, {done} done, {unknown} \
         lost, none open",
        calls[0].0,
        again[0],
        most[0],
        calls[1].0,
        again[1],
        most[1],
        ledger.requests[0],
        ledger.requests[1],
        ledger.calls[0],
        ledger.calls[1]
    );
}
