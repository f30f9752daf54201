//! A vendor on the loopback interface that answers in OpenAI's dialect after known times, and remembers every call.
//!
//! It shares the processor with the program that is measured, so it does as little as it can: threads that sleep, and
//! audio that is read and thrown away but for a sample of it, by which a part is known again.

use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Components of a vector.
pub(super) const DIMENSIONS: usize = 1536;
/// Of how many calls one fails, where calls fail: 5 %.
const ONE_IN: u64 = 20;
/// How long a 429 asks to wait.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Bytes between two looks at the audio, and of each look.
const STRIDE: usize = 1 << 16;
const LOOK: usize = 64;
/// Seconds of speech in a segment of an answer, and words in it.
const SEGMENT: f64 = 6.0;
const WORDS: usize = 14;

/// How long calls take, from the arrival of the last byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) part: Duration,
    pub(super) audio_second: Duration,
    pub(super) batch: Duration,
    pub(super) text: Duration,
}

impl Latency {
    /// That of the vendor with which the Python AudioRAG was measured.
    pub(super) const KNOWN: Self = Self {
        part: Duration::from_secs(1),
        audio_second: Duration::from_millis(10),
        batch: Duration::from_millis(100),
        text: Duration::from_millis(1),
    };

    /// A vendor that answers at once.
    #[cfg(test)]
    pub(super) const NONE: Self = Self {
        part: Duration::ZERO,
        audio_second: Duration::ZERO,
        batch: Duration::ZERO,
        text: Duration::ZERO,
    };
}

/// What was asked, and what became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Transcriptions that were answered, in the order of their answers.
    pub(super) parts: Vec<Answered>,
    /// Embeddings that were answered.
    pub(super) batches: Vec<Answered>,
    /// Transcriptions in flight, and the most there were.
    in_flight: usize,
    pub(super) most_in_flight: usize,
    /// Calls that were refused for their number, and that broke off.
    pub(super) refused: u32,
    pub(super) broken: u32,
    /// How often each part was answered, by a sample of its audio.
    answers: HashMap<u64, u32>,
    /// Parts whose call broke off once: the same never breaks off again, since the program may not ask a third time.
    unlucky: Vec<u64>,
    arrived: u64,
}

impl Record {
    /// Parts that were answered more than once, that is paid for twice.
    pub(super) fn twice(&self) -> usize {
        self.answers.values().filter(|count| **count > 1).count()
    }
}

/// A call that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// When its first byte came, and when its answer was sent.
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// How long it was made to take.
    pub(super) latency: Duration,
    /// Seconds of audio, of a transcription.
    pub(super) seconds: f64,
}

/// The server. It goes on until the process ends.
pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    latency: Latency,
    /// Where in each twenty calls one fails, by this; none without it.
    faults: Option<u64>,
    record: Mutex<Record>,
    vectors: Vec<String>,
}

