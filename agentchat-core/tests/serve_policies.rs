//! What of a conversation a handler gets, and that no conversation holds up another.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use agentchat_core::{
    Agent, Body, CallRequest, ConversationId, ErrorKind, Handler, HandlerResult, Loopback, Outbound, Request,
    ServeOptions, ServePolicy, SubscribeOptions, batch_handler,
};
use async_trait::async_trait;
use support::{SECOND, soon, start, text};
use tokio::sync::{Semaphore, mpsc};

fn conversation(name: &str) -> ConversationId {
    ConversationId::new(name).expect("id")
}

fn said(to: &Agent, name: &str, body: &str) -> Outbound {
    text(to, body).with_conversation(conversation(name))
}

fn body(request: &Request) -> String {
    request.body().as_str().unwrap_or_default().to_owned()
}

fn unbounded() -> ServeOptions {
    ServeOptions::default().with_subscribe(SubscribeOptions::own().with_max_unsettled(100_000))
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_together_are_handed_over_together() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    for number in 0..7 {
        alice.send(&said(&bob, "c", &number.to_string())).await.expect("sent");
    }
    let (told, mut log) = mpsc::channel(8);
    let handler = batch_handler(move |requests: Vec<Request>| {
        let told = told.clone();
        async move {
            tokio::time::sleep(SECOND).await;
            Ok(told.send(requests.iter().map(body).collect::<Vec<_>>()).await?)
        }
    });
    let options = unbounded().with_policy(ServePolicy::Batch(4));
    let serving = bob.serve(handler, options).await.expect("served");
    let mut batches = Vec::new();
    while batches.iter().map(Vec::len).sum::<usize>() < 7 {
        batches.push(soon(log.recv()).await.expect("a batch"));
    }
    assert!(batches.iter().all(|batch| batch.len() <= 4) && batches.len() <= 3, "{batches:?}");
    assert_eq!(batches.concat(), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(serving.stop(SECOND).await.stats.handled, 7);
}

/// Handles one message at a time, and panics the first time it sees `bomb`.
struct OneByOne(mpsc::Sender<(String, u32)>);

#[async_trait]
impl Handler for OneByOne {
    async fn handle(&self, request: Request) -> HandlerResult {
        self.0.send((body(&request), request.attempt())).await?;
        assert!(body(&request) != "bomb" || request.attempt() > 1, "boom");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_single_messages_handles_a_batch_one_by_one_and_none_of_them_twice() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    for name in ["a", "bomb", "c", "d"] {
        alice.send(&said(&bob, "c", name)).await.expect("sent");
    }
    let (told, mut log) = mpsc::channel(16);
    let options = unbounded().with_policy(ServePolicy::Batch(10));
    let serving = bob.serve(OneByOne(told), options).await.expect("served");
    let mut handled = Vec::new();
    for _ in 0..5 {
        handled.push(soon(log.recv()).await.expect("handled"));
    }
    let expected = [("a", 1), ("bomb", 1), ("bomb", 2), ("c", 1), ("d", 1)];
    assert_eq!(handled, expected.map(|(name, attempt)| (name.to_owned(), attempt)));
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_superseded_request_is_told_and_the_newest_is_answered() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let handler = |request: Request| async move {
        tokio::time::sleep(10 * SECOND).await;
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let options = unbounded().with_policy(ServePolicy::Latest);
    let serving = bob.serve(handler, options).await.expect("served");
    let mut calls = Vec::new();
    for number in 0..4 {
        let request = CallRequest::new(Body::text(number.to_string())).with_conversation(conversation("c"));
        calls.push(alice.call(bob.address(), request).await.expect("sent"));
        tokio::time::sleep(SECOND).await;
    }
    let begun = tokio::time::Instant::now();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(soon(call.response()).await.map(|reply| reply.body().as_str().map(str::to_owned)));
    }
    assert!(begun.elapsed() < 20 * SECOND, "nobody waits for a deadline");
    let [Ok(first), Err(second), Err(third), Ok(last)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((first.as_deref(), last.as_deref()), (Some("0"), Some("3")));
    for error in [second, third] {
        assert!(error.kind() == ErrorKind::Handler && error.to_string().contains("superseded"), "{error}");
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!((serving.stats().superseded, serving.stats().handled), (2, 2));
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_and_one_that_fails_hold_up_their_own_conversation_and_no_other() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    for body in ["hangs", "fails"] {
        alice.send(&said(&bob, body, body)).await.expect("sent");
        alice.send(&said(&bob, body, "behind it")).await.expect("sent");
    }
    let (told, mut log) = mpsc::channel(200);
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            match request.body().as_str() {
                Some("hangs") => std::future::pending().await,
                Some("fails") => Err("never".into()),
                _ => Ok(told.send(body(&request)).await?),
            }
        }
    };
    let options = ServeOptions::default().with_concurrency(2).with_retry(SECOND / 10, SECOND);
    let _serving = bob.serve(handler, options).await.expect("served");
    tokio::time::sleep(5 * SECOND).await;
    let begun = tokio::time::Instant::now();
    for number in 0..100 {
        let name = format!("c{}", number % 10);
        alice.send(&said(&bob, &name, &number.to_string())).await.expect("sent");
    }
    let mut handled = Vec::new();
    for _ in 0..100 {
        handled.push(soon(log.recv()).await.expect("handled"));
    }
    assert!(begun.elapsed() < 2 * SECOND && !handled.contains(&"behind it".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_conversations_are_each_heard_in_order_by_at_most_so_many_handlers() {
    const CONVERSATIONS: usize = 10_000;
    const SLOTS: usize = 200;
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let heard: Arc<Mutex<Vec<Vec<usize>>>> = Arc::new(Mutex::new(vec![Vec::new(); CONVERSATIONS]));
    let (slots, most) = (Arc::new(Semaphore::new(SLOTS)), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (heard, slots, most) = (Arc::clone(&heard), Arc::clone(&slots), Arc::clone(&most));
        move |request: Request| {
            let (heard, slots, most) = (Arc::clone(&heard), Arc::clone(&slots), Arc::clone(&most));
            async move {
                let _slot = slots.try_acquire().expect("no more handlers than slots");
                most.fetch_max(SLOTS - slots.available_permits(), Ordering::SeqCst);
                let (name, number) =
                    body(&request).split_once(' ').map(|(c, n)| (c.parse(), n.parse())).ok_or("?")?;
                let (name, number): (usize, usize) = (name?, number?);
                tokio::time::sleep(SECOND / 1_000 * (1 + name as u32 % 7)).await;
                heard.lock().expect("not poisoned")[name].push(number);
                Ok(())
            }
        }
    };
    let serving = bob.serve(handler, unbounded().with_concurrency(SLOTS)).await.expect("served");
    for number in 0..3 {
        for name in 0..CONVERSATIONS {
            let message = said(&bob, &name.to_string(), &format!("{name} {number}"));
            alice.send(&message).await.expect("sent");
        }
    }
    let all = 3 * CONVERSATIONS as u64;
    while serving.stats().handled < all {
        assert_eq!(serving.stats().failed, 0);
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), SLOTS, "and all of them are used");
    assert!(heard.lock().expect("not poisoned").iter().all(|numbers| *numbers == [0, 1, 2]));
    let served = serving.stop(60 * SECOND).await;
    assert_eq!((served.unsettled, served.unacknowledged, served.stats.handled), (0, 0, all));
}
