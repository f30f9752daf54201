//! Programs that tests and benchmarks start and that are neither Rust's nor ours.

use crate::{environment, process};
use anyhow::{Context, Result};

/// Each with the Debian package that brings it.
const NEEDED: &[(&str, &str)] = &[("ffmpeg", "ffmpeg")];

/// Installs what is missing, where there is a way to: with apt-get, in a container mostly, where one is root. Elsewhere
/// what needs a program says so itself, and fails.
pub(crate) fn install() -> Result<()> {
    let without = environment::tests_without();
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| !without.split(',').any(|left_out| left_out.trim() == *program))
        .filter(|(program, _)| !environment::has_program(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    process::headline(&format!("installing {}", missing.join(" ")));
    if !environment::has_program("apt-get") {
        println!("there is no apt-get here: install them yourself, or what needs them fails");
        return Ok(());
    }
    let apt = |arguments: &[&str]| {
        let mut command = process::program("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        process::run(&mut command)
            .with_context(|| format!("install {} yourself, and run this again", missing.join(" ")))
    };
    apt(&["update", "-q"])?;
    apt(&[
        &["install", "-q", "-y", "--no-install-recommends"],
        missing.as_slice(),
    ]
    .concat())
}
