//! Agents over AgentChat: they find each other, call and answer, are away and come back, lose the server in
//! the middle of a call, and end in good order.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentchat_core::agent::CallMode;
use agentchat_core::{
    Agent, AgentCard, BackoffPolicy, Body, CallRequest, CloseMode, ConversationId, ErrorKind, Outbound,
    Query, Request, ResilientConnector, ResilientOptions, ServeOptions,
};
use futures_util::future::join_all;
use support::{MS, SECOND, notes, until, within};
use tokio::sync::{Semaphore, mpsc};
use transport_ws::testing::{AgentChatServer, Profile};
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

const PROFILES: [Profile; 2] = [Profile::Current, Profile::Legacy];

/// A server where strangers may write twice.
async fn server(profile: Profile) -> AgentChatServer {
    let builder = AgentChatServer::builder().profile(profile).switches(|it| it.awaiting_reply = false);
    builder.start().await.expect("a free port")
}

fn session(server: &AgentChatServer, handle: &str) -> ResilientConnector {
    let key = ApiKey::new(server.agent(handle)).expect("a key");
    let config = AgentChatConfig::builder(key).with_base_url(server.base_url()).build().expect("usable");
    let soon = BackoffPolicy::new().with_base(20 * MS).with_cap(200 * MS);
    let options = ResilientOptions::new().with_reconnect(soon).with_retry(soon);
    ResilientConnector::new(AgentChatConnector::new(config).expect("a connector"), options)
}

async fn start(server: &AgentChatServer, handle: &str) -> Agent {
    within(20, "the start", Agent::builder(session(server, handle)).start()).await.expect("started")
}

fn ask(words: &str) -> CallRequest {
    CallRequest::new(Body::text(words)).with_timeout(30 * SECOND)
}

async fn answer(from: &Agent, to: &Agent, words: &str) -> String {
    let call = from.call(to.address(), ask(words)).await.expect("sent");
    let reply = within(30, "the answer", call.response()).await.expect("answered");
    reply.body().as_str().expect("text").to_owned()
}

async fn echo(request: Request) -> agentchat_core::HandlerResult {
    request.reply(request.body().clone()).await?;
    Ok(())
}

/// A handler that answers when there is a permit, and tells when it began.
fn slow(gate: &Arc<Semaphore>) -> (impl agentchat_core::Handler, mpsc::Receiver<String>) {
    let (gate, (began, log)) = (Arc::clone(gate), mpsc::channel(100));
    let handler = move |request: Request| {
        let (gate, began) = (Arc::clone(&gate), began.clone());
        async move {
            began.send(request.body().as_str().unwrap_or_default().to_owned()).await?;
            gate.acquire().await?.forget();
            request.reply(request.body().clone()).await?;
            Ok(())
        }
    };
    (handler, log)
}

#[tokio::test]
async fn two_agents_find_each_other_and_both_ask_and_answer() {
    for profile in PROFILES {
        let server = server(profile).await;
        let card = |name: &str| AgentCard::new(name, "Answers").expect("a card");
        let builder = |handle: &str| Agent::builder(session(&server, handle));
        let (ann, ben) = (builder("ann-asks").card(card("Ann")), builder("ben-works").card(card("Ben")));
        let ann = ann.serve(echo, ServeOptions::default()).start().await.expect("started");
        let ben = ben.start().await.expect("started");
        let back = ben.clone();
        // Ben finds Ann in his turn, and asks her before he answers.
        let handler = move |request: Request| {
            let back = back.clone();
            async move {
                request.progress(Body::text("a moment")).await?;
                let found = back.discover(&Query::text("ann-").alive_only()).await?;
                let ann = found.agents[0].address.clone().ok_or("no address")?;
                let call = back.call(&ann, ask("are you sure?")).await?;
                let sure = call.response().await?;
                request.reply(sure.body().clone()).await?;
                Ok(())
            }
        };
        let serving = ben.serve(handler, ServeOptions::default()).await.expect("served");
        let found = ann.discover(&Query::name("ben-works")).await.expect("an answer");
        let address = found.agents[0].address.clone().expect("an address");
        assert_eq!(&address, ben.address());
        let mut call = ann.call(&address, ask("do it")).await.expect("sent");
        let mut heard = Vec::new();
        while let Some(reply) = within(30, "a reply", call.next()).await {
            let reply = reply.expect("no error");
            heard.push((reply.seq, reply.body().as_str().expect("text").to_owned()));
        }
        assert_eq!(heard, [(1, "a moment".to_owned()), (2, "are you sure?".to_owned())]);
        for agent in [&ann, &ben] {
            let report = agent.close(CloseMode::Retire, 5 * SECOND).await.expect("closed");
            assert!(report.is_clean(), "{report}");
        }
        assert_eq!(serving.wait().await.stats.handled, 1, "no reply was taken for a request");
    }
}

