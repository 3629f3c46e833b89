//! The tools for models over a broker: what is asked, what never leaves, and what comes back.
#![cfg(feature = "tools")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agentchat_core::tools::samples::Samples;
use agentchat_core::tools::{ToolContext, ToolSet};
use agentchat_core::{
    Agent, AgentCard, Body, CloseMode, HandlerError, Heartbeat, Request, ServeOptions, SubscribeOptions,
};
use futures_util::StreamExt;
use mq9_client::testing::Broker;
use serde_json::{Value, json};
use tokio::sync::Notify;
use transport_mq9::Mq9Connector;
use transport_mq9::tools::tools;

struct World {
    broker: Broker,
    agent: Agent,
    tools: ToolSet,
}

impl World {
    async fn new() -> Self {
        let broker = Broker::builder().start().await.expect("a broker");
        let agent = start(&broker, "asker").await;
        let tools = tools(&agent).expect("tools");
        Self { broker, agent, tools }
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let context = ToolContext::new().with_deadline(Duration::from_secs(20));
        self.tools.call(tool, &arguments.to_string(), context).await.read().expect("JSON")
    }

    async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments).await;
        assert_eq!(answer["ok"], true, "{tool}: {answer}");
        answer
    }
}

fn connector(broker: &Broker, inbox: &str) -> Mq9Connector {
    Mq9Connector::builder(broker.url()).inbox(inbox).build().expect("valid")
}

async fn start(broker: &Broker, inbox: &str) -> Agent {
    Agent::builder(connector(broker, inbox)).start().await.expect("started")
}

