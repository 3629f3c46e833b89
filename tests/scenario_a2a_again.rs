//! What a caller does when something went wrong, over every network: it asks again, and hears of what is too large.

#[path = "support/a2a/mod.rs"]
mod a2a;
#[macro_use]
#[path = "support/a2a/over.rs"]
mod over;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a::{Net, client, echo, serve, within};
use a2a_envelope::JsonText;
use a2a_envelope::agent::{A2aError, A2aRequest, TurnHandle, TurnRefusal, text_handler};
use a2a_envelope::task::{Artifact, Event};
use agentchat_core::agent::CallMode;
use agentchat_core::{
    Agent, Body, CorrelationId, Inbox, Outbound, Request, ServeOptions, SubscribeOptions, Subscription,
};
use tokio::sync::mpsc;

over_all!(
    a_request_that_timed_out_is_asked_again_and_runs_once,
    many_are_asked_again_and_each_runs_once,
    an_answer_that_is_too_large_comes_or_names_the_limit,
    a_stream_of_large_pieces_comes_whole;
);

async fn a_request_that_timed_out_is_asked_again_and_runs_once(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let (client, runs) = (client(&caller), Arc::new(AtomicUsize::new(0)));
    let request = A2aRequest::text("hello").with_timeout(Duration::from_millis(500));
    let late = client.ask(server.address(), request.clone()).await.unwrap_err();
    assert!(late.is_timeout(), "{late}");
    let _serving = serve(&server, echo(Arc::clone(&runs))).await;
    let request = request.with_timeout(Duration::from_secs(30));
    for _ in 0..2 {
        let answer = client.ask(server.address(), request.clone()).await.unwrap();
        assert_eq!(answer.text(), "heard: hello");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

async fn many_are_asked_again_and_each_runs_once(net: Net) {
    let caller = net.agent("caller").await;
    let (client, runs) = (client(&caller), Arc::new(AtomicUsize::new(0)));
    let (mut agents, mut serving, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["ann", "bob"] {
        let agent = net.agent(name).await;
        serving.push(serve(&agent, echo(Arc::clone(&runs))).await);
        targets.push(agent.address().clone());
        agents.push(agent);
    }
    let request = A2aRequest::text("your price?").with_timeout(Duration::from_secs(30));
    for _ in 0..2 {
        let answers = client.call_many(&targets, request.clone(), CallMode::all()).await.unwrap();
        assert_eq!(answers.answers().count(), 2);
        for (_, reply) in answers.answers() {
            let text = String::from_utf8(reply.body().bytes.to_vec()).unwrap();
            assert!(text.contains("heard: your price?"), "{text}");
        }
    }
    // One of them alone is asked the same.
    let answer = client.ask(&targets[0], request).await.unwrap();
    assert_eq!(answer.text(), "heard: your price?");
    assert_eq!(runs.load(Ordering::SeqCst), targets.len());
}

async fn an_answer_that_is_too_large_comes_or_names_the_limit(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let client = client(&caller);
    let large = text_handler(|_: String| async move { Ok("x".repeat(40_000)) });
    let _serving = serve(&server, large).await;
    let most = server.capabilities().max_body.filter(|most| *most < 40_000);
    let request = A2aRequest::text("all of it").with_timeout(Duration::from_secs(30));
    // The answer, and the answer said again.
    for _ in 0..2 {
        match (client.ask(server.address(), request.clone()).await, most) {
            (Ok(answer), None) => assert_eq!(answer.text().len(), 40_000),
            (Err(A2aError::Refused { code: -32603, message, .. }), Some(most)) => {
                assert!(message.contains(&most.to_string()), "{message}");
            }
            (other, most) => panic!("{most:?}: {other:?}"),
        }
    }
}

async fn a_stream_of_large_pieces_comes_whole(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let (refused, mut refusals) = mpsc::unbounded_channel();
    let handler = move |turn: TurnHandle| {
        let refused = refused.clone();
        async move {
            turn.text("text", &"ä\"".repeat(10_000)).await?;
            let report = Artifact::new("report").with_text("in short").with_text(&"y".repeat(40_000));
            turn.event(Event::artifact(report)).await?;
            let data = JsonText::new(format!("{{\"data\":\"{}\"}}", "z".repeat(40_000)))?;
            let _ = refused.send(turn.event(Event::artifact(Artifact::new("data").with_part(data))).await);
            Ok(())
        }
    };
    let _serving = serve(&server, handler).await;
    let request = A2aRequest::text("all").with_streaming().with_timeout(Duration::from_secs(40));
    let answer = client(&caller).ask(server.address(), request).await.unwrap();
    let text = |id: &str| {
        let artifacts = answer.mirror.artifacts();
        artifacts.iter().find(|artifact| artifact.id == id).map(Artifact::text).unwrap_or_default()
    };
    assert_eq!(text("text"), "ä\"".repeat(10_000));
    assert_eq!(text("report"), format!("in short{}", "y".repeat(40_000)));
    let most = server.capabilities().max_body.filter(|most| *most < 40_000);
    match (refusals.recv().await.unwrap(), most) {
        (Ok(()), None) => {}
        (Err(TurnRefusal::TooLarge { bytes, most, .. }), Some(limit)) => {
            assert!(bytes > 40_000 && most == limit);
        }
        other => panic!("{other:?}"),
    }
}

/// A request of a peer that has nothing of this library.
fn foreign(to: &Agent, id: u8, text: &str) -> Outbound {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"SendMessage","params":{{"message":{{"messageId":"m-1","role":"ROLE_USER","parts":[{{"text":"{text}"}}]}}}}}}"#
    );
    Outbound::new(to.address().clone(), Body::json(body))
}

