//! What the library tells is what its page says, and nothing that is not to be told. Alone in its file: what
//! one thread logs depends on the others of a process.

#[path = "support/log.rs"]
mod log;
mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agentchat_core::{
    AckTag, Address, Agent, AgentCard, Body, CallRequest, Capabilities, CloseMode, Connector, ConversationId,
    CorrelationId, Delivery, Discovered, Error, ErrorKind, Event, Heartbeat, KeyedValue, Loopback,
    OrderGuarantee, Outbound, Query, Quota, RateLimits, Reached, Receipt, ReplayRange, Request, Resilient,
    ResilientConnector, ResilientOptions, Result, ServeOptions, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use log::Log;
use support::peer::Peer;
use support::{Fate, SECOND, Scripted, soon};

const SECRETS: [&str; 8] = [
    "body-to-hide",
    "header-to-hide",
    "conversation-to-hide",
    "key-to-hide",
    "card-to-hide",
    "question-to-hide",
    "inbox-to-hide",
    "loopback://",
];

#[tokio::test(start_paused = true)]
async fn exactly_what_the_page_says_is_told_and_no_body_header_key_or_address() {
    let log = Log::default();
    let mut lines = String::new();
    {
        let _logging = tracing::subscriber::set_default(log.clone());
        let told = [conversation().await, sending().await, holes().await];
        for event in told.into_iter().flatten() {
            writeln!(lines, "{}", serde_json::to_string(&event).expect("JSON")).expect("a string grows");
        }
        serving().await;
        replying().await;
        acknowledging().await;
        ending().await;
    }
    let told = log.told();
    for (site, field, value) in &told.values {
        let secret = SECRETS.iter().find(|secret| value.contains(**secret));
        assert!(secret.is_none(), "{site} tells a secret in {field}: {value}");
    }
    assert!(SECRETS.iter().all(|secret| !lines.contains(secret)), "{lines}");
    for event in
        ["state", "connected", "lost", "send_retried", "send_given_up", "send_parked", "rate_limited"]
    {
        assert!(lines.contains(&format!("{{\"event\":\"{event}\"")), "{event} is not among\n{lines}");
    }
    for event in ["gap", "hole_filled", "status"] {
        assert!(lines.contains(&format!("{{\"event\":\"{event}\"")), "{event} is not among\n{lines}");
    }

    let page = documented();
    let names: BTreeSet<&str> = page.keys().copied().collect();
    assert_eq!(told.sites.keys().copied().collect::<BTreeSet<_>>(), names);
    let valued: BTreeSet<(&str, &str)> = told.values.iter().map(|(site, field, _)| (*site, *field)).collect();
    for (name, (is_span, level, fields)) in &page {
        let site = &told.sites[name];
        assert_eq!((site.is_span, site.level.as_str()), (*is_span, *level), "{name}");
        assert_eq!(&site.fields, fields, "{name}");
        // A verb need not fail here for the page to be right; everything else must have been said once.
        for field in fields.iter().filter(|field| **field != "error_kind" || !is_span) {
            assert!(valued.contains(&(name, field)), "{name} never says its {field}");
        }
    }
}

#[test]
fn every_name_in_the_sources_is_on_the_page() {
    let mut names = BTreeSet::new();
    let mut folders = VecDeque::from([std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(folder) = folders.pop_front() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push_back(path);
            } else {
                let source =
                    std::fs::read_to_string(&path).expect("text").split_whitespace().collect::<String>();
                for begin in ["name:\"", "span!(INFO,\"", "span!(DEBUG,\"", "span!(\""] {
                    let found = source.split(begin).skip(1).filter_map(|rest| rest.split('"').next());
                    names.extend(found.filter(|name| name.contains('.')).map(str::to_owned));
                }
            }
        }
    }
    let page = documented();
    let page: BTreeSet<String> = page.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(names, page);
}

