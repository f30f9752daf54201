//! Tables of what was tested, written from the tests themselves: a row stands above the test that holds it, so that
//! there is none without its test, and a test that gets another name takes its row along.
//!
//! ```text
//! /// Table: downloads | two downloads to one file | the second is refused
//! ```
//!
//! Such lines are the last ones above a test. Further tests of a case leave out what happens. The page has the table
//! between `<!-- table: downloads -->` and `<!-- end of table -->`; its rows keep their order there, new ones come last.

use super::{File, tree};
use crate::process::Findings;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;

const START: &str = "<!-- table: ";
const END: &str = "<!-- end of table -->";
const HEAD: &str = "| case | what happens | tests |\n| --- | --- | --- |\n";

/// One line above one test.
struct Entry {
    /// File and line, for people.
    place: String,
    table: String,
    case: String,
    outcome: Option<String>,
    test: String,
}

/// Pages that are not what the tests say, and lines above tests that are on no page or say nothing.
pub(super) fn check(tree: &[File]) -> Findings {
    let (entries, mut findings) = read(tree);
    for (file, page) in pages(tree, &entries) {
        if page != file.text() {
            findings.push(format!(
                "{}: the tables are not what the tests say: run cargo xtask bless",
                file.path
            ));
        }
    }
    findings
}

/// Writes the tables into their pages.
pub(crate) fn write() -> Result<()> {
    let tree = tree()?;
    let (entries, findings) = read(&tree);
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    for (file, page) in pages(&tree, &entries) {
        let path = workspace::root().join(&file.path);
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote the tables of {}", file.path);
    }
    Ok(())
}

/// All lines of tables, and what is wrong with them.
fn read(tree: &[File]) -> (Vec<Entry>, Findings) {
    let mut findings = Findings::new();
    let mut entries = Vec::new();
    for file in tree.iter().filter(|file| file.is_rust()) {
        entries.extend(in_file(file, &mut findings));
    }
    for entry in &entries {
        let Entry {
            place, table, case, ..
        } = entry;
        let marker = format!("{START}{table} -->\n");
        if !tree
            .iter()
            .any(|file| file.is_markdown() && file.text().contains(&marker))
        {
            findings.push(format!("{place}: no page has the table {table}"));
        }
        let same: Vec<&Entry> = entries
            .iter()
            .filter(|other| (&other.table, &other.case) == (table, case))
            .collect();
        // Said once of all of them.
        if same.first().is_some_and(|first| first.place == *place) {
            match same.iter().filter(|other| other.outcome.is_some()).count() {
                0 => findings.push(format!("{place}: no test says what happens: {case}")),
                1 => {}
                _ => findings.push(format!("{place}: several tests say what happens: {case}")),
            }
        }
    }
    (entries, findings)
}

fn in_file(file: &File, findings: &mut Findings) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut is_test = false;
    for (index, line) in file.text().lines().enumerate() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("/// Table: ") {
            open.push((index + 1, text.to_owned()));
        } else if let Some(text) = line.strip_prefix("/// ") {
            if let Some((_, last)) = open.last_mut() {
                last.push(' ');
                last.push_str(text);
            }
        } else if line.starts_with("#[") {
            is_test |= line.ends_with("test]") || line.contains("test(");
        } else {
            let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            for (number, text) in open.drain(..) {
                let place = format!("{}:{number}", file.path);
                let cells: Vec<&str> = text.split(" | ").collect();
                match (name.filter(|_| is_test), cells.as_slice()) {
                    (None, _) => findings.push(format!("{place}: a line of a table is not above a test")),
                    (Some(test), [table, case, outcome @ ..]) if outcome.len() < 2 => {
                        entries.push(Entry {
                            place,
                            table: (*table).to_owned(),
                            case: (*case).to_owned(),
                            outcome: outcome.first().map(|outcome| (*outcome).to_owned()),
                            test: test.to_owned(),
                        });
                    }
                    _ => findings.push(format!(
                        "{place}: a line of a table is not TABLE | CASE | WHAT HAPPENS"
                    )),
                }
            }
            is_test = false;
        }
    }
    entries
}

/// The pages that have tables, with those of `entries` in their places.
fn pages<'a>(tree: &'a [File], entries: &[Entry]) -> Vec<(&'a File, String)> {
    tree.iter()
        .filter(|file| file.is_markdown() && file.text().contains(&format!("\n{START}")))
        .map(|file| (file, page(file.text(), entries)))
        .collect()
}

