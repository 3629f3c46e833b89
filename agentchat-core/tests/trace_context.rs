//! A conversation of agents is one trace, told in a header line that the caller may set.

mod support;

use std::sync::{Arc, Mutex};

use agentchat_core::{
    Agent, Body, CallRequest, ClientMsgId, Delivery, ErrorKind, EventStream, Loopback, LoopbackFaults,
    Outbound, Request, ResilientConnector, ResilientOptions, ServeOptions, Serving, SubscribeOptions,
    TraceContext, Transport,
};
use support::{Fate, SECOND, Scripted, next, soon, start, text};

const LINE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

async fn inbox(agent: &Agent) -> EventStream {
    agent.transport().subscribe(SubscribeOptions::own()).await.expect("opened").events
}

fn of(delivery: &Delivery) -> TraceContext {
    delivery.trace_context().expect("it carries a line")
}

/// Serves `agent` with a handler that passes each message on to `next`, and answers.
async fn pass_on(agent: &Agent, next: &Agent, seen: &Arc<Mutex<Vec<TraceContext>>>) -> Serving {
    let (own, to, seen) = (agent.clone(), next.address().clone(), Arc::clone(seen));
    let handler = move |request: Request| {
        let (own, to, seen) = (own.clone(), to.clone(), Arc::clone(&seen));
        async move {
            seen.lock().expect("not poisoned").push(of(request.delivery()));
            own.send(&Outbound::new(to, request.body().clone())).await?;
            if request.wants_reply() {
                // Replies belong to the request wherever they are made.
                tokio::spawn(async move { request.reply(Body::text("done")).await }).await??;
            }
            Ok(())
        }
    };
    agent.serve(handler, ServeOptions::default()).await.expect("served")
}

#[tokio::test(start_paused = true)]
async fn a_call_its_replies_and_what_its_handler_sends_are_one_trace_of_different_steps() {
    let network = Loopback::new();
    let (asker, middle, last) =
        (start(&network, "asker").await, start(&network, "middle").await, start(&network, "last").await);
    let mut end = inbox(&last).await;
    let seen = Arc::default();
    let _serving = pass_on(&middle, &last, &seen).await;
    let call = asker.call(middle.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    let reply = of(&soon(call.response()).await.expect("answered").delivery);
    let asked = seen.lock().expect("not poisoned")[0];
    let passed = of(&next(&mut end).await);
    assert!(asked.is_sampled());
    assert_eq!([reply.trace_id(), passed.trace_id()], [asked.trace_id(); 2]);
    let steps = [asked.parent_id(), reply.parent_id(), passed.parent_id()];
    assert!(steps[0] != steps[1] && steps[1] != steps[2] && steps[0] != steps[2], "{steps:x?}");
}

#[tokio::test(start_paused = true)]
async fn a_callers_own_line_is_never_touched_and_its_trace_goes_on_behind_it() {
    let network = Loopback::new();
    let (asker, middle, last) =
        (start(&network, "asker").await, start(&network, "middle").await, start(&network, "last").await);
    let mut end = inbox(&last).await;
    let _serving = pass_on(&middle, &last, &Arc::default()).await;
    let own = TraceContext::parse(LINE).expect("valid");
    asker.send(&text(&middle, "x").with_trace_context(own)).await.expect("sent");
    let passed = of(&next(&mut end).await);
    assert_eq!((passed.trace_id(), passed.is_sampled()), (own.trace_id(), false));
    assert_ne!(passed.parent_id(), own.parent_id());
    // Also a line that says nothing to us.
    let strange = text(&last, "x").with_header("Traceparent", "later");
    asker.send(&strange).await.expect("sent");
    assert_eq!(next(&mut end).await.headers, strange.headers);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_message_carries_the_same_line_also_from_a_handler_and_from_a_later_process() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(1));
    let bob = start(&network, "bob").await;
    let mut events = inbox(&bob).await;
    let message = text(&bob, "x").with_id(ClientMsgId::new("m-1").expect("id"));
    let mut lines = Vec::new();
    // The loopback knows the id again and stores nothing twice, so each sending is to be looked at here.
    for _ in 0..2 {
        let scripted = Scripted::new(&network, "alice");
        let unanswered = Fate::Lost(ErrorKind::Timeout, agentchat_core::Reached::Unknown);
        scripted.change(|script| script.sends = [unanswered].into());
        let alice = scripted.start().await;
        alice.send(&message).await.expect_err("no answer");
        alice.send(&message).await.expect("sent");
        lines.extend(scripted.read(|script| script.sent.clone()));
    }
    let lines: Vec<_> = lines.iter().map(|message| message.trace_context().expect("a line")).collect();
    assert_eq!(lines, [lines[0]; 4]);
    assert_eq!(of(&next(&mut events).await), lines[0]);
    // Another sender's message of that id begins another trace.
    start(&network, "carol").await.send(&message).await.expect("sent");
    assert_ne!(of(&next(&mut events).await).trace_id(), lines[0].trace_id());
}

