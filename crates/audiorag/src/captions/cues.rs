//! Subtitles: SRT and WebVTT, which differ in what their text may hold.

use super::text::{clock, flat, span, unescape};
use super::{CaptionFormat, Found, prefix};
use audiorag_core::model::{Segment, TimeQuality};
use audiorag_core::{MediaTime, Span};

/// Tags of SRT, which has no escapes: anything else between angle brackets is text.
const TAGS: [&str; 6] = ["b", "i", "u", "s", "font", "v"];

/// The times of a cue in milliseconds, from its line with the arrow. What follows the second one are settings.
pub(super) fn timing(line: &str) -> Option<(i64, i64)> {
    let (start, rest) = line.split_once("-->")?;
    let end = rest.split_whitespace().next()?;
    Some((clock(start)?, clock(end)?))
}

/// Who speaks, where it is known, and what.
type Turn = (Option<String>, String);

/// A cue as it stands in the file.
struct Cue<'a> {
    times: Option<(i64, i64)>,
    lines: Vec<&'a str>,
}

/// Reads subtitles.
pub(super) fn read(body: &str, format: CaptionFormat) -> Found {
    let cues = match format {
        CaptionFormat::Vtt => vtt_cues(body),
        _ => srt_cues(body),
    };
    let mut found = Found {
        language: language_of(body, format),
        ..Found::default()
    };
    let mut said: Vec<(Span, Vec<Turn>)> = Vec::with_capacity(cues.len());
    // Only captions that are shown word by word carry times inside their text, and repeat each line in the next cue.
    let rolling =
        format == CaptionFormat::Vtt && cues.iter().any(|cue| cue.lines.iter().any(|line| is_timed(line)));
    let mut above: Vec<String> = Vec::new();
    for cue in cues {
        let Some(span) = cue.times.and_then(|(start, end)| span(start, end)) else {
            found.untimed += 1;
            continue;
        };
        if rolling {
            let lines: Vec<String> = cue
                .lines
                .iter()
                .map(|line| plain_vtt(line))
                .filter(|line| !line.is_empty())
                .collect();
            let new: Vec<&str> = lines
                .iter()
                .map(String::as_str)
                .filter(|line| !above.iter().any(|old| old == line))
                .collect();
            if !new.is_empty() {
                said.push((span, vec![(None, new.join(" "))]));
            }
            above = lines;
            continue;
        }
        let text = cue.lines.join("\n");
        said.push((
            span,
            match format {
                CaptionFormat::Vtt => voices(&text),
                _ => vec![(None, plain_srt(&text))],
            },
        ));
    }
    found.segments = said
        .into_iter()
        .flat_map(|(span, turns)| segments(span, turns))
        .collect();
    if found.segments.iter().all(|segment| segment.speaker.is_none()) {
        prefix::split(&mut found.segments);
    }
    found
}

/// The cues of a WebVTT file: a blank line ends one, and blocks without times (notes, styles, regions) are none.
fn vtt_cues(body: &str) -> Vec<Cue<'_>> {
    let mut cues: Vec<Cue<'_>> = Vec::new();
    let mut open = false;
    for line in lines(body) {
        if line.contains("-->") {
            cues.push(Cue {
                times: timing(line),
                lines: Vec::new(),
            });
            open = true;
        } else if line.is_empty() {
            open = false;
        } else if let Some(cue) = cues.last_mut().filter(|_| open) {
            cue.lines.push(line);
        }
    }
    cues
}

/// The cues of an SRT file. Text may hold blank lines, as many programs write them, so that a cue ends where the number
/// and the times of the next one begin.
fn srt_cues(body: &str) -> Vec<Cue<'_>> {
    let mut cues: Vec<Cue<'_>> = Vec::new();
    for line in lines(body) {
        if let Some(times) = timing(line) {
            if let Some(before) = cues.last_mut() {
                drop_number(&mut before.lines);
            }
            cues.push(Cue {
                times: Some(times),
                lines: Vec::new(),
            });
        } else if let Some(cue) = cues.last_mut() {
            cue.lines.push(line);
        }
    }
    cues
}

