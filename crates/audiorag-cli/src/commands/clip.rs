//! `audiorag clip`.

use super::piece;
use crate::args::Clip;
use crate::context::Context;
use crate::exit::ExitStatus;
use audiorag::core::Result;
use serde_json::json;

pub(super) async fn run(context: &Context, args: &Clip) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let (source, span) = piece::find(context, &audiorag, &args.piece, "clip -o quote.wav").await?;
    let output = context.cwd.join(&args.output);
    let span = audiorag.clip(&source, span, &output, args.force).await?;
    if context.printer.is_json() {
        context.printer.json(&json!({
            "source_id": source.id.as_str(),
            "start": span.start().as_seconds_f64(),
            "end": span.end().as_seconds_f64(),
            "file": output.display().to_string(),
        }))?;
    } else {
        context.printer.note(format_args!(
            "wrote {} of '{}' to {}",
            span,
            source.title,
            output.display()
        ));
    }
    Ok(ExitStatus::Success)
}
