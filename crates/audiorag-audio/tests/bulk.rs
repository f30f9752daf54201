//! Pictures and other bulk in tags: they cost no memory, whatever their size, and what hides them costs nothing else.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use audiorag_audio::{SampleReader, probe};
use audiorag_core::ErrorKind;
use peak_alloc::PeakAlloc;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Of every picture here. Files are sparse: nothing of it is on the disk.
const BULK: u64 = 200 << 20;
/// The most memory for reading a recording with it; decoders and the resampler have their share.
const MOST_MEGABYTES: f32 = 40.0;

fn seed(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/seeds");
    std::fs::read(path.join(name)).unwrap()
}

/// A file of pieces, each followed by so many zero bytes.
fn sparse(name: &str, pieces: &[(&[u8], u64)]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let mut file = File::create(&path).unwrap();
    for (bytes, zeros) in pieces {
        file.write_all(bytes).unwrap();
        let place = file
            .seek(SeekFrom::Current(i64::try_from(*zeros).unwrap()))
            .unwrap();
        file.set_len(place).unwrap();
    }
    (directory, path)
}

/// Reads all of it, and returns its title and how many samples it has.
fn read(path: &Path) -> audiorag_core::Result<(Option<String>, u64)> {
    let mut reader = SampleReader::open(path)?;
    while reader.next_block()?.is_some() {}
    Ok((reader.media().title.clone(), reader.position()))
}

/// The recording with bulk is read as it is without, in little memory.
fn check(path: &Path, plain: &Path, title: Option<&str>) {
    let (_, wanted) = read(plain).unwrap();
    MEMORY.reset_peak_usage();
    let found = read(path).unwrap();
    let peak = MEMORY.peak_usage_as_mb();
    assert!(peak < MOST_MEGABYTES, "{}: {peak} MB", path.display());
    assert_eq!(found, (title.map(str::to_owned), wanted), "{}", path.display());
}

fn plain(name: &str) -> (TempDir, PathBuf) {
    sparse(name, &[(&seed(name), 0)])
}

/// Seven bits of each byte.
fn syncsafe(size: u64) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

fn frame(major: u8, id: &[u8], size: u64) -> Vec<u8> {
    let number = match major {
        2 => (size as u32).to_be_bytes()[1..].to_vec(),
        3 => (size as u32).to_be_bytes().to_vec(),
        _ => syncsafe(size).to_vec(),
    };
    let flags: &[u8] = if major == 2 { &[] } else { &[0, 0] };
    [id, &number, flags].concat()
}

fn id3(major: u8, flags: u8, size: u64) -> Vec<u8> {
    [&b"ID3"[..], &[major, 0, flags], &syncsafe(size)].concat()
}

