//! What can be watched while a question is answered.

use audiorag_core::model::Hit;

/// Something that happened on the way to an answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum QueryEvent<'a> {
    /// These passages were found, best first; the answer is made from them.
    Passages(&'a [Hit]),
    /// More of the answer's text, with its final citation numbers. Together the pieces are the text of the answer.
    Text(String),
    /// The generator failed on the way: the pieces so far are void, and what follows begins anew.
    Restarted,
}

/// Receives events. Must not block.
pub trait QueryObserver: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &QueryEvent<'_>);
}

/// Ignores everything.
impl QueryObserver for () {
    fn event(&self, _event: &QueryEvent<'_>) {}
}
