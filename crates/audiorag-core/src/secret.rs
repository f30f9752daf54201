//! Values that must never be printed.

use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// A credential. It has no `Display`, its `Debug` is `***`, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a credential, without surrounding white space.
    pub fn new(value: &str) -> Self {
        Self(SecretString::from(value.trim().to_owned()))
    }

    /// The credential itself, for the one place that puts it into a request header.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new(" sk-canary ");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.expose(), "sk-canary");
        assert!(Secret::new("  ").is_empty());
    }
}
