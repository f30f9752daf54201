//! What goes to every speech-to-text vendor: a WAV file, a deadline, a language.

use audiorag_core::capability::TranscribeRequest;
use audiorag_core::samples::Samples;
use audiorag_core::{Error, MediaTime, Result};
use bytes::Bytes;

/// The longest part that is worth holding in memory and sending in one piece: 115 MB of WAV.
#[cfg(any(feature = "assemblyai", feature = "deepgram", feature = "elevenlabs"))]
pub(crate) const LONGEST_PART: MediaTime = MediaTime::from_seconds(3_600);

/// The samples of a request as a WAV file: the one it brings, without a copy, or one that is made off the threads that
/// wait for the network.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) when the part is longer than `longest`.
pub(crate) async fn encoded(request: &TranscribeRequest, longest: MediaTime) -> Result<Bytes> {
    let length = request.span().duration();
    if length > longest {
        return Err(Error::input(format!(
            "a part of {length} where {longest} is the longest"
        )));
    }
    let wav = match request.samples.clone() {
        Samples::Wav(wav) => wav,
        float @ Samples::Float(_) => tokio::task::spawn_blocking(move || float.to_wav())
            .await
            .map_err(|error| Error::internal("the audio could not be encoded").with_cause(error))?,
    };
    Ok(Bytes::from_owner(wav))
}

/// The language of a tag, without region and script: `pt` of `pt-BR` and of `pt_br`.
pub(crate) fn primary(tag: &str) -> String {
    tag.split(['-', '_']).next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_parts_are_refused_before_anything_is_sent() {
        let request = TranscribeRequest {
            samples: vec![0.25; 32_000].into(),
            speech: Vec::new(),
            language: None,
            prompt: None,
        };
        assert_eq!(
            encoded(&request, MediaTime::from_seconds(2)).await.unwrap().len(),
            64_044
        );
        let file = TranscribeRequest {
            samples: Samples::Wav(request.samples.to_wav()),
            ..request.clone()
        };
        let longest = MediaTime::from_seconds(2);
        assert_eq!(
            encoded(&file, longest).await.unwrap(),
            encoded(&request, longest).await.unwrap()
        );
        let error = encoded(&request, MediaTime::from_seconds(1)).await.unwrap_err();
        assert_eq!(error.kind(), audiorag_core::ErrorKind::Input);
    }
}
