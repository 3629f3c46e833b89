//! Several readers of one inbox. The broker balances nobody: members of one group all see the messages that
//! are not acknowledged yet, and work is shared by partitions.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use agentchat_core::{Agent, CloseMode, ConversationId, Request, ServeOptions, Serving};
use mq9_client::testing::Broker;
use mq9_client::{ConsumerOptions, FetchOptions, Message, MsgId, Pacing};
use support::{MS, SECOND, broker, connector, create, fast_client, next, start, text, within};
use tokio::sync::mpsc;
use transport_mq9::Mq9Connector;

#[tokio::test]
async fn two_consumers_of_one_group_both_see_what_is_unsettled_and_together_lose_nothing() {
    let broker = broker().await;
    let client = fast_client(&broker.url()).await;
    let inbox = create(&client, "inbox").await;
    let options =
        || ConsumerOptions::new("workers").with_pacing(Pacing::default().with_idle(SECOND, 20 * MS));
    let mut first = client.consume(&inbox, options()).await.expect("consumed");
    let mut second = client.consume(&inbox, options()).await.expect("consumed");
    let send = async |range: std::ops::Range<u32>| {
        for number in range {
            client.send(&inbox, &Message::new(number.to_string())).await.expect("sent");
        }
    };
    send(0..50).await;
    let mut seen: [Vec<MsgId>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..50 {
        for (consumer, seen) in [&mut first, &mut second].into_iter().zip(&mut seen) {
            let delivered = within(10, "a message", consumer.next()).await.expect("goes on");
            seen.push(delivered.expect("no error").id());
        }
    }
    assert_eq!(seen[0], seen[1], "both are given every message that nobody settled");

    // They settle at their own pace, which moves the one offset they share to and fro.
    let (ackers, mut settled) = ([first.acker(), second.acker()], BTreeSet::new());
    ackers[0].settle_all(seen[0].iter().copied());
    within(10, "the flush", ackers[0].flush()).await.expect("acknowledged");
    ackers[1].settle_all(seen[1][..10].iter().copied());
    settled.extend(seen[0].iter().copied());
    send(50..100).await;
    while settled.len() < 100 {
        let (who, delivered) = within(10, "a message", async {
            tokio::select! {
                delivered = first.next() => (0, delivered),
                delivered = second.next() => (1, delivered),
            }
        })
        .await;
        let id = delivered.expect("goes on").expect("no error").id();
        seen[who].push(id);
        ackers[who].settle(id);
        settled.insert(id);
    }
    ackers[1].settle_all(seen[1].iter().copied());
    for seen in &seen {
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "twice to one consumer");
    }
    for consumer in [second, first] {
        within(10, "closing", consumer.close(5 * SECOND)).await;
    }
    let group = options().group_for(&inbox).expect("valid");
    let rest = client.fetch(&inbox, &FetchOptions::group(group)).await.expect("fetched");
    let unknown: Vec<_> = rest.iter().map(|row| row.id).filter(|id| !settled.contains(id)).collect();
    assert!(unknown.is_empty(), "never handed to anybody: {unknown:?}");
}

/// Who handled which message of which conversation.
type Handled = (u32, u32, String);

struct Worker {
    agent: Agent,
    serving: Serving,
}

async fn worker(broker: &Broker, share: (u32, u32), told: &mpsc::Sender<Handled>) -> Worker {
    let builder = Mq9Connector::builder(broker.url()).inbox("pool").partition(share.0, share.1);
    let agent = start(&builder.build().expect("valid")).await;
    let told = told.clone();
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            let conversation = request.delivery().conversation.as_ref().map(ToString::to_string);
            let number = request.body().as_str().unwrap_or_default().parse()?;
            told.send((share.0, number, conversation.unwrap_or_default())).await?;
            Ok(())
        }
    };
    let serving = agent.serve(handler, ServeOptions::default()).await.expect("served");
    Worker { agent, serving }
}

