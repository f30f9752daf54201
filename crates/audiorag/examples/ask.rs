//! Index recordings and ask about them, with the models on this machine.
//!
//! `cargo run -p audiorag --features local --example ask -- "QUESTION" RECORDING...`
#![expect(clippy::print_stdout, reason = "an example that shows what it found")]

use audiorag::index::{IndexOptions, Input};
use audiorag::query::QueryOptions;
use audiorag::settings::{Settings, Sources};
use audiorag::{AudioRag, CancellationToken, Error, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let question = arguments.next().and_then(|question| question.into_string().ok());
    let question = question.ok_or_else(|| Error::input("the first argument is the question"))?;
    let settings = Settings::resolve(&Sources::from_process()?)?.settings;
    let audiorag = AudioRag::open(settings).await?;
    let inputs = arguments.map(|argument| Input::parse(&argument)).collect();
    let report = audiorag
        .index(inputs, IndexOptions::default(), &(), CancellationToken::new())
        .await?;
    println!(
        "{} new, {} known, {} failed",
        report.indexed.len(),
        report.skipped.len(),
        report.failed.len()
    );
    let reply = audiorag.query(&question, QueryOptions::default()).await?;
    println!("{}", reply.answer.text);
    for citation in &reply.answer.citations {
        println!(
            "[{}] {} {} {}",
            citation.marker, citation.title, citation.span, citation.link
        );
    }
    Ok(())
}
