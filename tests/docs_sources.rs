//! The sources are what the architecture says of them: each file tells in its first line what it holds, and is
//! short enough to be read at once; and there is no option that nothing sets.

#[path = "support/documents.rs"]
mod documents;
#[path = "support/sources.rs"]
#[allow(dead_code, reason = "what the other tests of documents use of it")]
mod sources;

use std::collections::BTreeMap;
use std::fs;

use documents::root;
use sources::{members, rust_files};

#[test]
fn every_file_says_in_its_first_line_what_it_holds() {
    let silent: Vec<String> =
        files().into_iter().filter(|(_, text)| !says_what_it_holds(text)).map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "these do not begin with what they hold, as `//!`: {silent:#?}");
    for nothing in ["", "//!", "//! ", "use std::fs;\n//! Late.", "// No doc.", "/// Of an item."] {
        assert!(!says_what_it_holds(nothing), "{nothing:?} passed");
    }
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let mut long: Vec<(usize, String)> =
        files().into_iter().map(|(name, text)| (text.lines().count(), name)).collect();
    let mut of_crates: Vec<usize> =
        long.iter().filter(|(_, name)| name.contains("/src/")).map(|(lines, _)| *lines).collect();
    long.retain(|(lines, _)| *lines > MOST);
    long.sort_unstable_by(|a, b| b.cmp(a));
    assert!(long.is_empty(), "these have more than {MOST} lines: {long:#?}");
    of_crates.sort_unstable();
    let median = of_crates[of_crates.len() / 2];
    assert!(median <= MOST_IN_THE_MIDDLE, "half of the crates' files have more than {median} lines");
}

/// An option that nothing sets is an option that nobody has seen at work.
#[test]
fn every_option_of_the_crates_is_set_somewhere() {
    let files = files();
    let mut named = BTreeMap::<&str, u32>::new();
    for (_, text) in &files {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            *named.entry(word).or_default() += 1;
        }
    }
    let of_crates = files.iter().filter(|(name, _)| name.contains("/src/"));
    let setters = of_crates.flat_map(|(name, text)| {
        text.lines().filter_map(move |line| Some((name, line.trim().strip_prefix("pub fn with_")?)))
    });
    let (mut checked, mut unset) = (0, Vec::new());
    for (name, rest) in setters {
        let setter = format!("with_{}", rest.split(['(', '<']).next().unwrap_or_default());
        if named.get(&*setter).is_none_or(|times| *times < 2) {
            unset.push(format!("{name}: {setter}"));
        }
        checked += 1;
    }
    assert!(unset.is_empty(), "nothing sets these, not even a test: {unset:#?}");
    assert!(checked > 200, "only {checked} setters were found");
}

/// A crate's front page is its README.
fn says_what_it_holds(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first == "#![doc = include_str!(\"../README.md\")]"
        || first.strip_prefix("//! ").is_some_and(|said| !said.trim().is_empty())
}

/// Every Rust file of the workspace, by its path from the root, with its text.
fn files() -> Vec<(String, String)> {
    let folders = members().into_iter().chain(["tests", "examples", "benches"].map(str::to_owned));
    let mut found = Vec::new();
    for path in folders.flat_map(|folder| rust_files(&root().join(folder))) {
        let name = path.strip_prefix(root()).expect("below the root").display().to_string();
        // A crate that is built by itself has what was built in it.
        if !name.split('/').any(|part| part == "target") {
            found.push((name, fs::read_to_string(path).expect("readable")));
        }
    }
    assert!(found.len() > 500, "only {} files were found", found.len());
    found
}

const MOST: usize = 500;
const MOST_IN_THE_MIDDLE: usize = 200;
