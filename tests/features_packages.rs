//! What every published package carries.

use std::fs;
use std::path::Path;

const PUBLISHED: [&str; 6] =
    ["agentchat-core", "mq9-client", "a2a-envelope", "transport-mq9", "transport-ws", "adapters/mcp"];

#[test]
fn every_package_carries_both_licences_and_names_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read =
        |path: String| fs::read_to_string(root.join(&path)).unwrap_or_else(|it| panic!("{path}: {it}"));
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
