//! What the doctor says of AgentChat set-ups in health and otherwise.
#![cfg(all(feature = "doctor", feature = "test-server"))]

use std::path::PathBuf;
use std::time::Duration;

use agentchat_core::doctor::{Finding, Report};
use agentchat_core::{Anchor, Beacon, BeaconState, ClientMsgId, EnvReader, LeaderLock};
use transport_ws::doctor::{ANCHOR, Checkup};
use transport_ws::testing::{AgentChatServer, HttpFault, PauseMode, Profile, Standing};
use transport_ws::{AgentChatConfig, ApiKey};

fn config(server: &AgentChatServer, key: &str) -> AgentChatConfig {
    let builder = AgentChatConfig::builder(ApiKey::new(key).expect("a key")).with_base_url(server.base_url());
    let short = Duration::from_secs(2);
    builder.with_attempt_timeout(short).with_connect_timeout(short).build().expect("valid")
}

fn shown(report: &Report, server: &AgentChatServer) -> String {
    report.to_string().replace(&server.base_url(), "URL")
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("doctor-{}", ClientMsgId::random()));
        std::fs::create_dir(&folder).expect("made");
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_healthy_set_up_is_well_in_every_line_and_no_message_moves() {
    for profile in [Profile::Current, Profile::Legacy] {
        let server = AgentChatServer::builder().profile(profile).start().await.expect("a port");
        let (key, folder) = (server.agent("quokka-9"), Folder::new());
        let peer =
            transport_ws::AgentChat::new(&config(&server, &server.agent("tally-ho"))).expect("a client");
        let to = transport_ws::api::Recipient::Agent("quokka-9".to_owned());
        peer.send(&transport_ws::api::Draft::text(to, "are you there?")).await.expect("sent");
        let _leads = LeaderLock::try_acquire(folder.file("lock")).expect("usable").expect("free");
        let _beacon = Beacon::light(folder.file("beacon"), || BeaconState::Connected).expect("written");
        let anchor = Anchor::new(ANCHOR).expect("a name");
        anchor.upsert(folder.file("AGENTS.md"), "You are @quokka-9 on AgentChat.").expect("written");

        let environment = EnvReader::of([
            ("AGENTCHATME_API_KEY", key.as_str()),
            ("AGENTCHATME_HANDLE", "@quokka-9"),
            ("AGENTCHATME_API_BASE", server.base_url().as_str()),
        ]);
        let checkup = Checkup::from_env_reader(&environment)
            .with_lock(folder.file("lock"))
            .with_beacon(folder.file("beacon"))
            .with_anchor(folder.file("AGENTS.md"));
        let report = checkup.run().await;
        let text = shown(&report, &server).replace(&std::process::id().to_string(), "PID");
        let prompt = folder.file("AGENTS.md");
        let expected = format!(
            "  [ok]   an API key is set (***)\n  \
             [warn] the server is URL: the key travels in the clear\n  \
             [ok]   authenticated as @quokka-9\n  \
             [ok]   the handle is the one that was expected\n  \
             [ok]   the account is active\n  \
             [ok]   everybody may begin a conversation\n  \
             [ok]   the owner has not paused it\n  \
             [ok]   this host's clock agrees with the server's\n  \
             [ok]   a socket can be opened\n  \
             [ok]   {} says who the agent is\n  \
             [ok]   the leader lock is held\n  \
             [ok]   process PID is connected (0 s ago)\n",
            prompt.display()
        );
        assert_eq!(text, expected, "{profile:?}");
        assert_eq!(report.exit_code(), 0);
        assert_eq!((server.stored("quokka-9"), server.sockets("quokka-9")), (1, 0), "it waits for its agent");
        assert!(!format!("{text}{checkup:?}").contains(&key));
    }
}

#[tokio::test]
async fn without_a_key_or_with_a_bad_one_the_first_line_says_so() {
    let nothing: [(&str, &str); 0] = [];
    let report = Checkup::from_env_reader(&EnvReader::of(nothing)).run().await;
    let expected = "  [fail] AGENTCHATME_API_KEY is not set: AgentChat is off\n";
    assert_eq!((report.to_string().as_str(), report.exit_code()), (expected, 1));
    let report = Checkup::from_env_reader(&EnvReader::of([("AGENTCHATME_API_KEY", "ac_short")])).run().await;
    let text = report.to_string();
    assert!(text.starts_with("  [fail] ") && text.contains("AGENTCHATME_API_KEY"), "{text}");
    assert!(!text.contains("ac_short"), "{text}");

    let server = AgentChatServer::start().await.expect("a port");
    let report = Checkup::new(config(&server, "ac_0123456789abcdefghij")).run().await;
    let refused = report.get("authentication").expect("asked");
    assert_eq!(refused.finding, Finding::Fail);
    assert!(refused.words.starts_with("the server refuses the key: "), "{refused}");
    assert_eq!((report.exit_code(), report.checks.len()), (1, 3), "nothing more is asked: {report}");
}

