//! Sources: identity, moves, lookup, deletion.

use crate::common::{Scratch, file, fingerprint, new_source};
use audiorag_core::id::SourceId;
use audiorag_core::model::{Media, SourceStatus};
use audiorag_core::{ErrorKind, Locator};

#[tokio::test]
async fn a_source_is_added_once() {
    let scratch = Scratch::new().await;
    let first = scratch.add("/a/talk.mp3").await;
    assert_eq!(first.id, SourceId::of(&file("/a/talk.mp3")));
    assert_eq!(
        (first.title.as_str(), first.status),
        ("talk", SourceStatus::Pending)
    );
    assert_eq!(first.fingerprint, Some(fingerprint("/a/talk.mp3")));
    assert_eq!(first.media.as_ref().unwrap().container, "wav");
    assert_eq!(scratch.add("/a/talk.mp3").await, first);
    assert_eq!(
        scratch.state.list_sources().await.unwrap(),
        std::slice::from_ref(&first)
    );
    assert_eq!(
        scratch.state.find_source(&file("/a/talk.mp3")).await.unwrap(),
        Some(first)
    );
    assert_eq!(
        scratch.state.find_source(&file("/a/other.mp3")).await.unwrap(),
        None
    );
}

#[cfg(unix)]
#[tokio::test]
async fn names_that_are_not_text_are_kept() {
    use std::os::unix::ffi::OsStringExt as _;
    let scratch = Scratch::new().await;
    let path = std::ffi::OsString::from_vec(b"/a/\xff'\"\n%.wav".to_vec());
    let new = audiorag_state::NewSource {
        locator: Locator::File(path.into()),
        ..new_source("/x")
    };
    let added = scratch.state.add_source(&new).await.unwrap();
    assert_eq!(added.locator, new.locator);
    assert_eq!(
        scratch.state.find_source(&new.locator).await.unwrap(),
        Some(added)
    );
}

