//! The files that may break a rule, each with the reason. An exception that is no longer needed is a finding.

use super::{File, source};
use crate::process::Findings;

/// A file and why it may.
pub(super) type Exception = (&'static str, &'static str);

/// Files that may be longer than [`source::MAX_LINES`].
pub(super) const LONG: &[Exception] = &[];

/// Files that may hold code outside the compiler's guarantees.
pub(super) const UNCHECKED: &[Exception] = &[
    (
        "crates/audiorag-cli/src/allocator.rs",
        "sets up the C library's allocator, which safe Rust cannot",
    ),
    (
        "crates/audiorag-state/src/vectors/mapping.rs",
        "maps a file into memory, which safe Rust cannot",
    ),
];

/// Whether a list names a path.
pub(super) fn names(list: &[Exception], path: &str) -> bool {
    list.iter().any(|(excepted, _)| *excepted == path)
}

/// Exceptions for files that are gone or keep the rule by now.
pub(super) fn stale(tree: &[File]) -> Findings {
    let unused = |list: &[Exception], breaks: fn(&File) -> bool, rule: &str| -> Findings {
        list.iter()
            .filter(|(path, _)| !tree.iter().any(|file| file.path == *path && breaks(file)))
            .map(|(path, _)| format!("{path}: the exception from {rule} is not needed: remove it"))
            .collect()
    };
    let mut findings = unused(LONG, source::is_long, "the length limit");
    findings.extend(unused(UNCHECKED, source::is_unchecked, "the ban of unsafe code"));
    findings
}