impl StandIn {
    pub(super) fn start(latency: Latency, faults: Option<u64>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback interface")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            latency,
            faults,
            record: Mutex::default(),
            vectors: (0..16).map(vector).collect(),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                thread::spawn(move || {
                    // A connection that ends is the client's business.
                    let _ = shared.serve(connection);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it answers, as a base URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(super) fn record(&self) -> Record {
        self.shared.record().clone()
    }
}

/// What is done about a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answer,
    Refuse,
    BreakOff,
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fate of the next call: one in each twenty fails, in turns by a refusal and by a broken connection.
    fn fate(&self) -> Fate {
        let mut record = self.record();
        let (round, place) = (record.arrived / ONE_IN, record.arrived % ONE_IN);
        record.arrived += 1;
        match self.faults {
            Some(seed) if place == mixed(seed ^ round) % ONE_IN => {
                if round % 2 == 0 {
                    Fate::Refuse
                } else {
                    Fate::BreakOff
                }
            }
            _ => Fate::Answer,
        }
    }

    fn serve(&self, mut connection: TcpStream) -> Result<()> {
        connection.set_nodelay(true)?;
        let mut buffer = vec![0; STRIDE];
        let mut filled = 0;
        loop {
            // What came behind the last body stays in the buffer; clients here send one request at a time.
            let (head, rest) = loop {
                if let Some(at) = find(buffer.get(..filled).unwrap_or_default(), b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(buffer.get(..at).unwrap_or_default()).into_owned();
                    break (head, at + 4);
                }
                let room = buffer.get_mut(filled..).unwrap_or_default();
                let count = connection.read(room)?;
                if count == 0 {
                    return Ok(());
                }
                filled += count;
            };
            let from = Instant::now();
            let length = length(&head)?;
            buffer.copy_within(rest..filled, 0);
            filled -= rest;
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let keep = if path.ends_with("/audio/transcriptions") {
                {
                    let mut record = self.record();
                    record.in_flight += 1;
                    record.most_in_flight = record.most_in_flight.max(record.in_flight);
                }
                let keep = self.transcribe(&mut connection, &mut buffer, filled, length, from);
                self.record().in_flight -= 1;
                keep?
            } else if path.ends_with("/embeddings") {
                self.embed(
                    &mut connection,
                    buffer.get(..filled).unwrap_or_default(),
                    length,
                    from,
                )?
            } else {
                bail!("nobody asks for {path} here");
            };
            filled = 0;
            if !keep {
                return Ok(());
            }
        }
    }

    /// Reads a part, waits and answers. Whether the connection goes on.
    fn transcribe(
        &self,
        connection: &mut TcpStream,
        buffer: &mut [u8],
        filled: usize,
        length: usize,
        from: Instant,
    ) -> Result<bool> {
        let fate = self.fate();
        let mut part = Listener::default();
        part.hear(buffer.get(..filled).unwrap_or_default());
        let mut left = length.saturating_sub(filled);
        // A socket that is closed with a byte unread tells the client that the connection was reset.
        let unread = usize::from(fate == Fate::BreakOff);
        while left > unread {
            let most = (left - unread).min(buffer.len());
            let count = connection.read(buffer.get_mut(..most).unwrap_or_default())?;
            if count == 0 {
                return Ok(false);
            }
            part.hear(buffer.get(..count).unwrap_or_default());
            left -= count;
        }
        let seconds = part.seconds.context("no WAV file in a transcription")?;
        let latency = self.latency.part + self.latency.audio_second.mul_f64(seconds);
        match fate {
            Fate::Refuse => {
                self.record().refused += 1;
                refuse(connection)?;
                return Ok(true);
            }
            Fate::BreakOff if left > 0 => {
                let is_first = {
                    let mut record = self.record();
                    let is_first = !record.unlucky.contains(&part.hash);
                    if is_first {
                        record.unlucky.push(part.hash);
                        record.broken += 1;
                    }
                    is_first
                };
                if is_first {
                    // Somewhere on the way.
                    thread::sleep(latency / 2);
                    return Ok(false);
                }
                connection.read_exact(buffer.get_mut(..left).unwrap_or_default())?;
            }
            _ => {}
        }
        let until = Instant::now() + latency;
        let body = transcript(part.hash, seconds);
        thread::sleep(until.saturating_duration_since(Instant::now()));
        {
            let mut record = self.record();
            *record.answers.entry(part.hash).or_default() += 1;
            record.parts.push(Answered {
                from,
                to: Instant::now(),
                latency,
                seconds,
            });
        }
        answer(connection, &body)?;
        Ok(true)
    }

    fn embed(&self, connection: &mut TcpStream, begun: &[u8], length: usize, from: Instant) -> Result<bool> {
        let mut body = begun.to_vec();
        body.resize(length, 0);
        connection.read_exact(body.get_mut(begun.len()..).unwrap_or_default())?;
        match self.fate() {
            Fate::Answer => {}
            Fate::Refuse => {
                self.record().refused += 1;
                refuse(connection)?;
                return Ok(true);
            }
            Fate::BreakOff => {
                self.record().broken += 1;
                return Ok(false);
            }
        }
        let request: serde_json::Value = serde_json::from_slice(&body)?;
        let texts = request.get("input").and_then(|input| input.as_array());
        let texts = texts.context("an embedding without texts")?;
        let latency = self.latency.batch + self.latency.text * texts.len() as u32;
        let until = Instant::now() + latency;
        let mut reply = String::with_capacity(texts.len() * DIMENSIONS * 8);
        reply.push_str(r#"{"object":"list","data":["#);
        for (index, text) in texts.iter().enumerate() {
            let place = mixed(text.as_str().unwrap_or_default().len() as u64) as usize % self.vectors.len();
            let vector = self.vectors.get(place).map(String::as_str).unwrap_or_default();
            let comma = if index == 0 { "" } else { "," };
            write!(
                reply,
                r#"{comma}{{"object":"embedding","index":{index},"embedding":[{vector}]}}"#
            )?;
        }
        reply.push_str(r#"],"usage":{"prompt_tokens":1,"total_tokens":1}}"#);
        thread::sleep(until.saturating_duration_since(Instant::now()));
        self.record().batches.push(Answered {
            from,
            to: Instant::now(),
            latency,
            seconds: 0.0,
        });
        answer(connection, &reply)?;
        Ok(true)
    }
}

/// What is kept of a part that streams by: its length, and a number made of a sample of its bytes.
#[derive(Default)]
struct Listener {
    seconds: Option<f64>,
    hash: u64,
    /// Bytes of audio so far.
    heard: usize,
    /// The start of the body, until the audio begins.
    head: Vec<u8>,
}

impl Listener {
    fn hear(&mut self, bytes: &[u8]) {
        if self.seconds.is_some() {
            self.sample(bytes);
            return;
        }
        self.head.extend_from_slice(bytes);
        // The form around the file has "form-data" in it, too.
        let Some(wave) = find(&self.head, b"WAVEfmt ") else {
            return;
        };
        let sound = find(self.head.get(wave..).unwrap_or_default(), b"data").map(|at| wave + at);
        let Some(at) = sound.filter(|at| self.head.len() >= at + 8) else {
            return;
        };
        let size = self.head.get(at + 4..at + 8).and_then(<[u8]>::first_chunk);
        let size = size.map_or(0, |size| u32::from_le_bytes(*size));
        // 16 kHz, two bytes a sample.
        self.seconds = Some(f64::from(size) / 32_000.0);
        self.hash = u64::from(size);
        let head = std::mem::take(&mut self.head);
        self.sample(head.get(at + 8..).unwrap_or_default());
    }

    /// Mixes in the bytes of this block that fall into a look.
    fn sample(&mut self, bytes: &[u8]) {
        let end = self.heard + bytes.len();
        let mut look = self.heard / STRIDE * STRIDE;
        while look < end {
            let (low, high) = (look.max(self.heard), (look + LOOK).min(end));
            if low < high {
                for byte in bytes.get(low - self.heard..high - self.heard).unwrap_or_default() {
                    self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
                }
            }
            look += STRIDE;
        }
        self.heard = end;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn length(head: &str) -> Result<usize> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("a request of unknown length")?
        .1
        .trim()
        .parse()
        .context("a length that is no number")
}

fn answer(connection: &mut TcpStream, body: &str) -> Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body.as_bytes())?;
    Ok(())
}

fn refuse(connection: &mut TcpStream) -> Result<()> {
    let body = r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#;
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after-ms: {}\r\nretry-after: \
         {}\r\ncontent-length: {}\r\n\r\n",
        RETRY_AFTER.as_millis(),
        RETRY_AFTER.as_secs_f64().ceil(),
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body.as_bytes())?;
    Ok(())
}

/// A verbose answer of as many segments as speech of that length has, with words, different for every part.
fn transcript(hash: u64, seconds: f64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "za",
    ];
    let mut state = hash;
    let (mut text, mut segments, mut words) = (String::new(), String::new(), String::new());
    let mut start = 0.0;
    while start + SEGMENT <= seconds {
        let mut sentence = String::new();
        for number in 0..WORDS {
            let mut word = String::new();
            for _ in 0..3 {
                state = mixed(state.wrapping_add(1));
                word.push_str(SYLLABLES.get(state as usize % 16).copied().unwrap_or_default());
            }
            let from = start + number as f64 * (SEGMENT / WORDS as f64);
            let comma = if words.is_empty() { "" } else { "," };
            // Writing into a string cannot fail.
            let _ = write!(
                words,
                r#"{comma}{{"word":"{word}","start":{from:.2},"end":{:.2}}}"#,
                from + 0.35
            );
            if number > 0 {
                sentence.push(' ');
            }
            sentence.push_str(&word);
        }
        sentence.push('.');
        let comma = if segments.is_empty() { "" } else { "," };
        let _ = write!(
            segments,
            r#"{comma}{{"id":0,"start":{start:.2},"end":{:.2},"text":" {sentence}","avg_logprob":-0.2,"compression_ratio":1.5,"no_speech_prob":0.01}}"#,
            start + SEGMENT - 0.1
        );
        text.push_str(&sentence);
        text.push(' ');
        start += SEGMENT;
    }
    format!(
        r#"{{"task":"transcribe","language":"english","duration":{seconds:.2},"text":"{}","segments":[{segments}],"words":[{words}]}}"#,
        text.trim_end()
    )
}

/// The numbers of a vector, of which each seed has its own.
fn vector(seed: u64) -> String {
    let mut state = seed;
    let mut text = String::with_capacity(DIMENSIONS * 9);
    for place in 0..DIMENSIONS {
        state = mixed(state.wrapping_add(1));
        let value = (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{value:.5}");
    }
    text
}

/// A number in which every bit of the other has a say (splitmix64).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_again_however_its_bytes_arrive() {
        let mut body = b"--boundary\r\nname\r\n\r\nRIFF....WAVEfmt data".to_vec();
        let audio: Vec<u8> = (0..200_000_u32).map(|n| mixed(u64::from(n)) as u8).collect();
        body.extend_from_slice(&(audio.len() as u32).to_le_bytes());
        body.extend_from_slice(&audio);
        let heard = |body: &[u8], pieces: usize| {
            let mut listener = Listener::default();
            body.chunks(pieces).for_each(|piece| listener.hear(piece));
            (listener.hash, listener.seconds)
        };
        let before = heard(&body, 7);
        assert_eq!(before, heard(&body, 65_536));
        assert_eq!(before.1, Some(6.25));
        // Inside a look: 65,536 bytes of audio on.
        let at = body.len() - audio.len() + STRIDE + 3;
        body[at] ^= 1;
        assert_ne!(before.0, heard(&body, 7).0);
    }

    #[test]
    fn one_call_in_twenty_fails() {
        let stand_in = StandIn::start(Latency::NONE, Some(7)).unwrap();
        let fates: Vec<Fate> = (0..400).map(|_| stand_in.shared.fate()).collect();
        let count = |fate: Fate| fates.iter().filter(|other| **other == fate).count();
        assert_eq!((count(Fate::Refuse), count(Fate::BreakOff)), (10, 10));
    }

    #[test]
    fn answers_are_json_and_differ_from_part_to_part() {
        let answer = transcript(1, 63.0);
        let parsed: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(parsed["segments"].as_array().unwrap().len(), 10);
        assert_eq!(parsed["words"].as_array().unwrap().len(), 10 * WORDS);
        assert_ne!(answer, transcript(2, 63.0));
        let numbers: Vec<f64> = serde_json::from_str(&format!("[{}]", vector(3))).unwrap();
        assert_eq!(numbers.len(), DIMENSIONS);
    }
}