/// Agents talk over sessions that are cut and refused, and everything of theirs is secret.
async fn conversation() -> Vec<agentchat_core::SessionEvent> {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice-inbox-to-hide");
    let session = session(scripted.clone(), ResilientOptions::new()).await;
    let events = session.events();
    let card = AgentCard::new("alice", "card-to-hide").expect("valid");
    let alice = Agent::builder(session.clone()).card(card).start().await.expect("started");
    let bob = ResilientConnector::new(connector(&network, "bob-inbox-to-hide"), ResilientOptions::new());
    let bob = Agent::builder(bob).start().await.expect("started");
    let answer = |request: Request| async move {
        request.progress(Body::text("body-to-hide")).await?;
        request.reply(Body::text("body-to-hide")).await?;
        Ok(())
    };
    let serving = bob.serve(answer, ServeOptions::default()).await.expect("served");
    alice.discover(&Query::meaning("question-to-hide")).await.expect("asked");
    alice.put_state("key-to-hide", Body::text("body-to-hide")).await.expect("put");
    alice.state_of(alice.address(), "key-to-hide").await.expect("got");
    alice.report(&Heartbeat::new("online", SECOND)).await.expect("reported");
    scripted.change(|script| script.sends = [Fate::Lost(ErrorKind::Backpressure, Reached::No)].into());
    for _ in 0..2 {
        let request = CallRequest::new(Body::text("body-to-hide"))
            .with_header("x", "header-to-hide")
            .with_conversation(secret_conversation());
        let call = alice.call(bob.address(), request).await.expect("sent");
        soon(call.response()).await.expect("answered");
        network.cut();
    }
    tokio::time::sleep(120 * SECOND).await;
    let range = ReplayRange::new(1, 10);
    session.replay(&secret_conversation(), range).await.expect_err("the loopback has no history to give");
    session.unregister().await.expect("unregistered");
    drop(serving);
    alice.close(CloseMode::Retire, SECOND).await.expect("closed");
    bob.close(CloseMode::Detach, SECOND).await.expect("closed");
    soon(events.collect()).await
}

/// Messages that are held back, refused, and given up.
async fn sending() -> Vec<agentchat_core::SessionEvent> {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice-inbox-to-hide");
    let limits = RateLimits::new().with_per_agent(Quota::per_second(1));
    let session = session(scripted.clone(), ResilientOptions::new().with_rate(limits)).await;
    let events = session.events();
    let secret = || Outbound::new(session.address().clone(), Body::text("body-to-hide"));
    session.send(&secret()).await.expect("sent");
    session.send(&secret()).await.expect("sent");
    let refused = Fate::Lost(ErrorKind::Forbidden, Reached::Yes);
    scripted.change(|script| script.sends = [refused, refused].into());
    session.send(&secret()).await.expect_err("refused");
    session.try_send(secret()).expect("room").detach();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(session.parked().len(), 1);
    drop(session);
    soon(events.collect()).await
}

/// A network that loses messages, to agents and to calls.
async fn holes() -> Vec<agentchat_core::SessionEvent> {
    let network = Loopback::new();
    let holey = Holey { inner: connector(&network, "carol-inbox-to-hide"), history: Arc::default() };
    let session = session(holey, ResilientOptions::new()).await;
    let events = session.events();
    let carol = Agent::builder(session.clone()).start().await.expect("started");
    let serving = carol.serve(|_: Request| async { Ok(()) }, ServeOptions::default()).await.expect("served");
    let mut peer = Peer::start(&network, "peer-inbox-to-hide").await;
    for body in ["1", "found", "3", "gone", "5"] {
        let message = Outbound::new(carol.address().clone(), Body::text(body));
        peer.agent.send(&message.with_conversation(secret_conversation())).await.expect("sent");
    }
    let other = ConversationId::new("conversation-to-hide-too").expect("id");
    let request = CallRequest::new(Body::text("body-to-hide")).with_conversation(other.clone());
    let call = carol.call(peer.agent.address(), request.with_timeout(10 * SECOND)).await.expect("sent");
    let asked = peer.request().await;
    for (body, last) in [("1", false), ("gone", false), ("3", true)] {
        let mut reply = peer.reply(&asked, body, last);
        reply.conversation = Some(other.clone());
        peer.agent.send(&reply).await.expect("sent");
    }
    let error = soon(call.response()).await.expect_err("a reply is missing");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    drop((carol, session));
    soon(events.collect()).await
}

