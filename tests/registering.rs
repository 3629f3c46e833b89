//! Setting up an agent of AgentChat as the example `agentchat_register` does it: a new one by the code of a
//! mail, or one whose key is at hand; the key ends in a file that only its owner can read.

#[path = "../examples/common/wizard.rs"]
mod wizard;

use std::collections::VecDeque;
use std::error::Error;
use std::path::{Path, PathBuf};

use agentchat_core::ClientMsgId;
use transport_ws::testing::{AgentChatServer, HttpFault, JournalEntry};
use transport_ws::{AgentChat, AgentChatConfig, ApiKey};
use wizard::{Person, Question, set_up};

const EMAIL: &str = "someone@agents.example";

/// Answers what was foreseen, in the order it was foreseen, and keeps what is told.
struct Script<'a> {
    server: &'a AgentChatServer,
    answers: VecDeque<(Question, Answer)>,
    told: Vec<String>,
}

enum Answer {
    Text(String),
    /// The code that came by mail.
    Sent,
    /// Six digits that did not.
    Wrong,
}

/// How many requests the server has answered.
fn requests(server: &AgentChatServer) -> usize {
    let request = |entry: &JournalEntry| matches!(entry, JournalEntry::Request { .. });
    server.journal().iter().filter(|entry| request(entry)).count()
}

impl<'a> Script<'a> {
    fn new(server: &'a AgentChatServer, answers: impl IntoIterator<Item = (Question, Answer)>) -> Self {
        Self { server, answers: answers.into_iter().collect(), told: Vec::new() }
    }

    fn told(&self, what: &str) -> bool {
        self.told.iter().any(|line| line.contains(what))
    }
}

impl Person for Script<'_> {
    async fn answer(&mut self, question: Question) -> Result<String, Box<dyn Error + Send + Sync>> {
        let (expected, answer) = self.answers.pop_front().ok_or("nobody is there any more")?;
        assert_eq!(question, expected, "another question; told before: {:?}", self.told);
        let sent = || self.server.otp_for(EMAIL).expect("a mail came");
        Ok(match answer {
            Answer::Text(text) => text,
            Answer::Sent => sent(),
            Answer::Wrong => sent().chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect(),
        })
    }

    fn told(&mut self, line: &str) {
        if line.contains("waiting") {
            self.server.advance(std::time::Duration::from_secs(61));
        }
        self.told.push(line.to_owned());
    }
}

fn text(question: Question, text: impl Into<String>) -> (Question, Answer) {
    (question, Answer::Text(text.into()))
}

fn client(server: &AgentChatServer) -> AgentChat {
    let config = AgentChatConfig::builder_without_key().with_base_url(server.base_url()).build();
    AgentChat::new(&config.expect("usable")).expect("a client")
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("registering-{}", ClientMsgId::random()));
        std::fs::create_dir(&folder).expect("made");
        Self(folder)
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.0).expect("listed").count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is_for_its_owner_alone(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777 == 0o600
    }
    #[cfg(not(unix))]
    {
        path.exists()
    }
}

#[tokio::test]
async fn a_new_agent_is_registered_after_a_reserved_handle_and_a_wrong_code_and_its_key_is_its_owners_alone()
{
    let (server, folder) = (AgentChatServer::start().await.expect("a port"), Folder::new());
    let file = folder.0.join("agent.key");
    let mut script = Script::new(
        &server,
        [
            text(Question::Way, "what?"),
            text(Question::Way, "new"),
            text(Question::Email, EMAIL),
            text(Question::Handle, "admin"),
            text(Question::Handle, "night-coder"),
            (Question::Code, Answer::Wrong),
            (Question::Code, Answer::Sent),
        ],
    );
    let handle = set_up(&client(&server), &mut script, Some(file.clone())).await.expect("set up");
    assert_eq!((handle.as_str(), script.answers.len()), ("night-coder", 0));
    assert!(script.told("neither new nor key") && script.told("INVALID_CODE"), "{:?}", script.told);
    assert!(is_for_its_owner_alone(&file));
    let key = ApiKey::from_file(&file).expect("a key");
    assert_eq!(client(&server).with_key(key).me().await.expect("taken").handle, "night-coder");
    let kept = std::fs::read_to_string(&file).expect("read");
    assert!(!script.told(kept.trim()), "the key was told");
}

#[tokio::test]
async fn after_too_many_wrong_codes_the_next_one_is_waited_for() {
    let server = AgentChatServer::builder().manual_clock().start().await.expect("a port");
    let folder = Folder::new();
    let mut answers =
        vec![text(Question::Way, "new"), text(Question::Email, EMAIL), text(Question::Handle, "night-coder")];
    answers.extend((0..6).map(|_| (Question::Code, Answer::Wrong)));
    answers.push((Question::Code, Answer::Sent));
    // Asked for the second code, the server says to wait: a second here, a minute in earnest.
    let cooldown = HttpFault::error(429, "OTP_COOLDOWN", "Please wait 1s").retry_after("1");
    server.faults().on("POST /v1/register", HttpFault::passing());
    server.faults().on("POST /v1/register", cooldown);
    let mut script = Script::new(&server, answers);
    let begun = std::time::Instant::now();
    let handle = set_up(&client(&server), &mut script, Some(folder.0.join("agent.key"))).await;
    assert_eq!(handle.expect("set up"), "night-coder");
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1) && script.told("waiting 1 s"));
    assert_eq!((server.faults().pending(), script.answers.len()), (0, 0));
}

