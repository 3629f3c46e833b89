//! A request is answered once, however often it is handled.

mod support;

use std::collections::HashSet;

use agentchat_core::agent::REPLY_SEQ;
use agentchat_core::{
    Agent, Body, Call, CallRequest, ErrorKind, HandlerError, Loopback, Reached, Request, SendOutcome,
    ServeOptions,
};
use support::{Fate, SECOND, Scripted, soon, start};
use tokio::sync::mpsc;

/// What the caller gets, as text, to the end of the call.
async fn heard(mut call: Call) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(reply) = soon(call.next()).await {
        let reply = reply.expect("a reply");
        texts.push(
            reply.error.clone().unwrap_or_else(|| reply.body().as_str().unwrap_or_default().to_owned()),
        );
    }
    texts
}

async fn ask(asker: &Agent, peer: &Agent) -> Call {
    let request = CallRequest::new(Body::text("x")).with_timeout(3600 * SECOND);
    asker.call(peer.address(), request).await.expect("sent")
}

/// Answers with the texts of this attempt, `!` before the last reply; then fails, but for the last attempt.
async fn answer(request: Request, attempts: &[&[&str]]) -> Result<(), HandlerError> {
    let attempt = request.attempt() as usize;
    for text in attempts[attempt - 1] {
        match text.strip_prefix('!') {
            Some(last) => request.reply(Body::text(last)).await?,
            None => request.progress(Body::text(*text)).await?,
        };
    }
    if attempt < attempts.len() { Err("and then it fails".into()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_tried_again_keeps_its_first_answers_and_sends_none_twice() {
    let cases: [(&[&[&str]], &[&str]); 7] = [
        (&[&["!done"], &["!done"], &["!done"]], &["done"]),
        (&[&["!done"], &["!undone"]], &["done"]),
        (&[&["a"], &["a", "b", "!done"]], &["a", "b", "done"]),
        (&[&["a", "b"], &["a", "other", "!done"]], &["a", "b", "done"]),
        (&[&["a", "b"], &["!done"]], &["a", "b", "done"]),
        (&[&["a", "!done"], &["a", "b", "c", "!done"]], &["a", "done"]),
        (&[&[], &["!done", "more", "!done again"]], &["done"]),
    ];
    for (attempts, expected) in cases {
        let network = Loopback::new();
        let connector = Scripted::new(&network, "bob");
        let (alice, bob) = (start(&network, "alice").await, connector.start().await);
        let handler = move |request: Request| answer(request, attempts);
        let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
        assert_eq!(heard(ask(&alice, &bob).await).await, expected, "{attempts:?}");
        tokio::time::sleep(60 * SECOND).await;
        let sent = connector.read(|script| script.sent.clone());
        assert_eq!(sent.len(), expected.len(), "{attempts:?} sent {sent:?}");
        let ids: HashSet<_> = sent.iter().map(|reply| reply.client_msg_id.as_str()).collect();
        assert_eq!(ids.len(), sent.len(), "each has an id of its own");
        assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_receipt_of_a_reply_that_was_not_sent_again_is_that_of_the_first() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let (got, mut receipts) = mpsc::channel(4);
    let handler = move |request: Request| {
        let got = got.clone();
        async move {
            got.send(request.reply(Body::text(format!("attempt {}", request.attempt()))).await?.outcome)
                .await?;
            if request.attempt() == 1 { Err("again".into()) } else { Ok(()) }
        }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(heard(ask(&alice, &bob).await).await, ["attempt 1"]);
    let Some(SendOutcome::Accepted(first)) = soon(receipts.recv()).await else { panic!("accepted") };
    assert_eq!(soon(receipts.recv()).await, Some(SendOutcome::Duplicate(first)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_delivered_again_after_it_was_answered_is_not_answered_again() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    let (alice, bob) = (start(&network, "alice").await, connector.start().await);
    connector.change(|script| script.acks = vec![ErrorKind::Invalid; 1].into());
    let handler = |body: &'static str| {
        move |request: Request| async move {
            request.reply(Body::text(body)).await?;
            Ok(())
        }
    };
    let first = bob.serve(handler("first"), ServeOptions::default()).await.expect("served");
    assert_eq!(heard(ask(&alice, &bob).await).await, ["first"]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(first.stop(SECOND).await.unacknowledged, 1, "its acknowledgement was refused");
    let second = bob.serve(handler("second"), ServeOptions::default()).await.expect("served anew");
    tokio::time::sleep(SECOND).await;
    let stats = second.stop(SECOND).await.stats;
    assert_eq!(stats.handled, 1, "it came again, and who serves anew cannot know it");
    assert_eq!(connector.read(|script| script.sent.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_in_doubt_stays_the_first_one_when_the_request_is_tried_again() {
    let lost = Fate::Lost(ErrorKind::Timeout, Reached::Unknown);
    type Attempts = &'static [&'static [&'static str]];
    let cases: [(Attempts, Fate, &[&str]); 6] = [
        (&[&["!one"], &["!one"]], lost, &["one"]),
        (&[&["!one"], &["!two"]], lost, &["one"]),
        (&[&["!one"], &["!two"]], Fate::Unanswered, &["one"]),
        (&[&["one"], &["two", "!end"]], Fate::Unanswered, &["one", "end"]),
        (&[&["one"], &["!end"]], lost, &["one", "end"]),
        // What certainly reached nobody is no answer.
        (&[&["!one"], &["!two"]], Fate::Lost(ErrorKind::RateLimited, Reached::Yes), &["two"]),
    ];
    for (attempts, fate, expected) in cases {
        let network = Loopback::new();
        let connector = Scripted::new(&network, "bob");
        let (alice, bob) = (start(&network, "alice").await, connector.start().await);
        connector.change(|script| script.sends = [fate].into());
        let handler = move |request: Request| answer(request, attempts);
        let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
        assert_eq!(heard(ask(&alice, &bob).await).await, expected, "{attempts:?} {fate:?}");
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(serving.stop(SECOND).await.unsettled, 0);
        let by_seq = |seq: &str| {
            let of = |script: &support::Script| {
                let sent = script.sent.iter().filter(|reply| reply.headers.get(REPLY_SEQ) == Some(seq));
                sent.map(|reply| reply.fingerprint()).collect::<HashSet<_>>().len()
            };
            connector.read(of)
        };
        let maybe_stored = !matches!(fate, Fate::Lost(_, Reached::Yes));
        assert!(!maybe_stored || by_seq("1") == 1, "one number never stands for two contents");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_a_request_given_up_hears_what_was_answered_and_then_the_failure() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "bob");
    let (alice, bob) = (start(&network, "alice").await, connector.start().await);
    connector.change(|script| script.sends = [Fate::Works, Fate::Unanswered].into());
    let handler = |request: Request| async move {
        request.progress(Body::text("a")).await?;
        request.progress(Body::text("b")).await?;
        Err("never".into())
    };
    let options = ServeOptions::default().with_max_attempts(1);
    let _serving = bob.serve(handler, options).await.expect("served");
    let heard = heard(ask(&alice, &bob).await).await;
    assert_eq!(heard, ["a", "b", "given up after 1 failures"]);
}

/// What another process answered before it was killed nobody remembers here.
#[tokio::test(start_paused = true)]
async fn a_caller_hears_the_last_answer_of_a_peer_that_was_killed_and_has_less_to_say_when_it_is_back() {
    let cases: [(&'static [&'static str], &[&str]); 3] = [
        (&["!done"], &["a", "b", "done"]),
        (&["other", "!done"], &["a", "b", "done"]),
        (&["a", "b", "c", "!done"], &["a", "b", "c", "done"]),
    ];
    for (second, expected) in cases {
        let network = Loopback::new();
        let (alice, first) = (start(&network, "alice").await, start(&network, "bob").await);
        let handler = async |request: Request| {
            answer(request, &[&["a", "b"]]).await?;
            std::future::pending().await
        };
        let serving = first.serve(handler, ServeOptions::default()).await.expect("served");
        let mut call = ask(&alice, &first).await;
        let mut texts = Vec::new();
        for _ in 0..2 {
            let reply = soon(call.next()).await.expect("it goes on").expect("a reply");
            texts.push(reply.body().as_str().expect("text").to_owned());
        }
        drop((serving, first));
        let bob = start(&network, "bob").await;
        let handler = move |request: Request| async move { answer(request, &[second]).await };
        let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
        texts.extend(heard(call).await);
        assert_eq!(texts, expected, "then {second:?}");
    }
}
