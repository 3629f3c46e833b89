//! The same request again: under another correlation id, of another caller, after its deadline, while it waits.
#![cfg(feature = "agent")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use a2a_envelope::agent::{A2aClient, A2aError, A2aRequest, A2aServer, TurnHandle, TurnResult};
use a2a_envelope::call::CallState;
use a2a_envelope::idempotency::MemoryRequestStore;
use a2a_envelope::task::{MemoryTaskStore, TaskQuery, TaskState};
use agentchat_core::{Agent, Body, CallRequest, Loopback, Reply};
use tokio::sync::Notify;

async fn agent(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).unwrap()).start().await.unwrap()
}

/// A request as a peer sends it that knows no correlation id.
const BARE: &str = r#"{"message":{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"x"}]}}"#;
const RPC: &str = r#"{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":{"message":{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"x"}]}}}"#;

/// A server whose handler answers when it is let, and how often that ran.
fn held(gate: &Arc<Notify>, runs: &Arc<AtomicUsize>) -> A2aServer {
    let (gate, runs) = (Arc::clone(gate), Arc::clone(runs));
    A2aServer::new(move |turn: TurnHandle| {
        let (gate, run) = (Arc::clone(&gate), runs.fetch_add(1, Ordering::SeqCst) + 1);
        async move {
            gate.notified().await;
            Ok(turn.text("answer", &format!("run {run}")).await?)
        }
    })
}