/// An agent that answers with what it was asked, after saying that it began.
async fn coder(broker: &Broker) -> Agent {
    let card = r#"{"x-first":1.5,"name":"coder","description":"writes programs","tags":["code"]}"#;
    Agent::builder(connector(broker, "coder.inbox"))
        .card(AgentCard::from_json(card).expect("a card"))
        .serve(
            async |request: Request| {
                let asked = request.body().as_str().unwrap_or_default().to_owned();
                if asked.contains("fail") {
                    return Err(HandlerError::reject("no such language"));
                }
                request.progress(Body::text("begun")).await?;
                request.reply(Body::json(format!(r#"{{"echo":{asked}}}"#))).await?;
                Ok(())
            },
            ServeOptions::default(),
        )
        .start()
        .await
        .expect("started")
}

#[tokio::test]
async fn they_are_these_five_in_this_order_and_their_schemas_are_closed() {
    let world = World::new().await;
    let names: Vec<_> = world.tools.names().collect();
    assert_eq!(names, ["mq9_register", "mq9_discover", "mq9_call", "mq9_serve", "mq9_report"]);
    for tool in &world.tools {
        let schema: Value = tool.schema().read().expect("JSON");
        assert_eq!(schema["additionalProperties"], false, "{}", tool.name());
    }
    let repeated: Vec<_> =
        world.tools.iter().filter(|tool| tool.is_idempotent()).map(|tool| tool.name()).collect();
    // Not `mq9_call`: a second one without the first one's `client_msg_id` is a second request.
    assert_eq!(repeated, ["mq9_register", "mq9_discover", "mq9_serve", "mq9_report"]);
    let discover: Value = world.tools.find("mq9_discover").expect("there").schema().read().expect("JSON");
    assert_eq!(discover["anyOf"], json!([{ "required": ["query"] }, { "required": ["tag"] }]));
}

#[tokio::test]
async fn bad_samples_never_reach_the_broker_and_good_ones_do() {
    let world = World::new().await;
    let target = start(&world.broker, "agent.coder.inbox").await;
    for tool in &world.tools {
        let samples = Samples::of(tool.schema()).unwrap_or_else(|error| panic!("{}: {error}", tool.name()));
        let before = world.broker.host().counts();
        for bad in &samples.bad {
            let answer = tool.call(bad, ToolContext::new()).await;
            assert!(answer.as_json().contains(r#""code":"VALIDATION_ERROR""#), "{}: {bad}", tool.name());
        }
        assert_eq!(world.broker.host().counts(), before, "{}: a bad sample was sent", tool.name());
        let context = ToolContext::new().with_deadline(Duration::from_secs(2));
        let answer = tool.call(&samples.good, context).await;
        assert_ne!(answer.error().and_then(|error| error.code()), Some("VALIDATION_ERROR"));
        let local = tool.name() == "mq9_serve";
        assert_eq!(world.broker.host().counts() == before, local, "{}: {}", tool.name(), answer.as_json());
        assert!(answer.is_ok(), "{} {}: {}", tool.name(), samples.good, answer.as_json());
    }
    drop(target);
}

#[tokio::test]
async fn agents_are_found_by_query_or_tag_five_at_most_and_neither_is_an_error() {
    let world = World::new().await;
    let coder = coder(&world.broker).await;
    let mut others = Vec::new();
    for number in 0..6 {
        let card = AgentCard::from_json(format!(r#"{{"name":"other-{number}","tags":["many"]}}"#));
        let connector = connector(&world.broker, &format!("other{number}"));
        others.push(Agent::builder(connector).card(card.expect("a card")).start().await.expect("started"));
    }
    let found = world.ok("mq9_discover", json!({ "tag": "code" })).await;
    assert_eq!((&found["count"], &found["search"]), (&json!(1), &json!("exact")));
    let agent = &found["agents"][0];
    assert_eq!((&agent["name"], &agent["mailbox"]), (&json!("coder"), &json!(coder.address().as_str())));
    assert_eq!(agent["card"]["x-first"], 1.5, "an unknown member of the card is gone");
    let found = world.ok("mq9_discover", json!({ "query": "writes programs", "tag": "many" })).await;
    assert_eq!(found["agents"][0]["name"], "coder", "the query does not come before the tag");
    assert_eq!(world.ok("mq9_discover", json!({ "tag": "many" })).await["count"], 5);
    assert_eq!(world.ok("mq9_discover", json!({ "tag": "many", "limit": 6 })).await["count"], 6);
    for arguments in [json!({}), json!({ "limit": 3 })] {
        let answer = world.call("mq9_discover", arguments).await;
        assert_eq!(answer["error"]["code"], "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn a_call_gives_the_last_answer_and_those_before_it() {
    let world = World::new().await;
    let coder = coder(&world.broker).await;
    for target in [coder.address().as_str(), "coder.inbox"] {
        let call = json!({ "target_mailbox": target, "message": { "task": 1 } });
        let answer = world.ok("mq9_call", call).await;
        assert_eq!(answer["reply"]["echo"]["task"], 1);
        assert_eq!(answer["earlier_replies"], json!(["begun"]));
    }
    let failing = json!({ "target_mailbox": "coder.inbox", "message": "fail" });
    let answer = world.call("mq9_call", failing).await;
    assert_eq!(
        (&answer["error"]["code"], &answer["error"]["class"]),
        (&json!("PEER_FAILED"), &json!("handler"))
    );
    assert!(answer["error"]["message"].as_str().is_some_and(|it| it.contains("no such language")));
}

#[tokio::test]
async fn a_call_that_nobody_answers_ends_by_its_time_and_can_be_waited_on_without_being_done_twice() {
    let world = World::new().await;
    let sleeper = start(&world.broker, "sleeper").await;
    let (runs, alarm) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counted, waited_for) = (Arc::clone(&runs), Arc::clone(&alarm));
    let handler = move |request: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let alarm = Arc::clone(&waited_for);
        async move {
            alarm.notified().await;
            request.reply(Body::text("awake")).await?;
            Ok(())
        }
    };
    let _serving = sleeper.serve(handler, ServeOptions::default()).await.expect("served");
    let mut call = json!({ "target_mailbox": "sleeper", "message": "wake up", "timeout_seconds": 1 });
    let began = Instant::now();
    let answer = world.call("mq9_call", call.clone()).await;
    assert_eq!(answer["error"]["code"], "TIMEOUT");
    assert!(began.elapsed() < Duration::from_secs(10));
    call["client_msg_id"] = answer["error"]["client_msg_id"].clone();
    call["timeout_seconds"] = json!(15);
    let (answer, ()) = tokio::join!(world.call("mq9_call", call), async { alarm.notify_one() });
    assert_eq!((&answer["ok"], &answer["reply"]), (&json!(true), &json!("awake")), "{answer}");
    assert_eq!(runs.load(Ordering::SeqCst), 1, "it was done twice");
}

#[tokio::test]
async fn with_a_callback_nothing_is_waited_for_and_the_answer_goes_there() {
    let world = World::new().await;
    let _coder = coder(&world.broker).await;
    let listener = start(&world.broker, "callbacks").await;
    let options = SubscribeOptions::own();
    let mut answers = listener.transport().subscribe(options).await.expect("subscribed");
    let call =
        json!({ "target_mailbox": "coder.inbox", "message": { "task": 2 }, "callback_mailbox": "callbacks" });
    let answer = world.ok("mq9_call", call).await;
    assert_eq!(
        (&answer["sent"], &answer["callback_mailbox"]),
        (&json!(true), &json!(listener.address().as_str()))
    );
    let echoed = loop {
        let event =
            tokio::time::timeout(Duration::from_secs(20), answers.events.next()).await.expect("in time");
        if let agentchat_core::Event::Message(delivery) = event.expect("open").expect("no error") {
            let text = delivery.body.as_str().unwrap_or_default().to_owned();
            if text.contains("echo") {
                break text;
            }
        }
    };
    let echoed: Value = serde_json::from_str(&echoed).expect("JSON");
    assert_eq!(echoed["echo"]["pushNotification"]["url"], listener.address().as_str(), "{echoed}");
}

#[tokio::test]
async fn a_message_that_names_a_callback_of_its_own_is_answered_there_and_nothing_is_waited_for() {
    let world = World::new().await;
    let _coder = coder(&world.broker).await;
    let listener = start(&world.broker, "callbacks").await;
    let mut answers = listener.transport().subscribe(SubscribeOptions::own()).await.expect("subscribed");
    let url = listener.address().as_str();
    let message = json!({ "task": 3, "pushNotification": { "url": url } });
    let call = json!({ "target_mailbox": "coder.inbox", "message": message, "timeout_seconds": 15 });
    let began = Instant::now();
    let answer = world.ok("mq9_call", call).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for an answer that goes elsewhere");
    assert_eq!((&answer["sent"], &answer["callback_mailbox"]), (&json!(true), &json!(url)));
    loop {
        let event =
            tokio::time::timeout(Duration::from_secs(20), answers.events.next()).await.expect("in time");
        if let agentchat_core::Event::Message(delivery) = event.expect("open").expect("no error")
            && delivery.body.as_str().is_some_and(|text| text.contains("echo"))
        {
            assert_eq!(
                delivery.correlation_id.as_ref().map(|it| it.as_str()),
                answer["correlation_id"].as_str()
            );
            break;
        }
    }
    // What is no mailbox at all is left to whoever answers.
    let message = json!({ "task": 4, "pushNotification": { "url": "https://hooks.example/a" } });
    let answer = world.ok("mq9_call", json!({ "target_mailbox": "coder.inbox", "message": message })).await;
    assert_eq!(answer["callback_mailbox"], "https://hooks.example/a");
}

#[tokio::test]
async fn registering_and_reporting_are_seen_by_others() {
    let world = World::new().await;
    let early = world.call("mq9_report", json!({ "status": "busy" })).await;
    assert_eq!((&early["ok"], &early["error"]["class"]), (&json!(false), &json!("invalid")), "{early}");
    let register = json!({ "name": "asker", "description": "asks", "tags": ["q"] });
    let answer = world.ok("mq9_register", register).await;
    assert_eq!(answer["mailbox"], world.agent.address().as_str());
    let report = json!({ "status": "busy", "active_tasks": 3, "load": 0.5, "interval_seconds": 600 });
    assert_eq!(world.ok("mq9_report", report).await["alive_for_seconds"], 1_800);
    let found = world.ok("mq9_discover", json!({ "tag": "q", "alive_only": true })).await;
    let status = &found["agents"][0]["status"];
    assert_eq!((&status["status"], &status["active_tasks"]), (&json!("busy"), &json!(3)));
    let card = json!({ "card": { "name": "asker", "x-unknown": { "a": [1] }, "tags": ["again"] } });
    world.ok("mq9_register", card).await;
    let found = world.ok("mq9_discover", json!({ "tag": "again" })).await;
    assert_eq!(found["agents"][0]["card"]["x-unknown"], json!({ "a": [1] }));
    for bad in
        [json!({ "card": { "name": "" } }), json!({ "card": {}, "name": "a" }), json!({ "tags": ["a"] })]
    {
        assert_eq!(world.call("mq9_register", bad).await["error"]["code"], "VALIDATION_ERROR");
    }
    // It is the same report that a heartbeat makes.
    world.agent.report(&Heartbeat::new("away", Duration::from_secs(60))).await.expect("reported");
}

#[tokio::test]
async fn whether_calls_are_served_is_told() {
    let world = World::new().await;
    let told = world.ok("mq9_serve", json!({})).await;
    assert_eq!((&told["serving"], &told["role"]), (&json!("not_served_by_this_agent"), &json!("leader")));
    assert_eq!(told["mailbox"], world.agent.address().as_str());
    let coder = coder(&world.broker).await;
    let tools = tools(&coder).expect("tools");
    let ask =
        async || -> Value { tools.call("mq9_serve", "{}", ToolContext::new()).await.read().expect("JSON") };
    assert_eq!(ask().await["serving"], "running");
    coder.close(CloseMode::Retire, Duration::from_secs(5)).await.expect("closed");
    assert_eq!(ask().await["serving"], "ended");
}

#[tokio::test]
async fn a_broker_that_is_gone_is_an_answer() {
    let world = World::new().await;
    // Who is not registered cannot report, with or without a broker.
    world.ok("mq9_register", json!({ "name": "asker" })).await;
    let World { broker, tools, agent } = world;
    drop(broker);
    for (tool, arguments) in [
        ("mq9_discover", json!({ "tag": "code" })),
        ("mq9_call", json!({ "target_mailbox": "coder.inbox", "message": "hi", "timeout_seconds": 2 })),
        ("mq9_register", json!({ "name": "asker" })),
        ("mq9_report", json!({ "status": "busy" })),
    ] {
        let context = ToolContext::new().with_deadline(Duration::from_secs(5));
        let answer: Value = tools.call(tool, &arguments.to_string(), context).await.read().expect("JSON");
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        assert!(["CONNECTION_ERROR", "TIMEOUT", "CLOSED"].contains(&code), "{tool}: {answer}");
    }
    drop(agent);
}
