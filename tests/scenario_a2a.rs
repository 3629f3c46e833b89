//! A2A between agents: the same scenarios over the in-process network, one without headers, mq9 and AgentChat.

#[path = "support/a2a/mod.rs"]
mod a2a;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a::{Heard, Kept, Net, asks_for_a_city, client, echo, serve, uncoalesced, within};
use a2a_envelope::agent::{
    A2aAnswer, A2aError, A2aRequest, A2aServer, A2aServerOptions, TurnError, TurnHandle, text_handler,
};
use a2a_envelope::call::CallState;
use a2a_envelope::stream::ReaderItem;
use a2a_envelope::task::{Event, TaskQuery, TaskState};
use a2a_envelope::{JsonText, Origin, RawCard, Received};
use agentchat_core::agent::CallMode;
use agentchat_core::{Body, CallRequest, ErrorKind, Outbound};
use tokio::sync::{Notify, mpsc};

/// Each scenario over each network; the last ones not over AgentChat.
macro_rules! over_all {
    ($($everywhere:ident),* $(,)?; $($elsewhere:ident),* $(,)?) => {
        over_two!($($everywhere,)* $($elsewhere),*);
        mod over_agentchat { use super::*; $(
            #[tokio::test] async fn $everywhere() { within("the scenario", super::$everywhere(Net::agentchat().await)).await; }
        )* }
    };
}
macro_rules! over_two {
    ($($scenario:ident),* $(,)?) => {
        mod over_loopback { use super::*; $(
            #[tokio::test] async fn $scenario() { within("the scenario", super::$scenario(Net::loopback())).await; }
        )* }
        mod over_bodies_alone { use super::*; $(
            #[tokio::test] async fn $scenario() { within("the scenario", super::$scenario(Net::bodies())).await; }
        )* }
        mod over_mq9 { use super::*; $(
            #[tokio::test] async fn $scenario() { within("the scenario", super::$scenario(Net::mq9().await)).await; }
        )* }
    };
}

over_all!(
    a_call_is_answered,
    a_request_that_comes_twice_runs_once_and_is_answered_twice,
    the_same_key_with_another_message_is_a_conflict,
    a_call_to_an_agent_that_is_away_is_queued_then_taken_then_answered,
    a_request_found_after_its_deadline_is_answered_and_not_run,
    a_question_is_answered_by_another_worker_after_a_restart,
    a_question_asked_in_memory_keeps_what_the_handler_holds,
    a_late_answer_to_an_older_question_is_refused,
    a_task_is_called_off_while_it_works,
    a_task_that_was_at_work_when_its_worker_died_is_gone_on_with,
    a_call_that_timed_out_can_be_read_later_by_its_id,
    a_subscriber_hears_what_follows,
    a_failure_tells_its_reason_only_where_that_is_meant,
    an_unknown_method_and_an_unknown_task_are_refused_with_the_right_code,
    the_origin_comes_back_and_the_handler_sees_it,
    many_agents_are_asked_at_once,
    a_core_caller_without_a2a_is_answered_in_its_own_words,
    an_answer_address_elsewhere_is_refused_and_nothing_runs,
    malformed_requests_are_answered_with_the_right_error,
    tasks_are_listed_to_the_one_who_asked_for_them_alone,
    an_extended_card_comes_byte_for_byte,
    a_method_nobody_knows_reaches_the_application_untouched;
    // AgentChat takes 60 messages a second, and keeps no state that others read.
    a_stream_of_2000_events_arrives_whole_and_in_order_at_a_slow_reader,
    a_task_can_be_read_while_its_agent_is_away,
);

async fn a_call_is_answered(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let heard = Heard::default();
    let shout = text_handler(|text: String| async move { Ok(text.to_uppercase()) });
    let serving = A2aServer::new(shout).with_observer(heard.clone()).serve(&server).await.unwrap();
    let answer = client(&caller).ask(server.address(), A2aRequest::text("hello")).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.state()), ("HELLO", Some(&TaskState::Completed)));
    assert!(answer.task_id.is_some() && answer.context_id.is_some() && answer.generation > 1);
    for name in ["request.received", "reply.sent", "task.state"] {
        assert!(heard.has(name), "{name}");
    }
    drop(serving);
}

