//! Damage of every kind must cost records at the end, never a wrong one, and never the file's use.

use super::*;
use tempfile::TempDir;

const DIMENSIONS: usize = 6;
const STRIDE: usize = record::size(DIMENSIONS);

fn identity() -> Identity {
    Identity {
        dimensions: DIMENSIONS,
        space: 3,
        epoch: "0123456789abcdef0123456789abcdef".into(),
    }
}

fn rows(ids: std::ops::Range<i64>) -> Vec<(i64, Vec<f32>)> {
    ids.map(|id| {
        (
            id,
            (0..DIMENSIONS)
                .map(|place| ((id * 7 + place as i64) as f32).sin())
                .collect(),
        )
    })
    .collect()
}

fn with(ids: std::ops::Range<i64>) -> (TempDir, PathBuf, SideFile) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vectors");
    let mut file = SideFile::create(&path, identity()).unwrap();
    file.append(&rows(ids)).unwrap();
    (directory, path, file)
}

fn reopen(path: &Path) -> SideFile {
    SideFile::open(path, &identity(), true).unwrap().unwrap()
}

/// The file's valid records are those of `ids`.
fn assert_holds(file: &SideFile, ids: std::ops::Range<i64>) {
    let mut expected = Vec::new();
    for (id, vector) in rows(ids.clone()) {
        record::write(&mut expected, id, &vector);
    }
    assert_eq!(file.count(), (ids.end - ids.start) as u64);
    assert_eq!(file.map().unwrap().bytes(), expected);
}

#[test]
fn records_survive_reopening() {
    let (_directory, path, file) = with(1..20);
    assert_holds(&file, 1..20);
    let again = reopen(&path);
    assert_holds(&again, 1..20);
    assert_eq!(again.last_id(), 19);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_file_cut_anywhere_loses_only_what_was_cut() {
    let (_directory, path, _) = with(1..5);
    let whole = std::fs::read(&path).unwrap();
    for length in HEADER + 2 * STRIDE..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut file = reopen(&path);
        let kept = ((length - HEADER) / STRIDE) as i64;
        assert_holds(&file, 1..kept + 1);
        // Writing goes on behind the last whole record.
        file.append(&rows(kept + 1..5)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {length}");
    }
}

#[test]
fn a_changed_byte_ends_the_valid_run_there() {
    let (_directory, path, _) = with(1..5);
    let whole = std::fs::read(&path).unwrap();
    for place in HEADER..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let mut file = reopen(&path);
        let kept = ((place - HEADER) / STRIDE) as i64;
        assert_holds(&file, 1..kept + 1);
        file.append(&rows(kept + 1..5)).unwrap();
        assert_holds(&reopen(&path), 1..5);
    }
}

#[test]
fn ids_that_do_not_rise_end_the_valid_run() {
    let (_directory, path, mut file) = with(5..8);
    file.append(&rows(2..4)).unwrap();
    assert_holds(&reopen(&path), 5..8);
}

#[test]
fn a_header_of_anything_else_is_not_opened() {
    let (_directory, path, _) = with(1..3);
    let other = |identity: Identity| SideFile::open(&path, &identity, false).unwrap().is_none();
    assert!(other(Identity {
        dimensions: 7,
        ..identity()
    }));
    assert!(other(Identity {
        space: 4,
        ..identity()
    }));
    assert!(other(Identity {
        epoch: "f".repeat(32),
        ..identity()
    }));
    let whole = std::fs::read(&path).unwrap();
    for place in 0..HEADER_BODY + 4 {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(
            SideFile::open(&path, &identity(), true).unwrap().is_none(),
            "byte {place}"
        );
    }
    for length in [0, 1, HEADER - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(SideFile::open(&path, &identity(), true).unwrap().is_none());
    }
    std::fs::remove_file(&path).unwrap();
    assert!(SideFile::open(&path, &identity(), true).unwrap().is_none());
}

#[test]
fn sealed_records_are_not_checked_again_and_never_more_than_there_are() {
    let (_directory, path, mut file) = with(1..5);
    file.seal().unwrap();
    file.append(&rows(5..7)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // A flipped component in the sealed part is taken as it is: scores come from the database.
    let mut bytes = whole.clone();
    bytes[HEADER + 12] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(reopen(&path).count(), 6);
    // The sealed part was cut: what is left counts.
    std::fs::write(&path, &whole[..HEADER + 3 * STRIDE + 5]).unwrap();
    assert_holds(&reopen(&path), 1..4);
}

#[test]
fn long_appends_seal_themselves() {
    let (_directory, path, mut file) = with(1..2);
    file.append(&rows(2..SEAL_EVERY as i64 + 10)).unwrap();
    assert_eq!(reopen(&path).trusted, SEAL_EVERY + 9);
}

#[test]
fn one_sees_what_another_appends() {
    let (_directory, path, mut writer) = with(1..3);
    let mut reader = SideFile::open(&path, &identity(), false).unwrap().unwrap();
    assert!(reader.read_new().unwrap().is_empty());
    let appended = writer.append(&rows(3..9)).unwrap();
    assert_eq!(reader.read_new().unwrap(), appended);
    assert_holds(&reader, 1..9);
}

#[test]
fn a_replaced_file_is_noticed() {
    let (directory, path, file) = with(1..3);
    assert!(file.is_current());
    let map = file.map().unwrap();
    let before = map.bytes().to_vec();
    let mut replacement = SideFile::create(&directory.path().join("new"), identity()).unwrap();
    replacement.append(&rows(2..3)).unwrap();
    replacement.rename(&path).unwrap();
    assert!(!file.is_current() && replacement.is_current());
    assert_eq!(map.bytes(), before);
    assert_holds(&reopen(&path), 2..3);
    std::fs::remove_file(&path).unwrap();
    assert!(!replacement.is_current());
}
