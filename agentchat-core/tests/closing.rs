//! Closing ends, in time, and says what it left.

mod support;

use std::time::Duration;

use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, ErrorKind, HandlerResult, Loopback, Query, Request,
    ServeOptions,
};
use support::{SECOND, Scripted, soon, start, text};
use tokio::sync::mpsc;

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_is_dropped_at_the_deadline_and_counted() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    for number in 0..3 {
        bob.send(&text(&bob, &number.to_string())).await.expect("sent");
    }
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let serving = bob.serve(stuck, ServeOptions::default().with_concurrency(1)).await.expect("served");
    tokio::time::sleep(SECOND).await;
    let begun = tokio::time::Instant::now();
    let report = bob.close(CloseMode::Detach, 5 * SECOND).await.expect("closed");
    assert_eq!((report.drained, report.unsettled, begun.elapsed()), (false, 3, 5 * SECOND));
    let served = tokio::time::timeout(SECOND, serving.wait()).await.expect("it has ended");
    assert_eq!((served.unsettled, served.error.map(|error| error.kind())), (3, Some(ErrorKind::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn an_attachment_that_does_not_close_is_left_at_the_deadline() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    connector.change(|script| script.close_hangs = true);
    let bob = connector.start().await;
    for (deadline, took) in [(10 * SECOND, 10 * SECOND), (Duration::ZERO, 2 * SECOND)] {
        let begun = tokio::time::Instant::now();
        let error = bob.close(CloseMode::Detach, deadline).await.expect_err("it hangs");
        assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, took));
    }
    connector.change(|script| script.close_hangs = false);
    bob.close(CloseMode::Detach, SECOND).await.expect("closing again tries again");
    bob.close(CloseMode::Detach, SECOND).await.expect("closing twice is fine");
    assert_eq!(connector.read(|script| script.closes), 3, "what is closed is not closed again");
}

#[tokio::test(start_paused = true)]
async fn closing_twice_at_once_gives_one_report() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let (done, mut log) = mpsc::channel(1);
    let slow = move |_: Request| {
        let done = done.clone();
        async move {
            tokio::time::sleep(5 * SECOND).await;
            Ok(done.send(()).await?)
        }
    };
    let _serving = bob.serve(slow, ServeOptions::default()).await.expect("served");
    tokio::time::sleep(SECOND).await;
    let other = bob.clone();
    let first = tokio::spawn(async move { other.close(CloseMode::Detach, 60 * SECOND).await });
    tokio::task::yield_now().await;
    let second = bob.close(CloseMode::Detach, 60 * SECOND).await.expect("closed");
    assert!(log.try_recv().is_ok(), "the second closing has waited for the handler too");
    assert_eq!(first.await.expect("no panic").expect("closed"), second);
    assert!(second.drained);
}

#[tokio::test(start_paused = true)]
async fn a_closing_that_was_given_up_can_be_finished() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let _serving = bob.serve(stuck, ServeOptions::default()).await.expect("served");
    tokio::time::sleep(SECOND).await;
    let given_up = tokio::time::timeout(SECOND, bob.close(CloseMode::Detach, 60 * SECOND)).await;
    assert!(given_up.is_err());
    let refused = bob.serve(stuck, ServeOptions::default()).await.expect_err("it is closing");
    assert_eq!(refused.kind(), ErrorKind::Closed);
    let report = bob.close(CloseMode::Detach, SECOND).await.expect("closed");
    assert_eq!((report.drained, report.unsettled), (false, 1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_reply_and_call_while_the_agent_closes() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let carol = start(&network, "carol").await;
    let echo = |request: Request| async move {
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let _echoing = carol.serve(echo, ServeOptions::default()).await.expect("served");
    let (agent, peer) = (bob.clone(), carol.address().clone());
    let handler = move |request: Request| {
        let (agent, peer) = (agent.clone(), peer.clone());
        async move {
            tokio::time::sleep(5 * SECOND).await;
            let answer = agent.call(&peer, CallRequest::new(Body::text("help"))).await?.response().await?;
            request.reply(answer.body().clone()).await?;
            Ok(())
        }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let call = alice.call(bob.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    tokio::time::sleep(SECOND).await;
    assert!(bob.close(CloseMode::Detach, 60 * SECOND).await.expect("closed").drained);
    assert_eq!(soon(call.response()).await.expect("answered").body().as_str(), Some("help"));
}

#[tokio::test(start_paused = true)]
async fn no_heartbeat_follows_a_retirement_and_none_is_sent_over_a_lost_attachment() {
    let network = Loopback::new();
    let watcher = start(&network, "watcher").await;
    let card = AgentCard::new("bob", "Comes and goes").expect("card");
    let bob = Agent::builder(network.connector("bob").expect("name"));
    let bob = bob.card(card).heartbeat(SECOND).start().await.expect("started");
    tokio::time::sleep(10 * SECOND).await;
    bob.close(CloseMode::Retire, SECOND).await.expect("closed");
    tokio::time::sleep(10 * SECOND).await;
    assert!(watcher.discover(&Query::name("bob")).await.expect("an answer").agents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_everything_outside_a_runtime_is_fine() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let serving = bob.serve(stuck, ServeOptions::default()).await.expect("served");
    let call = alice.call(bob.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    tokio::time::sleep(SECOND).await;
    let dropped = std::thread::spawn(move || drop((call, alice, serving, bob, network)));
    dropped.join().expect("no panic");
}
