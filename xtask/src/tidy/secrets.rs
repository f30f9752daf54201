//! A scan for keys that were committed by accident, most of all in recorded fixtures.

use super::File;
use crate::process::Findings;

/// How a vendor's keys begin, and how many characters of the key follow at least.
const SHAPES: &[(&str, usize)] = &[
    ("sk-", 20),
    ("sk_", 24),
    ("gsk_", 20),
    ("hf_", 30),
    ("pa-", 30),
    ("pcsk_", 20),
    ("AIza", 35),
    ("AKIA", 16),
    ("ghp_", 30),
    ("github_pat_", 30),
    ("xoxb-", 20),
    ("eyJhbGciOi", 20),
];
/// Words that a made-up key carries, so that nobody has to wonder.
const MADE_UP: &[&str] = &[
    "test",
    "fake",
    "example",
    "canary",
    "dummy",
    "redacted",
    "invalid",
    "secret",
    "placeholder",
];

/// Lines of a file that look like they hold a real key.
pub(super) fn check(file: &File) -> Findings {
    let mut findings = Findings::new();
    for (number, line) in file.text().lines().enumerate() {
        let key = SHAPES
            .iter()
            .find(|(prefix, length)| holds_key(line, prefix, *length));
        if let Some((prefix, _)) = key {
            findings.push(format!(
                "{}:{}: looks like a key ({prefix}...); a made-up one says so, as in {prefix}test-...",
                file.path,
                number + 1
            ));
        }
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----") && !file.is_rust() {
            findings.push(format!("{}:{}: holds a private key", file.path, number + 1));
        }
    }
    findings
}

fn holds_key(line: &str, prefix: &str, length: usize) -> bool {
    line.match_indices(prefix).any(|(at, _)| {
        let starts_word = !line
            .get(..at)
            .unwrap_or_default()
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || "-_".contains(c));
        let key: String = line
            .get(at + prefix.len()..)
            .unwrap_or_default()
            .chars()
            .take_while(|character| character.is_ascii_alphanumeric() || "-_".contains(*character))
            .collect();
        let lower = key.to_lowercase();
        let different = key.chars().collect::<std::collections::BTreeSet<_>>().len();
        starts_word
            && key.len() >= length
            && key.contains(|character: char| character.is_ascii_digit())
            // `sk-000000000000000000000` and the like are nobody's key.
            && different > 8
            && !MADE_UP.iter().any(|word| lower.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_key_is_found_and_a_made_up_one_is_not() {
        let real = ["{\"key\": \"sk-", "Ab3dE5gH7jK9mN1pQ3sT5v\"}"].concat();
        assert_eq!(check(&file("f.json", &real)).len(), 1);
        for line in [
            "sk-test-4f9a8b7c6d5e4f3a2b1c0d".to_owned(),
            "sk-00000000000000000000000000".to_owned(),
            ["task-", "Ab3dE5gH7jK9mN1pQ3sT5v"].concat(),
            "a risk-averse-approach-to-everything-we-do-here".to_owned(),
        ] {
            assert_eq!(check(&file("f.json", &line)), Findings::new(), "{line}");
        }
        let pem = ["-----BEGIN RSA PRIVATE", " KEY-----"].concat();
        assert_eq!(check(&file("f.pem", &pem)).len(), 1);
    }
}
