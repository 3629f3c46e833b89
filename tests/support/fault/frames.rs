//! What stands between an attachment and its network: each frame that crosses can be let through, cut off,
//! or repeated.
//!
//! A frame is a request on its way there, an answer on its way back, or an event of a subscription.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, SystemTime};

use agentchat_core::{
    AckTag, Address, AgentCard, Body, Capabilities, CloseMode, Connector, ConversationId, Delivery,
    Discovered, Error, ErrorKind, Event, EventStream, Heartbeat, KeyedValue, Outbound, Query, Receipt,
    ReplayRange, Result, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

/// Where a frame is when it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// A request, or an event, that has not arrived.
    Before,
    /// A request has arrived; its answer has not.
    After,
}

/// A frame that is about to cross.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Whose attachment it belongs to.
    pub side: &'a str,
    pub verb: &'static str,
    pub point: Point,
    /// The texts of the messages it is about.
    pub texts: &'a [String],
    /// How many frames crossed before it, on the whole wire.
    pub number: u64,
}

/// What happens to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// The connection it is on breaks before it arrives.
    Cut,
    /// All connections break.
    CutAll,
}

/// Gives the hours by which a clock is off.
type Skew = Box<dyn FnMut() -> i64 + Send>;
type Judge = Box<dyn FnMut(&Frame<'_>) -> Fate + Send>;

/// All connections of a network, and what happens to their frames.
#[derive(Clone)]
pub struct Wire {
    state: Arc<Mutex<State>>,
}

struct State {
    judge: Judge,
    /// How often each request is made and each event is delivered.
    times: usize,
    latency: Duration,
    /// How far the clocks of the network and of the receiver are off, for each delivery anew.
    skew: Option<Skew>,
    /// What is under way when its connection breaks gets no answer, instead of an error.
    silent: bool,
    /// The network below is told of no bounds.
    greedy: bool,
    /// Subscriptions that are alive.
    readings: usize,
    frames: u64,
    cuts: u64,
    connects: HashMap<String, u64>,
    open: Vec<Weak<watch::Sender<bool>>>,
    held: HashMap<String, Held>,
}

/// What one side was given and has not acknowledged.
#[derive(Debug, Default, Clone)]
pub struct Held {
    tags: HashMap<AckTag, usize>,
    bytes: usize,
    pub most_messages: usize,
    pub most_bytes: usize,
}

impl Wire {
    /// A wire on which `judge` decides about each frame.
    pub fn new(judge: impl FnMut(&Frame<'_>) -> Fate + Send + 'static) -> Self {
        let state = State {
            judge: Box::new(judge),
            times: 1,
            latency: Duration::ZERO,
            skew: None,
            silent: false,
            greedy: false,
            readings: 0,
            frames: 0,
            cuts: 0,
            connects: HashMap::new(),
            open: Vec::new(),
            held: HashMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A wire that does `fate` to frame `number`.
    pub fn at(number: u64, fate: Fate) -> Self {
        Self::new(move |frame| if frame.number == number { fate } else { Fate::Pass })
    }

    /// A wire that lets everything through.
    pub fn clear() -> Self {
        Self::new(|_| Fate::Pass)
    }

    /// Makes each request and delivers each event so often.
    pub fn repeating(self, times: usize) -> Self {
        self.lock().times = times;
        self
    }

    /// Lets each frame take so long.
    pub fn with_latency(self, latency: Duration) -> Self {
        self.lock().latency = latency;
        self
    }

    /// Leaves what is under way without an answer when its connection breaks.
    pub fn silent(self) -> Self {
        self.lock().silent = true;
        self
    }

    /// Takes the bounds of subscriptions away, so that only what is above the network keeps them.
    pub fn greedy(self) -> Self {
        self.lock().greedy = true;
        self
    }

    /// How many subscriptions are alive.
    pub fn readings(&self) -> usize {
        self.lock().readings
    }

    /// Stores and receives each message at a time of day that is off by so many hours.
    pub fn with_skew(self, hours: impl FnMut() -> i64 + Send + 'static) -> Self {
        self.lock().skew = Some(Box::new(hours));
        self
    }

    /// Decides otherwise from now on.
    pub fn judge(&self, judge: impl FnMut(&Frame<'_>) -> Fate + Send + 'static) {
        self.lock().judge = Box::new(judge);
    }

    /// Puts the wire before `inner`, for the side of that name.
    pub fn connector(&self, side: &str, inner: impl Connector) -> Framed {
        Framed { wire: self.clone(), side: side.to_owned(), inner: Arc::new(inner) }
    }

    pub fn cut_all(&self) {
        self.lock().cut_all();
    }

    pub fn frames(&self) -> u64 {
        self.lock().frames
    }

    pub fn cuts(&self) -> u64 {
        self.lock().cuts
    }

    /// How often `side` tried to connect.
    pub fn connects(&self, side: &str) -> u64 {
        self.lock().connects.get(side).copied().unwrap_or_default()
    }

    /// What `side` was given and has not acknowledged, and the most of it there ever was.
    pub fn held(&self, side: &str) -> Held {
        self.lock().held.get(side).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }
}

impl Held {
    pub fn messages(&self) -> usize {
        self.tags.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl State {
    fn cut_all(&mut self) {
        self.cuts += 1;
        for open in self.open.drain(..).filter_map(|open| open.upgrade()) {
            open.send_replace(true);
        }
    }

    fn decide(&mut self, side: &str, verb: &'static str, point: Point, texts: &[String]) -> Fate {
        let number = self.frames;
        self.frames += 1;
        (self.judge)(&Frame { side, verb, point, texts, number })
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

/// A connector behind a [`Wire`].
#[derive(Debug, Clone)]
pub struct Framed {
    wire: Wire,
    side: String,
    inner: Arc<dyn Connector>,
}

#[async_trait]
impl Connector for Framed {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let link = Link::open(&self.wire, &self.side);
        *self.wire.lock().connects.entry(self.side.clone()).or_default() += 1;
        link.cross("connect", Point::Before, &[]).await?;
        let inner = self.inner.connect().await?;
        link.cross("connect", Point::After, &[]).await?;
        Ok(Arc::new(FramedTransport { link, inner }))
    }
}

/// One connection.
#[derive(Debug, Clone)]
struct Link {
    wire: Wire,
    side: String,
    cut: Arc<watch::Sender<bool>>,
    /// What each delivery of this connection said.
    texts: Arc<Mutex<HashMap<AckTag, String>>>,
}

impl Link {
    fn open(wire: &Wire, side: &str) -> Self {
        let cut = Arc::new(watch::Sender::new(false));
        let mut state = wire.lock();
        state.open.retain(|open| open.strong_count() > 0);
        state.open.push(Arc::downgrade(&cut));
        // What an earlier connection held comes again.
        let held = state.held.entry(side.to_owned()).or_default();
        held.tags.clear();
        held.bytes = 0;
        drop(state);
        Self { wire: wire.clone(), side: side.to_owned(), cut, texts: Arc::default() }
    }

    /// Returns once the connection is cut.
    async fn broken(&self) {
        let mut cut = self.cut.subscribe();
        let _ = cut.wait_for(|cut| *cut).await;
    }

    async fn cross(&self, verb: &'static str, point: Point, texts: &[String]) -> Result<()> {
        let latency = self.wire.lock().latency;
        if !latency.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(latency) => {}
                () = self.broken() => {}
            }
        }
        if *self.cut.borrow() {
            return Err(disconnected(verb));
        }
        {
            let mut state = self.wire.lock();
            match state.decide(&self.side, verb, point, texts) {
                Fate::Pass => return Ok(()),
                Fate::Cut => state.cuts += 1,
                Fate::CutAll => state.cut_all(),
            }
            self.cut.send_replace(true);
        }
        Err(self.lost(verb).await)
    }

    /// What is under way on a connection that has broken: a subscription and a connect are told.
    async fn lost(&self, verb: &'static str) -> Error {
        let told = matches!(verb, "deliver" | "subscribe" | "connect");
        if self.wire.lock().silent && !told {
            std::future::pending::<()>().await;
        }
        disconnected(verb)
    }

    async fn request<T, F>(&self, verb: &'static str, texts: &[String], call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.cross(verb, Point::Before, texts).await?;
        let times = self.wire.lock().times;
        for _ in 1..times {
            let _ = call().await;
        }
        let answer = tokio::select! {
            answer = call() => answer,
            () = self.broken() => return Err(self.lost(verb).await),
        };
        self.cross(verb, Point::After, texts).await?;
        answer
    }

    fn took(&self, delivery: &Delivery) {
        let size = delivery.size();
        self.texts.lock().expect("no panic").insert(delivery.tag.clone(), said(delivery));
        let mut state = self.wire.lock();
        let held = state.held.entry(self.side.clone()).or_default();
        if held.tags.insert(delivery.tag.clone(), size).is_none() {
            held.bytes += size;
        }
        held.most_messages = held.most_messages.max(held.tags.len());
        held.most_bytes = held.most_bytes.max(held.bytes);
    }

    fn gave_back(&self, tags: &[AckTag]) {
        let mut state = self.wire.lock();
        let held = state.held.entry(self.side.clone()).or_default();
        for size in tags.iter().filter_map(|tag| held.tags.remove(tag)).collect::<Vec<_>>() {
            held.bytes -= size;
        }
    }
}

#[derive(Debug)]
struct FramedTransport {
    link: Link,
    inner: Arc<dyn Transport>,
}

#[async_trait]
impl Transport for FramedTransport {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.link.request("register", &[], || self.inner.register(card)).await
    }

    async fn unregister(&self) -> Result<()> {
        self.link.request("unregister", &[], || self.inner.unregister()).await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.link.request("report", &[], || self.inner.report(heartbeat)).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.link.request("discover", &[], || self.inner.discover(query)).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let texts = [message.body.as_str().unwrap_or_default().to_owned()];
        self.link.request("send", &texts, || self.inner.send(message)).await
    }

    async fn subscribe(&self, mut options: SubscribeOptions) -> Result<Subscription> {
        // Once only: a second reader of one inbox is another matter.
        self.link.cross("subscribe", Point::Before, &[]).await?;
        if self.link.wire.lock().greedy {
            options = options.with_max_unsettled(usize::MAX).with_max_unsettled_bytes(usize::MAX);
        }
        let opened = self.inner.subscribe(options).await?;
        self.link.cross("subscribe", Point::After, &[]).await?;
        self.link.wire.lock().readings += 1;
        let events = Reading { link: self.link.clone(), inner: Some(opened.events), again: Vec::new() };
        Ok(Subscription::new(opened.address, Box::pin(stream::unfold(Some(events), next_event))))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        let texts: Vec<String> = {
            let known = self.link.texts.lock().expect("no panic");
            tags.iter().filter_map(|tag| known.get(tag).cloned()).collect()
        };
        self.link.request("ack", &texts, || self.inner.ack(tags)).await?;
        self.link.gave_back(tags);
        Ok(())
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.link.request("close", &[], || self.inner.close(mode)).await
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        self.link.request("replay", &[], || self.inner.replay(conversation, range)).await
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.link.request("put", &[], || self.inner.put(at, key, value.clone())).await
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.link.request("get", &[], || self.inner.get(at, key)).await
    }
}

struct Reading {
    link: Link,
    inner: Option<EventStream>,
    /// What is still to be delivered again.
    again: Vec<Event>,
}

impl Reading {
    async fn next(&mut self) -> Result<Event> {
        if let Some(event) = self.again.pop() {
            return Ok(event);
        }
        let inner = self.inner.as_mut().ok_or_else(|| disconnected("subscribe"))?;
        let item = tokio::select! {
            item = inner.next() => item,
            () = self.link.broken() => None,
        };
        let mut event = item.unwrap_or_else(|| Err(disconnected("subscribe")))?;
        if let (Event::Message(delivery), Some(skew)) = (&mut event, &mut self.link.wire.lock().skew) {
            delivery.created = delivery.created.map(|at| off(at, skew()));
            delivery.received = off(delivery.received, skew());
        }
        let texts = match &event {
            Event::Message(delivery) => vec![said(delivery)],
            _ => Vec::new(),
        };
        self.link.cross("deliver", Point::Before, &texts).await?;
        if let Event::Message(delivery) = &event {
            self.link.took(delivery);
            let times = self.link.wire.lock().times;
            self.again = vec![event.clone(); times - 1];
        }
        Ok(event)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.link.wire.lock().readings -= 1;
    }
}

async fn next_event(reading: Option<Reading>) -> Option<(Result<Event>, Option<Reading>)> {
    let mut reading = reading?;
    match reading.next().await {
        Ok(event) => Some((Ok(event), Some(reading))),
        Err(error) => Some((Err(error), None)),
    }
}

fn off(at: SystemTime, hours: i64) -> SystemTime {
    let by = Duration::from_secs(3_600) * u32::try_from(hours.unsigned_abs()).expect("some hours");
    if hours < 0 { at - by } else { at + by }
}

fn said(delivery: &Delivery) -> String {
    delivery.body.as_str().unwrap_or_default().to_owned()
}

fn disconnected(verb: &'static str) -> Error {
    Error::new(ErrorKind::Disconnected, verb, "the frame was cut")
}
