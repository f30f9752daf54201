//! The environment variables these tasks read, in one place.

use std::path::PathBuf;

/// The value of a variable that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "xtask has no settings: this is its one reader of the environment"
)]
fn read(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The cargo that runs this program, so that nested calls use the same toolchain.
pub(crate) fn cargo() -> PathBuf {
    read("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The folder of this package, which cargo says when it runs it.
pub(crate) fn manifest_dir() -> PathBuf {
    read("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Whether a program of this name is on the path.
pub(crate) fn has_program(name: &str) -> bool {
    read("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// The programs, with commas between them, that tests are to do without: those that need them are skipped.
pub(crate) fn tests_without() -> String {
    read("AUDIORAG_TEST_WITHOUT").map_or_else(String::new, |names| names.to_string_lossy().into_owned())
}

/// Variables that cargo sets for the program it runs. A nested cargo must not see them: build scripts that
/// watch them would run again each time the caller changes.
#[expect(clippy::disallowed_methods, reason = "these are passed over, not read")]
pub(crate) fn set_by_cargo() -> Vec<std::ffi::OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        })
        .collect()
}