/// Messages that cannot be handled, and requests that come too late.
async fn serving() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let morgue = start(&network, "morgue").await;
    let refusing = |_: Request| async { Err("never".into()) };
    let options = ServeOptions::default().with_dead_letter(morgue.address().clone(), 2);
    let serving = bob.serve(refusing, options).await.expect("served");
    let secret = || Outbound::new(bob.address().clone(), Body::text("body-to-hide"));
    alice.send(&secret().with_header("x", "header-to-hide")).await.expect("sent");
    let nowhere = Address::parse("loopback://nowhere-inbox-to-hide").expect("valid");
    let late = secret()
        .with_correlation_id(CorrelationId::random())
        .with_reply_to(nowhere)
        .with_deadline(SystemTime::UNIX_EPOCH);
    alice.send(&late).await.expect("sent");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    let card = AgentCard::new("dave", "card-to-hide").expect("valid");
    let dave = Agent::builder(connector(&network, "dave-inbox-to-hide")).card(card);
    let _dave = dave.start().await.expect("started");
    network.cut();
    tokio::time::sleep(120 * SECOND).await;
}

/// A peer that repeats a reply, and goes on behind the last one.
async fn replying() {
    let network = Loopback::new();
    let asker = start(&network, "asker").await;
    let mut peer = Peer::start(&network, "peer-inbox-to-hide").await;
    let mut call = support::peer::call(&asker, &peer, 10 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, [1, 1, 2]).await;
    peer.finish(&request, 3).await;
    assert_eq!(support::peer::rest(&mut call).await, (vec![1, 2, 3], None));
    peer.answer(&request, [4]).await;
    tokio::time::sleep(SECOND).await;
}

/// Acknowledgements that fail, at an agent and at a session.
async fn acknowledging() {
    let network = Loopback::new();
    let (alice, scripted) = (start(&network, "alice").await, Scripted::new(&network, "bob-inbox-to-hide"));
    let bob = scripted.start().await;
    scripted.change(|script| script.acks = [ErrorKind::Timeout, ErrorKind::Disconnected].into());
    alice.send(&Outbound::new(bob.address().clone(), Body::text("body-to-hide"))).await.expect("sent");
    let serving = bob.serve(|_: Request| async { Ok(()) }, ServeOptions::default()).await.expect("served");
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unacknowledged, 1);

    let scripted = Scripted::new(&network, "erin-inbox-to-hide");
    let session = session(scripted.clone(), ResilientOptions::new()).await;
    let note = Outbound::new(session.address().clone(), Body::text("body-to-hide"));
    session.send(&note).await.expect("sent");
    scripted.change(|script| {
        script.ack_takes = SECOND / 2;
        script.acks = vec![ErrorKind::Timeout; 2].into();
    });
    let mut events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let Some(Ok(Event::Message(delivery))) = soon(events.next()).await else { panic!("no message") };
    session.ack(&[delivery.tag]).await.expect("settled");
    tokio::time::sleep(SECOND / 10).await;
    drop(events);
    tokio::time::sleep(10 * SECOND).await;
}

/// A session whose credentials are refused.
async fn ending() {
    let network = Loopback::new();
    let fickle = Fickle { inner: connector(&network, "frank-inbox-to-hide"), connects: Arc::default() };
    let session = session(fickle, ResilientOptions::new()).await;
    network.cut();
    session
        .send(&Outbound::new(session.address().clone(), Body::text("body-to-hide")))
        .await
        .expect_err("ended");
}

