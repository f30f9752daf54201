//! `audiorag db`.

use crate::args::Db;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::Style;
use audiorag::core::{Error, Result};
use audiorag::state;

pub(super) async fn run(context: &Context, action: Db) -> Result<ExitStatus> {
    let printer = &context.printer;
    let options = context.state_options();
    let status = match action {
        Db::Status => state::schema_status(&options).await?,
        Db::Migrate => state::migrate(&options).await?,
        Db::Rollback { steps } => {
            if !context.yes {
                let question = format!(
                    "Undo the newest {steps} of the schema changes of {}? What they added is lost; a copy is kept.",
                    options.path.display()
                );
                if !printer.can_ask() {
                    return Err(Error::input("nobody can be asked whether to undo schema changes")
                        .with_hint("add --yes"));
                }
                if !printer.confirm(&question)? {
                    printer.note("nothing was changed");
                    return Ok(ExitStatus::Success);
                }
            }
            state::rollback(&options, steps).await?
        }
    };
    if printer.is_json() {
        printer.json(&json::schema(&options.path, &status))?;
        return Ok(ExitStatus::Success);
    }
    let missing = if options.path.exists() {
        ""
    } else {
        " (does not exist yet)"
    };
    printer.line(format_args!("{}{missing}", options.path.display()))?;
    for step in &status.steps {
        let (style, word) = if step.applied {
            (Style::Good, "applied")
        } else {
            (Style::Careful, "pending")
        };
        printer.line(format_args!("{}  {}", printer.paint(style, word), step.name))?;
    }
    Ok(ExitStatus::Success)
}
