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

/// The ffmpeg of this machine, where programs usually are.
fn ffmpeg() -> Option<std::path::PathBuf> {
    [
        "/usr/bin/ffmpeg",
        "/usr/local/bin/ffmpeg",
        "/opt/homebrew/bin/ffmpeg",
    ]
    .into_iter()
    .map(std::path::PathBuf::from)
    .find(|program| program.is_file())
}

#[tokio::test]
async fn encoded_clips_are_as_long_as_the_span() {
    let Some(ffmpeg) = ffmpeg() else {
        println!("skipped: ffmpeg is not installed");
        return;
    };
    let mut world = World::library().await;
    world.sources.env.insert(
        "AUDIORAG_DECODE_FFMPEG".to_owned(),
        ffmpeg.to_str().unwrap().to_owned(),
    );
    world
        .run(&["clip", "ferry.wav@0:01.25-0:02.5", "-o", "a.wav"])
        .await
        .ok();
    let said = samples(&world, "a.wav");
    for name in ["a.mp3", "-a.m4a"] {
        let output = format!("--output={name}");
        world
            .run(&["clip", "ferry.wav@0:01.25-0:02.5", &output])
            .await
            .ok();
        let back = world.path("back.wav");
        let file = format!("file:{}", world.path(name).display());
        let decoded = std::process::Command::new(&ffmpeg)
            .args(["-nostdin", "-loglevel", "error", "-y", "-i", &file])
            .args([
                "-c:a",
                "pcm_s16le",
                "-ar",
                "16000",
                "-ac",
                "1",
                "-f",
                "wav",
                "-bitexact",
            ])
            .arg(&back)
            .output()
            .unwrap();
        assert!(decoded.status.success(), "{decoded:?}");
        let heard = samples(&world, "back.wav");
        // A frame is 1152 samples of MP3 and 1024 of AAC: what pads the last one may be heard.
        assert!(
            (20_000..=20_000 + 2 * 1_152).contains(&heard.len()),
            "{name} has {} samples",
            heard.len()
        );
        // And it is the same sound at the same time, not only as long.
        let product = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let likeness = product(&heard, &said) / (product(&said, &said) * product(&heard, &heard)).sqrt();
        assert!(likeness > 0.8, "{name}: {likeness}");
        // A file is replaced only when told, and a partial one is never left.
        world
            .run(&["clip", "ferry.wav@1-2", &output])
            .await
            .exits(ExitStatus::Usage)
            .says(&["--force replaces it"]);
    }
}

#[tokio::test]
async fn an_ffmpeg_that_fails_is_quoted() {
    let mut world = World::library().await;
    let fake = program(&world, "ffmpeg", "echo 'no such encoder' >&2; exit 3");
    world
        .sources
        .env
        .insert("AUDIORAG_DECODE_FFMPEG".to_owned(), fake);
    let run = world.run(&["clip", "ferry.wav@1-2", "-o", "b.mp3"]).await;
    assert!(run.status != ExitStatus::Success, "{run:?}");
    run.says(&["no such encoder", "write a .wav"]);
    assert!(!world.path("b.mp3").exists());
}

/// A program of the shell below the current directory. Returns its path.
#[cfg(unix)]
fn program(world: &World, name: &str, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = world.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What the player of [`with_player`] was given: its arguments, the size of the file, and the rights of its folder.
fn heard(world: &World) -> Vec<String> {
    let noted = std::fs::read_to_string(world.path("heard.txt")).unwrap_or_default();
    noted.lines().map(str::to_owned).collect()
}

fn player(world: &World, name: &str) -> String {
    let note = world.path("heard.txt").display().to_string();
    let script = format!(
        "for last; do :; done\necho \"$*\" >{note}\nwc -c <\"$last\" >>{note}\n\
         ls -ld \"$(dirname \"$last\")\" | cut -c1-10 >>{note}"
    );
    program(world, name, &script)
}

/// Bytes of a WAV file of so many samples.
fn bytes(samples: u64) -> String {
    (44 + 2 * samples).to_string()
}

#[tokio::test]
async fn exactly_the_span_is_played_and_nothing_is_left() {
    let mut world = World::library().await;
    world.sources.env.insert(
        "PATH".to_owned(),
        format!("{}:/usr/bin:/bin", world.path("bin").display()),
    );
    // One that is named like a known player gets its arguments; the first one that is installed is taken.
    player(&world, "pw-play");
    player(&world, "ffplay");
    let run = world
        .run(&["play", "--json", "ferry.wav@0:01.25-0:02.5"])
        .await
        .ok();
    assert!(
        run.json()["player"].as_str().unwrap().ends_with("bin/ffplay"),
        "{run:?}"
    );
    assert_eq!(
        (&run.json()["start"], &run.json()["end"]),
        (&1.25.into(), &2.5.into())
    );
    let [arguments, size, rights] = heard(&world).try_into().unwrap();
    assert!(arguments.starts_with("-nodisp -autoexit"), "{arguments}");
    assert_eq!(
        (size.trim(), rights.as_str()),
        (bytes(20_000).as_str(), "drwx------")
    );
    let file = arguments.rsplit(' ').next().unwrap();
    // The directory is removed by another thread of the runtime.
    for _ in 0..500 {
        if !std::path::Path::new(file).exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!std::path::Path::new(file).exists(), "{file}");
    // One of the user's, which is given the file and nothing else; and the span of a citation.
    let own = player(&world, "own player");
    world
        .run(&["play", "--player", &own, "ferry.wav", "4", "99"])
        .await
        .ok();
    let [arguments, size, _] = heard(&world).try_into().unwrap();
    assert!(
        arguments.ends_with("excerpt.wav") && !arguments.contains(' '),
        "{arguments}"
    );
    assert_eq!(size.trim(), bytes(16_000));
    let question = "who objected to the new lighthouse?";
    let reply = world
        .run(&["query", "--json", "--thread", "pier", question])
        .await
        .ok()
        .json();
    let cited = &reply["citations"][0];
    let seconds = cited["end"].as_f64().unwrap() - cited["start"].as_f64().unwrap();
    world
        .run(&["play", "--player", "pw-play", "--thread", "pier", "1"])
        .await
        .ok();
    let [_, size, _] = heard(&world).try_into().unwrap();
    assert_eq!(size.trim(), bytes((seconds * 16_000.0).round() as u64));
}

#[tokio::test]
async fn without_a_player_it_says_which_are_looked_for() {
    let mut world = World::library().await;
    world
        .run(&["play", "ferry.wav@1-2"])
        .await
        .says(&["mpv, ffplay, pw-play, paplay, aplay, afplay", "--player"]);
    world
        .run(&["play", "ferry.wav@1-2", "--player", "nowhere"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["there is no player 'nowhere'"]);
    world
        .run(&["play", "ferry.wav"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["what to play is not clear", "audiorag play --thread NAME 2"]);
    let mute = program(
        &world,
        "aplay",
        "echo; echo 'no sound card' >&2; echo >&2; exit 1",
    );
    let run = world.run(&["play", "ferry.wav@1-2", "--player", &mute]).await;
    assert!(run.status != ExitStatus::Success, "{run:?}");
    run.says(&["no sound card", "another player"]);
    world
        .sources
        .env
        .insert("PATH".to_owned(), world.path("bin").to_str().unwrap().to_owned());
    world
        .run(&["play", "ferry.wav@1-2"])
        .await
        .says(&["no sound card"]);
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
