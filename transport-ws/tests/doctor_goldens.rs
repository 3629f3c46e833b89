//! What the doctor prints of AgentChat set-ups, word for word: in health, and with each fault. The files are in
//! `doctor_goldens/`; `GOLDENS=write` writes them anew.
#![cfg(all(unix, feature = "doctor", feature = "test-server"))]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agentchat_core::doctor::{Finding, Report};
use agentchat_core::{Anchor, Beacon, BeaconState, ClientMsgId, EnvReader, LeaderLock};
use transport_ws::doctor::{self, ANCHOR, Checkup};
use transport_ws::testing::{AgentChatServer, HttpFault, PauseMode, Standing};
use transport_ws::{AgentChatConfig, AgentChatConfigBuilder, AgentChatSection, ApiKey};

const OWN: &str = "quokka-9";
const ME: &str = "GET /v1/agents/me";

/// A server with an agent, and a folder for its files.
struct World {
    server: AgentChatServer,
    key: String,
    folder: PathBuf,
}

/// What each case found, for what no case did.
#[derive(Default)]
struct Seen(HashSet<(String, Finding)>);

impl World {
    async fn new() -> Self {
        let server = AgentChatServer::builder().switches(|switches| switches.lift_restrictions = false);
        let server = server.start().await.expect("a port");
        let folder = std::env::temp_dir().join(format!("goldens-{}", ClientMsgId::random()));
        std::fs::create_dir(&folder).expect("made");
        let key = server.agent(OWN);
        Self { server, key, folder }
    }

    fn settings(&self, key: &str) -> AgentChatConfigBuilder {
        let patience = Duration::from_secs(20);
        AgentChatConfig::builder(ApiKey::new(key).expect("a key"))
            .with_base_url(self.server.base_url())
            .with_attempt_timeout(patience)
            .with_connect_timeout(patience)
    }

    fn checkup(&self) -> Checkup {
        Checkup::new(self.settings(&self.key).build().expect("usable"))
    }

