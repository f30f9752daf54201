//! `cargo xtask eval`: the quality of answers, measured on speech whose every sentence has a known time.
//!
//! The texts and questions of `tests/eval` are spoken, indexed once, and asked with each variant of [`VARIANTS`].
//! Everything it makes lies in `target/eval`. Transcripts are made once and shared by all variants, an index by those
//! that only ask otherwise, and an embedding by all that cut the same text. Variants are asked side by side: what they
//! find does not hang on time, and how long it takes is what `cargo xtask bench` measures.

mod documents;
mod halves;
mod random;
mod set;
mod speech;

use crate::workspace::{self, Workspace};
use crate::{models, process};
use anyhow::{Context, Result, bail};
use halves::Half;
use serde_json::{Value, json};
use set::Set;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{fs, thread};

/// One way to index and to ask.
struct Variant {
    label: &'static str,
    /// What it is, for people.
    about: &'static str,
    /// Settings that change the index.
    index: &'static [(&'static str, &'static str)],
    /// Settings that change what is found and answered.
    ask: &'static [(&'static str, &'static str)],
    /// Whether it is run as `audiorag eval --baseline`.
    baseline: bool,
    /// Whether the recordings are indexed with their titles, which then stand above each chunk that is embedded.
    titles: bool,
}

const NOTHING: &[(&str, &str)] = &[];

const fn variant(
    label: &'static str,
    about: &'static str,
    index: &'static [(&'static str, &'static str)],
    ask: &'static [(&'static str, &'static str)],
) -> Variant {
    Variant {
        label,
        about,
        index,
        ask,
        baseline: false,
        titles: false,
    }
}

/// The table. The first is what the others are held against; a new idea is a new line, with the settings it needs.
const VARIANTS: &[Variant] = &[
    Variant {
        baseline: true,
        ..variant(
            "peer",
            "as the Python AudioRAG: by meaning only, chunks of 30 s, whole passages cited",
            &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
            NOTHING,
        )
    },
    variant(
        "dense",
        "by meaning only, sentences cited",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
        &[("AUDIORAG_RETRIEVAL_MODE", "dense")],
    ),
    variant(
        "lexical",
        "by words and sound only",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
        &[("AUDIORAG_RETRIEVAL_MODE", "lexical")],
    ),
    variant(
        "dense+words",
        "meaning and words, fused",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
        &[("AUDIORAG_RETRIEVAL_SOUNDS", "false")],
    ),
    variant(
        "dense+words+sound",
        "meaning, words and sound, fused",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
        NOTHING,
    ),
    variant(
        "sentences",
        "the first ten ordered by their sentence nearest to the question",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
        &[("AUDIORAG_RERANKER_PROVIDER", "sentences")],
    ),
    variant(
        "chunks of 10 s",
        "the same with shorter chunks",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "10")],
        NOTHING,
    ),
    variant(
        "chunks of 15 s",
        "the same with shorter chunks",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "15")],
        NOTHING,
    ),
    variant(
        "chunks of 20 s",
        "the same with shorter chunks",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "20")],
        NOTHING,
    ),
    variant(
        "chunks of 60 s",
        "the same with longer chunks",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "60")],
        NOTHING,
    ),
    variant(
        "overlap of 7 s",
        "chunks of 20 s that repeat the last 7 s",
        &[
            ("AUDIORAG_CHUNK_DURATION_SECONDS", "20"),
            ("AUDIORAG_CHUNK_OVERLAP_SECONDS", "7"),
        ],
        NOTHING,
    ),
    variant(
        "speaker",
        "chunks of 30 s that end where another speaks; one speaks in each recording here, so nothing should change",
        &[
            ("AUDIORAG_CHUNK_DURATION_SECONDS", "30"),
            ("AUDIORAG_CHUNK_STRATEGY", "speaker"),
        ],
        NOTHING,
    ),
    variant(
        "sentence",
        "chunks of 30 s that end with a sentence",
        &[
            ("AUDIORAG_CHUNK_DURATION_SECONDS", "30"),
            ("AUDIORAG_CHUNK_STRATEGY", "sentence"),
        ],
        NOTHING,
    ),
    variant(
        "semantic",
        "chunks of 30 s that end where the next sentence is about something else",
        &[
            ("AUDIORAG_CHUNK_DURATION_SECONDS", "30"),
            ("AUDIORAG_CHUNK_STRATEGY", "semantic"),
        ],
        NOTHING,
    ),
    Variant {
        titles: true,
        ..variant(
            "headers",
            "chunks of 30 s embedded below the title of their recording; the others have no title",
            &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
            NOTHING,
        )
    },
    variant(
        "neighbours",
        "chunks of 15 s, read with the one before and after",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "15")],
        &[("AUDIORAG_RETRIEVAL_NEIGHBOURS", "1")],
    ),
    variant(
        "two per source",
        "no more than two passages of a source before those of others",
        &[("AUDIORAG_CHUNK_DURATION_SECONDS", "30")],
        &[("AUDIORAG_RETRIEVAL_PER_SOURCE", "2")],
    ),
    variant(
        "default",
        "what users get without settings of their own",
        NOTHING,
        NOTHING,
    ),
];

