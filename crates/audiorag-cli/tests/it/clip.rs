//! Pieces of recordings.

use crate::world::World;
use audiorag_cli::ExitStatus;
use audiorag_testkit::wav::decode_pcm16;

fn samples(world: &World, name: &str) -> Vec<f32> {
    let (samples, rate, channels) = decode_pcm16(&std::fs::read(world.path(name)).unwrap());
    assert_eq!((rate, channels), (16_000, 1));
    samples
}

#[tokio::test]
async fn a_clip_is_cut_to_the_sample() {
    let world = World::library().await;
    world
        .run(&["clip", "ferry.wav@0:01.25-0:02.5", "-o", "a.wav"])
        .await
        .ok();
    let (whole, clip) = (samples(&world, "ferry.wav"), samples(&world, "a.wav"));
    assert_eq!(clip.len(), 20_000);
    for (heard, said) in clip.iter().zip(&whole[20_000..]) {
        assert!((heard - said).abs() < 1e-3, "{heard} {said}");
    }
    // The same span, written another way; it ends with the recording.
    world
        .run(&["clip", "ferry.wav", "1.25", "2.5", "-o", "b.wav"])
        .await
        .ok();
    assert_eq!(samples(&world, "b.wav"), clip);
    let run = world
        .run(&["clip", "--json", "ferry.wav", "4", "99", "-o", "c.wav"])
        .await
        .ok();
    assert_eq!(run.json()["end"], 5.0);
    assert_eq!(samples(&world, "c.wav").len(), 16_000);
}

#[tokio::test]
async fn a_citation_of_a_conversation_is_clipped_as_long_as_its_source_is_there() {
    let world = World::library().await;
    let question = "who objected to the new lighthouse?";
    let reply = world
        .run(&["query", "--json", "--thread", "pier", question])
        .await
        .ok()
        .json();
    let cited = &reply["citations"][0];
    let run = world
        .run(&["clip", "--json", "--thread", "pier", "1", "-o", "a.wav"])
        .await
        .ok();
    assert_eq!(
        (&run.json()["start"], &run.json()["end"]),
        (&cited["start"], &cited["end"])
    );
    let seconds = cited["end"].as_f64().unwrap() - cited["start"].as_f64().unwrap();
    assert_eq!(
        samples(&world, "a.wav").len(),
        (seconds * 16_000.0).round() as usize
    );
    for (args, said) in [
        (["--thread", "pier", "7"], "no citation 7"),
        (["--thread", "nowhere", "1"], "there is no thread 'nowhere'"),
    ] {
        let args: Vec<&str> = ["clip", "-o", "b.wav"].into_iter().chain(args).collect();
        world.run(&args).await.exits(ExitStatus::Usage).says(&[said]);
    }
    world.run(&["delete", "--yes", "lighthouse.wav"]).await.ok();
    world
        .run(&["clip", "--thread", "pier", "1", "-o", "b.wav"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["'lighthouse' is not indexed any more"]);
}

#[tokio::test]
async fn what_cannot_be_clipped_is_said_and_leaves_nothing() {
    let world = World::library().await;
    world.write("taken.wav", "mine");
    for (args, said) in [
        (["ferry.wav", "-o", "b.wav"], "what to clip is not clear"),
        (["ferry.wav@3-2", "-o", "b.wav"], "is not a span of time"),
        (["ferry.wav@100-200", "-o", "b.wav"], "nothing of 'ferry' lies in"),
        (["ferry.wav@1-2", "-o", "b.flac"], "no clip can be written as"),
        (["ferry.wav@1-2", "-o", "taken.wav"], "--force replaces it"),
        (["nowhere.wav@1-2", "-o", "b.wav"], "nowhere.wav"),
    ] {
        let args: Vec<&str> = std::iter::once("clip").chain(args).collect();
        world.run(&args).await.exits(ExitStatus::Usage).says(&[said]);
    }
    assert_eq!(std::fs::read(world.path("taken.wav")).unwrap(), b"mine");
    let run = world.run(&["clip", "ferry.wav@1-2", "-o", "b.mp3"]).await;
    assert!(
        run.status != ExitStatus::Success && run.stderr.contains("install ffmpeg"),
        "{run:?}"
    );
    // Another recording at the same place is not what was indexed.
    world.record("ferry.wav", 77);
    let mut longer = std::fs::read(world.path("ferry.wav")).unwrap();
    longer.extend([0, 0]);
    world.write("ferry.wav", longer);
    let run = world.run(&["clip", "ferry.wav@1-2", "-o", "b.wav"]).await;
    assert!(
        run.status != ExitStatus::Success && run.stderr.contains("changed"),
        "{run:?}"
    );
    let left: Vec<_> = std::fs::read_dir(world.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("b.") || name.contains("partial"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