async fn send_tasks(broker: &Broker, numbers: std::ops::Range<u32>) {
    let sender = start(&connector(broker, "sender")).await;
    let pool = agentchat_core::Address::parse(format!("{}/pool", broker.url())).expect("valid");
    for number in numbers {
        let talk = ConversationId::new(format!("c{}", number % 17)).expect("valid");
        sender.send(&text(&pool, number.to_string()).with_conversation(talk)).await.expect("sent");
    }
}

/// Takes notes until each of `numbers` was handled; who handled which conversation.
async fn collect(heard: &mut mpsc::Receiver<Handled>, numbers: u32) -> (Vec<Handled>, BTreeMap<String, u32>) {
    let (mut all, mut seen, mut owner) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    while seen.len() < numbers as usize {
        let handled = next(heard).await;
        note(&handled, &mut seen, &mut owner);
        all.push(handled);
    }
    (all, owner)
}

#[tokio::test]
async fn agents_with_shares_of_one_inbox_split_it_by_conversation_without_gap_or_overlap() {
    let broker = broker().await;
    let (told, mut heard) = mpsc::channel(1_000);
    let workers = [worker(&broker, (0, 2), &told).await, worker(&broker, (1, 2), &told).await];
    send_tasks(&broker, 0..200).await;
    let (all, owner) = collect(&mut heard, 200).await;
    assert_eq!(all.len(), 200, "each once");
    assert_eq!(owner.values().collect::<BTreeSet<_>>().len(), 2, "both had work: {owner:?}");
    for Worker { agent, serving } in workers {
        within(10, "closing", agent.close(CloseMode::Detach, SECOND)).await.expect("closed");
        assert_eq!(within(10, "serving", serving.wait()).await.unsettled, 0);
    }

    // Another count is other groups: the inbox is read anew, and the split is again one.
    let (told, mut heard) = mpsc::channel(1_000);
    let mut workers = Vec::new();
    for index in 0..3 {
        workers.push(worker(&broker, (index, 3), &told).await);
    }
    let (all, owner) = collect(&mut heard, 200).await;
    assert_eq!((all.len(), owner.len()), (200, 17), "each once more");
}

#[tokio::test]
async fn a_share_whose_agent_dies_waits_for_the_next_one_and_the_others_go_on() {
    let broker = broker().await;
    let (told, mut heard) = mpsc::channel(1_000);
    let _steady = worker(&broker, (0, 2), &told).await;
    let mut dying = worker(&broker, (1, 2), &told).await;
    let (mut seen, mut owner) = (BTreeSet::new(), BTreeMap::new());
    for round in 0..4 {
        let sending = tokio::spawn({
            let url = broker.url();
            async move { send_from(&url, round * 50..(round + 1) * 50).await }
        });
        for _ in 0..20 {
            note(&next(&mut heard).await, &mut seen, &mut owner);
        }
        // No farewell: connections, handlers and what was not acknowledged just go.
        drop(dying);
        dying = worker(&broker, (1, 2), &told).await;
        within(10, "sending", sending).await.expect("no panic");
    }
    while seen.len() < 200 {
        note(&next(&mut heard).await, &mut seen, &mut owner);
    }
    assert_eq!(owner.values().collect::<BTreeSet<_>>().len(), 2);
}

async fn send_from(url: &str, numbers: std::ops::Range<u32>) {
    let client = fast_client(url).await;
    for number in numbers {
        let message = Message::new(number.to_string())
            .with_header("agentchat-conversation", format!("c{}", number % 17))
            .with_header("agentchat-msg-id", format!("m-{number}"));
        client.send(&support::mailbox("pool"), &message).await.expect("sent");
    }
}

fn note((who, number, conversation): &Handled, seen: &mut BTreeSet<u32>, owner: &mut BTreeMap<String, u32>) {
    let before = owner.insert(conversation.clone(), *who);
    assert!(before.is_none_or(|before| before == *who), "{conversation} moved to another share");
    seen.insert(*number);
}
