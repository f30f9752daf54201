//! Revisions: resumed, published in one step, retired through the outbox; transcripts and chunks.

use crate::common::{Scratch, build, build_of, chunk, content, plan, space};
use audiorag_core::id::{ChunkId, EmbeddingKey, PartKey, RevisionId};
use audiorag_core::model::{EmbeddingSpace, Filter, PartTranscript, Segment, SourceStatus, TimeQuality};
use audiorag_core::{ErrorKind, MediaTime, Span};
use audiorag_state::{CacheKind, NewTranscript, PartRow, RevisionFacts, RevisionPlan};

#[tokio::test]
async fn an_unfinished_revision_is_resumed_and_others_are_dropped() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let source = scratch.add("/a/x.mp3").await;
    let lease = scratch.lease(&source.id).await;
    let first = state.begin_revision(&lease, &plan("a")).await.unwrap();
    let part = PartRow {
        index: 0,
        span: Span::from_millis(0, 500),
        key: None,
    };
    state.record_part(&lease, first, &part).await.unwrap();
    state.record_part(&lease, first, &part).await.unwrap();
    // After a crash: another lease, the same plan.
    let lease = scratch.lease(&source.id).await;
    assert_eq!(state.begin_revision(&lease, &plan("a")).await.unwrap(), first);
    assert_eq!(state.parts_of(first).await.unwrap(), [part]);
    // Another configuration, other bytes or another model: another revision.
    let mut last = first;
    let plans = [
        plan("b"),
        RevisionPlan {
            content: content("other"),
            ..plan("b")
        },
        RevisionPlan {
            space: EmbeddingSpace {
                model: "big".into(),
                ..space()
            },
            ..plan("b")
        },
    ];
    for (number, next) in plans.iter().enumerate() {
        let revision = state.begin_revision(&lease, next).await.unwrap();
        assert!(revision > last);
        let retired = state.pending_retirements().await.unwrap();
        assert_eq!(retired.len(), number + 1);
        assert_eq!(retired[number].revision, last);
        last = revision;
    }
    for retirement in state.pending_retirements().await.unwrap() {
        state.finish_retirement(&retirement).await.unwrap();
    }
    assert!(state.parts_of(first).await.unwrap().is_empty());
    assert!(state.live_revision(&source.id).await.unwrap().is_none());
}

