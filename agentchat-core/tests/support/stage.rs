//! A network that plays what the test says: each row, receipt and answer of history is put there by hand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::{
    AckGuarantee, AckTag, Address, AgentCard, Body, Capabilities, ClientMsgId, CloseMode, Connector,
    ConversationId, Delivery, Discovered, Error, ErrorKind, Event, Heartbeat, MessageId, OrderGuarantee,
    Outbound, Query, Receipt, ReplayRange, Result, SendOutcome, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The network, and whoever connects to it.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    script: Arc<Mutex<Script>>,
    capabilities: Capabilities,
    /// How often the inbox was subscribed to.
    subscriptions: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Script {
    reader: Option<mpsc::UnboundedSender<Result<Event>>>,
    lives: Vec<watch::Sender<bool>>,
    arrivals: u64,
    /// What is pushed is not in history.
    lags: bool,
    /// What history has; `None` for a question that is never answered.
    history: Option<BTreeMap<(ConversationId, u64), Delivery>>,
    /// How long history takes to answer.
    history_wait: Duration,
    questions: Vec<Question>,
    receipts: VecDeque<(Duration, Option<u64>)>,
    acked: Vec<AckTag>,
}

/// What history was asked: of which conversation, from where, how many, when.
pub(crate) type Question = (String, u64, usize, Instant);

#[derive(Debug)]
struct Attachment {
    stage: Stage,
    address: Address,
    alive: watch::Receiver<bool>,
}

impl Stage {
    /// A network that numbers, and has no history.
    pub(crate) fn new() -> Self {
        let mut capabilities = Capabilities::none(&["stage"]);
        capabilities.durable_inbox = true;
        (capabilities.ack, capabilities.order) = (AckGuarantee::Redelivers, OrderGuarantee::None);
        capabilities.numbered = true;
        Self { script: Arc::default(), capabilities, subscriptions: watch::Sender::new(0) }
    }

    /// With a history that begins empty.
    pub(crate) fn with_history(mut self) -> Self {
        self.capabilities.replay = true;
        self.script().history = Some(BTreeMap::new());
        self
    }

    /// With a history that does not show what was pushed.
    pub(crate) fn with_lagging_history(self) -> Self {
        self.script().lags = true;
        self.with_history()
    }

    /// With a history that never answers.
    pub(crate) fn with_silent_history(mut self) -> Self {
        self.capabilities.replay = true;
        self
    }

    /// With a history that answers after `wait`, with what it has when it is asked.
    pub(crate) fn with_slow_history(self, wait: Duration) -> Self {
        self.script().history_wait = wait;
        self.with_history()
    }

    pub(crate) fn with_cursor(mut self) -> Self {
        self.capabilities.ack = AckGuarantee::Cumulative;
        self
    }

    pub(crate) fn without_numbers(mut self) -> Self {
        self.capabilities.numbered = false;
        self
    }

    /// Puts rows on the subscription of now, each under a tag of its own, and into history.
    pub(crate) fn push(&self, rows: impl IntoIterator<Item = Delivery>) {
        let mut script = self.script();
        for mut row in rows {
            row.tag = AckTag::new(format!("{}@{}", row.id, script.arrivals)).expect("tag");
            script.arrivals += 1;
            if !script.lags {
                script.remember(&row);
            }
            script.tell(Ok(Event::Message(row)));
        }
    }

    /// Puts rows into history only.
    pub(crate) fn keep(&self, rows: impl IntoIterator<Item = Delivery>) {
        let mut script = self.script();
        rows.into_iter().for_each(|row| script.remember(&row));
    }

    /// The backlog has been played.
    pub(crate) fn caught_up(&self) {
        self.script().tell(Ok(Event::CaughtUp));
    }

    /// The next send is answered after `wait`, with this number.
    pub(crate) fn receipt(&self, wait: Duration, seq: u64) {
        self.script().receipts.push_back((wait, Some(seq)));
    }

    /// Cuts the connection; the next one works.
    pub(crate) fn cut(&self) {
        let mut script = self.script();
        for life in script.lives.drain(..) {
            life.send_replace(false);
        }
        script.tell(Err(gone("subscribe")));
        script.reader = None;
    }

    /// Waits until the inbox was subscribed to for the `count`th time.
    pub(crate) async fn subscribed(&self, count: usize) {
        let mut subscriptions = self.subscriptions.subscribe();
        subscriptions.wait_for(|now| *now >= count).await.expect("the stage stands");
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        self.script().questions.clone()
    }

