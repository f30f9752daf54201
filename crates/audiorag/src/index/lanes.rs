//! What the sources of a run share, so that what they hold in memory together does not grow with their number: turns to
//! decode, and room for parts.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Kibibytes of all parts together. At 16 bits that is more than an hour of sound.
const ROOM: u32 = 128 << 10;

/// Turns and room. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    /// One for each recording that is being decoded: more than there are cores would only hold more half parts.
    decoders: Arc<Semaphore>,
    /// One for each part between its decoder and its answer. Each decoder has one more at hand, which leaves at once when
    /// there is room.
    parts: Arc<Semaphore>,
    /// Their sizes in kibibytes.
    room: Arc<Semaphore>,
}

/// Room for one part, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _part: OwnedSemaphorePermit,
    _size: OwnedSemaphorePermit,
}

impl Lanes {
    /// For speech-to-text with so many calls side by side.
    pub(super) fn new(concurrency: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            decoders: Arc::new(Semaphore::new(cores.max(2))),
            parts: Arc::new(Semaphore::new(concurrency.max(1))),
            room: Arc::new(Semaphore::new(ROOM as usize)),
        }
    }

    /// Waits for a turn to decode. `None` only once nothing is decoded any more.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.decoders).acquire_owned().await.ok()
    }

    /// Waits for room for a part of so many bytes. One that is larger than all the room takes all of it.
    pub(super) async fn room(&self, bytes: usize) -> Option<Room> {
        let part = Arc::clone(&self.parts).acquire_owned().await.ok()?;
        let size = u32::try_from(bytes >> 10).unwrap_or(ROOM).clamp(1, ROOM);
        let size = Arc::clone(&self.room).acquire_many_owned(size).await.ok()?;
        Some(Room {
            _part: part,
            _size: size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn there_is_room_for_those_in_flight() {
        let lanes = Lanes::new(3);
        let mut held: Vec<Room> = Vec::new();
        while let Some(room) = lanes.room(1).now_or_never() {
            held.push(room.unwrap());
        }
        assert_eq!(held.len(), 3);
        held.pop();
        assert!(lanes.room(1).now_or_never().is_some());
    }

    #[test]
    fn large_parts_take_more_room_and_the_largest_all_of_it() {
        let lanes = Lanes::new(100);
        let held = lanes.room(100 << 20).now_or_never().unwrap();
        assert!(lanes.room(100 << 20).now_or_never().is_none());
        drop(held);
        let held = lanes.room(usize::MAX).now_or_never().unwrap();
        assert!(lanes.room(1).now_or_never().is_none());
        drop(held);
        assert!(lanes.room(1).now_or_never().is_some());
    }
}
