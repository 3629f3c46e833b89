//! What a producer that is faster than its network costs in memory.
//!
//! A child process, so that no other figure disturbs it: a session sends one million messages of 500 bytes to an
//! agent whose handler never ends. The handler's session takes its credit, the network's inbox fills to its
//! bounds, the sender's outbox to its own; from then on every message is refused with backpressure and dropped
//! here. The growth of resident memory is to stay within what these three may hold, and 16 MiB.

use std::process::Command;
use std::time::Duration;

use agentchat_core::{
    Agent, Body, ErrorKind, Loopback, Outbound, OutboxLimits, Request, Resilient, ResilientConnector,
    ResilientOptions, ServeOptions, SubscribeOptions,
};

use super::pair::{SIZE, runtime};
use crate::rig::print;

/// The argument that makes this program the child.
pub const CHILD: &str = "flood-child";

pub fn rss() {
    let program = std::env::current_exe().expect("this program");
    let child = Command::new(program).arg(CHILD).output().expect("the child runs");
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{text}{}", String::from_utf8_lossy(&child.stderr));
    let growth: f64 = text.trim().parse().expect("a number of bytes");
    let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
    let configured = (OUTBOX + NETWORK + CREDIT) as f64;
    let detail = format!("configured {:.0} MiB, at most {:.0} MiB", mib(configured), mib(configured) + 16.0);
    print("core.flood.rss", mib(growth), "MiB", &detail);
}

/// Prints by how many bytes the resident memory grew.
pub fn child() {
    let growth = runtime().block_on(async {
        let network = Loopback::new().with_inbox_limits(100_000, NETWORK);
        let blocked =
            ResilientConnector::new(network.connector("b").expect("a name"), ResilientOptions::new());
        let blocked = Agent::builder(blocked).start().await.expect("attached");
        let read = SubscribeOptions::own().with_max_unsettled(100_000).with_max_unsettled_bytes(CREDIT);
        let handler = |_: Request| async { std::future::pending().await };
        let serving = blocked.serve(handler, ServeOptions::default().with_subscribe(read)).await;
        let serving = serving.expect("served");
        let outbox = OutboxLimits::new().with_max_messages(100_000).with_max_bytes(OUTBOX);
        let options = ResilientOptions::new().with_outbox(outbox);
        let sender = Resilient::connect(network.connector("a").expect("a name"), options).await;
        let sender = sender.expect("attached");
        let before = resident();
        let (mut taken, mut refused) = (0_u64, 0_u64);
        for number in 0..MESSAGES {
            let message = Outbound::new(blocked.address().clone(), Body::binary(vec![b'x'; SIZE]));
            match sender.try_send(message) {
                Ok(sending) => {
                    sending.detach();
                    taken += 1;
                }
                Err(back) => {
                    assert_eq!(back.1.kind(), ErrorKind::Backpressure);
                    refused += 1;
                }
            }
            if number % 1_000 == 0 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
        let growth = resident().saturating_sub(before);
        assert!(taken > 20_000 && refused > 100_000, "{taken} taken, {refused} refused");
        drop(serving);
        growth
    });
    println!("{growth}");
}

/// Bytes of resident memory, as the system counts them.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

const MESSAGES: u64 = 1_000_000;
const OUTBOX: usize = 16 * 1024 * 1024;
const NETWORK: usize = 16 * 1024 * 1024;
const CREDIT: usize = 8 * 1024 * 1024;
