//! Which stretches of a part are transcribed in one run of the model.
//!
//! The model sees nothing but its window, so context decides how well it does: speech is joined over short
//! pauses, and a stretch that is too long is cut where its longest pause is. The times of what is said come
//! from the windows, so they start and end with speech.

use audiorag_core::{MediaTime, Span};

/// Speech that is less than this apart is transcribed together.
const JOIN: u64 = 2_000;
/// The longest window. Memory grows with the square of it: 15 s take 188 MB, 44 s take 423 MB.
const LONGEST: u64 = 20_000;
/// Less speech than this is noise more often than a word, and becomes an invented "So" or "You".
const LEAST_SPEECH: u64 = 500;
/// Silence kept before and after, for onsets that voice detection cuts. With 300 ms the model made no more errors
/// than with 0, 100 or 200 on any of four clips, and fewer on three; those clips are all that was tried.
const PADDING: u64 = 300;

/// One run of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// What the model hears.
    pub(crate) span: Span,
    /// The speech in it.
    pub(crate) speech: Vec<Span>,
}

/// Packs `speech` into windows, in order.
///
/// `quietest` names the instant inside a span at which speech without a pause is cut.
pub(crate) fn pack(part: Span, speech: &[Span], quietest: impl Fn(Span) -> MediaTime) -> Vec<Window> {
    let longest = LONGEST - 2 * PADDING;
    let pieces = cut_long(&tidy(part, speech), longest, quietest);
    let mut groups: Vec<Vec<Span>> = Vec::new();
    for piece in pieces {
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| gap(*last, piece) < JOIN) => group.push(piece),
            _ => groups.push(vec![piece]),
        }
    }
    let windows: Vec<Vec<Span>> = groups
        .into_iter()
        .flat_map(|group| cut_group(&group, longest))
        .collect();
    let bounds: Vec<Span> = windows.iter().map(|window| hull(window)).collect();
    windows
        .into_iter()
        .enumerate()
        .filter(|(_, speech)| speech.iter().map(|span| millis(*span)).sum::<u64>() >= LEAST_SPEECH)
        .map(|(index, speech)| {
            let bare = hull(&speech);
            let before = index.checked_sub(1).and_then(|index| bounds.get(index));
            let room_before = before.map_or(PADDING, |before| gap(*before, bare) / 2);
            let room_after = bounds
                .get(index + 1)
                .map_or(PADDING, |after| gap(bare, *after) / 2);
            let span = Span::between(
                bare.start()
                    .saturating_sub(MediaTime::from_millis(room_before.min(PADDING))),
                bare.end()
                    .saturating_add(MediaTime::from_millis(room_after.min(PADDING))),
            );
            Window {
                span: span.clamp_to(part),
                speech,
            }
        })
        .collect()
}

/// The instant of least energy inside `span`, over a tenth of a second.
pub(crate) fn quietest(samples: &[f32], rate: u32, span: Span) -> MediaTime {
    let width = (rate / 10) as usize;
    let from = span.start().to_samples(rate) as usize;
    let to = (span.end().to_samples(rate) as usize).min(samples.len());
    let mut best = (f32::INFINITY, from);
    let mut at = from;
    while at + width <= to {
        let energy: f32 = samples
            .get(at..at + width)
            .unwrap_or_default()
            .iter()
            .map(|x| x * x)
            .sum();
        if energy < best.0 {
            best = (energy, at + width / 2);
        }
        at += width / 5;
    }
    MediaTime::from_samples(best.1 as u64, rate).clamp(span.start(), span.end())
}

/// Sorted, disjoint, inside the part, none empty.
fn tidy(part: Span, speech: &[Span]) -> Vec<Span> {
    let mut spans: Vec<Span> = speech
        .iter()
        .map(|span| span.clamp_to(part))
        .filter(|span| !span.is_empty())
        .collect();
    spans.sort_unstable();
    let mut tidy: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match tidy.last_mut() {
            Some(last) if span.start() <= last.end() => *last = last.union(span),
            _ => tidy.push(span),
        }
    }
    tidy
}

/// Cuts every span that is longer than `longest` at its quietest instants.
fn cut_long(spans: &[Span], longest: u64, quietest: impl Fn(Span) -> MediaTime) -> Vec<Span> {
    let mut pieces = Vec::with_capacity(spans.len());
    for span in spans {
        let mut rest = *span;
        while millis(rest) > longest {
            let after = |share| rest.start().saturating_add(MediaTime::from_millis(share));
            let within = Span::between(after(longest / 2), after(longest));
            let cut = quietest(within).clamp(within.start(), within.end());
            pieces.push(Span::between(rest.start(), cut));
            rest = Span::between(cut, rest.end());
        }
        pieces.push(rest);
    }
    pieces
}

