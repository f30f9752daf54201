//! The credentials of a service, taken out of what it says.

use audiorag_core::Secret;
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

/// The least letters of a credential that is taken out of messages: a shorter "key" of a server of one's own would
/// blank out ordinary words.
const IN_MESSAGES: usize = 6;
/// The same for answers, whose words matter: `ollama` and `lm-studio` are keys that people speak of.
const IN_ANSWERS: usize = 12;

/// The credentials of a service. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Secrets(Arc<[Secret]>);

impl Secrets {
    pub(super) fn new(secrets: Vec<Secret>) -> Self {
        Self(secrets.into())
    }

    /// A message of the service, without the credentials that it may echo.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.without(text, IN_MESSAGES).unwrap_or_else(|| text.to_owned())
    }

    /// A piece of an answer, without the credentials that it may echo.
    pub(super) fn scrub_answer(&self, text: String) -> String {
        self.without(&text, IN_ANSWERS).unwrap_or(text)
    }

    /// A whole answer, without the credentials that it may echo.
    pub(super) fn scrub_body(&self, body: Bytes) -> Bytes {
        if self.0.is_empty() {
            return body;
        }
        self.without(&String::from_utf8_lossy(&body), IN_ANSWERS)
            .map_or(body, Bytes::from)
    }

    /// The text with stars for each credential of at least `least` letters; `None` when it holds none.
    fn without(&self, text: &str, least: usize) -> Option<String> {
        let mut clean: Cow<'_, str> = Cow::Borrowed(text);
        for secret in self.0.iter().map(Secret::expose) {
            if secret.len() < least {
                continue;
            }
            // Some encoders of JSON escape the slash.
            for form in [Cow::Borrowed(secret), Cow::Owned(secret.replace('/', "\\/"))] {
                if clean.contains(form.as_ref()) {
                    clean = Cow::Owned(clean.replace(form.as_ref(), "***"));
                }
            }
        }
        match clean {
            Cow::Owned(clean) => Some(clean),
            Cow::Borrowed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_out_and_words_are_left() {
        let secrets = Secrets::new(vec![
            Secret::new("canary/key+1=="),
            Secret::new("ollama"),
            Secret::new("x"),
        ]);
        assert_eq!(secrets.scrub("canary/key+1== of ollama, x"), "*** of ***, x");
        assert_eq!(
            secrets.scrub_answer(r#"{"a":"canary\/key+1==","b":"canary/key+1== ollama x"}"#.to_owned()),
            r#"{"a":"***","b":"*** ollama x"}"#
        );
        let body = Bytes::from_static(b"\xff canary/key+1==");
        assert!(!String::from_utf8_lossy(&secrets.scrub_body(body)).contains("canary"));
        let harmless = Bytes::from_static(b"\xff harmless");
        assert_eq!(secrets.scrub_body(harmless.clone()), harmless);
        assert!(!format!("{secrets:?}").contains("canary"));
    }
}
