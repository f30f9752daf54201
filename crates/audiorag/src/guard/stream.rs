//! An answer that is written word by word, and paid for when it ends.

use super::{Bill, Paid};
use audiorag_core::capability::{GenerateEvent, GenerateStream};
use futures_util::StreamExt as _;

/// The same stream, which closes its bill with what the last event says was used. A stream that breaks off or is
/// dropped leaves a call of which nobody knows what it cost.
pub(super) fn settling(paid: Paid<GenerateStream>) -> GenerateStream {
    let Paid { answer, bill } = paid;
    let Some(bill) = bill else { return answer };
    Box::pin(futures_util::stream::unfold((answer, Some(bill)), step))
}

/// A stream and its bill, which is gone once it is closed.
type Open = (GenerateStream, Option<Bill>);

async fn step((mut stream, mut bill): Open) -> Option<(audiorag_core::Result<GenerateEvent>, Open)> {
    let event = stream.next().await?;
    match (&event, bill.take()) {
        (Ok(GenerateEvent::Done { usage, .. }), Some(open)) => open.done(Some(usage)).await,
        (Err(error), Some(open)) => open.failed(error).await,
        (_, open) => bill = open,
    }
    Some((event, (stream, bill)))
}
