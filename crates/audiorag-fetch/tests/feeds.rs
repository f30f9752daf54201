//! Feeds as they are found: complete, careless, broken and hostile.

use audiorag_core::{ErrorKind, MediaTime};
use audiorag_fetch::feed::{Episode, Feed};
use std::fmt::Write as _;

const URL: &str = "https://host.example/shows/feed.xml";

#[track_caller]
fn read(text: impl AsRef<[u8]>) -> Feed {
    match Feed::parse(text.as_ref(), URL) {
        Ok(feed) => feed,
        Err(error) => unreachable!("{}", error.report()),
    }
}

/// An RSS feed with the namespaces that podcasts use, around `items`.
fn rss(items: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<?xml-stylesheet type="text/xsl" href="/style.xsl"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
  xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"
  xmlns:atom="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/"
  xmlns:podcast="https://podcastindex.org/namespace/1.0">
<channel><title>Test Show &amp; Friends</title>{items}</channel></rss>"#
    )
}

fn item(inner: &str) -> String {
    format!("<item>{inner}</item>")
}

fn enclosure(name: &str) -> String {
    format!(r#"<enclosure url="https://cdn.example/{name}" length="1" type="audio/mpeg"/>"#)
}

fn urls(feed: &Feed) -> Vec<&str> {
    let urls = feed.episodes.iter().map(|episode| episode.enclosure_url.as_str());
    urls.map(|url| url.rsplit('/').next().unwrap_or_default())
        .collect()
}

/// Table: feeds | a complete feed | title, date, notes as text, length, author, transcripts, chapters
#[test]
fn a_podcast_feed_is_read_with_everything_that_is_used() {
    let feed = read(rss(r#"
      <link>https://host.example/</link><language>en-us</language>
      <description><![CDATA[<p>About <b>tests</b>.</p>]]></description>
      <itunes:author>Ada &amp; Co</itunes:author>
      <itunes:owner><itunes:name>x</itunes:name><itunes:email>x@host.example</itunes:email></itunes:owner>
      <podcast:guid>917393e3-1b1e-5cef-ace4-edaa54e1f810</podcast:guid>
      <podcast:person role="Cosmic Overlord">Nobody knows this role</podcast:person>
      <item>
        <title>Pilot: <![CDATA[the <i>first</i>]]> one</title>
        <itunes:title></itunes:title>
        <itunes:summary/>
        <description>&lt;p&gt;Notes &amp;amp; links&lt;/p&gt;&lt;p&gt;More&lt;/p&gt;</description>
        <link>/episodes/1</link>
        <guid isPermaLink="false">ep-1</guid>
        <pubDate>Wed, 07 Jan 2026 06:00:00 +0100</pubDate>
        <enclosure url="../media/1.mp3?a=1&amp;b=2" length="12345678" type="audio/mpeg"/>
        <itunes:duration>1:02:03</itunes:duration>
        <itunes:author>Grace</itunes:author>
        <podcast:transcript url="/t/1.vtt" type="text/vtt" language="en"/>
        <podcast:transcript url="https://cdn.example/1.json" type="application/json; charset=utf-8"/>
        <podcast:transcript url="/t/1.txt"/>
        <podcast:chapters url="/c/1.json" type="application/json+chapters"/>
        <podcast:person role="co-host">Someone</podcast:person>
        <podcast:season name="x">one</podcast:season>
        <media:content url="https://cdn.example/1.jpg" medium="image" type="image/jpeg"/>
      </item>"#));
    assert_eq!(feed.title.as_deref(), Some("Test Show & Friends"));
    assert_eq!(feed.description.as_deref(), Some("About tests."));
    assert_eq!(feed.author.as_deref(), Some("Ada & Co"));
    assert_eq!(feed.language.as_deref(), Some("en-us"));
    assert_eq!(feed.guid.as_deref(), Some("917393e3-1b1e-5cef-ace4-edaa54e1f810"));
    assert_eq!(feed.incomplete, None);
    let link =
        |url: &str, media_type: Option<&str>, language: Option<&str>| audiorag_fetch::feed::TranscriptLink {
            url: url.to_owned(),
            media_type: media_type.map(str::to_owned),
            language: language.map(str::to_owned),
        };
    assert_eq!(
        feed.episodes,
        [Episode {
            guid: "ep-1".to_owned(),
            enclosure_url: "https://host.example/media/1.mp3?a=1&b=2".to_owned(),
            media_type: Some("audio/mpeg".to_owned()),
            length: Some(12_345_678),
            title: Some("Pilot: the first one".to_owned()),
            published: Some("2026-01-07T05:00:00Z".to_owned()),
            description: Some("Notes & links\nMore".to_owned()),
            duration: Some(MediaTime::from_seconds(3_723)),
            author: Some("Grace".to_owned()),
            transcripts: vec![
                link("https://host.example/t/1.vtt", Some("text/vtt"), Some("en")),
                link("https://cdn.example/1.json", Some("application/json"), None),
                link("https://host.example/t/1.txt", None, None),
            ],
            chapters_url: Some("https://host.example/c/1.json".to_owned()),
            link: Some("https://host.example/episodes/1".to_owned()),
        }]
    );
}

/// Table: feeds | other formats and versions | the same
#[test]
fn other_formats_give_the_same() {
    let atom = r#"<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://cdn.example/x/">
      <title type="text">Show</title><id>urn:feed</id><updated>2026-02-01T00:00:00Z</updated>
      <author><name>Ada</name><email>ada@host.example</email></author>
      <entry><title/><id>urn:1</id><updated>2026-01-07T05:00:00Z</updated>
        <link rel="enclosure" type="audio/mpeg" length="10" href="1.mp3"/><link href="https://host.example/1"/>
        <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Notes</p></div></content>
        <source><id>urn:other</id><title>Other</title></source></entry></feed>"#;
    let json = r#"{"version": "https://jsonfeed.org/version/1.1", "title": "Show",
      "authors": [{"name": "Ada （ada@host.example）"}],
      "items": [{"id": "urn:1", "url": "https://host.example/1", "content_text": "Notes",
        "date_published": "2026-01-07T06:00:00+01:00",
        "attachments": [{"url": "https://cdn.example/x/1.jpg", "mime_type": "image/jpeg"},
          {"url": "https://cdn.example/x/1.mp3", "mime_type": "audio/mpeg", "size_in_bytes": 10}]}]}"#;
    for text in [atom, json] {
        let feed = read(text);
        assert_eq!(feed.title.as_deref(), Some("Show"), "{text}");
        assert!(feed.author.unwrap().starts_with("Ada"), "{text}");
        let [episode] = feed.episodes.as_slice() else {
            panic!("{text}")
        };
        assert_eq!(episode.guid, "urn:1", "{text}");
        assert_eq!(episode.enclosure_url, "https://cdn.example/x/1.mp3", "{text}");
        assert_eq!(
            episode.published.as_deref(),
            Some("2026-01-07T05:00:00Z"),
            "{text}"
        );
        assert_eq!(episode.length, Some(10), "{text}");
        assert_eq!(episode.description.as_deref(), Some("Notes"), "{text}");
        assert_eq!(episode.link.as_deref(), Some("https://host.example/1"), "{text}");
    }
    let old = r#"<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
      <channel><title>Old</title></channel>
      <item><title>No recording</title></item>
      <item><title>One</title><enclosure url="/1.mp3" type="audio/mpeg"/></item></rdf:RDF>"#;
    let feed = read(old);
    assert_eq!(urls(&feed), ["1.mp3"], "{feed:?}");
    assert_eq!(feed.episodes[0].title.as_deref(), Some("One"));
    assert_eq!(feed.without_recording, 1);
    for version in ["", r#"version="0.91""#, r#"version="2""#, r#"version="2.0.1""#] {
        let feed = read(format!(
            "<rss {version}><channel><title>T</title>{}</channel></rss>",
            item(&enclosure("1.mp3"))
        ));
        assert_eq!(urls(&feed), ["1.mp3"], "{version}");
    }
}

/// Table: feeds | no GUID, one GUID for several recordings, the same item twice | the URL of the recording stands in;
/// repetitions are counted
#[test]
fn every_episode_has_an_identity_of_its_own() {
    let feed = read(rss(&[
        item(&(enclosure("none.mp3") + "<title>No GUID</title>")),
        item(&(enclosure("empty.mp3") + "<guid> </guid>")),
        item(&(enclosure("a.mp3") + "<guid>same</guid>")),
        item(&(enclosure("a.mp3") + "<guid>same</guid><title>Again</title>")),
        item(&(enclosure("b.mp3") + "<guid>same</guid>")),
        item(&(enclosure("long.mp3") + "<guid>" + &"x".repeat(5_000) + "</guid>")),
    ]
    .concat()));
    let identities: Vec<&str> = feed
        .episodes
        .iter()
        .map(|episode| episode.guid.as_str())
        .collect();
    assert_eq!(
        identities[..4],
        [
            "https://cdn.example/none.mp3",
            "https://cdn.example/empty.mp3",
            "same",
            "https://cdn.example/b.mp3",
        ]
    );
    assert_eq!(identities[4].len(), 64);
    assert_eq!(feed.repeated, 1);
}

/// Table: feeds | several enclosures, untyped ones, Media RSS, none | the recording is found, or the item is counted
/// as one without
#[test]
fn the_recording_is_found_among_what_is_attached() {
    let table = [
        (
            r#"<enclosure url="/n.pdf" type="application/pdf"/><enclosure url="/a.mp3" type="audio/mpeg"/>"#,
            Some("a.mp3"),
        ),
        (
            r#"<enclosure url="/a.mp3" type="audio/mpeg"/><enclosure url="/b.mp3" type="audio/mpeg"/>"#,
            Some("a.mp3"),
        ),
        (r#"<enclosure url="/untyped.mp3"/>"#, Some("untyped.mp3")),
        (
            r#"<enclosure url="/a.m4a" type="application/octet-stream" length="no"/>"#,
            Some("a.m4a"),
        ),
        (
            r#"<media:group><media:content url="/v.mp4" type="video/mp4" fileSize="7"/></media:group>"#,
            Some("v.mp4"),
        ),
        (
            r#"<media:content url="/v.mp3" type="audio/mpeg"/>"#,
            Some("v.mp3"),
        ),
        (
            r#"<atom:link rel="enclosure" href="/l.mp3" type="audio/mpeg"/>"#,
            Some("l.mp3"),
        ),
        (
            r#"<enclosure url="/a.mp3?x=1&y=2" type="audio/mpeg"/>"#,
            Some("a.mp3?x=1&y=2"),
        ),
        (r#"<enclosure url="/n.pdf" type="application/pdf"/>"#, None),
        (r#"<enclosure url="" type="image/png"/>"#, None),
        (r#"<enclosure url="file:///etc/passwd" type="audio/mpeg"/>"#, None),
        (
            r#"<enclosure url="javascript:alert(1)" type="audio/mpeg"/>"#,
            None,
        ),
        (r#"<enclosure type="audio/mpeg"/>"#, None),
        ("", None),
    ];
    for (attached, expected) in table {
        let feed = read(rss(&item(&format!("<title>t</title>{attached}"))));
        assert_eq!(urls(&feed).first().copied(), expected, "{attached}");
        assert_eq!(
            feed.without_recording,
            usize::from(expected.is_none()),
            "{attached}"
        );
    }
}

/// Table: feeds | wrong and missing dates; `since`, `latest` | newest first, undated last; `since` leaves undated
/// ones out
#[test]
fn dates_are_read_in_the_forms_they_come_in_and_order_the_episodes() {
    let dated = |name: &str, date: &str| item(&format!("{}<pubDate>{date}</pubDate>", enclosure(name)));
    let feed = read(rss(&[
        dated("undated-1", "soon"),
        dated("wrong-day", "Mon, 07 Jan 2026 06:00:00 GMT"),
        dated("iso", "2026-01-08T00:00:00Z"),
        dated("no-zero", "Fri, 9 Jan 2026 1:00:00 EST"),
        dated("undated-2", ""),
        dated("long-month", "10 January 2026 00:00:00 +0000"),
        dated("impossible", "Fri, 31 Feb 2026 00:00:00 GMT"),
        item(&enclosure("undated-3")),
    ]
    .concat()));
    assert_eq!(
        urls(&feed),
        [
            "long-month",
            "no-zero",
            "iso",
            "wrong-day",
            "undated-1",
            "undated-2",
            "impossible",
            "undated-3"
        ]
    );
    let names = |since, latest| -> Vec<String> {
        let chosen = feed.select(since, latest).unwrap().into_iter();
        chosen
            .map(|episode| episode.enclosure_url.rsplit('/').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(Some("2026-01-08"), None), ["long-month", "no-zero", "iso"]);
    assert_eq!(
        names(Some("2026-01-08T00:00:01Z"), None),
        ["long-month", "no-zero"]
    );
    assert_eq!(names(Some("2026-01-01"), Some(1)), ["long-month"]);
    for wrong in ["2026-1-5", "last week", "2026-02-30", "2026-01-08T00:00:01", ""] {
        let error = feed.select(Some(wrong), None).unwrap_err();
        assert_eq!(error.message(), format!("'{wrong}' is not a day"));
    }
    assert_eq!(names(None, Some(2)), ["long-month", "no-zero"]);
    assert_eq!(names(None, None).len(), 8);
}

/// Table: feeds | a complete feed
#[test]
fn lengths_and_notes_are_read_in_the_forms_they_come_in() {
    for (said, seconds) in [
        ("3723", Some(3_723)),
        ("62:03", Some(3_723)),
        ("1:02:03", Some(3_723)),
        (" 01:02:03.0 ", Some(3_723)),
        ("1:02:03:04", None),
        ("-5", None),
        ("0", None),
        ("one hour", None),
        ("99999999999999999999", None),
        ("", None),
    ] {
        let feed = read(rss(&item(&format!(
            "{}<itunes:duration>{said}</itunes:duration>",
            enclosure("1")
        ))));
        assert_eq!(
            feed.episodes[0].duration,
            seconds.map(MediaTime::from_seconds),
            "{said:?}"
        );
    }
    for notes in [
        "<description>Notes</description><content:encoded>Longer</content:encoded>",
        "<content:encoded>Notes</content:encoded>",
        "<itunes:summary>Notes</itunes:summary>",
        "<description/><itunes:summary>Notes</itunes:summary>",
    ] {
        let feed = read(rss(&item(&(enclosure("1") + notes))));
        assert_eq!(feed.episodes[0].description.as_deref(), Some("Notes"), "{notes}");
    }
}

/// Table: feeds | broken XML, a feed cut off | whole items are kept, and it is said
#[test]
fn a_feed_that_breaks_off_gives_what_is_whole() {
    let items = item(&enclosure("1.mp3")) + &item(&enclosure("2.mp3"));
    let whole = rss(&items);
    let second = whole.find("2.mp3").unwrap();
    let cut = read(&whole[..second]);
    assert_eq!(urls(&cut), ["1.mp3"]);
    assert!(cut.incomplete.unwrap().contains("after 1 items"));
    let tangled = rss(&(items + "<item><title>x</b></title></item>"));
    let feed = read(tangled);
    assert_eq!(urls(&feed), ["1.mp3", "2.mp3"]);
    assert!(feed.incomplete.unwrap().contains("broken after 2 items"));
}

/// Table: feeds | broken XML, a feed cut off
#[test]
fn what_is_no_feed_is_refused() {
    for text in [
        "",
        "hello",
        "<html><body>x</body></html>",
        "{}",
        "{\"items\": 3}",
        "<rss",
        "\u{0}\u{1}",
        "<opml/>",
    ] {
        let error = Feed::parse(text.as_bytes(), URL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{text}");
    }
}

/// Table: feeds | entity bombs, external entities, depth, wide characters in addresses | nothing is expanded, nothing
/// fails
#[test]
fn entities_are_not_expanded_and_depth_does_no_harm() {
    let mut bomb = String::from("<?xml version=\"1.0\"?><!DOCTYPE rss [<!ENTITY a \"ha\">");
    for (name, before) in ('b'..='z').zip('a'..) {
        let ten = format!("&{before};").repeat(10);
        writeln!(bomb, "<!ENTITY {name} \"{ten}\">").unwrap();
    }
    bomb += "<!ENTITY file SYSTEM \"file:///etc/passwd\">]><rss version=\"2.0\"><channel><title>x&z;&file;</title>";
    bomb += &item(&enclosure("1.mp3"));
    bomb += "</channel></rss>";
    assert_eq!(read(&bomb).title.as_deref(), Some("x&z;&file;"));

    let deep = "<itunes:category text='x'>".repeat(100_000);
    let deep = format!("{deep}{}", "</itunes:category>".repeat(100_000));
    let feed = read(rss(&(deep + &item(&enclosure("1.mp3")))));
    assert_eq!(urls(&feed), ["1.mp3"]);
    let nested = "<x>".repeat(50_000);
    assert!(Feed::parse(rss(&nested).as_bytes(), URL).is_err());
}

/// Table: feeds | entity bombs, external entities, depth, wide characters in addresses
#[test]
fn people_with_addresses_in_wide_brackets_do_no_harm() {
    let people =
        "<managingEditor>名前（a@host.example）</managingEditor><webMaster>（a@host.example）</webMaster>";
    let feed = read(rss(&(people.to_owned()
        + &item(
            &(enclosure("1.mp3")
                + "<author>名前（a@host.example）</author><dc:creator>（a@host.example）</dc:creator>"),
        ))));
    assert_eq!(feed.episodes[0].author.as_deref(), Some("名前（a@host.example）"));
}

/// Table: feeds | UTF-16, Latin-1, byte order marks | understood
#[test]
fn encodings_are_understood() {
    let latin = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><rss version=\"2.0\"><channel><title>Caf\xe9</title></channel></rss>";
    assert_eq!(read(latin).title.as_deref(), Some("Caf\u{e9}"));
    let text = "<rss version=\"2.0\"><channel><title>Caf\u{e9} \u{65e5}\u{672c}</title></channel></rss>";
    let little: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let big: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_be_bytes)
        .collect();
    let marked = format!("\u{feff}{text}");
    for bytes in [marked.as_bytes(), &little, &big] {
        assert_eq!(read(bytes).title.as_deref(), Some("Caf\u{e9} \u{65e5}\u{672c}"));
    }
}

/// Table: feeds | 10,000 items, huge notes | read within bounds
#[test]
fn a_long_feed_with_huge_notes_is_read_within_bounds() {
    let notes = "x ".repeat(200_000);
    let mut items = item(&format!(
        "{}<description>{notes}</description><title>{notes}</title>",
        enclosure("huge.mp3")
    ));
    for number in 0..10_000 {
        items += &item(&format!(
            "{}<guid>{number}</guid>",
            enclosure(&format!("{number}.mp3"))
        ));
    }
    let feed = read(rss(&items));
    assert_eq!(feed.episodes.len(), 10_001);
    assert_eq!(feed.incomplete, None);
    let huge = &feed.episodes[0];
    assert!(huge.description.as_ref().unwrap().chars().count() <= 4_001);
    assert!(huge.title.as_ref().unwrap().chars().count() <= 301);
}

/// Table: feeds | broken XML, a feed cut off
#[test]
fn no_beginning_of_a_feed_makes_the_reader_fail() {
    let whole = rss(&item(
        &(enclosure("1.mp3") + "<title>\u{e4}&#228;&x;</title><pubDate>x</pubDate><![CDATA[y]]>"),
    ));
    for end in 0..whole.len() {
        // Cut anywhere, also inside a character.
        let _outcome = Feed::parse(&whole.as_bytes()[..end], URL);
    }
}