#[tokio::test]
async fn a_burst_of_calls_and_a_call_to_many_are_all_answered() {
    let server = server(Profile::Current).await;
    let (ann, ben, cleo) =
        (start(&server, "ann").await, start(&server, "ben").await, start(&server, "cleo").await);
    let _ben = ben.serve(echo, ServeOptions::default()).await.expect("served");
    let _cleo = cleo.serve(echo, ServeOptions::default()).await.expect("served");
    let numbers: Vec<_> = (0..64).map(|number: usize| number.to_string()).collect();
    let answers = join_all(numbers.iter().map(|number| answer(&ann, &ben, number))).await;
    assert_eq!(answers, numbers);
    let both = [ben.address().clone(), cleo.address().clone()];
    let many = ann.call_many(&both, ask("who is there?"), CallMode::all()).await.expect("asked");
    assert_eq!(many.answers().count(), 2);
}

#[tokio::test]
async fn a_caller_that_does_not_serve_finds_its_mail_later() {
    for profile in PROFILES {
        let server = server(profile).await;
        let (ann, ben) = (start(&server, "ann").await, start(&server, "ben").await);
        let _ben = ben.serve(echo, ServeOptions::default()).await.expect("served");
        for number in 0..20 {
            let mail = Outbound::new(ann.address().clone(), Body::text(number.to_string()));
            ben.send(&mail).await.expect("accepted");
        }
        assert_eq!(answer(&ann, &ben, "one").await, "one");
        let (handler, mut log) = notes();
        let serving = ann.serve(handler, ServeOptions::default()).await.expect("served");
        let mut seen = BTreeSet::new();
        while seen.len() < 20 {
            seen.insert(within(20, "the mail", log.recv()).await.expect("the handler lives"));
        }
        assert_eq!(answer(&ann, &ben, "two").await, "two");
        let served = serving.stop(5 * SECOND).await;
        assert_eq!((served.stats.handled, served.stats.repeated, served.unsettled), (20, 0, 0));
        drop(log);
    }
}

