//! Inputs to sources.

use audiorag_core::model::{Fingerprint, Media};
use audiorag_core::{Error, Locator, Result, Stage};
use audiorag_state::FeedItem;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Extensions that make a file in a folder worth looking at. A file that is named itself is always looked at.
const EXTENSIONS: [&str; 32] = [
    "3gp", "aac", "ac3", "adts", "aif", "aifc", "aiff", "amr", "au", "avi", "caf", "flac", "m4a", "m4b",
    "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "ogv", "opus", "snd",
    "wav", "wave", "webm", "wma",
];

/// What the user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file or a folder.
    Path(PathBuf),
    /// A `file:` or `http:` URI.
    Uri(String),
}

impl Input {
    /// Reads an argument: a URI where it looks like one, a path otherwise.
    pub fn parse(argument: &OsStr) -> Self {
        match argument.to_str() {
            Some(text) if text.contains("://") && !text.starts_with('/') => Self::Uri(text.to_owned()),
            _ => Self::Path(PathBuf::from(argument)),
        }
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => Locator::File(path.clone()).fmt(f),
            Self::Uri(uri) => f.write_str(uri),
        }
    }
}

/// A recording that was found, before anything about it is decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) locator: Locator,
    /// Size in bytes; zero where the bytes are not here yet.
    pub(super) bytes: u64,
    /// Modification time in nanoseconds since 1970, where the file system has one.
    pub(super) modified: Option<i64>,
    /// Where its bytes are on this machine, when that is not its own place.
    pub(super) copy: Option<PathBuf>,
    /// What is known of it beforehand, when it is on the web.
    pub(super) remote: Option<Box<Remote>>,
}

/// What is known of a recording on the web before it is fetched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Remote {
    /// The item of a feed that it is.
    pub(super) item: Option<FeedItem>,
    /// What the feed says of it.
    pub(super) said: Option<Media>,
    /// Whether it is in a page that only yt-dlp understands.
    pub(super) is_page: bool,
    /// The URL that it had when it was fetched last, where that was another one.
    pub(super) before: Option<String>,
    /// Where its list of chapters is.
    pub(super) chapters_url: Option<String>,
    /// The transcripts that the feed offers.
    pub(super) transcripts: Vec<Offered>,
}

/// A transcript that a feed offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Offered {
    pub(super) url: String,
    /// Such as `text/vtt`, in lower case.
    pub(super) media_type: Option<String>,
    pub(super) language: Option<String>,
}

impl Found {
    pub(super) fn on_the_web(url: String, remote: Remote) -> Self {
        Self {
            locator: Locator::Url(url),
            bytes: 0,
            modified: None,
            copy: None,
            remote: Some(Box::new(remote)),
        }
    }

    /// The URL, for what is on the web.
    pub(super) fn url(&self) -> Option<&str> {
        match &self.locator {
            Locator::Url(url) => Some(url),
            Locator::File(_) => None,
        }
    }
}

/// Which episodes of a feed are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Episodes {
    /// Only those that were published on or after this day, `YYYY-MM-DD`.
    pub(crate) since: Option<String>,
    /// At most so many, the newest first.
    pub(crate) latest: Option<usize>,
}

/// Whether the bytes of a recording are here now.
#[cfg_attr(
    not(feature = "web"),
    expect(dead_code, reason = "without the feature nothing is fetched")
)]
pub(super) enum Copy {
    /// Its server says that they are those of the last download, and nobody needs them.
    Unchanged,
    /// They are here.
    Here { path: PathBuf, fingerprint: Fingerprint },
}

/// Which files of a folder count.
#[derive(Clone, Debug)]
pub struct Selection {
    include: Option<GlobSet>,
    exclude: GlobSet,
    follow_links: bool,
    hidden: bool,
    min_age: Option<Duration>,
}

