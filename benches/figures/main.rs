//! The project's figures: `cargo bench --bench figures`, or `-- PREFIX` for those whose name begins so.
//!
//! Each is alone on a line, `figure NAME VALUE UNIT`. Ratios are ours over the raw limit measured beside
//! it, run by turns in one process; the value is the median of the paired runs. Clients run on this
//! thread and on the second core, servers on a thread of their own on the first.

mod consume;
mod engine;
mod idle;
mod rig;
mod send;

fn main() {
    let prefix = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    let figures: [(&str, fn()); 8] = [
        ("mq9.send.sequential", || send::ratio("mq9.send.sequential", 1, 4_000)),
        ("mq9.send.inflight64", || send::ratio("mq9.send.inflight64", 64, 60_000)),
        ("mq9.send.inflight256", || send::ratio("mq9.send.inflight256", 256, 60_000)),
        ("mq9.consume.vs_batched", || consume::ratio("mq9.consume.vs_batched", consume::Raw::OneAckPerBatch)),
        ("mq9.consume.vs_each", || consume::ratio("mq9.consume.vs_each", consume::Raw::OneAckPerMessage)),
        ("mq9.idle_latency.p50", idle::latency),
        ("mq9.idle_cpu.1000", idle::many_mailboxes),
        ("mq9.double.commands", engine::commands),
    ];
    rig::pin(1);
    let mut ran = 0;
    for (name, figure) in figures {
        // One run gives both figures of the idle mailboxes.
        let also = name == "mq9.idle_cpu.1000" && "mq9.idle_fetches.1000".starts_with(&prefix);
        if name.starts_with(&prefix) || also {
            figure();
            ran += 1;
        }
    }
    if ran == 0 {
        eprintln!("no figure begins with {prefix:?}");
        std::process::exit(2);
    }
}
