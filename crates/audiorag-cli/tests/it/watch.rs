//! `audiorag watch`.

use crate::world::World;
use audiorag_cli::ExitStatus;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::synth::Track;
use std::sync::{Arc, Mutex};
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

/// A feed with an episode for each day of January 2026 that is given.
fn feed(days: &[u32]) -> String {
    let items: Vec<String> = days
        .iter()
        .map(|day| {
            format!(
                "<item><title>Day {day}</title><guid>{day}</guid><pubDate>{day:02} Jan 2026 08:00:00 GMT</pubDate>\
                 <enclosure url=\"/{day}.wav\" length=\"1\" type=\"audio/wav\"/></item>"
            )
        })
        .collect();
    format!(
        "<rss version=\"2.0\"><channel><title>Harbour</title>{}</channel></rss>",
        items.concat()
    )
}

/// Serves a feed, which tests change, and a recording for each day.
async fn podcast(feed: &Arc<Mutex<String>>) -> Server {
    let feed = Arc::clone(feed);
    Server::answering(move |_, request: &Request| {
        let day = request.path().trim_matches(|c: char| !c.is_ascii_digit()).parse();
        let body = match day {
            Ok(day) => Track::new(16_000)
                .silence(500)
                .speech(4_000, day)
                .silence(500)
                .to_wav(),
            Err(_) => feed.lock().unwrap().clone().into_bytes(),
        };
        Reply::json(200, "")
            .with_header("Content-Type", "application/octet-stream")
            .with_body(body)
    })
    .await
}

fn titles(list: &str) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_str(list).unwrap();
    let sources = list.get("sources").unwrap().as_array().unwrap();
    let mut titles: Vec<_> = sources
        .iter()
        .map(|source| {
            source
                .get("title")
                .and_then(|title| title.as_str())
                .unwrap()
                .to_owned()
        })
        .collect();
    titles.sort();
    titles
}

#[tokio::test]
async fn new_episodes_of_a_feed_are_indexed_and_known_ones_are_not_fetched_again() {
    let content = Arc::new(Mutex::new(feed(&[1, 2])));
    let server = podcast(&content).await;
    let mut world = World::new();
    world
        .sources
        .env
        .insert("AUDIORAG_FETCH_ALLOW_HOSTS".into(), "127.0.0.1".into());
    let url = server.url("/feed.xml");
    world.run(&["watch", &url, "--looks", "1"]).await.ok();
    *content.lock().unwrap() = feed(&[1, 2, 3]);
    let run = world
        .run(&["watch", &url, "--every", "1s", "--looks", "2"])
        .await
        .ok();
    assert_eq!(run.stdout.matches("3.wav").count(), 1, "{run:?}");
    assert_eq!(
        titles(&world.run(&["list", "--json"]).await.ok().stdout),
        ["Day 1", "Day 2", "Day 3"]
    );
    let asked = |path: &str| {
        server
            .requests()
            .iter()
            .filter(|request| request.path() == path)
            .count()
    };
    assert_eq!((asked("/1.wav"), asked("/2.wav"), asked("/3.wav")), (1, 1, 1));
}

#[tokio::test]
async fn episodes_are_chosen_by_their_day_and_their_number() {
    let content = Arc::new(Mutex::new(feed(&[1, 2, 3, 4])));
    let server = podcast(&content).await;
    let mut world = World::new();
    world
        .sources
        .env
        .insert("AUDIORAG_FETCH_ALLOW_HOSTS".into(), "127.0.0.1".into());
    let url = server.url("/feed.xml");
    let run = world
        .run(&["index", &url, "--since", "2026-1-3"])
        .await
        .exits(ExitStatus::Usage);
    assert!(run.stderr.contains("--since 2026-1-3 is not a day"), "{run:?}");
    assert!(server.requests().is_empty(), "nothing is fetched for a mistake");
    world
        .run(&["index", &url, "--since", "2026-01-03", "--latest", "1"])
        .await
        .ok();
    assert_eq!(
        titles(&world.run(&["list", "--json"]).await.ok().stdout),
        ["Day 4"]
    );
    world.run(&["index", &url, "--since", "2026-01-03"]).await.ok();
    assert_eq!(
        titles(&world.run(&["list", "--json"]).await.ok().stdout),
        ["Day 3", "Day 4"]
    );
}
