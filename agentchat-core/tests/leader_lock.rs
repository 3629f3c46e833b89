//! Several processes want to lead. Exactly one does; when it is killed, another one takes over.
#![cfg(all(unix, feature = "leader-lock"))]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use agentchat_core::{ClientMsgId, LeaderLock, LockState};

/// Tells a process of this test program to be one of those that want to lead.
const PATH: &str = "LEADER_LOCK_PATH";

#[test]
fn a_killed_leader_is_followed_by_one_of_the_others_and_never_by_two() {
    if let Ok(path) = std::env::var(PATH) {
        want_to_lead(&path);
        return;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("leader-{}.lock", ClientMsgId::random()));
    let (sender, said) = mpsc::channel();
    let mut processes: Vec<Process> = (0..3).map(|name| Process::start(name, &path, &sender)).collect();
    // All are there before the first is killed, so that each has tried in vain or leads.
    let mut leaders = Vec::new();
    let mut up = 0;
    while up < processes.len() || leaders.is_empty() {
        match hear(&said) {
            (_, line) if line == "up" => up += 1,
            (name, _) => leaders.push(name),
        }
    }
    for round in 0..2 {
        let leader = *leaders.last().expect("one leads");
        assert_eq!(leaders.len(), round + 1, "more than one leads: {leaders:?}");
        assert_eq!(LeaderLock::probe(&path), LockState::Held);
        assert!(LeaderLock::try_acquire(&path).expect("usable").is_none(), "this process leads as well");
        processes[leader].kill();
        let (next, line) = hear(&said);
        assert_eq!(line, "leads");
        leaders.push(next);
    }
    leaders.sort_unstable();
    assert_eq!(leaders, [0, 1, 2], "one of the dead leads");
    drop(processes);
    assert_eq!(LeaderLock::probe(&path), LockState::Free);
    std::fs::remove_file(&path).expect("it is still there");
}

/// The child: says that it is there, waits, and says that it leads. It leads until it is killed.
fn want_to_lead(path: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        say("up");
        let _lock = LeaderLock::acquire(path).await.expect("usable");
        say("leads");
        std::future::pending::<()>().await;
    });
}

fn say(what: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{what}\n").as_bytes());
}

fn hear(said: &mpsc::Receiver<(usize, String)>) -> (usize, String) {
    said.recv_timeout(Duration::from_secs(30)).expect("the others go on")
}

struct Process(Child);

impl Process {
    fn start(name: usize, path: &PathBuf, said: &mpsc::Sender<(usize, String)>) -> Self {
        let test = "a_killed_leader_is_followed_by_one_of_the_others_and_never_by_two";
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args([test, "--exact", "--nocapture"])
            .env(PATH, path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let (out, said) = (BufReader::new(child.stderr.take().expect("piped")), said.clone());
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| said.send((name, line)))
        });
        Self(child)
    }

    /// By SIGKILL: nothing of it runs any more.
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
