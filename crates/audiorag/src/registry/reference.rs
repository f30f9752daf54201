//! The page about vendors, made from their own table and from the limits that each of them declares.

use crate::settings::Key;
use audiorag_core::capability::{
    EmbedderLimits, GeneratorLimits, PromptLimit, StoreLimits, TranscriberLimits,
};
use audiorag_core::{Result, Secret};
use audiorag_providers::http::{HttpClient, HttpSettings};
use audiorag_providers::vendors::{self, Capability, Model, SettingKind, Unit, Vendor, VendorContext};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const HEAD: &str = "\
# Vendors

<!-- Made from the table in crates/audiorag-providers/src/vendors/mod.rs; a test compares. -->

Every stage is moved to a vendor with one line: `AUDIORAG_STT_PROVIDER`, `AUDIORAG_EMBEDDING_PROVIDER`,
`AUDIORAG_VECTOR_STORE_PROVIDER`, `AUDIORAG_RERANKER_PROVIDER` or `AUDIORAG_GENERATION_PROVIDER`, or the same in
`audiorag.toml`. The program has all of them; a crate that depends on `audiorag` switches on the features it needs,
each named like its vendor. `audiorag doctor` reaches everything that is configured and says what is wrong.

Models are configuration: the first of each list is the default, and any other name is passed on as it is unless the
list says that it is all there is. Facts about models were read in the vendors' own documentation and SDKs, whose
addresses the source files name; none of this was tried against a live service.
";

/// `docs/providers.md`.
///
/// # Errors
/// When a vendor cannot be made from its defaults and stand-ins for its credentials.
pub fn vendors_markdown() -> Result<String> {
    let mut page = HEAD.to_owned();
    page.push_str("\n| vendor | speech to text | embeddings | vector store | reranking | answers |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for vendor in vendors::VENDORS {
        let _ = write!(page, "| [{0}](#{0}) |", vendor.id);
        for capability in Capability::ALL {
            page.push_str(if vendor.models(capability).is_some() {
                " yes |"
            } else {
                " |"
            });
        }
        page.push('\n');
    }
    for vendor in vendors::VENDORS {
        section(&mut page, vendor)?;
    }
    Ok(page)
}

fn section(page: &mut String, vendor: &Vendor) -> Result<()> {
    let _ = write!(page, "\n## {}\n\n{}.", vendor.id, capitalised(vendor.about));
    if !vendor.docs.is_empty() {
        let _ = write!(page, " Documentation: <{}>.", vendor.docs);
    }
    let _ = writeln!(page, " Feature: `{}`.", vendor.id);
    for capability in vendor.capabilities() {
        let (models, closed) = vendor.models(capability).unwrap_or_default();
        let _ = writeln!(page, "\n### {}: {}\n", vendor.id, in_words(capability));
        if let Some(limits) = limits(vendor, capability)? {
            let _ = writeln!(page, "{limits}.\n");
        }
        for model in models {
            let _ = writeln!(page, "- {}", describe(model));
        }
        if !models.is_empty() {
            let more = if closed {
                "There are no others."
            } else {
                "Other names are passed on."
            };
            let _ = writeln!(page, "\n{more}\n");
        }
        page.push_str(&sample(vendor, capability));
    }
    if !vendor.settings.is_empty() {
        page.push_str("\n| setting | environment | default | meaning |\n|---|---|---|---|\n");
        for key in Key::all().filter(|key| key.spec().path.starts_with(&format!("{}.", vendor.id))) {
            let spec = key.spec();
            let names: Vec<String> = spec.env_names().map(|name| format!("`{name}`")).collect();
            let default = vendor
                .settings
                .iter()
                .find(|row| row.path == spec.path)
                .and_then(|row| row.default)
                .map_or("none".to_owned(), |default| format!("`{default}`"));
            let _ = writeln!(
                page,
                "| `{}` | {} | {default} | {} |",
                spec.path,
                names.join(", "),
                spec.doc.replace('|', "\\|")
            );
        }
    }
    Ok(())
}

/// The file that configures a vendor for a role.
fn sample(vendor: &Vendor, capability: Capability) -> String {
    let mut sample = format!("```toml\n[{}]\nprovider = \"{}\"\n", table(capability), vendor.id);
    let needed: Vec<_> = vendor
        .settings
        .iter()
        .filter(|row| row.kind == SettingKind::Secret)
        .collect();
    if !needed.is_empty() {
        let _ = write!(sample, "\n[{}]\n", vendor.id);
        for row in needed {
            let name = row.path.split_once('.').map_or(row.path, |(_, name)| name);
            let variable = row.aliases.first().copied().unwrap_or_default();
            let _ = writeln!(sample, "{name} = \"...\" # better: the environment's {variable}");
        }
    }
    sample.push_str("```\n");
    sample
}

fn describe(model: &Model) -> String {
    let mut text = format!("`{}`: {}", model.id, model.about);
    if let Some(price) = model.price {
        let unit = match price.unit {
            Unit::AudioMinute => "a minute of audio",
            Unit::MillionTokens => "a million tokens read",
        };
        let _ = write!(text, "; {} USD for {unit}", (price.usd * 1e5).round() / 1e5);
        if let Some(writing) = model.writing {
            let _ = write!(text, ", {writing} USD for a million written");
        }
        let _ = write!(text, " ({}, {})", price.checked, price.source);
    }
    if let Some(day) = model.retires {
        let _ = write!(text, "; **switched off on {day}**");
    }
    text
}

