//! What a handler can make of a message, and who is told.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use agentchat_core::agent::DeadLetter;
use agentchat_core::{
    Agent, Body, Call, CallRequest, Error, ErrorKind, HandlerError, HandlerResult, Loopback, Reached,
    Request, ServeOptions,
};
use support::{Fate, SECOND, Scripted, soon, start, text};
use tokio::sync::mpsc;

async fn ask(asker: &Agent, peer: &Agent) -> Call {
    let request = CallRequest::new(Body::text("x")).with_timeout(3600 * SECOND);
    asker.call(peer.address(), request).await.expect("sent")
}

fn told(error: &Error) -> String {
    assert_eq!(error.kind(), ErrorKind::Handler);
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn silence_settles_a_request_and_its_caller_waits_until_its_deadline() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let serving = bob.serve(|_: Request| async { Ok(()) }, ServeOptions::default()).await.expect("served");
    let request = CallRequest::new(Body::text("x")).with_timeout(60 * SECOND);
    let call = alice.call(bob.address(), request).await.expect("sent");
    assert_eq!(call.response().await.expect_err("no answer").kind(), ErrorKind::Timeout);
    let stats = serving.stop(SECOND).await.stats;
    assert_eq!((stats.handled, stats.failed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_tried_once_buried_and_its_caller_told_why() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let morgue = start(&network, "morgue").await;
    let (buried, mut letters) = mpsc::channel(4);
    let keeper = move |letter: Request| {
        let buried = buried.clone();
        async move { Ok(buried.send(letter.body().clone()).await?) }
    };
    let _keeping = morgue.serve(keeper, ServeOptions::default()).await.expect("served");
    let tries = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&tries);
    let handler = move |_: Request| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Err(HandlerError::reject("not my trade")) }
    };
    let options = ServeOptions::default().with_dead_letter(morgue.address().clone(), 5);
    let serving = bob.serve(handler, options).await.expect("served");
    let begun = tokio::time::Instant::now();
    let error = soon(ask(&alice, &bob).await.response()).await.expect_err("rejected");
    assert!(told(&error).contains("not my trade"), "{error}");
    assert_eq!(soon(letters.recv()).await, Some(Body::text("x")));
    assert!(begun.elapsed() < SECOND);
    let served = serving.stop(SECOND).await;
    assert_eq!((tries.load(Ordering::SeqCst), served.unsettled, served.stats.rejected), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_without_a_place_for_dead_letters_settles_the_message() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let handler = |_: Request| async { Err(HandlerError::reject("no")) };
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    tokio::time::sleep(SECOND).await;
    let served = serving.stop(SECOND).await;
    assert_eq!((served.unsettled, served.unacknowledged, served.stats.failed), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_was_answered_is_not_told_of_a_rejection_and_one_that_got_half_an_answer_is() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let half = Arc::new(AtomicU32::new(0));
    let handler = move |request: Request| {
        let half = half.fetch_add(1, Ordering::SeqCst) == 1;
        async move {
            match half {
                true => request.progress(Body::text("half")).await?,
                false => request.reply(Body::text("whole")).await?,
            };
            Err(HandlerError::reject("after all"))
        }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let reply = soon(ask(&alice, &bob).await.response()).await.expect("answered");
    assert_eq!(reply.body().as_str(), Some("whole"));
    let mut call = ask(&alice, &bob).await;
    assert!(soon(call.next()).await.is_some_and(|reply| reply.is_ok_and(|reply| !reply.last)));
    let end = soon(call.next()).await.expect("an end").expect("a reply");
    assert!(end.last && end.error.is_some_and(|why| why.contains("after all")));
}

#[tokio::test(start_paused = true)]
async fn the_caller_of_a_request_that_was_tried_for_the_last_time_is_told_without_the_owners_error() {
    let network = Loopback::new();
    let (alice, morgue) = (start(&network, "alice").await, start(&network, "morgue").await);
    let options = ServeOptions::default();
    let addressed = options.clone().with_dead_letter(morgue.address().clone(), 3);
    for (number, options) in [options.with_max_attempts(3), addressed].into_iter().enumerate() {
        let bob = start(&network, &format!("bob{number}")).await;
        let handler = |_: Request| async { Err("the password is hunter2".into()) };
        let serving = bob.serve(handler, options).await.expect("served");
        let error = soon(ask(&alice, &bob).await.response()).await.expect_err("given up");
        assert!(told(&error).contains("3 failures") && !error.to_string().contains("hunter2"), "{error}");
        tokio::time::sleep(SECOND).await;
        let served = serving.stop(SECOND).await;
        assert_eq!((served.unsettled, served.stats.failed, served.stats.given_up), (0, 3, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn telling_a_caller_is_tried_again_when_the_network_would_not_take_it() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    let (alice, bob) = (start(&network, "alice").await, connector.start().await);
    let handler = |_: Request| async { Err(HandlerError::reject("no")) };
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let busy = Fate::Lost(ErrorKind::RateLimited, Reached::Yes);
    connector.change(|script| script.sends = vec![busy; 2].into());
    let error = soon(ask(&alice, &bob).await.response()).await.expect_err("rejected");
    assert!(told(&error).contains("rejected"));
    connector.change(|script| script.sends = vec![busy; 1_000].into());
    let _untold = ask(&alice, &bob).await;
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0, "it is not tried for ever");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_tried_again_when_its_handler_says() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let (tried, mut tries) = mpsc::channel(4);
    let handler = move |request: Request| {
        let tried = tried.clone();
        async move {
            tried.send(tokio::time::Instant::now()).await?;
            match request.attempt() {
                1 => Err(HandlerError::retry_after(40 * SECOND, "the market is closed")),
                2 => Err(HandlerError::retry("it is always something")),
                _ => Ok(()),
            }
        }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(soon(tries.recv()).await.expect("a try"));
    }
    let waits: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(waits, [40, 2], "a given time counts as a failure, and the next wait is a backoff");
}

#[tokio::test(start_paused = true)]
async fn a_hook_gets_the_letter_the_count_and_the_error_and_settles_it_by_its_ok_alone() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    let (alice, bob) = (start(&network, "alice").await, connector.start().await);
    let (buried, mut letters) = mpsc::channel(8);
    let calls = Arc::new(AtomicU32::new(0));
    let hook = move |letter: DeadLetter| {
        let (buried, call) = (buried.clone(), calls.fetch_add(1, Ordering::SeqCst));
        async move {
            let text = letter.delivery.body.as_str().unwrap_or_default().to_owned();
            buried.send((text, letter.failures, letter.error.to_string(), letter.error.is_panic())).await?;
            match call {
                0 => Err("the disk is full".into()),
                1 => panic!("the disk is on fire"),
                2 => Err(HandlerError::retry_after(100 * SECOND, "it is being replaced")),
                _ => Ok(()),
            }
        }
    };
    let handler = |_: Request| async { panic!("cannot read this") };
    let options = ServeOptions::default().with_dead_letter_hook(hook, 2);
    let serving = bob.serve(handler, options).await.expect("served");
    alice.send(&text(&bob, "poison")).await.expect("sent");
    let expected = ("poison".to_owned(), 2, "the handler panicked: cannot read this".to_owned(), true);
    let mut times = Vec::new();
    for _ in 0..4 {
        assert!(connector.read(|script| script.acked.is_empty()), "it is not settled before the hook's Ok");
        assert_eq!(soon(letters.recv()).await.as_ref(), Some(&expected));
        times.push(tokio::time::Instant::now());
    }
    let waits: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(waits, [1, 2, 100]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(connector.read(|script| script.acked.iter().flatten().count()), 1);
    assert_eq!(serving.stop(SECOND).await.stats.given_up, 1);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_does_not_wait_is_a_hook_too() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    let (buried, mut letters) = mpsc::channel(4);
    let callback =
        move |letter: DeadLetter| Ok(buried.try_send((letter.failures, letter.error.is_reject()))?);
    let handler = |_: Request| async { HandlerResult::Err(HandlerError::reject("no")) };
    let options = ServeOptions::default().with_dead_letter_callback(callback, 2);
    let serving = bob.serve(handler, options).await.expect("served");
    bob.send(&text(&bob, "poison")).await.expect("sent");
    assert_eq!(soon(letters.recv()).await, Some((1, true)));
    tokio::time::sleep(SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}
