//! Sessions over the in-process network at its worst, from a seed: rows are dropped, doubled, swapped and
//! echoed, answers are lost, connections are cut. Both sides still read each conversation once and in order.
//!
//! `ORDER_SEEDS=1000..1500` tries other seeds than the usual ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agentchat_core::{
    AckTag, BackoffPolicy, Body, CloseMode, Connector, ConversationId, Delivery, ErrorKind, Event,
    EventStream, Loopback, LoopbackFaults, OrderGuarantee, Outbound, ReplayRange, Resilient,
    ResilientOptions, SubscribeOptions, Transport,
};
use futures_util::{FutureExt, StreamExt};

const SECOND: Duration = Duration::from_secs(1);
const CONVERSATIONS: u32 = 3;
const MESSAGES: u32 = 60;

fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("ORDER_SEEDS").unwrap_or_else(|_| "0..24".to_owned());
    let (from, to) = text.split_once("..").expect("ORDER_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Every fourth network is plain, has an echo, keeps a cursor, or both.
fn faults(seed: u64) -> LoopbackFaults {
    let mut faults = LoopbackFaults::seeded(seed).with_numbers().with_latency(SECOND / 200);
    faults = faults.with_drops(0.15).with_reordering(0.2).with_loss(0.05, 0.1);
    faults = faults.with_duplicates(0.1).with_cuts(0.01);
    if seed % 2 == 1 {
        faults = faults.with_echo();
    }
    if seed % 4 > 1 {
        faults = faults.with_cursor();
    }
    faults
}

fn options(seed: u64) -> ResilientOptions {
    let quick = BackoffPolicy::new().with_base(SECOND / 20).with_cap(SECOND / 2);
    ResilientOptions::new()
        .with_reconnect(quick)
        .with_retry(quick)
        .with_send_timeout(3600 * SECOND)
        .with_seed(seed)
}

async fn session(network: &Loopback, name: &str, seed: u64) -> Resilient {
    let connector = network.connector(name).expect("a valid name");
    Resilient::connect(connector, options(seed)).await.expect("connected")
}

async fn read(session: &Resilient) -> EventStream {
    session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events
}

fn conversation(number: u32) -> ConversationId {
    ConversationId::new(format!("c{number}")).expect("id")
}

fn message(to: &Resilient, of: u32, text: &str) -> Outbound {
    Outbound::new(to.address().clone(), Body::text(text)).with_conversation(conversation(of))
}

/// What one side was handed: by conversation, the number and text of each message.
#[derive(Debug, Default)]
struct Log {
    rows: BTreeMap<ConversationId, Vec<(u64, bool, String)>>,
    unsettled: Vec<AckTag>,
    gaps: usize,
}

impl Log {
    /// Takes in what is there, and settles some of it in any order.
    async fn read(&mut self, session: &Resilient, events: &mut EventStream, dice: &mut fastrand::Rng) {
        while let Some(event) = events.next().now_or_never() {
            match event.expect("the stream goes on").expect("no error") {
                Event::Message(delivery) => self.take(delivery),
                Event::Gap { .. } => self.gaps += 1,
                _ => {}
            }
        }
        dice.shuffle(&mut self.unsettled);
        let some = dice.usize(0..=self.unsettled.len());
        let settled: Vec<AckTag> = self.unsettled.drain(..some).collect();
        session.ack(&settled).await.expect("settled");
    }

    fn take(&mut self, delivery: Delivery) {
        let text = delivery.body.as_str().expect("text").to_owned();
        let row = (delivery.seq.expect("numbered"), delivery.late, text);
        self.rows.entry(delivery.conversation.expect("set")).or_default().push(row);
        self.unsettled.push(delivery.tag);
    }

    fn texts(&self, of: u32) -> BTreeSet<&str> {
        self.rows.get(&conversation(of)).into_iter().flatten().map(|(_, _, text)| text.as_str()).collect()
    }

    /// In the order of their numbers but for the late ones, and each text once.
    fn check(&self, seed: u64, who: &str) {
        for (of, rows) in &self.rows {
            let ordered: Vec<u64> = rows.iter().filter(|row| !row.1).map(|row| row.0).collect();
            assert!(ordered.is_sorted(), "seed {seed}: {who} read {of} out of order: {rows:?}");
            let texts: BTreeSet<&String> = rows.iter().map(|row| &row.2).collect();
            assert_eq!(texts.len(), rows.len(), "seed {seed}: {who} read something twice in {of}: {rows:?}");
        }
    }
}

/// Each side sends one message in each conversation.
async fn send_round(sides: &[Resilient; 2], text: &str) {
    for side in 0..2 {
        for of in 0..CONVERSATIONS {
            let further = message(&sides[1 - side], of, &format!("{side}/{text}/{of}"));
            sides[side].send(&further).await.expect("accepted");
        }
    }
    tokio::time::sleep(SECOND / 4).await;
}

#[tokio::test(start_paused = true)]
async fn two_sides_that_talk_at_once_read_each_other_once_and_in_order() {
    let (mut filled, mut filtered, mut reconnects) = (0, 0, 0);
    for seed in seeds() {
        let network = Loopback::with_faults(faults(seed));
        let sides = [session(&network, "alice", seed).await, session(&network, "bob", seed + 1).await];
        let mut events = [read(&sides[0]).await, read(&sides[1]).await];
        let mut logs = [Log::default(), Log::default()];
        let mut dice = fastrand::Rng::with_seed(seed);
        // What comes before the first row that arrives cannot be missed.
        for hello in 0.. {
            let known = |log: &Log| log.rows.len() == CONVERSATIONS as usize;
            if logs.iter().all(known) {
                break;
            }
            assert!(hello < 60, "seed {seed}: nothing arrives");
            send_round(&sides, &format!("hello {hello}")).await;
            for side in 0..2 {
                logs[side].read(&sides[side], &mut events[side], &mut dice).await;
            }
        }
        let mut sendings = Vec::new();
        for number in 0..MESSAGES {
            for side in 0..2 {
                let text = format!("{side}/{number}");
                let message = message(&sides[1 - side], number % CONVERSATIONS, &text);
                sendings.push(sides[side].try_send(message).expect("there is room"));
                tokio::time::sleep(SECOND / 1000 * dice.u32(0..30)).await;
                logs[side].read(&sides[side], &mut events[side], &mut dice).await;
                logs[side].check(seed, ["alice", "bob"][side]);
            }
            if dice.u8(0..40) == 0 {
                network.cut();
            }
        }
        for sending in sendings {
            sending.await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        }
        // Nobody misses the last row of a conversation before there is a further one.
        let mut missing = 1;
        for more in 0..60 {
            send_round(&sides, &format!("more {more}")).await;
            missing = 0;
            for side in 0..2 {
                logs[side].read(&sides[side], &mut events[side], &mut dice).await;
                for number in 0..MESSAGES {
                    let text = format!("{}/{number}", 1 - side);
                    missing += usize::from(!logs[side].texts(number % CONVERSATIONS).contains(text.as_str()));
                }
            }
            if missing == 0 {
                break;
            }
        }
        assert_eq!(missing, 0, "seed {seed}: {:?}", sides.each_ref().map(Resilient::stats));
        for (side, log) in logs.iter().enumerate() {
            log.check(seed, ["alice", "bob"][side]);
            let stats = sides[side].stats();
            assert_eq!((log.gaps, stats.gaps), (0, 0), "seed {seed}: history has everything");
            filled += stats.gaps_filled;
            filtered += stats.self_filtered;
            reconnects += stats.connects - 1;
        }
    }
    assert!(filled > 100 && filtered > 100 && reconnects > 10, "{filled} {filtered} {reconnects}");
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_on_its_way_comes_from_history_at_once_or_with_the_next_subscription() {
    for seed in seeds() {
        let faults = LoopbackFaults::seeded(seed).with_numbers().with_drops(0.3);
        let network = Loopback::with_faults(faults);
        let alice = network.connector("alice").expect("a valid name").connect().await.expect("attached");
        let bob = session(&network, "bob", seed).await;
        let mut events = read(&bob).await;
        let mut log = Log::default();
        let mut dice = fastrand::Rng::with_seed(seed);
        tokio::time::sleep(SECOND).await;
        for number in 0..MESSAGES {
            alice.send(&message(&bob, 0, &number.to_string())).await.expect("accepted");
            tokio::time::sleep(SECOND / 1000).await;
            log.read(&bob, &mut events, &mut dice).await;
        }
        log.check(seed, "bob");
        let stats = bob.stats();
        assert!(stats.gaps_filled > 3 && stats.gaps == 0, "seed {seed}: {stats:?}");
        let rows = &log.rows[&conversation(0)];
        assert!(rows.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "seed {seed}: {rows:?}");
        network.cut();
        tokio::time::sleep(SECOND * 5).await;
        log.read(&bob, &mut events, &mut dice).await;
        assert_eq!(log.texts(0).len(), MESSAGES as usize, "seed {seed}: also the first and the last");
        log.check(seed, "bob");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_session_had_not_settled_comes_to_the_next_one() {
    for seed in seeds() {
        let faults = LoopbackFaults::seeded(seed).with_numbers().with_reordering(0.2);
        // A cursor that is moved over what the network dropped takes it along.
        let faults = if seed % 2 == 1 { faults.with_cursor() } else { faults.with_drops(0.2) };
        let network = Loopback::with_faults(faults);
        let (alice, bob) = (session(&network, "alice", seed).await, session(&network, "bob", seed).await);
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut events = read(&bob).await;
        let (mut in_hand, mut settled) = (Vec::new(), BTreeSet::new());
        for number in 0..MESSAGES {
            let text = number.to_string();
            alice.send(&message(&bob, number % CONVERSATIONS, &text)).await.expect("accepted");
            tokio::time::sleep(SECOND / 1000).await;
            while let Some(event) = events.next().now_or_never() {
                if let Event::Message(delivery) = event.expect("the stream goes on").expect("no error") {
                    in_hand.push((delivery.tag, delivery.body));
                }
            }
            if !in_hand.is_empty() && dice.bool() {
                let (tag, body) = in_hand.swap_remove(dice.usize(0..in_hand.len()));
                bob.ack(&[tag]).await.expect("settled");
                settled.insert(body.as_str().expect("text").to_owned());
            }
        }
        drop((events, bob));
        let bob = session(&network, "bob", seed + 1).await;
        let mut events = read(&bob).await;
        let mut again = BTreeSet::new();
        loop {
            match events.next().await.expect("the stream goes on").expect("no error") {
                Event::Message(delivery) => again.insert(delivery.body.as_str().expect("text").to_owned()),
                Event::CaughtUp => break,
                _ => true,
            };
        }
        for (_, body) in in_hand {
            let text = body.as_str().expect("text");
            assert!(again.contains(text), "seed {seed}: {text} was not settled, and is gone");
        }
        assert!(!settled.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_settled_unseen_and_a_message_to_oneself_is_refused() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(1).with_numbers().with_echo());
    let (alice, bob) = (session(&network, "alice", 1).await, session(&network, "bob", 2).await);
    let mut events = read(&alice).await;
    for round in 1..=20 {
        let receipt = alice.send(&message(&bob, 0, "ping")).await.expect("accepted");
        assert_eq!(receipt.seq, Some(2 * round - 1), "alice counts both sides");
        let receipt = bob.send(&message(&alice, 0, "pong")).await.expect("accepted");
        assert_eq!(receipt.seq, Some(2 * round), "and so does bob");
    }
    tokio::time::sleep(SECOND).await;
    let mut pongs = Vec::new();
    while let Some(Some(Ok(event))) = events.next().now_or_never() {
        if let Event::Message(delivery) = event {
            assert_eq!(delivery.body, Body::text("pong"));
            pongs.push(delivery.seq.expect("numbered"));
        }
    }
    assert!(pongs.into_iter().eq((1..=20).map(|round| 2 * round)));
    let stats = alice.stats();
    assert_eq!((stats.self_filtered, stats.gaps, stats.delivered), (20, 0, 20));

    let note = message(&alice, 0, "note");
    let refused = alice.send(&note).await.expect_err("it would never be seen");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("skip_own"), "{refused}");
    let (back, refused) = *alice.try_send(note.clone()).expect_err("it would never be seen");
    assert_eq!((back, refused.kind()), (note.clone(), ErrorKind::Invalid));
    let everywhere = agentchat_core::Address::parse("loopback://host/alice").expect("address");
    let alias = Outbound::new(everywhere, Body::text("note"));
    assert_eq!(alice.send(&alias).await.expect_err("an alias").kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_message_to_oneself_is_delivered_when_that_is_wanted_and_in_a_further_inbox_always() {
    let network = Loopback::new();
    let open = options(1).with_skip_own(false);
    let alice = network.connector("alice").expect("a valid name");
    let alice = Resilient::connect(alice, open).await.expect("connected");
    let mut events = read(&alice).await;
    alice.send(&message(&alice, 0, "note")).await.expect("accepted");
    assert_eq!(next(&mut events).await.body, Body::text("note"));

    let bob = session(&network, "bob", 1).await;
    let mut fresh = bob.subscribe(SubscribeOptions::fresh(3600 * SECOND)).await.expect("opened");
    let note = Outbound::new(fresh.address.clone(), Body::text("note"));
    bob.send(&note).await.expect("accepted");
    assert_eq!(next(&mut fresh.events).await.body, Body::text("note"));
    assert_eq!(bob.stats().self_filtered, 0);
    bob.put(bob.address(), "progress", Body::text("10%")).await.expect("stored");
    assert!(bob.get(bob.address(), "progress").await.expect("an answer").is_some(), "state is no message");
}

#[tokio::test(start_paused = true)]
async fn a_further_inbox_is_not_filled_from_the_history_of_another() {
    let faults = LoopbackFaults::seeded(1).with_numbers().with_reordering(1.0);
    let network = Loopback::with_faults(faults);
    let bob = session(&network, "bob", 2).await;
    let mut fresh = bob.subscribe(SubscribeOptions::fresh(3600 * SECOND)).await.expect("opened");
    // A bare attachment sends without giving way, so that rows pile up and are swapped.
    let alice = network.connector("alice").expect("a valid name").connect().await.expect("attached");
    let to_fresh = |text: &str| {
        Outbound::new(fresh.address.clone(), Body::text(text)).with_conversation(conversation(0))
    };
    for number in 1..=4 {
        alice.send(&message(&bob, 0, &format!("own {number}"))).await.expect("accepted");
    }
    alice.send(&to_fresh("1")).await.expect("accepted");
    tokio::time::sleep(SECOND).await;
    for text in ["2", "3", "4"] {
        alice.send(&to_fresh(text)).await.expect("accepted");
    }
    tokio::time::sleep(10 * SECOND).await;
    let mut texts = Vec::new();
    while let Some(Some(Ok(event))) = fresh.events.next().now_or_never() {
        if let Event::Message(delivery) = event {
            texts.push(delivery.body.as_str().expect("text").to_owned());
        }
    }
    assert_eq!(texts, ["1", "2", "3", "4"]);
    assert_eq!(bob.stats().gaps_filled, 1, "they were swapped");
}

#[tokio::test(start_paused = true)]
async fn history_shows_both_sides_as_the_inbox_counts_them() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(1).with_numbers());
    let connect =
        async |name: &str| network.connector(name).expect("a valid name").connect().await.expect("attached");
    let (alice, bob, carol) = (connect("alice").await, connect("bob").await, connect("carol").await);
    let able = alice.capabilities();
    assert!(able.numbered && able.replay && !able.priority && !able.ttl && !able.delay && !able.keyed_state);
    assert_eq!(able.order, OrderGuarantee::Conversation);
    let to = |to: &agentchat_core::Address, text: &str| {
        Outbound::new(to.clone(), Body::text(text)).with_conversation(conversation(0))
    };
    alice.send(&to(bob.address(), "to bob")).await.expect("accepted");
    alice.send(&to(carol.address(), "to carol")).await.expect("accepted");
    let last = bob.send(&to(alice.address(), "from bob")).await.expect("accepted");
    assert_eq!(last.seq, Some(2), "bob saw one message before it");
    let of = conversation(0);
    let page = |from, limit| alice.replay(&of, ReplayRange::new(from, limit));
    let shown = |rows: Vec<Delivery>| {
        let row = |row: Delivery| (row.seq.expect("numbered"), row.body.as_str().expect("text").to_owned());
        rows.into_iter().map(row).collect::<Vec<_>>()
    };
    let all = shown(page(1, 10).await.expect("an answer"));
    assert_eq!(all, [(1, "to bob".into()), (2, "to carol".into()), (3, "from bob".into())]);
    assert_eq!(shown(page(2, 1).await.expect("an answer")), [(2, "to carol".into())]);
    assert!(page(4, 1).await.expect("an answer").is_empty());
    for message in [
        to(bob.address(), "x").with_ttl(SECOND),
        to(bob.address(), "x").with_delay(SECOND),
        to(bob.address(), "x").with_key("k"),
    ] {
        assert_eq!(alice.send(&message).await.expect_err("holes").kind(), ErrorKind::Unsupported);
    }
    let refused = alice.put(alice.address(), "k", Body::text("v")).await.expect_err("no state");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    alice.close(CloseMode::Detach).await.expect("closed");
    assert_eq!(page(1, 1).await.expect_err("closed").kind(), ErrorKind::Closed);
}

async fn next(events: &mut EventStream) -> Delivery {
    loop {
        let event = tokio::time::timeout(60 * SECOND, events.next()).await.expect("it comes soon");
        if let Event::Message(delivery) = event.expect("the stream goes on").expect("no error") {
            return delivery;
        }
    }
}