// One test, because memory is that of the whole process.
#[test]
fn bulk_in_tags_costs_no_memory() {
    // MP3 with a picture in front of the title, in each version of the tag.
    let sound = seed("a.mp3");
    let (_kept, without) = plain("a.mp3");
    // Its own tag has 51 bytes.
    assert_eq!(sound[..10], *b"ID3\x04\0\0\0\0\0\x33");
    let sound = sound[61..].to_vec();
    for major in [3, 4] {
        let picture = frame(major, b"APIC", BULK);
        let title = [frame(major, b"TIT2", 4), b"\x03Big".to_vec()].concat();
        let whole = (picture.len() + title.len()) as u64 + BULK;
        let head = [id3(major, 0, whole), picture].concat();
        let rest = [title, sound.clone()].concat();
        let (_kept, path) = sparse("picture.mp3", &[(&head, BULK), (&rest, 0)]);
        check(&path, &without, Some("Big"));
    }
    // In version 2.2 a frame has 16 MB at most, and none can be passed over: the tag ends at the first that is large.
    let size = 15 << 20;
    let title = [frame(2, b"TT2", 4), b"\0Old".to_vec()].concat();
    let picture = frame(2, b"PIC", size);
    let whole = title.len() as u64 + 13 * (picture.len() as u64 + size);
    let head = [id3(2, 0, whole), title, picture.clone()].concat();
    let mut pieces = vec![(head.as_slice(), size)];
    pieces.extend((0..12).map(|_| (picture.as_slice(), size)));
    pieces.push((&sound, 0));
    let (_kept, path) = sparse("old.mp3", &pieces);
    check(&path, &without, Some("Old"));
    // With stuffed bytes no frame is looked at.
    let head = [id3(3, 0x80, BULK + 10), frame(3, b"APIC", BULK)].concat();
    let (_kept, path) = sparse("stuffed.mp3", &[(&head, BULK), (&sound, 0)]);
    check(&path, &without, None);

    // FLAC: a block has 16 MB at most, so there are many.
    let sound = seed("a.flac");
    let (_kept, without) = plain("a.flac");
    let title = read(&without).unwrap().0;
    let size = 16_000_000_u64;
    let block = [&[6][..], &(size as u32).to_be_bytes()[1..]].concat();
    let (info, rest) = sound.split_at(42);
    let info = [&info[..4], &[info[4] & 0x7f], &info[5..]].concat();
    let mut pieces: Vec<(&[u8], u64)> = vec![(&info, 0)];
    pieces.extend((0..13).map(|_| (block.as_slice(), size)));
    pieces.push((rest, 0));
    let (_kept, path) = sparse("pictures.flac", &pieces);
    check(&path, &without, title.as_deref());

    // MP4: a list of tags of its own, at the end, which Symphonia reads as well.
    let sound = seed("aac.m4a");
    let (_kept, without) = plain("aac.m4a");
    let title = read(&without).unwrap().0;
    let of = |kind: &[u8], size: u64| [&(size as u32).to_be_bytes()[..], kind].concat();
    let data = [of(b"data", BULK + 16), vec![0, 0, 0, 13, 0, 0, 0, 0]].concat();
    let cover = [of(b"covr", BULK + 24), data].concat();
    let list = [of(b"ilst", BULK + 32), cover].concat();
    let meta = [of(b"meta", BULK + 44), vec![0; 4], list].concat();
    let (file_type, rest) = sound.split_at(u32::from_be_bytes(*sound.first_chunk().unwrap()) as usize);
    let (movie, media) = match rest.windows(4).position(|kind| kind == b"moov") {
        Some(4) => rest.split_at(u32::from_be_bytes(*rest.first_chunk().unwrap()) as usize),
        _ => (&rest[..0], rest),
    };
    assert!(
        movie.is_empty(),
        "the seed has its index at the end, so that offsets stay"
    );
    let (_kept, path) = sparse("cover.m4a", &[(file_type, 0), (media, 0), (&meta, BULK)]);
    check(&path, &without, title.as_deref());

    // Matroska: an attachment, in front of the clusters, in a segment that is left open.
    let sound = seed("opus.webm");
    let (_kept, without) = plain("opus.webm");
    let title = read(&without).unwrap().0;
    let head = sound
        .windows(4)
        .position(|id| id == [0x18, 0x53, 0x80, 0x67])
        .unwrap();
    let (before, segment) = sound.split_at(head);
    let cluster = segment
        .windows(4)
        .position(|id| id == [0x1f, 0x43, 0xb6, 0x75])
        .unwrap();
    // The size of the segment takes as many bytes as its first says.
    let width = segment[4].leading_zeros() as usize + 1;
    let open = [&segment[..4], &[1, 255, 255, 255, 255, 255, 255, 255]].concat();
    let size = |bytes: u64| (1 << 56 | bytes).to_be_bytes().to_vec();
    let data = [vec![0x46, 0x5c], size(BULK)].concat();
    let about = [
        &[
            0x46, 0x6e, 0x81, b'a', 0x46, 0x60, 0x81, b'b', 0x46, 0xae, 0x81, 1,
        ][..],
        &data,
    ]
    .concat();
    let one = [vec![0x61, 0xa7], size(BULK + about.len() as u64), about].concat();
    let all = [vec![0x19, 0x41, 0xa4, 0x69], size(BULK + one.len() as u64), one].concat();
    let mut between = segment[4 + width..cluster].to_vec();
    // The list of places would be wrong.
    let list = between
        .windows(4)
        .position(|id| id == [0x11, 0x4d, 0x9b, 0x74])
        .unwrap();
    let size = between[list + 4] & 0x7f;
    between[list..list + 5].copy_from_slice(&[0xec, 0x10, 0, 0, size]);
    let start = [before, &open, &between, &all].concat();
    let (_kept, path) = sparse("attachment.webm", &[(&start, BULK), (&segment[cluster..], 0)]);
    check(&path, &without, title.as_deref());

    // WAV and AIFF: chunks of any kind.
    for (name, kind, number) in [
        ("s16.wav", b"LIST", (BULK as u32).to_le_bytes()),
        ("s16.aiff", b"ANNO", (BULK as u32).to_be_bytes()),
    ] {
        let sound = seed(name);
        let (_kept, without) = plain(name);
        let title = read(&without).unwrap().0;
        let whole = sound.len() as u64 + BULK;
        let whole = if kind == b"LIST" {
            (whole as u32).to_le_bytes()
        } else {
            (whole as u32).to_be_bytes()
        };
        let head = [&sound[..4], &whole, &sound[8..12], kind, &number].concat();
        let (_kept, path) = sparse(name, &[(&head, BULK), (&sound[12..], 0)]);
        check(&path, &without, title.as_deref());
    }

    // Where nobody looks for a tag, what Symphonia reads of it is bounded.
    let picture = frame(4, b"APIC", BULK);
    let head = [b"-".to_vec(), id3(4, 0, BULK + 10), picture].concat();
    let (_kept, path) = sparse("junk.mp3", &[(&head, BULK), (&seed("a.mp3"), 0)]);
    MEMORY.reset_peak_usage();
    if let Err(error) = probe(&path) {
        assert_eq!(error.kind(), ErrorKind::Input, "{error}");
        assert!(error.hint().is_some());
    }
    let peak = MEMORY.peak_usage_as_mb();
    assert!(peak < 420.0, "{peak} MB");
}
