//! Processes of a test program that are killed: started again and again, listened to, told to end.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use tokio::sync::mpsc;

use crate::hunt::{SECOND, within};

/// Set for processes that are let finish.
const LAST: &str = "HUNT_LAST";
/// What a process says when it begins to be of interest.
pub const ATTACHED: &str = "attached";

/// A process, and those after it.
pub struct Part {
    pub name: &'static str,
    /// How many processes there were.
    pub life: u64,
    /// The test that a process runs.
    test: &'static str,
    told: Vec<(&'static str, String)>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// What it said before somebody asked.
    early: Vec<String>,
    /// It has said something.
    spoke: bool,
}

impl Part {
    /// A part whose processes run the test `test` of this program.
    pub fn new(name: &'static str, test: &'static str) -> Self {
        Self { name, life: 0, test, told: Vec::new(), process: None }
    }

    /// Tells its processes, from the next one on, that the variable `what` is `value`.
    pub fn tell(&mut self, what: &'static str, value: impl Into<String>) {
        self.told.retain(|(name, _)| *name != what);
        self.told.push((what, value.into()));
    }

    pub fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    /// Starts one if none runs.
    pub fn start(&mut self) {
        self.begin(false);
    }

    /// Starts one that is let finish.
    pub fn start_last(&mut self) {
        self.begin(true);
    }

    fn begin(&mut self, last: bool) {
        if self.process.is_some() {
            return;
        }
        self.life += 1;
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command
            .args([self.test, "--exact", "--nocapture"])
            .envs(self.told.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if last {
            command.env(LAST, "1");
        }
        let mut child = command.spawn().expect("it starts");
        let out = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        self.process = Some(Process { child, lines, early: Vec::new(), spoke: false });
    }

    /// Waits until it has said something, if it runs and that is not long.
    pub async fn speaks(&mut self) {
        let Some(process) = &mut self.process else { return };
        if !process.spoke {
            let word = tokio::time::timeout(5 * SECOND, process.lines.recv()).await;
            process.early.extend(word.ok().flatten());
            process.spoke = true;
        }
    }

    /// What it has said since it was asked last.
    pub fn heard(&mut self) -> Vec<String> {
        let Some(process) = &mut self.process else { return Vec::new() };
        let mut lines = std::mem::take(&mut process.early);
        while let Ok(line) = process.lines.try_recv() {
            lines.push(line);
        }
        process.spoke |= !lines.is_empty();
        lines.into_iter().filter_map(|line| self.said(line)).collect()
    }

    /// SIGKILL: it gets no chance to say or finish anything. Gives what it had said before, which counts.
    pub async fn kill(&mut self) -> Vec<String> {
        let Some(mut process) = self.process.take() else { return Vec::new() };
        process.child.kill().expect("it runs");
        process.child.wait().expect("it ended");
        self.rest(process, "the last words").await
    }

    /// Tells one that listens for it to finish, and waits for its end; gives what it had said, the last of which
    /// is `closed`.
    pub async fn finish(&mut self) -> Vec<String> {
        let mut process = self.process.take().expect("it runs");
        drop(process.child.stdin.take());
        let heard = self.rest(process, "the end").await;
        assert_eq!(heard.last().map(String::as_str), Some("closed"), "the {} did not close", self.name);
        heard
    }

    async fn rest(&self, mut process: Process, what: &str) -> Vec<String> {
        let mut lines = std::mem::take(&mut process.early);
        while let Some(line) = within(30, what, process.lines.recv()).await {
            lines.push(line);
        }
        process.child.wait().expect("it ended");
        lines.into_iter().filter_map(|line| self.said(line)).collect()
    }

    fn said(&self, line: String) -> Option<String> {
        let said = line.strip_prefix('@')?;
        assert!(!said.starts_with("panicked"), "{} {}: {said}", self.name, self.life);
        (said != ATTACHED).then(|| said.to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this process was told by the one that started it; `None` in an ordinary run.
pub fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether this process is let finish.
pub fn is_last() -> bool {
    std::env::var_os(LAST).is_some()
}

/// Waits until this process is told to finish.
pub async fn until_told() {
    let waiting = tokio::task::spawn_blocking(|| drop(std::io::stdin().read_to_end(&mut Vec::new())));
    waiting.await.expect("no panic");
}

/// Tells whoever started this process. One call for each line: a pipe takes it whole or not at all, whenever
/// the kill comes.
pub fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("@{line}\n").as_bytes());
}

/// Runs a process of this program.
pub fn live(life: impl Future<Output = ()>) {
    // In one line, for whoever listens.
    std::panic::set_hook(Box::new(|panic| say(&format!("panicked: {panic}").replace('\n', " "))));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(life);
}
