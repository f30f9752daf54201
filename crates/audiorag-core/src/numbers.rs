//! Numbers as people say them, so that "twenty twenty six" and "2026" are the same.

/// The numbers in an English text, written in digits or in words, in their order. Two halves that make a year, such as
/// "twenty twenty six", are read as the year.
///
/// Of decimals and of digits with letters only what is a whole number at their beginning counts: "3.5" and "21st" give
/// 3 and 21. Numbers above a million million are left out.
pub fn spoken_numbers(text: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut words: Vec<Part> = Vec::new();
    for token in text.split(|c: char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2014}')) {
        let ends = token.ends_with([',', '.', ';', ':', '?', '!', ')']);
        let token = token.trim_matches(|c: char| !c.is_alphanumeric());
        if token.starts_with(|c: char| c.is_ascii_digit()) {
            read(&mut words, &mut found);
            found.extend(digits(token));
            continue;
        }
        match part(&token.to_ascii_lowercase()) {
            Some(Part::And) if words.is_empty() => {}
            Some(part) => words.push(part),
            None => read(&mut words, &mut found),
        }
        if ends {
            read(&mut words, &mut found);
        }
    }
    read(&mut words, &mut found);
    found.retain(|number| *number <= MOST);
    found
}

const MOST: u64 = 1_000_000_000_000;

/// A word of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// "oh" or "zero".
    Zero,
    /// 1 to 9.
    Unit(u64),
    /// 10 to 19.
    Teen(u64),
    /// 20 to 90.
    Ten(u64),
    Hundred,
    /// A thousand, a million, a billion.
    Scale(u64),
    And,
}

const UNITS: [(&str, &str); 9] = [
    ("one", "first"),
    ("two", "second"),
    ("three", "third"),
    ("four", "fourth"),
    ("five", "fifth"),
    ("six", "sixth"),
    ("seven", "seventh"),
    ("eight", "eighth"),
    ("nine", "ninth"),
];
const TEENS: [&str; 10] = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

fn part(word: &str) -> Option<Part> {
    let place = |list: &[&str], word: &str| list.iter().position(|known| *known == word);
    let numbered = |place: usize, from: u64, step: u64| from + step * place as u64;
    if let Some(unit) = UNITS
        .iter()
        .position(|(cardinal, ordinal)| [*cardinal, *ordinal].contains(&word))
    {
        return Some(Part::Unit(numbered(unit, 1, 1)));
    }
    let cardinal = match word {
        "twelfth" => "twelve".to_owned(),
        _ => match word.strip_suffix("ieth") {
            Some(stem) => format!("{stem}y"),
            None => word.strip_suffix("th").unwrap_or(word).to_owned(),
        },
    };
    if let Some(teen) = place(&TEENS, &cardinal) {
        return Some(Part::Teen(numbered(teen, 10, 1)));
    }
    if let Some(ten) = place(&TENS, &cardinal) {
        return Some(Part::Ten(numbered(ten, 20, 10)));
    }
    Some(match cardinal.as_str() {
        "zero" | "oh" | "nought" => Part::Zero,
        "hundred" => Part::Hundred,
        "thousand" => Part::Scale(1_000),
        "million" => Part::Scale(1_000_000),
        "billion" => Part::Scale(1_000_000_000),
        "and" => Part::And,
        _ => return None,
    })
}

/// The whole number that a token begins with: "1,000", "21st", "3.5".
fn digits(token: &str) -> Option<u64> {
    let mut number: u64 = 0;
    let mut chars = token.chars().peekable();
    while let Some(c) = chars.next() {
        match c.to_digit(10) {
            Some(digit) => number = number.checked_mul(10)?.checked_add(u64::from(digit))?,
            // A separator of thousands.
            None if c == ',' && chars.peek().is_some_and(char::is_ascii_digit) => {}
            None => break,
        }
    }
    Some(number)
}

