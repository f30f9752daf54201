//! The main job on real speech and real models: index, ask, and be sent to the right second.

use crate::recordings::fixture;
use crate::sandbox::{Sandbox, count, millis};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Where "In short, the period was so far like the present period, that some of its noisiest authorities insisted
/// on its being received, for good or for evil, in the superlative degree of comparison only" is spoken in
/// `two_cities.flac`, in milliseconds: from the middle of the pause before it (28.26 to 29.10 s) to the middle of
/// the one after it (41.64 to 42.88 s). The pauses were measured by energy, without any code of this repository.
const SUPERLATIVE: std::ops::RangeInclusive<u64> = 28_680..=42_260;
/// Where its last words, "in the superlative degree of comparison only", begin and end.
const LAST_WORDS: (u64, u64) = (38_700, 41_640);

const QUESTION: &str = "who had the superlative degree of comparison only";

/// Every readable fixture, indexed once for the tests of this file that run at the same time. The last one to end
/// removes it.
fn library() -> Arc<Sandbox> {
    static SHARED: Mutex<Weak<Sandbox>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = shared.upgrade() {
        return library;
    }
    let sandbox = Sandbox::new();
    let mut arguments = vec!["index".to_owned(), "--json".to_owned()];
    for name in [
        "two_cities.flac",
        "spoken-alice.ogg",
        "spoken-gettysburg.mp3",
        "spoken-lighthouse.m4a",
    ] {
        arguments.push(fixture(name).to_str().unwrap().to_owned());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = sandbox.run(&arguments).ok();
    assert_eq!(count(&run.summary()["indexed"]), 4, "{run:?}");
    let library = Arc::new(sandbox);
    *shared = Arc::downgrade(&library);
    library
}

/// The segments of a source, as `export -f json` writes them.
fn segments(library: &Sandbox, source: &str) -> Vec<Value> {
    let exported = library.run(&["export", source, "-f", "json"]).ok().json();
    let document = if exported.is_array() {
        exported[0].clone()
    } else {
        exported
    };
    document["segments"]
        .as_array()
        .unwrap_or_else(|| panic!("no segments in {document}"))
        .clone()
}

/// Start and end of each cue of a subtitle file, in milliseconds.
fn cues(subtitles: &str, separator: char) -> Vec<(u64, u64)> {
    let time = |text: &str| {
        let (clock, millis) = text.trim().split_once(separator).unwrap();
        let fields: Vec<u64> = clock.split(':').map(|field| field.parse().unwrap()).collect();
        let seconds = fields.iter().fold(0, |sum, field| sum * 60 + field);
        seconds * 1_000 + millis.parse::<u64>().unwrap()
    };
    subtitles
        .lines()
        .filter_map(|line| line.split_once(" --> "))
        .map(|(start, end)| (time(start), time(end)))
        .collect()
}

#[test]
fn the_answer_cites_the_right_seconds_and_every_command_agrees() {
    let library = library();
    let answer = library.run(&["query", "--json", QUESTION]).ok().json();
    let citation = &answer["citations"][0];
    assert_eq!(citation["title"], "A Tale of Two Cities", "{answer}");
    assert_eq!(citation["marker"], 1);
    let (start, end) = (millis(&citation["start"]), millis(&citation["end"]));
    assert!(
        SUPERLATIVE.contains(&start) && SUPERLATIVE.contains(&end) && start < end,
        "{start} to {end}: {answer}"
    );
    assert!(
        start <= LAST_WORDS.0 + 200 && end + 200 >= LAST_WORDS.1,
        "the words asked for are cut: {answer}"
    );
    let quote = citation["quote"].as_str().unwrap();
    assert!(quote.to_lowercase().contains("superlative"), "{answer}");
    assert!(answer["answer"].as_str().unwrap().contains("[1]"), "{answer}");
    assert_eq!(answer["degraded"], Value::Array(Vec::new()));

    // The link opens the file at that time.
    let link = citation["link"].as_str().unwrap();
    let (file, fragment) = link.split_once("#t=").unwrap();
    assert!(
        file.starts_with("file:///") && file.ends_with("/two_cities.flac"),
        "{link}"
    );
    let times: Vec<u64> = fragment
        .split(',')
        .map(|time| (time.parse::<f64>().unwrap() * 1_000.0).round() as u64)
        .collect();
    assert_eq!(times, [start, end], "{link}");

    // search: a hit begins and one ends where the passage does (it may be several neighbours), one has its chunk,
    // and the cited words lie in one.
    let hits = library.run(&["search", "--json", QUESTION]).ok().json();
    let hits = hits["hits"].as_array().unwrap();
    let passage = &answer["passages"][0];
    assert!(
        hits.iter().any(|hit| hit["start"] == passage["start"]),
        "{passage} and {hits:?}"
    );
    assert!(
        hits.iter().any(|hit| hit["end"] == passage["end"]),
        "{passage} and {hits:?}"
    );
    let hit = hits.iter().find(|hit| hit["chunk_id"] == passage["chunk_id"]);
    let hit = hit.unwrap_or_else(|| panic!("{passage} is not among {hits:?}"));
    assert_eq!(
        (&hit["source_id"], &hit["title"]),
        (&citation["source_id"], &citation["title"])
    );
    assert!(
        millis(&hit["start"]) <= start && end <= millis(&hit["end"]),
        "{hit} does not hold {start} to {end}"
    );

    // export: all formats have the same times, and the hit begins and ends where segments do.
    let source = citation["source_id"].as_str().unwrap();
    let segments = segments(&library, source);
    let spans: Vec<(u64, u64)> = segments
        .iter()
        .map(|segment| (millis(&segment["start"]), millis(&segment["end"])))
        .collect();
    let srt = library.run(&["export", source, "-f", "srt"]).ok().stdout;
    let vtt = library.run(&["export", source, "-f", "vtt"]).ok().stdout;
    assert!(vtt.starts_with("WEBVTT\n"), "{vtt}");
    assert_eq!(cues(&srt, ','), cues(&vtt, '.'));
    let shown = cues(&srt, ',');
    assert!(
        shown
            .iter()
            .any(|(cue_start, _)| *cue_start == millis(&hit["start"])),
        "{shown:?} and {hit}"
    );
    assert!(
        shown.iter().any(|(_, cue_end)| *cue_end == millis(&hit["end"])),
        "{shown:?} and {hit}"
    );
    assert!(
        shown.first().map(|cue| cue.0) == spans.first().map(|span| span.0),
        "{shown:?} and {spans:?}"
    );
    assert!(
        shown.last().map(|cue| cue.1) == spans.last().map(|span| span.1),
        "{shown:?} and {spans:?}"
    );
    assert!(shown.is_sorted() && spans.is_sorted(), "{shown:?} and {spans:?}");
    assert!(
        shown.iter().all(|(cue_start, cue_end)| cue_start < cue_end),
        "a cue without length: {shown:?}"
    );
}

#[test]
fn people_see_title_time_quote_and_link() {
    let library = library();
    let run = library.run(&["query", QUESTION]).ok();
    let lower = run.stdout.to_lowercase();
    assert!(
        lower.contains("superlative") && run.stdout.contains("A Tale of Two Cities"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("[1]") && run.stdout.contains("file:///"),
        "{run:?}"
    );
    let clock = run.stdout.lines().any(|line| {
        line.split(|c: char| !(c.is_ascii_digit() || c == ':' || c == '-'))
            .any(|word| {
                word.split_once('-')
                    .is_some_and(|(start, end)| start.len() == 5 && start.contains(':') && end.contains(':'))
            })
    });
    assert!(clock, "no mm:ss-mm:ss: {run:?}");
    assert_eq!(run.stderr, "", "{run:?}");
}

#[test]
fn sentences_are_found_where_they_were_spoken() {
    let library = library();
    let questions = [
        ("spoken-alice", "what ran close by her with pink eyes", "rabbit"),
        (
            "spoken-alice",
            "what did the rabbit take out of its waistcoat pocket",
            "watch",
        ),
    ];
    for (name, question, word) in questions {
        let path = fixture(&format!("{name}.ogg"));
        let truth: Value =
            serde_json::from_slice(&std::fs::read(fixture(&format!("{name}.json"))).unwrap()).unwrap();
        let answer = library
            .run(&["query", "--json", "--source", path.to_str().unwrap(), question])
            .ok()
            .json();
        let citation = &answer["citations"][0];
        let (start, end) = (millis(&citation["start"]), millis(&citation["end"]));
        // A citation may begin a little early or end late: voice detection pads. It overlaps the sentence that
        // holds the word.
        let sentence = truth
            .as_array()
            .unwrap()
            .iter()
            .filter(|sentence| sentence["text"].as_str().unwrap().contains(word))
            .find(|sentence| millis(&sentence["start"]) < end && start < millis(&sentence["end"]));
        assert!(
            sentence.is_some(),
            "'{question}' is answered from {start} to {end}: {answer}"
        );
    }
}

#[test]
fn filters_and_limits_hold() {
    let library = library();
    let all = library
        .run(&["search", "--json", "--top-k", "50", "the"])
        .ok()
        .json();
    let sources: std::collections::BTreeSet<&str> = all["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["source_id"].as_str().unwrap())
        .collect();
    assert!(sources.len() >= 3, "{all}");
    let alice = fixture("spoken-alice.ogg");
    let only = library
        .run(&[
            "search",
            "--json",
            "--source",
            alice.to_str().unwrap(),
            "rabbit watch pocket",
        ])
        .ok()
        .json();
    assert!(count(&only["hits"]) > 0);
    assert!(
        only["hits"]
            .as_array()
            .unwrap()
            .iter()
            .all(|hit| hit["title"] == only["hits"][0]["title"]),
        "{only}"
    );
    let one = library
        .run(&["search", "--json", "--top-k", "1", "rabbit"])
        .ok()
        .json();
    assert_eq!(count(&one["hits"]), 1);
    // The reading is dated 2024-05-06 in its tags.
    let later = library
        .run(&["search", "--json", "--after", "2024-06-01", "best of times"])
        .ok()
        .json();
    assert_eq!(count(&later["hits"]), 0, "{later}");
    let then = library
        .run(&["search", "--json", "--after", "2024-05-01", "best of times"])
        .ok()
        .json();
    assert!(count(&then["hits"]) > 0, "{then}");
    library.run(&["search", "--after", "yesterday", "x"]).exits(2);
    library.run(&["search", "--source", "nobody", "x"]).exits(2);
}

#[test]
fn what_is_not_in_the_recordings_is_not_answered() {
    let library = library();
    let answer = library
        .run(&[
            "query",
            "--json",
            "what is the boiling point of tungsten in kelvin",
        ])
        .ok()
        .json();
    assert_eq!(count(&answer["citations"]), 0, "{answer}");
    let run = library
        .run(&["query", "what is the boiling point of tungsten in kelvin"])
        .ok();
    assert!(
        format!("{}{}", run.stdout, run.stderr)
            .to_lowercase()
            .contains("nothing"),
        "{run:?}"
    );
}

#[test]
fn an_empty_index_says_how_to_fill_it() {
    let sandbox = Sandbox::new();
    for arguments in [
        vec!["query", "anything"],
        vec!["search", "anything"],
        vec!["list"],
        vec!["show", "x"],
    ] {
        let run = sandbox
            .run(&arguments)
            .exits(2)
            .says(&["nothing is indexed yet", "audiorag index"]);
        assert_eq!(run.stdout, "", "{run:?}");
    }
}

#[test]
fn listings_and_exports_of_the_library() {
    let library = library();
    let list = library.run(&["list", "--json"]).ok().json();
    let sources = list["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 4);
    for source in sources {
        for field in [
            "source_id",
            "title",
            "locator",
            "status",
            "duration",
            "chunks",
            "revision",
            "updated_at",
            "error",
        ] {
            assert!(source.get(field).is_some(), "{field} is missing: {source}");
        }
        assert_eq!(source["status"], "completed");
        assert!(source["error"].is_null());
    }
    let two_cities = fixture("two_cities.flac");
    let path = two_cities.to_str().unwrap();
    // Id, prefix of the id, path and URI name the same source.
    let shown = library.run(&["show", "--json", path]).ok().json();
    let id = shown["source_id"].as_str().unwrap();
    for name in [id, &id[..8], &format!("file://{path}")] {
        assert_eq!(
            library.run(&["show", "--json", name]).ok().json(),
            shown,
            "{name}"
        );
    }
    let text = library.run(&["export", path, "-f", "txt"]).ok().stdout;
    assert!(text.contains("age of wisdom"), "{text}");
    let markdown = library.run(&["export", path, "-f", "md"]).ok().stdout;
    assert!(markdown.contains("# A Tale of Two Cities"), "{markdown}");
    let folder = library.path("exports");
    let alice = fixture("spoken-alice.ogg");
    library
        .run(&[
            "export",
            path,
            alice.to_str().unwrap(),
            "-f",
            "srt",
            "-o",
            folder.to_str().unwrap(),
        ])
        .ok();
    let files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(
        files
            .iter()
            .all(|file| file.extension().is_some_and(|end| end == "srt")),
        "{files:?}"
    );
}