async fn last(mut call: agentchat_core::Call) -> Reply {
    loop {
        let reply = call.next().await.unwrap().unwrap();
        if reply.last {
            return reply;
        }
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body().bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_under_another_correlation_id_are_answered_too() {
    for body in [BARE, RPC] {
        let network = Loopback::new();
        let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
        let (gate, runs) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let _serving = held(&gate, &runs).serve(&server).await.unwrap();
        let mut calls = Vec::new();
        for _ in 0..2 {
            // While it runs.
            let mut call = caller.call(server.address(), CallRequest::new(Body::json(body))).await.unwrap();
            if body == RPC {
                // Not before it was met.
                tokio::time::timeout(Duration::from_secs(1), call.next()).await.unwrap_err();
            }
            calls.push(call);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.notify_one();
        for call in calls {
            let reply = last(call).await;
            assert!(text(&reply).contains("run 1"), "{}", text(&reply));
            assert!(body == BARE || text(&reply).contains("\"id\":7"), "{}", text(&reply));
        }
        // When it has run.
        let call = caller.call(server.address(), CallRequest::new(Body::json(body))).await.unwrap();
        assert!(text(&last(call).await).contains("run 1"));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_request_under_another_correlation_id_gets_the_whole_task() {
    let stream = RPC.replace("SendMessage", "SendStreamingMessage");
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let (gate, runs) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let _serving = held(&gate, &runs).serve(&server).await.unwrap();
    let call = async || caller.call(server.address(), CallRequest::new(Body::json(stream.clone()))).await;
    let read = async |mut call: agentchat_core::Call| {
        let mut all = String::new();
        while let Some(reply) = call.next().await {
            all.push_str(&text(&reply.unwrap()));
        }
        all
    };
    let (first, joined) = (call().await.unwrap(), call().await.unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.notify_one();
    for call in [first, joined, call().await.unwrap()] {
        let all = read(call).await;
        assert!(all.contains("run 1") && all.contains("TASK_STATE_COMPLETED"), "{all}");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_copy_of_a_request_that_was_run_is_answered_from_the_record() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let (gate, runs) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let _serving = held(&gate, &runs).serve(&server).await.unwrap();
    gate.notify_one();
    let call = caller.call(server.address(), CallRequest::new(Body::json(RPC))).await.unwrap();
    assert!(text(&last(call).await).contains("run 1"));
    let old = || SystemTime::now() - Duration::from_secs(5);
    let copy = CallRequest::new(Body::json(RPC)).with_deadline(old());
    let reply = last(caller.call(server.address(), copy).await.unwrap()).await;
    assert!(text(&reply).contains("run 1"), "{}", text(&reply));
    // What was never run is not run now.
    let other = CallRequest::new(Body::json(RPC.replace("m-1", "m-2"))).with_deadline(old());
    let mut call = caller.call(server.address(), other).await.unwrap();
    let reply = call.next().await.unwrap().unwrap();
    assert!(text(&reply).contains("DEADLINE_EXCEEDED"), "{}", text(&reply));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// Works until it is let go and then asks; answers what it is told.
fn gated(gate: &Arc<Notify>) -> impl Fn(TurnHandle) -> Work + Clone + use<> {
    let gate = Arc::clone(gate);
    move |turn: TurnHandle| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            if turn.request_text() == "begin" {
                gate.notified().await;
                return turn.ask("and now?").await;
            }
            if turn.request_text() == "ask" {
                return turn.ask("and then?").await;
            }
            Ok(turn.text("answer", &format!("done: {}", turn.request_text())).await?)
        })
    }
}
type Work = std::pin::Pin<Box<dyn Future<Output = TurnResult> + Send>>;

async fn taken(call: &mut a2a_envelope::agent::A2aCall) {
    while call.state() != CallState::Taken {
        call.next().await.unwrap().unwrap();
    }
}

async fn only_task(client: &A2aClient, server: &Agent) -> String {
    client.list_tasks(server.address(), &TaskQuery::of(""), None).await.unwrap().tasks[0].id.clone()
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_that_waits_outlives_its_worker() {
    let network = Loopback::new();
    let place = network.connector("server").unwrap();
    let server = Agent::builder(place.clone()).start().await.unwrap();
    let caller = agent(&network, "caller").await;
    let gate = Arc::new(Notify::new());
    let stores = (Arc::new(MemoryTaskStore::new()), Arc::new(MemoryRequestStore::new(100)));
    let serve = || A2aServer::new(gated(&gate)).with_stores(stores.0.clone(), stores.1.clone());
    let serving = serve().serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let long = Duration::from_secs(3_600);
    let begin = A2aRequest::text("begin").with_streaming().with_timeout(long);
    let mut first = client.call(server.address(), begin).await.unwrap();
    taken(&mut first).await;
    let id = only_task(&client, &server).await;
    let mut waits = Vec::new();
    for text in ["ask", "more"] {
        let more = A2aRequest::text(text).with_task(id.clone(), None).with_timeout(long);
        let mut call = client.call(server.address(), more).await.unwrap();
        taken(&mut call).await;
        waits.push(call);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What was taken is settled; the next worker knows it from the stores alone.
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop((serving, server));
    let server = Agent::builder(place).start().await.unwrap();
    let _serving = serve().serve(&server).await.unwrap();
    gate.notify_one();
    assert_eq!(first.answer().await.unwrap().text(), "and now?");
    assert_eq!(waits[0].answer().await.unwrap().text(), "and then?", "in their order");
    assert_eq!(waits[1].answer().await.unwrap().text(), "done: more");
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_that_comes_again_while_it_waits_is_taken_once() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let gate = Arc::new(Notify::new());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (work, told) = (gated(&gate), Arc::clone(&heard));
    let handler = move |turn: TurnHandle| {
        told.lock().unwrap().push(turn.request_text());
        work(turn)
    };
    let serving = A2aServer::new(handler).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let mut first = client.call(server.address(), A2aRequest::text("begin")).await.unwrap();
    taken(&mut first).await;
    let id = only_task(&client, &server).await;
    let body = format!(
        r#"{{"message":{{"messageId":"m-2","taskId":"{id}","role":"ROLE_USER","parts":[{{"text":"ask"}}]}}}}"#
    );
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(caller.call(server.address(), CallRequest::new(Body::json(body.clone()))).await.unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.notify_one();
    for call in calls {
        assert!(text(&last(call).await).contains("and then?"));
    }
    first.answer().await.unwrap();
    while serving.running() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(*heard.lock().unwrap(), ["begin", "ask"]);
    let task = client.get_task(server.address(), &id).await.unwrap();
    assert_eq!(task.state(), Some(&TaskState::InputRequired), "no copy was taken for an answer");
}

#[tokio::test(start_paused = true)]
async fn two_callers_of_one_task_may_use_the_same_message_id() {
    let network = Loopback::new();
    let server = agent(&network, "server").await;
    let gate = Arc::new(Notify::new());
    gate.notify_one();
    let _serving = A2aServer::new(gated(&gate)).serve(&server).await.unwrap();
    let (ann, bob) = (agent(&network, "ann").await, agent(&network, "bob").await);
    let (ann, bob) = (A2aClient::new(&ann), A2aClient::new(&bob));
    let asked = ann.ask(server.address(), A2aRequest::text("begin").with_id("1")).await.unwrap();
    let id = asked.task_id.clone().unwrap();
    let his = A2aRequest::text("mine").with_id("1").with_task(id, None);
    assert_eq!(bob.ask(server.address(), his).await.unwrap().text(), "done: mine");
    // Each is answered again with what it was told.
    let again = A2aRequest::text("begin").with_id("1");
    assert_eq!(ann.ask(server.address(), again).await.unwrap().text(), "and now?");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_over_cannot_be_called_off_while_its_handler_cleans_up() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let cleaned = Arc::new(Notify::new());
    let tell = Arc::clone(&cleaned);
    let handler = move |turn: TurnHandle| {
        let tell = Arc::clone(&tell);
        async move {
            turn.complete().await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            tell.notify_one();
            Ok(())
        }
    };
    let _serving = A2aServer::new(handler).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let answer = client.ask(server.address(), A2aRequest::text("x")).await.unwrap();
    let refused = client.cancel(server.address(), &answer.task_id.unwrap()).await;
    assert!(matches!(refused, Err(A2aError::Refused { code: -32002, .. })), "{refused:?}");
    tokio::time::timeout(Duration::from_secs(4), cleaned.notified()).await.expect("it was left in peace");
}