/// Reads the number words gathered so far, and forgets them.
fn read(words: &mut Vec<Part>, found: &mut Vec<u64>) {
    while matches!(words.last(), Some(Part::And)) {
        words.pop();
    }
    let parts = std::mem::take(words);
    let mut rest = parts.as_slice();
    while !rest.is_empty() {
        let (value, used) = cardinal(rest);
        if let Some((year, length)) = year(rest)
            && length > used
        {
            found.push(year);
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        found.extend(value);
        rest = rest.get(used.max(1)..).unwrap_or_default();
    }
}

/// The cardinal number at the beginning, and how many words it takes.
fn cardinal(parts: &[Part]) -> (Option<u64>, usize) {
    let (mut total, mut group) = (0_u64, 0_u64);
    let (mut used, mut said) = (0, false);
    // What may still be added to the group: units after tens, and nothing after units.
    let mut room = 100;
    // Scales fall: "two thousand three million" is two numbers.
    let mut scale_below = u64::MAX;
    for (place, part) in parts.iter().enumerate() {
        match *part {
            Part::Unit(value) if room > 9 => {
                group += value;
                room = 1;
            }
            Part::Teen(value) | Part::Ten(value) if room > 90 => {
                group += value;
                room = if matches!(part, Part::Ten(_)) { 10 } else { 1 };
            }
            Part::Hundred if group == 0 && !said => {
                group = 100;
                room = 100;
            }
            Part::Hundred if (1..100).contains(&group) => {
                group *= 100;
                room = 100;
            }
            Part::Scale(scale) if scale < scale_below => {
                total += group.max(u64::from(!said)) * scale;
                group = 0;
                room = 100;
                scale_below = scale;
            }
            Part::And if said && room == 100 => continue,
            Part::Zero if !said => return (Some(0), 1),
            _ => break,
        }
        said = true;
        used = place + 1;
    }
    (said.then(|| total.saturating_add(group)), used)
}

/// The year at the beginning that is said in two halves: "nineteen eighty four", "twenty oh five", "nineteen hundred"
/// is a cardinal.
fn year(parts: &[Part]) -> Option<(u64, usize)> {
    let two = |parts: &[Part]| match parts {
        [Part::Ten(ten), Part::Unit(unit), ..] => Some((ten + unit, 2)),
        [Part::Ten(value) | Part::Teen(value), ..] => Some((*value, 1)),
        [Part::Zero, Part::Unit(unit), ..] => Some((*unit, 2)),
        _ => None,
    };
    let (century, used) = match parts {
        // "twenty one twelve" is as good as "twenty, one twelve": the shorter first half is the common one.
        [Part::Teen(century), ..] => (*century, 1),
        [Part::Ten(20), ..] => (20, 1),
        _ => return None,
    };
    let (rest, more) = two(parts.get(used..)?)?;
    (century >= 10).then_some((century * 100 + rest, used + more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_the_same_in_words_and_in_digits() {
        for (text, numbers) in [
            ("in twenty twenty six", vec![2026]),
            ("in 2026.", vec![2026]),
            ("Nineteen eighty-four, a novel", vec![1984]),
            ("since nineteen oh five", vec![1905]),
            ("two thousand and five", vec![2005]),
            ("two thousand twenty-six", vec![2026]),
            ("nineteen hundred", vec![1900]),
            ("a hundred and one dogs", vec![101]),
            (
                "one million two hundred thousand and fifty people",
                vec![1_200_050],
            ),
            ("1,200,050 people", vec![1_200_050]),
            ("the twenty-first of May", vec![21]),
            ("on the 21st", vec![21]),
            ("the twelfth, the thirtieth and the ninth", vec![12, 30, 9]),
            ("three, four, five", vec![3, 4, 5]),
            ("seven eight nine", vec![7, 8, 9]),
            ("bread and butter", vec![]),
            ("zero", vec![0]),
            ("3.5 percent", vec![3]),
            ("forty two", vec![42]),
            ("forty and two", vec![40, 2]),
        ] {
            assert_eq!(spoken_numbers(text), numbers, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[a-z0-9,.\\- ]{0,60}|\\PC{0,40}") {
            let _ = spoken_numbers(&text);
        }

        #[test]
        fn any_run_of_number_words_is_read(places in prop::collection::vec(0usize..33, 0..12)) {
            let words: Vec<&str> = UNITS.iter().map(|(word, _)| *word).chain(TEENS).chain(TENS)
                .chain(["zero", "hundred", "thousand", "million", "billion", "and"]).collect();
            let text: Vec<&str> = places.iter().filter_map(|place| words.get(*place).copied()).collect();
            prop_assert!(spoken_numbers(&text.join(" ")).len() <= text.len());
        }

        #[test]
        fn digits_stay_what_they_are(number in 0u64..=MOST) {
            prop_assert_eq!(spoken_numbers(&format!("about {number} of them")), vec![number]);
        }
    }
}
