//! The first page of each module lists what is in it, in reading order: rustdoc sorts modules by their names.

use std::fs;
use std::path::Path;

/// The source of a module, and what its first page says.
fn read(file: &str) -> (String, String) {
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).expect(file);
    let is_of_page = |line: &&str| line.starts_with("//!") || line.starts_with("#![cfg_attr");
    let page = source.lines().take_while(|line| is_of_page(line)).collect();
    (source, page)
}

/// The names in lines such as `pub mod NAME;`, without what is hidden.
fn public_modules(source: &str) -> Vec<&str> {
    let lines: Vec<_> = source.lines().collect();
    let is_hidden = |at: usize| at > 0 && lines[at - 1] == "#[doc(hidden)]";
    let named = lines.iter().enumerate().filter(|(at, _)| !is_hidden(*at));
    named.filter_map(|(_, line)| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect()
}

/// The names in lines such as `pub use file::{ONE, ANOTHER};`.
fn exported(source: &str) -> Vec<&str> {
    let uses = source.lines().filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix(';'));
    let names =
        uses.flat_map(|path| path.rsplit("::").next().expect("a path").trim_matches(['{', '}']).split(", "));
    names.collect()
}

#[test]
fn each_module_is_listed_in_the_order_in_which_it_is_declared() {
    for file in ["lib.rs", "sys/mod.rs", "serve/mod.rs", "model/mod.rs"] {
        let (source, page) = read(file);
        let modules = public_modules(&source);
        assert!(modules.len() > 1, "{file}: {modules:?}");
        // The last mention is that in the list: texts above it mention some, too.
        let place = |name: &str| page.rfind(&format!("[`{name}`]"));
        let places: Vec<_> = modules
            .iter()
            .map(|name| place(name).unwrap_or_else(|| panic!("{file} does not list {name}")))
            .collect();
        assert!(places.is_sorted(), "{file} lists its modules in another order: {modules:?}");
    }
}

#[test]
fn the_first_page_names_all_that_a_module_exports_from_its_files() {
    for file in ["serve/mod.rs", "echo/mod.rs", "facts/mod.rs"] {
        let (source, page) = read(file);
        for name in exported(&source) {
            assert!(page.contains(&format!("[`{name}`")), "{file} does not name {name}");
        }
    }
}

#[test]
fn the_citation_has_the_version_of_the_package() {
    let citation =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/CITATION.cff")).expect("CITATION.cff");
    assert!(citation.contains(concat!("\nversion: ", env!("CARGO_PKG_VERSION"), "\n")), "{citation}");
}
