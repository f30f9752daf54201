//! The JSON shapes: a contract, so they are written out here and not derived from types that change for other
//! reasons. Times are seconds as numbers, points in time RFC 3339.

use audiorag::core::budget::Amounts;
use audiorag::core::cite::Unsupported;
use audiorag::core::model::{Answer, Chapter, Citation, Hit, TimeQuality};
use audiorag::core::{MediaTime, Money, Stage};
use audiorag::doctor::{Check, RepairReport};
use audiorag::gc::GcReport;
use audiorag::index::{
    FailedSource, IndexEvent, IndexPlan, IndexReport, IndexedSource, PlannedCalls, ReindexPlan,
    SkippedSource, SourceOutcome,
};
use audiorag::prices::Prices;
use audiorag::query::{QueryEvent, QueryReply, SearchReply, Summary, SummarySection};
use audiorag::settings::Entry;
use audiorag::speakers::Speaker;
use audiorag::state::{CacheStats, CostRow, Finding, SchemaStatus, SourceRecord, Thread, Turn, TurnCitation};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};

fn seconds(time: MediaTime) -> f64 {
    time.as_seconds_f64()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A point in time as RFC 3339, to the second.
pub(crate) fn instant(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| format!("{time:.0}"))
}

fn timings(timings: &[(Stage, Duration)]) -> Value {
    let stages: Map<String, Value> = timings
        .iter()
        .map(|(stage, duration)| (stage.as_str().to_owned(), millis(*duration).into()))
        .collect();
    stages.into()
}

/// `query --json`.
pub(crate) fn query(reply: &QueryReply) -> Value {
    let answer = &reply.answer;
    json!({
        "operation_id": reply.operation_id.as_str(),
        "answer": answer.text,
        "citations": answer.citations.iter().map(citation).collect::<Vec<_>>(),
        "passages": answer.passages.iter().map(hit).collect::<Vec<_>>(),
        "degraded": answer.degraded,
        "timings_ms": timings(&reply.timings),
        "model": answer.model,
        "abstained": answer.abstained.map(audiorag::core::model::Abstention::as_str),
        "removed_citations": answer.removed_citations,
        "unsupported": unsupported(answer),
        "thread": reply.thread.as_ref().map(|turn| json!({
            "name": turn.name,
            "turn": turn.number,
            "searched": turn.searched,
            "wording": turn.wording.as_str(),
        })),
    })
}

/// `summarize --json`.
pub(crate) fn summary_of(source: &SourceRecord, summary: &Summary) -> Value {
    let written = |answer: &Answer| {
        json!({
            "text": answer.text,
            "citations": answer.citations.iter().map(citation).collect::<Vec<_>>(),
            "unsupported": unsupported(answer),
            "removed_citations": answer.removed_citations,
            "model": answer.model,
        })
    };
    let section = |section: &SummarySection| {
        let mut value = written(&section.answer);
        if let Some(object) = value.as_object_mut() {
            object.insert("chapter".to_owned(), json!(section.chapter));
            object.insert("start".to_owned(), seconds(section.span.start()).into());
            object.insert("end".to_owned(), seconds(section.span.end()).into());
        }
        value
    };
    json!({
        "operation_id": summary.operation_id.as_str(),
        "source_id": source.id.as_str(),
        "title": source.title,
        "extractive": summary.is_extractive,
        "overview": written(&summary.overview),
        "sections": summary.sections.iter().map(section).collect::<Vec<_>>(),
        "degraded": summary.degraded,
    })
}

/// One row of `threads list --json`.
pub(crate) fn thread(thread: &Thread) -> Value {
    json!({
        "name": thread.name,
        "turns": thread.turns,
        "question": thread.question,
        "created_at": instant(thread.created_at),
        "updated_at": instant(thread.updated_at),
    })
}

/// One turn of `threads show --json`.
pub(crate) fn turn(turn: &Turn) -> Value {
    let cited = |cited: &TurnCitation| {
        let mut value = citation(&cited.citation);
        if let Some(object) = value.as_object_mut() {
            object.insert("source_deleted".to_owned(), cited.is_deleted.into());
        }
        value
    };
    json!({
        "turn": turn.number,
        "question": turn.question,
        "searched": turn.searched,
        "answer": turn.answer,
        "citations": turn.citations.iter().map(cited).collect::<Vec<_>>(),
        "model": turn.model,
        "asked_at": instant(turn.asked_at),
    })
}

fn unsupported(answer: &Answer) -> Vec<Value> {
    let statement = |found: &Unsupported| {
        json!({
            "statement": answer.text.get(found.from..found.to),
            "reason": found.doubt.as_str(),
        })
    };
    answer.unsupported.iter().map(statement).collect()
}

