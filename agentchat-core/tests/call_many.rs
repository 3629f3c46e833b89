//! One request to many targets: fast, slow, failing and dead ones.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::agent::{CallMode, FanOut, TargetEnd, TargetOutcome};
use agentchat_core::{
    Address, Agent, Body, CallRequest, ClientMsgId, CloseMode, CorrelationId, ErrorKind, Loopback, Reached,
    Request, ServeOptions,
};
use support::{SECOND, soon, start};
use tokio::time::Instant;

/// What was asked of the targets: who, under which id and correlation id.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

#[derive(Default)]
struct Targets {
    network: Loopback,
    agents: Vec<Agent>,
    asked: Asked,
    /// How many targets work now, and at most so far.
    working: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Targets {
    /// A target that answers with its name after `wait`.
    async fn answers(self, name: &'static str, wait: Duration) -> Self {
        self.add(name, wait, true).await
    }

    /// A target that reports a failure after `wait`.
    async fn fails(self, name: &'static str, wait: Duration) -> Self {
        self.add(name, wait, false).await
    }

    /// A target that has an inbox, which nobody reads.
    async fn dead(mut self, name: &'static str) -> Self {
        self.agents.push(start(&self.network, name).await);
        self
    }

    async fn add(mut self, name: &'static str, wait: Duration, good: bool) -> Self {
        let (asked, working, most) =
            (Arc::clone(&self.asked), Arc::clone(&self.working), Arc::clone(&self.most));
        let handler = move |request: Request| {
            let (asked, working, most) = (Arc::clone(&asked), Arc::clone(&working), Arc::clone(&most));
            async move {
                let delivery = request.delivery();
                let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
                let id = text(delivery.client_msg_id.as_ref().map(ClientMsgId::as_str));
                let correlation = text(delivery.correlation_id.as_ref().map(CorrelationId::as_str));
                asked.lock().expect("not poisoned").push((name.to_owned(), id, correlation));
                most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(wait).await;
                working.fetch_sub(1, Ordering::SeqCst);
                match good {
                    true => request.reply(Body::text(name)).await?,
                    false => request.fail("out of order").await?,
                };
                Ok(())
            }
        };
        let builder = Agent::builder(self.network.connector(name).expect("name"));
        self.agents.push(builder.serve(handler, ServeOptions::default()).start().await.expect("started"));
        self
    }

    fn addresses(&self) -> Vec<Address> {
        self.agents.iter().map(|agent| agent.address().clone()).collect()
    }

    async fn ask(&self, seconds: u32, mode: CallMode) -> (FanOut, Duration) {
        let asker = start(&self.network, "asker").await;
        let request = CallRequest::new(Body::text("x")).with_timeout(seconds * SECOND);
        let begun = Instant::now();
        let fan_out = soon(asker.call_many(&self.addresses(), request, mode)).await.expect("asked");
        (fan_out, begun.elapsed())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").iter().map(|(name, ..)| name.clone()).collect()
    }
}

/// Each end in a word: what was answered, which kind of failure, or how far a given-up one had come.
fn ends(fan_out: &FanOut) -> Vec<String> {
    let word = |end: &TargetEnd| match end {
        TargetEnd::Answered(reply) => reply.body().as_str().unwrap_or_default().to_owned(),
        TargetEnd::Failed(error) => format!("{:?}", error.kind()),
        TargetEnd::GivenUp(reached) => format!("given up, {reached:?}"),
        other => format!("{other:?}"),
    };
    fan_out.outcomes.iter().map(|outcome| word(&outcome.end)).collect()
}

async fn mixed() -> Targets {
    let targets = Targets::default().answers("slow", 20 * SECOND).await.dead("dead").await;
    targets.fails("broken", SECOND).await.answers("fast", 2 * SECOND).await
}

#[tokio::test(start_paused = true)]
async fn all_gives_what_became_of_each_target_at_the_deadline_at_the_latest() {
    let (fan_out, took) = mixed().await.ask(60, CallMode::all()).await;
    assert_eq!(ends(&fan_out), ["slow", "Timeout", "Handler", "fast"]);
    assert_eq!((fan_out.chosen, took), (None, 60 * SECOND));
    let names: Vec<_> = fan_out.answers().filter_map(|(_, reply)| reply.body().as_str()).collect();
    assert_eq!(names, ["slow", "fast"]);
    let (fan_out, took) = mixed().await.ask(10, CallMode::all()).await;
    assert_eq!(ends(&fan_out), ["Timeout", "Timeout", "Handler", "fast"]);
    assert_eq!(took, 10 * SECOND);
    let (_, took) = Targets::default().answers("a", SECOND).await.ask(10, CallMode::all()).await;
    assert_eq!(took, SECOND, "nobody is waited for once all have answered");
}

#[tokio::test(start_paused = true)]
async fn first_is_the_first_success_and_gives_up_the_others() {
    let (fan_out, took) = mixed().await.ask(60, CallMode::first()).await;
    assert_eq!(ends(&fan_out), ["given up, Yes", "given up, Yes", "Handler", "fast"]);
    assert_eq!((fan_out.chosen, took), (Some(3), 2 * SECOND), "a failure that comes earlier does not win");
    assert_eq!(fan_out.into_chosen().expect("an answer").body().as_str(), Some("fast"));
}

#[tokio::test(start_paused = true)]
async fn best_is_the_highest_score_of_what_came_in_time() {
    let length = || CallMode::best(|reply| reply.body().bytes.len() as f64);
    let targets =
        Targets::default().answers("short", SECOND).await.answers("longest-name", 20 * SECOND).await;
    let targets = targets.answers("longer", SECOND).await.dead("dead").await.answers("equals", SECOND).await;
    let (fan_out, took) = targets.ask(30, length()).await;
    assert_eq!((fan_out.chosen, took), (Some(1), 30 * SECOND));
    let (fan_out, _) = targets.ask(10, length()).await;
    assert_eq!(ends(&fan_out), ["short", "Timeout", "longer", "Timeout", "equals"]);
    assert_eq!(fan_out.chosen, Some(2), "the earlier of equal ones");
    let nan = CallMode::best(|reply| if reply.body().as_str() == Some("short") { -1.0 } else { f64::NAN });
    assert_eq!(targets.ask(10, nan).await.0.chosen, Some(0), "what is no number is not chosen");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_the_first_failure_is_the_error() {
    let targets = Targets::default().dead("dead").await.fails("broken", SECOND).await;
    let (fan_out, took) = targets.ask(10, CallMode::first()).await;
    assert_eq!((ends(&fan_out), took), (vec!["Timeout".to_owned(), "Handler".to_owned()], 10 * SECOND));
    let error = fan_out.into_chosen().expect_err("nobody answered");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, "call_many"));
    assert!(error.to_string().contains("none of 2 targets"), "{error}");
    let (nobody, took) = Targets::default().ask(10, CallMode::first()).await;
    assert_eq!(
        (nobody.into_chosen().expect_err("nobody").kind(), took),
        (ErrorKind::NotFound, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn each_target_has_ids_of_its_own_and_asking_again_under_the_same_ones_runs_nothing_twice() {
    let targets = Targets::default().answers("a", 5 * SECOND).await.answers("b", 5 * SECOND).await;
    let asker = start(&targets.network, "asker").await;
    let mut addresses = targets.addresses();
    addresses.push(addresses[0].clone());
    let request = CallRequest::new(Body::text("x")).with_id(ClientMsgId::new("ask-1").expect("id"));
    let given_up = asker.call_many(&addresses, request.clone(), CallMode::all());
    assert!(tokio::time::timeout(SECOND, given_up).await.is_err());
    let fan_out = soon(asker.call_many(&addresses, request, CallMode::all())).await.expect("asked");
    assert_eq!(ends(&fan_out), ["a", "b"], "a target that is named twice is asked once");
    let mut asked = targets.asked.lock().expect("not poisoned").clone();
    asked.sort();
    let told = |outcome: &TargetOutcome| {
        let name = outcome.target.name().to_owned();
        (name, outcome.client_msg_id.to_string(), outcome.correlation_id.to_string())
    };
    assert_eq!(asked, fan_out.outcomes.iter().map(told).collect::<Vec<_>>(), "each was run once");
    assert!(asked[0].1 != asked[1].1 && asked[0].2 != asked[1].2 && asked[0].1 != "ask-1");
}

#[tokio::test(start_paused = true)]
async fn a_correlation_id_that_is_set_is_derived_for_each_target_too() {
    let targets = Targets::default().answers("a", SECOND).await.answers("b", SECOND).await;
    let asker = start(&targets.network, "asker").await;
    let chosen = CorrelationId::new("case-7").expect("id");
    let request = CallRequest::new(Body::text("x")).with_correlation_id(chosen.clone());
    let fan_out = soon(asker.call_many(&targets.addresses(), request, CallMode::all())).await.expect("asked");
    let [a, b] = &fan_out.outcomes[..] else { panic!("two") };
    assert!(a.correlation_id != b.correlation_id && a.correlation_id != chosen);
    assert_eq!(ends(&fan_out), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_targets_than_allowed_work_at_a_time() {
    let mut targets = Targets::default();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        targets = targets.answers(name, SECOND).await;
    }
    let (fan_out, took) = targets.ask(60, CallMode::all().with_parallel(3)).await;
    assert_eq!(fan_out.answers().count(), 7);
    assert_eq!((targets.most.load(Ordering::SeqCst), took), (3, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn silent_targets_do_not_keep_the_later_ones_from_being_asked() {
    let mut targets = Targets::default();
    for name in ["dead-1", "dead-2", "dead-3", "dead-4"] {
        targets = targets.dead(name).await;
    }
    let targets = targets.answers("late", 19 * SECOND).await.answers("alive", SECOND).await;
    let (fan_out, _) = targets.ask(60, CallMode::all().with_parallel(2)).await;
    assert_eq!(ends(&fan_out)[4..], ["late", "alive"], "they had their turn after 40 s");
    let (fan_out, took) = targets.ask(60, CallMode::first().with_parallel(2)).await;
    assert_eq!((fan_out.chosen, took), (Some(5), 41 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_asks_the_next_only_when_one_has_failed() {
    let targets = Targets::default().fails("broken", SECOND).await.answers("good", SECOND).await;
    let targets = targets.answers("spare", SECOND).await;
    let (fan_out, took) = targets.ask(60, CallMode::first().with_parallel(1)).await;
    assert_eq!(ends(&fan_out), ["Handler", "good", "given up, No"]);
    assert_eq!((took, targets.asked()), (2 * SECOND, vec!["broken".to_owned(), "good".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_reached_is_one_failure_among_the_others() {
    let targets = Targets::default().answers("a", SECOND).await;
    let asker = start(&targets.network, "asker").await;
    let mut addresses = targets.addresses();
    addresses.push(Address::parse("loopback://nobody").expect("address"));
    addresses.push(Address::parse("elsewhere://x").expect("address"));
    let request = CallRequest::new(Body::text("x"));
    let fan_out = soon(asker.call_many(&addresses, request, CallMode::all())).await.expect("asked");
    assert_eq!(ends(&fan_out), ["a", "NotFound", "Invalid"]);
    assert_eq!(fan_out.outcomes[2].error().map(agentchat_core::Error::reached), Some(Reached::No));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_gives_every_call_up() {
    let targets = Targets::default().dead("dead-1").await.dead("dead-2").await;
    let asker = start(&targets.network, "asker").await;
    let request = CallRequest::new(Body::text("x")).with_id(ClientMsgId::new("ask-1").expect("id"));
    let addresses = targets.addresses();
    let asking = asker.call_many(&addresses, request.clone(), CallMode::all());
    assert!(tokio::time::timeout(SECOND, asking).await.is_err());
    // Their correlation ids are free again: nothing of it waits any more.
    let request = request.with_timeout(SECOND);
    let fan_out = soon(asker.call_many(&addresses, request, CallMode::all())).await.expect("asked");
    assert_eq!(ends(&fan_out), ["Timeout", "Timeout"]);
    assert_eq!(asker.close(CloseMode::Detach, SECOND).await.expect("closed").calls_ended, 0);
}
