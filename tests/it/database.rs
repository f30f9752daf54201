//! The database in other hands, and what is read from it day by day.

use crate::sandbox::Sandbox;
use crate::vendors::{Vendor, work};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use tokio::runtime::Runtime;

/// The database of a sandbox, opened behind the program's back.
fn open(runtime: &Runtime, sandbox: &Sandbox) -> DatabaseConnection {
    let path = sandbox.project().join("audiorag.db");
    let url = format!("sqlite://{}", path.display());
    runtime.block_on(Database::connect(url)).unwrap()
}

#[test]
fn a_database_that_another_program_has_locked_ends_with_6_and_names_it() {
    let vendor = Vendor::answering(|_, request| work(request));
    let mut sandbox = vendor.sandbox();
    sandbox.set("AUDIORAG_DATABASE_URL", "audiorag.db");
    sandbox.run(&["db", "migrate"]).ok();
    let runtime = Runtime::new().unwrap();
    let database = open(&runtime, &sandbox);
    runtime
        .block_on(database.execute_unprepared("BEGIN EXCLUSIVE"))
        .unwrap();
    let me = std::process::id();
    let mut said = vec!["database is locked by another process".to_owned()];
    if cfg!(target_os = "linux") {
        said.push(format!("pid {me}"));
    }
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    sandbox.run(&["index", "talk.wav"]).exits(6).says(&said);
    // Reading goes on.
    sandbox.run(&["list"]).ok();
    runtime.block_on(database.execute_unprepared("ROLLBACK")).unwrap();
    sandbox.run(&["index", "talk.wav"]).ok();
}

#[test]
fn costs_are_told_by_the_day_of_utc_the_latest_first() {
    let mut sandbox = Sandbox::without_models();
    sandbox.set("AUDIORAG_DATABASE_URL", "audiorag.db");
    // Where it is another day already.
    sandbox.set("TZ", "Pacific/Kiritimati");
    sandbox.run(&["db", "migrate"]).ok();
    let runtime = Runtime::new().unwrap();
    let database = open(&runtime, &sandbox);
    // The last and the first millisecond of days, in no order: 2026-11-28 and 29 at midnight.
    const MIDNIGHT: i64 = 1_795_910_400_000;
    for (sent, cost) in [
        (MIDNIGHT, 4),
        (MIDNIGHT - 86_400_000, 2),
        (MIDNIGHT - 1, 1),
        (MIDNIGHT - 86_400_001, 8),
    ] {
        let statement = format!(
            "INSERT INTO call (operation_id, purpose, capability, provider, model, state, owner_host, owner_pid,
             owner_started, requests, input_tokens, output_tokens, audio_ms, cost_nanos, sent_at, ended_at)
             VALUES ('o', 'index', 'transcribe', 'p', 'm', 'done', 'h', 1, 1, 1, 0, 0, 1000, {cost}000000000, {sent}, {sent})"
        );
        runtime.block_on(database.execute_unprepared(&statement)).unwrap();
    }
    let told = sandbox.run(&["cost", "--by", "day", "--json"]).ok().json();
    let groups: Vec<(String, u64, f64)> = told["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            (
                group["group"].as_str().unwrap().to_owned(),
                group["calls"].as_u64().unwrap(),
                group["used"]["cost"].as_f64().unwrap(),
            )
        })
        .collect();
    let day = |day: &str, calls, cost| (day.to_owned(), calls, cost);
    assert_eq!(
        groups,
        [
            day("2026-11-29", 1, 4.0),
            day("2026-11-28", 2, 3.0),
            day("2026-11-27", 1, 8.0)
        ],
        "{told}"
    );
    let since = sandbox
        .run(&["cost", "--by", "day", "--since", "2026-11-28", "--json"])
        .ok()
        .json();
    assert_eq!(since["groups"].as_array().unwrap().len(), 2, "{since}");
    let text = sandbox.run(&["cost", "--by", "day"]).ok().stdout;
    let places: Vec<usize> = ["2026-11-29", "2026-11-28", "2026-11-27"]
        .iter()
        .map(|day| text.find(day).unwrap())
        .collect();
    assert!(places.is_sorted(), "{text}");
}
