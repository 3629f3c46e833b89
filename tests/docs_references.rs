//! What the documents promise is held by tests that are there: every test, example, file and item that they
//! name exists, and no promise, complaint or feature is without its line.
//!
//! A test is named by its file from the root and its name, as `` `tests/docs_references.rs::this_one` ``; a case
//! of the conformance suite by the file that defines it. That they also ran is for `.ci/named_tests` to say.

#[path = "support/documents.rs"]
mod documents;
#[path = "support/sources.rs"]
mod sources;

use std::fs;
use std::path::Path;
use std::process::Command;

use documents::{NamedTest, expanded, looks_like_a_path, named_tests, quoted, read, root, rows_of, section};
use sources::{fault_of, members, rust_files, tests_in};

#[test]
fn every_test_that_a_document_names_is_there_and_runs() {
    for (document, text) in documents() {
        let named = named_tests(&text).unwrap_or_else(|fault| panic!("{document}: {fault}"));
        let faults: Vec<String> = named.iter().filter_map(fault_of).collect();
        assert!(faults.is_empty(), "{document} names what is no test: {faults:#?}");
        assert!(document != PROMISES || named.len() > 50, "only {} tests were found", named.len());
    }
}

#[test]
fn every_example_that_a_document_names_is_run_by_the_gate() {
    let gate = read(".ci/examples");
    for (document, text) in documents() {
        for span in quoted(&text) {
            let Some(example) = span.strip_prefix("examples/").and_then(|it| it.strip_suffix(".rs")) else {
                continue;
            };
            assert!(root().join(span).exists(), "{document} names {span}, which is not there");
            let run = gate.split_whitespace().any(|word| word.trim_end_matches(';') == example);
            assert!(
                run || STARTED_OTHERWISE.contains(&example),
                "{document}: .ci/examples does not run {span}"
            );
        }
    }
}

#[test]
fn every_path_and_link_of_a_document_exists() {
    for (document, text) in documents() {
        let folder = Path::new(&document).parent().expect("a folder");
        for name in paths(&text) {
            assert!(root().join(&name).exists(), "{document} names {name}, which is not there");
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let there =
                link.is_empty() || link.starts_with("https://") || root().join(folder).join(link).exists();
            assert!(there, "{document} links to {link}, which is not there");
        }
    }
}

#[test]
fn every_item_that_a_document_names_by_its_crate_is_in_its_source() {
    for (document, text) in documents() {
        for (span, folder) in quoted(&text).into_iter().filter_map(|span| Some((span, folder_of(span)?))) {
            let item = last_word(span);
            let found = rust_files(&root().join(folder).join("src")).into_iter().any(|path| {
                let source = fs::read_to_string(path).expect("readable");
                source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == item)
            });
            assert!(found, "{document} names {span}, and its crate has no {item}");
        }
    }
}

#[test]
fn every_promise_names_the_tests_that_hold_it() {
    let text = read(PROMISES);
    for number in 1..=10 {
        let promise = section(&text, &format!("## {number}. "));
        let promise = promise.unwrap_or_else(|| panic!("{PROMISES} has no promise {number}"));
        assert!(!named_tests(promise).expect("checked above").is_empty(), "no test holds promise {number}");
    }
}

#[test]
fn every_complaint_has_one_line_and_a_test_or_the_reason_why_not() {
    let text = read(PROMISES);
    for number in 1..=COMPLAINTS {
        let rows = rows_of(&text, &number.to_string());
        let [row] = rows[..] else { panic!("{} lines for complaint {number}", rows.len()) };
        let tested = !named_tests(row).expect("checked above").is_empty();
        assert!(
            tested || row.contains("no test"),
            "complaint {number} says neither a test nor that there is none"
        );
    }
}

#[test]
fn every_feature_has_one_row_and_something_that_shows_it() {
    let text = read(FEATURES);
    for (letter, last) in FEATURE_ROWS {
        for id in (1..=last).map(|number| format!("{letter}{number}")) {
            let rows = rows_of(&text, &id);
            let [row] = rows[..] else { panic!("{} rows for {id}", rows.len()) };
            let shown = row.contains(".rs::") || !paths(row).is_empty();
            assert!(shown || OPEN.contains(&id.as_str()), "nothing shows {id}");
        }
    }
    assert!(rows_of(&text, "A27").is_empty() && rows_of(&text, "B43").is_empty());
}

#[test]
fn a_wrong_name_is_found() {
    let named = |file: &str, test: &str| NamedTest { file: file.to_owned(), test: test.to_owned() };
    let this = "tests/docs_references.rs";
    let right = [
        named(this, "a_wrong_name_is_found"),
        named("tests/scenario_a2a.rs", "a_call_is_answered"),
        named("agentchat-core/tests/stores.rs", "cursors_are_bounded"),
        named("agentchat-core/src/conformance/ack.rs", "ack_twice_is_fine"),
    ];
    for right in right {
        assert_eq!(fault_of(&right), None);
    }
    let wrong = [
        (named("tests/no_such_file.rs", "a_wrong_name_is_found"), "not there"),
        (named(this, "a_right_name_is_found"), "no test"),
        (named(this, "folder_of"), "no test"),
        (named("tests/live_mq9.rs", "live"), "environment"),
        (named("tests/scenario_kill.rs", "consuming_process"), "environment"),
        (named("benches/figures/main.rs", "main"), "not compiled"),
        (named("agentchat-core/src/conformance/send.rs", "ack_twice_is_fine"), "no case"),
        (named("agentchat-core/src/conformance/ack.rs", "ack_never"), "no case"),
    ];
    for (wrong, why) in wrong {
        let fault = fault_of(&wrong).unwrap_or_else(|| panic!("{wrong:?} passed"));
        assert!(fault.contains(why), "{fault}");
    }
    let read = "#[test]\nfn runs() {}\n#[test]\n#[ignore = \"slow\"]\nfn waits() {}\nfn helps() {}\n\
                macro_rules! both { ($n:ident) => { #[test]\nfn $n() {} } }\nboth!(made);\nother!(passed);";
    let (tests, ignored) = tests_in(read);
    assert_eq!(tests.into_iter().collect::<Vec<_>>(), ["made", "runs"]);
    assert_eq!(ignored.into_iter().collect::<Vec<_>>(), ["waits"]);
    for malformed in ["`a.rs::b, c`", "`a.rs::b::c`", "`a b.rs::c`", "a.rs::b", "`a.rs::`"] {
        assert!(named_tests(malformed).is_err(), "{malformed} passed");
    }
}

