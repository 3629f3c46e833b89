//! The documentation of each call names its endpoint and its errors.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::contract::INDEX;

/// Asks what it lists, or a storage host.
const ELSEWHERE: [&str; 2] = ["next", "put_upload"];

/// The public calls of the API: their names and their documentation.
fn calls() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut calls = Vec::new();
    for file in fs::read_dir(folder).expect("the sources") {
        let source = fs::read_to_string(file.expect("a file").path()).expect("text");
        let mut docs = String::new();
        for line in source.lines().map(str::trim) {
            match (line.strip_prefix("///"), line.strip_prefix("pub async fn ")) {
                (Some(doc), _) => docs += &format!("{}\n", doc.trim()),
                (None, Some(signature)) => {
                    let name = signature.split(['(', '<']).next().expect("a name");
                    calls.push((name.to_owned(), std::mem::take(&mut docs)));
                }
                (None, None) if line.starts_with("#[") => {}
                (None, None) => docs.clear(),
            }
        }
    }
    calls
}

/// What is in backticks behind "Asks".
fn asked(docs: &str) -> Vec<&str> {
    let Some(line) = docs.lines().find(|line| line.starts_with("Asks `")) else { return Vec::new() };
    line.split('`').skip(1).step_by(2).filter(|it| it.contains(" /v1/")).collect()
}

#[test]
fn each_call_is_documented_with_its_endpoint_and_its_errors() {
    let calls = calls();
    assert!(calls.len() > 60, "{}", calls.len());
    let mut all = BTreeSet::new();
    for (name, docs) in &calls {
        assert!(docs.contains("# Errors\n"), "{name} says nothing of errors");
        let asked = asked(docs);
        assert!(!asked.is_empty() || ELSEWHERE.contains(&name.as_str()), "{name} names no endpoint");
        for endpoint in asked {
            assert!(INDEX.contains(&endpoint), "{name}: {endpoint} is not in the contract");
            all.insert(endpoint);
        }
    }
    let missing: Vec<_> = INDEX.iter().filter(|endpoint| !all.contains(*endpoint)).collect();
    assert!(missing.is_empty(), "no call names {missing:?}");
}