/// Takes away the number of the next cue: digits alone right above its times.
fn drop_number(lines: &mut Vec<&str>) {
    let is_number = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
    };
    if lines.last().is_some_and(is_number) {
        lines.pop();
    }
}

/// Lines ended by any of the three line ends.
fn lines(body: &str) -> impl Iterator<Item = &str> {
    body.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

/// The language that a WebVTT header names, as some programs write it.
fn language_of(body: &str, format: CaptionFormat) -> Option<String> {
    if format != CaptionFormat::Vtt {
        return None;
    }
    lines(body)
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix("Language:"))
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| super::json::is_tag(tag))
}

/// Whether a line holds a time stamp tag, such as `<00:00:01.500>`.
fn is_timed(line: &str) -> bool {
    line.split('<')
        .skip(1)
        .any(|tag| tag.split_once('>').is_some_and(|(tag, _)| clock(tag).is_some()))
}

/// The turns of a cue's text: who speaks, by voice spans, and what. Other tags are taken away.
fn voices(text: &str) -> Vec<Turn> {
    let mut turns: Vec<Turn> = vec![(None, String::new())];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        push(&mut turns, before);
        let Some((tag, behind)) = after.split_once('>') else {
            // The standard takes an open tag as one that ends with the cue.
            rest = "";
            break;
        };
        rest = behind;
        if let Some(name) = voice(tag) {
            turns.push((Some(name), String::new()));
        } else if tag == "/v" {
            turns.push((None, String::new()));
        }
    }
    push(&mut turns, rest);
    for (_, text) in &mut turns {
        *text = flat(&unescape(text));
    }
    turns.retain(|(_, text)| !text.is_empty());
    turns
}

fn push(turns: &mut [Turn], text: &str) {
    if let Some((_, open)) = turns.last_mut() {
        open.push_str(text);
    }
}

/// The name in a voice tag, `v Name` or `v.class Name`.
fn voice(tag: &str) -> Option<String> {
    let (element, name) = tag.split_once(char::is_whitespace)?;
    if element != "v" && !element.starts_with("v.") {
        return None;
    }
    Some(flat(&unescape(name))).filter(|name| !name.is_empty())
}

fn plain_vtt(line: &str) -> String {
    let turns = voices(line);
    flat(&turns.into_iter().map(|(_, text)| text + " ").collect::<String>())
}

/// The text of an SRT cue without the tags and positions that players know.
fn plain_srt(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '{']) {
        let (before, tagged) = rest.split_at(at);
        out.push_str(before);
        let close = if tagged.starts_with('<') { '>' } else { '}' };
        let tag = tagged.split_once(close).filter(|(tag, _)| is_srt_tag(tag));
        if let Some((_, behind)) = tag {
            rest = behind;
        } else {
            let mut characters = tagged.chars();
            out.extend(characters.next());
            rest = characters.as_str();
        }
    }
    out.push_str(rest);
    flat(&out)
}

/// Whether `<i`, `</font`, `{\an8` and the like is a tag.
fn is_srt_tag(tag: &str) -> bool {
    if let Some(position) = tag.strip_prefix('{') {
        return position.starts_with('\\');
    }
    let name = tag.trim_start_matches('<').trim_start_matches('/');
    let name = name
        .split(|c: char| c.is_whitespace() || c == '=')
        .next()
        .unwrap_or(name);
    TAGS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The segments of a cue. Several turns share its time by the length of their texts.
fn segments(span: Span, turns: Vec<Turn>) -> Vec<Segment> {
    let whole: u64 = turns.iter().map(|(_, text)| text.chars().count() as u64).sum();
    let several = turns.len() > 1;
    let at = |said: u64| {
        let offset = u128::from(span.duration().as_millis()) * u128::from(said) / u128::from(whole.max(1));
        span.start().saturating_add(MediaTime::from_millis(offset as u64))
    };
    let mut said = 0;
    turns
        .into_iter()
        .map(|(speaker, text)| {
            let start = at(said);
            said += text.chars().count() as u64;
            Segment {
                span: if several {
                    Span::between(start, at(said))
                } else {
                    span
                },
                text,
                speaker,
                times: if several {
                    TimeQuality::Estimated
                } else {
                    TimeQuality::Measured
                },
                ..Segment::default()
            }
        })
        .collect()
}
