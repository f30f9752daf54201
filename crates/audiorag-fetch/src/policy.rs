//! What the web client may reach, and how much of anything it takes.

use crate::address::{canonical, contains, refusal};
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, Result};
use reqwest::Url;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// What [`WebClient`](crate::WebClient) may reach, and how much of anything it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebPolicy {
    /// Hosts and networks that may be reached although they are not on the public internet.
    pub allow_private: Vec<AllowedHost>,
    /// The largest recording, in bytes. Default 8 GiB: twelve hours of uncompressed stereo.
    pub max_bytes: u64,
    /// The largest feed, transcript or chapter list, in bytes after decompression. Default 64 MiB.
    pub max_document_bytes: u64,
    /// The longest wait for a connection. Default 10 s.
    pub connect_timeout: Duration,
    /// The longest silence of a server. Default 30 s.
    pub idle_timeout: Duration,
    /// The longest a download may take with all its attempts. Default 6 h.
    pub total_timeout: Duration,
    /// Redirects followed for one request. Default 5.
    pub max_redirects: usize,
    /// When to try again. An attempt that got further than all before it starts the count anew.
    pub retry: RetryPolicy,
    /// How the client calls itself.
    pub user_agent: String,
}

impl Default for WebPolicy {
    fn default() -> Self {
        Self {
            allow_private: Vec::new(),
            max_bytes: 8 << 30,
            max_document_bytes: 64 << 20,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_hours(6),
            max_redirects: 5,
            retry: RetryPolicy {
                max_attempts: 5,
                ..RetryPolicy::default()
            },
            user_agent: concat!("audiorag/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl WebPolicy {
    /// The URL, if it may be asked for as far as its text tells: the scheme is HTTP or HTTPS, there is a host, no user
    /// name and no password, and an address in the place of the host name is one that may be reached.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) otherwise. The URL is not quoted beyond its host, because what is
    /// wrong with it may be that it holds a password.
    pub fn check(&self, url: &str) -> Result<Url> {
        let parsed = Url::parse(url.trim())
            .map_err(|error| Error::input("this is not a URL that can be read").with_cause(error))?;
        self.judge(&parsed)?;
        Ok(parsed)
    }

    /// [`check`](Self::check) for a URL that is parsed already.
    pub(crate) fn judge(&self, url: &Url) -> Result<()> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::input(format!(
                "URLs of the scheme {} are not fetched",
                shortened(url.scheme())
            ))
            .with_hint("give a URL that starts with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // Refused rather than sent or dropped: a source's URL is stored, shown and cited.
            return Err(Error::input("a URL holds a user name or password, which would be stored and shown")
                .with_hint("remove the part before the @; use a URL with an access token of its own, or download the file"));
        }
        // The URL type has made every spelling of an address (octal, hexadecimal, a single number, full-width
        // digits) into an address before this.
        let address = match url.host() {
            None => return Err(Error::input("a URL names no host")),
            Some(url::Host::Domain(_)) => return Ok(()),
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
        };
        match self.refusal(None, address) {
            None => Ok(()),
            Some(what) => Err(refused(&format!("{address} is {what}"))),
        }
    }

    /// Why the address that `name` resolved to (`None` for an address in the URL itself) must not be reached.
    pub(crate) fn refusal(&self, name: Option<&str>, address: IpAddr) -> Option<&'static str> {
        let address = canonical(address);
        let allowed = self
            .allow_private
            .iter()
            .any(|allowed| allowed.covers(name, address));
        if allowed { None } else { refusal(address) }
    }
}

/// The error for a host that must not be reached.
pub(crate) fn refused(what: &str) -> Error {
    Error::input(format!("{what}, and only the public internet is fetched from"))
        .with_hint("if you trust this host, put it on the list of private hosts that may be fetched from")
}

/// The beginning of text that somebody else chose.
fn shortened(text: &str) -> String {
    text.chars().take(20).collect()
}

/// An entry of the list of private hosts that may be reached: a host name, an address, or a network (`10.1.0.0/16`).
///
/// A name stands for whatever it resolves to. An address or a network covers URLs that hold such an address and
/// names that resolve to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Allowed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Name(String),
    Network(IpAddr, u8),
}

impl AllowedHost {
    fn covers(&self, name: Option<&str>, address: IpAddr) -> bool {
        match &self.0 {
            Allowed::Name(allowed) => name.is_some_and(|name| same_name(allowed, name)),
            Allowed::Network(base, prefix) => contains(*base, *prefix, address),
        }
    }
}

fn same_name(a: &str, b: &str) -> bool {
    // A name that ends in a dot is the same name.
    a.trim_end_matches('.')
        .eq_ignore_ascii_case(b.trim_end_matches('.'))
}

