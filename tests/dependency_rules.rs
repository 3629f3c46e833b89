//! Which crate may depend on which, read from `cargo tree`: the arrows of `ARCHITECTURE.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names of every crate in the normal dependency tree of `package`.
fn tree(package: &str, extra: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-p", package])
        .args(extra)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let names: BTreeSet<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert!(names.contains(package), "cargo tree did not list {package}");
    names
}

/// Every Rust file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "only {} files were found", found.len());
    found
}

fn assert_free_of(package: &str, extra: &[&str], forbidden: &[&str]) {
    let names = tree(package, extra);
    let found: Vec<_> = forbidden.iter().filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "{package} must not depend on {found:?}");
}

const PUBLISHED: [&str; 6] =
    ["agentchat-core", "mq9-client", "a2a-envelope", "transport-mq9", "transport-ws", "agentchat-mcp"];

#[test]
fn core_knows_no_network_and_no_a2a() {
    let forbidden = [
        "async-nats",
        "tungstenite",
        "tokio-tungstenite",
        "reqwest",
        "hyper",
        "a2a-envelope",
        "mq9-client",
        "transport-mq9",
        "transport-ws",
    ];
    assert_free_of("agentchat-core", &["--all-features"], &forbidden);
}

#[test]
fn schemas_of_tools_are_checked_by_what_only_that_feature_brings() {
    assert_free_of("agentchat-core", &[], &["jsonschema", "schemars", "redb"]);
    assert!(tree("agentchat-core", &["--features", "tools"]).contains("jsonschema"));
    // Nothing that could fetch a schema, and no generator: that is the tool's own dependency.
    let forbidden = ["reqwest", "hyper", "rustls", "schemars", "url"];
    assert_free_of("agentchat-core", &["--features", "tools"], &forbidden);
}

#[test]
fn tools_are_there_only_where_they_are_asked_for() {
    for package in ["transport-ws", "transport-mq9"] {
        assert_free_of(package, &[], &["jsonschema", "schemars"]);
        assert!(tree(package, &["--features", "tools"]).contains("jsonschema"));
    }
}

#[test]
fn what_a_framework_needs_is_in_its_adapter_alone() {
    for package in ["agentchat-core", "mq9-client", "a2a-envelope", "transport-mq9", "transport-ws"] {
        assert_free_of(package, &["--all-features"], &["rmcp", "agentchat-mcp"]);
    }
}

#[test]
fn no_library_installs_a_subscriber() {
    let libraries = ["agentchat-core", "mq9-client", "a2a-envelope", "transport-mq9", "transport-ws"];
    for package in libraries {
        assert_free_of(package, &["--all-features"], &["tracing-subscriber", "env_logger", "tracing-log"]);
        for source in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("src")) {
            let text = std::fs::read_to_string(&source).expect("readable");
            let installs = text.contains("set_global_default") || text.contains("set_default(");
            assert!(!installs, "{} installs a subscriber", source.display());
        }
    }
}

#[test]
fn the_mq9_client_is_useful_without_the_rest() {
    assert_free_of("mq9-client", &["--all-features"], &["agentchat-core", "a2a-envelope", "transport-mq9"]);
}

#[test]
fn the_envelope_needs_no_runtime_and_no_a2a_sdk() {
    let forbidden = ["tokio", "agentchat-core", "mq9-client", "async-nats", "a2a-lf"];
    assert_free_of("a2a-envelope", &[], &forbidden);
}

#[test]
fn no_default_feature_set_brings_an_http_server() {
    for package in PUBLISHED {
        assert_free_of(package, &[], &["axum", "warp", "actix-web", "tiny_http", "rouille"]);
        // The AgentChat client, and what is made of it, needs hyper's other half.
        if !["transport-ws", "agentchat-mcp"].contains(&package) {
            assert_free_of(package, &[], &["hyper"]);
        }
    }
}

#[test]
fn transports_do_not_know_each_other() {
    assert_free_of("transport-ws", &["--all-features"], &["async-nats", "mq9-client", "transport-mq9"]);
    assert_free_of("transport-mq9", &["--all-features"], &["reqwest", "tokio-tungstenite", "transport-ws"]);
}

#[test]
fn doubles_and_the_conformance_suite_stay_out_of_default_features() {
    for package in PUBLISHED {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "-e",
                "normal,features",
                "--prefix",
                "none",
                "-p",
                package,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(package), "cargo tree failed for {package}");
        for feature in ["test-broker", "test-server", "conformance"] {
            assert!(!text.contains(&format!("feature {feature}")), "{package} enables {feature} by default");
            assert!(
                !text.contains(&format!("feature \"{feature}\"")),
                "{package} enables {feature} by default"
            );
        }
    }
}