impl Selection {
    /// Files whose path below the folder matches one of `include` (all, when it is empty) and none of
    /// `exclude`. `*` does not cross a `/`, `**` does.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) for a malformed pattern.
    pub fn new(include: &[String], exclude: &[String], follow_links: bool, hidden: bool) -> Result<Self> {
        let include = if include.is_empty() {
            None
        } else {
            Some(globs(include)?)
        };
        Ok(Self {
            include,
            exclude: globs(exclude)?,
            follow_links,
            hidden,
            min_age: None,
        })
    }

    /// Leaves out files of folders that were changed within this time.
    #[must_use]
    pub fn older_than(mut self, age: Option<Duration>) -> Self {
        self.min_age = age;
        self
    }

    /// Whether a file may still be written. One that is dated in the future is as good as old: clocks differ.
    fn is_fresh(&self, metadata: &Metadata) -> bool {
        let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
        self.min_age.zip(age).is_some_and(|(least, age)| age < least)
    }

    /// Whether an object counts whose key is this below the folder of a bucket that was named.
    #[cfg(feature = "s3")]
    pub(super) fn takes_in_bucket(&self, below: &Path) -> bool {
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        (self.hidden || !below.iter().any(is_hidden)) && self.takes(below)
    }

    fn takes(&self, below: &Path) -> bool {
        if self.exclude.is_match(below) {
            return false;
        }
        match &self.include {
            Some(include) => include.is_match(below),
            None => below
                .extension()
                .and_then(OsStr::to_str)
                .is_some_and(|extension| {
                    EXTENSIONS
                        .iter()
                        .any(|known| known.eq_ignore_ascii_case(extension))
                }),
        }
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // A pattern without a slash means the file name, at any depth, as users of other tools expect.
        let anywhere = if pattern.contains('/') {
            pattern.clone()
        } else {
            format!("**/{pattern}")
        };
        let glob = GlobBuilder::new(&anywhere)
            .literal_separator(true)
            .case_insensitive(true)
            .build()
            .map_err(|error| Error::input(format!("'{pattern}' is not a glob pattern")).with_cause(error))?;
        set.add(glob);
    }
    set.build()
        .map_err(|error| Error::input("the glob patterns are too many or too large").with_cause(error))
}

/// Expands inputs into sources, each once, in the order of the inputs and by name inside folders.
///
/// What cannot be used becomes an error that names it, and the rest goes on. This reads directories and file
/// attributes, never a file's contents, and never opens anything but regular files and folders. What is on the web
/// stays as it is named.
pub(super) fn discover(inputs: &[Input], selection: &Selection) -> Vec<Result<Found>> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for input in inputs {
        match expand(input, selection) {
            Ok(items) => found.extend(items),
            Err(error) => found.push(Err(error
                .with_source(input.to_string())
                .with_stage(Stage::Discover))),
        }
    }
    found.retain(|item| match item {
        Ok(source) => seen.insert(source.locator.clone()),
        Err(_) => true,
    });
    found
}

fn expand(input: &Input, selection: &Selection) -> Result<Vec<Result<Found>>> {
    let path = match input {
        Input::Path(path) => path.clone(),
        Input::Uri(uri) => match Locator::parse_uri(uri)? {
            Locator::File(path) => path,
            Locator::Url(url) => return Ok(vec![Ok(Found::on_the_web(url, Remote::default()))]),
        },
    };
    if path.as_os_str().is_empty() {
        return Err(Error::input("an empty path"));
    }
    let metadata = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
    if metadata.is_dir() {
        return walk(&path, selection);
    }
    Ok(vec![describe(&path, &metadata)])
}

