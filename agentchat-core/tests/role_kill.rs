//! The process that leads is killed. An agent of another process takes over and finds what waited.
#![cfg(all(unix, feature = "leader-lock"))]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agentchat_core::agent::Role;
use agentchat_core::{Agent, Body, ClientMsgId, Loopback, Outbound, Request, ServeOptions};
use tokio::sync::mpsc;

/// Tells a process of this test program to be the one that leads.
const PATH: &str = "ROLE_KILL_PATH";
const TEST: &str = "a_follower_takes_over_from_a_process_that_was_killed_and_handles_what_waited";

#[tokio::test]
async fn a_follower_takes_over_from_a_process_that_was_killed_and_handles_what_waited() {
    if let Ok(path) = std::env::var(PATH) {
        lead(Path::new(&path)).await;
        return;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("role-{}.lock", ClientMsgId::random()));
    let mut leader = Killed(start(&path));
    let mut said = BufReader::new(leader.0.stderr.take().expect("piped")).lines();
    assert_eq!(said.next().expect("a line").expect("text"), "leads");

    let network = Loopback::new();
    let (handled, mut told) = mpsc::unbounded_channel();
    let follower = Agent::builder(network.connector("alice").expect("a name"))
        .leader_lock(&path)
        .serve(
            move |request: Request| {
                let _ = handled.send(request.body().as_str().map(str::to_owned));
                std::future::ready(Ok(()))
            },
            ServeOptions::default(),
        )
        .start()
        .await
        .expect("started");
    let bob = Agent::builder(network.connector("bob").expect("a name")).start().await.expect("started");
    assert_eq!(follower.role(), Role::Follower);
    bob.send(&Outbound::new(follower.address().clone(), Body::text("waited"))).await.expect("sent");
    follower.send(&Outbound::new(bob.address().clone(), Body::text("sent"))).await.expect("a follower sends");
    assert!(told.try_recv().is_err(), "a follower handled a message");

    leader.0.kill().expect("it runs");
    let soon = Duration::from_secs(30);
    tokio::time::timeout(soon, follower.lead()).await.expect("in time").expect("it leads");
    let first = tokio::time::timeout(soon, told.recv()).await.expect("in time");
    assert_eq!(first, Some(Some("waited".to_owned())));
    std::fs::remove_file(&path).expect("it is still there");
}

/// The child: leads until it is killed.
async fn lead(path: &Path) {
    let connector = Loopback::new().connector("alice").expect("a name");
    let agent = Agent::builder(connector).leader_lock(path).start().await.expect("started");
    let word = if agent.role() == Role::Leader { "leads\n" } else { "follows\n" };
    let _ = std::io::stderr().lock().write_all(word.as_bytes());
    std::future::pending::<()>().await;
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args([TEST, "--exact", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
