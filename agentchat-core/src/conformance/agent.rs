//! The agent runtime over the network: calls and serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::kit::{in_conversation, require, start, within};
use super::{Harness, Outcome};
use crate::agent::{CallRequest, Request, ServeOptions};
use crate::error::ErrorKind;
use crate::message::Body;
use crate::options::SubscribeOptions;

/// Progress and the last reply arrive numbered, in order, and end the call.
pub async fn call_gets_its_replies_in_order(harness: &dyn Harness) -> Outcome {
    let asker = start(harness, "asker").await;
    let worker = start(harness, "worker").await;
    let handler = |request: Request| async move {
        for step in 1..=5 {
            request.progress(Body::text(format!("step {step}"))).await?;
        }
        request.reply(Body::text("done")).await?;
        Ok(())
    };
    let serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    for _ in 0..2 {
        let request = CallRequest::new(Body::text("work")).with_timeout(Duration::from_secs(20));
        let mut call = asker.call(worker.address(), request).await.expect("sent");
        let mut replies = Vec::new();
        while let Some(reply) = call.next().await {
            let reply = reply.expect("a reply");
            replies.push((reply.seq, reply.last, reply.body().as_str().expect("text").to_owned()));
        }
        let texts: Vec<_> = replies.iter().map(|(_, _, text)| text.as_str()).collect();
        assert_eq!(texts, ["step 1", "step 2", "step 3", "step 4", "step 5", "done"]);
        assert!(replies.iter().map(|reply| reply.0).eq(1..=6));
        assert!(replies.iter().all(|(seq, last, _)| *last == (*seq == 6)));
    }
    drop(serving);
    Outcome::Held
}

/// A call that nobody answers ends by its deadline.
pub async fn call_ends_by_its_deadline(harness: &dyn Harness) -> Outcome {
    let asker = start(harness, "asker").await;
    let silent = start(harness, "silent").await;
    let options = SubscribeOptions::own();
    let unanswered = silent.transport().subscribe(options).await.expect("its inbox is read");
    let request = CallRequest::new(Body::text("anyone?")).with_timeout(Duration::from_millis(300));
    let call = asker.call(silent.address(), request).await.expect("the request is stored");
    let error = within(call.response()).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(unanswered);
    Outcome::Held
}

/// A handler that fails and then panics sees its message again, marked as redelivered; the others do not
/// wait for it.
pub async fn serve_tries_a_failed_message_again(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (start(harness, "alice").await, start(harness, "bob").await);
    let (seen, mut log) = tokio::sync::mpsc::channel(16);
    let others_done = Arc::new(AtomicBool::new(false));
    let handler = move |request: Request| {
        let (seen, others_done) = (seen.clone(), Arc::clone(&others_done));
        async move {
            let text = request.body().as_str().unwrap_or_default().to_owned();
            match (text.as_str(), request.attempt()) {
                ("trouble", 1) => return Err("the disk is full".into()),
                ("trouble", 2) => panic!("a handler may panic"),
                ("trouble", _) if !others_done.load(Ordering::SeqCst) => {
                    return Err("not before the other".into());
                }
                _ => others_done.store(true, Ordering::SeqCst),
            }
            seen.send((text, request.attempt(), request.delivery().redelivered)).await?;
            Ok(())
        }
    };
    let options = ServeOptions::default()
        .with_concurrency(1)
        .with_retry(Duration::from_millis(20), Duration::from_millis(50));
    let serving = bob.serve(handler, options).await.expect("served");
    // Some networks have every message in a conversation, whose later ones would wait.
    for text in ["trouble", "fine"] {
        alice.send(&in_conversation(bob.address(), text, text)).await.expect("accepted");
    }
    assert_eq!(within(log.recv()).await.expect("handled"), ("fine".to_owned(), 1, false));
    let (text, attempt, redelivered) = within(log.recv()).await.expect("handled");
    assert!(text == "trouble" && attempt >= 3 && redelivered, "{text} {attempt} {redelivered}");
    drop(serving);
    Outcome::Held
}

/// Conversations are handled in their order, each by itself: one that is slow holds up no other.
pub async fn serve_keeps_conversations_in_order_and_apart(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (start(harness, "alice").await, start(harness, "bob").await);
    require!(bob; Order);
    let (seen, mut log) = tokio::sync::mpsc::channel(16);
    let release = Arc::new(tokio::sync::Notify::new());
    let slow = Arc::clone(&release);
    let handler = move |request: Request| {
        let (seen, slow) = (seen.clone(), Arc::clone(&slow));
        async move {
            let text = request.body().as_str().unwrap_or_default().to_owned();
            if text == "slow 1" {
                slow.notified().await;
            }
            seen.send(text).await?;
            Ok(())
        }
    };
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    for text in ["slow 1", "slow 2", "quick 1", "quick 2"] {
        let (conversation, _) = text.split_once(' ').expect("two words");
        alice.send(&in_conversation(bob.address(), conversation, text)).await.expect("accepted");
    }
    let mut handled = Vec::new();
    for at in 0..4 {
        if at == 2 {
            release.notify_one();
        }
        handled.push(within(log.recv()).await.expect("handled"));
    }
    assert_eq!(handled, ["quick 1", "quick 2", "slow 1", "slow 2"]);
    drop(serving);
    Outcome::Held
}
