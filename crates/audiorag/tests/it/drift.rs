//! Times do not drift: whatever the order of replies and wherever a run was taken up again.

use super::support::{Place, index};
use async_trait::async_trait;
use audiorag::settings::Key;
use audiorag::{AudioRag, Providers};
use audiorag_core::capability::{
    Health, ProviderInfo, TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
};
use audiorag_core::model::Transcript;
use audiorag_core::{Error, MediaTime, Result, Span};
use audiorag_testkit::fake::FakeTranscriber;
use audiorag_testkit::synth::Track;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Calls side by side.
const GROUP: usize = 3;

/// Answers the calls of each group backwards: every call waits until the one after it was answered.
struct Backwards {
    inner: FakeTranscriber,
    /// How many calls there will be.
    calls: usize,
    /// The call that fails.
    fails: Option<usize>,
    arrived: Mutex<usize>,
    /// The calls that were answered, in the order of the answers.
    answered: watch::Sender<Vec<usize>>,
}

impl Backwards {
    fn new(calls: usize, fails: Option<usize>) -> Self {
        let inner = FakeTranscriber::new().with_limits(|limits| {
            limits.concurrency = GROUP;
            // A part ends in the silence after each stretch of speech.
            limits.preferred_part = MediaTime::from_seconds(26);
            limits.max_part = MediaTime::from_seconds(40);
            limits.word_times = true;
        });
        Self {
            inner,
            calls,
            fails,
            arrived: Mutex::default(),
            answered: watch::Sender::default(),
        }
    }
}

#[async_trait]
impl Transcriber for Backwards {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    fn limits(&self) -> TranscriberLimits {
        self.inner.limits()
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        let number = {
            let mut arrived = self.arrived.lock().unwrap();
            *arrived += 1;
            *arrived
        };
        if !number.is_multiple_of(GROUP) && number < self.calls {
            let mut answered = self.answered.subscribe();
            let next = answered.wait_for(|answered| answered.contains(&(number + 1)));
            next.await.unwrap();
        }
        let answer = if self.fails == Some(number) {
            Err(Error::unavailable("this call is meant to fail"))
        } else {
            self.inner.transcribe(request).await
        };
        self.answered.send_modify(|answered| answered.push(number));
        answer
    }

    async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

async fn open(place: &Place, transcriber: &Arc<dyn Transcriber>) -> AudioRag {
    let providers = Providers {
        transcriber: Some(Arc::clone(transcriber)),
        ..place.providers()
    };
    AudioRag::builder(place.settings())
        .with_providers(providers)
        .open()
        .await
        .unwrap()
}

/// The transcript, and the place and words of every chunk.
async fn times(audiorag: &AudioRag, file: &Path) -> (Transcript, Vec<(Span, String)>) {
    let source = audiorag
        .state()
        .resolve_source(file.to_str().unwrap())
        .await
        .unwrap();
    let transcript = audiorag.transcript(&source).await.unwrap();
    let chunks = audiorag
        .state()
        .chunks_of(source.active_revision.unwrap())
        .await
        .unwrap();
    let chunks = chunks.into_iter().map(|chunk| (chunk.span, chunk.text)).collect();
    (transcript, chunks)
}

#[tokio::test]
async fn twenty_seconds_of_silence_at_every_cut_shift_nothing_by_a_millisecond() {
    const STRETCHES: usize = 7;
    let mut track = Track::new(16_000).silence(1_000);
    for stretch in 0..STRETCHES {
        // Of uneven length, so that a shift by one stretch would show.
        track = track
            .speech(4_000 + 137 * stretch as u64, 70 + stretch as u64)
            .silence(20_000);
    }
    let place = || {
        let mut place = Place::new();
        place.set(Key::SttConcurrency, &GROUP.to_string());
        place.set(Key::ChunkDurationSeconds, "5");
        let file = place.write("a.wav", &track.to_wav());
        (place, std::fs::canonicalize(file).unwrap())
    };

    // One run, each reply as it is due.
    let (straight, file) = place();
    let plain: Arc<dyn Transcriber> = Arc::new(Backwards::new(STRETCHES, None).inner);
    let audiorag = open(&straight, &plain).await;
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(report.transcribed_parts() as usize, STRETCHES, "{report:?}");
    let expected = times(&audiorag, &file).await;

    // Replies backwards, an end in the middle, and another run backwards.
    let (broken, file) = place();
    let first = Arc::new(Backwards::new(STRETCHES, Some(GROUP)));
    let as_dyn: Arc<dyn Transcriber> = Arc::clone(&first) as _;
    let audiorag = open(&broken, &as_dyn).await;
    assert_eq!(index(&audiorag, &[&file]).await.failed.len(), 1);
    assert_eq!(*first.answered.borrow(), [3, 2, 1]);
    audiorag.state().clone().close().await;
    let second = Arc::new(Backwards::new(STRETCHES - 2, None));
    let as_dyn: Arc<dyn Transcriber> = Arc::clone(&second) as _;
    let audiorag = open(&broken, &as_dyn).await;
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(
        (report.indexed.len(), report.reused_parts()),
        (1, 2),
        "{report:?}"
    );
    assert_eq!(*second.answered.borrow(), [3, 2, 1, 5, 4]);
    assert_eq!(times(&audiorag, &file).await, expected);

    // And they are the recording's own times: words begin where somebody begins to speak.
    for spoken in track.speech_spans() {
        let heard = expected
            .0
            .segments
            .iter()
            .map(|segment| segment.span.start().as_millis());
        let nearest = heard
            .map(|start| start.abs_diff(spoken.start().as_millis()))
            .min();
        assert!(
            nearest.unwrap() <= 400,
            "{spoken} was heard {nearest:?} ms beside it"
        );
    }
}
