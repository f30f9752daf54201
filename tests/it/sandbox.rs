//! A user's machine in a temporary folder, and the program started on it.

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a command may take before it counts as hung.
const PATIENCE: Duration = Duration::from_mins(3);

/// A home directory, a project folder and an environment of their own.
pub(crate) struct Sandbox {
    root: TempDir,
    env: Vec<(OsString, OsString)>,
}

impl Sandbox {
    /// A fresh user with the local models in place.
    pub(crate) fn new() -> Self {
        let mut sandbox = Self::without_models();
        sandbox.set("AUDIORAG_MODELS_DIR", models_dir());
        sandbox
    }

    /// A fresh user who never fetched a model.
    pub(crate) fn without_models() -> Self {
        let root = tempfile::Builder::new()
            .prefix("audiorag-e2e-")
            .tempdir()
            .unwrap();
        for folder in ["home", "project", "tmp"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let mut sandbox = Self {
            root,
            env: Vec::new(),
        };
        sandbox.set("HOME", sandbox.path("home"));
        sandbox.set("TMPDIR", sandbox.path("tmp"));
        sandbox.set("PATH", "/usr/local/bin:/usr/bin:/bin");
        // No test reaches the public internet, whatever it does wrong.
        sandbox.set("AUDIORAG_OFFLINE", "true");
        sandbox
    }

    /// Sets an environment variable for all later commands.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.unset(name);
        self.env.push((name.into(), value.as_ref().to_owned()));
    }

    /// Removes an environment variable.
    pub(crate) fn unset(&mut self, name: &str) {
        self.env.retain(|(key, _)| key != name);
    }

    /// A path inside the sandbox.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The folder that commands run in.
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// Writes a file into the project folder.
    pub(crate) fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.project().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program with arguments, in the project folder, without a terminal.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.project()).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // Where an instrumented program leaves what it ran.
        if let Some(profile) = environment("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Running::start(self.command(arguments)).wait()
    }

    /// Runs the program with bytes on standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        let mut running = Running::start(command);
        // A program that does not read its input may close it first.
        let _ = running.child.stdin.take().unwrap().write_all(input);
        running.wait()
    }

    /// Runs the program so that file permissions bind it. Root ignores them, so root gives up the capabilities
    /// to do so.
    pub(crate) fn run_without_privileges(&self, arguments: &[&str]) -> Run {
        let plain = self.command(arguments);
        if !rustix::process::geteuid().is_root() {
            return Running::start(plain).wait();
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search"]);
        command
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(self.project())
            .env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running::start(command).wait()
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// The names left in the folders for temporary files.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for folder in [self.path("tmp"), self.path("home/.cache/audiorag/work")] {
            if let Ok(entries) = std::fs::read_dir(folder) {
                left.extend(entries.map(|entry| entry.unwrap().path()));
            }
        }
        left
    }
}

/// A started program, whose output is collected as it comes.
pub(crate) struct Running {
    child: Child,
    stdout: std::thread::JoinHandle<Vec<u8>>,
    stderr: std::thread::JoinHandle<Vec<u8>>,
    lines: std::sync::mpsc::Receiver<String>,
    described: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let described = format!("{command:?}")
            .split("audiorag\"")
            .last()
            .unwrap()
            .to_owned();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        let stdout = std::thread::spawn(move || {
            let (mut all, mut buffer, mut seen) = (Vec::new(), [0; 4096], 0);
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                all.extend_from_slice(&buffer[..count]);
                while let Some(end) = all[seen..].iter().position(|byte| *byte == b'\n') {
                    let _ = sender.send(String::from_utf8_lossy(&all[seen..seen + end]).into_owned());
                    seen += end + 1;
                }
            }
            all
        });
        let stderr = std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = err.read_to_end(&mut all);
            all
        });
        Self {
            child,
            stdout,
            stderr,
            lines,
            described,
        }
    }

    /// Waits until a line of standard output satisfies `wanted`.
    pub(crate) fn wait_for_line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!(
                    "audiorag{} ended or hung before the expected line: {error}",
                    self.described
                ),
            }
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Run {
        let deadline = Instant::now() + PATIENCE;
        let mut status = self.child.try_wait().unwrap();
        while status.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            status = self.child.try_wait().unwrap();
        }
        let hung = status.is_none();
        if hung {
            let _ = self.child.kill();
        }
        let status = status.unwrap_or_else(|| self.child.wait().unwrap());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let run = Run {
            described: self.described,
            status,
            stdout: text(self.stdout.join().unwrap()),
            stderr: text(self.stderr.join().unwrap()),
        };
        assert!(!hung, "hung: {run:?}");
        run
    }
}

/// What a finished command left.
pub(crate) struct Run {
    described: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            described,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "audiorag{described}\n{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

impl Run {
    /// The exit code; 128 and the number for a signal, as a shell shows it.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|number| 128 + number))
            .unwrap()
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self:?}");
        assert!(!self.stderr.contains("panicked at"), "{self:?}");
        self
    }

    /// Checks that all went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Checks that standard error holds these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "'{text}' is missing from standard error: {self:?}"
            );
        }
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\nin {self:?}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The last event of `index --json`.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let last = self
            .events()
            .pop()
            .unwrap_or_else(|| panic!("no events: {self:?}"));
        assert_eq!(last["event"], "summary", "{self:?}");
        last
    }
}

/// Milliseconds of a time in JSON, which is in seconds.
#[track_caller]
pub(crate) fn millis(value: &Value) -> u64 {
    let seconds = value.as_f64().unwrap_or_else(|| panic!("{value} is not a time"));
    let millis = (seconds * 1000.0).round();
    assert!(
        (seconds * 1000.0 - millis).abs() < 1e-6,
        "{seconds} is not a whole millisecond"
    );
    millis as u64
}

/// The number of elements of a JSON array.
#[track_caller]
pub(crate) fn count(value: &Value) -> usize {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is not a list"))
        .len()
}

/// The program beside this test, which `cargo xtask test` builds first.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let program = folder.join(format!("audiorag{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing: run these tests with `cargo xtask test`, or build the program first with `cargo build`",
        program.display()
    );
    program
}

/// Where the local models are.
pub(crate) fn models_dir() -> PathBuf {
    let Some(folder) = environment("AUDIORAG_TEST_MODELS") else {
        panic!(
            "AUDIORAG_TEST_MODELS is not set: run these tests with `cargo xtask test`, which fetches the models, \
             or set it to the output of `audiorag models path`"
        );
    };
    PathBuf::from(folder)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests' only reader of the environment"
)]
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
