//! Readers of an inbox come and go: what one leaves behind is the next one's, whole and once.

#[path = "support/stage.rs"]
#[allow(dead_code, reason = "other scenes use the rest")]
mod stage;

use std::time::Duration;

use agentchat_core::{
    AckTag, BackoffPolicy, Event, EventStream, Resilient, ResilientOptions, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use stage::{Stage, row};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

async fn session(stage: &Stage) -> Resilient {
    let quick = BackoffPolicy::new().with_base(SECOND / 10).with_jitter(0.0);
    let options = ResilientOptions::new().with_reconnect(quick).with_seed(1);
    Resilient::connect(stage.clone(), options).await.expect("connected")
}

async fn read(session: &Resilient, options: SubscribeOptions) -> EventStream {
    session.subscribe(options).await.expect("subscribed").events
}

/// The bodies that come before nothing comes for a while, and their tags.
async fn rest(events: &mut EventStream) -> Vec<(String, AckTag)> {
    let mut all = Vec::new();
    while let Ok(event) = timeout(5 * SECOND, events.next()).await {
        if let Event::Message(delivery) = event.expect("the stream goes on").expect("no error") {
            all.push((delivery.body.as_str().expect("text").to_owned(), delivery.tag));
        }
    }
    all
}

fn names(all: &[(String, AckTag)]) -> Vec<&str> {
    all.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_history_answers_when_the_reader_has_left_is_handed_to_the_next_reader() {
    // While the next one reads; before and after the moment at which a backlog that brings nothing counts as read.
    for pause in [SECOND / 2, 2 * SECOND, 31 * SECOND, 700 * SECOND] {
        let stage = Stage::new().with_slow_history(SECOND);
        let session = session(&stage).await;
        let mut events = read(&session, SubscribeOptions::own()).await;
        stage.caught_up();
        stage.push([row("a", 1)]);
        stage.keep([row("a", 2)]);
        stage.push([row("a", 3)]);
        while stage.questions().is_empty() {
            let _ = timeout(SECOND / 100, events.next()).await;
        }
        drop(events);
        sleep(pause).await;
        let mut events = read(&session, SubscribeOptions::own()).await;
        stage.push([row("a", 1), row("a", 2), row("a", 3)]);
        stage.caught_up();
        let all = rest(&mut events).await;
        assert_eq!(names(&all), ["a1", "a2", "a3"], "after {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_is_known_to_a_next_reader_with_other_bounds_and_the_bounds_are_its_own() {
    let stage = Stage::new();
    let session = session(&stage).await;
    let mut events = read(&session, SubscribeOptions::own()).await;
    stage.push([row("a", 1)]);
    stage.caught_up();
    let all = rest(&mut events).await;
    // Settled while there is no connection: it comes again.
    stage.cut();
    session.ack(&[all[0].1.clone()]).await.expect("settled");
    drop(events);
    sleep(SECOND).await;

    let mut events = read(&session, SubscribeOptions::own().with_max_unsettled(2)).await;
    stage.push([row("a", 1), row("b", 1), row("b", 2), row("b", 3)]);
    stage.caught_up();
    let all = rest(&mut events).await;
    assert_eq!(names(&all), ["b1", "b2"], "a1 was handled; two may be unsettled");
    assert_eq!(stage.acked(), ["a1@1"]);
    session.ack(&[all[0].1.clone()]).await.expect("settled");
    assert_eq!(names(&rest(&mut events).await), ["b3"]);
}
