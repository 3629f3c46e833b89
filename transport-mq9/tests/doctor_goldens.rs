//! What the doctor prints of mq9 brokers, word for word: in health, and with each fault. The files are in
//! `doctor_goldens/`; `GOLDENS=write` writes them anew.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use agentchat_core::doctor::{Finding, Report};
use mq9_client::ConnectOptions;
use mq9_client::testing::{Broker, EngineProfile};
use transport_mq9::{Mq9Section, doctor};

/// What each case found, for what no case did.
type Seen = HashSet<(String, Finding)>;

fn meets(name: &str, report: &Report, url: &str, seen: &mut Seen) {
    seen.extend(report.checks.iter().map(|check| (check.name.clone(), check.finding)));
    let host = url.split("://").nth(1).expect("a URL").rsplit('@').next().expect("a host");
    let mut text = String::new();
    for line in report.to_string().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let timed = |at: usize| words.get(at + 1).is_some_and(|unit| *unit == "ms");
        let told = words.iter().enumerate().map(|(at, word)| if timed(at) { "N" } else { word });
        text.push_str(&told.collect::<Vec<_>>().join(" ").replace(&format!("://{host}"), "://HOST"));
        text.push('\n');
    }
    text.push_str(&format!("exit {}\n", report.exit_code()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor_goldens").join(format!("{name}.txt"));
    if std::env::var_os("GOLDENS").is_some_and(|it| it == "write") {
        std::fs::write(&path, &text).expect("written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

fn waiting(patience: Duration) -> ConnectOptions {
    ConnectOptions::new().with_connect_timeout(patience).with_request_timeout(patience)
}

/// Only where nobody answers.
fn hurried() -> ConnectOptions {
    waiting(Duration::from_secs(1))
}

/// What is found of a broker that does not answer this one command, and the broker's URL.
async fn without_replies_to(command: &str, patience: Duration) -> (Report, String) {
    let broker = broker().await;
    broker.faults().drop_replies(command, 99);
    let report = doctor::run(&broker.url(), waiting(patience)).await;
    (report, broker.url())
}

async fn broker() -> Broker {
    Broker::builder().engine(EngineProfile::robustmq_with_search()).start().await.expect("a port")
}

#[tokio::test]
async fn every_check_prints_word_for_word_in_health_and_with_each_fault_and_none_is_left_out() {
    let mut seen = Seen::new();
    let healthy = broker().await;
    let url = healthy.url();
    meets("healthy", &doctor::run(&url, ConnectOptions::new()).await, &url, &mut seen);
    let blind = Broker::builder().engine(EngineProfile::robustmq()).start().await.expect("a port");
    meets("search_missing", &doctor::run(&blind.url(), ConnectOptions::new()).await, &blind.url(), &mut seen);

    // The probe leaves a quarter of its time to find out that the server is awake.
    let (probe, mailbox, registry) = tokio::join!(
        without_replies_to("AGENT.REPORT", Duration::from_secs(6)),
        without_replies_to("MAILBOX.CREATE", Duration::from_secs(2)),
        without_replies_to("AGENT.DISCOVER", Duration::from_secs(2)),
    );
    for (name, (report, url)) in
        [("not_mq9", probe), ("mailbox_silent", mailbox), ("registry_silent", registry)]
    {
        meets(name, &report, &url, &mut seen);
    }
    let locked = Broker::builder().credentials("ada", "s3cret");
    let locked = locked.engine(EngineProfile::robustmq_with_search()).start().await.expect("a port");
    let url = locked.url().replace("mq9://", "mq9://ada:wr0ng@");
    meets("login_refused", &doctor::run(&url, ConnectOptions::new()).await, &url, &mut seen);
    let stuck = broker().await;
    stuck.faults().stall_until_released();
    meets("broker_hangs", &doctor::run(&stuck.url(), hurried()).await, &stuck.url(), &mut seen);
    let tls = healthy.url().replace("mq9://", "mq9s://");
    meets("tls_not_spoken", &doctor::run(&tls, ConnectOptions::new()).await, &tls, &mut seen);
    let mut away = broker().await;
    away.down().await.expect("down");
    meets("broker_away", &doctor::run(&away.url(), ConnectOptions::new()).await, &away.url(), &mut seen);
    let nonsense = "http://broker";
    meets("url_unusable", &doctor::run(nonsense, hurried()).await, nonsense, &mut seen);
    let open = "mq9://broker.invalid";
    let mut report = doctor::run(open, hurried()).await;
    // There is no such host; how that is found out is the resolver's.
    assert_eq!(report.checks.pop().map(|check| check.name).as_deref(), Some("broker"));
    meets("tls_off_elsewhere", &report, open, &mut seen);
    for (name, text) in [("mq9_off", "{}"), ("agent_id_missing", r#"{"broker": "mq9://b"}"#)] {
        let section: Mq9Section = serde_json::from_str(text).expect("a section");
        meets(name, &doctor::run_section(&section).await, "mq9://b", &mut seen);
    }
    let section =
        format!(r#"{{"broker": "{}", "agent_id": "a", "user": "ada", "password": "s3cret"}}"#, locked.url());
    let section: Mq9Section = serde_json::from_str(&section).expect("a section");
    meets("healthy", &doctor::run_section(&section).await, &locked.url(), &mut seen);

    use Finding::{Fail, Ok, Warn};
    let all = [
        ("broker", &[Ok, Fail][..]),
        ("mailbox", &[Ok, Fail]),
        ("mq9", &[Ok, Fail]),
        ("registry", &[Ok, Warn, Fail]),
        ("tls", &[Ok, Warn]),
        ("url", &[Ok, Fail]),
    ];
    let all = all.iter().flat_map(|(name, found)| found.iter().map(|it| ((*name).to_owned(), *it)));
    assert_eq!(seen, all.collect(), "a check has an outcome without a golden");
}
