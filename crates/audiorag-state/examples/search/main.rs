//! What `cargo xtask bench search` measures: the embedded store, driven through its public verbs.
//!
//! ```text
//! search build DATABASE FOLDER COUNT TEXTS   makes an index: vectors of FOLDER/vectors.f32, chunks from the lines of TEXTS
//! search serve DATABASE FOLDER COUNT TEXTS   answers lines `COMMAND FIRST NUMBER` on standard input, one JSON line each
//! search add DATABASE                        adds 1,000 vectors and takes them out again, several times
//! search agreement DATABASE TEXTS NUMBER     how much of what BM25 ranks first, over all words, a search for words finds
//! ```
//!
//! A hundred sources hold one percent of the chunks each, one behind the other.

mod agreement;
mod process;
mod texts;

use agreement::agreement;
use audiorag_core::capability::{Selector, VectorRecord, VectorStore as _};
use audiorag_core::fusion::{RRF_K, reciprocal_rank_fusion};
use audiorag_core::id::{ChunkId, ConfigHash, ContentHash, EmbeddingKey, PartKey, RevisionId, SourceId};
use audiorag_core::model::{Chunk, EmbeddingSpace, Filter, PartTranscript, SourceStatus, TimeQuality};
use audiorag_core::{Locator, MediaTime, Span};
use audiorag_state::{
    Claim, NewChunk, NewSource, NewTranscript, Outcome, Owner, PartRow, RevisionFacts, RevisionPlan, State,
    StateOptions,
};
use process::{Clock, anonymous_bytes};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use texts::Texts;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const DIMENSIONS: usize = 384;
/// Vectors written at once.
const BATCH: usize = 1000;
const TOP: usize = 10;
/// Candidates of each search of a hybrid one, as `audiorag search` takes for ten passages.
const DEPTH: usize = 40;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = match arguments.as_slice() {
        ["build", database, folder, count, texts] => {
            build(
                Path::new(database),
                Path::new(folder),
                count.parse()?,
                Path::new(texts),
            )
            .await?
        }
        ["serve", database, folder, count, texts] => {
            return serve(
                Path::new(database),
                Path::new(folder),
                count.parse()?,
                Path::new(texts),
            )
            .await;
        }
        ["add", database] => add(Path::new(database)).await?,
        ["agreement", database, texts, number] => {
            agreement(Path::new(database), Path::new(texts), number.parse()?).await?
        }
        _ => return Err("which command?".into()),
    };
    say(&answer)
}

fn say(answer: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()?;
    Ok(())
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace {
        provider: "bench".into(),
        model: "bench".into(),
        dimensions: DIMENSIONS,
    }
}

/// The raw vectors from one place on.
fn vectors(path: &Path, first: usize, count: usize) -> Result<Vec<Vec<f32>>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start((first * DIMENSIONS * 4) as u64))?;
    let mut bytes = vec![0; count * DIMENSIONS * 4];
    file.read_exact(&mut bytes)?;
    Ok(bytes
        .chunks_exact(DIMENSIONS * 4)
        .map(|vector| {
            let (components, _) = vector.as_chunks::<4>();
            components
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect()
        })
        .collect())
}

fn record(number: usize, source: &SourceId, revision: RevisionId, vector: Vec<f32>) -> VectorRecord {
    VectorRecord {
        id: ChunkId::from_stored(format!("chunk-{number}")),
        source_id: source.clone(),
        revision,
        embedding_key: EmbeddingKey::from_stored(format!("key-{number}")),
        vector,
        span: span(number),
        text: String::new(),
        title: String::new(),
        speakers: vec![format!("Speaker {}", number % 7)],
        language: Some("en".into()),
        date: Some("2026-03-01".into()),
    }
}

fn span(number: usize) -> Span {
    let start = number as u64 % 10_000 * 20_000;
    Span::from_millis(start, start + 20_000)
}

async fn build(database: &Path, folder: &Path, count: usize, texts: &Path) -> Result<Value> {
    let texts = Texts::read(texts)?;
    let state = State::open(StateOptions::new(database)).await?;
    let store = state.vectors();
    store.prepare(&space()).await?;
    let mut spent = [(0.0, 0.0); 2];
    for number in 0..100 {
        let (first, last) = (
            (count * number).div_ceil(100),
            (count * (number + 1)).div_ceil(100),
        );
        let source = SourceId::from_stored(format!("source-{number}"));
        // Vectors and chunks of a source, one after the other, as indexing does; each timed for itself.
        let started = Clock::start();
        let (source, revision) = chunks(&state, &texts, number, first..last)
            .await?
            .unwrap_or((source, RevisionId(0)));
        started.add(&mut spent, 1);
        for at in (first..last).step_by(BATCH) {
            let end = (at + BATCH).min(last);
            let rows = vectors(&folder.join("vectors.f32"), at, end - at)?;
            let records = rows
                .into_iter()
                .enumerate()
                .map(|(place, vector)| record(at + place, &source, revision, vector))
                .collect();
            let started = Clock::start();
            store.upsert(records).await?;
            started.add(&mut spent, 0);
        }
    }
    // As indexing does at its end.
    let started = Clock::start();
    state.merge_segments(&|| false).await?;
    started.add(&mut spent, 1);
    // The first search brings the side file up to date.
    let started = Clock::start();
    if let Some(query) = vectors(&folder.join("queries.f32"), 0, 1)?.first() {
        store.search(query, TOP, &Filter::default()).await?;
    }
    started.add(&mut spent, 0);
    state.close().await;
    let [(vectors_wall, vectors_cpu), (chunks_wall, chunks_cpu)] = spent;
    Ok(json!({
        "count": count, "vectors_wall_s": vectors_wall, "vectors_cpu_s": vectors_cpu,
        "chunks_wall_s": chunks_wall, "chunks_cpu_s": chunks_cpu, "files": files(database)?,
    }))
}