/// One line of `query --stream --json`, but for the last one, which is [`query`] as the event `reply`.
pub(crate) fn query_event(event: &QueryEvent<'_>) -> Value {
    match event {
        QueryEvent::Passages(passages) => {
            json!({"event": "passages", "passages": passages.iter().map(hit).collect::<Vec<_>>()})
        }
        QueryEvent::Text(text) => json!({"event": "text", "text": text}),
        QueryEvent::Restarted => json!({"event": "restarted"}),
        // Events that a newer version may add.
        _ => json!({"event": "other"}),
    }
}

fn citation(citation: &Citation) -> Value {
    json!({
        "marker": citation.marker,
        "source_id": citation.source_id.as_str(),
        "title": citation.title,
        "locator": citation.locator.to_uri(),
        "start": seconds(citation.span.start()),
        "end": seconds(citation.span.end()),
        "quote": citation.quote,
        "link": citation.link,
        "speakers": citation.speakers,
        "score": citation.score,
        "estimated_times": citation.times == TimeQuality::Estimated,
    })
}

fn hit(hit: &Hit) -> Value {
    json!({
        "chunk_id": hit.chunk_id.as_str(),
        "source_id": hit.source_id.as_str(),
        "title": hit.title,
        "locator": hit.locator.to_uri(),
        "start": seconds(hit.span.start()),
        "end": seconds(hit.span.end()),
        "text": hit.text,
        "chapter": hit.chapter,
        "speakers": hit.speakers,
        "estimated_times": hit.times == TimeQuality::Estimated,
        "scores": {
            "dense": hit.scores.dense,
            "lexical": hit.scores.lexical,
            "sound": hit.scores.sound,
            "fused": hit.scores.fused,
            "rerank": hit.scores.rerank,
        },
        "ranks": {
            "dense": hit.scores.ranks.dense,
            "lexical": hit.scores.ranks.lexical,
            "sound": hit.scores.ranks.sound,
        },
    })
}

/// The chapters of a source.
pub(crate) fn chapters(chapters: &[Chapter]) -> Vec<Value> {
    let chapter = |chapter: &Chapter| json!({"start": seconds(chapter.start), "title": chapter.title});
    chapters.iter().map(chapter).collect()
}

/// One row of `speakers list --json`.
pub(crate) fn speaker(speaker: &Speaker) -> Value {
    json!({
        "name": speaker.name,
        "source_id": speaker.source_id.as_str(),
        "title": speaker.title,
        "labels": speaker.labels,
        "segments": speaker.segments,
        "seconds": seconds(speaker.time),
    })
}

/// `search --json`.
pub(crate) fn search(reply: &SearchReply) -> Value {
    json!({
        "operation_id": reply.operation_id.as_str(),
        "hits": reply.hits.iter().map(hit).collect::<Vec<_>>(),
        "degraded": reply.degraded,
        "timings_ms": timings(&reply.timings),
    })
}

/// One source of `list --json`, `show --json` and `status --json`.
pub(crate) fn source(source: &SourceRecord) -> Value {
    json!({
        "source_id": source.id.as_str(),
        "title": source.title,
        "locator": source.locator.to_uri(),
        "status": source.status.as_str(),
        "duration": source.duration.map(seconds),
        "chunks": source.chunk_count,
        "revision": source.active_revision.map(|revision| revision.0),
        "updated_at": instant(source.updated_at),
        "error": source.failure.as_ref().map(|failure| json!({
            "stage": failure.stage.map(Stage::as_str),
            "kind": failure.kind.as_str(),
            "message": failure.message,
        })),
    })
}

/// One line of `index --json`.
pub(crate) fn event(event: &IndexEvent) -> Value {
    match event {
        IndexEvent::Discovered { sources } => json!({"event": "discovered", "sources": sources}),
        IndexEvent::SourceStarted { source } => json!({"event": "source_started", "source": source}),
        IndexEvent::StageStarted { source, stage } => {
            json!({"event": "stage", "source": source, "stage": stage.as_str(), "state": "started"})
        }
        IndexEvent::StageCompleted {
            source,
            stage,
            elapsed,
        } => json!({
            "event": "stage",
            "source": source,
            "stage": stage.as_str(),
            "state": "completed",
            "elapsed_ms": millis(*elapsed),
        }),
        IndexEvent::Download { source, bytes, total } => {
            json!({"event": "download", "source": source, "bytes": bytes, "total": total})
        }
        IndexEvent::Part {
            source,
            index,
            end,
            duration,
            reused,
        } => json!({
            "event": "part",
            "source": source,
            "index": index,
            "end": seconds(*end),
            "duration": duration.map(seconds),
            "reused": reused,
        }),
        IndexEvent::Warning { source, message } => {
            json!({"event": "warning", "source": source, "message": message})
        }
        IndexEvent::SourceFinished {
            source,
            outcome: result,
        } => {
            let (name, detail) = outcome(result);
            json!({"event": "source_finished", "source": source, "outcome": name, "detail": detail})
        }
        // Events that a newer version may add.
        _ => json!({"event": "other"}),
    }
}

