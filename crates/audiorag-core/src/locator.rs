//! Where a recording lives.

use crate::{Error, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use std::fmt;
use std::path::{Path, PathBuf};

/// Bytes that cannot stand as they are in the path of a `file:` URI (RFC 3986, section 3.3).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The place of a recording: an absolute file path, or a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Locator {
    /// An absolute path. It need not be valid UTF-8.
    File(PathBuf),
    /// An `http:` or `https:` URL, or the place of an object in a bucket, `s3://bucket/key`.
    Url(String),
}

impl Locator {
    /// Reads what [`to_uri`](Self::to_uri) wrote, and what users type as `file://` URIs.
    ///
    /// # Errors
    /// [`Input`](crate::ErrorKind::Input) for other schemes, remote `file:` hosts and relative paths.
    pub fn parse_uri(uri: &str) -> Result<Self> {
        if ["http://", "https://", "s3://"]
            .iter()
            .any(|scheme| uri.starts_with(scheme))
        {
            return Ok(Self::Url(uri.to_owned()));
        }
        let Some(rest) = uri.strip_prefix("file://") else {
            return Err(Error::input(format!(
                "'{uri}' is neither a file:, an http: nor an s3: URI"
            )));
        };
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(Error::input(format!("'{uri}' names another host"))
                .with_hint("copy the recording to this machine, or give its http: URL"));
        }
        let bytes: Vec<u8> = percent_decode_str(path).collect();
        if bytes.contains(&0) {
            return Err(Error::input(format!("'{uri}' holds a zero byte")));
        }
        Ok(Self::File(path_from_bytes(bytes)?))
    }

    /// The canonical text: `file:///…` with odd bytes percent-encoded, or the URL itself.
    pub fn to_uri(&self) -> String {
        match self {
            Self::File(path) => format!("file://{}", percent_encode(&path_bytes(path), PATH)),
            Self::Url(url) => url.clone(),
        }
    }

    /// The local path, if there is one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Url(_) => None,
        }
    }

    /// A title for recordings that carry none: the file name without its extension.
    pub fn default_title(&self) -> String {
        let name = match self {
            Self::File(path) => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
            Self::Url(url) => {
                let path = url.split(['?', '#']).next().unwrap_or(url);
                let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
                let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
                Some(
                    name.rsplit_once('.')
                        .map_or(name.clone(), |(stem, _)| stem.to_owned()),
                )
            }
        };
        name.filter(|name| !name.is_empty())
            .map_or_else(|| self.to_uri(), |name| printable(&name))
    }
}

/// As shown to people: the path or URL with control characters escaped, so that it stays on one line.
impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.pad(&printable(&path.to_string_lossy())),
            Self::Url(url) => f.pad(&printable(url)),
        }
    }
}

/// `text` with control characters escaped.
fn printable(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            if c.is_control() {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
            out
        })
}

#[cfg(unix)]
fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "fallible where paths are not bytes")]
fn path_from_bytes(bytes: Vec<u8>) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> Vec<u8> {
    let text = path.to_string_lossy().replace('\\', "/");
    if text.starts_with('/') {
        text.into_bytes()
    } else {
        format!("/{text}").into_bytes()
    }
}

#[cfg(not(unix))]
fn path_from_bytes(bytes: Vec<u8>) -> Result<PathBuf> {
    let text = String::from_utf8(bytes).map_err(|_| Error::input("a path that is not valid UTF-8"))?;
    let drive = text
        .strip_prefix('/')
        .filter(|rest| rest.as_bytes().get(1) == Some(&b':'));
    Ok(PathBuf::from(drive.unwrap_or(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_survive_the_uri() {
        let path = PathBuf::from("/a b/ünïcode #1?/100%.mp3");
        let locator = Locator::File(path);
        let uri = locator.to_uri();
        assert!(
            !uri.contains(' ') && !uri.contains('#') && !uri.contains('?'),
            "{uri}"
        );
        assert_eq!(Locator::parse_uri(&uri).unwrap(), locator);
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_not_text_survive_the_uri() {
        use std::os::unix::ffi::OsStringExt as _;
        let path = PathBuf::from(std::ffi::OsString::from_vec(b"/tmp/\xff\n.wav".to_vec()));
        let locator = Locator::File(path);
        assert_eq!(Locator::parse_uri(&locator.to_uri()).unwrap(), locator);
        assert!(!locator.to_string().contains('\n'));
    }

    #[test]
    fn foreign_schemes_and_hosts_are_refused() {
        assert!(Locator::parse_uri("ftp://x/y").is_err());
        assert!(Locator::parse_uri("file://server/share.mp3").is_err());
        assert!(Locator::parse_uri("file:///a%00b").is_err());
        assert_eq!(
            Locator::parse_uri("file://localhost/a.mp3").unwrap(),
            Locator::File(PathBuf::from("/a.mp3"))
        );
    }

    #[test]
    fn titles_come_from_the_last_name() {
        assert_eq!(
            Locator::File(PathBuf::from("/x/My Talk.v2.mp3")).default_title(),
            "My Talk.v2"
        );
        assert_eq!(
            Locator::Url("https://h/p/ep%201.mp3?x=1".into()).default_title(),
            "ep 1"
        );
    }
}