/// Publishes a source with its chunks.
async fn chunks(
    state: &State,
    texts: &Texts,
    number: usize,
    places: std::ops::Range<usize>,
) -> Result<Option<(SourceId, RevisionId)>> {
    if places.is_empty() {
        return Ok(None);
    }
    let source = state
        .add_source(&NewSource {
            locator: Locator::File(PathBuf::from(format!("/bench/{number}.wav"))),
            fingerprint: None,
            media: None,
            title: Some(format!("Recording {number}")),
        })
        .await?;
    let owner = Owner {
        host: "bench".into(),
        pid: std::process::id(),
        started_at: 1,
    };
    let claim = state
        .claim(&source.id, &owner, Duration::from_hours(24), &|_| true)
        .await?;
    let Claim::Granted(lease) = claim else {
        return Err("the source is held".into());
    };
    let content = ContentHash::from_stored(format!("content-{number}"));
    let plan = RevisionPlan {
        content: content.clone(),
        config: ConfigHash::from_stored("bench"),
        config_json: "{}".into(),
        space: space(),
    };
    let revision = state.begin_revision(&lease, &plan).await?;
    let whole = Span::from_millis(0, 200_000_000);
    let key = PartKey::from_stored(format!("part-{number}"));
    state
        .save_part_transcript(
            &lease,
            &key,
            &NewTranscript {
                content: &content,
                span: whole,
                provider: "bench/bench@1",
                transcript: &PartTranscript {
                    segments: Vec::new(),
                    language: Some("en".into()),
                },
                paid: None,
            },
        )
        .await?;
    state
        .record_part(
            &lease,
            revision,
            &PartRow {
                index: 0,
                span: whole,
                key: Some(key),
            },
        )
        .await?;
    let chunks: Vec<NewChunk> = places
        .enumerate()
        .map(|(index, number)| NewChunk {
            id: ChunkId::from_stored(format!("chunk-{number}")),
            embedding_key: EmbeddingKey::from_stored(format!("key-{number}")),
            chunk: Chunk {
                index: index as u32,
                span: span(number),
                text: texts.passage(number),
                header: None,
                speakers: vec![format!("Speaker {}", number % 7)],
                lines: Vec::new(),
                times: TimeQuality::Measured,
            },
        })
        .collect();
    let facts = RevisionFacts {
        duration: MediaTime::from_millis(200_000_000),
        language: Some("en".into()),
    };
    state.save_chunks(&lease, revision, &facts, &chunks).await?;
    state
        .publish_revision(&lease, revision, SourceStatus::Completed)
        .await?;
    state.release(&lease, &Outcome::Done).await?;
    Ok(Some((source.id, revision)))
}