/// Cuts a group that is longer than `longest` at the longest pause that leaves a well filled window.
fn cut_group(group: &[Span], longest: u64) -> Vec<Vec<Span>> {
    let mut windows = Vec::new();
    let mut rest = group;
    while millis(hull(rest)) > longest {
        let start = hull(rest).start();
        let pause = |(index, pair): (usize, &[Span])| match pair {
            [before, after] => {
                let length = before.end().saturating_sub(start).as_millis();
                (length <= longest).then_some((length * 2 >= longest, gap(*before, *after), index + 1))
            }
            _ => None,
        };
        let cut = rest
            .windows(2)
            .enumerate()
            .filter_map(pause)
            .max()
            .map_or(1, |(_, _, index)| index);
        let (window, later) = rest.split_at(cut);
        windows.push(window.to_vec());
        rest = later;
    }
    windows.push(rest.to_vec());
    windows
}

fn hull(spans: &[Span]) -> Span {
    spans.iter().copied().reduce(Span::union).unwrap_or_default()
}

fn gap(before: Span, after: Span) -> u64 {
    after.start().saturating_sub(before.end()).as_millis()
}

fn millis(span: Span) -> u64 {
    span.duration().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(bounds: &[(u64, u64)]) -> Vec<Span> {
        bounds
            .iter()
            .map(|(start, end)| Span::from_millis(*start, *end))
            .collect()
    }

    fn pack_minutes(bounds: &[(u64, u64)]) -> Vec<Window> {
        pack(Span::from_millis(0, 120_000), &spans(bounds), Span::end)
    }

    #[test]
    fn short_pauses_are_joined_and_long_ones_are_not() {
        let windows = pack_minutes(&[(1_000, 3_000), (4_900, 6_000), (8_000, 9_000)]);
        assert_eq!(windows.len(), 2);
        assert_eq!(windows[0].span, Span::from_millis(700, 6_300));
        assert_eq!(windows[0].speech.len(), 2);
        assert_eq!(windows[1].span, Span::from_millis(7_700, 9_300));
    }

    #[test]
    fn a_long_stretch_is_cut_at_its_longest_pause() {
        let windows = pack_minutes(&[(0, 5_000), (6_900, 12_000), (13_500, 17_000), (17_300, 30_000)]);
        let speech: Vec<usize> = windows.iter().map(|window| window.speech.len()).collect();
        // The pause of 1.9 s comes too early to fill a window; the one of 1.5 s is the longest after that.
        assert_eq!(speech, [2, 2]);
        assert_eq!(windows[1].span.start().as_millis(), 13_200);
    }

    #[test]
    fn speech_without_a_pause_is_cut_where_it_is_quietest() {
        let mut samples = vec![0.5_f32; 16_000 * 30];
        samples[16_000 * 14..16_000 * 14 + 3_200].fill(0.0);
        let windows = pack(Span::from_millis(0, 30_000), &spans(&[(0, 30_000)]), |span| {
            quietest(&samples, 16_000, span)
        });
        assert_eq!(windows.len(), 2);
        let cut = windows[0].span.end().as_millis();
        assert!((14_000..=14_200).contains(&cut), "{cut}");
        assert_eq!(windows[1].span.start().as_millis(), cut);
    }

    #[test]
    fn blips_are_not_transcribed() {
        assert!(pack_minutes(&[(1_000, 1_400)]).is_empty());
        assert!(pack_minutes(&[]).is_empty());
        assert_eq!(pack_minutes(&[(1_000, 1_300), (1_500, 1_800)]).len(), 1);
    }

    #[test]
    fn spans_outside_the_part_are_clamped() {
        let windows = pack(
            Span::from_millis(0, 5_000),
            &spans(&[(4_000, 9_000), (7_000, 8_000)]),
            Span::end,
        );
        assert_eq!(windows.len(), 1);
        assert_eq!(windows[0].span, Span::from_millis(3_700, 5_000));
    }

    proptest! {
        #[test]
        fn windows_hold_all_speech_once(
            pairs in prop::collection::vec((0u64..6_000, 1u64..40_000), 0..30),
            cut in 0.0f64..1.0,
        ) {
            let mut at = 0;
            let mut speech = Vec::new();
            for (pause, length) in pairs {
                speech.push(Span::from_millis(at + pause, at + pause + length));
                at += pause + length;
            }
            let part = Span::from_millis(0, at + 1_000);
            let total: u64 = tidy(part, &speech).iter().map(|span| millis(*span)).sum();
            let windows = pack(part, &speech, |span| {
                span.start().saturating_add(MediaTime::from_millis((millis(span) as f64 * cut) as u64))
            });
            let mut kept = 0;
            let mut end = MediaTime::ZERO;
            for window in &windows {
                prop_assert!(part.contains(window.span));
                prop_assert!(window.span.start() >= end, "windows overlap");
                prop_assert!(millis(window.span) <= LONGEST);
                let spoken: u64 = window.speech.iter().map(|span| millis(*span)).sum();
                prop_assert!(spoken >= LEAST_SPEECH);
                for span in &window.speech {
                    prop_assert!(window.span.contains(*span));
                }
                kept += spoken;
                end = window.span.end();
            }
            // Only windows with less than the least speech are dropped, and every one of them was cut off by a
            // pause or a cut.
            prop_assert!(total - kept <= LEAST_SPEECH * (speech.len() as u64 * 3 + 1));
            prop_assert!(kept <= total);
        }
    }
}
