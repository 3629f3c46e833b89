//! A process that is told to terminate finishes the message under way, leaves the directory and ends well.
#![cfg(unix)]

mod support;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agentchat_core::{Agent, Body, CallRequest, ErrorKind, Query};
use mq9_client::testing::Broker;
use support::{MS, SECOND, broker, connector, start, until, within};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

#[tokio::test]
async fn a_terminated_agent_answers_what_it_has_begun_leaves_the_directory_and_ends_well() {
    let broker = broker().await;
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start(&broker, 700 * MS).await;
        let asker = start(&connector(&broker, "asker")).await;
        let peer = find(&asker).await.pop().and_then(|entry| entry.address).expect("it is in the directory");
        let request = CallRequest::new(Body::text("under way")).with_timeout(20 * SECOND);
        let call = within(10, "the call", asker.call(&peer, request)).await.expect("sent");
        process.says("agent: working on under way").await;
        process.send(signal).await;

        let answer = within(20, "the answer", call.response()).await.expect("it is answered all the same");
        assert_eq!(answer.body().as_str(), Some("done after 700ms"));
        let (said, status) = process.end().await;
        assert_eq!(status.code(), Some(0), "{said:?}");
        let report = "retire: drained, unregistered, unsettled 0, unacknowledged 0, unsent 0, calls_ended 0";
        assert_eq!(said.last().map(String::as_str), Some(&*format!("agent: {report}")), "{said:?}");
        assert!(find(&asker).await.is_empty(), "{signal}: nobody finds it any more");
    }
}

#[tokio::test]
async fn what_comes_after_the_signal_is_not_begun_any_more() {
    let broker = broker().await;
    let mut process = Process::start(&broker, SECOND).await;
    let asker = start(&connector(&broker, "asker")).await;
    let peer = find(&asker).await.pop().and_then(|entry| entry.address).expect("it is in the directory");
    let ask = async |text: &str, patience: Duration| {
        let request = CallRequest::new(Body::text(text)).with_timeout(patience);
        within(10, "the call", asker.call(&peer, request)).await.expect("its inbox takes it")
    };
    let begun = ask("begun", 20 * SECOND).await;
    process.says("agent: working on begun").await;
    process.send("-TERM").await;
    process.says("agent: SIGTERM, retiring").await;
    let late = ask("too late", 3 * SECOND).await;
    within(20, "the answer", begun.response()).await.expect("answered");
    let (said, status) = process.end().await;
    assert_eq!(status.code(), Some(0), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("too late")), "{said:?}");
    let error = within(20, "the end of the call", late.response()).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

async fn find(asker: &Agent) -> Vec<agentchat_core::AgentEntry> {
    within(10, "the search", asker.discover(&Query::name(NAME))).await.expect("an answer").agents
}

/// The agent of the example, as a process.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start(broker: &Broker, work: Duration) -> Self {
        let mut child = Command::new(example().await)
            .args(["--role", "agent", "--broker", &broker.url(), "--name", NAME])
            .args(["--work-ms", &work.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let mut process = Self { child, lines: BufReader::new(stdout).lines() };
        process.says("agent: registered").await;
        process
    }

    /// Waits until it says a line that begins like this.
    async fn says(&mut self, beginning: &str) {
        while let Some(line) = within(20, beginning, self.lines.next_line()).await.expect("readable") {
            if line.starts_with(beginning) {
                return;
            }
        }
        panic!("it ended before it said: {beginning}");
    }

    async fn send(&self, signal: &str) {
        let id = self.child.id().expect("it lives").to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(within(10, "the signal", sent).await.expect("kill is there").success());
    }

    /// The rest of what it says, and how it ends.
    async fn end(mut self) -> (Vec<String>, ExitStatus) {
        let mut said = Vec::new();
        while let Some(line) = within(20, "its end", self.lines.next_line()).await.expect("readable") {
            said.push(line);
        }
        (said, within(20, "its exit", self.child.wait()).await.expect("it was started"))
    }
}

/// The example's program, which is built with the tests; a run of this test alone builds it now.
async fn example() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a file");
    let built = program.ancestors().nth(2).expect("it lies in a build directory").join("examples");
    let example = built.join("graceful_shutdown");
    if !example.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let build = Command::new(cargo).args(["build", "--quiet", "--example", "graceful_shutdown"]).status();
        assert!(within(600, "building the example", build).await.expect("cargo runs").success());
    }
    until("the example", async || example.exists()).await;
    example
}

const NAME: &str = "slow-worker";
