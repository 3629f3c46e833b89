//! The same request, asked again.
#![cfg(feature = "agent")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a_envelope::agent::{A2aClient, A2aHandler, A2aRequest, A2aServer, TurnHandle};
use agentchat_core::{Agent, Loopback};

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
