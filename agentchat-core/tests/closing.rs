//! Closing ends, in time, and says what it left.

mod support;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use agentchat_core::{
    Advice, Agent, AgentCard, Body, CallRequest, CloseMode, Error, ErrorKind, HandlerResult, Heartbeat,
    Loopback, Query, Reached, Request, ResilientConnector, ResilientOptions, ServeOptions,
};
use futures_util::FutureExt;
use support::steps::{Fault, Steps};
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
    is_refused(bob.close(CloseMode::Detach, SECOND).await, "already closed");
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
async fn what_comes_once_closing_has_begun_is_not_begun_any_more_and_is_there_for_the_next() {
    let network = Loopback::new();
    let (bob, peer) = (start(&network, "bob").await, start(&network, "peer").await);
    let (begun, mut log) = mpsc::unbounded_channel();
    let serve = async |bob: &Agent| {
        let begun = begun.clone();
        let handler = move |request: Request| {
            let noted = begun.send(request.body().as_str().map(str::to_owned));
            std::future::ready(noted.map_err(Into::into))
        };
        bob.serve(handler, ServeOptions::default()).await.expect("served")
    };
    let _serving = serve(&bob).await;
    peer.send(&text(&bob, "early")).await.expect("sent");
    assert_eq!(log.recv().await.flatten().as_deref(), Some("early"));

    let mut closing = pin!(bob.close(CloseMode::Detach, 5 * SECOND));
    assert!(closing.as_mut().now_or_never().is_none(), "it has begun");
    peer.send(&text(&bob, "late")).await.expect("sent");
    tokio::task::yield_now().await;
    assert!(closing.await.expect("closed").drained);
    assert!(log.try_recv().is_err(), "nothing was begun");

    let bob = start(&network, "bob").await;
    let _serving = serve(&bob).await;
    assert_eq!(log.recv().await.flatten().as_deref(), Some("late"));
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

async fn registered(steps: &Steps) -> Agent {
    let card = AgentCard::new("bob", "Comes and goes").expect("card");
    Agent::builder(steps.clone()).card(card).start().await.expect("started")
}

async fn is_found(network: &Loopback) -> bool {
    let watcher = start(network, "watcher").await;
    !watcher.discover(&Query::name("bob")).await.expect("an answer").agents.is_empty()
}

fn is_refused<T: std::fmt::Debug>(closed: Result<T, Error>, word: &str) -> Error {
    let error = closed.expect_err("it was closed before");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, "close"), "{error:?}");
    assert_eq!((error.advice(), error.reached()), (Advice::Never, Reached::No), "{error:?}");
    assert!(error.to_string().contains(word), "{error}");
    error
}

