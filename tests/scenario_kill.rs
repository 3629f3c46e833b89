//! A consuming process that is killed again and again under load: every message is handled at least once, and
//! none again whose acknowledgement the process had seen.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;

use mq9_client::testing::Broker;
use mq9_client::{Client, ConsumerOptions, Message};
use support::{MS, Scratch, create, fast_client, mailbox, within};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const KILLS: usize = 5;
const MESSAGES: u64 = 600;
/// Tells a process of this test program to be the consumer, and where.
const ROLE: &str = "SCENARIO_KILL_BROKER";

#[tokio::test]
async fn a_consumer_killed_five_times_under_load_handles_all_and_repeats_nothing_it_had_acknowledged() {
    let scratch = Scratch::new("kill");
    let broker = Broker::builder().data_dir(scratch.path()).start().await.expect("a broker");
    let client = fast_client(&broker.url()).await;
    let inbox = create(&client, "inbox").await;
    let load = tokio::spawn(async move {
        for number in 0..MESSAGES {
            client.send(&inbox, &Message::new(number.to_string())).await.expect("sent");
            if number % 4 == 0 {
                tokio::time::sleep(2 * MS).await;
            }
        }
    });
    let mut rng = fastrand::Rng::with_seed(9);
    let (mut handled, mut acknowledged) = (BTreeMap::<u64, usize>::new(), BTreeSet::new());
    for life in 0..=KILLS {
        let mut process = Process::start(&broker.url());
        let lines = rng.usize(20..120);
        let mut log = Vec::new();
        if life < KILLS {
            while log.len() < lines {
                log.push(process.line().await.expect("it goes on until it is killed"));
            }
            process.kill().await;
            // What it had said before it died counts.
            while let Some(line) = process.line().await {
                log.push(line);
            }
        } else {
            while handled.len() + fresh(&log, &handled) < MESSAGES as usize {
                log.push(process.line().await.expect("it goes on until everything is handled"));
            }
            process.kill().await;
        }
        let before: BTreeSet<u64> = acknowledged.clone();
        for line in log {
            match line {
                Line::Handled(number) => {
                    assert!(
                        !before.contains(&number),
                        "life {life} was given {number} after its acknowledgement"
                    );
                    *handled.entry(number).or_default() += 1;
                }
                Line::Acknowledged(numbers) => acknowledged.extend(numbers),
            }
        }
    }
    within(30, "the load", load).await.expect("no panic");
    assert_eq!(handled.keys().copied().collect::<Vec<_>>(), (0..MESSAGES).collect::<Vec<_>>());
    assert!(acknowledged.len() > 50, "hardly anything was acknowledged before a kill");
    let most = handled.values().max().copied().unwrap_or_default();
    assert!(most <= KILLS + 1, "handed out {most} times");
}

/// Not a test of its own: the other process of the test above, which starts this program again for it. In
/// an ordinary run it has no role and does nothing.
#[tokio::test]
async fn consuming_process() {
    let Ok(url) = std::env::var(ROLE) else { return };
    let client = Client::connect(&url).await.expect("connects");
    let options = ConsumerOptions::new("workers").with_max_outstanding(64).with_ack_every(8, 5 * MS);
    let mut consumer = client.consume(&mailbox("inbox"), options).await.expect("consumed");
    let acker = consumer.acker();
    let mut settled = Vec::new();
    while let Some(delivered) = consumer.next().await {
        let delivered = delivered.expect("no error");
        let number = String::from_utf8_lossy(&delivered.message.payload).into_owned();
        say(&format!("@handled {number}"));
        acker.settle(delivered.id());
        settled.push(number);
        if settled.len() == 7 {
            acker.flush().await.expect("acknowledged");
            say(&format!("@acknowledged {}", settled.join(" ")));
            settled.clear();
        }
    }
}

/// One short write for each line: a pipe takes it whole or not at all, whenever the kill comes.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush())
        .expect("the other process listens");
}

enum Line {
    Handled(u64),
    Acknowledged(Vec<u64>),
}

/// How many messages `log` tells of that are not in `handled`.
fn fresh(log: &[Line], handled: &BTreeMap<u64, usize>) -> usize {
    let numbers = log.iter().filter_map(|line| match line {
        Line::Handled(number) => Some(number),
        Line::Acknowledged(_) => None,
    });
    numbers.filter(|number| !handled.contains_key(number)).collect::<BTreeSet<_>>().len()
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(url: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a file");
        let mut child = Command::new(program)
            .args(["--exact", "consuming_process", "--nocapture", "--test-threads", "1"])
            .env(ROLE, url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// SIGKILL: the process gets no chance to say or finish anything.
    async fn kill(&mut self) {
        within(10, "the kill", self.child.kill()).await.expect("it was alive");
    }

    /// The next thing it says; `None` once it is dead and read out.
    async fn line(&mut self) -> Option<Line> {
        loop {
            let line = within(20, "the other process", self.lines.next_line()).await.expect("readable")?;
            // The test runner's own output has no newline before the first of ours.
            let Some((_, said)) = line.split_once('@') else { continue };
            let mut words = said.split(' ');
            let verb = words.next();
            let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
            match verb {
                Some("handled") => return numbers.first().map(|number| Line::Handled(*number)),
                Some("acknowledged") => return Some(Line::Acknowledged(numbers)),
                _ => {}
            }
        }
    }
}
