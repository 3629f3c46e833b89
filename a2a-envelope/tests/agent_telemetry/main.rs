//! What is told is what the page of `agent::telemetry` says, and no body, key or address. Alone in its file: what
//! one thread logs depends on the others of a process.
#![cfg(feature = "agent")]

mod faulty;
mod log;
mod scenes;

use std::collections::{BTreeMap, BTreeSet};

use log::Log;

#[tokio::test(start_paused = true)]
async fn exactly_what_the_page_says_is_told_and_no_body_key_or_address() {
    let log = Log::default();
    let lines = {
        let _logging = tracing::subscriber::set_default(log.clone());
        let lines = scenes::Lines::default();
        scenes::conversation(&lines).await;
        scenes::strangers(&lines).await;
        scenes::failures(&lines).await;
        scenes::losses(&lines).await;
        scenes::trouble(&lines).await;
        scenes::left_behind(&lines).await;
        scenes::unanswered(&lines).await;
        lines.text()
    };
    let page = documented();
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for told in log.told().iter() {
        let (is_span, level, fields) =
            page.get(told.name).unwrap_or_else(|| panic!("{} is not on the page", told.name));
        assert_eq!((told.is_span, &told.level), (*is_span, level), "{}", told.name);
        for (field, value) in &told.values {
            assert!(fields.contains(field), "{} has {field}, which is not on the page", told.name);
            let secret = scenes::SECRETS.iter().find(|secret| value.contains(**secret));
            assert!(secret.is_none(), "{} tells a secret in {field}: {value}", told.name);
        }
        seen.entry(told.name).or_default().extend(told.values.keys());
    }
    for (name, (_, _, fields)) in &page {
        let told = seen.get(name).unwrap_or_else(|| panic!("{name} is on the page and was not told"));
        assert_eq!(told, fields, "{name}");
    }
    // The observer hears the same events, and as little.
    for (name, (is_span, ..)) in &page {
        let line = format!("{{\"event\":\"{name}\"");
        assert_eq!(lines.contains(&line), !is_span, "{name} among the lines");
    }
    assert!(scenes::SECRETS.iter().all(|secret| !lines.contains(secret)), "{lines}");
}

#[tokio::test(start_paused = true)]
async fn both_sides_of_a_call_and_what_its_handler_calls_are_one_trace_also_with_another_worker() {
    let log = Log::default();
    let lines = {
        let _logging = tracing::subscriber::set_default(log.clone());
        scenes::relay().await
    };
    assert_eq!(lines, "asked, and answered");
    let turns = log.all("a2a.turn", "trace_id");
    // The first worker of the relay, its second one, and the one it asks.
    assert_eq!(turns.len(), 3, "{turns:?}");
    let calls = log.all("a2a.call", "trace_id");
    assert_eq!(calls.len(), 2, "{calls:?}");
    let traces: BTreeSet<_> =
        turns.iter().chain(&calls).chain(&log.all("a2a.request", "trace_id")).cloned().collect();
    assert_eq!(traces.len(), 1, "{traces:?}");
    assert!(log.all("a2a.call", "outcome").iter().all(|outcome| outcome == "ok"));
    let kinds: BTreeSet<_> =
        ["a2a.call", "a2a.turn"].iter().flat_map(|name| log.all(name, "otel.kind")).collect();
    assert_eq!(kinds, BTreeSet::from(["client".to_owned(), "server".to_owned()]));
    assert!(log.all("a2a.call", "otel.name").contains(&"SendMessage".to_owned()));
}

type Page = BTreeMap<&'static str, (bool, String, BTreeSet<&'static str>)>;

/// The tables of the page: whether each is a span, its level and its fields.
fn documented() -> Page {
    let mut page = Page::new();
    let mut spans = true;
    for line in include_str!("../../src/agent/telemetry.rs").lines() {
        let Some(line) = line.strip_prefix("//! ") else { continue };
        spans &= line != "# Events";
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, level, fields, _] = cells[..] else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else { continue };
        page.insert(name, (spans, level.to_owned(), fields.split(", ").collect()));
    }
    assert!(page.len() > 20, "{page:?}");
    page
}
