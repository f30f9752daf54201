//! What is checked of every answer, and how calls wait.

use super::*;
use audiorag_core::ErrorKind;
use audiorag_core::Span;
use audiorag_core::model::{PartTranscript, Segment};

mockall::mock! {
    Speech {}
    #[async_trait::async_trait]
    impl Transcriber for Speech {
        fn info(&self) -> &ProviderInfo;
        fn limits(&self) -> TranscriberLimits;
        async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse>;
        async fn health_check(&self) -> Health;
    }
}

mockall::mock! {
    Vectors {}
    #[async_trait::async_trait]
    impl Embedder for Vectors {
        fn info(&self) -> &ProviderInfo;
        fn space(&self) -> &EmbeddingSpace;
        fn limits(&self) -> EmbedderLimits;
        async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse>;
        async fn health_check(&self) -> Health;
    }
}

fn info() -> ProviderInfo {
    ProviderInfo {
        vendor: "fake".into(),
        model: "m".into(),
        version: 1,
    }
}

fn source() -> SourceId {
    SourceId::from_stored("s")
}

fn request() -> TranscribeRequest {
    TranscribeRequest {
        samples: vec![0.0; 16_000].into(),
        speech: vec![],
        language: None,
        prompt: None,
    }
}

fn answering(segments: Vec<Segment>) -> Guarded<dyn Transcriber> {
    let mut mock = MockSpeech::new();
    mock.expect_info().return_const(info());
    mock.expect_transcribe().times(1).returning(move |_| {
        Ok(TranscribeResponse {
            transcript: PartTranscript {
                segments: segments.clone(),
                language: None,
            },
            ..TranscribeResponse::default()
        })
    });
    Guarded::new(Arc::new(mock) as Arc<dyn Transcriber>, Policy::new(1, None))
}

fn said(start: u64, end: u64) -> Segment {
    Segment {
        span: Span::from_millis(start, end),
        text: "x".into(),
        ..Segment::default()
    }
}

#[tokio::test]
async fn segments_out_of_order_or_outside_the_audio_are_refused() {
    let disordered = answering(vec![said(500, 600), said(0, 100)])
        .transcribe(&source(), request())
        .await;
    assert_eq!(disordered.unwrap_err().kind(), ErrorKind::Protocol);
    let outside = answering(vec![said(0, 2000)])
        .transcribe(&source(), request())
        .await
        .unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::Protocol);
    assert_eq!(outside.provider(), Some("fake/m"));
    assert!(
        answering(vec![said(0, 1200)])
            .transcribe(&source(), request())
            .await
            .is_ok()
    );
}

fn embedding(vectors: Vec<Vec<f32>>) -> Guarded<dyn Embedder> {
    let mut mock = MockVectors::new();
    mock.expect_info().return_const(info());
    mock.expect_space().return_const(EmbeddingSpace {
        provider: "fake".into(),
        model: "m".into(),
        dimensions: 2,
    });
    mock.expect_embed().returning(move |_, _| {
        Ok(EmbedResponse {
            vectors: vectors.clone(),
            ..EmbedResponse::default()
        })
    });
    Guarded::new(Arc::new(mock) as Arc<dyn Embedder>, Policy::new(1, None))
}

#[tokio::test]
async fn a_short_or_broken_embedding_answer_is_refused() {
    let texts = ["a".to_owned(), "b".to_owned()];
    for bad in [
        vec![vec![1.0, 0.0]],
        vec![vec![1.0, 0.0], vec![1.0]],
        vec![vec![f32::NAN, 0.0]; 2],
    ] {
        let error = embedding(bad)
            .embed_documents(&source(), &texts)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }
    let good = embedding(vec![vec![0.0, 2.0]; 2])
        .embed_documents(&source(), &texts)
        .await
        .unwrap();
    assert_eq!(good.answer.vectors, vec![vec![0.0, 1.0]; 2]);
    // Nothing to embed is nothing to pay for: this mock allows no call with a wrong count.
    assert!(
        embedding(vec![])
            .embed_documents(&source(), &[])
            .await
            .unwrap()
            .answer
            .vectors
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn the_deadline_does_not_tick_while_waiting_for_a_permit() {
    let policy = Policy::new(1, Some(Duration::from_secs(10)));
    let info = info();
    let call = |seconds| {
        policy.run(
            "nap",
            &info,
            async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(seconds)
            },
            |_| Ok(()),
        )
    };
    let (a, b, c) = tokio::join!(call(8), call(9), call(11));
    assert_eq!(a.unwrap(), 8);
    assert_eq!(b.unwrap(), 9, "it waited 8 s for the permit and then ran for 9");
    assert_eq!(c.unwrap_err().kind(), ErrorKind::Timeout);
}
