//! Two agents that thank each other come to an end.

mod support;

use agentchat_core::agent::REPLY_SEQ;
use agentchat_core::agent::ServeStats;
use agentchat_core::{
    Agent, Body, CallRequest, ConversationId, CorrelationId, Delivery, HandlerError, Loopback, Outbound,
    Request, ServeOptions, Serving,
};
use support::{SECOND, soon, start, text};

/// Answers whatever it gets with a message that asks for an answer, as two polite models do.
async fn serve_politely(agent: &Agent, options: ServeOptions) -> Serving {
    let own = agent.clone();
    let handler = move |request: Request| {
        let agent = own.clone();
        async move {
            tokio::time::sleep(SECOND).await;
            let to = request.delivery().sender.clone().ok_or("no sender")?;
            agent.send(&thanks(&agent, to)).await?;
            Ok(())
        }
    };
    agent.serve(handler, options).await.expect("served")
}

fn thanks(from: &Agent, to: agentchat_core::Address) -> Outbound {
    Outbound::new(to, Body::text("thank you"))
        .with_conversation(ConversationId::new("manners").expect("id"))
        .with_correlation_id(CorrelationId::random())
        .with_reply_to(from.address().clone())
}

fn sum(stats: [ServeStats; 2], what: impl Fn(ServeStats) -> u64) -> u64 {
    stats.into_iter().map(what).sum()
}

#[tokio::test(start_paused = true)]
async fn two_agents_that_answer_each_other_end_and_so_do_their_refusals() {
    for both in [true, false] {
        let network = Loopback::new();
        let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
        let limited = ServeOptions::default().with_turn_limit(5, 100_000 * SECOND);
        let options = if both { limited.clone() } else { ServeOptions::default() };
        let alices = serve_politely(&alice, options).await;
        let bobs = serve_politely(&bob, limited).await;
        alice.send(&thanks(&alice, bob.address().clone())).await.expect("sent");
        tokio::time::sleep(1_000 * SECOND).await;
        let quiet = [alices.stats(), bobs.stats()];
        tokio::time::sleep(10_000 * SECOND).await;
        assert_eq!([alices.stats(), bobs.stats()], quiet, "it has ended");
        assert_eq!(bobs.stats().handled, 5);
        // The first refusal is told to alice, whose answer to it is refused in silence.
        let handled = sum(quiet, |stats| stats.handled);
        let refused = sum(quiet, |stats| stats.rejected);
        assert!((10..=11).contains(&handled) && (1..=2).contains(&refused), "{quiet:?}");
        for serving in [alices, bobs] {
            assert_eq!(serving.stop(SECOND).await.unsettled, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn agents_that_reject_everything_do_not_reject_each_others_rejections_for_ever() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let stern = |request: Request| async move {
        let replies = request.delivery().headers.get(REPLY_SEQ).is_some();
        assert_eq!(request.wants_reply(), !replies, "who replies does not wait");
        Err(HandlerError::reject("no"))
    };
    let alices = alice.serve(stern, ServeOptions::default()).await.expect("served");
    let bobs = bob.serve(stern, ServeOptions::default()).await.expect("served");
    alice.send(&thanks(&alice, bob.address().clone())).await.expect("sent");
    tokio::time::sleep(1_000 * SECOND).await;
    assert_eq!((bobs.stats().rejected, alices.stats().rejected), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_they_would_not_end() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let _alices = serve_politely(&alice, ServeOptions::default()).await;
    let bobs = serve_politely(&bob, ServeOptions::default()).await;
    alice.send(&thanks(&alice, bob.address().clone())).await.expect("sent");
    tokio::time::sleep(1_000 * SECOND).await;
    assert!(bobs.stats().handled > 400);
}

#[tokio::test(start_paused = true)]
async fn a_caller_over_the_limit_is_told_and_the_next_window_is_open_again() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let echo = |request: Request| async move {
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let options = ServeOptions::default().with_turn_limit(2, 60 * SECOND);
    let _serving = bob.serve(echo, options).await.expect("served");
    let ask = async || {
        let conversation = ConversationId::new("c").expect("id");
        let request = CallRequest::new(Body::text("x")).with_conversation(conversation);
        soon(alice.call(bob.address(), request).await.expect("sent").response()).await
    };
    for _window in 1..=2 {
        for _ in 0..2 {
            ask().await.expect("answered");
        }
        for _ in 0..3 {
            let error = ask().await.expect_err("over the limit");
            assert!(error.to_string().contains("its 2 messages"), "{error}");
        }
        tokio::time::sleep(60 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_ones_own_rejects_with_its_reason() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let guard = |message: &Delivery| match message.body.as_str() {
        Some("thank you") => Err("thanks need no answer".to_owned()),
        _ => Ok(()),
    };
    let echo = |request: Request| async move {
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let serving = bob.serve(echo, ServeOptions::default().with_turn_guard(guard)).await.expect("served");
    let ask = async |body: &str| {
        let call = alice.call(bob.address(), CallRequest::new(Body::text(body))).await.expect("sent");
        soon(call.response()).await
    };
    ask("hello").await.expect("answered");
    let error = ask("thank you").await.expect_err("rejected");
    assert!(error.to_string().contains("thanks need no answer"), "{error}");
    alice.send(&text(&bob, "thank you")).await.expect("sent");
    tokio::time::sleep(SECOND).await;
    let served = serving.stop(SECOND).await;
    assert_eq!((served.unsettled, served.stats.handled, served.stats.rejected), (0, 1, 2));
}