/// What a vendor's default model accepts and returns; `None` for models in the process.
fn limits(vendor: &Vendor, capability: Capability) -> Result<Option<String>> {
    let http = HttpClient::new(&HttpSettings::default())?;
    let mut values = BTreeMap::new();
    let mut secrets = BTreeMap::new();
    for row in vendor.settings {
        match (row.kind, row.default) {
            (SettingKind::Secret, _) => {
                // An address among the secrets is that of a database.
                let stand_in = if row.path.ends_with("url") {
                    "postgres://localhost/x"
                } else {
                    "stand-in"
                };
                secrets.insert(row.path, Secret::new(stand_in));
            }
            (_, Some(default)) => _ = values.insert(row.path, default.to_owned()),
            (SettingKind::Url, None) => _ = values.insert(row.path, "http://localhost".to_owned()),
            (_, None) => {}
        }
    }
    let context = VendorContext {
        values: &values,
        secrets: &secrets,
        model: None,
        dimensions: None,
        notes: None,
        http: &http,
    };
    let text = match capability {
        Capability::Transcribe => match vendor.transcribe.and_then(|offer| offer.build) {
            Some(build) => Some(of_transcriber(&build(&context)?.limits())),
            None => None,
        },
        Capability::Embed => match vendor.embed.and_then(|offer| offer.build) {
            Some(build) => {
                let embedder = build(&context)?;
                Some(of_embedder(embedder.limits(), embedder.space().dimensions))
            }
            None => None,
        },
        Capability::Store => match vendor.store.and_then(|offer| offer.build) {
            Some(build) => Some(of_store(build(&context)?.limits())),
            None => None,
        },
        Capability::Rerank => match vendor.rerank.and_then(|offer| offer.build) {
            Some(build) => Some(format!(
                "Up to {} documents a call",
                build(&context)?.max_documents()
            )),
            None => None,
        },
        Capability::Generate => match vendor.generate.and_then(|offer| offer.build) {
            Some(build) => Some(of_generator(build(&context)?.limits())),
            None => None,
        },
    };
    Ok(text)
}

fn of_transcriber(limits: &TranscriberLimits) -> String {
    let yes = |there: bool, what: &'static str| there.then_some(what);
    let returned: Vec<&str> = [
        yes(limits.segment_times, "times of segments"),
        yes(limits.word_times, "times of words"),
        yes(limits.speakers, "speakers"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let returned = if returned.is_empty() {
        "text only: times are estimated inside detected speech".to_owned()
    } else {
        returned.join(", ")
    };
    let bytes = limits
        .max_bytes
        .map(|bytes| format!(" and {} MB", bytes / 1_000_000))
        .unwrap_or_default();
    let languages = if limits.languages.is_empty() {
        "many languages".to_owned()
    } else {
        format!("languages {}", limits.languages.join(", "))
    };
    let prompt = match limits.prompt {
        PromptLimit::NotTaken => "takes no prompt".to_owned(),
        PromptLimit::Text { max_bytes: None } => "takes a prompt".to_owned(),
        PromptLimit::Text {
            max_bytes: Some(bytes),
        } => format!("takes a prompt of up to {bytes} bytes"),
        PromptLimit::Terms { max_terms } => {
            format!("takes a prompt as up to {max_terms} terms, separated by commas")
        }
    };
    format!(
        "The default model returns {returned}; it {prompt}; parts of {} are sent, at most {}{bytes}; {languages}",
        limits.preferred_part, limits.max_part
    )
}

fn of_embedder(limits: EmbedderLimits, dimensions: usize) -> String {
    let tokens = limits
        .max_batch_tokens
        .map(|tokens| format!(" and {tokens} tokens"))
        .unwrap_or_default();
    format!(
        "The default model gives {dimensions} dimensions; up to {} texts{tokens} a call, {} tokens a text",
        limits.max_batch, limits.max_input_tokens
    )
}

fn of_store(limits: StoreLimits) -> String {
    let bytes = limits
        .max_batch_bytes
        .map(|bytes| format!(" and {bytes} bytes"))
        .unwrap_or_default();
    let visible = if limits.read_your_writes {
        "what is written is found at once"
    } else {
        "what is written is found after a while, so verification waits"
    };
    format!(
        "Up to {} records{bytes} a write, {} neighbours an answer; {visible}",
        limits.max_batch, limits.max_top_k
    )
}

fn of_generator(limits: GeneratorLimits) -> String {
    format!(
        "The default model reads and writes {} tokens, of which at most {} are the answer's",
        limits.context_tokens, limits.max_output_tokens
    )
}

const fn table(capability: Capability) -> &'static str {
    match capability {
        Capability::Transcribe => "stt",
        Capability::Embed => "embedding",
        Capability::Store => "vector_store",
        Capability::Rerank => "reranker",
        Capability::Generate => "generation",
    }
}

const fn in_words(capability: Capability) -> &'static str {
    match capability {
        Capability::Transcribe => "speech to text",
        Capability::Embed => "embeddings",
        Capability::Store => "vector store",
        Capability::Rerank => "reranking",
        Capability::Generate => "answers",
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Compared where every vendor is part of the build.
#[cfg(all(test, feature = "vendors", feature = "local"))]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_page_is_up_to_date() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers.md");
        let found = std::fs::read_to_string(file).unwrap();
        assert!(
            found == vendors_markdown().unwrap(),
            "docs/providers.md is out of date: run cargo xtask bless"
        );
    }
}