impl FromStr for AllowedHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong = || {
            Error::config(format!("{:?} is neither a host name nor an address nor a network", shortened(text)))
                .with_hint("write for example nas.local, 192.168.1.20, 192.168.1.0/24 or fd00::/8, without scheme and port")
        };
        if let Some((base, prefix)) = text.split_once('/') {
            let base = canonical(base.parse().map_err(|_| wrong())?);
            let longest = if base.is_ipv4() { 32 } else { 128 };
            let prefix = prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(wrong)?;
            return Ok(Self(Allowed::Network(base, prefix)));
        }
        // The rules of URLs decide what a host is, so that both sides of a comparison are spelled alike.
        let bracketed = match text.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => text.to_owned(),
        };
        match url::Host::parse(&bracketed) {
            Ok(url::Host::Ipv4(address)) => Ok(Self(Allowed::Network(address.into(), 32))),
            Ok(url::Host::Ipv6(address)) => {
                let address = canonical(address.into());
                Ok(Self(Allowed::Network(
                    address,
                    if address.is_ipv4() { 32 } else { 128 },
                )))
            }
            Ok(url::Host::Domain(name)) => Ok(Self(Allowed::Name(name))),
            Err(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;

    /// Ways to write a URL that leads to this machine, to its network or to a cloud's credentials.
    const HOSTILE: &[&str] = &[
        // Loopback, in every notation that URL parsers accept.
        "http://127.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.255.255.254/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0177.0.0.0x1/",
        "http://00000177.1/",
        "http://127.0.0.1./",
        "http://127.0.0.1:80/",
        "http:127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "http:///127.0.0.1/",
        " http://127.0.0.1/",
        "ht\ntp://127.0.\t0.1/",
        "HTTP://127.0.0.1/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1%2e/",
        "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
        "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
        "http://127\u{3002}0\u{3002}0\u{3002}1/",
        "http://127.0.0.1#@example.com/",
        "http://127.0.0.1?@example.com/",
        "http://0/",
        "http://0.0.0.0/",
        "http://0.1.2.3/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:7f00:0001]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b:1::127.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:1::80ff:fffe]/",
        "http://[2a00:1450::5efe:7f00:1]/",
        // Networks of one's own.
        "http://10.0.0.1/",
        "http://10.1/",
        "http://167772161/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.1.1/",
        "http://0xc0a80101/",
        "http://192.168.257/",
        "http://100.64.0.1/",
        "http://[fc00::1]/",
        "http://[fd12:3456:789a::1]/",
        "http://[fec0::1]/",
        "http://[::ffff:192.168.1.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        // Metadata services and the local link.
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://168.63.129.16/",
        "http://100.100.100.200/",
        "http://192.0.0.192/",
        "http://169.254.0.1/",
        // Groups, reserved and broadcast addresses.
        "http://224.0.0.1/",
        "http://239.255.255.250:1900/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://192.0.2.1/",
        "http://198.18.0.1/",
        "http://198.51.100.1/",
        "http://203.0.113.1/",
        "http://192.88.99.1/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
        "http://[3fff::1]/",
        // Other schemes.
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "dict://127.0.0.1:11211/",
        "data:audio/wav;base64,AAAA",
        "javascript:alert(1)",
        "unix:///run/docker.sock",
        "ws://example.com/",
        "view-source:http://example.com/",
        "//127.0.0.1/",
        "127.0.0.1",
        "localhost:80",
        // User names and passwords, and hosts hidden behind them.
        "http://user:canary@example.com/",
        "http://canary@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com:80@127.0.0.1/",
        "http://example.com%2f@127.0.0.1/",
        "http://:canary@example.com/",
        // No host, or none that can be.
        "http://",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://127.0.0.256/",
        "http://1.2.3.4.5/",
        "http://exa mple.com/",
        "",
    ];

    const ORDINARY: &[&str] = &[
        "https://example.com/a.mp3",
        "http://example.com:8080/feed?token=1#t=2",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]/",
        "https://b\u{fc}cher.example/",
        "https://127.0.0.1.example.com/",
        // What looks like another host to some readers is a path to the one reader there is here.
        "http://example.com\\@127.0.0.1/",
    ];

    const LIST: &[&str] = &["192.168.1.0/24", "NAS.local", "::1", "fd00:1::/32"];
    /// What that list opens.
    const LISTED: &[&str] = &[
        "http://192.168.1.7/",
        "http://[::ffff:192.168.1.7]/",
        "http://3232235783/",
        "http://[::1]:8080/",
        "http://[fd00:1::5]/",
    ];
    const NOT_LISTED: &[&str] = &["http://192.168.2.7/", "http://127.0.0.1/", "http://[fd00:2::5]/"];

    /// Table: judged | over 90 spellings of inner addresses (octal, hexadecimal, one number, full-width, IPv4 in
    /// IPv6, 6to4, NAT64, metadata), schemes and passwords | refused before anything is sent
    #[test]
    fn no_spelling_of_an_inner_address_passes() {
        let policy = WebPolicy::default();
        for url in HOSTILE {
            let error = match policy.check(url) {
                Err(error) => error,
                Ok(parsed) => panic!("{url:?} passes as {parsed}"),
            };
            assert_eq!(error.kind(), ErrorKind::Input, "{url:?}");
            assert!(!error.report().contains("canary"), "{url:?}: {}", error.report());
        }
    }

    #[test]
    fn ordinary_urls_pass() {
        let policy = WebPolicy::default();
        for url in ORDINARY {
            assert!(policy.check(url).is_ok(), "{url}");
        }
        let url = policy.check("http://example.com\\@127.0.0.1/").unwrap();
        assert_eq!(url.host_str(), Some("example.com"));
    }

    fn allowing(hosts: &[&str]) -> WebPolicy {
        WebPolicy {
            allow_private: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            ..WebPolicy::default()
        }
    }

    /// Table: judged | the list of private hosts | opens what it names and nothing else
    #[test]
    fn the_list_opens_what_it_names_and_nothing_else() {
        let policy = allowing(LIST);
        for open in LISTED {
            assert!(policy.check(open).is_ok(), "{open}");
        }
        for closed in NOT_LISTED {
            assert!(policy.check(closed).is_err(), "{closed}");
        }
        let inner: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(policy.refusal(Some("nas.local."), inner), None);
        assert_eq!(
            policy.refusal(Some("evil-nas.local"), inner),
            Some("a private network")
        );
        assert_eq!(policy.refusal(None, inner), Some("a private network"));
        let all = allowing(&["0.0.0.0/0"]);
        assert!(all.check("http://10.0.0.1/").is_ok());
        assert!(all.check("http://[fd00::1]/").is_err());
    }

    /// Table: judged | the list of private hosts
    #[test]
    fn entries_that_mean_nothing_are_refused() {
        for wrong in [
            "",
            "http://nas/",
            "nas:80",
            "10.0.0.0/33",
            "10.0.0/8/8",
            "x/8",
            "a b",
            "[::1]:80",
            "::1/129",
        ] {
            let error = wrong.parse::<AllowedHost>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{wrong}");
        }
    }

    /// What becomes of a URL, in the words of the refusal, but the same ones for every address and scheme.
    fn fate(policy: &WebPolicy, url: &str) -> String {
        let Err(error) = policy.check(url) else {
            return "asked for".to_owned();
        };
        let message = error.message();
        let what = match message.split_once(", and only the public internet") {
            Some((address, _)) => address.split_once(" is ").map_or(address, |(_, what)| what),
            None if message.starts_with("URLs of the scheme ") => "URLs of its scheme are not fetched",
            None => message,
        };
        format!("refused: {what}")
    }

    /// The table of docs/sources.md.
    fn table() -> String {
        let (strict, listed) = (WebPolicy::default(), allowing(LIST));
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        let mut add = |fate: String, url: &str| {
            let url = match url {
                "" => "(nothing)".to_owned(),
                url => format!("`{}`", url.replace('\n', "\\n").replace('\t', "\\t")),
            };
            match rows.iter_mut().find(|(known, _)| *known == fate) {
                Some((_, urls)) => urls.push(url),
                None => rows.push((fate, vec![url])),
            }
        };
        for url in HOSTILE.iter().chain(ORDINARY) {
            add(fate(&strict, url), url);
        }
        for url in LISTED.iter().chain(NOT_LISTED) {
            let list = LIST.join("`, `");
            add(format!("with `{list}` on the list, {}", fate(&listed, url)), url);
        }
        let count: usize = rows.iter().map(|(_, urls)| urls.len()).sum();
        let rows: Vec<String> = rows
            .into_iter()
            .map(|(fate, urls)| format!("| {fate} | {} |\n", urls.join(", ")))
            .collect();
        format!(
            "<details>\n<summary>What becomes of each of {count} URLs</summary>\n\n\
             | what becomes of it | URLs |\n| --- | --- |\n{}\n</details>\n",
            rows.concat()
        )
    }

    #[test]
    fn the_page_has_the_table_of_what_is_tested() {
        audiorag_testkit::page::has_table("docs/sources.md", "spellings", &table());
    }
}
