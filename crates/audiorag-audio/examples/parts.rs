//! Prints how a recording is split: `cargo run -p audiorag-audio --example parts -- FILE [PREFERRED MAX]`.
#![expect(clippy::print_stdout, reason = "an example prints")]

use audiorag_audio::{PartReader, SplitSettings};
use audiorag_core::{MediaTime, Result};
use std::path::Path;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().unwrap_or_default();
    let mut seconds = |default| {
        let given = arguments.next().and_then(|text| text.to_str()?.parse().ok());
        MediaTime::from_seconds(given.unwrap_or(default))
    };
    let settings = SplitSettings::new(seconds(60), seconds(120));
    let mut reader = PartReader::open(Path::new(&path), settings)?;
    println!("{:?}", reader.media());
    while let Some(part) = reader.next().transpose()? {
        println!("part {} {}", part.index, part.span);
        for span in part.speech {
            println!(
                "  {:9.3} {:9.3}",
                span.start().as_seconds_f64(),
                span.end().as_seconds_f64()
            );
        }
    }
    println!("{:?} {:?}", reader.duration(), reader.warnings());
    Ok(())
}