/// What the command line asks for.
#[derive(Default)]
struct Flags {
    prepare: bool,
    quick: bool,
    bless: bool,
    program: Option<PathBuf>,
    only: Vec<String>,
}

impl Flags {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut flags = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--prepare" => flags.prepare = true,
                "--quick" => flags.quick = true,
                "--bless" => flags.bless = true,
                "--program" => {
                    let path = rest.next().context("--program needs the path of a program")?;
                    flags.program = Some(path.into());
                }
                "--only" => {
                    let label = rest.next().context("--only needs the label of a variant")?;
                    flags.only.push((*label).to_owned());
                }
                other => bail!("unknown flag {other}"),
            }
        }
        if flags.bless && (flags.quick || !flags.only.is_empty()) {
            bail!("--bless takes the whole set and every variant");
        }
        Ok(flags)
    }
}

/// Runs it.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let flags = Flags::parse(arguments)?;
    let workspace = Workspace::load()?;
    let folder = workspace.target_directory.join("eval");
    let set = set::prepare(&folder.join("set"), flags.quick)?;
    if flags.prepare {
        return Ok(());
    }
    let program = if let Some(program) = flags.program.clone() {
        program
    } else {
        let build = ["build", "--release", "--locked", "--package", "audiorag-cli"];
        process::run(&mut process::cargo(&build))?;
        workspace.binary("release")
    };
    let chosen: Vec<&Variant> = VARIANTS
        .iter()
        .filter(|variant| flags.only.is_empty() || flags.only.iter().any(|label| label == variant.label))
        .collect();
    let evaluation = Evaluation {
        models: models::pull(&program)?,
        program,
        set,
        folder: folder.join(if flags.quick { "quick" } else { "all" }),
    };
    let reports = evaluation.run(&chosen)?;
    evaluation.show(&reports)?;
    let summary = evaluation.summary(&chosen, &reports)?;
    if flags.bless {
        documents::bless(&summary)?;
    }
    Ok(())
}

/// A run of several variants.
struct Evaluation {
    program: PathBuf,
    models: PathBuf,
    set: Set,
    /// Databases and results.
    folder: PathBuf,
}

