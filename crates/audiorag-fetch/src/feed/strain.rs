//! What stands before feed-rs: it reads what feed-rs leaves out, and hands on only what feed-rs reads well.
//!
//! feed-rs 3.0 refuses a whole feed for one empty `itunes:summary`, one unknown `podcast:person` role or a missing
//! version, and cuts some names in the middle of a character. So a document is read here first, event by event, and
//! written anew with the elements that are wanted, each with its text alone: no declarations of entities, no depth, no
//! surprises. A document that breaks off keeps the items before the break.

use super::{LONGEST_DESCRIPTION, LONGEST_LINE, TranscriptLink, text};
use audiorag_core::{Error, MediaTime, Result};
use quick_xml::encoding::DecodingReader;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer, XmlVersion};
use serde_json::Value;
use url::Url;

/// Items that are read.
const MOST_ITEMS: usize = 20_000;
/// Bytes of text of one element that are read.
const MOST_TEXT: usize = 64 << 10;
/// What stands before the number of an item in the place of its identity.
pub(super) const NUMBERED: &str = "item:";

/// Elements of an item or a show that feed-rs reads, by name without prefix.
const FOR_FEED_RS: &[&str] = &[
    "title",
    "link",
    "description",
    "pubDate",
    "date",
    "published",
    "updated",
    "summary",
    "subtitle",
    "content",
    "encoded",
    "language",
];

/// A document for feed-rs, and what was read besides.
#[derive(Debug, Default)]
pub(super) struct Strained {
    pub(super) document: Vec<u8>,
    pub(super) show: Extra,
    pub(super) items: Vec<Extra>,
    pub(super) incomplete: Option<String>,
}

/// What is read of the show or of an item.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    pub(super) guid: Option<String>,
    pub(super) author: Option<String>,
    pub(super) duration: Option<MediaTime>,
    /// Apple's notes, where the usual ones are missing.
    pub(super) summary: Option<String>,
    pub(super) enclosures: Vec<Enclosure>,
    pub(super) transcripts: Vec<TranscriptLink>,
    pub(super) chapters_url: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Enclosure {
    pub(super) url: String,
    pub(super) media_type: Option<String>,
    pub(super) length: Option<u64>,
}

/// The recording among the enclosures of an item: the first that says it is one, else the first that is not something
/// else.
pub(super) fn best(enclosures: Vec<Enclosure>) -> Option<Enclosure> {
    let is = |enclosure: &Enclosure, kinds: &[&str]| {
        let media_type = enclosure.media_type.as_deref().unwrap_or_default();
        kinds.iter().any(|kind| media_type.starts_with(kind))
    };
    let recording = enclosures
        .iter()
        .position(|enclosure| is(enclosure, &["audio/", "video/"]))
        .or_else(|| {
            enclosures
                .iter()
                .position(|enclosure| !is(enclosure, &["image/", "text/", "application/pdf"]))
        })?;
    enclosures.into_iter().nth(recording)
}

/// The URL that `url` means at `base`, if it is one that can be fetched.
pub(super) fn absolute(base: &Url, url: &str) -> Option<String> {
    let url = base.join(url.trim()).ok()?;
    (matches!(url.scheme(), "http" | "https") && !url.as_str().is_empty()).then(|| url.into())
}

/// One element while it is read, with everything in it.
struct Leaf {
    name: String,
    prefix: String,
    start: BytesStart<'static>,
    text: String,
    /// The text of an element `name` in it, as Atom writes people.
    person: String,
    /// Names of the elements that are open inside it.
    inside: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Awaited,
    Ended,
}

struct Straining {
    writer: Writer<Vec<u8>>,
    out: Strained,
    base: Url,
    /// The containers that are open (the root, a channel, an item): their qualified names, and the base URL outside.
    open: Vec<(String, Url)>,
    leaf: Option<Leaf>,
    item: Option<Extra>,
    /// Set for RSS 1.0, whose items stand beside the channel and are moved into it: how far its channel has come.
    beside: Option<Channel>,
    /// The length of the document at the beginning of the item that is open.
    mark: usize,
}

