//! Questions, and messages that come while a task works; who is told apart from whom.
#![cfg(feature = "agent")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_envelope::agent::{
    A2aClient, A2aObserver, A2aRequest, A2aServer, A2aServerOptions, Note, TurnHandle, TurnResult,
};
use a2a_envelope::call::CallState;
use a2a_envelope::idempotency::RequestLimits;
use a2a_envelope::task::TaskState;
use agentchat_core::{Agent, Delivery, Event, Inbox, Loopback, Priority, ServeOptions, SubscribeOptions};
use tokio::sync::Notify;

async fn agent(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).unwrap()).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_task_that_needs_authorisation_waits_for_it_and_goes_on() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let handler = |turn: TurnHandle| async move {
        match turn.is_follow_up() {
            false => turn.ask_for_auth("may I?").await,
            true => Ok(turn.text("answer", &format!("told: {}", turn.request_text())).await?),
        }
    };
    let _serving = A2aServer::new(handler).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let asked = client.ask(server.address(), A2aRequest::text("do it")).await.unwrap();
    assert_eq!((asked.state(), asked.text().as_str()), (Some(&TaskState::AuthRequired), "may I?"));
    let answer = client.ask(server.address(), A2aRequest::text("yes").answering(&asked)).await.unwrap();
    assert_eq!(answer.text(), "told: yes");
}

#[tokio::test(start_paused = true)]
async fn a_question_asked_in_memory_that_nobody_answers_in_time_is_answered_by_a_new_entry() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let entries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&entries);
    let handler = move |turn: TurnHandle| {
        let entries = Arc::clone(&counted);
        async move {
            let entry = entries.fetch_add(1, Ordering::SeqCst);
            let name = match turn.is_follow_up() {
                false => turn.ask_here("your name?").await?,
                true => turn.request_text(),
            };
            Ok(turn.text("answer", &format!("{name}, entered {entry}")).await?)
        }
    };
    let options = A2aServerOptions::default().with_ask_patience(Duration::from_secs(5));
    let serving = A2aServer::new(handler).with_options(options).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let asked = client.ask(server.address(), A2aRequest::text("hello")).await.unwrap();
    assert!(asked.is_question());
    while serving.running() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = client.ask(server.address(), A2aRequest::text("Ann").answering(&asked)).await.unwrap();
    assert_eq!(answer.text(), "Ann, entered 1");
}

/// Works until it is let go, and says whose turn it was.
fn gated(
    gate: &Arc<Notify>,
) -> impl Fn(TurnHandle) -> std::pin::Pin<Box<dyn Future<Output = TurnResult> + Send>> + Clone + use<> {
    let gate = Arc::clone(gate);
    move |turn: TurnHandle| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            if turn.request_text() == "begin" {
                gate.notified().await;
                return turn.ask("and now?").await;
            }
            Ok(turn.text("answer", &format!("done: {}", turn.request_text())).await?)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_to_a_task_that_works_waits_for_its_next_turn_and_too_many_are_refused() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let gate = Arc::new(Notify::new());
    let options = A2aServerOptions::default().with_max_waiting(1);
    let server_of = A2aServer::new(gated(&gate)).with_options(options);
    let _serving = server_of.serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let mut first = client.call(server.address(), A2aRequest::text("begin").with_streaming()).await.unwrap();
    while first.state() != CallState::Taken {
        first.next().await.unwrap().unwrap();
    }
    let task =
        client.list_tasks(server.address(), &a2a_envelope::task::TaskQuery::of(""), None).await.unwrap();
    let id = task.tasks[0].id.clone();
    let more = |text: &str| A2aRequest::text(text).with_task(id.clone(), None);
    let mut waits = client.call(server.address(), more("more")).await.unwrap();
    while waits.state() != CallState::Taken {
        waits.next().await.unwrap().unwrap();
    }
    let refused = client.ask(server.address(), more("too much")).await.unwrap_err();
    assert_eq!(refused.code(), Some(-32004), "{refused}");
    gate.notify_one();
    assert_eq!(first.answer().await.unwrap().text(), "and now?");
    assert_eq!(waits.answer().await.unwrap().text(), "done: more", "it was not dropped");
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_run_at_once_than_were_set() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let gate = Arc::new(Notify::new());
    // As many may have been answered as a number can say.
    let limits = RequestLimits::default().with_max_running(1).with_max_answered(usize::MAX);
    let options = A2aServerOptions::default().with_requests(limits);
    let _serving = A2aServer::new(gated(&gate)).with_options(options).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let mut first = client.call(server.address(), A2aRequest::text("begin").with_streaming()).await.unwrap();
    while first.state() != CallState::Taken {
        first.next().await.unwrap().unwrap();
    }
    let mut waits = client.call(server.address(), A2aRequest::text("more")).await.unwrap();
    let taken = tokio::time::timeout(Duration::from_secs(5), waits.next()).await;
    assert!(taken.is_err(), "{taken:?}");
    gate.notify_one();
    assert_eq!(first.answer().await.unwrap().text(), "and now?");
    assert_eq!(waits.answer().await.unwrap().text(), "done: more", "it was left in the inbox");
}

