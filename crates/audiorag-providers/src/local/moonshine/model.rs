//! One copy of the Moonshine model: an encoder and a decoder session.
//!
//! Facts, measured on the quantised tiny-en files and in agreement with the vendor's own Python client
//! (`moonshine_onnx/model.py` of `useful-moonshine-onnx` 20251121): the encoder takes raw samples at 16 kHz;
//! the decoder takes one token at a time, with the keys and values of the tokens before it; masks, where a
//! model declares them, are as long as the audio, not as the encoder's output; the encoder's keys and values
//! are given out at the first step only. Inputs are given by declared name, because the files of the wheel
//! have masks and those of other exports do not.

use super::MoonshineFiles;
use super::vocabulary::Vocabulary;
use crate::local::runtime::{ModelCopy, Runtime, SessionOptions, run_and_release, run_error};
use audiorag_core::model::SAMPLE_RATE;
use audiorag_core::{Error, Result};
use ort::memory::Allocator;
use ort::session::{NoSelectedOutputs, RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef, ValueType};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

const NAME: &str = "Moonshine";
/// The token before the first.
const BEGIN: u32 = 1;
/// The token after the last.
const END: u32 = 2;
/// English is never spoken faster than this; the vendor's runtime stops at the same rate.
const TOKENS_PER_SECOND: f64 = 6.5;
/// So many equal tokens in a row are a loop.
const MAX_REPEATS: usize = 8;

/// A loaded model. Runs one window at a time.
pub(super) struct Model {
    encoder: ModelCopy,
    decoder: ModelCopy,
    /// For the steps of the decoder.
    usual: RunOptions<NoSelectedOutputs>,
    vocabulary: Vocabulary,
    encoder_mask: bool,
    decoder_mask: bool,
    cache: Vec<CacheSlot>,
}

/// One of the decoder's keys or values that are carried from step to step.
struct CacheSlot {
    input: String,
    output: String,
    /// Whether it belongs to the encoder, and so never changes after the first step.
    encoder: bool,
    heads: i64,
    width: i64,
}

impl Model {
    /// Loads both sessions, with one thread each: windows run side by side instead.
    pub(super) fn load(runtime: &Runtime, files: &MoonshineFiles) -> Result<Self> {
        let options = SessionOptions {
            threads: 1,
            optimise: true,
        };
        let encoder = runtime.copy(&files.encoder, options)?;
        let decoder = runtime.copy(&files.decoder, options)?;
        let bytes = std::fs::read(&files.tokenizer).map_err(|error| {
            Error::config(format!(
                "the tokenizer {} cannot be read",
                files.tokenizer.display()
            ))
            .with_cause(error)
            .with_hint("run `audiorag models pull`")
        })?;
        let vocabulary = Vocabulary::parse(bytes)?;
        let cache = cache_slots(&decoder)?;
        let declares =
            |session: &Session, name: &str| session.inputs().iter().any(|input| input.name() == name);
        Ok(Self {
            encoder_mask: declares(&encoder, "attention_mask"),
            decoder_mask: declares(&decoder, "encoder_attention_mask"),
            encoder,
            decoder,
            usual: RunOptions::new().map_err(|error| run_error(NAME, &error))?,
            vocabulary,
            cache,
        })
    }

    /// The text spoken in `samples`, greedily decoded. Stops with a `Cancelled` error once `cancelled` is set.
    pub(super) fn transcribe(&mut self, samples: &[f32], cancelled: &AtomicBool) -> Result<String> {
        let failed = |error: ort::Error| run_error(NAME, &error);
        let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE);
        let limit = (seconds * TOKENS_PER_SECOND).ceil() as usize;
        let mask = Tensor::from_array(([1, samples.len()], vec![1_i64; samples.len()])).map_err(failed)?;

        let hidden = {
            let audio = TensorRef::from_array_view(([1, samples.len()], samples)).map_err(failed)?;
            let mut inputs = vec![(Cow::from("input_values"), SessionInputValue::from(audio))];
            if self.encoder_mask {
                inputs.push((Cow::from("attention_mask"), SessionInputValue::from(&mask)));
            }
            let options = run_and_release().map_err(failed)?;
            let mut outputs = self.encoder.run(inputs, &options).map_err(failed)?;
            outputs
                .remove("last_hidden_state")
                .ok_or_else(|| broken("the encoder gives no last_hidden_state"))?
        };