/// The script of the gate, given what a run printed.
#[cfg(unix)]
#[test]
fn the_gate_finds_a_named_test_that_did_not_run() {
    let folder = std::env::temp_dir().join(format!("named-tests-{}", std::process::id()));
    let reports = folder.join("reports");
    fs::create_dir_all(&reports).expect("made");
    let document = folder.join("document.md");
    let text = "`tests/docs_references.rs::one` `agentchat-core/src/agent/call.rs::two`\n\
                `agentchat-core/src/conformance/ack.rs::three` `mq9-client/tests/golden_engine/scripts.rs::four`\n";
    fs::write(&document, text).expect("written");
    let printed = "     Running tests/docs_references.rs (target/debug/deps/docs_references-0123)\n\
                   test one ... ok\n\
                   \x20    Running unittests src/lib.rs (/elsewhere/deps/agentchat_core-4567)\n\
                   test agent::call::tests::two ... skipped other: why\nok\n\
                   \x20    Running tests/golden_engine/main.rs (target/debug/deps/golden_engine-89ab)\n\
                   test scripts::four - should panic ... ok\n";
    let passes = |printed: &str, held: &str| {
        fs::write(folder.join("printed"), printed).expect("written");
        fs::write(reports.join("loopback"), held).expect("written");
        let mut script = Command::new("bash");
        script.arg(root().join(".ci/named_tests")).arg(folder.join("printed")).arg(&document);
        script.env("CONFORMANCE_REPORT", &reports).output().expect("bash runs").status.success()
    };
    let held = "held\tthree\t\n";
    assert!(passes(printed, held));
    assert!(!passes(printed, "skipped\tthree\twhy\n"), "a case that nobody holds");
    assert!(!passes(&printed.replace("test one", "test another_one"), held), "another name");
    assert!(!passes(&printed.replace("test one ... ok", "test one ... ignored, slow"), held), "ignored");
    assert!(!passes(&printed.replace("deps/docs_references-", "deps/docs_promises-"), held), "another file");
    assert!(!passes(&printed.replace("deps/agentchat_core-", "deps/call-"), held), "another crate");
    fs::remove_dir_all(&folder).expect("removed");
}

/// Every document below `docs/`, by its path from the root.
fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("docs")).expect("docs/ is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
        if name.ends_with(".md") {
            let document = format!("docs/{name}");
            let text = read(&document);
            found.push((document, text));
        }
    }
    for required in [PROMISES, FEATURES] {
        assert!(found.iter().any(|(document, _)| document == required), "{required} is not there");
    }
    found
}

/// The paths from the root that `text` quotes: Rust files and pages in some folder, and whatever starts with a
/// folder of the root. A reader's own crate has its files in `src/`.
fn paths(text: &str) -> Vec<String> {
    let quoted = quoted(text).into_iter().filter(|span| looks_like_a_path(span)).flat_map(expanded);
    let ours = |name: &String| match name.split_once('/') {
        Some(("" | "src", _)) => false,
        Some((first, _)) => {
            [".rs", ".md"].iter().any(|end| name.ends_with(end)) || root().join(first).exists()
        }
        None => root().join(name).exists(),
    };
    quoted.filter(ours).collect()
}

/// The folder of the crate that an item's path starts with.
fn folder_of(item: &str) -> Option<String> {
    let (krate, _) = item.split_once("::")?;
    let named = |folder: &String| {
        read(&format!("{folder}/Cargo.toml")).contains(&format!("name = \"{}\"", krate.replace('_', "-")))
    };
    members().into_iter().find(named)
}

/// `Item` in `krate::module::Item`, `method` in `krate::Item::method()`.
fn last_word(item: &str) -> &str {
    let path = item.split(['(', '<', '!', ' ', '{']).next().expect("a first part");
    path.trim_end_matches("::").rsplit("::").next().expect("a last part")
}

const PROMISES: &str = "docs/PROMISES.md";
const FEATURES: &str = "docs/FEATURES.md";
const COMPLAINTS: usize = 40;
/// The rows of the features page: those of AgentChat, those of mq9, and what is found beside them.
const FEATURE_ROWS: [(char, usize); 3] = [('A', 26), ('B', 42), ('S', 11)];
/// A demand, no feature.
const OPEN: [&str; 1] = ["B34"];
/// One serves until it is stopped, one is started by its other half.
const STARTED_OTHERWISE: [&str; 2] = ["mq9_broker", "poc_agent"];