/// Connects once.
#[derive(Debug)]
struct Fickle {
    inner: agentchat_core::LoopbackConnector,
    connects: Arc<Mutex<u32>>,
}

#[async_trait]
impl Connector for Fickle {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let again = std::mem::replace(&mut *self.connects.lock().expect("not poisoned"), 1);
        if again > 0 {
            return Err(Error::new(ErrorKind::Unauthorized, "connect", "the credentials were refused"));
        }
        self.inner.connect().await
    }
}

/// Loses each message that says it is gone or found; the latter are in its history.
#[derive(Debug, Clone)]
struct Holey {
    inner: agentchat_core::LoopbackConnector,
    history: Arc<Mutex<Vec<Delivery>>>,
}

#[derive(Debug)]
struct HoleyTransport {
    inner: Arc<dyn Transport>,
    capabilities: Capabilities,
    history: Arc<Mutex<Vec<Delivery>>>,
}

#[async_trait]
impl Connector for Holey {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = self.inner.connect().await?;
        let mut capabilities = inner.capabilities().clone();
        (capabilities.order, capabilities.replay) = (OrderGuarantee::Conversation, true);
        Ok(Arc::new(HoleyTransport { inner, capabilities, history: Arc::clone(&self.history) }))
    }
}

#[async_trait]
impl Transport for HoleyTransport {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
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
        self.inner.send(message).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        let opened = self.inner.subscribe(options).await?;
        let history = Arc::clone(&self.history);
        let events = opened.events.filter(move |event| {
            let body = match event {
                Ok(Event::Message(delivery)) => delivery.body.as_str(),
                _ => None,
            };
            if let (Some("found"), Ok(Event::Message(delivery))) = (body, event) {
                history.lock().expect("not poisoned").push(delivery.clone());
            }
            std::future::ready(!matches!(body, Some("found" | "gone")))
        });
        Ok(Subscription::new(opened.address, Box::pin(events)))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.inner.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.inner.close(mode).await
    }

    async fn replay(&self, of: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        let history = self.history.lock().expect("not poisoned");
        let of_it = |row: &&Delivery| row.conversation.as_ref() == Some(of) && row.seq >= Some(range.from);
        Ok(history.iter().filter(of_it).cloned().collect())
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.inner.put(at, key, value).await
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.inner.get(at, key).await
    }
}

/// The tables of the page: by name, whether it is a span, its level and its fields.
fn documented() -> BTreeMap<&'static str, (bool, &'static str, BTreeSet<&'static str>)> {
    let page = include_str!("../src/telemetry/mod.rs");
    let mut names = BTreeMap::new();
    let mut spans = false;
    for line in page.lines().filter_map(|line| line.strip_prefix("//! ")) {
        match line {
            "# Spans" => spans = true,
            "# Events" => spans = false,
            _ => {}
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let fields = cells[2].split(", ").filter(|field| !field.is_empty()).collect();
        let name = cells[0].trim_end_matches('`');
        assert!(names.insert(name, (spans, cells[1], fields)).is_none(), "{name} is there twice");
    }
    assert!(names.len() > 40, "the tables were found");
    names
}

fn connector(network: &Loopback, name: &str) -> agentchat_core::LoopbackConnector {
    network.connector(name).expect("a valid name")
}

async fn session(connector: impl Connector, options: ResilientOptions) -> Resilient {
    let options = options.with_seed(1).with_call_timeout(Duration::from_secs(20));
    soon(Resilient::connect(connector, options)).await.expect("connected")
}

async fn start(network: &Loopback, name: &str) -> Agent {
    support::start(network, &format!("{name}-inbox-to-hide")).await
}

fn secret_conversation() -> ConversationId {
    ConversationId::new("conversation-to-hide").expect("id")
}