#[tokio::test]
async fn what_is_asked_of_an_agent_that_is_away_is_answered_when_it_is_back() {
    for profile in PROFILES {
        let server = server(profile).await;
        let ann = start(&server, "ann").await;
        let ben = start(&server, "ben").await;
        let address = ben.address().clone();
        ben.close(CloseMode::Detach, 5 * SECOND).await.expect("away");
        let call = ann.call(&address, ask("when you are back")).await.expect("it waits for him");
        let conversation = ConversationId::new("news").expect("an id");
        for number in 0..30 {
            let mail = Outbound::new(address.clone(), Body::text(number.to_string()));
            ann.send(&mail.with_conversation(conversation.clone())).await.expect("accepted");
        }
        let (seen, mut log) = mpsc::channel(100);
        let handler = move |request: Request| {
            let seen = seen.clone();
            async move {
                match request.wants_reply() {
                    true => drop(request.reply(Body::text("here I am")).await?),
                    false => seen.send(request.body().as_str().unwrap_or_default().to_owned()).await?,
                }
                Ok(())
            }
        };
        let builder = Agent::builder(session(&server, "ben")).serve(handler, ServeOptions::default());
        let _back = within(20, "coming back", builder.start()).await.expect("back");
        let reply = within(20, "the answer", call.response()).await.expect("answered");
        assert_eq!(reply.body().as_str(), Some("here I am"));
        for number in 0..30 {
            let words = within(20, "the mail", log.recv()).await.expect("the handler lives");
            assert_eq!(words, number.to_string(), "in order");
        }
    }
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_of_calls_costs_no_answer_and_runs_nothing_twice() {
    for kill in [false, true] {
        let mut server = server(Profile::Current).await;
        let (ann, ben) = (start(&server, "ann").await, start(&server, "ben").await);
        let gate = Arc::new(Semaphore::new(0));
        let (handler, mut began) = slow(&gate);
        let serving = ben.serve(handler, ServeOptions::default().with_concurrency(16)).await.expect("served");
        let mut calls = Vec::new();
        for number in 0..10 {
            // What is in one conversation is handled one after the other.
            let conversation = ConversationId::new(format!("call-{number}")).expect("an id");
            let request = ask(&number.to_string()).with_conversation(conversation);
            calls.push(ann.call(ben.address(), request).await.expect("sent"));
        }
        for _ in 0..10 {
            within(20, "the handlers' begin", began.recv()).await.expect("the handler lives");
        }
        match kill {
            true => server.kill().await.expect("killed"),
            false => server.down().await.expect("down"),
        }
        gate.add_permits(10);
        tokio::time::sleep(200 * MS).await;
        server.up().await.expect("up");
        for (number, call) in calls.into_iter().enumerate() {
            let reply = within(30, "the answer", call.response()).await.expect("answered");
            assert_eq!(reply.body().as_str(), Some(number.to_string().as_str()));
        }
        until("the handlers' end", async || serving.stats().handled == 10).await;
        assert!(began.try_recv().is_err(), "none began again");
        let report = ben.close(CloseMode::Detach, 5 * SECOND).await.expect("closed");
        assert!(report.is_clean(), "{report}");
    }
}

#[tokio::test]
async fn an_agent_that_is_told_to_end_finishes_its_work_and_is_shown_as_away() {
    let server = server(Profile::Current).await;
    let ann = start(&server, "ann").await;
    let gate = Arc::new(Semaphore::new(0));
    let (handler, mut began) = slow(&gate);
    let card = AgentCard::new("Ben", "Takes his time").expect("a card");
    let ben = Agent::builder(session(&server, "ben")).card(card).serve(handler, ServeOptions::default());
    let ben = ben.start().await.expect("started");
    let alive = async || {
        let found = ann.discover(&Query::name("ben").alive_only()).await.expect("an answer");
        !found.agents.is_empty()
    };
    assert!(alive().await);
    let call = ann.call(ben.address(), ask("finish this")).await.expect("sent");
    within(20, "the work's begin", began.recv()).await.expect("the handler lives");
    // As on SIGTERM: nothing more is taken in, what runs has time.
    let (closing, told) = (ben.clone(), Arc::new(AtomicUsize::new(0)));
    let done = Arc::clone(&told);
    let closing = tokio::spawn(async move {
        let report = closing.close(CloseMode::Retire, 20 * SECOND).await;
        done.fetch_add(1, Ordering::SeqCst);
        report
    });
    until("the closing's begin", async || {
        let refused = ben.serve(echo, ServeOptions::default()).await.err();
        refused.is_some_and(|error| error.kind() == ErrorKind::Closed)
    })
    .await;
    assert_eq!(told.load(Ordering::SeqCst), 0, "it waits for the handler");
    let later = ann.call(ben.address(), ask("for the next one")).await.expect("stored");
    gate.add_permits(1);
    let reply = within(20, "the answer", call.response()).await.expect("answered");
    assert_eq!(reply.body().as_str(), Some("finish this"));
    let report = within(20, "the closing", closing).await.expect("no panic").expect("closed");
    assert!(report.is_clean() && report.unregistered, "{report}");
    until("its being away", async || !alive().await).await;

    gate.add_permits(10);
    let (handler, mut began) = slow(&gate);
    let builder = Agent::builder(session(&server, "ben")).serve(handler, ServeOptions::default());
    let _again = builder.start().await.expect("started again");
    let reply = within(20, "the later answer", later.response()).await.expect("answered");
    assert_eq!(reply.body().as_str(), Some("for the next one"));
    assert_eq!(began.recv().await.as_deref(), Some("for the next one"), "what was done is not done again");
    assert!(tokio::time::timeout(Duration::from_millis(300), began.recv()).await.is_err());
}