#[tokio::test(start_paused = true)]
async fn a_message_first_sent_outside_and_then_inside_a_handler_stays_one_message() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    let scripted = Scripted::new(&network, "alice");
    let session = ResilientConnector::new(scripted.clone(), ResilientOptions::new());
    let alice = Agent::builder(session).start().await.expect("started");
    let message = text(&bob, "x");
    scripted.change(|script| script.sends = [Fate::Hangs].into());
    let (own, again) = (alice.clone(), message.clone());
    let first = tokio::spawn(async move { own.send(&again).await });
    let (own, again) = (alice.clone(), message.clone());
    let handler = move |_: Request| {
        let (own, again) = (own.clone(), again.clone());
        async move { own.send(&again).await.map(drop).map_err(Into::into) }
    };
    let _serving = alice.serve(handler, ServeOptions::default()).await.expect("served");
    bob.send(&text(&alice, "go")).await.expect("sent");
    soon(first).await.expect("no panic").expect("one message, one outcome");
    tokio::time::sleep(60 * SECOND).await;
    let lines: Vec<_> = scripted.read(|script| script.sent.iter().map(Outbound::trace_context).collect());
    assert_eq!(lines, [lines[0]; 2], "the attempt without an answer and the one that repeats it");
}

#[tokio::test(start_paused = true)]
async fn an_id_stands_for_the_content_the_caller_gave_and_the_option_turns_lines_off() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    let mut events = inbox(&bob).await;
    let alice = Agent::builder(network.connector("alice").expect("name")).trace_context(false);
    let alice = alice.start().await.expect("started");
    let message = text(&bob, "x");
    alice.send(&message).await.expect("sent");
    assert!(next(&mut events).await.headers.is_empty());
    let carol = start(&network, "carol").await;
    carol.send(&message).await.expect("sent");
    let line = of(&next(&mut events).await);
    let altered = message.with_trace_context(line);
    let refused = carol.send(&altered).await.expect_err("another content");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "the caller's message had no line");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_room_for_a_line_is_sent_without_one() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let mut events = inbox(&bob).await;
    let mut full = text(&bob, "x");
    for n in 0..4 {
        full = full.with_header(format!("header-{n}"), "x".repeat(4_080));
    }
    alice.send(&full).await.expect("sent");
    assert_eq!(next(&mut events).await.headers, full.headers);
}

#[tokio::test(start_paused = true)]
async fn a_line_arrives_as_it_was_sent_on_the_bare_network() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let mut events = inbox(&bob).await;
    let own = TraceContext::parse(LINE).expect("valid");
    let message = text(&bob, "x").with_trace_context(own).with_header("tracestate", "a=1,b=2");
    let transport: &Arc<dyn Transport> = alice.transport();
    transport.send(&message).await.expect("sent");
    let delivery = next(&mut events).await;
    assert_eq!((of(&delivery), delivery.headers.get("tracestate")), (own, Some("a=1,b=2")));
}

#[tokio::test(start_paused = true)]
async fn work_of_its_own_is_put_within_a_trace_and_a_line_is_known_before_it_is_sent() {
    let network = Loopback::new();
    let (sender, other) = (start(&network, "sender").await, start(&network, "other").await);
    let mut end = inbox(&other).await;
    let trace = TraceContext::parse(LINE).expect("valid");
    let send = async |id: &ClientMsgId| {
        let message = Outbound::new(other.address().clone(), Body::text("hi")).with_id(id.clone());
        sender.send(&message).await.expect("sent");
    };
    assert_eq!(TraceContext::current(), None);
    let (inside, outside) = (ClientMsgId::random(), ClientMsgId::random());
    let line = trace.scope(async {
        assert_eq!(TraceContext::current(), Some(trace));
        let line = sender.trace_for(&inside);
        send(&inside).await;
        line
    });
    let line = line.await.expect("the agent adds lines");
    assert_eq!((line.trace_id(), line.is_sampled()), (trace.trace_id(), trace.is_sampled()));
    assert_ne!(line.parent_id(), trace.parent_id());
    assert_eq!(of(&next(&mut end).await), line);
    let alone = sender.trace_for(&outside).expect("the agent adds lines");
    send(&outside).await;
    assert_eq!(of(&next(&mut end).await), alone);
    assert_ne!(alone.trace_id(), trace.trace_id());
    let silent = Agent::builder(network.connector("silent").expect("valid")).trace_context(false);
    assert_eq!(silent.start().await.expect("started").trace_for(&outside), None);
}
