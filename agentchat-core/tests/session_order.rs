//! On a network that numbers, a session hands each conversation out in order, fills holes, and loses and
//! repeats nothing. Each scene is played by hand, in virtual time.

#[path = "support/stage.rs"]
mod stage;

use std::time::Duration;

use agentchat_core::{
    AckGuarantee, AckTag, Address, BackoffPolicy, Body, ConversationId, Delivery, Event, EventStream,
    OrderGuarantee, Outbound, Resilient, ResilientOptions, SessionState, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use stage::{Stage, own, row};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const INSTANTLY: Duration = Duration::ZERO;

struct Scene {
    stage: Stage,
    session: Resilient,
    events: EventStream,
    tags: Vec<(String, AckTag)>,
}

impl Scene {
    /// The backlog is about to be played.
    async fn begin(stage: Stage) -> Self {
        Self::with(stage, SubscribeOptions::own().with_max_unsettled(25_000)).await
    }

    /// There was no backlog.
    async fn live(stage: Stage) -> Self {
        let mut scene = Self::begin(stage).await;
        scene.stage.caught_up();
        assert_eq!(scene.next().await, "caught up");
        scene
    }

    async fn with(stage: Stage, options: SubscribeOptions) -> Self {
        let quick = BackoffPolicy::new().with_base(SECOND / 10).with_jitter(0.0);
        let session = ResilientOptions::new().with_reconnect(quick).with_seed(1);
        let session = Resilient::connect(stage.clone(), session).await.expect("connected");
        let events = session.subscribe(options).await.expect("subscribed").events;
        Self { stage, session, events, tags: Vec::new() }
    }

    /// Cuts the connection and waits until the inbox is read again.
    async fn reconnect(&mut self, count: usize) {
        self.stage.cut();
        self.stage.subscribed(count).await;
    }

    async fn next(&mut self) -> String {
        let event = tokio::time::timeout(100 * SECOND, self.events.next()).await.expect("something comes");
        self.word(event.expect("the stream goes on").expect("no error"))
    }

    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..count {
            words.push(self.next().await);
        }
        words
    }

    /// Everything that comes within `time`.
    async fn within(&mut self, time: Duration) -> Vec<String> {
        let until = Instant::now() + time;
        let mut words = Vec::new();
        while let Ok(event) = tokio::time::timeout_at(until, self.events.next()).await {
            words.push(self.word(event.expect("the stream goes on").expect("no error")));
        }
        words
    }

    /// Everything that comes without anybody waiting for something.
    async fn now(&mut self) -> Vec<String> {
        self.within(SECOND / 1000).await
    }

    fn word(&mut self, event: Event) -> String {
        match event {
            Event::Message(delivery) => {
                let body = delivery.body.as_str().expect("text").to_owned();
                self.tags.push((body.clone(), delivery.tag));
                if delivery.late { format!("{body} late") } else { body }
            }
            Event::CaughtUp => "caught up".to_owned(),
            Event::Gap { conversation, expected, got } => format!("gap {conversation}{expected}..{got}"),
            other => format!("{other:?}"),
        }
    }

    /// Settles what was handed out under the name `row`, and lets the network hear of it.
    async fn settle(&mut self, row: &str) -> Vec<String> {
        let tag = self.tags.iter().find(|(name, _)| name == row).expect("handed out").1.clone();
        self.session.ack(&[tag]).await.expect("settled");
        tokio::time::sleep(SECOND).await;
        self.stage.acked()
    }

    fn note(&self, conversation: &str) -> Outbound {
        let to = Address::parse("stage://peer").expect("address");
        Outbound::new(to, Body::text("x")).with_conversation(ConversationId::new(conversation).expect("id"))
    }
}

fn rows(conversation: &str, seqs: impl IntoIterator<Item = u64>) -> Vec<Delivery> {
    seqs.into_iter().map(|seq| row(conversation, seq)).collect()
}

