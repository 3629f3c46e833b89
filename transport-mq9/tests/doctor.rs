//! What the doctor says of brokers in health and otherwise.

use std::time::Duration;

use agentchat_core::doctor::Report;
use mq9_client::ConnectOptions;
use mq9_client::testing::{Broker, Command, EngineProfile};
use transport_mq9::doctor;

/// The report with what differs from run to run taken out.
fn shown(report: &Report, broker: &Broker) -> String {
    let text = report.to_string().replace(&broker.url(), "URL");
    let mut words = Vec::new();
    for line in text.lines() {
        let line: Vec<_> = line.split(' ').collect();
        let timed = |at: usize| line.get(at + 1).is_some_and(|unit| *unit == "ms");
        let line = line.iter().enumerate().map(|(at, word)| if timed(at) { "N" } else { word });
        words.push(line.collect::<Vec<_>>().join(" "));
    }
    words.join("\n")
}

#[tokio::test]
async fn a_healthy_broker_is_well_in_every_line_and_nothing_is_left() {
    let broker =
        Broker::builder().engine(EngineProfile::robustmq_with_search()).start().await.expect("a port");
    let report = doctor::run(&broker.url(), ConnectOptions::new()).await;
    let expected = "  [ok]   the broker is URL\n  \
                    [ok]   TLS is off, on this host alone\n  \
                    [ok]   connected in N ms\n  \
                    [ok]   mq9 commands are answered\n  \
                    [ok]   a mailbox was made, written and read in N ms\n  \
                    [ok]   the registry lists 0 agents and searches";
    assert_eq!((shown(&report, &broker).as_str(), report.exit_code()), (expected, 0));
}

#[tokio::test]
async fn a_broker_that_does_not_search_is_a_warning() {
    let broker = Broker::builder().engine(EngineProfile::robustmq()).start().await.expect("a port");
    let payload = br#"{"name":"coder","payload":"writes programs"}"#;
    broker.host().submit(Command { subject: "$mq9.AI.AGENT.REGISTER", header: None, payload });
    let report = doctor::run(&broker.url(), ConnectOptions::new()).await;
    let registry = report.get("registry").expect("asked").to_string();
    let expected =
        "  [warn] the registry lists 1 agent and does not search: agents are found by name, tag and text";
    assert_eq!((registry.as_str(), report.exit_code()), (expected, 0));
}

#[tokio::test]
async fn a_broker_that_is_not_there_fails_at_once_and_nothing_more_is_asked() {
    let mut broker = Broker::builder().start().await.expect("a port");
    broker.down().await.expect("down");
    let report = doctor::run(&broker.url(), ConnectOptions::new()).await;
    let expected = "  [ok]   the broker is URL\n  [ok]   TLS is off, on this host alone\n  \
                    [fail] connect: URL cannot be reached";
    assert_eq!((shown(&report, &broker).as_str(), report.exit_code()), (expected, 1));
}

#[tokio::test]
async fn refused_credentials_are_told_from_a_missing_broker_and_never_shown() {
    let broker = Broker::builder().credentials("ada", "s3cret").start().await.expect("a port");
    let url = broker.url().replace("mq9://", "mq9://ada:wr0ng@");
    let report = doctor::run(&url, ConnectOptions::new()).await;
    let text = report.to_string();
    assert!(text.contains("[fail] it is reached and lets nobody in: "), "{text}");
    assert!(!text.contains("wr0ng") && !text.contains("ada"), "{text}");
    assert_eq!(report.exit_code(), 1);
}

#[tokio::test]
async fn a_broker_that_never_answers_is_a_fault_within_its_time() {
    let broker = Broker::builder().start().await.expect("a port");
    broker.faults().stall_until_released();
    let short = Duration::from_millis(200);
    let options = ConnectOptions::new().with_connect_timeout(short).with_request_timeout(short);
    let report = tokio::time::timeout(Duration::from_secs(5), doctor::run(&broker.url(), options)).await;
    let report = report.expect("in time");
    assert!(report.to_string().contains("did not answer"), "{report}");
    broker.faults().release();
}

#[tokio::test]
async fn nonsense_for_an_address_is_named_and_an_open_line_to_elsewhere_is_a_warning() {
    let report = doctor::run("http://broker", ConnectOptions::new()).await;
    assert_eq!((report.checks.len(), report.exit_code()), (1, 1), "{report}");
    // No such host: what matters is the line before.
    let options = ConnectOptions::new().with_connect_timeout(Duration::from_millis(200));
    let report = doctor::run("mq9://broker.invalid", options).await;
    let tls = report.get("tls").expect("asked").to_string();
    assert!(tls.starts_with("  [warn] TLS is off: "), "{tls}");
}
