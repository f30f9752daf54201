//! `audiorag watch`.

use crate::world::World;
use audiorag_cli::ExitStatus;
use std::time::{Duration, SystemTime};

/// A file that nobody writes to any more.
fn settle(world: &World, name: &str) {
    let path = world.root.path().join("work").join(name);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(1))
        .unwrap();
}

#[tokio::test]
async fn what_is_new_is_indexed_and_what_fails_is_told_once() {
    let world = World::new();
    world.record("talks/a.wav", 1);
    world.write("talks/broken.mp3", "this is a letter");
    world.record("talks/being-written.wav", 2);
    settle(&world, "talks/a.wav");
    settle(&world, "talks/broken.mp3");
    let run = world
        .run(&["watch", "talks", "--every", "1s", "--looks", "2"])
        .await
        .exits(ExitStatus::Partial);
    assert_eq!(run.stdout.matches("a.wav").count(), 1, "{run:?}");
    assert_eq!(run.stdout.matches("1 failed").count(), 1, "{run:?}");
    assert!(!run.stdout.contains("being-written"), "{run:?}");
    settle(&world, "talks/being-written.wav");
    let run = world
        .run(&["watch", "talks", "--looks", "1"])
        .await
        .exits(ExitStatus::Partial);
    assert!(run.stdout.contains("being-written"), "{run:?}");
    assert!(!run.stdout.contains("a.wav"), "{run:?}");
}

#[tokio::test]
async fn an_interrupted_watcher_ends() {
    let world = World::new();
    world.record("a.wav", 1);
    world.interrupt.request(ExitStatus::Terminated);
    world
        .run(&["watch", "a.wav", "--every", "1h"])
        .await
        .exits(ExitStatus::Terminated);
    world
        .run(&["watch", "a.wav", "--force"])
        .await
        .exits(ExitStatus::Usage);
}