fn names(conversation: &str, seqs: impl IntoIterator<Item = u64>) -> Vec<String> {
    seqs.into_iter().map(|seq| format!("{conversation}{seq}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_nobody_can_fill_waits_two_seconds_and_not_a_moment_longer() {
    let kinds = [Stage::new(), Stage::new().with_silent_history(), Stage::new().with_lagging_history()];
    for (kind, stage) in kinds.into_iter().enumerate() {
        let mut scene = Scene::live(stage).await;
        scene.stage.push(rows("a", [1]));
        assert_eq!(scene.now().await, ["a1"]);
        let began = Instant::now();
        scene.stage.push(rows("a", [4, 6]));
        scene.stage.push(rows("b", [1]));
        assert_eq!(scene.now().await, ["b1"], "other conversations do not wait");
        assert_eq!(scene.next().await, "gap a2..4");
        assert_eq!(began.elapsed(), 2 * SECOND, "kind {kind}");
        assert_eq!(scene.take(3).await, ["a4", "gap a5..6", "a6"]);
        assert_eq!(began.elapsed(), 4 * SECOND, "each hole has its own two seconds");
        assert_eq!(scene.stage.questions().len(), if kind == 0 { 0 } else { 2 });
        let stats = scene.session.stats();
        assert_eq!((stats.gaps, stats.gaps_filled, stats.late), (2, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_rows_are_held_and_one_more_passes_the_gap_at_once() {
    let mut scene = Scene::live(Stage::new()).await;
    let began = Instant::now();
    scene.stage.push(rows("a", 1..=1));
    scene.stage.push(rows("a", 3..=502));
    assert_eq!(scene.within(SECOND).await, ["a1"], "500 rows are held");
    scene.stage.push(rows("a", [503]));
    assert_eq!(scene.next().await, "gap a2..3");
    assert_eq!(scene.take(501).await, names("a", 3..=503));
    assert_eq!(began.elapsed(), SECOND, "before the two seconds are over");
}

#[tokio::test(start_paused = true)]
async fn held_rows_stop_the_reading_within_the_bounds_of_the_subscription() {
    let options = SubscribeOptions::own().with_max_unsettled(10);
    let mut scene = Scene::with(Stage::new(), options).await;
    scene.stage.caught_up();
    scene.stage.push(rows("a", [1]));
    scene.stage.push(rows("a", 3..=40));
    assert_eq!(scene.within(SECOND).await, ["caught up", "a1"]);
    assert!(scene.session.stats().received <= 11, "{:?}", scene.session.stats());
    assert_eq!(scene.take(3).await, ["gap a2..3", "a3", "a4"], "and what is held passes all the same");
}

#[tokio::test(start_paused = true)]
async fn history_fills_a_hole_at_once() {
    let mut scene = Scene::live(Stage::new().with_history()).await;
    scene.stage.push(rows("a", [1]));
    scene.stage.keep(rows("a", 2..=450));
    let began = Instant::now();
    scene.stage.push(rows("a", [451, 452]));
    assert_eq!(scene.take(452).await, names("a", 1..=452));
    assert_eq!(began.elapsed(), INSTANTLY);
    let asked: Vec<_> =
        scene.stage.questions().into_iter().map(|(_, from, limit, _)| (from, limit)).collect();
    assert_eq!(asked, [(2, 200), (202, 200), (402, 49)], "in pages, each row once");
    let stats = scene.session.stats();
    assert_eq!((stats.gaps, stats.gaps_filled, stats.delivered), (0, 1, 452));
    assert_eq!(scene.settle("a2").await, ["history-a2"], "a row of history is settled like any other");
}

#[tokio::test(start_paused = true)]
async fn what_history_lacks_between_its_rows_is_given_up_at_once() {
    let mut scene = Scene::live(Stage::new().with_history()).await;
    scene.stage.push(rows("a", [1]));
    scene.stage.keep(rows("a", [3]));
    scene.stage.push(rows("a", [5]));
    let began = Instant::now();
    assert_eq!(scene.take(5).await, ["a1", "gap a2..3", "a3", "gap a4..5", "a5"]);
    assert_eq!(began.elapsed(), INSTANTLY);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_comes_after_its_gap_is_handed_out_late_and_once() {
    let mut scene = Scene::live(Stage::new()).await;
    scene.stage.push(rows("a", [1, 3]));
    assert_eq!(scene.take(3).await, ["a1", "gap a2..3", "a3"]);
    scene.stage.push(rows("a", [2, 4]));
    assert_eq!(scene.take(2).await, ["a2 late", "a4"]);
    scene.stage.push(rows("a", [2]));
    assert!(scene.now().await.is_empty(), "it is a repetition now");
    assert_eq!(scene.settle("a2").await, ["a2@2", "a2@4"], "both of its arrivals are acknowledged");
    let stats = scene.session.stats();
    assert_eq!((stats.late, stats.gaps, stats.duplicates, stats.delivered), (1, 1, 1, 4));
}

#[tokio::test(start_paused = true)]
async fn the_ten_thousand_conversations_used_last_are_remembered() {
    for (others, remembered) in [(9_999, true), (10_000, false)] {
        let mut scene = Scene::live(Stage::new().with_history()).await;
        scene.stage.push(rows("a", [1]));
        scene.stage.push((0..others).map(|number| row(&format!("b{number}-"), 1)));
        assert_eq!(scene.take(others + 1).await.len(), others + 1);
        scene.stage.keep(rows("a", [2]));
        scene.stage.push(rows("a", [3]));
        match remembered {
            true => assert_eq!(scene.now().await, ["a2", "a3"]),
            false => assert_eq!(scene.now().await, ["a3"], "it is a first row again"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_waits_for_a_row_is_not_forgotten_for_others() {
    let mut scene = Scene::live(Stage::new()).await;
    scene.stage.push(rows("a", [1, 3]));
    scene.stage.push((0..10_000).map(|number| row(&format!("b{number}-"), 1)));
    assert_eq!(scene.take(10_001).await[0], "a1");
    scene.stage.push(rows("a", [2]));
    assert_eq!(scene.now().await, ["a2", "a3"]);
}

#[tokio::test(start_paused = true)]
async fn own_sends_leave_no_gap_whichever_comes_first() {
    #[derive(Clone, Copy, PartialEq)]
    enum Comes {
        Receipt,
        Echo,
        Next,
    }
    use Comes::{Echo, Next, Receipt};
    let orders: [&[Comes]; 8] = [
        &[Receipt, Echo, Next],
        &[Receipt, Next, Echo],
        &[Echo, Receipt, Next],
        &[Echo, Next, Receipt],
        &[Next, Receipt, Echo],
        &[Next, Echo, Receipt],
        &[Receipt, Next],
        &[Next, Receipt],
    ];
    for (number, order) in orders.into_iter().enumerate() {
        let mut scene = Scene::live(Stage::new()).await;
        scene.stage.push(rows("a", [1]));
        assert_eq!(scene.now().await, ["a1"]);
        let at = order.iter().position(|comes| *comes == Receipt).expect("each has one");
        scene.stage.receipt(SECOND / 2 * u32::try_from(at + 1).expect("small"), 2);
        let sending = scene.session.try_send(scene.note("a")).expect("there is room");
        let began = Instant::now();
        let mut came = Vec::new();
        for comes in order {
            came.extend(scene.within(SECOND / 2).await);
            match comes {
                Receipt => {}
                Echo => scene.stage.push([own("a", 2)]),
                Next => scene.stage.push(rows("a", [3])),
            }
            came.extend(scene.now().await);
        }
        assert_eq!(came, ["a3"], "order {number}: nothing else is told");
        assert!(began.elapsed() < 2 * SECOND, "before a hole would have been given up");
        assert_eq!(sending.await.expect("accepted").seq, Some(2));
        scene.stage.push(rows("a", [4]));
        assert_eq!(scene.now().await, ["a4"]);
        let stats = scene.session.stats();
        let echoes = u64::from(order.contains(&Echo));
        assert_eq!((stats.self_filtered, stats.gaps, stats.late), (echoes, 0, 0), "order {number}");
        assert_eq!(stats.delivered, 3);
        if order.contains(&Echo) {
            assert!(scene.stage.acked().iter().any(|tag| tag.starts_with("a2@")), "the echo is settled");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn own_replies_between_the_rows_of_a_peer_never_stall_it() {
    let mut scene = Scene::live(Stage::new().with_history()).await;
    let began = Instant::now();
    for seq in (1..200).step_by(2) {
        scene.stage.push(rows("a", [seq]));
        assert_eq!(scene.next().await, format!("a{seq}"));
        scene.stage.receipt(INSTANTLY, seq + 1);
        scene.session.send(&scene.note("a")).await.expect("accepted");
    }
    assert_eq!(began.elapsed(), INSTANTLY);
    assert!(scene.stage.questions().is_empty(), "there was no hole to ask about");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_an_inbox_is_read_is_not_missing_in_it() {
    let stage = Stage::new().with_history();
    let session = Resilient::connect(stage.clone(), ResilientOptions::new()).await.expect("connected");
    let to = Address::parse("stage://peer").expect("address");
    for seq in [2, 4] {
        stage.receipt(INSTANTLY, seq);
        let message = Outbound::new(to.clone(), Body::text("x"));
        let message = message.with_conversation(ConversationId::new("a").expect("id"));
        session.send(&message).await.expect("accepted");
    }
    for reader in 1..3 {
        let events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        let mut scene = Scene { stage: stage.clone(), session: session.clone(), events, tags: Vec::new() };
        stage.push(rows("a", [1, 3, 5]));
        stage.caught_up();
        assert_eq!(scene.now().await, ["a1", "a3", "a5", "caught up"], "reader {reader}");
        assert!(stage.questions().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_own_send_that_begins_a_conversation_shows_what_is_missing_after_it() {
    let mut scene = Scene::live(Stage::new().with_history()).await;
    for seq in [1, 2] {
        scene.stage.receipt(INSTANTLY, seq);
        scene.session.send(&scene.note("a")).await.expect("accepted");
    }
    scene.stage.keep(rows("a", [3]));
    scene.stage.push(rows("a", [4]));
    assert_eq!(scene.now().await, ["a3", "a4"]);
}

#[tokio::test(start_paused = true)]
async fn live_rows_wait_for_the_backlog_of_their_conversation_and_of_no_other() {
    let mut scene = Scene::live(Stage::new().with_history()).await;
    scene.stage.push(rows("a", [1, 2]));
    scene.stage.push(rows("b", [1]));
    assert_eq!(scene.now().await, ["a1", "a2", "b1"]);
    scene.reconnect(2).await;
    scene.stage.push(rows("a", [6]));
    scene.stage.push(rows("b", [2]));
    scene.stage.push(rows("c", [7]));
    assert_eq!(scene.within(SECOND).await, ["b2"], "the others may still have a backlog");
    assert_eq!(scene.session.state(), SessionState::CatchingUp);
    scene.stage.push(rows("a", [3]));
    assert_eq!(scene.now().await, ["a3"]);
    scene.stage.push(rows("c", [5, 6]));
    scene.stage.push(rows("a", [4, 5]));
    assert_eq!(scene.now().await, ["a4", "a5", "a6"], "the backlog has passed it");
    scene.stage.push(rows("a", [7]));
    assert_eq!(scene.now().await, ["a7"]);
    scene.stage.caught_up();
    assert_eq!(scene.now().await, ["c5", "c6", "c7"]);
    assert_eq!(scene.session.state(), SessionState::Live);
    assert!(scene.stage.questions().is_empty(), "nothing was missing");
    assert_eq!(scene.session.stats().late, 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_first_backlog_is_told_after_its_rows() {
    let mut scene = Scene::begin(Stage::new().with_history()).await;
    scene.stage.push(rows("a", [125]));
    scene.stage.push(rows("a", 1..125));
    assert!(scene.now().await.is_empty(), "the first number is not known yet");
    scene.stage.caught_up();
    let mut wanted = names("a", 1..=125);
    wanted.push("caught up".to_owned());
    assert_eq!(scene.now().await, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_has_not_ended_before_its_row_that_waits_for_credit() {
    let options = SubscribeOptions::own().with_max_unsettled(8);
    let mut scene = Scene::with(Stage::new().with_slow_history(SECOND), options).await;
    scene.stage.keep(rows("a", 2..5));
    scene.stage.push(rows("a", [1, 5, 6, 7, 8]));
    assert_eq!(scene.within(2 * SECOND).await, names("a", 1..9), "history took what was left of the credit");
    scene.stage.push(rows("b", [1]));
    scene.stage.caught_up();
    assert!(scene.now().await.is_empty());
    scene.settle("a1").await;
    assert_eq!(scene.now().await, ["b1", "caught up"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_over_a_new_connection_is_handed_out_once() {
    let mut scene = Scene::live(Stage::new().with_history()).await;
    scene.stage.push(rows("a", [1, 2, 3]));
    assert_eq!(scene.now().await, ["a1", "a2", "a3"]);
    scene.settle("a1").await;
    for count in 2..5 {
        scene.reconnect(count).await;
        scene.stage.push(rows("a", [1, 2, 3]));
        scene.stage.caught_up();
        assert!(scene.within(3 * SECOND).await.is_empty());
    }
    let stats = scene.session.stats();
    assert_eq!((stats.connects, stats.delivered, stats.duplicates), (4, 3, 9));
    let acked = scene.stage.acked();
    assert_eq!(acked, ["a1@0", "a1@3", "a1@6", "a1@9"], "what was settled is settled on each connection");
    assert_eq!(scene.settle("a3").await[4..], ["a3@11"], "and what is in hand, on the last");
}

#[tokio::test(start_paused = true)]
async fn a_hole_stays_open_over_a_lost_connection() {
    let mut scene = Scene::live(Stage::new()).await;
    scene.stage.push(rows("a", [1, 3]));
    assert_eq!(scene.within(SECOND).await, ["a1"]);
    scene.reconnect(2).await;
    scene.stage.push(rows("a", [3]));
    assert!(scene.within(20 * SECOND).await.is_empty(), "the backlog may bring it");
    scene.stage.push(rows("a", [2]));
    assert_eq!(scene.now().await, ["a2", "a3"]);
    scene.stage.caught_up();
    assert!(scene.within(10 * SECOND).await.is_empty());
    let stats = scene.session.stats();
    assert_eq!((stats.gaps, stats.late, stats.delivered), (0, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_the_backlog_leaves_open_is_waited_for_anew() {
    let mut scene = Scene::live(Stage::new().with_silent_history()).await;
    scene.stage.push(rows("a", [1, 3]));
    assert_eq!(scene.within(SECOND).await, ["a1"]);
    scene.reconnect(2).await;
    scene.stage.push(rows("a", [3]));
    assert!(scene.within(SECOND * 5).await.is_empty());
    scene.stage.caught_up();
    let began = Instant::now();
    assert_eq!(scene.next().await, "gap a2..3");
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(scene.next().await, "a3");
    let asked: Vec<_> = scene.stage.questions().into_iter().map(|(of, from, ..)| (of, from)).collect();
    assert_eq!(asked, [("a".to_owned(), 2), ("a".to_owned(), 2)], "once on each connection");
}

#[tokio::test(start_paused = true)]
async fn a_cursor_is_moved_over_what_is_settled_and_never_over_a_row_of_history_that_is_not() {
    let mut scene = Scene::live(Stage::new().with_cursor().with_history()).await;
    let able = scene.session.capabilities();
    assert_eq!((able.ack, able.numbered), (AckGuarantee::Cumulative, true), "that is how the network is");
    assert_eq!(able.order, OrderGuarantee::Conversation, "and this is what the session makes of it");
    scene.stage.push(rows("a", [1]));
    scene.stage.push(rows("b", [1]));
    scene.stage.keep(rows("a", [2]));
    scene.stage.push(rows("a", [3]));
    scene.stage.push([own("b", 2)]);
    assert_eq!(scene.now().await, ["a1", "b1", "a2", "a3"]);
    assert!(scene.settle("b1").await.is_empty());
    assert!(scene.settle("a3").await.is_empty());
    assert!(scene.settle("a1").await.is_empty(), "its place among the arrivals is not known");
    assert_eq!(scene.settle("a2").await, ["a1@0", "b1@1", "a3@2", "b2@3"]);
}

#[tokio::test(start_paused = true)]
async fn numbers_that_the_network_does_not_vouch_for_order_nothing() {
    let mut scene = Scene::live(Stage::new().with_history().without_numbers()).await;
    scene.stage.push(rows("a", [1, 5, 3]));
    assert_eq!(scene.now().await, ["a1", "a5", "a3"]);
    assert!(scene.stage.questions().is_empty());
}
