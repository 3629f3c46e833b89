//! What the library tells is what its page says, and nothing that is not to be told. Alone in its file: what
//! one thread logs depends on the others of a process.
#![cfg(feature = "leader-lock")]

#[path = "support/agent_scenes.rs"]
mod agent_scenes;
#[path = "support/flaky.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod flaky;
#[path = "support/holey.rs"]
mod holey;
#[path = "support/log.rs"]
mod log;
#[path = "support/session_scenes.rs"]
mod session_scenes;
#[path = "support/stage.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod stage;
mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use log::Log;

const SECRETS: [&str; 8] = [
    "body-to-hide",
    "header-to-hide",
    "conversation-to-hide",
    "key-to-hide",
    "card-to-hide",
    "question-to-hide",
    "inbox-to-hide",
    "loopback://",
];

#[tokio::test(start_paused = true)]
async fn exactly_what_the_page_says_is_told_and_no_body_header_key_or_address() {
    let log = Log::default();
    let mut lines = String::new();
    {
        let _logging = tracing::subscriber::set_default(log.clone());
        let sessions = [
            session_scenes::conversation().await,
            session_scenes::sending().await,
            session_scenes::holes().await,
        ];
        for event in sessions.into_iter().flatten() {
            writeln!(lines, "{}", serde_json::to_string(&event).expect("JSON")).expect("a string grows");
        }
        session_scenes::acknowledging().await;
        session_scenes::keeping().await;
        session_scenes::ending().await;
        agent_scenes::serving().await;
        agent_scenes::quotations().await;
        agent_scenes::policies().await;
        agent_scenes::replying().await;
        agent_scenes::acknowledging().await;
        agent_scenes::leaving().await;
        agent_scenes::leading().await;
    }
    let told = log.told();
    for (site, field, value) in &told.values {
        let secret = SECRETS.iter().find(|secret| value.contains(**secret));
        assert!(secret.is_none(), "{site} tells a secret in {field}: {value}");
    }
    assert!(SECRETS.iter().all(|secret| !lines.contains(secret)), "{lines}");
    for event in
        ["state", "connected", "lost", "send_retried", "send_given_up", "send_parked", "rate_limited"]
    {
        assert!(lines.contains(&format!("{{\"event\":\"{event}\"")), "{event} is not among\n{lines}");
    }
    for event in ["gap", "hole_filled", "status"] {
        assert!(lines.contains(&format!("{{\"event\":\"{event}\"")), "{event} is not among\n{lines}");
    }

    let page = documented();
    let names: BTreeSet<&str> = page.keys().copied().collect();
    assert_eq!(told.sites.keys().copied().collect::<BTreeSet<_>>(), names);
    let valued: BTreeSet<(&str, &str)> = told.values.iter().map(|(site, field, _)| (*site, *field)).collect();
    for (name, (is_span, level, fields)) in &page {
        let site = &told.sites[name];
        assert_eq!((site.is_span, site.level.as_str()), (*is_span, *level), "{name}");
        assert_eq!(&site.fields, fields, "{name}");
        // A verb need not fail here for the page to be right; everything else must have been said once.
        for field in fields.iter().filter(|field| **field != "error_kind" || !is_span) {
            assert!(valued.contains(&(name, field)), "{name} never says its {field}");
        }
    }
}

#[test]
fn every_name_in_the_sources_is_on_the_page() {
    let mut names = BTreeSet::new();
    for (_, source) in sources() {
        for begin in ["name:\"", "span!(INFO,\"", "span!(DEBUG,\"", "span!(\""] {
            let found = source.split(begin).skip(1).filter_map(|rest| rest.split('"').next());
            names.extend(found.filter(|name| name.contains('.')).map(str::to_owned));
        }
    }
    let page = documented();
    let page: BTreeSet<String> = page.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(names, page);
}

#[test]
fn every_event_has_a_name_and_every_span_is_made_in_the_one_way() {
    for (path, source) in sources() {
        for level in ["trace", "debug", "info", "warn", "error"] {
            let begin = format!("tracing::{level}!(");
            let unnamed = source.split(&begin).skip(1).find(|rest| !rest.starts_with("name:\""));
            assert!(unnamed.is_none(), "an event without a name in {path}");
            let other = format!("{level}_span!(");
            assert!(!source.contains(&other), "{other} in {path}");
        }
        let helpers = path.ends_with("telemetry/mod.rs");
        for other in ["tracing::span!(", "tracing::event!(", "tracing::instrument", ".instrument("] {
            assert!(helpers || !source.contains(other), "{other} in {path}");
        }
    }
}

/// The sources without white space, by their paths.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut folders = VecDeque::from([std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(folder) = folders.pop_front() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push_back(path);
            } else {
                let source = std::fs::read_to_string(&path).expect("text");
                let source = source.split_whitespace().collect::<String>();
                sources.push((path.display().to_string().replace('\\', "/"), source));
            }
        }
    }
    sources
}

/// The tables of the page: by name, whether it is a span, its level and its fields.
fn documented() -> BTreeMap<&'static str, (bool, &'static str, BTreeSet<&'static str>)> {
    let page = include_str!("../src/telemetry/mod.rs");
    let mut names = BTreeMap::new();
    let mut spans = false;
    for line in page.lines().filter_map(|line| line.strip_prefix("//! ")) {
        match line {
            "# Spans" => spans = true,
            "# Events" => spans = false,
            _ => {}
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let fields = cells[2].split(", ").filter(|field| !field.is_empty()).collect();
        let name = cells[0].trim_end_matches('`');
        assert!(names.insert(name, (spans, cells[1], fields)).is_none(), "{name} is there twice");
    }
    assert!(names.len() > 40, "the tables were found");
    names
}