async fn a_stream_of_2000_events_arrives_whole_and_in_order_at_a_slow_reader(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let handler = |turn: TurnHandle| async move {
        for number in 0..2_000 {
            turn.text("numbers", &format!("{number} ")).await?;
        }
        Ok(())
    };
    let _serving = A2aServer::new(handler).with_options(uncoalesced()).serve(&server).await.unwrap();
    let mut call =
        client(&caller).call(server.address(), A2aRequest::text("count").with_streaming()).await.unwrap();
    let mut events = 0;
    while let Some(item) = call.next().await {
        match item.unwrap() {
            ReaderItem::Reply(reply) => {
                if let Event::Artifact { artifact, .. } = reply.event {
                    assert_eq!(artifact.text(), format!("{events} "));
                    events += 1;
                    if events % 100 == 0 {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
            ReaderItem::Taken => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events, 2_000);
    let whole: String = (0..2_000).map(|number| format!("{number} ")).collect();
    assert_eq!(call.answer().await.unwrap().text(), whole);
}

async fn a_request_that_comes_twice_runs_once_and_is_answered_twice(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let runs = Arc::new(AtomicUsize::new(0));
    let _serving = serve(&server, echo(Arc::clone(&runs))).await;
    let request = A2aRequest::text("once").with_id("m-1");
    let first = client(&caller).ask(server.address(), request.clone()).await.unwrap();
    let second = client(&caller).ask(server.address(), request).await.unwrap();
    assert_eq!((first.text(), first.task_id), (second.text(), second.task_id));
    assert_eq!(first.mirror, second.mirror);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

async fn the_same_key_with_another_message_is_a_conflict(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let runs = Arc::new(AtomicUsize::new(0));
    let _serving = serve(&server, echo(Arc::clone(&runs))).await;
    let ask =
        async |text: &str| client(&caller).ask(server.address(), A2aRequest::text(text).with_id("m-1")).await;
    ask("one").await.unwrap();
    let refused = ask("another").await.unwrap_err();
    assert_eq!(refused.code(), Some(-32600), "{refused}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

async fn a_call_to_an_agent_that_is_away_is_queued_then_taken_then_answered(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let mut call = client(&caller).call(server.address(), A2aRequest::text("later")).await.unwrap();
    let none = tokio::time::timeout(Duration::from_millis(200), call.next()).await;
    assert!(none.is_err() && call.state() == CallState::Queued);
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let handler = move |turn: TurnHandle| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(turn.text("answer", "now").await?)
        }
    };
    let _serving = serve(&server, handler).await;
    assert_eq!(call.next().await.unwrap().unwrap(), ReaderItem::Taken);
    assert_eq!(call.state(), CallState::Taken);
    go.notify_one();
    assert_eq!(call.answer().await.unwrap().text(), "now");
    assert_eq!(call.state(), CallState::Ended);
}

async fn a_request_found_after_its_deadline_is_answered_and_not_run(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let request = A2aRequest::text("too late").with_timeout(Duration::from_millis(300));
    let mut call = client(&caller).call(server.address(), request).await.unwrap();
    let late = call.answer().await.unwrap_err();
    assert!(matches!(late, A2aError::TimedOut { .. }), "{late}");
    let runs = Arc::new(AtomicUsize::new(0));
    let _serving = serve(&server, echo(Arc::clone(&runs))).await;
    let refused = call.answer().await.unwrap_err();
    assert_eq!(refused.code(), Some(-32603), "{refused}");
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

async fn a_question_is_answered_by_another_worker_after_a_restart(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let (kept, client) = (Kept::new(), client(&caller));
    let serving = kept.server(asks_for_a_city).serve(&server).await.unwrap();
    let question =
        client.ask(server.address(), A2aRequest::text("the weather?").with_streaming()).await.unwrap();
    assert!(question.is_question());
    assert_eq!(question.text(), "which city?");
    let address = server.address().clone();
    drop(serving);
    drop(server);

    let server = net.agent("server").await;
    assert_eq!(server.address(), &address);
    let _serving = kept.server(asks_for_a_city).serve(&server).await.unwrap();
    let answer = client.ask(&address, A2aRequest::text("Oslo").answering(&question)).await.unwrap();
    assert_eq!(answer.text(), "rain in Oslo (asked: true)");
    assert_eq!((answer.task_id, answer.context_id), (question.task_id, question.context_id));
}

async fn a_question_asked_in_memory_keeps_what_the_handler_holds(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let handler = move |turn: TurnHandle| {
        let runs = Arc::clone(&counted);
        async move {
            runs.fetch_add(1, Ordering::SeqCst);
            let first = turn.request_text();
            let name = turn.ask_here("your name?").await?;
            turn.text("answer", &format!("{first}, {name}")).await?;
            Ok(())
        }
    };
    let _serving = serve(&server, handler).await;
    let client = client(&caller);
    let question = client.ask(server.address(), A2aRequest::text("good day")).await.unwrap();
    assert_eq!((question.is_question(), question.text().as_str()), (true, "your name?"));
    let answer = client.ask(server.address(), A2aRequest::text("Ann").answering(&question)).await.unwrap();
    assert_eq!(answer.text(), "good day, Ann");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

async fn a_late_answer_to_an_older_question_is_refused(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let handler = |turn: TurnHandle| async move {
        match turn.task().turns().len() {
            1 => turn.ask("first?").await,
            2 => turn.ask("second?").await,
            _ => Ok(turn.complete().await?),
        }
    };
    let _serving = serve(&server, handler).await;
    let client = client(&caller);
    let first = client.ask(server.address(), A2aRequest::text("begin")).await.unwrap();
    let second = client.ask(server.address(), A2aRequest::text("a").answering(&first)).await.unwrap();
    assert_eq!(second.text(), "second?");
    let stale = client.ask(server.address(), A2aRequest::text("b").answering(&first)).await.unwrap_err();
    assert_eq!(stale.code(), Some(-32010), "{stale}");
    let done = client.ask(server.address(), A2aRequest::text("c").answering(&second)).await.unwrap();
    assert_eq!(done.state(), Some(&TaskState::Completed));
    let over = client.ask(server.address(), A2aRequest::text("d").answering(&done)).await.unwrap_err();
    assert_eq!(over.code(), Some(-32004), "{over}");
}

async fn a_task_is_called_off_while_it_works(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let handler = |turn: TurnHandle| async move {
        turn.text("answer", "begun").await?;
        std::future::pending::<()>().await;
        Ok(())
    };
    let serving = serve(&server, handler).await;
    let client = client(&caller);
    let mut call = client.call(server.address(), A2aRequest::text("x").with_streaming()).await.unwrap();
    while call.so_far().task_id.is_none() {
        call.next().await.unwrap().unwrap();
    }
    let task = call.so_far().task_id.unwrap();
    let canceled = client.cancel(server.address(), &task).await.unwrap();
    assert_eq!(canceled.state(), Some(&TaskState::Canceled));
    assert_eq!(call.answer().await.unwrap().state(), Some(&TaskState::Canceled));
    let again = client.cancel(server.address(), &task).await.unwrap_err();
    assert_eq!(again.code(), Some(-32002), "{again}");
    while serving.running() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_task_can_be_read_while_its_agent_is_away(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let serving = serve(&server, asks_for_a_city).await;
    let client = client(&caller);
    let question = client.ask(server.address(), A2aRequest::text("the weather?")).await.unwrap();
    let address = server.address().clone();
    drop(serving);
    drop(server);
    let read = client.get_task(&address, question.task_id.as_deref().unwrap()).await.unwrap();
    assert_eq!((read.text(), read.generation), (question.text(), question.generation));
    // Enough to answer by, once it is back.
    assert!(read.is_question() && read.task_id == question.task_id);
}

async fn a_task_that_was_at_work_when_its_worker_died_is_gone_on_with(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let (kept, begun) = (Kept::new(), Arc::new(Notify::new()));
    let tell = Arc::clone(&begun);
    let dies = move |turn: TurnHandle| {
        let tell = Arc::clone(&tell);
        async move {
            turn.text("answer", "half ").await?;
            tell.notify_one();
            std::future::pending::<()>().await;
            Ok(())
        }
    };
    let serving = kept.server(dies).with_options(uncoalesced()).serve(&server).await.unwrap();
    let mut call =
        client(&caller).call(server.address(), A2aRequest::text("x").with_streaming()).await.unwrap();
    begun.notified().await;
    drop(serving);
    drop(server);

    let server = net.agent("server").await;
    let lives = |turn: TurnHandle| async move { Ok(turn.text("answer", "whole").await?) };
    let _serving = kept.server(lives).serve(&server).await.unwrap();
    let answer = call.answer().await.unwrap();
    assert_eq!((answer.text().as_str(), answer.state()), ("whole", Some(&TaskState::Completed)));
}

async fn a_call_that_timed_out_can_be_read_later_by_its_id(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let handler = move |turn: TurnHandle| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(turn.text("answer", "late").await?)
        }
    };
    let _serving = serve(&server, handler).await;
    let client = client(&caller);
    let request = A2aRequest::text("x").with_timeout(Duration::from_millis(500));
    let Err(A2aError::TimedOut { id, .. }) = client.ask(server.address(), request).await else {
        panic!("it is late")
    };
    go.notify_one();
    let mut call = client.reopen(&id).expect("it is kept");
    assert_eq!(call.answer().await.unwrap().text(), "late");
    drop(call);
    assert!(client.reopen(&id).is_none(), "a call that ended is done with");
}

async fn a_subscriber_hears_what_follows(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let other = net.agent("other").await;
    let (go, hold) = mpsc::channel::<()>(1);
    let hold = Arc::new(tokio::sync::Mutex::new(hold));
    let handler = move |turn: TurnHandle| {
        let hold = Arc::clone(&hold);
        async move {
            turn.text("answer", "one ").await?;
            let _ = hold.lock().await.recv().await;
            turn.text("answer", "two").await?;
            Ok(())
        }
    };
    let _serving = A2aServer::new(handler).with_options(uncoalesced()).serve(&server).await.unwrap();
    let mut call =
        client(&caller).call(server.address(), A2aRequest::text("x").with_streaming()).await.unwrap();
    while call.so_far().text() != "one " {
        call.next().await.unwrap().unwrap();
    }
    let task = call.so_far().task_id.unwrap();
    let mut listens = client(&other).subscribe(server.address(), &task, None).await.unwrap();
    listens.next().await.unwrap().unwrap();
    go.send(()).await.unwrap();
    assert_eq!(listens.answer().await.unwrap().text(), "one two");
    assert_eq!(call.answer().await.unwrap().text(), "one two");
}

async fn a_failure_tells_its_reason_only_where_that_is_meant(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let handler = |turn: TurnHandle| async move {
        match turn.request_text().as_str() {
            "told" => Err(TurnError::told("the market is closed")),
            "panic" => panic!("the secret"),
            _ => Err("the secret".into()),
        }
    };
    let _serving = serve(&server, handler).await;
    for (text, reason) in
        [("told", "the market is closed"), ("hidden", "the task failed"), ("panic", "the task failed")]
    {
        let answer = client(&caller).ask(server.address(), A2aRequest::text(text)).await.unwrap();
        assert_eq!((answer.state(), answer.text().as_str()), (Some(&TaskState::Failed), reason));
    }
}

async fn an_unknown_method_and_an_unknown_task_are_refused_with_the_right_code(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let _serving = serve(&server, asks_for_a_city).await;
    let client = client(&caller);
    for refused in [
        client.cancel(server.address(), "nobody").await,
        client.get_task(server.address(), "nobody").await,
        client.ask(server.address(), A2aRequest::text("x").with_task("nobody", None)).await,
        client.subscribe(server.address(), "nobody", None).await.unwrap().answer().await,
    ] {
        assert_eq!(refused.unwrap_err().code(), Some(-32001));
    }
}

async fn the_origin_comes_back_and_the_handler_sees_it(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let handler = |turn: TurnHandle| async move {
        let token = turn.origin().map(|origin| origin.token().to_owned()).unwrap_or_default();
        Ok(turn.text("answer", &token).await?)
    };
    let _serving = serve(&server, handler).await;
    let request = A2aRequest::text("x").with_origin(Origin::new("9f2c").unwrap());
    assert_eq!(client(&caller).ask(server.address(), request).await.unwrap().text(), "9f2c");
}

async fn many_agents_are_asked_at_once(net: Net) {
    let caller = net.agent("caller").await;
    let mut serving = Vec::new();
    let mut targets = Vec::new();
    for name in ["ann", "bob", "cid"] {
        let agent = net.agent(name).await;
        let answer = text_handler(move |text: String| async move { Ok(format!("{name}: {text}")) });
        serving.push(serve(&agent, answer).await);
        targets.push(agent.address().clone());
    }
    let request = A2aRequest::text("your price?");
    let answers = client(&caller).call_many(&targets, request, CallMode::all()).await.unwrap();
    let mut texts: Vec<_> = answers.answers().map(|(_, reply)| A2aAnswer::of(reply).text()).collect();
    texts.sort();
    assert_eq!(texts, ["ann: your price?", "bob: your price?", "cid: your price?"]);
}

async fn a_core_caller_without_a2a_is_answered_in_its_own_words(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let runs = Arc::new(AtomicUsize::new(0));
    let _serving = serve(&server, echo(runs)).await;
    let ask = async |body: &str| {
        let call =
            caller.call(server.address(), CallRequest::new(Body::json(body.to_owned()))).await.unwrap();
        call.response().await.unwrap().body().as_str().unwrap().to_owned()
    };
    let old = r#"{"jsonrpc":"2.0","id":7,"method":"message/send","params":{"message":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"}]}}}"#;
    let answer = ask(old).await;
    assert!(answer.starts_with(r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"task","#), "{answer}");
    assert!(answer.contains(r#""state":"completed""#) && answer.contains("heard: hi"), "{answer}");
    let new = r#"{"jsonrpc":"2.0","id":"x","method":"SendMessage","params":{"message":{"messageId":"m2","role":"ROLE_USER","parts":[{"text":"hi"}]}}}"#;
    let answer = ask(new).await;
    assert!(answer.starts_with(r#"{"jsonrpc":"2.0","id":"x","result":{"task":{"#), "{answer}");
    let hermes = r#"{"type":"mq9_call","from":"h","correlation_id":"5d41","protocol":"a2a","payload":{"instruction":"hi"},"ts":1}"#;
    let answer = ask(hermes).await;
    assert!(answer.starts_with(r#"{"type":"mq9_call_reply","ok":true"#), "{answer}");
    assert!(answer.contains("heard: hi") && answer.contains(r#""correlation_id":"5d41""#), "{answer}");
    let bare = r#"{"messageId":"m3","role":"ROLE_USER","parts":[{"text":"hi"}]}"#;
    let answer = ask(bare).await;
    assert!(answer.contains("TASK_STATE_COMPLETED") && !answer.contains("jsonrpc"), "{answer}");
    let answer = ask("no json at all").await;
    assert!(answer.contains("heard: no json at all"), "{answer}");
}

async fn an_answer_address_elsewhere_is_refused_and_nothing_runs(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let runs = Arc::new(AtomicUsize::new(0));
    let heard = Heard::default();
    let serving = A2aServer::new(echo(Arc::clone(&runs))).with_observer(heard.clone());
    let _serving = serving.serve(&server).await.unwrap();
    for place in ["mq9://evil.example/inbox", "https://evil.example/hook", "loopback://evil.example/x"] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"1","method":"SendMessage","params":{{"message":{{"messageId":"{place}","role":"ROLE_USER","parts":[{{"text":"x"}}]}},"configuration":{{"taskPushNotificationConfig":{{"url":"{place}"}}}}}}}}"#
        );
        let message = Outbound::new(server.address().clone(), Body::json(body));
        caller.send(&message).await.unwrap();
    }
    // Behind them on the same way.
    client(&caller).ask(server.address(), A2aRequest::text("fence")).await.unwrap();
    assert!(heard.has("request.rejected"));
    assert_eq!(runs.load(Ordering::SeqCst), 1, "only the last one ran");
}

async fn tasks_are_listed_to_the_one_who_asked_for_them_alone(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let other = net.agent("other").await;
    let _serving = serve(&server, asks_for_a_city).await;
    let (client, stranger) = (client(&caller), client(&other));
    let to = server.address();
    let mut asked = Vec::new();
    for text in ["one", "two", "three"] {
        asked.push(client.ask(to, A2aRequest::text(text)).await.unwrap());
    }
    client.ask(to, A2aRequest::text("Oslo").answering(&asked[0])).await.unwrap();
    stranger.ask(to, A2aRequest::text("mine")).await.unwrap();
    let mut query = TaskQuery::of("");
    query.page_size = 2;
    let first = client.list_tasks(to, &query, None).await.unwrap();
    assert_eq!((first.tasks.len(), first.total), (2, 3));
    let rest = client.list_tasks(to, &query, first.next.as_deref()).await.unwrap();
    assert_eq!((rest.tasks.len(), rest.next), (1, None));
    let mut listed: Vec<_> =
        first.tasks.iter().chain(&rest.tasks).map(|task| Some(task.id.clone())).collect();
    assert_eq!(listed[0], asked[0].task_id, "it changed last");
    let mut ids: Vec<_> = asked.iter().map(|asked| asked.task_id.clone()).collect();
    (listed.sort(), ids.sort());
    assert_eq!(listed, ids);
    query.state = Some(TaskState::InputRequired);
    query.context_id.clone_from(&asked[1].context_id);
    let waiting = client.list_tasks(to, &query, None).await.unwrap();
    assert_eq!(
        waiting.tasks.iter().map(|task| Some(task.id.clone())).collect::<Vec<_>>(),
        [asked[1].task_id.clone()]
    );
    assert_eq!(stranger.list_tasks(to, &TaskQuery::of(""), None).await.unwrap().total, 1);
}

async fn an_extended_card_comes_byte_for_byte(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let text = r#"{"z": 1.0,  "name":"n","kind":"x","signatures":[{"protected":"p","signature":"s"}], "role":"user"}"#;
    let options = A2aServerOptions::default().with_extended_card(RawCard::new(text).unwrap());
    let serving = A2aServer::new(asks_for_a_city).with_options(options).serve(&server).await.unwrap();
    let card = client(&caller).extended_card(server.address()).await.unwrap();
    assert_eq!(card.as_str(), text);
    let old = r#"{"jsonrpc":"2.0","id":7,"method":"agent/getAuthenticatedExtendedCard"}"#;
    let call = caller.call(server.address(), CallRequest::new(Body::json(old))).await.unwrap();
    let answer = call.response().await.unwrap();
    assert_eq!(answer.body().as_str().unwrap(), format!(r#"{{"jsonrpc":"2.0","id":7,"result":{text}}}"#));
    serving.stop(Duration::ZERO).await;
    let _serving = serve(&server, asks_for_a_city).await;
    let none = client(&caller).extended_card(server.address()).await.unwrap_err();
    assert_eq!(none.code(), Some(-32007), "{none}");
}

async fn a_method_nobody_knows_reaches_the_application_untouched(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let body = r#"{"jsonrpc":"2.0","id":"x-1", "method":"PauseTask","params":{"big":12345678901234567890123, "a":1.0}}"#;
    let other = move |request: Received| async move {
        assert_eq!(request.envelope.body, body);
        assert_eq!(request.method.as_deref(), Some("PauseTask"));
        Ok(JsonText::new(r#"{"paused": 1.0}"#)?)
    };
    let serving = A2aServer::new(asks_for_a_city).with_other_methods(other);
    let _serving = serving.serve(&server).await.unwrap();
    let ask = async |body: &str| {
        let call =
            caller.call(server.address(), CallRequest::new(Body::json(body.to_owned()))).await.unwrap();
        call.response().await.unwrap().body().as_str().unwrap().to_owned()
    };
    assert_eq!(ask(body).await, r#"{"jsonrpc":"2.0","id":"x-1","result":{"paused": 1.0}}"#);
}

async fn malformed_requests_are_answered_with_the_right_error(net: Net) {
    let (server, caller) = (net.agent("server").await, net.agent("caller").await);
    let runs = Arc::new(AtomicUsize::new(0));
    let _serving = serve(&server, echo(Arc::clone(&runs))).await;
    let rpc = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":"1","method":"{method}","params":{params}}}"#)
    };
    let cases = [
        (true, "{broken".to_owned(), "SendMessage", -32700),
        (true, rpc("GetTask", r#"{"id":"t"}"#), "SendMessage", -32600),
        (true, rpc("SendMessage", "{}"), "SendMessage", -32602),
        (false, rpc("SendMessage", "{}"), "", -32602),
        (false, rpc("tasks/dance", "{}"), "", -32601),
        (false, rpc("GetTask", "{}"), "", -32602),
        (false, rpc("ListTasks", r#"{"pageSize":1000}"#), "", -32602),
        (false, rpc("ListTasks", r#"{"pageToken":"none"}"#), "", -32602),
        (false, rpc("GetExtendedAgentCard", "{}"), "", -32007),
        (false, rpc("CreateTaskPushNotificationConfig", r#"{"taskId":"t"}"#), "", -32003),
        (false, rpc("GetTaskPushNotificationConfig", r#"{"taskId":"t"}"#), "", -32003),
        (false, rpc("ListTaskPushNotificationConfigs", r#"{"taskId":"t"}"#), "", -32003),
        (false, rpc("tasks/pushNotificationConfig/delete", r#"{"id":"t"}"#), "", -32003),
    ];
    for (ours, body, method, code) in cases {
        let mut request = CallRequest::new(Body::json(body.clone()));
        if ours {
            request = request.with_header("amb-envelope", "1").with_header("mq9-a2a-method", method);
        }
        let call = caller.call(server.address(), request).await.unwrap();
        let reply = call.response().await.unwrap();
        let text = reply.body().as_str().unwrap();
        assert!(text.contains(&format!(r#""error":{{"code":{code},"#)), "{body}: {text}");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    let mut request = CallRequest::new(Body::json("{}")).with_header("amb-envelope", "99");
    request = request.with_header("mq9-a2a-method", "SendMessage");
    let call = caller.call(server.address(), request).await;
    if matches!(net, Net::Bodies(..)) {
        // What is no envelope of this format cannot be wrapped as one.
        assert_eq!(call.unwrap_err().kind(), ErrorKind::Invalid);
        return;
    }
    let reply = call.unwrap().response().await.unwrap();
    assert!(reply.body().as_str().unwrap().contains(r#""code":-32600"#), "{:?}", reply.body().as_str());
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}
