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
        host: Place::here().to_string(),
        pid,
        started_at: started_at(pid).unwrap_or_default(),
    }
}

/// Where process numbers mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// The name of the machine, or of the container.
    host: String,
    /// Of which start of which kernel, and in which of its namespaces: containers may share a name. Absent where the
    /// system does not tell, and in what earlier versions of this program wrote.
    kernel: Option<(String, String)>,
}

/// The namespace of processes that a kernel starts with. What begins with another number is a container.
const FIRST_NAMESPACE: &str = "4026531836";

impl Place {
    /// Where this process is.
    fn here() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        // As in `pid:[4026531836]`.
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok();
        let digits = |link: std::path::PathBuf| -> String {
            let text = link.to_string_lossy();
            text.chars().filter(char::is_ascii_digit).collect()
        };
        Self {
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            kernel: boot.map(|boot| boot.trim().to_owned()).zip(namespace.map(digits)),
        }
    }

    fn parse(text: &str) -> Self {
        let mut fields = text.split('/').map(str::to_owned);
        Self {
            host: fields.next().unwrap_or_default(),
            kernel: fields.next().zip(fields.next()),
        }
    }

    /// What can be said here about the processes of `other`.
    fn knows(&self, other: &Self) -> Knowledge {
        if self.host != other.host {
            return Knowledge::Nothing;
        }
        match (&self.kernel, &other.kernel) {
            (Some((boot, namespace)), Some((its_boot, its_namespace))) => {
                let outside = [namespace, its_namespace]
                    .iter()
                    .all(|name| *name == FIRST_NAMESPACE);
                match (boot == its_boot, namespace == its_namespace) {
                    (true, true) => Knowledge::All,
                    // The same machine, not a container of that name on another one: it was started anew.
                    (false, _) if outside => Knowledge::Gone,
                    _ => Knowledge::Nothing,
                }
            }
            _ => Knowledge::All,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host)?;
        if let Some((boot, namespace)) = &self.kernel {
            write!(f, "/{boot}/{namespace}")?;
        }
        Ok(())
    }
}

/// What is known of the processes of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    /// Their numbers are those of the processes here.
    All,
    /// They ended when the machine did.
    Gone,
    Nothing,
}

/// Whether an owner may still be at work.
///
/// One on another host or in another container is given the benefit of the doubt: its lease decides. One here is alive
/// when a process of its number exists and, where the system tells, began when the owner says it did, so that a
/// recycled process number does not keep a dead owner's claim alive.
pub fn may_be_alive(owner: &Owner) -> bool {
    match Place::here().knows(&Place::parse(&owner.host)) {
        Knowledge::Nothing => return true,
        Knowledge::Gone => return false,
        Knowledge::All => {}
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
    fn processes_of_another_container_are_not_taken_for_dead_and_those_before_a_restart_are() {
        let place = |text: &str| Place::parse(text);
        let here = place("a/boot-1/4026532222");
        assert_eq!(Place::parse(&here.to_string()), here);
        for (there, known) in [
            ("a/boot-1/4026532222", Knowledge::All),
            // Containers of one name, here and on another machine.
            ("a/boot-1/4026533333", Knowledge::Nothing),
            ("a/boot-2/4026532222", Knowledge::Nothing),
            ("a/boot-2/4026533333", Knowledge::Nothing),
            ("b/boot-1/4026532222", Knowledge::Nothing),
            // As earlier versions wrote it.
            ("a", Knowledge::All),
            ("b", Knowledge::Nothing),
        ] {
            assert_eq!(here.knows(&place(there)), known, "{there}");
        }
        let machine = place("a/boot-2/4026531836");
        assert_eq!(machine.knows(&place("a/boot-1/4026531836")), Knowledge::Gone);
        assert_eq!(machine.knows(&here), Knowledge::Nothing);
        let me = this_process();
        if let Some((boot, _)) = Place::here().kernel {
            let name = Place::here().host;
            assert!(may_be_alive(&Owner {
                host: format!("{name}/{boot}/7"),
                pid: 999_999_999,
                ..me.clone()
            }));
            assert!(!may_be_alive(&Owner {
                host: name,
                pid: 999_999_999,
                ..me.clone()
            }));
        }
        assert!(!me.to_string().contains('/'), "{me}");
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
