//! The reference page, made from the table.

use super::key::Key;
use super::resolve::default_text;
use std::fmt::Write as _;

const HEAD: &str = "\
# Settings

<!-- Made from the table in crates/audiorag/src/settings/key.rs; a test compares. -->

Each setting is looked for in this order, and the first place that has it counts:

1. the command line;
2. the environment;
3. a `.env` file of `NAME=value` lines: the one that `AUDIORAG_ENV_FILE` names, else the nearest one walking up
   from the current directory; it never overrides the real environment;
4. the project file: the one that `--config` names, else the nearest `audiorag.toml` walking up;
5. the user's own file: `audiorag/config.toml` in the platform's configuration directory (`~/.config`,
   `~/Library/Application Support`, `%APPDATA%`);
6. the default.

Relative paths in a file are relative to the file, others to the current directory; `~` is the home directory.
Unknown names in a file are errors, unknown `AUDIORAG_` names in the environment are warnings. Everything that is
wrong is reported together, before any work. `audiorag config show` prints every value with its origin, secrets
hidden; `audiorag config path` names the files that are read.

A setting called `stt.model` here is written `model` under `[stt]` in the files:

```toml
# audiorag.toml
database_url = \"talks.db\"

[stt]
provider = \"local\"
language = \"en\"
```
";

/// `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let mut page = HEAD.to_owned();
    let mut group = None;
    for key in Key::all() {
        let spec = key.spec();
        let this = spec.path.split_once('.').map(|(group, _)| group);
        if group != Some(this) {
            group = Some(this);
            let _ = write!(
                page,
                "\n## {}\n",
                this.map_or("General".to_owned(), |name| format!("`[{name}]`"))
            );
        }
        let doc = spec
            .doc
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let names = spec
            .env_names()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = write!(
            page,
            "\n### `{}`\n\n{doc}\n\n- Values: {}\n- Default: {}\n- Environment: {names}\n",
            spec.path,
            spec.kind.describe(),
            default_text(spec.fallback),
        );
    }
    page
}

/// Compared where every vendor is part of the build, because each brings settings of its own.
#[cfg(all(test, feature = "vendors", feature = "local"))]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_page_is_up_to_date() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let found = std::fs::read_to_string(file).unwrap();
        assert!(
            found == reference_markdown(),
            "docs/configuration.md is out of date: run cargo xtask bless"
        );
    }
}
