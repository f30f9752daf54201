//! Writes a recording as raw 32-bit float samples, mono at 16 kHz, to standard output:
//! `cargo run --release -p audiorag-audio --example samples -- FILE > samples.f32`.
//!
//! The same as `ffmpeg -i FILE -ac 1 -ar 16000 -f f32le -`, which `cargo xtask bench decode` compares it with.

use audiorag_audio::SampleReader;
use std::io::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("which file?")?;
    let mut reader = SampleReader::open(Path::new(&path))?;
    let mut out = std::io::stdout().lock();
    let mut bytes = Vec::new();
    while let Some(block) = reader.next_block()? {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|sample| sample.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    out.flush()?;
    let warnings = reader.warnings().join("; ");
    if !warnings.is_empty() {
        writeln!(std::io::stderr(), "{warnings}")?;
    }
    Ok(())
}
