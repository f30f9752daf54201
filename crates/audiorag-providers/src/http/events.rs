//! Server-sent events, as vendors stream answers: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use super::secrets::Secrets;
use super::transport::transport_error;
use audiorag_core::{Error, Result};
use reqwest::Response;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty where the stream gives none.
    pub name: String,
    /// Its data; lines are joined by a line feed.
    pub data: String,
}

/// Puts events together from bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_return: bool,
}

impl EventReader {
    /// Takes more bytes and hands out the events they complete.
    ///
    /// # Errors
    /// [`Protocol`](audiorag_core::ErrorKind::Protocol) for a line that is not UTF-8.
    pub fn push(&mut self, bytes: &[u8], out: &mut VecDeque<Event>) -> Result<()> {
        for byte in bytes {
            match byte {
                // The second half of a line end.
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => self.end_line(out)?,
                _ => self.line.push(*byte),
            }
            self.after_return = *byte == b'\r';
        }
        Ok(())
    }

    /// Bytes held back until the next line end.
    pub fn pending(&self) -> usize {
        self.line.len() + self.event.data.len()
    }

    fn end_line(&mut self, out: &mut VecDeque<Event>) -> Result<()> {
        let line = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&line)
            .map_err(|error| Error::protocol("an event of the stream is not text").with_cause(error))?;
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                out.push_back(event);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.event.name),
            // Comments, ids and reconnection times.
            _ => {}
        }
        Ok(())
    }
}

/// The events of an answer as they arrive.
#[derive(Debug)]
pub struct Events {
    response: Response,
    name: String,
    idle: Duration,
    cap: usize,
    secrets: Secrets,
    reader: EventReader,
    ready: VecDeque<Event>,
    /// The service is at work until this is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Events {
    pub(super) fn new(
        response: Response,
        name: String,
        idle: Duration,
        cap: usize,
        secrets: Secrets,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            response,
            name,
            idle,
            cap,
            secrets,
            reader: EventReader::default(),
            ready: VecDeque::new(),
            _permit: permit,
        }
    }

    /// The next event, or `None` when the server ended the answer.
    ///
    /// # Errors
    /// [`Timeout`](audiorag_core::ErrorKind::Timeout) after a long silence,
    /// [`Unavailable`](audiorag_core::ErrorKind::Unavailable) when the connection breaks, and
    /// [`Protocol`](audiorag_core::ErrorKind::Protocol) for an event beyond the call's cap.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                // An error in the middle of a stream may quote the request.
                return Ok(Some(Event {
                    name: self.secrets.scrub_answer(event.name),
                    data: self.secrets.scrub_answer(event.data),
                }));
            }
            let chunk = tokio::time::timeout(self.idle, self.response.chunk())
                .await
                .map_err(|_| {
                    Error::timeout(format!("{} fell silent in the middle of its answer", self.name))
                })?
                .map_err(|error| transport_error(&self.name, error))?;
            let Some(chunk) = chunk else { return Ok(None) };
            self.reader.push(&chunk, &mut self.ready)?;
            if self.reader.pending() > self.cap {
                return Err(Error::protocol(format!(
                    "{} sends an event of more than {} bytes",
                    self.name, self.cap
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = EventReader::default();
        let mut out = VecDeque::new();
        for piece in pieces {
            reader.push(piece, &mut out).unwrap();
        }
        out.into_iter().map(|event| (event.name, event.data)).collect()
    }

    const STREAM: &str = ": hello\r\n\r\nevent: delta\r\ndata: {\"t\":\"zwölf\"}\r\n\r\nid: 3\ndata: a\ndata:b\n\ndata\n\ndata: [DONE]\n\nlost";

    #[test]
    fn fields_comments_and_line_ends_are_told_apart() {
        let expected = [
            ("delta", "{\"t\":\"zwölf\"}"),
            ("", "a\nb"),
            ("", ""),
            ("", "[DONE]"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(read(&[STREAM.as_bytes()]), expected);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let mut reader = EventReader::default();
        assert!(reader.push(b"data: \xff\n", &mut VecDeque::new()).is_err());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_stream_is_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            let bytes = STREAM.as_bytes();
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(read(&pieces), read(&[bytes]));
        }
    }
}
