//! The documents as text: what they quote, which tests they name, which rows their tables have.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

use std::fs;
use std::path::Path;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands between backticks, outside code blocks.
pub fn quoted(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// `a/{b,c}.rs` stands for `a/b.rs` and `a/c.rs`.
pub fn expanded(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("a brace is closed");
    choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
}

pub fn looks_like_a_path(text: &str) -> bool {
    let named = text.contains('/') || [".rs", ".md", ".toml"].iter().any(|end| text.ends_with(end));
    named && !text.contains([' ', '(', ':', '<', '*']) && !text.starts_with('-')
}

/// A test that a document names, as `` `path/from/the/root.rs::name_of_the_test` ``.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedTest {
    pub file: String,
    pub test: String,
}

/// The tests that `text` names. What only looks like a reference to one is an error: it would go unchecked. A
/// name in capitals stands for any test.
pub fn named_tests(text: &str) -> Result<Vec<NamedTest>, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut found, mut stand_ins) = (Vec::new(), 0);
    for span in quoted(text).into_iter().filter(|span| span.contains(".rs::")) {
        let (file, test) = span.split_once("::").expect("it has colons");
        let plain = file.chars().all(|c| word(c) || matches!(c, '/' | '-' | '.'));
        if !plain || !file.ends_with(".rs") || test.is_empty() || !test.chars().all(word) {
            return Err(format!("`{span}` is not a file and a test"));
        }
        if test.chars().all(|c| c.is_ascii_uppercase()) {
            stand_ins += 1;
            continue;
        }
        found.push(NamedTest { file: file.to_owned(), test: test.to_owned() });
    }
    // Whoever forgets a backtick has named nothing.
    let bare = text.matches(".rs::").count();
    if bare != found.len() + stand_ins {
        return Err(format!("{bare} tests are named, and only {} of them between backticks", found.len()));
    }
    Ok(found)
}

/// The rows of all tables whose first cell is `id`.
pub fn rows_of<'a>(text: &'a str, id: &str) -> Vec<&'a str> {
    let first = |line: &str| line.strip_prefix('|')?.split('|').next().map(|cell| cell.trim().to_owned());
    text.lines().filter(|line| first(line).as_deref() == Some(id)).collect()
}

/// What stands under the heading that starts with `heading`, up to the next one of the same depth.
pub fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let at =
        text.match_indices(heading).map(|(at, _)| at).find(|at| *at == 0 || text[..*at].ends_with('\n'))?;
    let depth = heading.split(' ').next().expect("a first word");
    let rest = &text[at + heading.len()..];
    Some(rest.split(&format!("\n{depth} ")).next().expect("a first part"))
}