    /// What was acknowledged, as the row and how many arrived before it.
    pub(crate) fn acked(&self) -> Vec<String> {
        self.script().acked.iter().map(|tag| tag.as_str().to_owned()).collect()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("not poisoned")
    }
}

impl Script {
    fn tell(&self, event: Result<Event>) {
        // Nobody may be there to hear it.
        if let Some(reader) = &self.reader {
            let _ = reader.send(event);
        }
    }

    fn remember(&mut self, row: &Delivery) {
        if let (Some(history), Some(conversation), Some(seq)) =
            (&mut self.history, &row.conversation, row.seq)
        {
            history.insert((conversation.clone(), seq), row.clone());
        }
    }
}

/// Row `seq` of a conversation: its body is `a1` for the first row of `a`.
pub(crate) fn row(conversation: &str, seq: u64) -> Delivery {
    let name = format!("{conversation}{seq}");
    let mut delivery = Delivery::new(
        MessageId::new(&name).expect("id"),
        AckTag::new(format!("history-{name}")).expect("tag"),
        Body::text(&name),
    );
    delivery.client_msg_id = Some(ClientMsgId::new(&name).expect("id"));
    delivery.conversation = Some(ConversationId::new(conversation).expect("id"));
    delivery.seq = Some(seq);
    delivery.sender = Some(Address::parse("stage://peer").expect("address"));
    delivery
}

/// A row that the agent itself sent.
pub(crate) fn own(conversation: &str, seq: u64) -> Delivery {
    let mut delivery = row(conversation, seq);
    delivery.sender = Some(me());
    delivery
}

pub(crate) fn me() -> Address {
    Address::parse("stage://me").expect("address")
}

#[async_trait]
impl Connector for Stage {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let (life, alive) = watch::channel(true);
        self.script().lives.push(life);
        Ok(Arc::new(Attachment { stage: self.clone(), address: me(), alive }))
    }
}

impl Attachment {
    fn live(&self, operation: &'static str) -> Result<()> {
        if *self.alive.borrow() { Ok(()) } else { Err(gone(operation)) }
    }
}

#[async_trait]
impl Transport for Attachment {
    fn capabilities(&self) -> &Capabilities {
        &self.stage.capabilities
    }

    fn address(&self) -> &Address {
        &self.address
    }

    async fn register(&self, _: &AgentCard) -> Result<()> {
        Err(Error::unsupported("register", "no directory"))
    }

    async fn unregister(&self) -> Result<()> {
        Err(Error::unsupported("unregister", "no directory"))
    }

    async fn report(&self, _: &Heartbeat) -> Result<()> {
        Err(Error::unsupported("report", "no directory"))
    }

    async fn discover(&self, _: &Query) -> Result<Discovered> {
        Err(Error::unsupported("discover", "no directory"))
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let scripted = self.stage.script().receipts.pop_front();
        let (wait, seq) = scripted.unwrap_or_default();
        tokio::time::sleep(wait).await;
        self.live("send")?;
        let receipt = Receipt::new(SendOutcome::Accepted(MessageId::new(message.client_msg_id.as_str())?));
        Ok(match seq {
            Some(seq) => receipt.with_seq(seq),
            None => receipt,
        })
    }

    async fn subscribe(&self, _: SubscribeOptions) -> Result<Subscription> {
        self.live("subscribe")?;
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.stage.script().reader = Some(sender);
        self.stage.subscriptions.send_modify(|count| *count += 1);
        let events = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        Ok(Subscription::new(self.address.clone(), Box::pin(events)))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.live("ack")?;
        self.stage.script().acked.extend_from_slice(tags);
        Ok(())
    }

    async fn close(&self, _: CloseMode) -> Result<()> {
        Ok(())
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        self.live("replay")?;
        let (wait, answer) = {
            let mut script = self.stage.script();
            script.questions.push((conversation.to_string(), range.from, range.limit, Instant::now()));
            let from = (conversation.clone(), range.from);
            let answer = script.history.as_ref().map(|history| {
                let rows = history.range(from..).take_while(|((of, _), _)| of == conversation);
                rows.map(|(_, row)| row.clone()).take(range.limit).collect()
            });
            (script.history_wait, answer)
        };
        tokio::time::sleep(wait).await;
        match answer {
            Some(rows) => Ok(rows),
            None => std::future::pending().await,
        }
    }
}

fn gone(operation: &'static str) -> Error {
    Error::new(ErrorKind::Disconnected, operation, "the scene is over")
}
