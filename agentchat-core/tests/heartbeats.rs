//! An agent that lives says so, in time and not in step with others.

mod support;

use std::time::Duration;

use agentchat_core::{
    Agent, AgentCard, AgentStatus, CloseMode, ConversationId, ErrorKind, HandlerResult, Loopback, Query,
    Request, ResilientConnector, ResilientOptions, ServeOptions,
};
use support::steps::{Fault, Steps};
use support::{SECOND, start, text};
use tokio::time::Instant;

fn card() -> AgentCard {
    AgentCard::new("coder", "Writes programs").expect("card")
}

async fn status(watcher: &Agent) -> AgentStatus {
    let found = watcher.discover(&Query::name("coder")).await.expect("an answer");
    found.agents[0].status.clone().expect("it has reported")
}

/// When the agent reported, as seen from outside, within `span`.
async fn beats(watcher: &Agent, span: Duration) -> Vec<Duration> {
    let begun = Instant::now();
    let mut beats: Vec<Duration> = Vec::new();
    while begun.elapsed() < span {
        let at = begun.elapsed().saturating_sub(status(watcher).await.age);
        if beats.last().is_none_or(|last| at > *last + SECOND / 2) {
            beats.push(at);
        }
        tokio::time::sleep(SECOND / 10).await;
    }
    beats
}

fn gaps(beats: &[Duration]) -> Vec<Duration> {
    beats.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn the_default_is_a_minute_and_a_beat_is_never_late_and_at_most_a_tenth_early() {
    let network = Loopback::new();
    let watcher = start(&network, "watcher").await;
    let coder = Agent::builder(network.connector("coder").expect("name")).card(card()).seed(7);
    let coder = coder.start().await.expect("started");
    tokio::time::sleep(SECOND).await;
    let gaps = gaps(&beats(&watcher, 3600 * SECOND).await);
    assert!((60..=67).contains(&gaps.len()), "{} in an hour", gaps.len());
    let slack = SECOND / 5;
    assert!(gaps.iter().all(|gap| (54 * SECOND - slack..=60 * SECOND + slack).contains(gap)), "{gaps:?}");
    let (shortest, longest) = (gaps.iter().min().expect("some"), gaps.iter().max().expect("some"));
    assert!(*longest - *shortest > 2 * SECOND, "they are spread: {shortest:?} to {longest:?}");
    drop(coder);
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_beats_again_and_another_one_others() {
    let run = async |seed: u64| {
        let network = Loopback::new();
        let watcher = start(&network, "watcher").await;
        let coder = Agent::builder(network.connector("coder").expect("name")).card(card()).seed(seed);
        let _coder = coder.start().await.expect("started");
        tokio::time::sleep(SECOND).await;
        beats(&watcher, 1200 * SECOND).await
    };
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_beat_tells_how_many_handlers_run_and_when_there_is_no_free_one() {
    let network = Loopback::new();
    let watcher = start(&network, "watcher").await;
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let coder = Agent::builder(network.connector("coder").expect("name")).card(card()).heartbeat(10 * SECOND);
    let coder =
        coder.serve(stuck, ServeOptions::default().with_concurrency(2)).start().await.expect("started");
    tokio::time::sleep(SECOND).await;
    assert_eq!((status(&watcher).await.status.as_str(), status(&watcher).await.active_tasks), ("online", 0));
    for (conversation, word) in [("a", "online"), ("b", "busy")] {
        let of = ConversationId::new(conversation).expect("id");
        watcher.send(&text(&coder, "work").with_conversation(of)).await.expect("sent");
        tokio::time::sleep(11 * SECOND).await;
        assert_eq!(status(&watcher).await.status, word);
    }
    assert_eq!(status(&watcher).await.active_tasks, 2);
}

#[tokio::test(start_paused = true)]
async fn beats_go_on_over_the_reconnects_of_a_session_and_end_when_the_agent_closes() {
    let network = Loopback::new();
    let session = ResilientConnector::new(network.connector("coder").expect("name"), ResilientOptions::new());
    let coder = Agent::builder(session).card(card()).heartbeat(60 * SECOND).start().await.expect("started");
    for _ in 0..5 {
        tokio::time::sleep(100 * SECOND).await;
        network.cut();
        tokio::time::sleep(100 * SECOND).await;
        let watcher = start(&network, "watcher").await;
        assert!(status(&watcher).await.age <= 60 * SECOND);
    }
    coder.close(CloseMode::Detach, SECOND).await.expect("closed");
    let watcher = start(&network, "watcher").await;
    let last = status(&watcher).await.age;
    tokio::time::sleep(300 * SECOND).await;
    assert_eq!(status(&watcher).await.age, last + 300 * SECOND);
    assert!(watcher.discover(&Query::name("coder").alive_only()).await.expect("an answer").agents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn beats_end_with_the_last_handle() {
    let network = Loopback::new();
    let watcher = start(&network, "watcher").await;
    let coder = Agent::builder(network.connector("coder").expect("name")).card(card());
    let coder = coder.start().await.expect("started");
    tokio::time::sleep(SECOND).await;
    drop(coder);
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(status(&watcher).await.age, 601 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_zero_is_refused() {
    let builder = Agent::builder(Loopback::new().connector("a").expect("name")).heartbeat(Duration::ZERO);
    assert_eq!(builder.start().await.expect_err("zero").kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_fails_or_has_no_answer_does_not_end_the_next_ones() {
    for fault in [Fault::Refused, Fault::Unanswered, Fault::Hangs] {
        let network = Loopback::new();
        let steps = Steps::new(&network, "coder").fault("report", fault);
        let builder = Agent::builder(steps.clone()).card(card()).heartbeat(10 * SECOND);
        let _coder = builder.start().await.expect("started");
        tokio::time::sleep(100 * SECOND).await;
        let tried = steps.log().iter().filter(|step| **step == "report").count();
        assert!((10..=12).contains(&tried), "{fault:?}: {tried}");
        steps.heal();
        tokio::time::sleep(10 * SECOND).await;
        assert!(status(&start(&network, "watcher").await).await.alive);
    }
}
