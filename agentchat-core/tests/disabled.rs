//! Without a configured network an agent is quiet, and says so when it is asked for something.

mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use agentchat_core::agent::{CallMode, StartContext};
use agentchat_core::{
    Address, Agent, AgentCard, Body, CallRequest, CloseMode, ConversationId, Error, ErrorKind, HandlerResult,
    Heartbeat, Loopback, LoopbackConnector, Outbound, Query, ReplayRange, Request, Result, ServeOptions,
    SubscribeOptions,
};
use support::{SECOND, soon, start};
use tokio::runtime::Handle;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const NOWHERE: Option<LoopbackConnector> = None;

fn stuck(_: Request) -> std::future::Pending<HandlerResult> {
    std::future::pending()
}

fn refused<T: Debug>(result: Result<T>) {
    let error: Error = result.expect_err("there is no network");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().ends_with("messaging is disabled: no broker is configured"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn everything_that_needs_no_network_succeeds_and_everything_else_says_why_not() {
    let card = AgentCard::new("bob", "Answers").expect("card");
    let bob = Agent::builder(NOWHERE).card(card).start().await.expect("it starts");
    assert!(!bob.is_enabled());
    bob.report(&Heartbeat::new("online", SECOND)).await.expect("nobody is told");
    bob.transport().unregister().await.expect("nothing to take back");

    let peer = Address::parse("loopback://alice").expect("address");
    let question = || CallRequest::new(Body::text("x"));
    refused(bob.send(&Outbound::new(peer.clone(), Body::text("x"))).await);
    refused(bob.call(&peer, question()).await);
    refused(bob.call_many(std::slice::from_ref(&peer), question(), CallMode::all()).await);
    refused(bob.discover(&Query::all()).await);
    refused(bob.put_state("key", Body::text("x")).await);
    refused(bob.state_of(&peer, "key").await);
    refused(bob.transport().subscribe(SubscribeOptions::fresh(SECOND)).await);
    let conversation = ConversationId::new("c").expect("id");
    refused(bob.transport().replay(&conversation, ReplayRange::new(1, 1)).await);

    let report = bob.close(CloseMode::Retire, SECOND).await.expect("closed");
    assert!(report.is_clean() && !report.unregistered, "{report}");
    let error = bob.close(CloseMode::Retire, SECOND).await.expect_err("closed before");
    assert_eq!(error.kind(), ErrorKind::Closed);
    for mode in [CloseMode::Detach, CloseMode::Retire] {
        let error = bob.transport().close(mode).await.expect_err("closed with the agent");
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, "close"));
        assert!(!error.to_string().contains("registered"), "nobody ever was: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn serving_nothing_lasts_until_the_agent_is_closed() {
    let bob = Agent::builder(NOWHERE).serve(stuck, ServeOptions::default()).start().await.expect("started");
    let serving = start_disabled().await;
    let (other, serving) = (serving.0, serving.1);
    let wait = async { tokio::join!(bob.served(), serving.wait()) };
    let mut wait = std::pin::pin!(wait);
    assert!(tokio::time::timeout(3600 * SECOND, &mut wait).await.is_err(), "it goes on");
    for agent in [&bob, &other] {
        assert!(agent.close(CloseMode::Detach, SECOND).await.expect("closed").drained);
    }
    let (owned, served) = soon(wait).await;
    assert!(owned.expect("it had a handler").error.is_none() && served.error.is_none());
}

async fn start_disabled() -> (Agent, agentchat_core::Serving) {
    let agent = Agent::builder(NOWHERE).start().await.expect("started");
    let serving = agent.serve(stuck, ServeOptions::default()).await.expect("it can be served");
    (agent, serving)
}

#[tokio::test(start_paused = true)]
async fn a_disabled_agent_has_no_task_makes_no_card_and_writes_one_line_at_debug_level() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let never =
        async |_: StartContext| -> Result<AgentCard> { panic!("there is no address to make it from") };
    let before = Handle::current().metrics().num_alive_tasks();
    let builder = Agent::builder(NOWHERE).card_with(never).serve(stuck, ServeOptions::default());
    let bob = builder.start().await.expect("started");
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    bob.close(CloseMode::Retire, SECOND).await.expect("closed");
    let lines = lines.0.lock().expect("not poisoned").clone();
    let [(level, line)] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!((*level, line.contains("messaging is disabled")), (Level::DEBUG, true), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_configured_network_is_used_as_ever_and_its_failure_is_an_error() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let bob = Some(network.connector("bob").expect("name"));
    let bob = Agent::builder(bob).start().await.expect("started");
    assert!(bob.is_enabled() && alice.is_enabled());
    bob.send(&Outbound::new(alice.address().clone(), Body::text("x"))).await.expect("sent");
    let unreachable = support::steps::Steps::new(&network, "carol");
    let unreachable = unreachable.fault("connect", support::steps::Fault::Refused);
    assert_eq!(Agent::builder(Some(unreachable)).start().await.expect_err("down").operation(), "connect");
}

/// Keeps the lines of this thread.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("agentchat_core")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().expect("not poisoned").push((*event.metadata().level(), text.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
