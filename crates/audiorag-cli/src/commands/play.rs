//! `audiorag play`.

use super::piece;
use crate::args::Play;
use crate::context::Context;
use crate::exit::ExitStatus;
use audiorag::core::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// A program that plays WAV files, and what it is told so that it shows nothing, plays the file once and ends.
struct Player {
    name: &'static str,
    arguments: &'static [&'static str],
}

/// In the order in which they are looked for. mpv and ffplay come first, because they find an output that works by
/// themselves: the clients of PipeWire and PulseAudio are often installed where no such server runs. Those come before
/// ALSA's, which would take the sound card for itself. afplay is part of macOS and found nowhere else.
const PLAYERS: &[Player] = &[
    Player {
        name: "mpv",
        arguments: &[
            "--no-config",
            "--no-video",
            "--no-terminal",
            "--keep-open=no",
            "--loop-file=no",
        ],
    },
    Player {
        name: "ffplay",
        arguments: &["-nodisp", "-autoexit", "-hide_banner", "-loglevel", "error"],
    },
    Player {
        name: "pw-play",
        arguments: &[],
    },
    Player {
        name: "paplay",
        arguments: &[],
    },
    Player {
        name: "aplay",
        arguments: &["-q"],
    },
    Player {
        name: "afplay",
        arguments: &[],
    },
];

pub(super) async fn run(context: &Context, args: &Play) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let (source, span) = piece::find(context, &audiorag, &args.piece, "play").await?;
    // Before a long recording is decoded for nothing.
    let program = match &args.player {
        Some(program) => chosen(context, program)?,
        None => installed(context)?,
    };
    let excerpt = audiorag.excerpt(&source, span).await?;
    context
        .printer
        .note(format_args!("playing {} of '{}'", excerpt.span, source.title));
    let outcome = play(&program, &excerpt.path).await?;
    if !outcome.status.success() {
        let said = String::from_utf8_lossy(&outcome.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let last: String = last.unwrap_or("no reason").chars().take(300).collect();
        return Err(
            Error::unsupported(format!("{} cannot play it: {last}", program.display()))
                .with_hint("choose another player with --player, or write the piece with audiorag clip"),
        );
    }
    if context.printer.is_json() {
        context.printer.json(&json!({
            "source_id": source.id.as_str(),
            "start": excerpt.span.start().as_seconds_f64(),
            "end": excerpt.span.end().as_seconds_f64(),
            "player": program.display().to_string(),
        }))?;
    }
    Ok(ExitStatus::Success)
}

/// Plays a file to its end. The player is stopped when nobody waits any more, as after an interrupt.
async fn play(program: &Path, file: &Path) -> Result<Output> {
    let name = program.file_stem().and_then(|name| name.to_str());
    let known = PLAYERS.iter().find(|player| Some(player.name) == name);
    tokio::process::Command::new(program)
        .args(known.map_or(&[][..], |player| player.arguments))
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| {
            Error::unsupported(format!("cannot start {}", program.display()))
                .with_cause(error)
                .with_hint("choose another player with --player")
        })
}

/// The program of `--player`: a path, or a name that is looked for on the PATH.
fn chosen(context: &Context, program: &Path) -> Result<PathBuf> {
    let is_name = program.components().count() == 1 && !program.is_file();
    if is_name && let Some(found) = program.to_str().and_then(|name| on_the_path(context, name)) {
        return Ok(found);
    }
    let path = context.cwd.join(program);
    if path.is_file() {
        return Ok(path);
    }
    Err(
        Error::input(format!("there is no player '{}'", program.display()))
            .with_hint("give the path of a program, or the name of one on the PATH"),
    )
}

/// The first of [`PLAYERS`] that is installed.
fn installed(context: &Context) -> Result<PathBuf> {
    let found = PLAYERS
        .iter()
        .find_map(|player| on_the_path(context, player.name));
    found.ok_or_else(|| {
        let names: Vec<&str> = PLAYERS.iter().map(|player| player.name).collect();
        Error::unsupported(format!("no player is on the PATH: looked for {}", names.join(", "))).with_hint(
            "install one of them, name another with --player, or write the piece with audiorag clip -o piece.wav",
        )
    })
}

fn on_the_path(context: &Context, name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(context.search_path.as_deref()?)
        .map(|folder| folder.join(&file))
        .find(|program| program.is_file())
}
