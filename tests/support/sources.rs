//! Which tests the sources of this workspace have, read as text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::documents::{NamedTest, read, root};

/// Why `named` is not a test that every run of the suite goes through; nothing if it is one.
pub fn fault_of(named: &NamedTest) -> Option<String> {
    let NamedTest { file, test } = named;
    if !root().join(file).is_file() {
        return Some(format!("{file} is not there"));
    }
    if !is_compiled(file) {
        return Some(format!("{file} is not compiled into any test"));
    }
    let gated = file.rsplit('/').next().is_some_and(|name| name.starts_with("live_"));
    if gated || CHILDREN.contains(&test.as_str()) {
        return Some(format!("{test} runs only where the environment asks for it"));
    }
    let source = read(file);
    if file.starts_with(CONFORMANCE) {
        let is_case = agentchat_core::conformance::CASES.iter().any(|case| case.name == test);
        let here = source.contains(&format!("pub async fn {test}("));
        return (!is_case || !here).then(|| format!("{test} is no case of the suite in {file}"));
    }
    let (tests, ignored) = tests_in(&(macros_beside(file, &source) + &source));
    if ignored.contains(test) {
        return Some(format!("{test} in {file} is ignored"));
    }
    (!tests.contains(test)).then(|| format!("{test} is no test in {file}"))
}

/// The files whose macros `source`, which stands in `file`, uses: `#[macro_use]` and then `#[path]`.
fn macros_beside(file: &str, source: &str) -> String {
    let folder = Path::new(file).parent().expect("a file is in a folder");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let used = lines.windows(2).filter(|pair| pair[0] == "#[macro_use]");
    let paths = used.filter_map(|pair| pair[1].strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    paths.map(|path| read(&folder.join(path).display().to_string())).collect()
}

/// The members of the workspace, as folders.
pub fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next());
    list.expect("the workspace lists them").split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every Rust file below `folder`.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut places) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(place) = places.pop() {
        if place.is_dir() {
            let inside = fs::read_dir(place).expect("readable").map(|entry| entry.expect("an entry").path());
            places.extend(inside);
        } else if place.extension().is_some_and(|kind| kind == "rs") {
            found.push(place);
        }
    }
    found
}

/// The tests of one file: those that run, and those that are ignored.
pub fn tests_in(source: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (plain, makers) = without_macros(source);
    let (mut tests, mut ignored) = (BTreeSet::new(), BTreeSet::new());
    let (mut is_test, mut is_ignored) = (false, false);
    for line in plain.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            is_ignored |= line.starts_with("#[ignore");
            continue;
        }
        let name = line.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
        if let Some(name) = name.filter(|_| is_test) {
            if is_ignored { &mut ignored } else { &mut tests }.insert(name.to_owned());
        }
        // Comments may stand between an attribute and its function.
        if !line.starts_with("//") {
            (is_test, is_ignored) = (false, false);
        }
    }
    for maker in makers {
        for (at, call) in plain.match_indices(&format!("{maker}!")) {
            let named =
                enclosed(&plain[at + call.len()..]).lines().filter_map(|line| line.split("//").next());
            let words = named.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
            tests.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    (tests, ignored)
}

/// The source without what its macros expand to, and the macros among them that make tests of names.
fn without_macros(source: &str) -> (String, Vec<String>) {
    let (mut plain, mut makers) = (String::new(), Vec::new());
    let mut parts = source.split("macro_rules! ");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let body = enclosed(part);
        let name = part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        if body.contains("#[test]") || body.contains("#[tokio::test") {
            makers.push(name.to_owned());
        }
        let end = part.find(body).unwrap_or_default() + body.len();
        plain.push_str(&part[end..]);
    }
    (plain, makers)
}

/// From the first bracket of `text` to the one that closes it.
fn enclosed(text: &str) -> &str {
    let start = text.find(['(', '[', '{']).unwrap_or(text.len());
    let mut depth = 0_usize;
    for (at, c) in text[start..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 1 => return &text[start..=start + at],
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    &text[start..]
}

/// Whether `file` belongs to a crate of the workspace, and is its root or declared as a module in it.
fn is_compiled(file: &str) -> bool {
    let packages = members().into_iter().map(|member| format!("{member}/")).chain([String::new()]);
    let Some((package, inside)) = packages
        .filter_map(|package| file.strip_prefix(&package).map(|inside| (package.clone(), inside.to_owned())))
        .find(|(package, inside)| {
            inside.starts_with("tests/") || (!package.is_empty() && inside.starts_with("src/"))
        })
    else {
        return false;
    };
    let parts: Vec<&str> = inside.split('/').collect();
    if matches!(parts[..], ["src", "lib.rs" | "main.rs"] | ["tests", _] | ["tests", _, "main.rs"]) {
        return true;
    }
    let name = parts[parts.len() - 1].trim_end_matches(".rs");
    let name = if name == "mod" { parts[parts.len() - 2] } else { name };
    let by_name = format!("mod {name};");
    let by_path = format!("{}\"]", parts[parts.len() - 1]);
    let folders = ["src", "tests"].map(|folder| root().join(&package).join(folder));
    let declared = |text: String| {
        let mut lines = text.lines().map(str::trim);
        lines.any(|line| line.ends_with(&by_name) || (line.starts_with("#[path") && line.ends_with(&by_path)))
    };
    folders.iter().flat_map(|folder| rust_files(folder)).any(|path| {
        let text = fs::read_to_string(path).expect("readable");
        declared(text)
    })
}

/// The processes that other tests start and kill: by themselves they do nothing.
const CHILDREN: [&str; 2] = ["consuming_process", "killed_process"];
/// Where the cases of the conformance suite are; the harnesses of each transport make tests of them.
const CONFORMANCE: &str = "agentchat-core/src/conformance/";