#[tokio::test]
async fn publishing_replaces_the_old_revision_at_once() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let (source, old) = scratch
        .publish("/a/x.mp3", &["the quick fox", "the lazy dog"])
        .await;
    assert_eq!((source.status, source.chunk_count), (SourceStatus::Completed, 2));
    assert_eq!(source.duration, Some(MediaTime::from_millis(2000)));
    let lease = scratch.lease(&source.id).await;
    let new = build(state, &lease, "second", &["the quick cat"]).await;
    // Still the old one.
    let found = |query: &'static str| async move {
        let ids = state.search_text(query, 5, &Filter::default()).await.unwrap();
        let ids: Vec<ChunkId> = ids.into_iter().map(|(id, _)| id).collect();
        state
            .hits(&ids)
            .await
            .unwrap()
            .into_values()
            .map(|chunk| chunk.text)
            .collect::<Vec<_>>()
    };
    assert_eq!(found("quick").await, ["the quick fox"]);
    assert_eq!(state.live_revision(&source.id).await.unwrap().unwrap().id, old);
    assert!(state.pending_retirements().await.unwrap().is_empty());
    state
        .publish_revision(&lease, new, SourceStatus::Completed)
        .await
        .unwrap();
    state
        .publish_revision(&lease, new, SourceStatus::Completed)
        .await
        .unwrap();
    assert_eq!(found("quick").await, ["the quick cat"]);
    assert!(found("lazy dog").await.is_empty());
    let live = state.live_revision(&source.id).await.unwrap().unwrap();
    assert_eq!(
        (live.id, live.chunk_count, live.config.as_str()),
        (new, 1, "second")
    );
    assert_eq!(
        (live.language.as_deref(), live.content, live.space),
        (Some("en"), content("x"), space())
    );
    assert!(live.published_at.is_some());
    // The old one waits for its vectors to go.
    let retired = state.pending_retirements().await.unwrap();
    assert_eq!(retired.iter().map(|one| one.revision).collect::<Vec<_>>(), [old]);
    assert_eq!(state.chunks_of(old).await.unwrap().len(), 2);
    state.finish_retirement(&retired[0]).await.unwrap();
    assert!(state.chunks_of(old).await.unwrap().is_empty());
    assert_eq!(found("quick").await, ["the quick cat"]);
    // A finished revision takes no more changes.
    let facts = RevisionFacts {
        duration: MediaTime::ZERO,
        language: None,
    };
    for revision in [old, new, RevisionId(99)] {
        let error = state
            .save_chunks(&lease, revision, &facts, &[])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

#[tokio::test]
async fn a_retirement_never_touches_the_live_revision() {
    let scratch = Scratch::new().await;
    let (source, revision) = scratch.publish("/a/x.mp3", &["some words"]).await;
    let retirement = audiorag_state::Retirement {
        source_id: source.id.clone(),
        revision,
        space: space(),
    };
    scratch.state.finish_retirement(&retirement).await.unwrap();
    assert_eq!(scratch.state.chunks_of(revision).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_silent_source_is_published_empty() {
    let scratch = Scratch::new().await;
    let source = scratch.add("/a/x.mp3").await;
    let lease = scratch.lease(&source.id).await;
    let revision = build(&scratch.state, &lease, "config", &[]).await;
    scratch
        .state
        .publish_revision(&lease, revision, SourceStatus::Empty)
        .await
        .unwrap();
    let read = scratch.state.source(&source.id).await.unwrap().unwrap();
    assert_eq!(
        (read.status, read.chunk_count, read.active_revision),
        (SourceStatus::Empty, 0, Some(revision))
    );
    assert!(scratch.state.live_spaces().await.unwrap().is_empty());
    scratch.publish("/a/y.mp3", &["words"]).await;
    assert_eq!(
        scratch.state.live_spaces().await.unwrap(),
        [("test/small/3".to_owned(), 1)]
    );
}

#[tokio::test]
async fn a_transcript_is_joined_in_source_time() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let source = scratch.add("/a/x.mp3").await;
    let lease = scratch.lease(&source.id).await;
    let revision = state.begin_revision(&lease, &plan("config")).await.unwrap();
    let said = |start, text: &str| PartTranscript {
        segments: vec![Segment {
            span: Span::from_millis(start, start + 300),
            text: text.into(),
            ..Segment::default()
        }],
        language: Some("en".into()),
    };
    let spans = [
        Span::from_millis(0, 1000),
        Span::from_millis(1000, 21_000),
        Span::from_millis(21_000, 22_000),
    ];
    let keys = [
        Some(PartKey::from_stored("k0")),
        None,
        Some(PartKey::from_stored("k2")),
    ];
    for (index, (span, key)) in spans.iter().zip(&keys).enumerate().rev() {
        let part = PartRow {
            index: index as u32,
            span: *span,
            key: key.clone(),
        };
        state.record_part(&lease, revision, &part).await.unwrap();
    }
    let late = keys[2].clone().unwrap();
    state
        .save_part_transcript(
            &lease,
            &late,
            &NewTranscript {
                content: &content("x"),
                span: spans[2],
                provider: "p",
                transcript: &said(100, "after silence"),
                paid: None,
            },
        )
        .await
        .unwrap();
    let error = state.transcript(revision).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State, "a hole must not pass: {error}");
    let early = keys[0].clone().unwrap();
    state
        .save_part_transcript(
            &lease,
            &early,
            &NewTranscript {
                content: &content("x"),
                span: spans[0],
                provider: "p",
                transcript: &said(200, "before"),
                paid: None,
            },
        )
        .await
        .unwrap();
    let transcript = state.transcript(revision).await.unwrap();
    let read: Vec<_> = transcript
        .segments
        .iter()
        .map(|s| (s.span.start().as_millis(), s.text.as_str()))
        .collect();
    assert_eq!(read, [(200, "before"), (21_100, "after silence")]);
    assert_eq!(
        (transcript.duration, transcript.language.as_deref()),
        (MediaTime::from_millis(22_000), Some("en"))
    );
    assert_eq!(
        state.transcript(RevisionId(99)).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        state
            .part_transcript(&PartKey::from_stored("none"))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn the_segments_of_many_parts_are_those_of_the_transcript() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let source = scratch.add("/a/long.mp3").await;
    let lease = scratch.lease(&source.id).await;
    let revision = state.begin_revision(&lease, &plan("config")).await.unwrap();
    for index in 0..50_u32 {
        let start = u64::from(index) * 1000;
        // Every third part is silent, and every fourth in another language.
        let key = (index % 3 > 0).then(|| PartKey::from_stored(format!("k{index}")));
        let part = PartRow {
            index,
            span: Span::from_millis(start, start + 1000),
            key: key.clone(),
        };
        state.record_part(&lease, revision, &part).await.unwrap();
        let Some(key) = key else { continue };
        let said = PartTranscript {
            segments: vec![Segment {
                span: Span::from_millis(100, 900),
                text: format!("said {index}"),
                speaker: Some("speaker 0".into()),
                ..Segment::default()
            }],
            language: Some(if index % 4 == 0 { "de" } else { "en" }.into()),
        };
        let new = NewTranscript {
            content: &content("x"),
            span: part.span,
            provider: "p",
            transcript: &said,
            paid: None,
        };
        state.save_part_transcript(&lease, &key, &new).await.unwrap();
    }
    let mut segments = Vec::new();
    let language = state
        .read_segments(revision, |segment| segments.push(segment))
        .await
        .unwrap();
    let transcript = state.transcript(revision).await.unwrap();
    assert_eq!(
        (&segments, &language),
        (&transcript.segments, &transcript.language)
    );
    assert_eq!(language.as_deref(), Some("en"));
    assert_eq!(segments.len(), 33);
    let last = segments.last().unwrap();
    assert_eq!(
        (last.text.as_str(), last.speaker.as_deref(), last.span),
        (
            "said 49",
            Some("speaker 0 (part 50)"),
            Span::from_millis(49_100, 49_900)
        )
    );
}

#[tokio::test]
async fn chunks_come_back_as_they_were_with_their_neighbours() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let texts = ["zero", "one", "two", "three", "four"];
    let (source, revision) = scratch.publish("/a/x.mp3", &texts).await;
    let chunks = state.chunks_of(revision).await.unwrap();
    for (index, (stored, text)) in chunks.iter().zip(texts).enumerate() {
        let expected = chunk(&source.id, revision, index as u32, text);
        assert_eq!((stored.chunk(), &stored.chunk_id), (expected.chunk, &expected.id));
        assert_eq!(stored.embedding_key, expected.embedding_key);
        assert_eq!(
            (stored.title.as_str(), stored.date.as_deref()),
            ("x", Some("2026-03-01"))
        );
        assert_eq!(stored.times, TimeQuality::Measured);
    }
    let around = |index, before, after| async move {
        let chunks = state.neighbours(revision, index, before, after).await.unwrap();
        chunks.into_iter().map(|chunk| chunk.index).collect::<Vec<_>>()
    };
    assert_eq!(around(2, 1, 1).await, [1, 2, 3]);
    assert_eq!(around(0, 3, 1).await, [0, 1]);
    assert_eq!(around(4, 0, u32::MAX).await, [4]);
    // Chunks are replaced, not added.
    let lease = scratch.lease(&source.id).await;
    let next = build(state, &lease, "next", &texts).await;
    let facts = RevisionFacts {
        duration: MediaTime::from_millis(700),
        language: None,
    };
    let many: Vec<_> = (0..600)
        .map(|index| chunk(&source.id, next, index, "again"))
        .collect();
    state.save_chunks(&lease, next, &facts, &many).await.unwrap();
    assert_eq!(state.chunks_of(next).await.unwrap().len(), 600);
    // Of 1,200 ids those of the live revision are hits.
    let ids: Vec<ChunkId> = many
        .iter()
        .map(|new| new.id.clone())
        .chain(chunks.iter().map(|c| c.chunk_id.clone()))
        .collect();
    assert_eq!(state.hits(&ids).await.unwrap().len(), 5);
    state
        .publish_revision(&lease, next, SourceStatus::Completed)
        .await
        .unwrap();
    assert_eq!(state.hits(&ids).await.unwrap().len(), 600);
    assert!(state.hits(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn embeddings_are_kept_once_and_checked() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let source = scratch.add("/a/x.mp3").await;
    let lease = scratch.lease(&source.id).await;
    let key = |name: &str| EmbeddingKey::from_stored(name);
    let rows: Vec<_> = (0..700)
        .map(|number| (key(&format!("e{number}")), vec![0.6, 0.0, 0.8]))
        .collect();
    state
        .save_embeddings(&lease, &space(), &rows, None)
        .await
        .unwrap();
    state
        .save_embeddings(
            &lease,
            &space(),
            &[
                (key("e0"), vec![1.0, 0.0, 0.0]),
                (key("long"), vec![0.0, 3.0, 4.0]),
            ],
            None,
        )
        .await
        .unwrap();
    let keys: Vec<_> = rows
        .iter()
        .map(|(key, _)| key.clone())
        .chain([key("long"), key("none")])
        .collect();
    let found = state.cached_embeddings(&keys).await.unwrap();
    let known = state.known_embeddings(&keys).await.unwrap();
    assert_eq!(known, found.keys().cloned().collect());
    assert_eq!(found.len(), 701);
    assert_eq!(
        (&found[&key("e0")], &found[&key("long")]),
        (&vec![0.6, 0.0, 0.8], &vec![0.0, 0.6, 0.8])
    );
    for bad in [vec![1.0], vec![0.0; 3], vec![f32::NAN, 0.0, 1.0]] {
        let error = state
            .save_embeddings(
                &lease,
                &space(),
                &[(key("new"), vec![1.0, 0.0, 0.0]), (key("bad"), bad)],
                None,
            )
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }
    assert!(state.cached_embeddings(&[key("new")]).await.unwrap().is_empty());
}

#[tokio::test]
async fn clearing_the_cache_spares_what_live_and_unfinished_revisions_need() {
    let scratch = Scratch::new().await;
    let state = &scratch.state;
    let (live, revision) = scratch.publish("/a/live.mp3", &["live words"]).await;
    let (gone, _) = scratch.publish("/a/gone.mp3", &["gone words"]).await;
    let unfinished = scratch.add("/a/unfinished.mp3").await;
    let lease = scratch.lease(&unfinished.id).await;
    let other = RevisionPlan {
        content: content("unfinished"),
        ..plan("config")
    };
    build_of(state, &lease, other, &["unfinished words"]).await;
    let rows = ["live words", "gone words", "unfinished words"]
        .map(|text| (EmbeddingKey::of(text, &space()), vec![1.0, 0.0, 0.0]));
    state
        .save_embeddings(&lease, &space(), &rows, None)
        .await
        .unwrap();
    state.delete_source(&gone.id).await.unwrap();
    let stats = state.cache_stats().await.unwrap();
    assert_eq!((stats.part_transcripts, stats.unused_part_transcripts), (3, 1));
    assert_eq!((stats.embeddings, stats.unused_embeddings), (3, 1));
    assert_eq!((stats.embedding_bytes, stats.unused_embedding_bytes), (36, 12));
    assert!(stats.unused_part_bytes > 0 && stats.part_bytes > 2 * stats.unused_part_bytes);
    let freed = state.clear_cache(CacheKind::Transcripts).await.unwrap();
    assert_eq!(
        (freed.part_transcripts, freed.part_bytes, freed.embeddings),
        (1, stats.unused_part_bytes, 0)
    );
    let freed = state.clear_cache(CacheKind::Embeddings).await.unwrap();
    assert_eq!(
        (freed.part_transcripts, freed.embeddings, freed.embedding_bytes),
        (0, 1, 12)
    );
    assert_eq!(
        state.clear_cache(CacheKind::All).await.unwrap(),
        audiorag_state::CacheStats::default()
    );
    assert_eq!(state.transcript(revision).await.unwrap().segments.len(), 1);
    assert_eq!(
        state
            .cached_embeddings(&[rows[0].0.clone(), rows[1].0.clone()])
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(state.live_revision(&live.id).await.unwrap().unwrap().id, revision);
}