impl Evaluation {
    /// Indexes and asks; returns the file of each variant's results.
    fn run(&self, variants: &[&Variant]) -> Result<Vec<PathBuf>> {
        let begun = Instant::now();
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("cannot remove {}", self.folder.display()))?;
        }
        fs::create_dir_all(&self.folder)?;
        process::headline("transcribing, once for all variants");
        let first = self.folder.join("default.db");
        process::run(
            self.audiorag(&first, NOTHING)
                .arg("index")
                .args(&self.set.recordings),
        )?;
        println!("took {:.0} s", begun.elapsed().as_secs_f64());
        let mut asked = Vec::with_capacity(variants.len());
        for (number, variant) in variants.iter().enumerate() {
            let begun = Instant::now();
            let database = self.database(&first, variant)?;
            println!(
                "{}: {:.0} s to index",
                variant.label,
                begun.elapsed().as_secs_f64()
            );
            asked.push((
                *variant,
                database,
                self.folder.join(format!("{:02}.json", number + 1)),
            ));
        }
        process::headline("asking, as many variants side by side as there are processors");
        let next = AtomicUsize::new(0);
        let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| -> Result<()> {
            let work = || -> Result<()> {
                while let Some((variant, database, report)) = asked.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    self.ask(variant, database, report)?;
                }
                Ok(())
            };
            let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            for worker in running {
                worker
                    .join()
                    .unwrap_or_else(|_| bail!("a variant could not be asked"))?;
            }
            Ok(())
        })?;
        println!("\nall took {:.0} s", begun.elapsed().as_secs_f64());
        Ok(asked.into_iter().map(|(_, _, report)| report).collect())
    }

    /// Asks all questions of a variant's index.
    fn ask(&self, variant: &Variant, database: &Path, report: &Path) -> Result<()> {
        let begun = Instant::now();
        let settings = [variant.index, variant.ask].concat();
        let mut command = self.audiorag(database, &settings);
        command.arg("eval").arg(&self.set.questions);
        command.arg("--references").arg(&self.set.references);
        command.args(["--json", "--label", variant.label]);
        if variant.baseline {
            command.arg("--baseline");
        }
        fs::write(report, process::capture(&mut command)?)?;
        println!(
            "{}: {}; {:.0} s\n$ {}",
            variant.label,
            variant.about,
            begun.elapsed().as_secs_f64(),
            process::describe(&command)
        );
        Ok(())
    }

    /// The index of a variant, made of the transcripts and embeddings of the first.
    fn database(&self, first: &Path, variant: &Variant) -> Result<PathBuf> {
        let settings = variant.index;
        let mut name: Vec<String> = settings
            .iter()
            .map(|(key, value)| format!("{}-{value}", key.trim_start_matches("AUDIORAG_").to_lowercase()))
            .collect();
        if variant.titles {
            name.push("titles".to_owned());
        }
        if name.is_empty() {
            return Ok(first.to_owned());
        }
        let path = self.folder.join(format!("{}.db", name.join("-")));
        if path.exists() {
            return Ok(path);
        }
        // With its log of writes, where the last of them may still be.
        for suffix in ["", "-wal"] {
            let with_suffix = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            let (from, to) = (with_suffix(first), with_suffix(&path));
            if from.exists() {
                fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
            }
        }
        if variant.titles {
            for (recording, title) in self.set.recordings.iter().zip(&self.set.titles) {
                let mut command = self.audiorag(&path, settings);
                command.args(["index", "--title", title]).arg(recording);
                process::capture(&mut command)?;
            }
        } else {
            process::run(
                self.audiorag(&path, settings)
                    .args(["reindex", "--rechunk", "--all"]),
            )?;
        }
        Ok(path)
    }

    fn audiorag(&self, database: &Path, settings: &[(&str, &str)]) -> Command {
        let mut command = process::program(&self.program);
        // In a folder without settings of anybody.
        command
            .current_dir(&self.folder)
            .env("AUDIORAG_MODELS_DIR", &self.models)
            .envs(settings.iter().copied())
            .arg("--database-url")
            .arg(format!("sqlite://{}", database.display()))
            .args(["--quiet", "--no-progress", "--offline"]);
        command
    }

    /// Prints the table and draws the plot.
    fn show(&self, reports: &[PathBuf]) -> Result<()> {
        process::headline("results");
        let mut command = process::program(&self.program);
        command
            .current_dir(&self.folder)
            .args(["eval", "--compare"])
            .args(reports);
        command.arg("--svg").arg(self.folder.join("eval.svg"));
        process::run(&mut command)
    }

    /// All figures in one file: of all questions, and of each half.
    fn summary(&self, variants: &[&Variant], reports: &[PathBuf]) -> Result<Value> {
        let mut rows = Vec::new();
        for ((variant, path), figures) in variants.iter().zip(reports).zip(self.figures(reports)?) {
            let report: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
            let mut row = json!({
                "label": variant.label,
                "about": variant.about,
                "settings": report.get("settings"),
                "questions": report.get("questions").and_then(Value::as_array).map(Vec::len),
                "metrics": report.get("metrics"),
                "kinds": report.get("kinds"),
                "timings_ms": report.get("timings_ms"),
            });
            if let (Some(row), Some(differences)) =
                (row.as_object_mut(), figures.get("differences_from_the_first"))
            {
                row.insert("differences_from_the_first".to_owned(), differences.clone());
            }
            rows.push(row);
        }
        let half = |half| -> Result<Vec<Value>> { self.figures(&halves::take(reports, half)?) };
        let commit = process::capture(process::program("git").args(["rev-parse", "--short", "HEAD"]))?;
        let summary = json!({
            "commit": commit.trim(),
            "variants": rows,
            "tuning_half": half(Half::Tuning)?,
            "held_out_half": half(Half::HeldOut)?,
        });
        let path = self.folder.join("eval.json");
        fs::write(&path, format!("{summary:#}\n"))?;
        println!("\nsaved {} and eval.svg beside it", path.display());
        Ok(summary)
    }

    /// The figures of each report, with their differences from those of the first.
    fn figures(&self, reports: &[PathBuf]) -> Result<Vec<Value>> {
        let mut command = process::program(&self.program);
        command
            .current_dir(&self.folder)
            .args(["--json", "eval", "--compare"])
            .args(reports);
        let compared: Value = serde_json::from_str(&process::capture(&mut command)?)?;
        let list = |name: &str| {
            let list = compared.get(name).and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        let mut runs = list("runs");
        // The first is compared with nothing.
        for (run, compared) in runs.iter_mut().skip(1).zip(list("compared")) {
            if let (Some(run), Some(differences)) = (run.as_object_mut(), compared.get("differences")) {
                run.insert("differences_from_the_first".to_owned(), differences.clone());
            }
        }
        // One report alone is not compared.
        runs.resize(reports.len(), Value::Null);
        Ok(runs)
    }
}

/// The page that shows the figures.
fn page() -> PathBuf {
    workspace::root().join("docs/quality.md")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn variants_are_told_apart_and_flags_are_understood() {
        let labels: BTreeSet<&str> = VARIANTS.iter().map(|variant| variant.label).collect();
        assert_eq!(labels.len(), VARIANTS.len());
        assert!(VARIANTS.first().is_some_and(|first| first.baseline));
        let flags = Flags::parse(&["--quick", "--program", "x", "--only", "dense"]).unwrap();
        assert!(flags.quick && flags.program == Some("x".into()) && flags.only == ["dense"]);
        assert!(Flags::parse(&["--bless", "--quick"]).is_err());
        assert!(Flags::parse(&["--sloppy"]).is_err());
    }
}