fn outcome(outcome: &SourceOutcome) -> (&'static str, Value) {
    match outcome {
        SourceOutcome::Indexed(source) => ("indexed", indexed(source)),
        SourceOutcome::Skipped(source) => ("skipped", skipped(source)),
        SourceOutcome::Empty(source) => ("empty", indexed(source)),
        SourceOutcome::Prepared(source) => ("prepared", indexed(source)),
        SourceOutcome::Failed(source) => ("failed", failed(source)),
    }
}

fn indexed(source: &IndexedSource) -> Value {
    json!({
        "source": source.source,
        "source_id": source.source_id.as_str(),
        "revision": source.revision.0,
        "duration": seconds(source.duration),
        "chunks": source.chunks,
        "transcribed_parts": source.transcribed_parts,
        "reused_parts": source.reused_parts,
        "silent_parts": source.silent_parts,
        "embedded_chunks": source.embedded_chunks,
        "reused_embeddings": source.reused_embeddings,
        "suspicious_segments": source.suspicious_segments,
        "transcript": source.transcript,
    })
}

fn skipped(source: &SkippedSource) -> Value {
    json!({"source": source.source, "source_id": source.source_id.as_str(), "reason": source.reason})
}

fn failed(source: &FailedSource) -> Value {
    json!({
        "source": source.source,
        "stage": source.stage.map(Stage::as_str),
        "kind": source.kind.as_str(),
        "message": source.message,
        "hint": source.hint,
    })
}

/// The last line of `index --json`.
pub(crate) fn summary(report: &IndexReport) -> Value {
    json!({
        "event": "summary",
        "operation_id": report.operation_id.as_str(),
        "indexed": report.indexed.iter().map(indexed).collect::<Vec<_>>(),
        "skipped": report.skipped.iter().map(skipped).collect::<Vec<_>>(),
        "empty": report.empty.iter().map(indexed).collect::<Vec<_>>(),
        "prepared": report.prepared.iter().map(indexed).collect::<Vec<_>>(),
        "failed": report.failed.iter().map(failed).collect::<Vec<_>>(),
        "not_started": report.not_started,
        "cancelled": report.cancelled,
        "reused_parts": report.reused_parts(),
        "transcribed_parts": report.transcribed_parts(),
        "cost": report.cost.as_usd(),
        "calls": report.calls,
        "unpriced_calls": report.unpriced_calls,
        "elapsed_ms": millis(report.elapsed),
    })
}

/// `index --plan --json`. Money is US dollars.
pub(crate) fn plan(plan: &IndexPlan) -> Value {
    let sources: Vec<Value> = plan
        .sources
        .iter()
        .map(|source| {
            json!({
                "source": source.source,
                "source_id": source.source_id.as_ref().map(audiorag::core::id::SourceId::as_str),
                "skipped": source.skipped,
                "stages": source.stages.iter().map(|stage| stage.as_str()).collect::<Vec<_>>(),
                "duration": source.duration.map(seconds),
                "transcript": source.transcript,
                "transcribe": planned(&source.transcribe),
                "embed": planned(&source.embed),
            })
        })
        .collect();
    json!({
        "sources": sources,
        "failed": plan.failed.iter().map(failed).collect::<Vec<_>>(),
        "transcriber": plan.transcriber,
        "embedder": plan.embedder,
        "cost": plan.cost().map(Money::as_usd),
        "saved": plan.saved().as_usd(),
    })
}

fn planned(calls: &PlannedCalls) -> Value {
    json!({
        "needed": amounts(&calls.needed),
        "saved": amounts(&calls.saved),
        "exact": calls.exact,
    })
}

fn amounts(amounts: &Amounts) -> Value {
    json!({
        "requests": amounts.usage.requests,
        "audio": seconds(amounts.usage.audio),
        "input_tokens": amounts.usage.input_tokens,
        "output_tokens": amounts.usage.output_tokens,
        "cost": amounts.cost.map(Money::as_usd),
    })
}

/// `cost --json`.
pub(crate) fn costs(rows: &[CostRow]) -> Value {
    let groups: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "group": row.group,
                "calls": row.calls,
                "failed": row.failed,
                "lost": row.lost,
                "open": row.open,
                "unpriced": row.unpriced,
                "used": amounts(&row.amounts),
            })
        })
        .collect();
    let total: Money = rows.iter().filter_map(|row| row.amounts.cost).sum();
    json!({"groups": groups, "cost": total.as_usd()})
}

