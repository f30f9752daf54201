//! Operations and who performs them.

use audiorag_core::id::OperationId;
use audiorag_core::{Error, Result};
use audiorag_state::{Owner, State};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;

/// A new operation id. Ids made later sort later (UUID version 7, RFC 9562).
pub fn new_operation_id() -> OperationId {
    OperationId::from_stored(uuid::Uuid::now_v7().simple().to_string())
}

/// Turns a panic in `work` into an error, so that it ends what panicked and nothing else.
///
/// What `work` holds is dropped, and what it shares with others is either the database, which rolls back, or
/// behind locks that do not mind.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    // On the heap: a run is a large future, and each layer around it would copy it on the stack.
    let work = AssertUnwindSafe(Box::pin(work));
    work.catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(Error::internal(format!("the program panicked: {said}")).with_hint(
            "this is a bug in AudioRAG: please report it; running the same command again goes on where it stopped",
        ))
    })
}

/// A word nobody can have spoken into a recording beforehand.
pub(crate) fn random_delimiter() -> String {
    let mut word = uuid::Uuid::new_v4().simple().to_string();
    word.truncate(12);
    format!("q{word}")
}

/// This process, as it signs the sources it works on.
pub fn this_process() -> Owner {
    let pid = std::process::id();
    Owner {
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        pid,
        started_at: started_at(pid).unwrap_or_default(),
    }
}

/// Whether an owner may still be at work.
///
/// One on another host is given the benefit of the doubt: its lease decides. One on this host is alive when a
/// process of its number exists and, where the system tells, began when the owner says it did, so that a
/// recycled process number does not keep a dead owner's claim alive.
pub fn may_be_alive(owner: &Owner) -> bool {
    if owner.host != gethostname::gethostname().to_string_lossy() {
        return true;
    }
    let Some(pid) = i32::try_from(owner.pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    else {
        return false;
    };
    match rustix::process::test_kill_process(pid) {
        Ok(()) => started_at(owner.pid).is_none_or(|started| started == owner.started_at),
        // It exists and belongs to someone else.
        Err(error) => error == rustix::io::Errno::PERM,
    }
}

/// Closes the calls that dead processes left open, so that nothing stays reserved without an owner.
///
/// # Errors
/// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
pub(crate) async fn close_calls_of_the_dead(state: &State) -> Result<()> {
    let lost = state.lose_calls(&may_be_alive).await?;
    if lost > 0 {
        tracing::warn!(
            lost,
            "calls of a process that ended were open: whether they were billed is unknown, and they count as if"
        );
    }
    Ok(())
}

/// When a process began, in clock ticks since boot, as `/proc/PID/stat` says (field 22, proc(5)). `None` where
/// there is no such file.
fn started_at(pid: u32) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything: count from its end.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_an_impostor_is_not() {
        let me = this_process();
        assert!(may_be_alive(&me));
        if cfg!(target_os = "linux") {
            assert!(!may_be_alive(&Owner {
                started_at: me.started_at - 1,
                ..me.clone()
            }));
        }
        assert!(may_be_alive(&Owner {
            host: "elsewhere".into(),
            pid: 1,
            ..me
        }));
    }

    #[test]
    fn a_finished_child_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let owner = Owner {
            pid: child.id(),
            started_at: started_at(child.id()).unwrap_or_default(),
            ..this_process()
        };
        child.wait().unwrap();
        assert!(!may_be_alive(&owner));
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_that_says_what_happened() {
        for work in [
            || panic!("no way"),
            || std::panic::panic_any("no way"),
            || std::panic::panic_any(7),
        ] {
            let work: fn() = work;
            let error = caught(async {
                work();
                Ok(())
            })
            .await
            .unwrap_err();
            assert_eq!(error.kind(), audiorag_core::ErrorKind::Internal);
            let told = ["no way", "without a message"];
            assert!(told.iter().any(|text| error.message().contains(text)), "{error}");
        }
        assert_eq!(caught(async { Ok(3) }).await.unwrap(), 3);
    }

    #[test]
    fn operation_ids_are_distinct_and_sorted() {
        let (a, b) = (new_operation_id(), new_operation_id());
        assert!(a < b);
        assert_eq!(random_delimiter().len(), 13);
    }
}
