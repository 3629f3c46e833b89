//! A2A between agents: the same scenarios over the in-process network, one without headers, mq9 and AgentChat.

#[path = "support/a2a/mod.rs"]
mod a2a;
#[macro_use]
#[path = "support/a2a/over.rs"]
mod over;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a::{Heard, Kept, Net, asks_for_a_city, client, echo, serve, uncoalesced, within};
use a2a_envelope::Origin;
use a2a_envelope::agent::{A2aAnswer, A2aError, A2aRequest, A2aServer, TurnError, TurnHandle, text_handler};
use a2a_envelope::call::CallState;
use a2a_envelope::stream::ReaderItem;
use a2a_envelope::task::{Event, TaskState};
use agentchat_core::agent::CallMode;
use tokio::sync::{Notify, mpsc};

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
    the_origin_comes_back_and_the_handler_sees_it,
    many_agents_are_asked_at_once;
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
    let request = A2aRequest::text("too late").with_timeout(Duration::from_secs(1));
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
    let request = A2aRequest::text("x").with_timeout(Duration::from_secs(2));
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