/// `cost --prices --json`.
pub(crate) fn prices(prices: &Prices) -> Value {
    let models: Map<String, Value> = prices
        .iter()
        .map(|(name, price)| {
            let price = json!({
                "audio_minute": price.audio_minute,
                "million_tokens": price.million_tokens,
                "million_tokens_written": price.million_tokens_written,
                "request": price.request,
                "checked": price.checked,
                "source": price.source,
            });
            (name.to_owned(), price)
        })
        .collect();
    json!({"prices": models})
}

/// `reindex --dry-run --json`.
pub(crate) fn reindex_plan(plan: &ReindexPlan) -> Value {
    let sources: Vec<Value> = plan
        .sources
        .iter()
        .map(|source| {
            json!({
                "source": source.source,
                "source_id": source.source_id.as_str(),
                "skip": source.skip,
                "parts": source.parts(),
                "audio": seconds(source.transcribe.needed.usage.audio),
                "chunks": source.chunks,
                "new_vectors": source.new_vectors,
                "transcribe": planned(&source.transcribe),
                "embed": planned(&source.embed),
            })
        })
        .collect();
    json!({
        "sources": sources,
        "parts": plan.parts(),
        "audio": seconds(plan.audio()),
        "is_remote": plan.is_remote,
        "cost": plan.cost().map(Money::as_usd),
    })
}

/// `gc --json`.
pub(crate) fn garbage(report: &GcReport) -> Value {
    json!({
        "dry_run": report.dry_run,
        "revisions": report.revisions,
        "revisions_left": report.revisions_left,
        "abandoned": report.abandoned,
        "part_transcripts": report.cache.part_transcripts,
        "part_bytes": report.cache.part_bytes,
        "embeddings": report.cache.embeddings,
        "embedding_bytes": report.cache.embedding_bytes,
        "work_dirs": report.work_dirs,
        "work_dir_bytes": report.work_dir_bytes,
        "notes": report.notes,
        "note_bytes": report.note_bytes,
    })
}

/// `doctor --json`.
pub(crate) fn checks(checks: &[Check]) -> Value {
    let checks: Vec<Value> = checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "status": check.status.as_str(),
                "detail": check.detail,
                "remedy": check.remedy,
                "kind": check.kind.map(audiorag::ErrorKind::as_str),
                "findings": check.findings.iter().map(finding).collect::<Vec<_>>(),
                "latency_ms": millis(check.latency),
            })
        })
        .collect();
    json!({"checks": checks})
}

fn finding(finding: &Finding) -> Value {
    json!({
        "invariant": finding.problem.invariant().id(),
        "problem": finding.problem.as_str(),
        "severity": finding.problem.severity().as_str(),
        "source_id": finding.source.as_ref().map(audiorag::core::id::SourceId::as_str),
        "source": finding.name,
        "revision": finding.revision.map(|revision| revision.0),
        "count": finding.count,
        "detail": finding.detail(),
    })
}

/// `doctor --repair --json`.
pub(crate) fn repair(report: &RepairReport) -> Value {
    let left: Vec<Value> = report
        .left
        .iter()
        .map(|left| {
            let mut value = finding(&left.finding);
            if let Some(object) = value.as_object_mut() {
                object.insert("reason".to_owned(), left.reason.clone().into());
                object.insert("costs".to_owned(), left.costs.into());
            }
            value
        })
        .collect();
    json!({
        "dry_run": report.dry_run,
        "mended": report.mended.iter().map(finding).collect::<Vec<_>>(),
        "left": left,
        "notices": report.notices.iter().map(finding).collect::<Vec<_>>(),
        "vectors_written": report.written,
        "vectors_computed": report.computed,
        "sources_rebuilt": report.rebuilt,
    })
}

/// `config show --json`.
pub(crate) fn entries(entries: &[Entry]) -> Value {
    let settings: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!({
                "setting": entry.key.spec().path,
                "value": entry.value,
                "origin": entry.origin.as_str(),
                "from": entry.origin.to_string(),
            })
        })
        .collect();
    json!({"settings": settings})
}

/// `cache info --json` and `cache clear --json`.
pub(crate) fn cache(stats: &CacheStats) -> Value {
    json!({
        "part_transcripts": stats.part_transcripts,
        "part_bytes": stats.part_bytes,
        "unused_part_transcripts": stats.unused_part_transcripts,
        "unused_part_bytes": stats.unused_part_bytes,
        "embeddings": stats.embeddings,
        "embedding_bytes": stats.embedding_bytes,
        "unused_embeddings": stats.unused_embeddings,
        "unused_embedding_bytes": stats.unused_embedding_bytes,
    })
}

/// `db status --json` and what the other `db` commands leave.
pub(crate) fn schema(path: &std::path::Path, status: &SchemaStatus) -> Value {
    let steps: Vec<Value> = status
        .steps
        .iter()
        .map(|step| json!({"name": step.name, "applied": step.applied}))
        .collect();
    json!({
        "database": path.display().to_string(),
        "current": status.current(),
        "pending": status.pending,
        "steps": steps,
    })
}
