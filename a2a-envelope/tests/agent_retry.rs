//! The same request, asked again.
#![cfg(feature = "agent")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a_envelope::agent::{A2aClient, A2aHandler, A2aRequest, A2aServer, A2aServerOptions, TurnHandle};
use a2a_envelope::stream::WriterOptions;
use agentchat_core::agent::CallMode;
use agentchat_core::{Agent, Body, HandlerError, Loopback, Request, ServeOptions};

async fn agent(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).unwrap()).start().await.unwrap()
}

fn counts(runs: &Arc<AtomicUsize>) -> impl A2aHandler {
    let runs = Arc::clone(runs);
    move |turn: TurnHandle| {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(turn.text("answer", &format!("run {run}: {}", turn.request_text())).await?) }
    }
}

/// Deadlines are times of day: these tests wait for them.
const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_request_that_timed_out_may_be_asked_again_as_often_as_it_takes_and_runs_once() {
    for private in [false, true] {
        let network = Loopback::new();
        let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
        let client = A2aClient::new(&caller);
        let mut request = A2aRequest::text("x").with_timeout(SHORT);
        if private {
            request = request.with_private_inbox();
        }
        for _ in 0..3 {
            let late = client.ask(server.address(), request.clone()).await.unwrap_err();
            assert!(late.is_timeout(), "{late}");
        }
        let runs = Arc::new(AtomicUsize::new(0));
        let _serving = A2aServer::new(counts(&runs)).serve(&server).await.unwrap();
        // What waits in the inbox are copies whose time is over.
        let request = request.with_timeout(LONG);
        let answer = client.ask(server.address(), request.clone()).await.unwrap();
        assert_eq!(answer.text(), "run 1: x", "private: {private}");
        if !private {
            assert_eq!(client.ask(server.address(), request).await.unwrap().text(), "run 1: x");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_kept_too_short_to_be_gone_on_with_is_made_anew() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let client = A2aClient::new(&caller);
    let request = A2aRequest::text("x").with_timeout(Duration::from_secs(1)).with_keep(Duration::ZERO);
    assert!(client.ask(server.address(), request.clone()).await.unwrap_err().is_timeout());
    let runs = Arc::new(AtomicUsize::new(0));
    let _serving = A2aServer::new(counts(&runs)).serve(&server).await.unwrap();
    assert_eq!(client.ask(server.address(), request).await.unwrap().text(), "run 1: x");
}

#[tokio::test]
async fn a_call_whose_own_time_is_over_is_told_that_its_request_came_too_late() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let client = A2aClient::new(&caller);
    let request = A2aRequest::text("x").with_timeout(SHORT);
    let mut call = client.call(server.address(), request).await.unwrap();
    assert!(call.answer().await.unwrap_err().is_timeout());
    let runs = Arc::new(AtomicUsize::new(0));
    let _serving = A2aServer::new(counts(&runs)).serve(&server).await.unwrap();
    assert_eq!(call.answer().await.unwrap_err().code(), Some(-32603));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn many_are_asked_in_the_same_bytes_each_time_under_the_id_that_these_have() {
    let network = Loopback::new();
    let caller = agent(&network, "caller").await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut targets = Vec::new();
    for name in ["ann", "bob"] {
        let target = agent(&network, name).await;
        let tell = tell.clone();
        let handler = move |request: Request| {
            let delivery = request.delivery();
            let id = delivery.correlation_id.as_ref().map(|id| id.as_str().to_owned());
            let body = String::from_utf8_lossy(&delivery.body.bytes).into_owned();
            let _ = tell.send((id.unwrap(), body));
            async move { request.reply(Body::text("x")).await.map(drop).map_err(HandlerError::retry) }
        };
        let serving = target.serve(handler, ServeOptions::default()).await.unwrap();
        targets.push((target.address().clone(), target, serving));
    }
    let to: Vec<_> = targets.iter().map(|(address, ..)| address.clone()).collect();
    let client = A2aClient::new(&caller);
    let request = A2aRequest::text("x");
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let answers = client.call_many(&to, request.clone(), CallMode::all()).await.unwrap();
        assert_eq!(answers.answers().count(), 2);
        let mut round = vec![told.recv().await.unwrap(), told.recv().await.unwrap()];
        round.sort();
        for (id, body) in &round {
            assert!(body.contains(&format!("\"id\":\"{id}\"")), "{id}: {body}");
        }
        rounds.push(round);
    }
    assert_eq!(rounds[0], rounds[1]);
    assert_ne!(rounds[0][0].0, rounds[0][1].0);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_a_task_goes_to_its_inbox_and_not_to_several() {
    let network = Loopback::new();
    let (server, worker) = (agent(&network, "server").await, agent(&network, "worker").await);
    let caller = agent(&network, "caller").await;
    let client = A2aClient::new(&caller);
    let asks = |turn: TurnHandle| async move { turn.ask("which?").await };
    let options = A2aServerOptions::default().with_writer(WriterOptions::default().with_task_inbox("worker"));
    let _serving = A2aServer::new(asks).with_options(options).serve(&server).await.unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let _working = A2aServer::new(counts(&runs)).serve(&worker).await.unwrap();
    let asked = client.ask(server.address(), A2aRequest::text("x")).await.unwrap();
    let answer = A2aRequest::text("this").answering(&asked);
    let both = [server.address().clone(), worker.address().clone()];
    let refused = client.call_many(&both, answer.clone(), CallMode::all()).await.unwrap_err();
    assert!(refused.to_string().contains("several"), "{refused}");
    let told = client.call_many(&both[..1], answer, CallMode::all()).await.unwrap();
    assert_eq!(told.outcomes[0].target, *worker.address());
    let text = String::from_utf8(told.outcomes[0].answer().unwrap().body().bytes.to_vec()).unwrap();
    assert!(text.contains("-32001"), "the worker does not know the task: {text}");
}
