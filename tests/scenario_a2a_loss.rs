//! A network that loses replies without a word: the caller reads what it missed from the task's snapshot.

#[path = "support/a2a/mod.rs"]
mod a2a;

use std::sync::Arc;
use std::time::Duration;

use a2a::{Heard, uncoalesced};
use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, TurnHandle};
use a2a_envelope::stream::{ReaderItem, ReaderOptions};
use a2a_envelope::task::TaskState;
use agentchat_core::{
    AckTag, Address, Agent, AgentCard, Body, Capabilities, CloseMode, Connector, Discovered, Heartbeat,
    KeyedValue, Loopback, LoopbackConnector, MessageId, Outbound, Query, Receipt, Result, SendOutcome,
    SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;

/// Says that it sent what it lost.
#[derive(Debug, Clone)]
struct Loses<T> {
    inner: T,
    lost: fn(u64, bool) -> bool,
}

#[async_trait]
impl Connector for Loses<LoopbackConnector> {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(Loses { inner: self.inner.connect().await?, lost: self.lost }))
    }
}

#[async_trait]
impl Transport for Loses<Arc<dyn Transport>> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.inner.register(card).await
    }

    async fn unregister(&self) -> Result<()> {
        self.inner.unregister().await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.inner.report(heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.inner.discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let seq = message.headers.get("amb-seq").and_then(|seq| seq.parse().ok());
        let last = message.headers.get("mq9-a2a-last").is_some();
        if seq.is_some_and(|seq| (self.lost)(seq, last)) {
            return Ok(Receipt::new(SendOutcome::Accepted(MessageId::new("lost")?)));
        }
        self.inner.send(message).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.inner.subscribe(options).await
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.inner.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.inner.close(mode).await
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.inner.put(at, key, value).await
    }

    async fn get(&self, of: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.inner.get(of, key).await
    }
}

/// Asks over a network that loses what `lost` says, and gives whether the caller had to read the snapshot.
async fn ask(lost: fn(u64, bool) -> bool) -> bool {
    let network = Loopback::new();
    let place = Loses { inner: network.connector("server").unwrap(), lost };
    let server = Agent::builder(place).start().await.unwrap();
    let caller = Agent::builder(network.connector("caller").unwrap()).start().await.unwrap();
    let count = |turn: TurnHandle| async move {
        for number in 0..40 {
            turn.text("numbers", &format!("{number} ")).await?;
        }
        Ok(())
    };
    let _serving = A2aServer::new(count).with_options(uncoalesced()).serve(&server).await.unwrap();
    let reader = ReaderOptions::default().with_silent_after(Some(Duration::from_secs(2)));
    let request = A2aRequest::text("count").with_streaming().with_reader(reader);
    let heard = Heard::default();
    let client = A2aClient::new(&caller).with_observer(heard.clone());
    let mut call = client.call(server.address(), request).await.unwrap();
    let mut resynced = false;
    while let Some(item) = call.next().await {
        let item = item.unwrap();
        assert!(!matches!(item, ReaderItem::Gap { .. }), "a loss that was not made good");
        resynced |= matches!(item, ReaderItem::Resynced { .. });
    }
    let answer = call.answer().await.unwrap();
    let whole: String = (0..40).map(|number| format!("{number} ")).collect();
    assert_eq!((answer.text(), answer.state()), (whole, Some(&TaskState::Completed)));
    assert_eq!(heard.has("stream.resynced"), resynced);
    resynced
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_in_the_middle_is_read_from_the_snapshot() {
    assert!(!ask(|_, _| false).await, "nothing is lost, nothing is read");
    assert!(ask(|seq, last| seq % 7 == 3 && !last).await);
    assert!(ask(|seq, last| seq > 1 && !last).await, "all but the first and the last");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_lost_is_read_from_the_snapshot() {
    assert!(ask(|_, last| last).await);
    assert!(ask(|seq, _| seq > 5).await);
}
