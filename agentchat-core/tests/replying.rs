//! Replies have no holes and belong to their request, whatever happens while they are sent.

mod support;

use agentchat_core::{
    Body, CallRequest, ClientMsgId, ErrorKind, Loopback, LoopbackFaults, Reached, Request, ServeOptions,
};
use support::peer::rest;
use support::{Fate, SECOND, Scripted, soon, start};

#[tokio::test(start_paused = true)]
async fn two_askers_that_use_one_id_both_get_their_replies() {
    let network = Loopback::new();
    let worker = start(&network, "worker").await;
    let handler = |request: Request| async move {
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    for name in ["alice", "bob"] {
        let asker = start(&network, name).await;
        let request = CallRequest::new(Body::text(name)).with_id(ClientMsgId::new("m-1").expect("id"));
        let reply = asker.call(worker.address(), request).await.expect("sent").response().await;
        assert_eq!(reply.expect("answered").body().as_str(), Some(name));
    }
}

#[tokio::test(start_paused = true)]
async fn replies_have_no_holes_whatever_a_handler_makes_of_errors() {
    let lost = Fate::Lost(ErrorKind::Timeout, Reached::Unknown);
    let refused = Fate::Lost(ErrorKind::RateLimited, Reached::Yes);
    for fates in [
        vec![lost, Fate::Works],
        vec![Fate::Unanswered],
        vec![refused],
        vec![Fate::Hangs],
        vec![Fate::Works, lost, lost, Fate::Unanswered],
    ] {
        let network = Loopback::new();
        let connector = Scripted::new(&network, "worker");
        let (alice, worker) = (start(&network, "alice").await, connector.start().await);
        connector.change(|script| script.sends = fates.clone().into());
        let handler = |request: Request| async move {
            for step in ["one", "two"] {
                // What a careless handler does.
                let _ = tokio::time::timeout(SECOND, request.progress(Body::text(step))).await;
            }
            request.reply(Body::text("done")).await?;
            Ok(())
        };
        let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
        let request = CallRequest::new(Body::text("x")).with_timeout(60 * SECOND);
        let mut call = alice.call(worker.address(), request).await.expect("sent");
        let mut texts = Vec::new();
        while let Some(reply) = soon(call.next()).await {
            let reply = reply.unwrap_or_else(|error| panic!("{fates:?} gave {texts:?}, then {error}"));
            assert_eq!(reply.seq, texts.len() as u64 + 1);
            texts.push(reply.body().as_str().unwrap_or_default().to_owned());
        }
        assert_eq!(texts.last().map(String::as_str), Some("done"), "{fates:?}");
        let mut expected = vec!["one", "two", "done"];
        if matches!(fates[0], Fate::Lost(_, Reached::Yes)) {
            expected.remove(0);
        }
        assert_eq!(texts, expected, "{fates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_repeated_after_an_error_is_one_reply() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "worker");
    let (alice, worker) = (start(&network, "alice").await, connector.start().await);
    connector.change(|script| script.sends = [Fate::Unanswered].into());
    let handler = |request: Request| async move {
        request.progress(Body::text("same")).await.expect_err("the answer is lost");
        request.progress(Body::text("same")).await?;
        request.reply(Body::text("same")).await?;
        Ok(())
    };
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    let mut call = alice.call(worker.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    assert_eq!(rest(&mut call).await, (vec![1, 2], None));
}

#[tokio::test(start_paused = true)]
async fn replies_made_at_the_same_time_are_numbered_one_after_the_other() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(0).with_latency(SECOND / 10));
    let (alice, worker) = (start(&network, "alice").await, start(&network, "worker").await);
    let handler = |request: Request| async move {
        let all = (0..20).map(|number| request.progress(Body::text(number.to_string())));
        futures_util::future::try_join_all(all).await?;
        request.reply(Body::text("done")).await?;
        Ok(())
    };
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    let mut call = alice.call(worker.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    assert_eq!(rest(&mut call).await, ((1..=21).collect(), None));
}