/// Polls at most so many times: `None` when that is not enough, and the future is dropped.
async fn pending_at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut polled = 0;
    std::future::poll_fn(move |cx| {
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn fact<'a>(error: &'a Error, name: &str) -> Option<&'a str> {
    error.context().find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[tokio::test(start_paused = true)]
async fn the_report_names_everything_that_is_left() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    let bob = connector.start().await;
    let carol = start(&network, "carol").await;
    for body in ["done", "stuck"] {
        bob.send(&text(&bob, body)).await.expect("sent");
    }
    connector.change(|script| script.acks.push_back(ErrorKind::Forbidden));
    let handler = |request: Request| async move {
        if request.body().as_str() == Some("stuck") {
            std::future::pending::<()>().await;
        }
        HandlerResult::Ok(())
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let mut calls = Vec::new();
    for _ in 0..2 {
        calls.push(bob.call(carol.address(), CallRequest::new(Body::text("x"))).await.expect("sent"));
    }
    tokio::time::sleep(SECOND).await;
    let report = bob.close(CloseMode::Detach, SECOND).await.expect("closed");
    assert!(!report.drained && !report.is_clean() && !report.unregistered);
    assert_eq!((report.mode, report.unsettled, report.unacknowledged), (CloseMode::Detach, 1, 1));
    assert_eq!((report.calls_ended, report.unsent), (2, 0));
    let line =
        "detach: not drained, not unregistered, unsettled 1, unacknowledged 1, unsent 0, calls_ended 2";
    assert_eq!(report.to_string(), line);
    for call in calls {
        assert_eq!(soon(call.response()).await.expect_err("it has ended").kind(), ErrorKind::Closed);
    }
    let again = is_refused(bob.close(CloseMode::Detach, SECOND).await, "already closed");
    assert_eq!((fact(&again, "unsettled"), fact(&again, "calls_ended")), (Some("1"), Some("2")), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn retiring_drains_then_unregisters_then_closes() {
    let network = Loopback::new();
    let steps = Steps::new(&network, "bob");
    let bob = registered(&steps).await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let (seen, mut log) = mpsc::channel(1);
    let watch = network.clone();
    let slow = move |_: Request| {
        let (seen, watch) = (seen.clone(), watch.clone());
        async move {
            tokio::time::sleep(5 * SECOND).await;
            Ok(seen.send(is_found(&watch).await).await?)
        }
    };
    let _serving = bob.serve(slow, ServeOptions::default()).await.expect("served");
    tokio::time::sleep(SECOND).await;
    let report = bob.close(CloseMode::Retire, 60 * SECOND).await.expect("closed");
    assert!(report.is_clean() && report.unregistered, "{report}");
    assert!(log.try_recv().expect("the handler has finished"), "it was still registered then");
    assert!(!is_found(&network).await);
    let log: Vec<_> = steps.log().into_iter().filter(|step| *step != "report").collect();
    assert_eq!(log, ["connect", "register", "subscribe", "unregister", "close"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_unregister_says_so_and_can_be_closed_again() {
    let network = Loopback::new();
    let steps = Steps::new(&network, "bob").fault("unregister", Fault::Refused);
    let steps = steps.fault("close, retiring", Fault::Refused);
    let bob = registered(&steps).await;
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let _serving = bob.serve(stuck, ServeOptions::default()).await.expect("served");
    let call = bob.call(bob.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    tokio::time::sleep(SECOND).await;
    let error = bob.close(CloseMode::Retire, SECOND).await.expect_err("it is still registered");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    for (name, value) in [
        ("mode", "retire"),
        ("drained", "false"),
        ("unsettled", "1"),
        ("unregistered", "false"),
        ("calls_ended", "1"),
        ("unsent", "0"),
    ] {
        assert_eq!(fact(&error, name), Some(value), "{error:?}");
    }
    drop(call);
    assert!(is_found(&network).await);
    steps.heal();
    let report = bob.close(CloseMode::Retire, SECOND).await.expect("closed");
    assert!(report.unregistered);
    let left = (report.drained, report.unsettled, report.calls_ended);
    assert_eq!(left, (false, 1, 1), "what the first closing left is told again");
    assert!(!is_found(&network).await);
}

#[tokio::test(start_paused = true)]
async fn closing_a_closed_agent_is_refused_and_says_what_became_of_its_registration() {
    let network = Loopback::new();
    let bob = registered(&Steps::new(&network, "bob")).await;
    assert!(!bob.close(CloseMode::Detach, SECOND).await.expect("closed").unregistered);
    let error = is_refused(bob.close(CloseMode::Detach, SECOND).await, "already closed");
    assert!(!error.to_string().contains("registered"), "{error}");
    let error = is_refused(bob.close(CloseMode::Retire, SECOND).await, "still registered");
    assert_eq!((fact(&error, "mode"), fact(&error, "unregistered")), (Some("detach"), Some("false")));
    assert!(is_found(&network).await);

    let bob = registered(&Steps::new(&network, "bob")).await;
    assert!(bob.close(CloseMode::Retire, SECOND).await.expect("closed").unregistered);
    for mode in [CloseMode::Detach, CloseMode::Retire] {
        let error = is_refused(bob.close(mode, SECOND).await, "already closed");
        assert_eq!((fact(&error, "mode"), fact(&error, "unregistered")), (Some("retire"), Some("true")));
    }
}

#[tokio::test(start_paused = true)]
async fn closings_in_the_same_breath_get_one_report_though_there_is_nothing_to_do() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    let close = async || bob.close(CloseMode::Detach, SECOND).await;
    let (one, two, three) = tokio::join!(close(), close(), close());
    let report = one.expect("closed");
    assert_eq!((two.expect("in time"), three.expect("in time")), (report, report));
    is_refused(close().await, "already closed");
}

#[tokio::test(start_paused = true)]
async fn who_retires_while_another_detaches_is_told_that_the_agent_stays_registered() {
    let network = Loopback::new();
    let bob = registered(&Steps::new(&network, "bob")).await;
    let (detached, retired) =
        tokio::join!(bob.close(CloseMode::Detach, SECOND), bob.close(CloseMode::Retire, SECOND));
    detached.expect("closed");
    is_refused(retired, "still registered");
    assert!(is_found(&network).await);
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_closing_that_was_dropped_anywhere_is_the_next_ones() {
    for polls in 1.. {
        let network = Loopback::new();
        let bob = registered(&Steps::new(&network, "bob")).await;
        let first = pending_at_most(polls, bob.close(CloseMode::Retire, SECOND)).await;
        let again = bob.close(CloseMode::Retire, SECOND).await;
        if let Some(first) = first {
            assert!(first.expect("closed").unregistered && polls > 1);
            is_refused(again, "already closed");
            return;
        }
        assert!(again.unwrap_or_else(|error| panic!("after {polls} polls: {error:?}")).unregistered);
        assert!(!is_found(&network).await, "after {polls} polls");
        is_refused(bob.close(CloseMode::Retire, SECOND).await, "already closed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attachment_that_somebody_else_closed_is_closed_and_its_registration_is_not_gone() {
    let network = Loopback::new();
    let bob = registered(&Steps::new(&network, "bob")).await;
    bob.transport().close(CloseMode::Detach).await.expect("closed");
    for _ in 0..2 {
        let error = bob.close(CloseMode::Retire, SECOND).await.expect_err("nobody could unregister it");
        let facts = (error.kind(), fact(&error, "unregistered"));
        assert_eq!(facts, (ErrorKind::Closed, Some("false")), "{error:?}");
        assert!(error.to_string().contains("still registered"), "{error}");
    }
    let report = bob.close(CloseMode::Detach, SECOND).await.expect("it is where it should be");
    assert!(!report.unregistered && is_found(&network).await);
}

#[tokio::test(start_paused = true)]
async fn every_verb_of_a_closed_agent_says_that_it_was_closed_and_for_what() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    bob.close(CloseMode::Retire, SECOND).await.expect("closed");
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let question = || CallRequest::new(Body::text("x"));
    let targets = [alice.address().clone()];
    let errors = [
        bob.send(&text(&alice, "x")).await.expect_err("closed"),
        bob.call(alice.address(), question()).await.expect_err("closed"),
        bob.call_many(&targets, question(), agentchat_core::agent::CallMode::all())
            .await
            .expect_err("closed"),
        bob.discover(&Query::all()).await.expect_err("closed"),
        bob.report(&Heartbeat::new("online", SECOND)).await.expect_err("closed"),
        bob.put_state("key", Body::text("x")).await.expect_err("closed"),
        bob.state_of(alice.address(), "key").await.expect_err("closed"),
        bob.serve(stuck, ServeOptions::default()).await.expect_err("closed"),
    ];
    let verbs = ["send", "call", "call_many", "discover", "report", "put", "get", "serve"];
    for (error, verb) in errors.iter().zip(verbs) {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, verb));
        assert_eq!(error.to_string(), format!("{verb}: the agent was closed, to retire"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_session_could_not_send_is_in_the_report() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "alice");
    let session = ResilientConnector::new(connector.clone(), ResilientOptions::new());
    let alice = Agent::builder(session).start().await.expect("started");
    let bob = start(&network, "bob").await;
    connector.change(|script| script.sends.extend([support::Fate::Hangs; 20]));
    let sends: Vec<_> = (0..2)
        .map(|number| {
            let (alice, message) = (alice.clone(), text(&bob, &number.to_string()));
            tokio::spawn(async move { alice.send(&message).await })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    let report = alice.close(CloseMode::Detach, 60 * SECOND).await.expect("closed");
    assert_eq!((report.unsent, report.is_clean()), (2, false));
    for send in sends {
        send.await.expect("no panic").expect_err("its sender knows too");
    }
    let again = is_refused(alice.close(CloseMode::Detach, SECOND).await, "already closed");
    assert_eq!(fact(&again, "unsent"), Some("2"), "{again:?}");
}