#[tokio::test(start_paused = true)]
async fn the_inbox_is_served_as_was_set() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let guard = |message: &Delivery| match message.body.as_str() {
        Some(text) if text.contains("forbidden") => Err("not here".to_owned()),
        _ => Ok(()),
    };
    let options = A2aServerOptions::default().with_serve(ServeOptions::default().with_turn_guard(guard));
    let handler = |turn: TurnHandle| async move { Ok(turn.text("answer", "yes").await?) };
    let _serving = A2aServer::new(handler).with_options(options).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    assert_eq!(client.ask(server.address(), A2aRequest::text("x")).await.unwrap().text(), "yes");
    client.ask(server.address(), A2aRequest::text("forbidden")).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_again_while_it_runs_joins_its_task() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let (gate, runs) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (hold, counted) = (Arc::clone(&gate), Arc::clone(&runs));
    let handler = move |turn: TurnHandle| {
        let (gate, runs) = (Arc::clone(&hold), Arc::clone(&counted));
        async move {
            runs.fetch_add(1, Ordering::SeqCst);
            gate.notified().await;
            Ok(turn.text("answer", "once").await?)
        }
    };
    let _serving = A2aServer::new(handler).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let request = || A2aRequest::text("x").with_id("m-1");
    let mut first = client.call(server.address(), request()).await.unwrap();
    while first.state() != CallState::Taken {
        first.next().await.unwrap().unwrap();
    }
    // Its caller has forgotten that it asked.
    drop(first);
    let mut second = client.call(server.address(), request()).await.unwrap();
    while second.state() != CallState::Taken {
        second.next().await.unwrap().unwrap();
    }
    gate.notify_one();
    assert_eq!(second.answer().await.unwrap().text(), "once");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_of_two_callers_is_two_requests() {
    let network = Loopback::new();
    let server = agent(&network, "server").await;
    let handler = |turn: TurnHandle| async move { Ok(turn.text("answer", &turn.request_text()).await?) };
    let _serving = A2aServer::new(handler).serve(&server).await.unwrap();
    let mut tasks = Vec::new();
    for (name, text) in [("ann", "hers"), ("bob", "his")] {
        let caller = agent(&network, name).await;
        let request = A2aRequest::text(text).with_id("m-1");
        let answer = A2aClient::new(&caller).ask(server.address(), request).await.unwrap();
        assert_eq!(answer.text(), text);
        tasks.push(answer.task_id);
    }
    assert_ne!(tasks[0], tasks[1]);
}

