//! The project's figures: `cargo bench --bench figures`, or `-- PREFIX` for those whose name begins so.
//!
//! Each is alone on a line, `figure NAME VALUE UNIT`. Ratios are ours over the raw limit measured beside
//! it, run by turns in one process; the value is the median of the paired runs. The figures named `mq9` and
//! `ws` keep their clients on one thread of the second core, and their servers on one of the first; those
//! named `core` take both cores as they come.

mod a2a;
mod a2a_delivered;
mod a2a_stream;
mod alloc;
mod batches;
mod consume;
mod core;
mod engine;
mod idle;
mod rig;
mod send;
mod ws;

use crate::core::pair::Kind;
use crate::core::{flood, loopback, machines};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() {
    let asked = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    if asked == flood::CHILD {
        return flood::child();
    }
    if asked == ws::OURS || asked == ws::RAW {
        return ws::child(&asked, &std::env::args().nth(2).expect("the server's URL"));
    }
    let figures: &[(&str, fn())] = &[
        ("a2a.stream.delivered", a2a_delivered::delivered),
        ("a2a.stream", a2a_stream::traffic),
        ("a2a.wrap", a2a::wrap),
        ("a2a.read", a2a::read),
        ("a2a.wrapped", a2a::wrapped),
        ("core.loopback.bare", || loopback::ratio("core.loopback.bare", Kind::Bare)),
        ("core.loopback.resilient", || loopback::ratio("core.loopback.resilient", Kind::Resilient)),
        ("core.loopback.agent", || loopback::ratio("core.loopback.agent", Kind::Agent)),
        ("core.allocs_per_message.bare", || {
            loopback::allocations("core.allocs_per_message.bare", Kind::Bare)
        }),
        ("core.allocs_per_message.resilient", || {
            loopback::allocations("core.allocs_per_message.resilient", Kind::Resilient)
        }),
        ("core.dedup", machines::dedup),
        ("core.order", machines::order),
        ("core.outbox", machines::outbox),
        ("core.bytes_per_id", machines::bytes_per_id),
        ("core.bytes_per_idle_conversation", machines::bytes_per_idle_conversation),
        ("core.flood.rss", flood::rss),
        ("mq9.send.sequential", || send::ratio("mq9.send.sequential", 1, 4_000)),
        ("mq9.send.inflight64", || send::ratio("mq9.send.inflight64", 64, 60_000)),
        ("mq9.send.inflight256", || send::ratio("mq9.send.inflight256", 256, 60_000)),
        ("mq9.consume.vs_batched", || consume::ratio("mq9.consume.vs_batched", consume::Raw::OneAckPerBatch)),
        ("mq9.consume.vs_each", || consume::ratio("mq9.consume.vs_each", consume::Raw::OneAckPerMessage)),
        ("mq9.idle_latency.p50", idle::latency),
        ("mq9.idle_cpu.1000", idle::many_mailboxes),
        ("mq9.double.commands", engine::commands),
        ("ws.inbound", || ws::inbound("ws.inbound", false)),
        ("ws.inbound_acked", || ws::inbound("ws.inbound_acked", true)),
        ("ws.catchup", || ws::catchup("ws.catchup")),
        ("ws.first_delivery", || ws::first_delivery("ws.first_delivery")),
        ("ws.reply_then_inbound", || ws::reply_then_inbound("ws.reply_then_inbound")),
        ("ws.idle_agent.bytes", || ws::idle_agent("ws.idle_agent.bytes")),
    ];
    let mut ran = 0;
    let mut pinned = false;
    for &(name, figure) in figures {
        // Threads begin where the one that starts them is kept: the figures of the core come before.
        if !name.starts_with("core") && !name.starts_with("a2a") && !std::mem::replace(&mut pinned, true) {
            rig::pin(1);
        }
        // One run gives both figures of the idle mailboxes, or all of the stream.
        let also = name == "mq9.idle_cpu.1000" && "mq9.idle_fetches.1000".starts_with(&asked)
            || name == "a2a.stream" && asked.starts_with(name) && asked != "a2a.stream.delivered";
        if name.starts_with(&asked) || also {
            figure();
            ran += 1;
        }
    }
    if ran == 0 {
        eprintln!("no figure begins with {asked:?}");
        std::process::exit(2);
    }
}