#[tokio::test]
async fn a_server_that_is_away_or_talks_nonsense_is_one_fault_that_says_so() {
    let mut server = AgentChatServer::start().await.expect("a port");
    let config = config(&server, &server.agent("quokka-9"));
    server.faults().on("GET /v1/agents/me", HttpFault::html(502));
    for _ in 0..2 {
        let report = Checkup::new(config.clone()).run().await;
        let asked = report.get("authentication").expect("asked");
        assert!(asked.words.starts_with("the server cannot be asked: "), "{asked}");
        assert_eq!((asked.finding, report.exit_code()), (Finding::Fail, 1));
        server.down().await.expect("down");
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_account_is_told_line_by_line() {
    let server = AgentChatServer::builder().switches(|switches| switches.lift_restrictions = false);
    let server = server.start().await.expect("a port");
    let key = server.agent("quokka-9");
    server.set_status("quokka-9", Standing::Restricted);
    server.set_pause("quokka-9", PauseMode::Full);
    let key = ApiKey::new(key).expect("a key");
    let config = AgentChatConfig::builder(key).with_base_url(server.base_url()).with_handle("tally-ho");
    let report = Checkup::new(config.build().expect("valid")).run().await;
    let line = |name: &str| report.get(name).map(ToString::to_string).unwrap_or_default();
    assert_eq!(line("status"), "  [warn] the account is restricted: it cannot write to strangers");
    assert_eq!(line("paused"), "  [warn] the owner has paused it: it can neither send nor receive");
    assert_eq!(line("handle"), "  [fail] the key is that of @quokka-9, and @tally-ho was expected");
    assert_eq!(report.exit_code(), 1);
}

#[tokio::test]
async fn a_socket_that_cannot_be_opened_is_told_from_a_server_that_is_away() {
    let server = AgentChatServer::start().await.expect("a port");
    let config = config(&server, &server.agent("quokka-9"));
    server.faults().on("GET /v1/ws", HttpFault::status(503));
    let report = Checkup::new(config).run().await;
    let line = report.get("socket").expect("asked").to_string();
    assert!(line.starts_with("  [fail] no socket can be opened, only polling works: "), "{line}");
    assert_eq!(report.exit_code(), 1);
}

#[tokio::test]
async fn a_lock_that_is_free_or_absent_and_a_prompt_without_the_agent_are_warnings() {
    let server = AgentChatServer::start().await.expect("a port");
    let (config, folder) = (config(&server, &server.agent("quokka-9")), Folder::new());
    let look = async || {
        let checkup = Checkup::new(config.clone()).with_lock(folder.file("lock"));
        let checkup = checkup.with_beacon(folder.file("beacon")).with_anchor(folder.file("AGENTS.md"));
        let report = checkup.run().await;
        ["lock", "beacon", "anchor"].map(|name| report.get(name).expect("asked").clone())
    };
    let [lock, beacon, anchor] = look().await;
    assert_eq!(lock.to_string(), "  [warn] there is no leader lock yet: nobody has read the inbox");
    assert_eq!(beacon.to_string(), "  [warn] no agent has run on this host: there is no sign of life");
    assert!(anchor.words.ends_with("does not say who the agent is"), "{anchor}");

    drop(LeaderLock::try_acquire(folder.file("lock")).expect("usable"));
    let block = Anchor::new(ANCHOR).expect("a name");
    block.upsert(folder.file("AGENTS.md"), "You are @quokka-90.").expect("written");
    let [lock, _, anchor] = look().await;
    assert_eq!(lock.to_string(), "  [warn] the leader lock is free: nobody reads the inbox");
    assert!(anchor.words.ends_with("does not name @quokka-9"), "{anchor}");
    assert_eq!(anchor.finding, Finding::Warn);

    std::fs::write(folder.file("AGENTS.md"), "<!-- agentchat:start -->\n").expect("written");
    let [_, _, anchor] = look().await;
    assert_eq!(anchor.finding, Finding::Fail, "{anchor}");
}