/// The requests that wait in the inbox of an agent that is away: method, priority and answer address.
async fn waiting(network: &Loopback, name: &str, count: usize) -> Vec<(String, Priority, String)> {
    let place = network.connector(name).unwrap();
    let line = agentchat_core::Connector::connect(&place).await.unwrap();
    let mut options = SubscribeOptions::default();
    options.inbox = Inbox::Own;
    let mut events = line.subscribe(options).await.unwrap().events;
    let mut found = Vec::new();
    while found.len() < count {
        let event = std::future::poll_fn(|cx| events.as_mut().poll_next(cx)).await.unwrap().unwrap();
        if let Event::Message(delivery) = event {
            let method = delivery.headers.get("mq9-a2a-method").unwrap_or_default().to_owned();
            found.push((method, delivery.priority, delivery.reply_to.unwrap().to_string()));
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_cancel_overtakes_the_requests_that_wait() {
    let network = Loopback::new();
    drop(agent(&network, "away").await);
    let caller = agent(&network, "caller").await;
    let client = A2aClient::new(&caller);
    let to = agentchat_core::Address::parse("loopback://away").unwrap();
    let mut calls = Vec::new();
    for text in ["one", "two"] {
        calls.push(client.call(&to, A2aRequest::text(text)).await.unwrap());
    }
    let cancel = tokio::time::timeout(Duration::from_secs(1), client.cancel(&to, "t-1")).await;
    assert!(cancel.is_err(), "nobody is there to answer");
    let waiting = waiting(&network, "away", 3).await;
    let order: Vec<_> = waiting.iter().map(|(method, priority, _)| (method.as_str(), *priority)).collect();
    assert_eq!(order[0], ("CancelTask", Priority::Urgent), "{order:?}");
    assert_eq!(order[1..], [("SendMessage", Priority::Normal); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_answers_into_one_inbox_of_its_own_and_into_another_for_each_call_that_asks_for_it() {
    let network = Loopback::new();
    for name in ["ann", "bob"] {
        drop(agent(&network, name).await);
    }
    let caller = agent(&network, "caller").await;
    let client = A2aClient::new(&caller);
    let mut calls = Vec::new();
    for name in ["ann", "bob"] {
        let to = agentchat_core::Address::parse(format!("loopback://{name}")).unwrap();
        for private in [false, false, true, true] {
            let request = A2aRequest::text("x");
            let request = if private { request.with_private_inbox() } else { request };
            calls.push(client.call(&to, request).await.unwrap());
        }
    }
    let (ann, bob) = (waiting(&network, "ann", 4).await, waiting(&network, "bob", 4).await);
    let inbox = |of: &[(String, Priority, String)], at: usize| of[at].2.clone();
    assert_eq!(inbox(&ann, 0), inbox(&ann, 1));
    let mut inboxes: Vec<_> = ann.iter().chain(&bob).map(|(.., inbox)| inbox.clone()).collect();
    inboxes.sort();
    inboxes.dedup();
    assert_eq!(inboxes.len(), 6, "one for each peer, one for each private call");
    assert!(inboxes.iter().all(|inbox| inbox.len() > "loopback://".len() + 20), "{inboxes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_comes_only_when_the_request_is_in_the_stores() {
    /// Whether a task was stored before each reply.
    #[derive(Clone, Default)]
    struct Order(Arc<Mutex<Vec<String>>>);
    impl A2aObserver for Order {
        fn note(&self, note: &Note<'_>) {
            if ["task.state", "reply.sent"].contains(&note.name) {
                let seq = note.seq.map(|seq| seq.to_string()).unwrap_or_default();
                self.0.lock().unwrap().push(format!("{}{seq}", note.name));
            }
        }
    }
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let order = Order::default();
    let handler = |turn: TurnHandle| async move { Ok(turn.text("answer", "x").await?) };
    let _serving = A2aServer::new(handler).with_observer(order.clone()).serve(&server).await.unwrap();
    A2aClient::new(&caller).ask(server.address(), A2aRequest::text("x")).await.unwrap();
    let order = order.0.lock().unwrap();
    assert_eq!(order[..2], ["task.state", "reply.sent0"], "{order:?}");
}