#[tokio::test]
async fn a_moved_source_keeps_its_id_and_revision() {
    let scratch = Scratch::new().await;
    let (before, revision) = scratch.publish("/a/old.mp3", &["hello world"]).await;
    let moved = scratch
        .state
        .relocate_source(
            &before.id,
            &before.locator,
            &file("/b/new.mp3"),
            &fingerprint("/a/old.mp3"),
        )
        .await
        .unwrap()
        .unwrap();
    // Whoever saw it where it was comes too late.
    let late = scratch
        .state
        .relocate_source(
            &before.id,
            &before.locator,
            &file("/b/late.mp3"),
            &fingerprint("/a/old.mp3"),
        )
        .await
        .unwrap();
    assert_eq!(late, None);
    assert_eq!(scratch.state.source(&before.id).await.unwrap().unwrap(), moved);
    assert_eq!(
        (moved.id.clone(), moved.active_revision),
        (before.id.clone(), Some(revision))
    );
    assert_eq!((moved.locator, moved.title.as_str()), (file("/b/new.mp3"), "new"));
    // Something else appears where it was: a source of its own.
    let other = scratch.add("/a/old.mp3").await;
    assert_ne!(other.id, before.id);
    assert_eq!(other.chunk_count, 0);
    assert_eq!(scratch.add("/a/old.mp3").await.id, other.id);
    // And that one moves away as well.
    scratch
        .state
        .relocate_source(&other.id, &other.locator, &file("/c/x.mp3"), &fingerprint("y"))
        .await
        .unwrap();
    let third = scratch.add("/a/old.mp3").await;
    assert!(third.id != other.id && third.id != before.id);
    assert_eq!(scratch.state.list_sources().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_title_of_its_own_survives_a_move_and_no_place_is_taken_twice() {
    let scratch = Scratch::new().await;
    let titled = audiorag_state::NewSource {
        title: Some("The talk".into()),
        ..new_source("/a/x.mp3")
    };
    let source = scratch.state.add_source(&titled).await.unwrap();
    let other = scratch.add("/a/y.mp3").await;
    let moved = scratch
        .state
        .relocate_source(&source.id, &source.locator, &file("/a/z.mp3"), &fingerprint("z"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(moved.title, "The talk");
    let error = scratch
        .state
        .relocate_source(&source.id, &moved.locator, &other.locator, &fingerprint("z"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State, "{error}");
    let unknown = SourceId::from_stored("nobody");
    let error = scratch
        .state
        .relocate_source(&unknown, &file("/p"), &file("/q"), &fingerprint("q"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_source_is_named_by_id_prefix_path_or_url() {
    let scratch = Scratch::new().await;
    let source = scratch.add("/a/talk one.mp3").await;
    let url = audiorag_state::NewSource {
        locator: Locator::Url("https://h/p.mp3".into()),
        ..new_source("/x")
    };
    let remote = scratch.state.add_source(&url).await.unwrap();
    let prefix = &source.id.as_str()[..6];
    for text in [
        source.id.as_str(),
        prefix,
        &prefix.to_uppercase(),
        " /a/talk one.mp3 ",
        "file:///a/talk%20one.mp3",
    ] {
        assert_eq!(
            scratch.state.resolve_source(text).await.unwrap().id,
            source.id,
            "{text}"
        );
    }
    assert_eq!(
        scratch.state.resolve_source("https://h/p.mp3").await.unwrap().id,
        remote.id
    );
    for text in [
        "",
        "abc",
        "zzzz",
        "%%%%",
        "____",
        "/a/none.mp3",
        "https://h/none",
        "ffffffffff",
        "' OR 1=1",
    ] {
        assert_eq!(
            scratch.state.resolve_source(text).await.unwrap_err().kind(),
            ErrorKind::NotFound,
            "{text}"
        );
    }
    assert_eq!(
        scratch.state.resolve_source("ftp://x").await.unwrap_err().kind(),
        ErrorKind::Input
    );
}

#[tokio::test]
async fn an_ambiguous_prefix_lists_its_candidates() {
    let scratch = Scratch::new().await;
    // Enough sources for two of them to share four hexadecimal digits.
    let mut seen = std::collections::HashMap::new();
    let (first, second) = (0..)
        .find_map(|number| {
            let path = format!("/a/{number}.mp3");
            let prefix = SourceId::of(&file(&path)).as_str()[..4].to_owned();
            seen.insert(prefix, path.clone()).map(|earlier| (earlier, path))
        })
        .unwrap();
    let (first, second) = (scratch.add(&first).await, scratch.add(&second).await);
    let error = scratch
        .state
        .resolve_source(&first.id.as_str()[..4])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.message().contains(first.id.as_str()) && error.message().contains(second.id.as_str()));
}

#[tokio::test]
async fn touching_and_reading_media_change_what_is_stored() {
    let scratch = Scratch::new().await;
    let source = scratch.add("/a/x.mp3").await;
    let touched = audiorag_core::model::Fingerprint {
        modified: Some(99),
        ..fingerprint("/a/x.mp3")
    };
    scratch.state.touch_source(&source.id, &touched).await.unwrap();
    assert_eq!(
        scratch
            .state
            .source(&source.id)
            .await
            .unwrap()
            .unwrap()
            .fingerprint,
        Some(touched)
    );
    let lease = scratch.lease(&source.id).await;
    let media = Media {
        container: "ogg".into(),
        date: Some("2025".into()),
        ..Media::default()
    };
    scratch
        .state
        .update_media(&lease, &fingerprint("new"), &media, Some("Better"))
        .await
        .unwrap();
    scratch
        .state
        .update_media(&lease, &fingerprint("new"), &media, Some("  "))
        .await
        .unwrap();
    let read = scratch.state.source(&source.id).await.unwrap().unwrap();
    assert_eq!(
        (read.media, read.title.as_str(), read.fingerprint),
        (Some(media), "Better", Some(fingerprint("new")))
    );
    let same = scratch
        .state
        .sources_with_content(&crate::common::content("new"))
        .await
        .unwrap();
    assert_eq!(same.len(), 1);
    assert!(
        scratch
            .state
            .sources_with_content(&crate::common::content("none"))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn deleting_leaves_word_for_the_vector_store_and_keeps_the_caches() {
    let scratch = Scratch::new().await;
    let (source, revision) = scratch.publish("/a/x.mp3", &["a pearl of great price"]).await;
    scratch.state.delete_source(&source.id).await.unwrap();
    scratch.state.delete_source(&source.id).await.unwrap();
    assert_eq!(scratch.state.source(&source.id).await.unwrap(), None);
    assert!(scratch.state.chunks_of(revision).await.unwrap().is_empty());
    assert!(
        scratch
            .state
            .search_text("pearl", 5, &audiorag_core::model::Filter::default())
            .await
            .unwrap()
            .is_empty()
    );
    let retired = scratch.state.pending_retirements().await.unwrap();
    assert_eq!(retired.len(), 1);
    assert_eq!(
        (retired[0].source_id.clone(), retired[0].revision),
        (source.id.clone(), revision)
    );
    assert_eq!(retired[0].space, crate::common::space());
    assert_eq!(scratch.state.cache_stats().await.unwrap().part_transcripts, 1);
    scratch.state.finish_retirement(&retired[0]).await.unwrap();
    scratch.state.finish_retirement(&retired[0]).await.unwrap();
    assert!(scratch.state.pending_retirements().await.unwrap().is_empty());
}