        let allocator = Allocator::default();
        let mut cache = Vec::with_capacity(self.cache.len());
        for slot in &self.cache {
            let empty = Tensor::<f32>::new(&allocator, [1, slot.heads, 0, slot.width]).map_err(failed)?;
            cache.push(empty.into_dyn());
        }
        let mut tokens: Vec<u32> = Vec::with_capacity(limit);
        let mut last = BEGIN;
        for step in 0..limit {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::cancelled("transcription was cancelled"));
            }
            last = self.step(last, step > 0, &hidden, &mask, &mut cache)?;
            if last == END {
                break;
            }
            tokens.push(last);
            let repeats = tokens.iter().rev().take_while(|token| **token == last).count();
            if repeats >= MAX_REPEATS {
                // The loop says nothing that its first token does not.
                tokens.truncate(tokens.len() + 1 - repeats);
                break;
            }
        }
        Ok(self.vocabulary.decode(&tokens))
    }

    /// Runs the decoder for one token and returns the next.
    fn step(
        &mut self,
        token: u32,
        use_cache: bool,
        hidden: &DynValue,
        mask: &Tensor<i64>,
        cache: &mut [DynValue],
    ) -> Result<u32> {
        let failed = |error: ort::Error| run_error(NAME, &error);
        let ids = Tensor::from_array(([1_usize, 1], vec![i64::from(token)])).map_err(failed)?;
        let branch = Tensor::from_array(([1_usize], vec![use_cache])).map_err(failed)?;
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(4 + cache.len());
        inputs.push((Cow::from("input_ids"), ids.into()));
        inputs.push((Cow::from("encoder_hidden_states"), hidden.into()));
        inputs.push((Cow::from("use_cache_branch"), branch.into()));
        if self.decoder_mask {
            inputs.push((Cow::from("encoder_attention_mask"), mask.into()));
        }
        for (slot, value) in self.cache.iter().zip(cache.iter()) {
            inputs.push((Cow::from(slot.input.as_str()), value.into()));
        }
        let mut outputs = self.decoder.run(inputs, &self.usual).map_err(failed)?;
        let next = {
            let logits = outputs
                .get("logits")
                .ok_or_else(|| broken("the decoder gives no logits"))?;
            let (shape, values) = logits.try_extract_tensor::<f32>().map_err(failed)?;
            let width = shape
                .last()
                .map_or(0, |width| usize::try_from(*width).unwrap_or(0));
            best(
                values
                    .get(values.len().saturating_sub(width)..)
                    .unwrap_or_default(),
            )
            .ok_or_else(|| broken("the decoder gives empty logits"))?
        };
        for (slot, value) in self.cache.iter().zip(cache.iter_mut()) {
            if use_cache && slot.encoder {
                continue;
            }
            // Moves the tensor: the cache is never copied.
            *value = outputs
                .remove(&slot.output)
                .ok_or_else(|| broken(&format!("the decoder gives no {}", slot.output)))?;
        }
        Ok(next)
    }
}

/// What the decoder wants carried over, read from its inputs.
fn cache_slots(decoder: &Session) -> Result<Vec<CacheSlot>> {
    let mut slots = Vec::new();
    for input in decoder.inputs() {
        let Some(rest) = input.name().strip_prefix("past_key_values.") else {
            continue;
        };
        let ValueType::Tensor { shape, .. } = input.dtype() else {
            return Err(broken("the decoder's cache is not made of tensors"));
        };
        let (Some(&heads), Some(&width)) = (shape.get(1), shape.get(3)) else {
            return Err(broken("the decoder's cache does not have four dimensions"));
        };
        if heads < 1 || width < 1 {
            return Err(broken("the decoder does not say how large its cache is"));
        }
        slots.push(CacheSlot {
            input: input.name().to_owned(),
            output: format!("present.{rest}"),
            encoder: rest.contains(".encoder."),
            heads,
            width,
        });
    }
    if slots.is_empty() {
        return Err(broken("the decoder has no cache: it is not a merged export"));
    }
    Ok(slots)
}

/// The position of the largest value.
fn best(values: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (index, value) in values.iter().enumerate() {
        if best.is_none_or(|(_, highest)| *value > highest) {
            best = Some((index, *value));
        }
    }
    best.and_then(|(index, _)| u32::try_from(index).ok())
}

fn broken(what: &str) -> Error {
    Error::config(format!("this is not a Moonshine model: {what}"))
        .with_hint("run `audiorag models verify`, then `audiorag models pull`")
        .with_provider(crate::local::VENDOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_wins() {
        assert_eq!(best(&[0.0, 3.0, 3.0, -1.0]), Some(1));
        assert_eq!(best(&[]), None);
    }
}
