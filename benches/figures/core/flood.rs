//! What a flood takes: a million messages for a handler that never comes back from the first one.
//!
//! Each queue is bounded by messages and by bytes; the figure is to be at most the bytes of all queues and
//! 16 MiB.

use std::process::Command;
use std::time::Duration;

use agentchat_core::{
    Body, Event, Loopback, Outbound, OutboxLimits, Resilient, ResilientOptions, SubscribeOptions, Transport,
};
use futures_util::{FutureExt, StreamExt};

use crate::core::pair::{SIZE, runtime};
use crate::rig::print;

/// Runs in a process of its own, so that the memory is this figure's alone.
pub fn rss() {
    let program = std::env::current_exe().expect("this program");
    let child = Command::new(program).arg(CHILD).output().expect("it runs again");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let said = String::from_utf8_lossy(&child.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [growth, taken] = numbers[..] else { panic!("{said}") };
    let configured = (OUTBOX + INBOX + UNSETTLED) as f64 / MIB;
    let detail = format!(
        "configured {configured:.0} MiB (outbox {:.0}, inbox {:.0}, unsettled {:.0}); {taken} of {COUNT} taken",
        OUTBOX as f64 / MIB,
        INBOX as f64 / MIB,
        UNSETTLED as f64 / MIB
    );
    print("core.flood.rss", growth / 1024.0, "MiB", &detail);
}

/// The flood itself. Prints the growth of the resident memory at its highest, in KiB, and what was taken.
pub fn child() {
    let runtime = runtime();
    let (growth, taken) = runtime.block_on(async { tokio::spawn(flood()).await.expect("it ends") });
    println!("{growth} {taken}");
    // What waits for ever is not waited for.
    std::process::exit(0);
}

async fn flood() -> (u64, usize) {
    let network = Loopback::new().with_inbox_limits(MESSAGES, INBOX);
    let limits = OutboxLimits::new().with_max_messages(MESSAGES).with_max_bytes(OUTBOX);
    let options = ResilientOptions::new().with_outbox(limits);
    let sender = Resilient::connect(network.connector("a").expect("valid"), options).await.expect("attached");
    let connector = network.connector("b").expect("valid");
    let receiver = Resilient::connect(connector, ResilientOptions::new()).await.expect("attached");
    let to = receiver.address().clone();
    let subscribe =
        SubscribeOptions::own().with_max_unsettled(MESSAGES / 8).with_max_unsettled_bytes(UNSETTLED);
    let mut events = receiver.subscribe(subscribe).await.expect("subscribed").events;
    let handler = tokio::spawn(async move {
        while !matches!(events.next().await, Some(Ok(Event::Message(_)))) {}
        std::future::pending::<()>().await;
    });
    let before = memory("VmRSS");
    let mut taken = 0;
    for number in 0..COUNT {
        let message = Outbound::new(to.clone(), Body::binary(vec![b'x'; SIZE]));
        // Every other one by a sender that would wait, for as long as it takes to see that it does.
        if number % 2 == 0 {
            taken += usize::from(sender.try_send(message).map(|sending| sending.detach()).is_ok());
        } else {
            taken += usize::from(sender.send(&message).now_or_never().is_some());
        }
        if number % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let growth = memory("VmHWM").saturating_sub(before);
    handler.abort();
    (growth, taken)
}

/// A line of what the kernel says of this process, in KiB. Linux only.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this figure needs Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number")
}

/// What the program is called with to be the flood.
pub const CHILD: &str = "flood-child";
const COUNT: usize = 1_000_000;
/// At most so many in the outbox and in the inbox, and an eighth of it unsettled.
const MESSAGES: usize = 8_192;
const OUTBOX: usize = 16 << 20;
const INBOX: usize = 16 << 20;
const UNSETTLED: usize = 8 << 20;
const MIB: f64 = (1 << 20) as f64;
