//! Whether an agent can use AgentChat as it is set up, question by question.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agentchat_core::doctor::Report;
use agentchat_core::{Anchor, Beacon, EnvReader, ErrorKind, LeaderLock, LockState, Result};

use crate::api::AgentChat;
use crate::config::{AgentChatConfig, AgentChatSection};
use crate::http::RetryPolicy;
use crate::map_error::ErrorCode;
use crate::socket::reach;
use crate::wire::Me;

/// Looks at these settings alone: [`Checkup`] looks at files too.
pub async fn run(config: AgentChatConfig) -> Report {
    Checkup::new(config).run().await
}

/// What to look at. [`Checkup::run`] asks the questions, each once, one after the other:
///
/// | check | asks |
/// |---|---|
/// | `key` | is a key set, and can it be one? |
/// | `base_url` | where does it go, and by TLS? |
/// | `authentication` | does the server take the key, and whose is it? |
/// | `handle` | is that the handle that was expected? |
/// | `status` | may the account be used? |
/// | `inbox_mode` | who may write first? |
/// | `paused` | has the owner paused it? |
/// | `clock` | do both clocks agree, so that deadlines mean the same? |
/// | `socket` | can a socket be opened? |
/// | `anchor` | does the prompt file say who the agent is? |
/// | `lock` | does anybody lead? |
/// | `beacon` | does an agent live on this host? |
///
/// What depends on an answer that did not come is not asked; the last three only of files that were named. The
/// socket is opened without the key and closed before it greets, and the inbox is not read: an agent that runs
/// meanwhile misses nothing. Each question waits as long as the configuration lets a call wait. The key is in no
/// line.
///
/// ```no_run
/// # async fn example() {
/// use transport_ws::doctor::Checkup;
///
/// let report = Checkup::from_env().with_lock("/var/lib/agent/leader.lock").run().await;
/// print!("{report}");
/// std::process::exit(report.exit_code().into());
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Checkup {
    config: Result<Option<AgentChatConfig>>,
    lock: Option<PathBuf>,
    anchor: Option<PathBuf>,
    beacon: Option<PathBuf>,
}

impl Checkup {
    /// Looks at these settings.
    pub fn new(config: AgentChatConfig) -> Self {
        Self { config: Ok(Some(config)), lock: None, anchor: None, beacon: None }
    }

    /// Looks at the settings that [`AgentChatConfig::from_env`] reads. What is wrong with them is in the report.
    pub fn from_env() -> Self {
        Self::from_env_reader(&EnvReader::process())
    }

    /// The same from another place than the process's environment.
    pub fn from_env_reader(env: &EnvReader) -> Self {
        let config = AgentChatConfig::from_env_reader(env);
        Self { config, lock: None, anchor: None, beacon: None }
    }

    /// Looks at a section of a host's configuration. What is wrong with it is in the report.
    pub fn from_section(section: &AgentChatSection) -> Self {
        Self { config: section.config(), lock: None, anchor: None, beacon: None }
    }

    /// Looks at the lock of [`AgentBuilder::leader_lock`](agentchat_core::agent::AgentBuilder::leader_lock) too.
    pub fn with_lock(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock = Some(path.into());
        self
    }

    /// Looks for the block [`ANCHOR`] in this prompt file too: it should name the agent's handle.
    pub fn with_anchor(mut self, path: impl Into<PathBuf>) -> Self {
        self.anchor = Some(path.into());
        self
    }

    /// Looks at the sign of life of [`AgentBuilder::beacon`](agentchat_core::agent::AgentBuilder::beacon) too.
    pub fn with_beacon(mut self, path: impl Into<PathBuf>) -> Self {
        self.beacon = Some(path.into());
        self
    }

    /// Asks. Dropping the future stops asking.
    pub async fn run(&self) -> Report {
        let mut report = Report::new();
        let me = match &self.config {
            Ok(Some(config)) => network(&mut report, config).await,
            Ok(None) => {
                report.fail("key", "AGENTCHATME_API_KEY is not set: AgentChat is off");
                None
            }
            Err(error) => {
                report.fail("key", error.to_string());
                None
            }
        };
        if let Some(path) = &self.anchor {
            let hint = self.config.as_ref().ok().and_then(|config| config.as_ref()?.handle());
            anchor(&mut report, path, me.as_ref().map(|me| me.handle.as_str()).or(hint));
        }
        if let Some(path) = &self.lock {
            lock(&mut report, path);
        }
        if let Some(path) = &self.beacon {
            report.beacon(&Beacon::look(path, SystemTime::now()));
        }
        report
    }
}

/// The name of the block in a prompt file that says who the agent is.
pub const ANCHOR: &str = "agentchat";

