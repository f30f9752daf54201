//! Places where a test can make an index run fail: before and after everything that leaves a mark.
//!
//! Every commit to the database and every call that changes or costs something outside of it is a [`Step`], and
//! each step is two failpoints, `NAME.before` and `NAME.after`. With the feature `failpoints` a test arms them by
//! name through the crate `fail`: `return` fails the step, `panic` panics in it, and a callback can do worse.
//! Without the feature nothing is left of them.

use audiorag_core::Result;
#[cfg(feature = "failpoints")]
use audiorag_core::{Error, ErrorKind};

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)*) => {
        /// What a run can fail around. The list is complete: a failpoint that is not in it does not compile.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// Every step, in the order of a run.
            pub const ALL: &[Self] = &[$(Self::$step,)*];

            /// The name, without `before` or `after`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }

            #[cfg(feature = "failpoints")]
            const fn points(self) -> [&'static str; 2] {
                match self {
                    $(Self::$step => [concat!($name, ".before"), concat!($name, ".after")],)*
                }
            }
        }
    };
}

steps! {
    /// A call: making the vector store ready.
    Prepare = "prepare",
    /// A commit of the embedded vector store's preparation.
    PrepareSpace = "state.prepare_space",
    /// A commit of [`State::save_download`](crate::State::save_download).
    SaveDownload = "state.save_download",
    /// A commit of [`State::add_source`](crate::State::add_source).
    AddSource = "state.add_source",
    /// A commit of [`State::relocate_source`](crate::State::relocate_source).
    RelocateSource = "state.relocate_source",
    /// A commit of [`State::touch_source`](crate::State::touch_source).
    TouchSource = "state.touch_source",
    /// A commit of [`State::claim`](crate::State::claim).
    Claim = "state.claim",
    /// A commit of [`State::renew`](crate::State::renew).
    Renew = "state.renew",
    /// A commit of [`State::update_media`](crate::State::update_media).
    UpdateMedia = "state.update_media",
    /// A commit of [`State::begin_revision`](crate::State::begin_revision).
    BeginRevision = "state.begin_revision",
    /// A commit of [`State::copy_parts`](crate::State::copy_parts).
    CopyParts = "state.copy_parts",
    /// A commit of [`State::set_status`](crate::State::set_status).
    SetStatus = "state.set_status",
    /// A commit of [`State::open_call`](crate::State::open_call).
    OpenCall = "state.open_call",
    /// A call: speech to text.
    Transcribe = "transcribe",
    /// A commit of [`State::save_part_transcript`](crate::State::save_part_transcript).
    SavePartTranscript = "state.save_part_transcript",
    /// A commit of [`State::record_part`](crate::State::record_part).
    RecordPart = "state.record_part",
    /// A commit of [`State::save_chunks`](crate::State::save_chunks).
    SaveChunks = "state.save_chunks",
    /// A call: text to vectors.
    Embed = "embed",
    /// A commit of [`State::save_embeddings`](crate::State::save_embeddings).
    SaveEmbeddings = "state.save_embeddings",
    /// A call: writing records into the vector store.
    Upsert = "upsert",
    /// A commit of the embedded vector store's upsert.
    StoreVectors = "state.store_vectors",
    /// A call: counting what the vector store holds.
    Count = "count",
    /// A commit of [`State::mark_verified`](crate::State::mark_verified).
    MarkVerified = "state.mark_verified",
    /// A commit of [`State::publish_revision`](crate::State::publish_revision).
    Publish = "state.publish",
    /// A commit of [`State::switch_space`](crate::State::switch_space).
    SwitchSpace = "state.switch_space",
    /// A commit of [`State::name_speakers`](crate::State::name_speakers).
    NameSpeakers = "state.name_speakers",
    /// A commit of [`State::save_turn`](crate::State::save_turn).
    SaveTurn = "state.save_turn",
    /// A commit of [`State::delete_thread`](crate::State::delete_thread).
    DeleteThread = "state.delete_thread",
    /// A call: removing records from the vector store.
    Delete = "delete",
    /// A commit of [`State::retire_stray`](crate::State::retire_stray).
    RetireStray = "state.retire_stray",
    /// A commit of [`State::retire_unfinished`](crate::State::retire_unfinished).
    RetireUnfinished = "state.retire_unfinished",
    /// A commit of the embedded vector store's delete.
    DeleteVectors = "state.delete_vectors",
    /// A commit of [`State::finish_retirement`](crate::State::finish_retirement).
    FinishRetirement = "state.finish_retirement",
    /// A commit of [`State::release`](crate::State::release).
    Release = "state.release",
    /// A commit of [`State::retire_abandoned`](crate::State::retire_abandoned).
    RetireAbandoned = "state.retire_abandoned",
    /// A commit of [`State::collect_garbage`](crate::State::collect_garbage).
    CollectGarbage = "state.collect_garbage",
    /// A commit of [`State::clear_cache`](crate::State::clear_cache).
    ClearCache = "state.clear_cache",
    /// A commit of [`State::delete_source`](crate::State::delete_source).
    DeleteSource = "state.delete_source",
    /// A commit of [`State::repair`](crate::State::repair).
    Repair = "state.repair",
    /// A commit of [`State::drop_damaged_embeddings`](crate::State::drop_damaged_embeddings).
    DropDamaged = "state.drop_damaged",
    /// A commit of [`State::lose_calls`](crate::State::lose_calls).
    LoseCalls = "state.lose_calls",
    /// A commit of [`State::settle_call`](crate::State::settle_call).
    SettleCall = "state.settle_call",
}

impl Step {
    /// The step of a call to a provider, if calls of this name can fail a run.
    fn of_call(call: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|step| step.name() == call)
    }

    /// What an armed step fails with: as the database, or as a service that is away.
    #[cfg(feature = "failpoints")]
    fn failure(self, point: &str) -> Error {
        let kind = if self.name().starts_with("state.") {
            ErrorKind::State
        } else {
            ErrorKind::Unavailable
        };
        Error::new(kind, format!("the failpoint {point} is armed")).with_hint("disarm it and run again")
    }
}

/// Every failpoint by name, in the order of a run.
#[cfg(feature = "failpoints")]
pub fn names() -> impl Iterator<Item = &'static str> {
    Step::ALL.iter().flat_map(|step| step.points())
}

/// Does a call to a provider, between its failpoints.
///
/// # Errors
/// Those of `work`, and that of an armed failpoint.
pub async fn call<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(step) = Step::of_call(name) else {
        return work.await;
    };
    before(step)?;
    let answer = work.await?;
    after(step)?;
    Ok(answer)
}

#[cfg(feature = "failpoints")]
pub(crate) fn before(step: Step) -> Result<()> {
    let [point, _] = step.points();
    fail::fail_point!(point, |_| Err(step.failure(point)));
    Ok(())
}

#[cfg(feature = "failpoints")]
pub(crate) fn after(step: Step) -> Result<()> {
    let [_, point] = step.points();
    fail::fail_point!(point, |_| Err(step.failure(point)));
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "it fails when the feature is on")]
pub(crate) const fn before(_: Step) -> Result<()> {
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "it fails when the feature is on")]
pub(crate) const fn after(_: Step) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_calls_are_found_by_theirs() {
        let mut names: Vec<&str> = Step::ALL.iter().map(|step| step.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Step::ALL.len());
        assert_eq!(Step::of_call("transcribe"), Some(Step::Transcribe));
        assert_eq!(Step::of_call("rerank"), None);
    }
}
