//! Any bytes as a recording: read to its end or refused. Start it with tests/fixtures/seeds as the corpus.
#![no_main]

use audiorag_audio::SampleReader;
use libfuzzer_sys::fuzz_target;
use std::io::Write as _;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile();
    file.1.write_all(bytes).expect("a temporary file can be written");
    if let Ok(mut reader) = SampleReader::open(&file.0) {
        while let Ok(Some(block)) = reader.next_block() {
            assert!(block.iter().all(|sample| sample.abs() <= 1.0));
        }
    }
});

/// One file for each process, written anew each time.
fn tempfile() -> (std::path::PathBuf, std::fs::File) {
    let path = std::env::temp_dir().join(format!("audiorag-fuzz-{}", std::process::id()));
    let file = std::fs::File::create(&path).expect("a temporary file can be made");
    (path, file)
}
