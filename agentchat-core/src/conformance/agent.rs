//! The agent runtime over the network: calls, serving, closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::directory::unique;
use super::{Harness, Outcome, within};
use crate::agent::{Agent, CallRequest, Request, ServeOptions};
use crate::card::AgentCard;
use crate::directory::Query;
use crate::error::ErrorKind;
use crate::message::{Body, Outbound};
use crate::options::{CloseMode, SubscribeOptions};

/// Progress and the last reply arrive numbered, in order, and end the call.
pub async fn call_gets_its_replies_in_order(harness: &dyn Harness) -> Outcome {
    let asker = start(harness, "asker").await;
    if !asker.capabilities().extra_inbox {
        return Outcome::Skipped("the network cannot open reply inboxes");
    }
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
    if !asker.capabilities().extra_inbox {
        return Outcome::Skipped("the network cannot open reply inboxes");
    }
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
    for text in ["trouble", "fine"] {
        alice.send(&Outbound::new(bob.address().clone(), Body::text(text))).await.expect("accepted");
    }
    assert_eq!(within(log.recv()).await.expect("handled"), ("fine".to_owned(), 1, false));
    let (text, attempt, redelivered) = within(log.recv()).await.expect("handled");
    assert!(text == "trouble" && attempt >= 3 && redelivered, "{text} {attempt} {redelivered}");
    drop(serving);
    Outcome::Held
}

/// An agent that detaches is away, not gone: it is found and its inbox goes on collecting.
pub async fn close_detached_keeps_the_agent_findable(harness: &dyn Harness) -> Outcome {
    let name = unique("away");
    let Some((asker, address)) = registered_then_closed(harness, &name, CloseMode::Detach).await else {
        return Outcome::Skipped("the network has no directory or keeps nothing for an agent that is away");
    };
    let found = asker.discover(&Query::name(&name)).await.expect("an answer");
    assert_eq!(found.agents.len(), 1);
    asker.send(&Outbound::new(address, Body::text("for later"))).await.expect("its inbox collects");
    let back = start(harness, "worker").await;
    back.close(CloseMode::Retire, Duration::from_secs(1)).await.expect("retired");
    Outcome::Held
}

/// An agent that retires is not found any more.
pub async fn close_retired_takes_it_out_of_the_directory(harness: &dyn Harness) -> Outcome {
    let name = unique("gone");
    let Some((asker, _)) = registered_then_closed(harness, &name, CloseMode::Retire).await else {
        return Outcome::Skipped("the network has no directory or keeps nothing for an agent that is away");
    };
    assert!(asker.discover(&Query::name(&name)).await.expect("an answer").agents.is_empty());
    Outcome::Held
}

async fn registered_then_closed(
    harness: &dyn Harness,
    name: &str,
    mode: CloseMode,
) -> Option<(Agent, crate::Address)> {
    let asker = start(harness, "asker").await;
    if !asker.capabilities().directory || !asker.capabilities().durable_inbox {
        return None;
    }
    let card = AgentCard::new(name, "Comes and goes").expect("a valid card");
    let worker = Agent::builder(harness.connector("worker").await).card(card).start().await.expect("started");
    let address = worker.address().clone();
    let report = worker.close(mode, Duration::from_secs(5)).await.expect("closed");
    assert!(report.drained);
    Some((asker, address))
}

async fn start(harness: &dyn Harness, name: &str) -> Agent {
    Agent::builder(harness.connector(name).await).start().await.expect("the agent starts")
}
