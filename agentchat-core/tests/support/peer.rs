//! A peer that answers as the test says.

use std::sync::Mutex;
use std::time::Duration;

use agentchat_core::agent::{REPLY_LAST, REPLY_SEQ};
use agentchat_core::{
    Agent, Body, Call, CallRequest, Delivery, ErrorKind, Event, EventStream, Loopback, Outbound,
    SubscribeOptions,
};
use futures_util::StreamExt;

use super::{soon, start};

/// A peer that is not served by the library: it reads its requests and answers as the test says.
pub(crate) struct Peer {
    pub(crate) agent: Agent,
    /// Never locked; it makes the peer shareable.
    events: Mutex<EventStream>,
}

impl Peer {
    pub(crate) async fn start(network: &Loopback, name: &str) -> Self {
        let agent = start(network, name).await;
        let options = SubscribeOptions::own().with_max_unsettled(1_000);
        let events = agent.transport().subscribe(options).await.expect("subscribed").events;
        Self { agent, events: Mutex::new(events) }
    }

    pub(crate) async fn request(&mut self) -> Delivery {
        loop {
            match soon(self.events.get_mut().expect("not poisoned").next())
                .await
                .expect("it goes on")
                .expect("no error")
            {
                Event::Message(request) => return request,
                _ => continue,
            }
        }
    }

    pub(crate) fn reply(&self, request: &Delivery, seq: &str, last: bool) -> Outbound {
        let to = request.reply_to.clone().expect("an address to answer to");
        let mut reply = Outbound::new(to, Body::text(seq)).with_header(REPLY_SEQ, seq);
        reply.correlation_id.clone_from(&request.correlation_id);
        if last { reply.with_header(REPLY_LAST, "true") } else { reply }
    }

    pub(crate) async fn answer(
        &self,
        request: &Delivery,
        seqs: impl IntoIterator<Item = u64, IntoIter: Send> + Send,
    ) {
        for seq in seqs {
            let reply = self.reply(request, &seq.to_string(), false);
            self.agent.send(&reply).await.expect("sent");
        }
    }

    pub(crate) async fn finish(&self, request: &Delivery, seq: u64) {
        self.agent.send(&self.reply(request, &seq.to_string(), true)).await.expect("sent");
    }
}

pub(crate) async fn call(asker: &Agent, peer: &Peer, timeout: Duration) -> Call {
    let request = CallRequest::new(Body::text("x")).with_timeout(timeout);
    asker.call(peer.agent.address(), request).await.expect("sent")
}

/// Reads to the end: the numbers of the replies, and the error's kind.
pub(crate) async fn rest(call: &mut Call) -> (Vec<u64>, Option<ErrorKind>) {
    let mut seqs = Vec::new();
    loop {
        match soon(call.next()).await {
            Some(Ok(reply)) => seqs.push(reply.seq),
            Some(Err(error)) => return (seqs, Some(error.kind())),
            None => return (seqs, None),
        }
    }
}
