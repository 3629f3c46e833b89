//! Waiting: how soon a message is noticed, and what a thousand silent mailboxes cost.

use std::time::{Duration, Instant};

use mq9_client::{
    Client, ConsumerOptions, CreateMailbox, Lifetime, MailAddress, Message, Poller, PollerOptions,
};

use crate::rig::{Server, block_on, median, print};

/// Send to handler on one mailbox in use, with pauses of 0.1 to 2 s, by the default pacing.
pub fn latency() {
    let server = Server::start();
    let samples: Vec<f64> = block_on(async {
        let client = Client::connect(&server.url).await.expect("connected");
        let poller = Poller::connect(&client, PollerOptions::default()).await.expect("connected");
        let mailbox = mailbox(&client).await;
        let mut consumer = poller.add(mailbox.clone(), ConsumerOptions::new("bench")).expect("added");
        let acker = consumer.acker();
        let mut dice = fastrand::Rng::with_seed(9);
        let mut samples = Vec::new();
        for _ in 0..60 {
            let pause = Duration::from_secs_f64(0.1 + 1.9 * dice.f64());
            // The consumer goes on polling while nothing comes.
            let early = tokio::time::timeout(pause, consumer.next()).await;
            assert!(early.is_err(), "nothing was sent: {early:?}");
            let sent = Instant::now();
            client.send(&mailbox, &Message::new("ping")).await.expect("stored");
            let delivered = consumer.next().await.expect("a message").expect("no error");
            samples.push(sent.elapsed().as_secs_f64() * 1e3);
            acker.settle(delivered.message.id);
        }
        samples
    });
    let mut sorted = samples.clone();
    sorted.sort_by(f64::total_cmp);
    let detail = format!("max {:.1} ms over {} messages", sorted[sorted.len() - 1], sorted.len());
    print("mq9.idle_latency.p50", median(samples), "ms", &detail);
}

/// A thousand mailboxes that have been silent for over half a minute, on one poller.
pub fn many_mailboxes() {
    const MAILBOXES: usize = 1_000;
    const SETTLE: Duration = Duration::from_secs(40);
    const MEASURE: Duration = Duration::from_secs(15);
    let server = Server::start();
    let (cpu, fetches) = block_on(async {
        let client = Client::connect(&server.url).await.expect("connected");
        let poller = Poller::connect(&client, PollerOptions::default()).await.expect("connected");
        let mut consumers = Vec::new();
        for _ in 0..MAILBOXES {
            let mailbox = mailbox(&client).await;
            consumers.push(poller.add(mailbox, ConsumerOptions::new("bench")).expect("added"));
        }
        tokio::time::sleep(SETTLE).await;
        let (cpu, fetches, start) = (thread_cpu(), server.host.counts().fetches, Instant::now());
        tokio::time::sleep(MEASURE).await;
        let elapsed = start.elapsed().as_secs_f64();
        let cpu = (thread_cpu() - cpu) / elapsed * 100.0;
        (cpu, (server.host.counts().fetches - fetches) as f64 / elapsed)
    });
    print("mq9.idle_cpu.1000", cpu, "percent_of_a_core", "");
    print("mq9.idle_fetches.1000", fetches, "per_second", "");
}

async fn mailbox(client: &Client) -> MailAddress {
    let mailbox = MailAddress::generate("bench").expect("generated");
    let create = CreateMailbox::named(mailbox).with_lifetime(Lifetime::Forever);
    client.create_mailbox(create).await.expect("created")
}

/// Seconds of processor time that this thread, which runs the client, has used. Linux only.
fn thread_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this figure needs Linux");
    let nanos: f64 = stat.split_whitespace().next().and_then(|first| first.parse().ok()).expect("a number");
    nanos / 1e9
}
