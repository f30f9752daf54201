//! Reading the output of `cargo test`: which suites ran, and how each ended.

/// How one test program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// It was started but never summed up: it crashed or was killed.
    pub(crate) finished: bool,
}

/// All suites of a run, filled line by line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suites {
    pub(crate) programs: Vec<Suite>,
    /// The library whose tests ran last.
    package: String,
    /// Names of the tests that failed.
    pub(crate) failures: Vec<String>,
    /// The last thing that did not compile, if anything did not.
    pub(crate) compile_errors: u64,
}

impl Suites {
    /// Takes in one line of output.
    pub(crate) fn line(&mut self, line: &str) {
        let trimmed = line.trim();
        if let Some(rest) = trimmed.strip_prefix("Running ") {
            if let Some(name) = self.suite_name(rest) {
                self.programs.push(Suite {
                    name,
                    ..Suite::default()
                });
            }
        } else if let Some(name) = trimmed.strip_prefix("Doc-tests ") {
            self.programs.push(Suite {
                name: format!("{name} (doc)"),
                ..Suite::default()
            });
        } else if let Some(rest) = trimmed.strip_prefix("test result: ") {
            self.sum_up(rest);
        } else if trimmed.starts_with("error: could not compile") {
            self.compile_errors += 1;
        } else if let Some(name) = trimmed
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            let suite = self
                .programs
                .last()
                .map(|suite| suite.name.as_str())
                .unwrap_or_default();
            self.failures.push(format!("{suite}: {name}"));
        }
    }

    /// `unittests src/lib.rs (target/debug/deps/audiorag_core-0123abcd)` is the suite `audiorag_core`, and
    /// `tests/it.rs (target/debug/deps/it-0123abcd)` after it is `audiorag_core::it`: cargo does not say of which
    /// package a program is, but it runs those of a package together, the library's first.
    fn suite_name(&mut self, running: &str) -> Option<String> {
        let (what, path) = running.strip_suffix(')')?.rsplit_once(" (")?;
        let file = path.rsplit(['/', '\\']).next()?;
        let stem = file.strip_suffix(".exe").unwrap_or(file);
        let program = stem.rsplit_once('-').map_or(stem, |(program, _)| program);
        Some(match what.strip_prefix("unittests ") {
            Some("src/lib.rs") => {
                program.clone_into(&mut self.package);
                program.to_owned()
            }
            Some(_) => format!("{program} (program)"),
            None => format!("{}::{program}", self.package),
        })
    }

    fn sum_up(&mut self, counts: &str) {
        let count = |label: &str| {
            counts
                .split(['.', ';'])
                .filter_map(|field| field.trim().strip_suffix(label))
                .find_map(|number| number.trim().parse::<u64>().ok())
                .unwrap_or_default()
        };
        let (passed, failed, ignored) = (count("passed"), count("failed"), count("ignored"));
        // Some doc tests run in two rounds under one heading.
        let unnamed = Suite {
            name: "(unnamed)".to_owned(),
            ..Suite::default()
        };
        if self.programs.is_empty() {
            self.programs.push(unnamed);
        }
        if let Some(suite) = self.programs.last_mut() {
            suite.passed += passed;
            suite.failed += failed;
            suite.ignored += ignored;
            suite.finished = true;
        }
    }

    /// Passed, failed and ignored tests of all suites. A suite that crashed counts as one failure more.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        self.programs
            .iter()
            .fold((0, 0, 0), |(passed, failed, ignored), suite| {
                let crashed = u64::from(!suite.finished);
                (
                    passed + suite.passed,
                    failed + suite.failed + crashed,
                    ignored + suite.ignored,
                )
            })
    }

    /// A table of the suites that ran a test, or should have.
    pub(crate) fn table(&self) -> String {
        self.programs
            .iter()
            .filter(|suite| !suite.finished || suite.passed + suite.failed + suite.ignored > 0)
            .map(|suite| {
                let note = if suite.finished {
                    ""
                } else {
                    "  crashed before its end"
                };
                format!(
                    "  {:<44} {:>5} passed {:>3} failed {:>3} skipped{note}",
                    suite.name, suite.passed, suite.failed, suite.ignored
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling audiorag-core v0.1.0
     Running unittests src/lib.rs (target/debug/deps/audiorag_core-7fa1)

running 3 tests
test time::tests::adds ... ok
test id::tests::is_stable ... FAILED
test slow ... ignored

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/contract.rs (target/debug/deps/contract-09ab)
test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s
     Running unittests src/main.rs (target/debug/deps/audiorag-1)
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests audiorag
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    fn read(output: &str) -> Suites {
        let mut suites = Suites::default();
        output.lines().for_each(|line| suites.line(line));
        suites
    }

    #[test]
    fn counts_every_suite() {
        let suites = read(OUTPUT);
        assert_eq!(suites.totals(), (43, 1, 1));
        assert_eq!(suites.failures, ["audiorag_core: id::tests::is_stable"]);
        let names: Vec<_> = suites.programs.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "audiorag_core",
                "audiorag_core::contract",
                "audiorag (program)",
                "audiorag (doc)"
            ]
        );
        assert_eq!(
            suites.table().lines().count(),
            3,
            "a suite without tests is not listed"
        );
    }

    #[test]
    fn a_suite_without_a_result_is_a_failure() {
        let suites = read("     Running tests/it/main.rs (target/debug/deps/it-1)\nsignal: 11, SIGSEGV\n");
        assert_eq!(suites.totals(), (0, 1, 0));
        assert!(suites.table().contains("crashed"));
    }

    #[test]
    fn what_does_not_compile_is_counted() {
        assert_eq!(
            read("error: could not compile `x` (lib) due to 1 previous error\n").compile_errors,
            1
        );
    }
}