/// What comes to an agent, replies to no call of its own included.
async fn inbox(agent: &Agent) -> Subscription {
    let mut options = SubscribeOptions::default();
    options.inbox = Inbox::Own;
    agent.transport().subscribe(options).await.unwrap()
}

async fn next(inbox: &mut Subscription) -> String {
    loop {
        let event = poll_fn(|cx| inbox.events.as_mut().poll_next(cx)).await.unwrap().unwrap();
        if let agentchat_core::Event::Message(delivery) = event {
            return String::from_utf8_lossy(&delivery.body.bytes).into_owned();
        }
    }
}

#[tokio::test]
async fn a_foreign_request_with_an_id_of_its_own_is_answered_to_the_sender_whom_the_network_names() {
    within("the scenario", async {
        let net = Net::agentchat().await;
        let (server, asker) = (net.agent("server").await, net.agent("asker").await);
        let _serving = serve(&server, echo(Arc::default())).await;
        let mut told = inbox(&asker).await;
        asker.send(&foreign(&server, 7, "hello")).await.unwrap();
        let answer = next(&mut told).await;
        assert!(answer.contains("heard: hello") && answer.contains("\"id\":7"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn who_claims_another_ones_address_does_not_meet_its_requests() {
    within("the scenario", async {
        let net = Net::agentchat().await;
        let (server, ann, mallory) =
            (net.agent("server").await, net.agent("ann").await, net.agent("mallory").await);
        let runs = Arc::new(AtomicUsize::new(0));
        let _serving = serve(&server, echo(Arc::clone(&runs))).await;
        let mut told = inbox(&ann).await;
        let to_ann = |message: Outbound| message.with_reply_to(ann.address().clone());
        mallory.send(&to_ann(foreign(&server, 1, "not hers"))).await.unwrap();
        assert!(next(&mut told).await.contains("not hers"));
        ann.send(&to_ann(foreign(&server, 2, "hers"))).await.unwrap();
        let answer = next(&mut told).await;
        assert!(answer.contains("heard: hers"), "{answer}");
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    })
    .await;
}

#[tokio::test]
async fn nobody_but_the_one_who_was_asked_answers_a_call() {
    within("the scenario", async {
        let net = Net::agentchat().await;
        let (server, caller, mallory) =
            (net.agent("server").await, net.agent("caller").await, net.agent("mallory").await);
        let request = agentchat_core::CallRequest::new(Body::text("the secret?"))
            .with_correlation_id(CorrelationId::new("known-to-mallory").unwrap())
            .with_timeout(Duration::from_secs(30));
        let ask = || caller.call(server.address(), request.clone());
        let forged = || {
            Outbound::new(caller.address().clone(), Body::text("forged"))
                .with_correlation_id(CorrelationId::new("known-to-mallory").unwrap())
        };
        let mut call = ask().await.unwrap();
        mallory.send(&forged().with_header("agentchat-reply-last", "true")).await.unwrap();
        mallory.send(&forged()).await.unwrap();
        let honest = |request: Request| async move {
            request.reply(Body::text("honest")).await?;
            Ok(())
        };
        let _serving = server.serve(honest, ServeOptions::default()).await.unwrap();
        let reply = call.next().await.unwrap().unwrap();
        assert_eq!(&reply.body().bytes[..], b"honest");
    })
    .await;
}
