//! What an agent costs that waits for messages.
//!
//! A thousand of them in a process of their own, each with a session and an inbox that is read, against a
//! thousand bare sockets with buffers of 4 KiB in another one; the server is this process. Counted is what was
//! asked of the allocator and not given back once all are connected, the HTTP connections that are kept for a
//! while included. Resident memory stands beside it. The kernel's part is in neither.

use std::process::Command;
use std::time::Duration;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::feed::Feed;
use super::ours::{Layer, Reader};
use super::raw::Socket;
use crate::alloc::counted;
use crate::rig::print;

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
        let numbers: Vec<f64> = text.split_whitespace().map(|it| it.parse().expect("bytes")).collect();
        (numbers[0], numbers[1])
    };
    let (ours, resident) = run(OURS);
    let (raw, resident_raw) = run(RAW);
    let detail = format!(
        "{:.2} of the {raw:.0} of a bare socket; resident {resident:.0} and {resident_raw:.0}",
        ours / raw
    );
    print(name, ours, "bytes", &detail);
}

/// Prints the bytes of each that waits: kept of the allocator, and resident.
pub fn child(what: &str, url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut readers = Vec::new();
    // The first one pays for what all share.
    runtime.block_on(async {
        connect(what, url, 1, &mut readers).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    });
    let before = resident();
    let (grown, idle) = counted(|| {
        runtime.block_on(async {
            connect(what, url, AGENTS, &mut readers).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            resident().saturating_sub(before)
        })
    });
    let each = |bytes: i64| bytes / AGENTS as i64;
    println!("{} {}", each(idle.kept), each(grown as i64));
}

async fn connect(what: &str, url: &str, count: usize, readers: &mut Vec<Reader>) {
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
    for _ in 0..count {
        if what == OURS {
            readers.push(Reader::attach(url, Layer::Session, 0).await.0);
        } else {
            let socket = Socket::connect(url, Some(config)).await;
            tokio::spawn(socket.idle());
        }
    }
}

/// Bytes of resident memory, as the system counts them.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

const AGENTS: usize = 1_000;
