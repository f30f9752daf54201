//! Who speaks: labels as they were heard or given, and the names that people give to them.

use crate::model::{Segment, Transcript};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// How labels begin that name a channel of the recording, which is the same in all of it.
pub const CHANNEL: &str = "channel ";

/// Whether a label of speech-to-text may mean somebody else in the next part: vendors number speakers anew in every
/// recording that they are sent, and a part is all they are sent.
pub fn is_of_one_part(label: &str) -> bool {
    !label.starts_with(CHANNEL)
}

/// The label of somebody who is known in one part only; parts are counted from one.
pub fn of_part(label: &str, number: usize) -> String {
    format!("{label} (part {number})")
}

/// Whether a label was made by a machine that had no name: a word and a number or letter, as `speaker 0`,
/// `SPEAKER_01 (part 2)` or `channel 1`. Equal ones in two recordings mean nothing.
pub fn is_anonymous(label: &str) -> bool {
    let label = label.split(" (part ").next().unwrap_or(label).to_lowercase();
    let rest = ["speaker", "spk", "channel", "sprecher"]
        .iter()
        .find_map(|word| label.strip_prefix(word));
    let Some(rest) = rest else {
        return label.chars().count() <= 1;
    };
    let mark = rest.trim_matches([' ', '_', '-', '#']);
    mark.chars().count() <= 1 || mark.chars().all(|c| c.is_ascii_digit())
}

/// What the speakers of a source are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpeakerNames {
    own: BTreeMap<String, String>,
    common: BTreeMap<String, String>,
}

impl SpeakerNames {
    /// Names by label: those given in one source, which count first, and those given in all of them.
    pub fn new(
        own: impl IntoIterator<Item = (String, String)>,
        common: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            own: own.into_iter().collect(),
            common: common.into_iter().collect(),
        }
    }

    /// What somebody with this label is called: the label itself, as long as nobody named them.
    pub fn name_of<'a>(&'a self, label: &'a str) -> &'a str {
        self.own
            .get(label)
            .or_else(|| self.common.get(label))
            .map_or(label, String::as_str)
    }

    /// The names that were given in this source alone, as one line; `None` when there are none.
    pub fn fingerprint(&self) -> Option<String> {
        (!self.own.is_empty()).then(|| format!("{:?}", self.own))
    }

    /// Calls everybody in a transcript by their name.
    pub fn apply(&self, transcript: &mut Transcript) {
        for segment in &mut transcript.segments {
            self.name(segment);
        }
    }

    /// Calls whoever speaks a segment by their name.
    pub fn name(&self, segment: &mut Segment) {
        if self.own.is_empty() && self.common.is_empty() {
            return;
        }
        if let Some(label) = &mut segment.speaker {
            *label = self.name_of(label).to_owned();
        }
    }

    /// What has to be noted in this source so that `old`, which is a name or else a label, is called `new`: a name for
    /// each label it concerns, or `None` where the label speaks for itself again. Empty when nobody is called `old`.
    pub fn renamed(&self, labels: &BTreeSet<String>, old: &str, new: &str) -> Vec<(String, Option<String>)> {
        let named = |label: &&String| self.name_of(label) == old;
        let mut concerned: Vec<&String> = labels.iter().filter(named).collect();
        if concerned.is_empty() {
            // Somebody who was merged with others is still known by the label.
            concerned = labels.iter().filter(|label| *label == old).collect();
        }
        concerned
            .into_iter()
            .map(|label| {
                let bare = label == new && !self.common.contains_key(label);
                (label.clone(), (!bare).then(|| new.to_owned()))
            })
            .collect()
    }
}

/// A name as it is kept: one line without spaces around it.
///
/// # Errors
/// [`Input`](crate::ErrorKind::Input) for one that is empty or longer than 200 characters.
pub fn check_name(name: &str) -> Result<String> {
    let name = name
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if name.is_empty() || name.chars().count() > 200 {
        return Err(
            Error::input("the name of a speaker is empty or longer than 200 characters")
                .with_hint("give a name such as 'Ada Lovelace'"),
        );
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(own: &[(&str, &str)], common: &[(&str, &str)]) -> SpeakerNames {
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(label, name)| ((*label).to_owned(), (*name).to_owned()))
                .collect()
        };
        SpeakerNames::new(owned(own), owned(common))
    }

    #[test]
    fn labels_of_machines_are_told_from_names() {
        for label in [
            "speaker 0",
            "SPEAKER_01",
            "speaker A (part 12)",
            "Speaker",
            "channel 2",
            "A",
            "spk_3",
        ] {
            assert!(is_anonymous(label), "{label}");
        }
        for label in ["Ada", "Speaker Pelosi", "Bo", "Channel Tunnel"] {
            assert!(!is_anonymous(label), "{label}");
        }
    }

    #[test]
    fn renaming_follows_names_and_comes_back() {
        let labels: BTreeSet<String> = ["s1", "s2", "s3"].map(str::to_owned).into();
        let some = |label: &str, name: Option<&str>| (label.to_owned(), name.map(str::to_owned));
        assert_eq!(
            names(&[], &[]).renamed(&labels, "s1", "Ada"),
            [some("s1", Some("Ada"))]
        );
        let ada = names(&[("s1", "Ada"), ("s2", "Ada")], &[]);
        assert_eq!(
            ada.renamed(&labels, "Ada", "Grace"),
            [some("s1", Some("Grace")), some("s2", Some("Grace"))]
        );
        // One of two that were merged, by the label, and back to it.
        assert_eq!(ada.renamed(&labels, "s2", "s2"), [some("s2", None)]);
        // Away from a name that is given everywhere, the label has to be said.
        let common = names(&[], &[("s3", "Bob")]);
        assert_eq!(common.renamed(&labels, "Bob", "s3"), [some("s3", Some("s3"))]);
        assert_eq!(common.renamed(&labels, "nobody", "x"), []);
        assert_eq!(names(&[("s3", "s3")], &[("s3", "Bob")]).name_of("s3"), "s3");
    }
}
