//! What every published package carries.

use std::fs;
use std::path::{Path, PathBuf};

const PUBLISHED: [&str; 6] =
    ["agentchat-core", "mq9-client", "a2a-envelope", "transport-mq9", "transport-ws", "adapters/mcp"];

#[test]
fn every_package_carries_both_licences_and_names_them() {
    assert!(read("Cargo.toml".to_owned()).contains(r#"license = "MIT OR Apache-2.0""#));
    for package in PUBLISHED {
        for (file, words) in
            [("LICENSE-MIT", "Permission is hereby granted"), ("LICENSE-APACHE", "Apache License")]
        {
            let licence = read(format!("{package}/{file}"));
            assert!(licence.contains(words), "{package}/{file}");
            assert_eq!(licence, read(file.to_owned()), "{package}/{file} differs from the one at the root");
        }
        assert!(read(format!("{package}/Cargo.toml")).contains("license.workspace = true"), "{package}");
        assert!(read(format!("{package}/README.md")).contains("MIT OR Apache-2.0"), "{package}");
    }
}

#[test]
fn every_readme_says_how_its_package_is_added() {
    for package in PUBLISHED {
        let name = read(format!("{package}/Cargo.toml"));
        let name = name.lines().find_map(|line| line.strip_prefix("name = \"")).expect("a name");
        let name = name.trim_end_matches('"');
        let readme = read(format!("{package}/README.md"));
        let said = readme.lines().any(|line| {
            let words: Vec<_> = line.split(' ').collect();
            matches!(words[..], ["cargo", "add" | "install", ..]) && words.contains(&name)
        });
        assert!(said, "{package}/README.md has no line that adds {name}");
    }
}

#[test]
fn nothing_that_is_published_listens_on_a_port_but_the_doubles() {
    let mut sources = 0;
    for package in PUBLISHED {
        for path in rust_files(&root().join(package).join("src")) {
            if path.components().any(|part| part.as_os_str() == "testing") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("readable");
            for listener in ["TcpListener", "UnixListener", "UdpSocket", "TcpSocket"] {
                assert!(!text.contains(listener), "{} has a {listener}", path.display());
            }
            sources += 1;
        }
    }
    assert!(sources > 300, "only {sources} sources were found");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: String) -> String {
    fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut places) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places
                .extend(fs::read_dir(place).expect("readable").map(|entry| entry.expect("an entry").path()));
        } else if place.extension().is_some_and(|kind| kind == "rs") {
            found.push(place);
        }
    }
    found
}