/// Answers one command after the other, so that what it is compared with can run in between.
async fn serve(database: &Path, folder: &Path, count: usize, texts: &Path) -> Result<()> {
    let texts = Texts::read(texts)?;
    let queries = vectors(&folder.join("queries.f32"), 0, 1000)?;
    // The texts are this program's, not the store's.
    let before = anonymous_bytes()?;
    let started = Instant::now();
    let state = State::open(StateOptions::new(database)).await?;
    let opened = started.elapsed();
    let store = state.vectors();
    store.prepare(&space()).await?;
    let prepared = started.elapsed();
    if let Some(query) = queries.first() {
        store.search(query, TOP, &Filter::default()).await?;
    }
    let searched = started.elapsed();
    let sources: Vec<SourceId> = {
        let mut listed = state.list_sources().await?;
        listed.sort_by_key(|source| {
            source
                .title
                .trim_start_matches("Recording ")
                .parse::<usize>()
                .unwrap_or_default()
        });
        listed.into_iter().map(|source| source.id).collect()
    };
    say(&json!({
        "count": count, "open_ms": milliseconds(opened), "prepare_ms": milliseconds(prepared),
        "first_search_ms": milliseconds(searched), "files": files(database)?,
    }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [command, first, number] = words.as_slice() else {
            return Err("COMMAND FIRST NUMBER".into());
        };
        let (first, number): (usize, usize) = (first.parse()?, number.parse()?);
        if *command == "memory" {
            let now = anonymous_bytes()?;
            say(&json!({ "anonymous_bytes": now, "of_the_store": now.saturating_sub(before) }))?;
            continue;
        }
        let (mut found, mut walls) = (Vec::new(), Vec::new());
        let clock = Clock::start();
        for place in first..first + number {
            let query = queries.get(place % queries.len()).ok_or("no query")?;
            let filter = Filter {
                sources: sources
                    .get(place % 100)
                    .filter(|_| *command == "filtered")
                    .cloned()
                    .into_iter()
                    .collect(),
                ..Filter::default()
            };
            let question = texts.question(place);
            let started = Instant::now();
            let ids: Vec<ChunkId> = match *command {
                "dense" | "filtered" => store
                    .search(query, TOP, &filter)
                    .await?
                    .into_iter()
                    .map(|found| found.id)
                    .collect(),
                "lexical" => ids(state.search_text(&question, DEPTH, &filter).await?),
                "sound" => ids(state
                    .search_sounds(&Texts::misheard(place), DEPTH, &filter)
                    .await?),
                "hybrid" => hybrid(&state, &store, query, &question, &filter).await?,
                _ => return Err(format!("unknown command {command}").into()),
            };
            walls.push(milliseconds(started.elapsed()));
            found.push(
                ids.iter()
                    .filter_map(|id| id.as_str().strip_prefix("chunk-")?.parse::<usize>().ok())
                    .collect::<Vec<_>>(),
            );
        }
        let (_, cpu) = clock.stop();
        say(&json!({ "wall_ms": walls, "cpu_ms": cpu * 1000.0 / number as f64, "found": found }))?;
    }
    state.close().await;
    Ok(())
}

fn ids(found: Vec<(ChunkId, f32)>) -> Vec<ChunkId> {
    found.into_iter().map(|(id, _)| id).collect()
}

/// All searches at once, fused, and the passages looked up, as `audiorag search` does after embedding the question.
async fn hybrid(
    state: &State,
    store: &audiorag_state::EmbeddedVectorStore,
    query: &[f32],
    question: &str,
    filter: &Filter,
) -> Result<Vec<ChunkId>> {
    let mark = state.live_mark().await?;
    let (dense, words, sounds) = tokio::try_join!(
        store.search(query, DEPTH, filter),
        state.search_text(question, DEPTH, filter),
        state.search_sounds(question, DEPTH, filter)
    )?;
    let dense: Vec<ChunkId> = dense.into_iter().map(|found| found.id).collect();
    let orders = [dense, ids(words), ids(sounds)];
    let rankings = orders.each_ref().map(|order| (1.0, order.as_slice()));
    let fused: Vec<ChunkId> = reciprocal_rank_fusion(&rankings, RRF_K)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let live = state.hits(&fused).await?;
    if state.live_mark().await? != mark {
        return Err("somebody changes the index".into());
    }
    Ok(fused
        .into_iter()
        .filter(|id| live.contains_key(id))
        .take(TOP)
        .collect())
}

/// Adds a thousand vectors, with new numbers every time.
async fn add(database: &Path) -> Result<Value> {
    let state = State::open(StateOptions::new(database)).await?;
    let store = state.vectors();
    store.prepare(&space()).await?;
    let source = SourceId::from_stored("added");
    let mut walls = Vec::new();
    let clock = Clock::start();
    let rounds = 8;
    for round in 0..rounds {
        let records = (0..1000_usize)
            .map(|number| {
                let vector = (0..DIMENSIONS)
                    .map(|place| ((number * 31 + place * 7 + round) as f32).sin())
                    .collect();
                record(
                    1_000_000_000 + round * 1000 + number,
                    &source,
                    RevisionId(1),
                    vector,
                )
            })
            .collect();
        let started = Instant::now();
        store.upsert(records).await?;
        walls.push(milliseconds(started.elapsed()));
    }
    let (_, cpu) = clock.stop();
    store.delete(&Selector::Source(source)).await?;
    state.close().await;
    Ok(json!({ "wall_ms": walls, "cpu_ms": cpu * 1000.0 / rounds as f64 }))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Bytes of the database and of each file beside it.
fn files(database: &Path) -> Result<Value> {
    let name = database
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("no file name")?;
    let mut sizes = serde_json::Map::new();
    for entry in database.parent().ok_or("no folder")?.read_dir()? {
        let entry = entry?;
        if let Some(suffix) = entry
            .file_name()
            .to_str()
            .and_then(|file| file.strip_prefix(name))
        {
            sizes.insert(suffix.to_owned(), entry.metadata()?.len().into());
        }
    }
    Ok(sizes.into())
}