fn walk(root: &Path, selection: &Selection) -> Result<Vec<Result<Found>>> {
    let (mut found, mut fresh) = (Vec::new(), false);
    let walker = walkdir::WalkDir::new(root)
        .follow_links(selection.follow_links)
        .sort_by_file_name();
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || selection.hidden || !entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    for entry in walker.into_iter().filter_entry(visible) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let name = error.path().unwrap_or(root).to_owned();
                let message = if error.loop_ancestor().is_some() {
                    "a symbolic link that leads back to its own folder"
                } else {
                    "the folder or its link cannot be read"
                };
                found.push(Err(Error::input(message)
                    .with_cause(error)
                    .with_source(Locator::File(name).to_string())
                    .with_stage(Stage::Discover)));
                continue;
            }
        };
        let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if entry.file_type().is_dir() || !selection.takes(below) {
            continue;
        }
        if entry.path_is_symlink() && !selection.follow_links {
            continue;
        }
        let metadata = entry.metadata();
        if metadata
            .as_ref()
            .is_ok_and(|metadata| selection.is_fresh(metadata))
        {
            fresh = true;
            continue;
        }
        let described = metadata
            .map_err(|error| Error::input("its attributes cannot be read").with_cause(error))
            .and_then(|metadata| describe(entry.path(), &metadata));
        let shown = Locator::File(entry.path().to_owned()).to_string();
        found.push(described.map_err(|error| error.with_source(shown).with_stage(Stage::Discover)));
    }
    if found.is_empty() && !fresh {
        return Err(
            Error::input(format!("no audio in the folder '{}'", root.display()))
                .with_hint("name the files themselves, or choose them with --include '*.EXT'"),
        );
    }
    Ok(found)
}

fn describe(path: &Path, metadata: &Metadata) -> Result<Found> {
    if !metadata.is_file() {
        return Err(Error::input(format!(
            "'{}' is {}, not a file",
            path.display(),
            kind_of(metadata)
        )));
    }
    let canonical = std::fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
    Ok(Found {
        copy: None,
        remote: None,
        locator: Locator::File(canonical),
        bytes: metadata.len(),
        modified: metadata
            .modified()
            .ok()
            .and_then(|time| match time.duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_nanos()).ok(),
                Err(before) => i64::try_from(before.duration().as_nanos())
                    .ok()
                    .map(|nanos| -nanos),
            }),
    })
}

#[cfg(unix)]
fn kind_of(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = metadata.file_type();
    if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "something special"
    }
}

