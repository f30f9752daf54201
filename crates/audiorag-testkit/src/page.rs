//! Tables in the pages of the documentation that tests make of what they test.

use std::path::Path;

/// Set by `cargo xtask bless`: tables are written instead of compared.
const BLESS: &str = "AUDIORAG_BLESS";

/// Compares what a page has between `<!-- NAME -->` and `<!-- end of NAME -->` with `table`. `page` is its path below
/// the root of the workspace.
pub fn has_table(page: &str, name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let old = std::fs::read_to_string(&path).expect("a page of the documentation");
    let new = with_table(&old, name, table);
    #[expect(clippy::disallowed_methods, reason = "it says how tests are run")]
    let blesses = std::env::var_os(BLESS).is_some();
    if blesses {
        std::fs::write(&path, new).expect("a page that can be written");
        return;
    }
    assert!(
        old == new,
        "the table {name} of {page} is out of date: run cargo xtask bless"
    );
}

fn with_table(page: &str, name: &str, table: &str) -> String {
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&start).expect("the start of the table");
    let (_, after) = rest.split_once(&end).expect("the end of the table");
    format!("{before}{start}{table}{end}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let page = "A\n<!-- x -->\nold\n<!-- end of x -->\nZ\n<!-- y -->\n<!-- end of y -->\n";
        let new = with_table(page, "x", "new\n");
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(with_table(&new, "x", "new\n"), new);
    }
}