fn page(text: &str, entries: &[Entry]) -> String {
    let mut pieces = text.split(START);
    let mut page = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(" -->\n").unwrap_or((piece, ""));
        let (old, after) = rest.split_once(END).unwrap_or(("", rest));
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "{START}{name} -->\n{}{END}{after}",
            table(name, old, entries)
        );
    }
    page
}

/// A table, its rows in the order that they had in the old one.
fn table(name: &str, old: &str, entries: &[Entry]) -> String {
    let before: Vec<&str> = old.lines().filter_map(case_of).collect();
    let mut rows: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.table == name && entry.outcome.is_some())
        .collect();
    rows.sort_by_key(|row| {
        before
            .iter()
            .position(|case| *case == row.case)
            .unwrap_or(usize::MAX)
    });
    let mut table = HEAD.to_owned();
    for row in rows {
        let others = entries.iter().filter(|entry| {
            (&entry.table, &entry.case) == (&row.table, &row.case) && entry.place != row.place
        });
        let tests: Vec<String> = std::iter::once(row)
            .chain(others)
            .map(|entry| format!("`{}`", entry.test))
            .collect();
        let outcome = row.outcome.as_deref().unwrap_or_default();
        let _ = writeln!(table, "| {} | {outcome} | {} |", row.case, tests.join(", "));
    }
    table
}

fn case_of(row: &str) -> Option<&str> {
    row.strip_prefix("| ")?.split(" | ").next()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const TESTS: &str = concat!(
        "//! Tests.\n\n",
        "/// Says something.\n///\n/// Table: t | new | is told\n#[test]\nfn a() {}\n\n",
        "/// Table: t | old | is kept, and it\n/// is said\n/// Table: t | new\n#[tokio::test]\nasync fn b() {}\n",
    );

    fn tree(tests: &str, page: &str) -> [File; 2] {
        [file("docs/a.md", page), file("crates/x/tests/a.rs", tests)]
    }

    #[test]
    fn a_table_is_written_from_the_tests_and_keeps_its_order() {
        let old =
            "# A\n\n<!-- table: t -->\n| case |\n| old | x | `gone` |\n<!-- end of table -->\n\nProse.\n";
        let stale = tree(TESTS, old);
        assert_eq!(
            check(&stale),
            ["docs/a.md: the tables are not what the tests say: run cargo xtask bless"]
        );
        let new = pages(&stale, &read(&stale).0).pop().unwrap().1;
        assert_eq!(
            new,
            format!(
                "# A\n\n<!-- table: t -->\n{HEAD}\
                 | old | is kept, and it is said | `b` |\n\
                 | new | is told | `a`, `b` |\n\
                 <!-- end of table -->\n\nProse.\n"
            )
        );
        assert_eq!(check(&tree(TESTS, &new)), Findings::new());
        // A test that is gone takes its row along.
        assert!(!check(&tree("//! None.\n", &new)).is_empty());
        assert!(!check(&tree(&TESTS.replace("fn b", "fn c"), &new)).is_empty());
    }

    #[test]
    fn lines_that_say_nothing_are_found() {
        let page = format!("\n<!-- table: t -->\n{HEAD}<!-- end of table -->\n");
        for (tests, expected) in [
            (
                "/// Table: t | a | b\nfn f() {}\n",
                ":1: a line of a table is not above a test",
            ),
            (
                "/// Table: t | a | b\n#[cfg(test)]\nmod tests {}\n",
                ":1: a line of a table is not above a test",
            ),
            (
                "/// Table: t\n#[test]\nfn f() {}\n",
                ":1: a line of a table is not TABLE | CASE",
            ),
            (
                "/// Table: t | a\n#[test]\nfn f() {}\n",
                ":1: no test says what happens: a",
            ),
            (
                "/// Table: u | a | b\n#[test]\nfn f() {}\n",
                ":1: no page has the table u",
            ),
            (
                "/// Table: t | a | b\n#[test]\nfn f() {}\n/// Table: t | a | b\n#[test]\nfn g() {}\n",
                ":1: several tests say what happens: a",
            ),
        ] {
            let findings = read(&tree(tests, &page)).1;
            assert!(
                findings.len() == 1 && findings.iter().all(|finding| finding.contains(expected)),
                "{tests}: {findings:?}"
            );
        }
    }
}
