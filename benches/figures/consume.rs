//! Consuming: our consumer, which settles each message, against raw loops of FETCH and ACK.

use mq9_client::testing::{Command, EngineHost, Outcome};
use mq9_client::{Client, ConsumerOptions, MailAddress, Poller, PollerOptions};
use serde::Deserialize;

use crate::rig::{PAYLOAD, ROUNDS, Server, block_on, per_second, print_ratio, timed};

/// How the raw loop acknowledges.
#[derive(Clone, Copy)]
pub enum Raw {
    OneAckPerBatch,
    OneAckPerMessage,
}

pub fn ratio(name: &str, raw: Raw) {
    let server = Server::start();
    let rounds = block_on(async {
        let client = Client::connect(&server.url).await.expect("connected");
        let poller = Poller::connect(&client, PollerOptions::default()).await.expect("connected");
        let nats = async_nats::connect(&server.nats_url).await.expect("connected");
        let count = match raw {
            Raw::OneAckPerBatch => 50_000,
            Raw::OneAckPerMessage => 20_000,
        };
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let (a, b);
            if round % 2 == 0 {
                a = ours(&server.host, &poller, count).await;
                b = theirs(&server.host, &nats, raw, count).await;
            } else {
                b = theirs(&server.host, &nats, raw, count).await;
                a = ours(&server.host, &poller, count).await;
            }
            if round > 0 {
                rounds.push((a, b));
            }
        }
        rounds
    });
    print_ratio(name, &rounds, "messages per second");
}

async fn ours(host: &EngineHost, poller: &Poller, count: usize) -> f64 {
    let mailbox = filled(host, count);
    let elapsed = timed(async {
        let mut consumer = poller.add(mailbox, ConsumerOptions::new("bench")).expect("added");
        let acker = consumer.acker();
        for _ in 0..count {
            let delivered = consumer.next().await.expect("a message").expect("no error");
            assert_eq!(delivered.message.payload.len(), PAYLOAD);
            acker.settle(delivered.message.id);
        }
        acker.flush().await.expect("acknowledged");
    })
    .await;
    per_second(count, elapsed)
}

async fn theirs(host: &EngineHost, nats: &async_nats::Client, raw: Raw, count: usize) -> f64 {
    let mailbox = filled(host, count);
    let fetch = format!("$mq9.AI.MSG.FETCH.{mailbox}");
    let ack = format!("$mq9.AI.MSG.ACK.{mailbox}");
    let ask = r#"{"group_name":"raw","deliver":"earliest","config":{"num_msgs":100,"max_wait_ms":0}}"#;
    let elapsed = timed(async {
        let mut seen = 0;
        while seen < count {
            let reply = nats.request(fetch.clone(), ask.into()).await.expect("answered");
            let reply: Reply = serde_json::from_slice(&reply.payload).expect("a FETCH reply");
            seen += reply.messages.len();
            for row in &reply.messages {
                assert_eq!(row.payload.len(), PAYLOAD);
            }
            let ids: Vec<u64> = reply.messages.iter().map(|row| row.msg_id).collect();
            let to_ack = match raw {
                Raw::OneAckPerBatch => &ids[ids.len() - 1..],
                Raw::OneAckPerMessage => &ids[..],
            };
            for id in to_ack {
                let body = format!(r#"{{"group_name":"raw","mail_address":"{mailbox}","msg_id":{id}}}"#);
                nats.request(ack.clone(), body.into()).await.expect("answered");
            }
        }
    })
    .await;
    per_second(count, elapsed)
}

/// A mailbox with `count` messages, filled without the network.
fn filled(host: &EngineHost, count: usize) -> MailAddress {
    let mailbox = MailAddress::generate("bench").expect("generated");
    let create = format!(r#"{{"name":"{mailbox}","ttl":0}}"#);
    let submit = |subject: &str, payload: &[u8]| {
        let outcome = host.submit(Command { subject, header: None, payload });
        assert!(matches!(outcome, Outcome::Reply(_)), "{outcome:?}");
    };
    submit("$mq9.AI.MAILBOX.CREATE", create.as_bytes());
    let send = format!("$mq9.AI.MSG.SEND.{mailbox}");
    for _ in 0..count {
        submit(&send, &[b'x'; PAYLOAD]);
    }
    mailbox
}

#[derive(Deserialize)]
struct Reply {
    messages: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    msg_id: u64,
    payload: String,
}
