//! A session over a network or a store of somebody else that panics: nobody waits for ever, and all are told.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::SystemTime;

use agentchat_core::store::{
    DedupStore, MemoryStore, OutboxStore, ParkedReason, ParkedSend, SettledId, StoredSend,
};
use agentchat_core::{
    AckTag, Address, AgentCard, BackoffPolicy, Body, Capabilities, ClientMsgId, CloseMode, CloseReason,
    Connector, Discovered, ErrorKind, Heartbeat, Loopback, LoopbackConnector, Outbound, Query, Receipt,
    Resilient, ResilientOptions, Result, SessionState, Stores, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use support::{SECOND, soon};

/// What panics, and at which of its calls.
#[derive(Debug, Clone)]
struct Bomb {
    what: &'static str,
    fuse: Arc<AtomicI32>,
}

impl Bomb {
    fn new(what: &'static str, fuse: i32) -> Self {
        Self { what, fuse: Arc::new(AtomicI32::new(fuse)) }
    }

    /// Whether it panicked.
    fn went_off(&self) -> bool {
        self.fuse.load(Ordering::SeqCst) <= 0
    }

    fn tick(&self, what: &str) {
        if what == self.what && self.fuse.fetch_sub(1, Ordering::SeqCst) == 1 {
            panic!("{what} panics");
        }
    }
}

#[derive(Debug)]
struct Network(LoopbackConnector, Bomb);

#[derive(Debug)]
struct Attached(Arc<dyn Transport>, Bomb);

#[async_trait]
impl Connector for Network {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        self.1.tick("connect");
        Ok(Arc::new(Attached(self.0.connect().await?, self.1.clone())))
    }
}

#[async_trait]
#[rustfmt::skip]
impl Transport for Attached {
    fn capabilities(&self) -> &Capabilities { self.0.capabilities() }
    fn address(&self) -> &Address { self.0.address() }
    async fn register(&self, card: &AgentCard) -> Result<()> { self.1.tick("register"); self.0.register(card).await }
    async fn unregister(&self) -> Result<()> { self.0.unregister().await }
    async fn report(&self, beat: &Heartbeat) -> Result<()> { self.0.report(beat).await }
    async fn discover(&self, query: &Query) -> Result<Discovered> { self.1.tick("discover"); self.0.discover(query).await }
    async fn send(&self, message: &Outbound) -> Result<Receipt> { self.1.tick("send"); self.0.send(message).await }
    async fn ack(&self, tags: &[AckTag]) -> Result<()> { self.1.tick("ack"); self.0.ack(tags).await }
    async fn close(&self, mode: CloseMode) -> Result<()> { self.1.tick("close"); self.0.close(mode).await }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.1.tick("subscribe");
        let mut opened = self.0.subscribe(options).await?;
        let bomb = self.1.clone();
        opened.events = Box::pin(opened.events.inspect(move |_| bomb.tick("event")));
        Ok(opened)
    }
}

#[derive(Debug)]
struct Store(MemoryStore, Bomb);

#[async_trait]
#[rustfmt::skip]
impl OutboxStore for Store {
    async fn save(&self, send: &StoredSend) -> Result<()> { self.1.tick("save"); self.0.save(send).await }
    async fn remove(&self, id: &ClientMsgId) -> Result<()> { self.1.tick("remove"); self.0.remove(id).await }
    async fn load(&self) -> Result<Vec<StoredSend>> { self.0.load().await }
    async fn park(&self, id: &ClientMsgId, why: &ParkedReason) -> Result<()> { self.0.park(id, why).await }
    async fn parked(&self) -> Result<Vec<ParkedSend>> { self.0.parked().await }
    async fn unpark(&self, id: &ClientMsgId) -> Result<Option<StoredSend>> { self.0.unpark(id).await }
}

#[async_trait]
#[rustfmt::skip]
impl DedupStore for Store {
    async fn insert(&self, id: &str, at: SystemTime) -> Result<()> { self.1.tick("insert"); self.0.insert(id, at).await }
    async fn contains(&self, id: &str) -> Result<bool> { self.0.contains(id).await }
    async fn newest(&self, count: usize) -> Result<Vec<SettledId>> { self.0.newest(count).await }
    async fn forget_older_than(&self, time: SystemTime) -> Result<()> { self.0.forget_older_than(time).await }
}

/// One of everything a session does, each of which must end.
async fn live(session: &Resilient, network: &Loopback) {
    let to = session.address().clone();
    let opened = soon(session.subscribe(SubscribeOptions::own())).await;
    for number in 0..4 {
        let note = Outbound::new(to.clone(), Body::text(number.to_string()));
        let _ = soon(session.send(&note)).await;
        if let Ok(sending) = session.try_send(Outbound::new(to.clone(), Body::text("queued"))) {
            let _ = soon(sending).await;
        }
        if number == 1 {
            network.cut();
            tokio::time::sleep(SECOND).await;
        }
    }
    if let Ok(mut opened) = opened {
        while let Ok(Some(event)) = tokio::time::timeout(60 * SECOND, opened.events.next()).await {
            if let Ok(agentchat_core::Event::Message(delivery)) = event {
                // Whoever settles calls the store, and so hears its panic.
                let settling = tokio::spawn({
                    let (session, tag) = (session.clone(), delivery.tag);
                    async move { session.ack(&[tag]).await }
                });
                let _ = soon(settling).await;
            }
        }
    }
    let card = AgentCard::new("worker", "panics").expect("a card");
    let _ = soon(session.register(&card)).await;
    let _ = soon(session.discover(&Query::name("worker"))).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_panics_below_a_session_every_call_ends_and_so_does_closing() {
    std::panic::set_hook(Box::new(|_| {}));
    let calls = [
        "connect",
        "register",
        "discover",
        "send",
        "ack",
        "close",
        "subscribe",
        "event",
        "save",
        "remove",
        "insert",
    ];
    for what in calls {
        for fuse in 1..4 {
            if what == "connect" && fuse == 1 {
                // The first connection is made within the call that makes the session.
                continue;
            }
            let told = Told(what, fuse);
            let (network, bomb) = (Loopback::new(), Bomb::new(what, fuse));
            let connector = Network(network.connector("worker").expect("a name"), bomb.clone());
            let plain = BackoffPolicy::new().with_jitter(0.0);
            let store = Arc::new(Store(MemoryStore::new(), bomb.clone()));
            let stores = Stores::none().with_outbox(Arc::clone(&store)).with_dedup(store);
            let options = ResilientOptions::new()
                .with_skip_own(false)
                .with_reconnect(plain)
                .with_retry(plain)
                .with_send_timeout(30 * SECOND)
                .with_stores(stores);
            let session = soon(Resilient::connect(connector, options)).await.expect("connected");
            live(&session, &network).await;
            let _ = soon(session.close(CloseMode::Detach)).await;
            let SessionState::Closed(why) = session.state() else { panic!("{:?}", session.state()) };
            if bomb.went_off() {
                let failed = matches!(why, CloseReason::Failed { kind: ErrorKind::Unexpected, .. });
                assert!(failed && why.to_string().contains("panicked"), "{why:?}");
            } else {
                assert_eq!(why, CloseReason::Requested, "the call was never made");
            }
            drop(told);
        }
    }
}

struct Told(&'static str, i32);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("call {} of {} panicked", self.1, self.0);
        }
    }
}