#[tokio::test]
async fn what_can_be_no_address_handle_or_code_is_asked_for_again_without_asking_the_server() {
    let (server, folder) = (AgentChatServer::start().await.expect("a port"), Folder::new());
    let mut script = Script::new(
        &server,
        [
            text(Question::Way, "new"),
            text(Question::Email, "no address"),
            text(Question::Handle, "night-coder"),
            text(Question::Email, EMAIL),
            text(Question::Handle, "ab"),
            text(Question::Email, EMAIL),
            text(Question::Handle, "night-coder"),
            text(Question::Code, "12345"),
            text(Question::Code, "a code"),
            (Question::Code, Answer::Sent),
        ],
    );
    let file = folder.0.join("agent.key");
    let handle = set_up(&client(&server), &mut script, Some(file)).await.expect("set up");
    assert_eq!((handle.as_str(), script.answers.len()), ("night-coder", 0));
    assert!(script.told("3 to 30") && script.told("6 digits"), "{:?}", script.told);
    // The registration, the code, and whose the key is.
    assert_eq!(requests(&server), 3);
}

#[tokio::test]
async fn a_pasted_key_is_kept_only_after_the_server_has_taken_it() {
    let (server, folder) = (AgentChatServer::start().await.expect("a port"), Folder::new());
    let (file, good) = (folder.0.join("agent.key"), server.agent("at-hand"));
    let unknown = "ac_0123456789_of_nobody";
    let bad = [text(Question::Way, "key"), text(Question::Key, "ac_cut_short"), text(Question::Key, unknown)];
    let mut script = Script::new(&server, bad);
    let error = set_up(&client(&server), &mut script, Some(file.clone())).await.expect_err("none was good");
    assert!(error.to_string().contains("nobody is there"), "{error}");
    assert_eq!(folder.files(), 0, "a key that nobody took was kept");
    assert!(script.told("12 characters") && !script.told("ac_cut_short") && !script.told(unknown));

    let again = [text(Question::Way, "key"), text(Question::Key, unknown), text(Question::Key, &good)];
    let mut script = Script::new(&server, again);
    let handle = set_up(&client(&server), &mut script, Some(file.clone())).await.expect("set up");
    assert_eq!(handle, "at-hand");
    assert!(is_for_its_owner_alone(&file) && !script.told(&good));
    assert_eq!(ApiKey::from_file(&file).expect("a key"), ApiKey::new(good).expect("a key"));
}

#[tokio::test]
async fn a_file_that_is_there_is_never_overwritten_and_nothing_is_asked_for_it() {
    let (server, folder) = (AgentChatServer::start().await.expect("a port"), Folder::new());
    let taken = folder.0.join("taken");
    std::fs::write(&taken, "something else").expect("written");
    let mut script = Script::new(&server, []);
    let error = set_up(&client(&server), &mut script, Some(taken.clone())).await.expect_err("it is there");
    assert!(error.to_string().contains("there already"), "{error}");
    assert_eq!(std::fs::read(&taken).expect("read"), b"something else");
    // A folder that is not there is found out when there is a key, which is not lost for it.
    let free = folder.0.join("free");
    let answers = [
        text(Question::Way, "key"),
        text(Question::Key, server.agent("at-hand")),
        text(Question::File, taken.display().to_string()),
        text(Question::File, free.display().to_string()),
    ];
    let mut script = Script::new(&server, answers);
    let nowhere = folder.0.join("no such folder").join("key");
    set_up(&client(&server), &mut script, Some(nowhere)).await.expect("set up");
    assert!(is_for_its_owner_alone(&free));
    assert_eq!(std::fs::read(&taken).expect("read"), b"something else");
}

#[tokio::test]
async fn a_server_that_is_away_ends_it_with_an_error_and_writes_nothing() {
    let (mut server, folder) = (AgentChatServer::start().await.expect("a port"), Folder::new());
    let (client, key) = (client(&server), server.agent("at-hand"));
    server.down().await.expect("down");
    for answers in [
        vec![text(Question::Way, "key"), text(Question::Key, key)],
        vec![text(Question::Way, "new"), text(Question::Email, EMAIL), text(Question::Handle, "night-coder")],
    ] {
        let mut script = Script::new(&server, answers);
        let failed = set_up(&client, &mut script, Some(folder.0.join("agent.key"))).await;
        assert!(failed.is_err());
        assert_eq!(folder.files(), 0);
    }
}