async fn network(report: &mut Report, config: &AgentChatConfig) -> Option<Me> {
    match config.key() {
        Some(_) => report.ok("key", "an API key is set (***)"),
        None => report.fail("key", "no API key is set"),
    };
    let base = config.base_url();
    match base.starts_with("https:") {
        true => report.ok("base_url", format!("the server is {base}")),
        false => report.warn("base_url", format!("the server is {base}: the key travels in the clear")),
    };
    config.key()?;
    let client = match AgentChat::new(config) {
        Ok(client) => client.with_retry(RetryPolicy::none()),
        Err(error) => {
            report.fail("authentication", error.to_string());
            return None;
        }
    };
    let (me, date) = match client.me_at().await {
        Ok(answer) => answer,
        Err(error) => {
            let suspended = error.error_code() == Some(ErrorCode::Suspended);
            let words = match error.kind() {
                ErrorKind::Unauthorized => format!("the server refuses the key: {error}"),
                _ if suspended => format!("the account is suspended: {error}"),
                _ => format!("the server cannot be asked: {error}"),
            };
            report.fail("authentication", words);
            return None;
        }
    };
    report.ok("authentication", format!("authenticated as @{}", me.handle));
    account(report, config, &me);
    clock(report, date, SystemTime::now());
    socket(report, config).await;
    Some(me)
}

fn account(report: &mut Report, config: &AgentChatConfig, me: &Me) {
    match config.handle() {
        Some(expected) if expected != me.handle => {
            let words = format!("the key is that of @{}, and @{expected} was expected", me.handle);
            report.fail("handle", words);
        }
        Some(_) => {
            report.ok("handle", "the handle is the one that was expected");
        }
        None => {}
    }
    match me.status.as_deref() {
        Some("active") | None => report.ok("status", "the account is active"),
        Some("restricted") => {
            report.warn("status", "the account is restricted: it cannot write to strangers")
        }
        Some(other) => report.fail("status", format!("the account is {other}")),
    };
    let settings = me.settings.as_ref();
    match settings.and_then(|settings| settings.inbox_mode.as_deref()) {
        Some("contacts_only") => report.ok("inbox_mode", "only contacts may begin a conversation"),
        _ => report.ok("inbox_mode", "everybody may begin a conversation"),
    };
    match me.paused_by_owner.as_deref() {
        Some("none") | None => report.ok("paused", "the owner has not paused it"),
        Some("send") => report.warn("paused", "the owner has paused it: it cannot send"),
        Some(_) => report.warn("paused", "the owner has paused it: it can neither send nor receive"),
    };
}

fn clock(report: &mut Report, server: Option<SystemTime>, here: SystemTime) {
    let Some(server) = server else { return };
    // The server's is cut to the second, and the answer took its time.
    let (apart, word) = match here.duration_since(server) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    match apart <= SKEW {
        true => report.ok("clock", "this host's clock agrees with the server's"),
        false => report.warn(
            "clock",
            format!("this host's clock is {} s {word} the server's: deadlines will be off", apart.as_secs()),
        ),
    };
}

async fn socket(report: &mut Report, config: &AgentChatConfig) {
    let tls = crate::tls::config(config);
    let reached = match tls {
        Ok(tls) => reach(config, &tls).await.map_err(|refused| refused.error),
        Err(error) => Err(error),
    };
    match reached {
        Ok(()) => report.ok("socket", "a socket can be opened"),
        Err(error) => report.fail("socket", format!("no socket can be opened, only polling works: {error}")),
    };
}

fn anchor(report: &mut Report, path: &Path, handle: Option<&str>) {
    let name = "anchor";
    let block = match Anchor::new(ANCHOR).and_then(|anchor| anchor.read(path)) {
        Ok(Some(block)) => block,
        Ok(None) => {
            report.warn(name, format!("{} does not say who the agent is", path.display()));
            return;
        }
        Err(error) => {
            report.fail(name, error.to_string());
            return;
        }
    };
    let named = |handle: &str| {
        let mut words = block.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '@'));
        words.any(|word| word.strip_prefix('@') == Some(handle))
    };
    match handle {
        Some(handle) if !named(handle) => {
            report.warn(name, format!("{} does not name @{handle}", path.display()))
        }
        _ => report.ok(name, format!("{} says who the agent is", path.display())),
    };
}

fn lock(report: &mut Report, path: &Path) {
    match LeaderLock::probe(path) {
        LockState::Held => report.ok("lock", "the leader lock is held"),
        LockState::Free => report.warn("lock", "the leader lock is free: nobody reads the inbox"),
        LockState::Absent => report.warn("lock", "there is no leader lock yet: nobody has read the inbox"),
        other => report.warn("lock", format!("the leader lock is {other}")),
    };
}

/// How far two clocks may be apart.
const SKEW: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_half_a_minute_are_told_which_way() {
        let here = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let line = |server| {
            let mut report = Report::new();
            clock(&mut report, server, here);
            report.to_string()
        };
        assert_eq!(line(None), "");
        for near in [here, here + SKEW, here - SKEW] {
            assert_eq!(line(Some(near)), "  [ok]   this host's clock agrees with the server's\n");
        }
        assert!(
            line(Some(here - Duration::from_secs(90))).contains("[warn] this host's clock is 90 s ahead of")
        );
        assert!(line(Some(here + Duration::from_secs(90))).contains("is 90 s behind the server's"));
    }
}
