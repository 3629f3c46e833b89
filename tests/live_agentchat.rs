//! The same promises against a real AgentChat service, between two accounts of yours:
//!
//! ```sh
//! AGENTCHAT_LIVE_URL=https://api.agentchat.me AGENTCHAT_LIVE_KEY_A=… AGENTCHAT_LIVE_KEY_B=… \
//!     cargo test --test live_agentchat
//! ```
//!
//! Without them the live test says so and passes. Take two accounts made for this: a run sends some ten
//! messages between them and acknowledges those alone, but a service without acknowledgements counts whatever
//! waits for them as delivered. The same tour is held over the double in both of its profiles.

mod support;

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::conformance::print_skipped;
use agentchat_core::{
    AckGuarantee, Body, CloseMode, Connector, Delivery, Event, EventStream, Outbound, SendOutcome,
    SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use support::within;
use transport_ws::testing::{AgentChatServer, Profile};
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

#[tokio::test]
async fn a_tour_of_a_real_service() {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = ["AGENTCHAT_LIVE_URL", "AGENTCHAT_LIVE_KEY_A", "AGENTCHAT_LIVE_KEY_B"];
    let [Some(url), Some(a), Some(b)] = names.map(set) else {
        return print_skipped("a_tour_of_a_real_service", "AGENTCHAT_LIVE_URL and two keys name no service");
    };
    tour(&url, &a, &b).await;
}

#[tokio::test]
async fn the_tour_holds_over_the_double() {
    for profile in [Profile::Current, Profile::Legacy] {
        let server = AgentChatServer::builder().profile(profile).start().await.expect("a free port");
        let (a, b) = (server.agent("alice"), server.agent("bob"));
        // Twice, as somebody would run it.
        for _ in 0..2 {
            tour(&server.base_url(), &a, &b).await;
        }
    }
}

/// An account, and what this run is called, so that other messages are told apart.
struct Account {
    connector: AgentChatConnector,
    run: String,
}

impl Account {
    fn new(url: &str, key: &str, run: &str) -> Self {
        let key = ApiKey::new(key).expect("a usable key");
        let config = AgentChatConfig::builder(key).with_base_url(url).build().expect("a usable URL");
        let connector = AgentChatConnector::new(config).expect("a connector");
        Self { connector, run: run.to_owned() }
    }

    async fn attach(&self) -> Arc<dyn Transport> {
        within(30, "attaching", self.connector.connect()).await.expect("the service takes the key")
    }

    /// Reads up to the end of what waited: this run's own messages.
    async fn backlog(&self, events: &mut EventStream) -> Vec<Delivery> {
        let mut found = Vec::new();
        loop {
            match within(60, "the end of what waits", events.next())
                .await
                .expect("goes on")
                .expect("no error")
            {
                Event::Message(delivery) if self.is_ours(&delivery) => found.push(delivery),
                Event::CaughtUp => return found,
                _ => {}
            }
        }
    }

    async fn next(&self, events: &mut EventStream) -> Delivery {
        loop {
            let event = within(30, "the next message", events.next()).await.expect("goes on");
            if let Event::Message(delivery) = event.expect("no error")
                && self.is_ours(&delivery)
            {
                return delivery;
            }
        }
    }

    fn is_ours(&self, delivery: &Delivery) -> bool {
        delivery.headers.get("live-run") == Some(&self.run)
    }

    fn says(&self, to: &Arc<dyn Transport>, text: &str) -> Outbound {
        Outbound::new(to.address().clone(), Body::text(text)).with_header("live-run", &self.run)
    }
}

async fn read(of: &Arc<dyn Transport>) -> EventStream {
    // Whatever else waits stays unsettled, and must not use the credit up.
    let options = SubscribeOptions::own().with_max_unsettled(100_000).with_max_unsettled_bytes(1 << 30);
    of.subscribe(options).await.expect("read").events
}

fn words(of: &[Delivery]) -> Vec<&str> {
    of.iter().map(|delivery| delivery.body.as_str().expect("text")).collect()
}

async fn tour(url: &str, key_a: &str, key_b: &str) {
    let run = format!("{:016x}", fastrand::u64(..));
    let (a, b) = (Account::new(url, key_a, &run), Account::new(url, key_b, &run));
    let (alice, bob) = (a.attach().await, b.attach().await);
    assert_ne!(alice.address(), bob.address(), "two accounts");
    let (mut hers, mut his) = (read(&alice).await, read(&bob).await);
    a.backlog(&mut hers).await;
    b.backlog(&mut his).await;

    // A first message may have to be answered before the second one, also one of an earlier run.
    let opened = alice.send(&a.says(&bob, "hello")).await;
    assert!(opened.is_ok() || opened.is_err_and(|error| error.code() == Some("AWAITING_REPLY")));
    bob.send(&b.says(&alice, "hello yourself")).await.expect("accepted");
    let answer = a.next(&mut hers).await;
    assert_eq!(words(std::slice::from_ref(&answer)), ["hello yourself"]);
    assert_eq!(answer.sender.as_ref(), Some(bob.address()));
    alice.ack(&[answer.tag]).await.expect("acknowledged");

    live_and_repeated(&a, &alice, &b, &bob, &mut his).await;
    caught_up_with(&a, &alice, &b, bob, his).await;
    within(30, "closing", alice.close(CloseMode::Detach)).await.expect("closed");
}

/// Messages arrive in order, each once, also one that is sent twice under its id.
async fn live_and_repeated(
    a: &Account,
    alice: &Arc<dyn Transport>,
    b: &Account,
    bob: &Arc<dyn Transport>,
    his: &mut EventStream,
) {
    let repeated = a.says(bob, "one");
    let first = alice.send(&repeated).await.expect("accepted");
    let again = alice.send(&repeated).await.expect("known");
    assert!(matches!(again.outcome, SendOutcome::Duplicate(_)), "{again:?}");
    assert_eq!((first.message_id(), first.seq), (again.message_id(), again.seq));
    let second = alice.send(&a.says(bob, "two")).await.expect("accepted");
    assert_eq!(second.seq, first.seq.map(|seq| seq + 1), "the repetition took no number");
    let mut found = Vec::new();
    while words(&found).last() != Some(&"two") {
        found.push(b.next(his).await);
    }
    found.retain(|delivery| delivery.body.as_str() != Some("hello"));
    assert_eq!(words(&found), ["one", "two"]);
    assert_eq!(found[0].client_msg_id.as_ref(), Some(&repeated.client_msg_id));
}

/// What is sent to somebody who is away waits, and is gone once it is acknowledged.
async fn caught_up_with(
    a: &Account,
    alice: &Arc<dyn Transport>,
    b: &Account,
    bob: Arc<dyn Transport>,
    his: EventStream,
) {
    drop(his);
    within(30, "closing", bob.close(CloseMode::Detach)).await.expect("closed");
    for text in ["three", "four", "five"] {
        alice.send(&a.says(&bob, text)).await.expect("accepted");
    }
    let bob = b.attach().await;
    let found = b.backlog(&mut read(&bob).await).await;
    let waited = words(&found);
    assert!(waited.ends_with(&["three", "four", "five"]), "{waited:?}");
    if bob.capabilities().ack == AckGuarantee::None {
        return;
    }
    // Nothing before them was acknowledged, so it came again.
    assert!(waited.contains(&"one") && waited.contains(&"two"), "{waited:?}");
    let tags: Vec<_> = found.iter().map(|delivery| delivery.tag.clone()).collect();
    bob.ack(&tags).await.expect("acknowledged");
    within(30, "closing", bob.close(CloseMode::Detach)).await.expect("every acknowledgement is written");
    // The service takes note of them in its own time.
    let mut left = found;
    for _ in 0..20 {
        let bob = b.attach().await;
        left = b.backlog(&mut read(&bob).await).await;
        within(30, "closing", bob.close(CloseMode::Detach)).await.expect("closed");
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(left.is_empty(), "acknowledged, and there again: {:?}", words(&left));
}
