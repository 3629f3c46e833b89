//! What an agent costs that waits for messages.
//!
//! A thousand of them in a process of their own, each with a session and an inbox that is read, against a thousand bare
//! sockets with buffers of 4 KiB in another one; the server is this process. Counted is the growth of resident
//! memory, so what an allocator wastes counts too; the kernel's part does not.

use std::process::Command;
use std::time::Duration;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::feed::Feed;
use super::ours::{Layer, Reader};
use super::raw::Socket;
use crate::rig::{block_on, median, print};

/// The arguments that make this program a child.
pub const OURS: &str = "ws-idle-ours";
pub const RAW: &str = "ws-idle-raw";

pub fn idle_agent(name: &str) {
    let feed = Feed::start(true);
    let run = |what: &str| {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program).args([what, &feed.url]).output().expect("the child runs");
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{text}{}", String::from_utf8_lossy(&child.stderr));
        text.trim().parse::<f64>().expect("a number of bytes")
    };
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (run(OURS), run(RAW))).collect();
    let ours = median(rounds.iter().map(|round| round.0).collect());
    let raw = median(rounds.iter().map(|round| round.1).collect());
    let detail = format!("raw {raw:.0}, {:.2} of it", ours / raw);
    print(name, ours, "bytes", &detail);
}

/// Prints by how many bytes the resident memory grew for each that waits.
pub fn child(what: &str, url: &str) {
    let growth = block_on(async {
        let config =
            WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
        let mut readers = Vec::new();
        let mut before = 0;
        for number in 0..=AGENTS {
            if what == OURS {
                readers.push(Reader::attach(url, Layer::Session, 0).await.0);
            } else {
                let socket = Socket::connect(url, Some(config)).await;
                tokio::spawn(socket.idle());
            }
            // The first one pays for what all share.
            if number == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                before = resident();
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let growth = resident().saturating_sub(before);
        drop(readers);
        growth
    });
    println!("{}", growth / AGENTS as u64);
}

/// Bytes of resident memory, as the system counts them.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

const AGENTS: usize = 1_000;
const ROUNDS: usize = 3;
