//! `audiorag export`.

use crate::args::{Export, Format};
use crate::context::Context;
use crate::exit::ExitStatus;
use audiorag::core::{Error, Result};
use audiorag::export;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

pub(super) async fn run(context: &Context, args: &Export) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let format = match args.format {
        Format::Srt => export::Format::Srt,
        Format::Vtt => export::Format::Vtt,
        Format::Txt => export::Format::Txt,
        Format::Md => export::Format::Markdown,
        Format::Json => export::Format::Json,
        Format::Tsv => export::Format::Tsv,
    };
    // Everything is looked up before anything is written.
    let mut sources = Vec::new();
    for name in &args.sources {
        sources.push(context.source(&audiorag, name).await?);
    }
    let mut taken = HashSet::new();
    for source in &sources {
        let text = export::render(format, source, &audiorag.transcript(source).await?);
        let Some(directory) = &args.output_dir else {
            context.printer.data(&text)?;
            continue;
        };
        let directory = context.cwd.join(directory);
        let id: String = source.id.as_str().chars().take(8).collect();
        let mut stem = file_stem(&source.title);
        // Two sources of the same title, also on file systems that ignore case.
        if !taken.insert(stem.to_lowercase()) {
            stem = format!("{stem}-{id}");
        }
        let path = directory.join(format!("{stem}.{}", format.extension()));
        write(&directory, &path, &text)?;
        context.printer.note(format_args!("wrote {}", path.display()));
    }
    Ok(ExitStatus::Success)
}

fn write(directory: &Path, path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| {
            Error::state(format!("cannot write {}", path.display()))
                .with_cause(error)
                .with_hint("choose another directory with -o")
        })
}

/// A title as a file name that every system takes.
fn file_stem(title: &str) -> String {
    let clean: String = title
        .chars()
        .map(|c| {
            if c.is_control() || "/\\:*?\"<>|".contains(c) {
                '_'
            } else {
                c
            }
        })
        .collect();
    let clean = clean.trim().trim_matches('.').trim();
    let short: String = clean.chars().take(80).collect();
    if short.is_empty() {
        "transcript".to_owned()
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_file_names() {
        assert_eq!(file_stem("Part 1: The/Start?"), "Part 1_ The_Start_");
        assert_eq!(file_stem("../../etc"), "_.._etc");
        assert_eq!(file_stem(" .. "), "transcript");
        assert_eq!(file_stem(&"x".repeat(300)).len(), 80);
    }
}
