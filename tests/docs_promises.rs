//! What the documents name exists: files, examples, benches, packages, and the way to run them.

#[path = "support/documents.rs"]
mod documents;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use documents::{expanded, looks_like_a_path, quoted, read, root};

/// Whether `name` is there: from the root, or as a sibling in the source folder of the row's crate.
fn exists(name: &str, near: Option<&Path>) -> bool {
    root().join(name).exists()
        || near.is_some_and(|near| near.ancestors().any(|folder| root().join(folder).join(name).exists()))
}

/// The pages under `docs`.
fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).expect("listed");
    let pages = entries.map(|entry| entry.expect("an entry").path());
    pages.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// The source of the published crates, without their tests and doubles, as one text.
fn sources() -> String {
    let crates = ["agentchat-core", "mq9-client", "a2a-envelope", "transport-mq9", "transport-ws"];
    let mut folders: Vec<PathBuf> = crates.map(|name| root().join(name).join("src")).into();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true if path.ends_with("testing") || path.ends_with("conformance") => {}
                true => folders.push(path),
                false => text.push_str(&fs::read_to_string(&path).expect("read")),
            }
        }
    }
    text
}

#[test]
fn every_path_in_the_tables_of_the_architecture_exists() {
    let text = read("ARCHITECTURE.md");
    let mut checked = 0;
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let mut near: Option<PathBuf> = None;
        for name in quoted(row).into_iter().filter(|name| looks_like_a_path(name)).flat_map(expanded) {
            assert!(exists(&name, near.as_deref()), "ARCHITECTURE.md names {name}, which is not there");
            if root().join(&name).exists() {
                near = Some(PathBuf::from(&name));
            }
            checked += 1;
        }
    }
    assert!(checked > 25, "only {checked} paths were found: is the table still there?");
}

#[test]
fn every_path_and_link_in_the_documents_at_the_root_exists() {
    for document in ["ARCHITECTURE.md", "README.md"] {
        let text = read(document);
        let folders = ["tests/", "examples/", "benches/", "src/"];
        for name in quoted(&text).into_iter().filter(|name| looks_like_a_path(name)).flat_map(expanded) {
            let first = name.split('/').next().expect("a first part");
            // Paths within some crate are the tables' matter.
            if root().join(first).exists() && !folders.contains(&name.as_str()) {
                assert!(root().join(&name).exists(), "{document} names {name}, which is not there");
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let there = link.starts_with("https://") || root().join(link).exists();
            assert!(there, "{document} links to {link}, which is not there");
        }
    }
}

#[test]
fn every_link_in_the_pages_of_docs_leads_somewhere() {
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("read");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let there = link.starts_with("https://") || root().join("docs").join(link).exists();
            assert!(there, "{} links to {link}, which is not there", page.display());
            checked += 1;
        }
        for example in quoted(&text).into_iter().filter(|name| name.starts_with("examples/")) {
            assert!(root().join(example).exists(), "{} names {example}, which is not there", page.display());
        }
    }
    assert!(checked > 10, "only {checked} links were found");
}

#[test]
fn every_error_of_the_troubleshooting_page_is_one_that_the_crates_give() {
    let page = read("docs/troubleshooting.md");
    let table =
        page.split("\n## ").find(|part| part.starts_with("How to read")).expect("the table of errors");
    let sources = sources();
    let mut checked = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let text = row.trim_start_matches("| `").split("` |").next().expect("a first cell");
        assert!(sources.contains(text), "docs/troubleshooting.md has {text:?}, which no crate says");
        checked += 1;
    }
    assert!(checked > 15, "only {checked} errors were found");
}

#[test]
fn every_command_of_the_readme_names_what_cargo_can_run() {
    let text = read("README.md");
    let commands: BTreeSet<&str> =
        text.split(['`', '\n']).map(str::trim).filter(|line| line.starts_with("cargo ")).collect();
    for promised in ["cargo run --example two_agents", "cargo test --workspace"] {
        assert!(commands.contains(promised), "README.md does not say {promised:?}");
    }
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        for pair in words.windows(2) {
            let file = match pair {
                ["--example", name] => format!("examples/{name}.rs"),
                ["--bench", name] => format!("benches/{name}/main.rs"),
                _ => continue,
            };
            assert!(root().join(&file).exists(), "{command:?} needs {file}");
        }
    }
}

#[test]
fn a_transport_of_ones_own_takes_less_than_150_lines_of_code_laid_out_as_all_others() {
    let example = read("examples/custom_transport.rs");
    let (_, rest) = example.split_once("// The transport begins here.\n").expect("a first mark");
    let (transport, _) = rest.split_once("// The transport ends here.\n").expect("a second mark");
    assert!(!transport.contains("rustfmt::skip"), "lines are lines");
    let code = transport.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let lines = code.count();
    assert!((50..150).contains(&lines), "it takes {lines} lines of code");
    for document in ["README.md", "agentchat-core/src/transport.rs"] {
        assert!(read(document).contains("less than 150 lines of code"), "{document} says something else");
    }
}

#[test]
fn every_example_is_in_the_readme_and_run_by_the_gate_or_by_another() {
    let (readme, gate) = (read("README.md"), read(".ci/examples"));
    let mut examples = 0;
    for entry in fs::read_dir(root().join("examples")).expect("listed") {
        let path = entry.expect("an entry").path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|_| path.is_file()) else {
            continue;
        };
        assert!(readme.contains(name), "README.md does not mention the example {name}");
        // One serves until it is stopped, one is started by its other half.
        let started_otherwise = ["mq9_broker", "poc_agent"].contains(&name);
        assert!(started_otherwise || gate.contains(name), ".ci/examples does not run {name}");
        examples += 1;
    }
    assert!(examples > 5, "only {examples} examples were found");
}

#[test]
fn every_crate_states_the_toolchain_that_the_readme_states() {
    let version = |manifest: &str| {
        let text = read(manifest);
        let line = text.lines().find(|line| line.starts_with("rust-version = ")).map(str::to_owned);
        line.map(|line| line.split('"').nth(1).expect("a quoted version").to_owned())
    };
    let workspace = version("Cargo.toml").expect("the workspace has one");
    for package in
        ["agentchat-core", "mq9-client", "transport-mq9", "transport-ws", "a2a-envelope", "adapters/mcp"]
    {
        let stated = version(&format!("{package}/Cargo.toml")).unwrap_or_else(|| workspace.clone());
        let readme = read(&format!("{package}/README.md"));
        let says = readme.contains(&format!("MSRV {stated}")) || readme.contains(&format!("Rust {stated}"));
        assert!(says, "{package}/README.md does not say {stated}");
    }
    assert!(read("README.md").contains(&format!("Rust {workspace}")));
}