/// Reads an XML feed.
pub(super) fn xml(bytes: &[u8], base: &Url) -> Result<Strained> {
    let mut reader = Reader::from_reader(DecodingReader::new(bytes));
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    config.trim_markup_names_in_closing_tags = true;
    let mut straining = Straining {
        writer: Writer::new(Vec::new()),
        out: Strained::default(),
        base: base.clone(),
        open: Vec::new(),
        leaf: None,
        item: None,
        beside: None,
        mark: 0,
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) if straining.out.items.is_empty() => {
                return Err(Error::input("this is not a feed that can be read").with_cause(error));
            }
            Err(error) => {
                straining.out.incomplete = Some(format!(
                    "the feed is broken after {} items: {error}",
                    straining.out.items.len()
                ));
                break;
            }
        };
        match event {
            Event::Decl(declaration) => {
                if let Some(encoding) = declaration.encoder() {
                    reader.get_mut().set_encoding(encoding);
                }
            }
            Event::Start(start) => straining.start(&start)?,
            Event::End(_) => straining.end()?,
            Event::Text(text) => straining.text(&text.xml10_content()),
            Event::CData(text) => straining.text(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                match reference.resolve_char_ref() {
                    Ok(Some(character)) => straining.text(character.encode_utf8(&mut [0; 4])),
                    _ => match quick_xml::escape::resolve_predefined_entity(&name) {
                        Some(character) => straining.text(character),
                        // Nothing is expanded that the document declares. HTML's names are resolved with the HTML.
                        None => straining.text(&format!("&{name};")),
                    },
                }
            }
            Event::Eof => {
                // The end of the root was taken for that of the channel.
                let left = usize::from(straining.beside == Some(Channel::Ended));
                if straining.open.len() > left {
                    straining.out.incomplete = Some(format!(
                        "the feed breaks off after {} items",
                        straining.out.items.len()
                    ));
                }
                break;
            }
            _ => {}
        }
        if straining.out.items.len() == MOST_ITEMS {
            straining.out.incomplete =
                Some(format!("only the first {MOST_ITEMS} items of the feed are read"));
            break;
        }
    }
    straining.close()
}

impl Straining {
    fn start(&mut self, start: &BytesStart<'_>) -> Result<()> {
        let (prefix, name) = split(start);
        if let Some(leaf) = &mut self.leaf {
            let link = attribute(start, "url").and_then(|url| absolute(&self.base, &url));
            // Media RSS groups renditions of one recording.
            if leaf.name == "group" && name == "content" {
                let enclosure = link.map(|url| enclosure(url, start));
                self.extra().enclosures.extend(enclosure);
                if let Some(leaf) = &mut self.leaf {
                    leaf.inside.push(name);
                }
                return Ok(());
            }
            leaf.inside.push(name);
            return Ok(());
        }
        let depth = self.open.len();
        let container = depth == 0
            || (name == "channel" && depth == 1)
            || (matches!(name.as_str(), "item" | "entry") && self.item.is_none());
        if !container {
            self.leaf = Some(Leaf {
                name,
                prefix,
                start: start.to_owned(),
                text: String::new(),
                person: String::new(),
                inside: Vec::new(),
            });
            return Ok(());
        }
        if depth > 0 && name != "channel" {
            self.mark = self.writer.get_ref().len();
            self.item = Some(Extra::default());
        }
        let mut qualified = start.name().as_ref().to_owned();
        if depth == 0 && name == "RDF" {
            // RSS 2.0 with namespaces says the same, and is read with everything that podcasts add.
            self.beside = Some(Channel::Awaited);
            "rss".clone_into(&mut qualified);
        }
        let outside = self.base.clone();
        let mut copy = BytesStart::new(qualified.clone());
        for (key, value) in attributes(start) {
            match key.as_str() {
                "version" => {}
                "xml:base" => {
                    if let Ok(base) = self.base.join(&value) {
                        copy.push_attribute(("xml:base", base.as_str()));
                        self.base = base;
                    }
                }
                _ => copy.push_attribute((key.as_str(), value.as_str())),
            }
        }
        if qualified == "rss" {
            // Version 2.0 reads everything that the ones before it can say.
            copy.push_attribute(("version", "2.0"));
        }
        self.open.push((qualified, outside));
        self.write(Event::Start(copy))
    }

    fn text(&mut self, text: &str) {
        let Some(leaf) = &mut self.leaf else { return };
        let room = MOST_TEXT.saturating_sub(leaf.text.len());
        let end = text.floor_char_boundary(room);
        let text = text.get(..end).unwrap_or_default();
        leaf.text.push_str(text);
        if leaf.inside.last().is_some_and(|name| name == "name") {
            leaf.person.push_str(text);
        }
    }

