//! Decodes a recording to a mono 16 kHz WAV file: `cargo run -p xtask --example decode -- FROM TO`.
//!
//! The benchmarks make their long recordings of what this writes. It is an example, and not a part of xtask, because
//! xtask is built before everything else and should not wait for decoders.

use anyhow::{Context, Result, bail};
use audiorag_audio::SampleReader;
use std::io::Write;
use std::path::Path;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        bail!("usage: decode FROM TO");
    };
    let mut reader = SampleReader::open(Path::new(from))?;
    let mut data = Vec::new();
    while let Some(block) = reader.next_block()? {
        for sample in block {
            let scaled = (sample * f32::from(i16::MAX)).round() as i16;
            data.extend_from_slice(&scaled.to_le_bytes());
        }
    }
    let bytes = u32::try_from(data.len()).context("the recording is too long for a WAV file")?;
    let mut file = std::fs::File::create(to)?;
    file.write_all(b"RIFF")?;
    file.write_all(&(bytes + 36).to_le_bytes())?;
    file.write_all(b"WAVEfmt \x10\0\0\0\x01\0\x01\0")?;
    file.write_all(&16_000_u32.to_le_bytes())?;
    file.write_all(&32_000_u32.to_le_bytes())?;
    file.write_all(b"\x02\0\x10\0data")?;
    file.write_all(&bytes.to_le_bytes())?;
    file.write_all(&data)?;
    Ok(())
}
