//! Sending: ours against raw requests of the NATS client to the same broker.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mq9_client::{Client, CreateMailbox, Lifetime, MailAddress, Message};

use crate::rig::{PAYLOAD, ROUNDS, Server, block_on, per_second, print_ratio, timed};

pub fn ratio(name: &str, in_flight: usize, count: usize) {
    let server = Server::start();
    let rounds = block_on(async {
        let client = Client::connect(&server.url).await.expect("connected");
        let raw = async_nats::connect(&server.nats_url).await.expect("connected");
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            // A fresh mailbox each round, so that neither side pays for what the other one stored.
            let mailbox = MailAddress::generate("bench").expect("generated");
            let create = CreateMailbox::named(mailbox.clone()).with_lifetime(Lifetime::Forever);
            client.create_mailbox(create).await.expect("created");
            let (a, b);
            if round % 2 == 0 {
                a = ours(&client, &mailbox, in_flight, count).await;
                b = theirs(&raw, &mailbox, in_flight, count).await;
            } else {
                b = theirs(&raw, &mailbox, in_flight, count).await;
                a = ours(&client, &mailbox, in_flight, count).await;
            }
            // The first round warms up.
            if round > 0 {
                rounds.push((a, b));
            }
        }
        rounds
    });
    print_ratio(name, &rounds, "sends per second");
}

async fn ours(client: &Client, mailbox: &MailAddress, in_flight: usize, count: usize) -> f64 {
    let payload = Bytes::from(vec![b'x'; PAYLOAD]);
    let sends = stream::iter(0..count).map(|_| {
        let message = Message::new(payload.clone());
        async move { client.send(mailbox, &message).await.expect("stored") }
    });
    let elapsed = timed(sends.buffer_unordered(in_flight).for_each(|_| async {})).await;
    per_second(count, elapsed)
}

async fn theirs(raw: &async_nats::Client, mailbox: &MailAddress, in_flight: usize, count: usize) -> f64 {
    let payload = Bytes::from(vec![b'x'; PAYLOAD]);
    let subject = async_nats::Subject::from(format!("$mq9.AI.MSG.SEND.{mailbox}"));
    let sends = stream::iter(0..count).map(|_| {
        let (payload, subject) = (payload.clone(), subject.clone());
        async move { raw.request(subject, payload).await.expect("answered") }
    });
    let elapsed = timed(sends.buffer_unordered(in_flight).for_each(|_| async {})).await;
    per_second(count, elapsed)
}