    fn end(&mut self) -> Result<()> {
        if let Some(leaf) = &mut self.leaf {
            if leaf.inside.pop().is_none()
                && let Some(leaf) = self.leaf.take()
            {
                self.finish(&leaf)?;
            }
            return Ok(());
        }
        let in_channel = self
            .open
            .last()
            .is_some_and(|(name, _)| name.ends_with("channel"));
        if in_channel && self.beside == Some(Channel::Awaited) {
            self.beside = Some(Channel::Ended);
            return Ok(());
        }
        let Some((qualified, outside)) = self.open.pop() else {
            return Ok(());
        };
        let name = qualified.rsplit(':').next().unwrap_or_default();
        if matches!(name, "item" | "entry")
            && let Some(item) = self.item.take()
        {
            let identity = if name == "item" { "guid" } else { "id" };
            let number = format!("{NUMBERED}{}", self.out.items.len());
            self.element(&BytesStart::new(identity), &number)?;
            self.out.items.push(item);
        }
        self.base = outside;
        self.write(Event::End(BytesEnd::new(qualified)))
    }

    /// Takes in an element that is complete.
    fn finish(&mut self, leaf: &Leaf) -> Result<()> {
        let resolved = |name| attribute(&leaf.start, name).and_then(|url| absolute(&self.base, &url));
        let (url, href) = (resolved("url"), resolved("href"));
        let in_item = self.item.is_some();
        let extra = match &mut self.item {
            Some(item) => item,
            None => &mut self.out.show,
        };
        match (leaf.prefix.as_str(), leaf.name.as_str()) {
            ("podcast", "transcript") => extra.transcripts.extend(url.map(|url| TranscriptLink {
                url,
                media_type: attribute(&leaf.start, "type").and_then(|said| media_type(&said)),
                language: attribute(&leaf.start, "language").and_then(|said| text::line(&said, 40)),
            })),
            ("podcast", "chapters") => extra.chapters_url = url.or(extra.chapters_url.take()),
            // Of the show.
            ("podcast", "guid") if !in_item => extra.guid = text::line(&leaf.text, LONGEST_LINE),
            ("", "guid" | "id") if in_item => extra.guid = guid(&leaf.text),
            ("", "enclosure") => extra
                .enclosures
                .extend(url.map(|url| enclosure(url, &leaf.start))),
            ("media", "content") => extra.enclosures.extend(
                url.map(|url| enclosure(url, &leaf.start))
                    .filter(|found| best(vec![found.clone()]).is_some()),
            ),
            ("itunes", "duration") => extra.duration = duration(&leaf.text),
            ("itunes", "summary") => extra.summary = text::plain(&leaf.text, LONGEST_DESCRIPTION),
            (_, "author" | "creator") => {
                let said = if leaf.person.is_empty() {
                    &leaf.text
                } else {
                    &leaf.person
                };
                extra.author = extra.author.take().or_else(|| text::line(said, LONGEST_LINE));
            }
            (_, "link") if attribute(&leaf.start, "rel").as_deref() == Some("enclosure") => {
                extra
                    .enclosures
                    .extend(href.map(|url| enclosure(url, &leaf.start)));
            }
            _ if FOR_FEED_RS.contains(&leaf.name.as_str()) && leaf.prefix != "media" => {
                return self.hand_on(leaf);
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes an element for feed-rs, with the attributes that change where or what it is.
    fn hand_on(&mut self, leaf: &Leaf) -> Result<()> {
        let is_link = leaf.name == "link";
        if leaf.text.trim().is_empty() && !is_link {
            return Ok(());
        }
        let mut copy = BytesStart::new(leaf.start.name().as_ref().to_owned());
        for (key, value) in attributes(&leaf.start) {
            if key.starts_with("xmlns") || (is_link && matches!(key.as_str(), "rel" | "href")) {
                copy.push_attribute((key.as_str(), value.as_str()));
            }
        }
        self.element(&copy, &leaf.text)
    }

    fn element(&mut self, start: &BytesStart<'_>, text: &str) -> Result<()> {
        self.write(Event::Start(start.borrow()))?;
        // Characters that no XML document may hold are not handed on.
        let text: String = text
            .chars()
            .filter(|character| *character >= ' ' || character.is_ascii_whitespace())
            .collect();
        self.write(Event::Text(BytesText::new(&text)))?;
        self.write(Event::End(start.to_end()))
    }

    fn extra(&mut self) -> &mut Extra {
        match &mut self.item {
            Some(item) => item,
            None => &mut self.out.show,
        }
    }

    fn write(&mut self, event: Event<'_>) -> Result<()> {
        self.writer
            .write_event(event)
            .map_err(|error| Error::internal("a feed cannot be written anew").with_cause(error))
    }

    /// Ends the document, without an item that was not complete.
    fn close(mut self) -> Result<Strained> {
        if self.item.take().is_some() {
            self.writer.get_mut().truncate(self.mark);
            self.open.pop();
        }
        while let Some((name, _)) = self.open.pop() {
            self.write(Event::End(BytesEnd::new(name)))?;
        }
        self.out.document = self.writer.into_inner();
        Ok(self.out)
    }
}

/// Reads a JSON feed. People are taken out, for the same reason as above.
pub(super) fn json(bytes: &[u8], base: &Url) -> Result<Strained> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let wrong = || Error::input("this is not a feed that can be read");
    let mut feed: Value = serde_json::from_slice(bytes).map_err(|error| wrong().with_cause(error))?;
    let mut out = Strained::default();
    out.show.author = people(&mut feed);
    let items = feed
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .ok_or_else(wrong)?;
    if items.len() > MOST_ITEMS {
        items.truncate(MOST_ITEMS);
        out.incomplete = Some(format!("only the first {MOST_ITEMS} items of the feed are read"));
    }
    for (number, item) in items.iter_mut().enumerate() {
        let mut extra = Extra {
            author: people(item),
            ..Extra::default()
        };
        let Some(item) = item.as_object_mut() else {
            return Err(wrong());
        };
        extra.guid = match item.insert("id".to_owned(), Value::from(format!("{NUMBERED}{number}"))) {
            Some(Value::String(id)) => guid(&id),
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        let attachments = item.remove("attachments");
        for attachment in attachments.iter().filter_map(Value::as_array).flatten() {
            let text = |name: &str| attachment.get(name).and_then(Value::as_str);
            extra.enclosures.extend(
                text("url")
                    .and_then(|url| absolute(base, url))
                    .map(|url| Enclosure {
                        url,
                        media_type: text("mime_type").and_then(media_type),
                        length: attachment.get("size_in_bytes").and_then(Value::as_u64),
                    }),
            );
        }
        out.items.push(extra);
    }
    out.document = serde_json::to_vec(&feed).map_err(|error| wrong().with_cause(error))?;
    Ok(out)
}

fn people(value: &mut Value) -> Option<String> {
    let object = value.as_object_mut()?;
    let (one, many) = (object.remove("author"), object.remove("authors"));
    let first = many.as_ref().and_then(|many| many.get(0)).or(one.as_ref())?;
    text::line(first.get("name")?.as_str()?, LONGEST_LINE)
}

/// Prefix and name of an element. Feeds choose the usual prefixes, also where they forget to declare them.
fn split(start: &BytesStart<'_>) -> (String, String) {
    let qualified = start.name();
    match qualified.as_ref().split_once(':') {
        // RSS 1.0 and a few Atom feeds put a prefix before everything.
        Some(("rss" | "atom", name)) => (String::new(), name.to_owned()),
        Some((prefix, name)) => (prefix.to_ascii_lowercase(), name.to_owned()),
        None => (String::new(), qualified.as_ref().to_owned()),
    }
}

fn attributes(start: &BytesStart<'_>) -> Vec<(String, String)> {
    let mut attributes = start.attributes();
    attributes.with_checks(false);
    attributes
        .flatten()
        .map(|attribute| {
            let value = match attribute.normalized_value(XmlVersion::Implicit1_0) {
                Ok(value) => value.into_owned(),
                // A sign in a URL that should have been escaped.
                Err(_) => String::from(attribute.value.as_ref()),
            };
            (attribute.key.as_ref().to_owned(), value)
        })
        .collect()
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    attributes(start)
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

fn enclosure(url: String, start: &BytesStart<'_>) -> Enclosure {
    let length = attribute(start, "length").or_else(|| attribute(start, "fileSize"));
    Enclosure {
        url,
        media_type: attribute(start, "type").and_then(|said| media_type(&said)),
        length: length.and_then(|length| length.trim().parse().ok()),
    }
}

/// A length in seconds, `minutes:seconds` or `hours:minutes:seconds`.
fn duration(said: &str) -> Option<MediaTime> {
    let parts: Vec<&str> = said.trim().split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    let mut seconds = 0.0;
    for part in parts {
        let part: f64 = part.trim().parse().ok().filter(|part| *part >= 0.0)?;
        seconds = seconds * 60.0 + part;
    }
    MediaTime::from_seconds_f64(seconds).filter(|length| *length > MediaTime::ZERO)
}

fn media_type(said: &str) -> Option<String> {
    let essence = said
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    (essence.contains('/') && essence.len() <= 100).then_some(essence)
}

/// An identity, whatever it looks like; one that is too long for an identity is hashed into one.
fn guid(said: &str) -> Option<String> {
    let said = said.trim();
    if said.len() > 1_000 {
        return Some(
            audiorag_core::id::KeyHasher::new("audiorag.guid")
                .text(said)
                .finish(),
        );
    }
    (!said.is_empty()).then(|| said.to_owned())
}
