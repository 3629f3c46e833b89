//! What A2A servers are asked beside messages, and what they refuse: over every network.

#[path = "support/a2a/mod.rs"]
mod a2a;
#[macro_use]
#[path = "support/a2a/over.rs"]
mod over;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a::{Heard, Net, asks_for_a_city, client, echo, serve, within};
use a2a_envelope::agent::{A2aRequest, A2aServer, A2aServerOptions};
use a2a_envelope::task::{TaskQuery, TaskState};
use a2a_envelope::{JsonText, RawCard, Received};
use agentchat_core::{Body, CallRequest, ErrorKind, Outbound};

over_all!(
    a_core_caller_without_a2a_is_answered_in_its_own_words,
    an_answer_address_elsewhere_is_refused_and_nothing_runs,
    malformed_requests_are_answered_with_the_right_error,
    tasks_are_listed_to_the_one_who_asked_for_them_alone,
    an_extended_card_comes_byte_for_byte,
    a_method_nobody_knows_reaches_the_application_untouched,
    an_unknown_method_and_an_unknown_task_are_refused_with_the_right_code;
);

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
    listed.sort();
    ids.sort();
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
