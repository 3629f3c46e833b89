//! An agent starts as a whole or not at all.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use agentchat_core::agent::StartContext;
use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, Connector, Error, ErrorKind, Handler, HandlerResult,
    Loopback, Query, Reached, Request, Result, ServeOptions, Transport,
};
use async_trait::async_trait;
use support::steps::{Fault, Steps, assert_of};
use support::{SECOND, Scripted, soon, start, text};
use tokio::sync::mpsc;

fn card() -> AgentCard {
    AgentCard::new("bob", "Answers").expect("card")
}

fn echo() -> impl Handler {
    |request: Request| async move {
        request.reply(request.body().clone()).await?;
        Ok(())
    }
}

async fn found(network: &Loopback) -> usize {
    let watcher = start(network, "watcher").await;
    watcher.discover(&Query::name("bob")).await.expect("an answer").agents.len()
}

/// Hands out attachments that somebody has closed.
#[derive(Debug)]
struct Over(Loopback);

#[async_trait]
impl Connector for Over {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let made = self.0.connector("bob")?.connect().await?;
        made.close(CloseMode::Detach).await?;
        Ok(made)
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_start_over_a_closed_attachment_has_nothing_to_say_of_closing_it() {
    let error = Agent::builder(Over(Loopback::new())).card(card()).start().await.expect_err("it is closed");
    assert_eq!((error.kind(), error.context().count()), (ErrorKind::Closed, 0), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_started_agent_is_found_and_already_answers() {
    let network = Loopback::new();
    let steps = Steps::new(&network, "bob");
    let builder = Agent::builder(steps.clone()).card(card()).serve(echo(), ServeOptions::default());
    let bob = builder.start().await.expect("started");
    assert_eq!(steps.log(), ["connect", "register", "subscribe"], "the inbox collects before it is read");
    let alice = start(&network, "alice").await;
    let call = alice.call(bob.address(), CallRequest::new(Body::text("hello"))).await.expect("sent");
    assert_eq!(soon(call.response()).await.expect("answered").body().as_str(), Some("hello"));
    let again = bob.serve(echo(), ServeOptions::default()).await.expect_err("it is being served");
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_for_an_absent_agent_it_reads_before_it_can_be_found() {
    let network = Loopback::new();
    let steps = Steps::new(&network, "bob").forgetful();
    let builder = Agent::builder(steps.clone()).card(card()).serve(echo(), ServeOptions::default());
    let _bob = builder.start().await.expect("started");
    assert_eq!(steps.log()[..3], ["connect", "subscribe", "register"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_halfway_undoes_what_it_did_in_reverse() {
    let undone = ["unregister", "close"];
    for (step, fault, reached, then) in [
        ("register", Fault::Refused, Reached::Yes, &undone[1..]),
        ("register", Fault::Unanswered, Reached::Unknown, &undone[..]),
        ("subscribe", Fault::Refused, Reached::Yes, &undone[..]),
        ("subscribe", Fault::Unanswered, Reached::Unknown, &undone[..]),
    ] {
        let network = Loopback::new();
        let steps = Steps::new(&network, "bob").fault(step, fault);
        let builder = Agent::builder(steps.clone()).card(card()).serve(echo(), ServeOptions::default());
        let error = soon(builder.start()).await.expect_err("it fails");
        assert_of(&error, step, reached);
        assert_eq!(error.context().count(), 0, "everything was undone: {error:?}");
        assert!(steps.log().ends_with(then), "{step}: {:?}", steps.log());
        assert_eq!(steps.log().contains(&"unregister"), then.len() == 2);
        assert_eq!(found(&network).await, 0);
        // What was there is free again.
        steps.heal();
        let builder = Agent::builder(steps.clone()).card(card()).serve(echo(), ServeOptions::default());
        builder.start().await.expect("started");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_undone_is_told_beside_the_first_error() {
    let network = Loopback::new();
    let steps = Steps::new(&network, "bob").fault("subscribe", Fault::Refused);
    let steps = steps.fault("unregister", Fault::Hangs).fault("close", Fault::Unanswered);
    let builder = Agent::builder(steps.clone()).card(card()).serve(echo(), ServeOptions::default());
    let error = soon(builder.start()).await.expect_err("it fails");
    assert_of(&error, "subscribe", Reached::Yes);
    let told: Vec<_> = error.context().map(|(name, what)| (name, what.to_owned())).collect();
    assert_eq!(
        told,
        [
            ("still registered", "there was no answer in time".to_owned()),
            ("not closed cleanly", "close: as the test says".to_owned()),
        ]
    );
    assert_eq!(found(&network).await, 1, "it is the truth");
}

#[tokio::test(start_paused = true)]
async fn no_handler_runs_in_an_agent_that_does_not_start() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "waiting")).await.expect("sent");
    drop(bob);
    let ran = Arc::new(AtomicU32::new(0));
    for steps in [
        Steps::new(&network, "bob").fault("subscribe", Fault::Refused),
        Steps::new(&network, "bob").forgetful().fault("register", Fault::Refused),
    ] {
        let counter = Arc::clone(&ran);
        let count = move |_: Request| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { HandlerResult::Ok(()) }
        };
        let builder = Agent::builder(steps).card(card()).serve(count, ServeOptions::default());
        builder.start().await.expect_err("it fails");
        tokio::time::sleep(10 * SECOND).await;
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let (told, mut heard) = mpsc::channel(4);
    let note = move |request: Request| {
        let told = told.clone();
        async move { Ok(told.send(request.body().as_str().map(str::to_owned)).await?) }
    };
    let bob = Agent::builder(network.connector("bob").expect("name")).serve(note, ServeOptions::default());
    let _bob = bob.start().await.expect("started");
    assert_eq!(soon(heard.recv()).await.flatten().as_deref(), Some("waiting"), "it was not lost");
}

#[tokio::test(start_paused = true)]
async fn a_card_can_be_made_from_the_address_that_connecting_gave() {
    let network = Loopback::new();
    let make = async |context: StartContext| {
        assert!(context.capabilities.directory);
        AgentCard::from_json(format!(r#"{{"name":"bob","url":"{}"}}"#, context.address))
    };
    let bob = Agent::builder(network.connector("bob").expect("name")).card_with(make);
    let bob = bob.start().await.expect("started");
    let found = bob.discover(&Query::name("bob")).await.expect("an answer");
    assert_eq!(found.agents[0].card, r#"{"name":"bob","url":"loopback://bob"}"#.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_card_that_cannot_be_made_ends_the_start_and_the_attachment() {
    let network = Loopback::new();
    let steps = Steps::new(&network, "bob");
    let make = async |_: StartContext| Err(Error::new(ErrorKind::Config, "card", "no name is configured"));
    let error = Agent::builder(steps.clone()).card_with(make).start().await.expect_err("no card");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Config, "card"));
    assert_eq!(steps.log(), ["connect", "close"]);
}

#[tokio::test(start_paused = true)]
async fn the_serving_of_a_started_agent_ends_with_it_and_says_how() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    let builder = || Agent::builder(connector.clone()).serve(echo(), ServeOptions::default());

    let bob = builder().start().await.expect("started");
    assert!(tokio::time::timeout(60 * SECOND, bob.served()).await.is_err(), "it serves");
    bob.close(CloseMode::Detach, SECOND).await.expect("closed");
    for _ in 0..2 {
        let served = soon(bob.served()).await.expect("it was served");
        assert_eq!((served.unsettled, served.error.as_ref().map(Error::kind)), (0, None));
    }

    let bob = builder().start().await.expect("started");
    network.cut();
    let served = soon(bob.served()).await.expect("it was served");
    assert_eq!(served.error.as_ref().map(Error::kind), Some(ErrorKind::Disconnected));

    assert!(start(&network, "carol").await.served().await.is_none(), "nothing is served");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_started_agent_stops_its_handlers() {
    struct Gone(mpsc::Sender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.try_send(());
        }
    }
    let network = Loopback::new();
    let (told, mut heard) = mpsc::channel(1);
    let stuck = move |_: Request| {
        let gone = Gone(told.clone());
        async move {
            let _gone = gone;
            std::future::pending::<HandlerResult>().await
        }
    };
    let bob = Agent::builder(network.connector("bob").expect("name")).serve(stuck, ServeOptions::default());
    let bob = bob.start().await.expect("started");
    bob.send(&text(&bob, "x")).await.expect("sent");
    assert!(tokio::time::timeout(10 * SECOND, heard.recv()).await.is_err(), "it runs");
    drop(bob);
    assert_eq!(soon(heard.recv()).await, Some(()));
}