#[cfg(not(unix))]
fn kind_of(_metadata: &Metadata) -> &'static str {
    "something special"
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let name = Locator::File(path.to_owned());
    match error.kind() {
        Io::NotFound => {
            Error::not_found(format!("'{name}' does not exist")).with_hint("check the spelling of the path")
        }
        Io::PermissionDenied => Error::input(format!("'{name}' may not be read"))
            .with_hint("give yourself permission to read it")
            .with_cause(error),
        _ => Error::input(format!("'{name}' cannot be read")).with_cause(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;
    use std::fs;

    fn all() -> Selection {
        Selection::new(&[], &[], false, false).unwrap()
    }

    fn names(found: &[Result<Found>]) -> Vec<String> {
        found
            .iter()
            .map(|item| match item {
                Ok(source) => source
                    .locator
                    .as_path()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
                Err(error) => format!("{}: {}", error.kind(), error.message()),
            })
            .collect()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sub/.hidden")).unwrap();
        for name in [
            "b.mp3",
            "a.WAV",
            "notes.txt",
            ".c.mp3",
            "sub/d.flac",
            "sub/.hidden/e.mp3",
        ] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        dir
    }

    #[test]
    fn folders_are_walked_in_order_without_hidden_and_other_files() {
        let dir = tree();
        let input = [Input::Path(dir.path().to_owned())];
        assert_eq!(names(&discover(&input, &all())), ["a.WAV", "b.mp3", "d.flac"]);
        let hidden = Selection::new(&[], &[], false, true).unwrap();
        assert_eq!(
            names(&discover(&input, &hidden)),
            [".c.mp3", "a.WAV", "b.mp3", "e.mp3", "d.flac"]
        );
    }

    #[test]
    fn globs_choose() {
        let dir = tree();
        let input = [Input::Path(dir.path().to_owned())];
        let only = Selection::new(&["*.txt".into()], &[], false, false).unwrap();
        assert_eq!(names(&discover(&input, &only)), ["notes.txt"]);
        let without = Selection::new(&[], &["sub/**".into()], false, false).unwrap();
        assert_eq!(names(&discover(&input, &without)), ["a.WAV", "b.mp3"]);
        assert_eq!(
            Selection::new(&["[".into()], &[], false, false)
                .unwrap_err()
                .kind(),
            ErrorKind::Input
        );
    }

    #[test]
    fn files_that_may_still_be_written_wait() {
        let dir = tree();
        let old = std::time::SystemTime::now() - Duration::from_hours(1);
        let file = fs::File::options()
            .write(true)
            .open(dir.path().join("b.mp3"))
            .unwrap();
        file.set_modified(old).unwrap();
        let input = [Input::Path(dir.path().to_owned())];
        let settled = all().older_than(Some(Duration::from_mins(10)));
        assert_eq!(names(&discover(&input, &settled)), ["b.mp3"]);
        // That all of them are fresh is no failure.
        file.set_modified(std::time::SystemTime::now()).unwrap();
        assert_eq!(names(&discover(&input, &settled)), [""; 0]);
        // One that is named itself is meant.
        let named = [Input::Path(dir.path().join("b.mp3"))];
        assert_eq!(names(&discover(&named, &settled)), ["b.mp3"]);
    }

    #[test]
    fn a_source_named_twice_is_one() {
        let dir = tree();
        let file = dir.path().join("b.mp3");
        let inputs = [
            Input::Path(file.clone()),
            Input::Path(dir.path().join("sub/../b.mp3")),
            Input::Uri(Locator::File(file).to_uri()),
        ];
        assert_eq!(names(&discover(&inputs, &all())), ["b.mp3"]);
    }

    #[test]
    fn what_cannot_be_used_says_so_and_the_rest_goes_on() {
        let dir = tree();
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let inputs = [
            Input::Path(dir.path().join("missing.mp3")),
            Input::Path(empty),
            Input::parse(OsStr::new("https://example.org/x.mp3")),
            Input::parse(OsStr::new("gopher://x")),
            Input::Path(PathBuf::new()),
            Input::Path(dir.path().join("b.mp3")),
        ];
        let found = discover(&inputs, &all());
        let kinds: Vec<Option<ErrorKind>> = found.iter().map(|i| i.as_ref().err().map(Error::kind)).collect();
        assert_eq!(
            kinds,
            [
                Some(ErrorKind::NotFound),
                Some(ErrorKind::Input),
                None,
                Some(ErrorKind::Input),
                Some(ErrorKind::Input),
                None
            ]
        );
        assert!(
            found[0]
                .as_ref()
                .unwrap_err()
                .source_name()
                .unwrap()
                .ends_with("missing.mp3")
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_pipes_and_loops_do_no_harm() {
        use std::os::unix::fs::symlink;
        let dir = tree();
        symlink(dir.path(), dir.path().join("sub/loop")).unwrap();
        symlink(dir.path().join("gone.mp3"), dir.path().join("dangling.mp3")).unwrap();
        let fifo = dir.path().join("pipe.mp3");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        let input = [Input::Path(dir.path().to_owned())];
        let found = names(&discover(&input, &all()));
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found.iter().any(|name| name.contains("a named pipe")),
            "{found:?}"
        );
        let following = Selection::new(&[], &[], true, false).unwrap();
        let found = names(&discover(&input, &following));
        assert!(found.iter().any(|name| name.contains("leads back")), "{found:?}");
        assert!(
            found
                .iter()
                .any(|name| name.starts_with("input: the folder or its link")),
            "{found:?}"
        );
        // Named itself, a link is followed.
        symlink(dir.path().join("b.mp3"), dir.path().join("named.mp3")).unwrap();
        let named = discover(&[Input::Path(dir.path().join("named.mp3"))], &all());
        assert_eq!(names(&named), ["b.mp3"]);
    }
}
