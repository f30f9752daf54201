//! Tags of languages, as far as they are compared.

/// Three-letter codes of languages that have one of two letters, in both forms of ISO 639-2, and codes that were
/// replaced. Tags of files use the former ("eng"), vendors and feeds the latter ("en").
const SHORT: &[(&str, &str)] = &[
    ("afr", "af"),
    ("alb", "sq"),
    ("ara", "ar"),
    ("arm", "hy"),
    ("baq", "eu"),
    ("bel", "be"),
    ("ben", "bn"),
    ("bos", "bs"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("ces", "cs"),
    ("chi", "zh"),
    ("cmn", "zh"),
    ("cym", "cy"),
    ("cze", "cs"),
    ("dan", "da"),
    ("deu", "de"),
    ("dut", "nl"),
    ("ell", "el"),
    ("eng", "en"),
    ("epo", "eo"),
    ("est", "et"),
    ("eus", "eu"),
    ("fas", "fa"),
    ("fin", "fi"),
    ("fra", "fr"),
    ("fre", "fr"),
    ("geo", "ka"),
    ("ger", "de"),
    ("gle", "ga"),
    ("glg", "gl"),
    ("gre", "el"),
    ("guj", "gu"),
    ("heb", "he"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("hun", "hu"),
    ("hye", "hy"),
    ("ice", "is"),
    ("in", "id"),
    ("ind", "id"),
    ("isl", "is"),
    ("ita", "it"),
    ("iw", "he"),
    ("jpn", "ja"),
    ("kan", "kn"),
    ("kat", "ka"),
    ("kaz", "kk"),
    ("kor", "ko"),
    ("lat", "la"),
    ("lav", "lv"),
    ("lit", "lt"),
    ("mac", "mk"),
    ("mal", "ml"),
    ("mar", "mr"),
    ("may", "ms"),
    ("mkd", "mk"),
    ("msa", "ms"),
    ("nep", "ne"),
    ("nld", "nl"),
    ("nno", "nn"),
    ("nob", "nb"),
    ("nor", "no"),
    ("pan", "pa"),
    ("per", "fa"),
    ("pol", "pl"),
    ("por", "pt"),
    ("ron", "ro"),
    ("rum", "ro"),
    ("rus", "ru"),
    ("slk", "sk"),
    ("slo", "sk"),
    ("slv", "sl"),
    ("spa", "es"),
    ("sqi", "sq"),
    ("srp", "sr"),
    ("swa", "sw"),
    ("swe", "sv"),
    ("tam", "ta"),
    ("tel", "te"),
    ("tgl", "tl"),
    ("tha", "th"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("urd", "ur"),
    ("vie", "vi"),
    ("wel", "cy"),
    ("yid", "yi"),
    ("zho", "zh"),
];

/// What stands where nobody knows the language, or nobody speaks.
const UNKNOWN: [&str; 4] = ["und", "mis", "mul", "zxx"];

/// The language of a tag, whatever the region, script or case: `en` of `en-US`, `en_GB` and `eng`. `None` for tags that
/// name no language.
pub fn primary(tag: &str) -> Option<String> {
    let first = tag.trim().split(['-', '_']).next()?.to_ascii_lowercase();
    if first.is_empty() || UNKNOWN.contains(&first.as_str()) {
        return None;
    }
    let short = SHORT.iter().find(|(long, _)| *long == first);
    Some(short.map_or(first, |(_, short)| (*short).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_language_is_tagged_it_is_the_same() {
        for tag in ["en", "EN", "en-us", "en_GB", " eng ", "en-Latn-US"] {
            assert_eq!(primary(tag).as_deref(), Some("en"), "{tag}");
        }
        assert_eq!(primary("ger"), primary("deu"));
        assert_eq!(primary("gsw-CH").as_deref(), Some("gsw"));
        for tag in ["", " ", "und", "mul", "-"] {
            assert_eq!(primary(tag), None, "{tag}");
        }
        assert!(SHORT.is_sorted());
    }
}