    fn env(&self, variables: &[(&str, &str)]) -> Checkup {
        Checkup::from_env_reader(&EnvReader::of(variables.iter().copied()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// The report, with what differs from run to run taken out.
    fn shown(&self, report: &Report) -> String {
        let text = report.to_string().replace(&self.server.base_url(), "URL");
        let text = text.replace(&self.folder.display().to_string(), "FOLDER");
        let text = text.replace(&format!("process {} ", std::process::id()), "process PID ");
        assert!(!text.contains(&self.key), "the key is in it: {text}");
        let mut lines = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let told = words.iter().enumerate().map(|(at, word)| {
                let unit = words.get(at + 1).is_some_and(|unit| ["s", "min", "ms"].contains(unit));
                let digits = word.trim_start_matches('(');
                if unit && digits.bytes().all(|b| b.is_ascii_digit()) {
                    word.replace(digits, "N")
                } else {
                    (*word).to_owned()
                }
            });
            // The server numbers its answers.
            let told: Vec<String> = told.collect();
            lines.push_str(&without_request_id(&told.join(" ")));
            lines.push('\n');
        }
        format!("{lines}exit {}\n", report.exit_code())
    }

    async fn meets(&self, name: &str, checkup: Checkup, seen: &mut Seen) {
        let report = checkup.run().await;
        seen.0.extend(report.checks.iter().map(|check| (check.name.clone(), check.finding)));
        golden(name, &self.shown(&report));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor_goldens").join(format!("{name}.txt"));
    if std::env::var_os("GOLDENS").is_some_and(|it| it == "write") {
        std::fs::write(&path, text).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name}");
}

fn without_request_id(line: &str) -> String {
    match line.split_once("request ") {
        Some((before, id)) => {
            let rest = id.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c));
            format!("{before}request ID{rest}")
        }
        None => line.to_owned(),
    }
}

#[tokio::test]
async fn every_check_prints_word_for_word_in_health_and_with_each_fault_and_none_is_left_out() {
    let mut seen = Seen::default();
    healthy(&mut seen).await;
    keys_and_addresses(&mut seen).await;
    servers(&mut seen).await;
    accounts(&mut seen).await;
    files(&mut seen).await;
    use Finding::{Fail, Ok, Warn};
    let all = [
        ("anchor", &[Ok, Warn, Fail][..]),
        ("authentication", &[Ok, Fail]),
        ("base_url", &[Ok, Warn]),
        ("beacon", &[Ok, Warn]),
        ("clock", &[Ok, Warn]),
        ("handle", &[Ok, Fail]),
        ("inbox_mode", &[Ok]),
        ("key", &[Ok, Fail]),
        ("lock", &[Ok, Warn]),
        ("paused", &[Ok, Warn]),
        ("socket", &[Ok, Fail]),
        ("status", &[Ok, Warn, Fail]),
    ];
    let all = all.iter().flat_map(|(name, found)| found.iter().map(|it| ((*name).to_owned(), *it)));
    assert_eq!(seen.0, all.collect(), "a check has an outcome without a golden");
}

async fn healthy(seen: &mut Seen) {
    let world = World::new().await;
    let _leads = LeaderLock::try_acquire(world.file("lock")).expect("usable").expect("free");
    let _beacon = Beacon::light(world.file("beacon"), || BeaconState::Connected).expect("written");
    let anchor = Anchor::new(ANCHOR).expect("a name");
    anchor.upsert(world.file("AGENTS.md"), "You are @quokka-9 on AgentChat.").expect("written");
    let base = world.server.base_url();
    let checkup = world.env(&[
        ("AGENTCHATME_API_KEY", &world.key),
        ("AGENTCHATME_HANDLE", "@quokka-9"),
        ("AGENTCHATME_API_BASE", &base),
    ]);
    let checkup = checkup.with_lock(world.file("lock")).with_beacon(world.file("beacon"));
    world.meets("healthy", checkup.with_anchor(world.file("AGENTS.md")), seen).await;
}

async fn keys_and_addresses(seen: &mut Seen) {
    let world = World::new().await;
    world.meets("key_missing", world.env(&[]), seen).await;
    world.meets("key_cut_short", world.env(&[("AGENTCHATME_API_KEY", "ac_short")]), seen).await;
    let elsewhere = [("AGENTCHATME_API_KEY", world.key.as_str()), ("AGENTCHATME_API_BASE", "ftp://h")];
    world.meets("base_url_unusable", world.env(&elsewhere), seen).await;
    let nobody = world.settings("ac_0123456789_of_nobody").build().expect("usable");
    world.meets("key_refused", Checkup::new(nobody), seen).await;
    let missing: AgentChatSection =
        serde_json::from_str(r#"{"api_key_file": "/no/such/file"}"#).expect("a section");
    world.meets("key_file_missing", Checkup::from_section(&missing), seen).await;
    // Nobody listens there; what matters is that the key would be safe on its way.
    let safe = world.settings(&world.key).with_base_url("https://127.0.0.1:1").build().expect("usable");
    world.meets("server_away_over_tls", Checkup::new(safe), seen).await;
    let without = AgentChatConfig::builder_without_key().with_base_url(world.server.base_url()).build();
    world.meets("key_not_in_the_settings", Checkup::new(without.expect("usable")), seen).await;
}

async fn servers(seen: &mut Seen) {
    let mut world = World::new().await;
    world.server.faults().on(ME, HttpFault::html(502));
    world.meets("server_talks_nonsense", world.checkup(), seen).await;
    let config = world.settings(&world.key).build().expect("usable");
    assert_eq!(doctor::run(config).await.exit_code(), 0, "the server is well again");
    let hurried = world.settings(&world.key).with_attempt_timeout(Duration::from_millis(200));
    world.server.faults().on(ME, HttpFault::hang());
    world.meets("server_hangs", Checkup::new(hurried.build().expect("usable")), seen).await;
    world.server.faults().clear();
    world.server.faults().on("GET /v1/ws", HttpFault::status(503));
    world.meets("socket_refused", world.checkup(), seen).await;
    for (name, ahead) in [("clock_behind", true), ("clock_ahead", false)] {
        let (now, off) = (SystemTime::now(), Duration::from_secs(90));
        let date = httpdate::fmt_http_date(if ahead { now + off } else { now - off });
        let me = r#"{"id":"agt_1","handle":"quokka-9","status":"active","paused_by_owner":"none"}"#;
        let fault = HttpFault::answer(200, "application/json", me).header("date", &date);
        world.server.faults().on(ME, fault);
        world.meets(name, world.checkup(), seen).await;
    }
    world.server.down().await.expect("down");
    world.meets("server_away", world.checkup(), seen).await;
    // Who the agent is, is known from the settings then.
    let prompt =
        world.write("AGENTS.md", "<!-- agentchat:start -->\nYou are @tally-ho.\n<!-- agentchat:end -->\n");
    let hinted = world.settings(&world.key).with_handle(OWN).build().expect("usable");
    world.meets("server_away_anchor_of_another", Checkup::new(hinted).with_anchor(prompt), seen).await;
}

async fn accounts(seen: &mut Seen) {
    let world = World::new().await;
    let other = world.settings(&world.key).with_handle("tally-ho").build().expect("usable");
    world.meets("handle_of_another", Checkup::new(other), seen).await;
    let client = transport_ws::AgentChat::new(&world.settings(&world.key).build().expect("usable"));
    let change = transport_ws::api::ProfileUpdate::new().with_inbox_of_contacts_only(true);
    client.expect("a client").update_profile(OWN, &change).await.expect("changed");
    world.meets("inbox_for_contacts_only", world.checkup(), seen).await;
    world.server.set_pause(OWN, PauseMode::Send);
    world.meets("paused_sending", world.checkup(), seen).await;
    world.server.set_pause(OWN, PauseMode::Full);
    world.meets("paused", world.checkup(), seen).await;
    world.server.set_pause(OWN, PauseMode::None);
    world.server.set_status(OWN, Standing::Restricted);
    world.meets("account_restricted", world.checkup(), seen).await;
    world.server.set_status(OWN, Standing::Suspended);
    world.meets("account_suspended", world.checkup(), seen).await;
    world.server.faults().on(ME, HttpFault::error(403, "SUSPENDED", "Agent account is suspended"));
    world.meets("account_suspended_and_shut_out", world.checkup(), seen).await;
    world.server.set_status(OWN, Standing::Deleted);
    world.meets("account_deleted", world.checkup(), seen).await;
}

async fn files(seen: &mut Seen) {
    let world = World::new().await;
    let all = || {
        let checkup = world.checkup().with_lock(world.file("lock")).with_beacon(world.file("beacon"));
        checkup.with_anchor(world.file("AGENTS.md"))
    };
    world.meets("files_absent", all(), seen).await;
    drop(LeaderLock::try_acquire(world.file("lock")).expect("usable"));
    world.write("beacon", r#"{"pid":1,"state":"connected","started_ms":1,"written_ms":1}"#);
    world.write("AGENTS.md", "<!-- agentchat:start -->\nYou are @quokka-90.\n<!-- agentchat:end -->\n");
    let stale = all().run().await;
    seen.0.extend(stale.checks.iter().map(|check| (check.name.clone(), check.finding)));
    golden("lock_free_beacon_stale_anchor_of_another", &world.shown(&stale));
    let not_a_folder = world.write("file", "").join("lock");
    world.write("beacon", "no beacon");
    world.write("AGENTS.md", "<!-- agentchat:start -->\n");
    let broken = world.checkup().with_lock(not_a_folder).with_beacon(world.file("beacon"));
    world
        .meets("lock_unknown_beacon_and_anchor_broken", broken.with_anchor(world.file("AGENTS.md")), seen)
        .await;
    let _beacon = Beacon::light(world.file("down"), || BeaconState::Down).expect("written");
    world.meets("beacon_down", world.checkup().with_beacon(world.file("down")), seen).await;
}
