//! Our side: an agent attached to a feed, and a reader that hands each message to a function and settles it.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use agentchat_core::{
    Agent, Connector, Delivery, Event, EventStream, Request, ResilientConnector, ResilientOptions,
    ServeOptions, Serving, SubscribeOptions, Transport,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Notify;
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

use crate::batches;

/// How much of the stack is above the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// An attachment: socket, rows, the server's numbers.
    Bare,
    /// A session on it: what survives lost connections, and recognises repetitions.
    Session,
    /// An agent that serves a handler on a session.
    Agent,
}

/// One reader of one inbox.
pub enum Reader {
    Stream(Arc<dyn Transport>, EventStream),
    Serving { handled: Arc<Handled>, agent: Agent, _serving: Serving },
}

#[derive(Default)]
pub struct Handled {
    count: AtomicUsize,
    goal: AtomicUsize,
    reached: Notify,
}

impl Reader {
    /// Attaches, and reads what waited: that many messages, each settled. With it when they were.
    pub async fn attach(url: &str, layer: Layer, waiting: usize) -> (Self, Instant) {
        let session = || ResilientConnector::new(connector(url), ResilientOptions::new());
        if layer == Layer::Agent {
            let handled = Arc::new(Handled::default());
            let seen = Arc::clone(&handled);
            let handler = move |request: Request| {
                black_box(&request.body().bytes);
                seen.one();
                std::future::ready(Ok(()))
            };
            let agent = Agent::builder(session()).start().await.expect("attached");
            let serving = agent.serve(handler, ServeOptions::default()).await.expect("served");
            let mut reader = Self::Serving { handled, agent, _serving: serving };
            reader.read(waiting).await;
            return (reader, Instant::now());
        }
        let transport = match layer {
            Layer::Session => session().connect().await,
            _ => connector(url).connect().await,
        };
        let transport = transport.expect("attached");
        let events = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        let mut reader = Self::Stream(transport, events);
        reader.read(waiting).await;
        let read = Instant::now();
        let Self::Stream(_, events) = &mut reader else { unreachable!("it is a stream") };
        while !matches!(events.next().await.expect("the stream goes on").expect("no error"), Event::CaughtUp)
        {
        }
        (reader, read)
    }

    /// Handles `count` messages and settles them.
    pub async fn read(&mut self, count: usize) {
        match self {
            Self::Stream(transport, events) => {
                let handle = |body: &Bytes| {
                    black_box(body);
                };
                batches::read(&**transport, events, (count, BATCH), handle).await;
            }
            Self::Serving { handled, .. } => handled.until(count).await,
        }
    }

    /// The next message, settled.
    pub async fn next(&mut self) -> Delivery {
        let Self::Stream(transport, events) = self else { unreachable!("it is a stream") };
        loop {
            if let Event::Message(delivery) =
                events.next().await.expect("the stream goes on").expect("no error")
            {
                transport.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
                return delivery;
            }
        }
    }

    pub fn transport(&self) -> &dyn Transport {
        match self {
            Self::Stream(transport, _) => &**transport,
            Self::Serving { agent, .. } => &**agent.transport(),
        }
    }
}

impl Handled {
    fn one(&self) {
        if self.count.fetch_add(1, Ordering::AcqRel) + 1 == self.goal.load(Ordering::Acquire) {
            self.reached.notify_one();
        }
    }

    async fn until(&self, more: usize) {
        let goal = self.goal.fetch_add(more, Ordering::AcqRel) + more;
        while self.count.load(Ordering::Acquire) < goal {
            self.reached.notified().await;
        }
    }
}

pub fn connector(url: &str) -> AgentChatConnector {
    let key = ApiKey::new("ac_0123456789abcdefghijklmnopqrstuvwxyz").expect("a key");
    let config = AgentChatConfig::builder(key).with_base_url(url).build().expect("a valid configuration");
    AgentChatConnector::new(config).expect("a connector")
}

const BATCH: usize = 64;
