//! A network that carries nothing but bodies: with the wrapped carriage it keeps every promise of a transport,
//! and peers that know the wrapped carriage alone are understood.

#[path = "support/a2a/mod.rs"]
mod a2a;

use std::sync::Arc;
use std::time::Duration;

use a2a::bodies::Bodies;
use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, TurnHandle, Wrapped, text_handler};
use a2a_envelope::{Envelope, Limits};
use agentchat_core::conformance::{Harness, Skip};
use agentchat_core::{
    Address, Agent, Body, Connector, ErrorKind, Event, EventStream, Loopback, Outbound, SubscribeOptions,
    Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;

struct WithoutHeaders(Loopback);

#[async_trait]
impl Harness for WithoutHeaders {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(Wrapped::new(Bodies::of(self.0.connector(name).expect("a valid name"))))
    }

    fn expected_skips(&self) -> Vec<Skip> {
        vec![Skip::Numbered, Skip::EndsWithConnection]
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn cut(&self) -> bool {
        self.0.cut();
        true
    }

    async fn outage(&self) -> bool {
        self.0.outage();
        true
    }

    async fn restart(&self) -> bool {
        self.0.restart();
        true
    }

    async fn stall(&self) -> bool {
        self.0.stall(Duration::from_secs(1));
        true
    }

    async fn expire(&self) -> bool {
        self.0.expire();
        true
    }

    async fn heal(&self) {
        self.0.heal();
    }
}

mod conformance {
    use super::*;
    agentchat_core::conformance_tests!("wrapped-loopback", WithoutHeaders(Loopback::new()));
}

/// A peer without this library: it writes and reads texts.
struct Stranger {
    network: Arc<dyn Transport>,
    events: EventStream,
}

impl Stranger {
    async fn new(network: &Loopback, name: &str) -> Self {
        let network = Bodies::of(network.connector(name).unwrap()).connect().await.unwrap();
        let events = network.subscribe(SubscribeOptions::default()).await.unwrap().events;
        Self { network, events }
    }

    async fn say(&self, to: &Address, text: &str) {
        let message = Outbound::new(to.clone(), Body::text(text));
        self.network.send(&message).await.unwrap();
    }

    /// The next message: its text, and what that says in the wrapped carriage.
    async fn hear(&mut self) -> (String, Envelope) {
        loop {
            let event = a2a::within("a message", self.events.next()).await.unwrap().unwrap();
            if let Event::Message(delivery) = event {
                assert!(delivery.headers.is_empty() && delivery.reply_to.is_none());
                self.network.ack(&[delivery.tag]).await.unwrap();
                let text = String::from_utf8(delivery.body.bytes.to_vec()).unwrap();
                let envelope = Envelope::from_wrapped(text.as_bytes(), &Limits::default()).unwrap();
                return (text, envelope);
            }
        }
    }
}

fn own(network: &Loopback, name: &str) -> Wrapped<Bodies> {
    Wrapped::new(Bodies::of(network.connector(name).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_knows_the_wrapped_carriage_alone_is_answered_in_it() {
    let network = Loopback::new();
    let server = Agent::builder(own(&network, "server")).start().await.unwrap();
    let shout = text_handler(|text: String| async move { Ok(text.to_uppercase()) });
    let _serving = A2aServer::new(shout).serve(&server).await.unwrap();
    let mut stranger = Stranger::new(&network, "stranger").await;
    let body = r#"{"jsonrpc":"2.0","id":"c-1","method":"SendMessage","params":{"message":{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"hello"}]}}}"#;
    let request = format!(
        r#"{{"a2aEnvelope":"1","headers":{{"mq9-a2a-method":"SendMessage","mq9-reply-to":"stranger","amb-correlation-id":"c-1"}},"body":{}}}"#,
        serde_json::to_string(body).unwrap()
    );
    stranger.say(server.address(), &request).await;
    let mut last = None;
    while last.is_none() {
        let (_, reply) = stranger.hear().await;
        assert_eq!(reply.header("amb-correlation-id"), Some("c-1"));
        last = reply.is_last().then_some(reply);
    }
    let last = last.unwrap();
    assert_eq!((last.header("mq9-a2a-type"), last.seq().unwrap()), (Some("Response"), Some(1)));
    assert!(last.body_text().unwrap().contains("HELLO"));
}

#[tokio::test(start_paused = true)]
async fn a_call_to_such_a_peer_carries_all_it_needs_and_reads_its_stream_to_the_end() {
    let network = Loopback::new();
    let caller = Agent::builder(own(&network, "caller")).start().await.unwrap();
    let mut stranger = Stranger::new(&network, "stranger").await;
    let peer = stranger.network.address().clone();
    let client = A2aClient::new(&caller);
    let mut call = client.call(&peer, A2aRequest::text("count").with_streaming()).await.unwrap();
    let (text, request) = stranger.hear().await;
    assert!(text.starts_with(r#"{"a2aEnvelope":"1","headers":{"amb-envelope":"1","#), "{text}");
    for name in ["mq9-reply-to", "amb-correlation-id", "amb-deadline", "amb-idempotency-key", "traceparent"] {
        assert!(request.header(name).is_some(), "{name}: {text}");
    }
    let back = Address::of("loopback", request.header("mq9-reply-to").unwrap()).unwrap();
    let id = request.header("amb-correlation-id").unwrap().to_owned();
    for (seq, state, last) in [(1, "WORKING", false), (2, "COMPLETED", true)] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"{id}","result":{{"task":{{"id":"t-1","contextId":"c-1","status":{{"state":"TASK_STATE_{state}"}},"artifacts":[{{"artifactId":"a","parts":[{{"text":"to {seq}"}}]}}]}}}}}}"#
        );
        let reply = Envelope::new(body)
            .with_header("amb-correlation-id", &id)
            .unwrap()
            .with_header("mq9-a2a-type", "StreamResponse")
            .unwrap()
            .with_seq(seq)
            .unwrap()
            .with_last(last)
            .unwrap();
        let text = reply.to_wrapped(&Limits::default()).unwrap();
        stranger.say(&back, std::str::from_utf8(&text).unwrap()).await;
    }
    assert_eq!(call.answer().await.unwrap().text(), "to 2");
}

#[tokio::test(start_paused = true)]
async fn without_the_wrapped_carriage_headers_are_refused_by_name_and_plain_messages_travel() {
    let network = Loopback::new();
    let bare = Agent::builder(Bodies::of(network.connector("bare").unwrap())).start().await.unwrap();
    let other = network.connector("other").unwrap().connect().await.unwrap();
    let to = other.address().clone();
    bare.send(&Outbound::new(to.clone(), Body::text("plain"))).await.unwrap();
    let error = bare.send(&Outbound::new(to, Body::text("x")).with_header("a", "b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("headers"), "{error}");
    let mut inbox = other.subscribe(SubscribeOptions::default()).await.unwrap().events;
    let Some(Ok(Event::Message(delivery))) = inbox.next().await else { panic!("a message") };
    assert_eq!(&delivery.body.bytes[..], b"plain");
}

#[tokio::test(start_paused = true)]
async fn a_network_with_headers_is_used_as_it_is_unless_it_is_wrapped_always() {
    for always in [false, true] {
        let network = Loopback::new();
        let place = Wrapped::new(network.connector("caller").unwrap());
        let place = if always { place.always() } else { place };
        let caller = Agent::builder(place).start().await.unwrap();
        let other = network.connector("other").unwrap().connect().await.unwrap();
        let message = Outbound::new(other.address().clone(), Body::text("hi")).with_header("a", "b");
        caller.send(&message).await.unwrap();
        let mut inbox = other.subscribe(SubscribeOptions::default()).await.unwrap().events;
        let Some(Ok(Event::Message(delivery))) = inbox.next().await else { panic!("a message") };
        assert_eq!(delivery.headers.get("a"), (!always).then_some("b"));
        let wrapped = Envelope::from_wrapped(&delivery.body.bytes, &Limits::default());
        assert_eq!(
            wrapped.ok().map(|it| (it.header("a").map(str::to_owned), it.body)),
            always.then(|| { (Some("b".to_owned()), "hi".into()) })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_no_headers_is_called_over_a_network_that_has_them() {
    let network = Loopback::new();
    let server = Agent::builder(network.connector("server").unwrap()).start().await.unwrap();
    let place = Wrapped::new(network.connector("caller").unwrap()).always();
    let caller = Agent::builder(place).start().await.unwrap();
    let count = |turn: TurnHandle| async move {
        turn.text("a", "one ").await?;
        turn.text("a", "two").await?;
        Ok(())
    };
    // The server knows nothing of this and answers in the carriage that asked.
    let _serving = A2aServer::new(count).serve(&server).await.unwrap();
    let request = A2aRequest::text("count").with_streaming();
    let answer = A2aClient::new(&caller).ask(server.address(), request).await.unwrap();
    assert_eq!(answer.text(), "one two");
}
