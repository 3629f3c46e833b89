//! Everything goes wrong at once, from a seed: requests and answers are lost, rows are stored twice, sends
//! take their time and cut their connection, the network is cut, receivers are stopped and killed, handlers
//! fail and panic. Still nothing that was accepted is lost, one incarnation handles an id once, and
//! conversations keep their order.
//!
//! `TORTURE_SEEDS=1000..1500` tries other seeds than the usual ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::{
    Agent, Body, CallRequest, CloseMode, ConversationId, ErrorKind, HandlerResult, Loopback,
    LoopbackConnector, LoopbackFaults, Outbound, Priority, Request, ServeOptions, SubscribeOptions,
};

const SECOND: Duration = Duration::from_secs(1);
const SENDERS: u64 = 3;
const MESSAGES: u64 = 60;
const CONVERSATIONS: u64 = 3;

/// What was handled: by incarnation, the messages in the order they were settled.
type Log = Arc<Mutex<Vec<(u32, String)>>>;

fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("TORTURE_SEEDS").unwrap_or_else(|_| "0..25".to_owned());
    let (from, to) = text.split_once("..").expect("TORTURE_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn faults(seed: u64) -> LoopbackFaults {
    LoopbackFaults::seeded(seed)
        .with_loss(0.1, 0.15)
        .with_duplicates(0.2)
        .with_latency(SECOND / 200)
        .with_cuts(0.02)
}

async fn start(connector: &LoopbackConnector) -> Agent {
    Agent::builder(connector.clone()).start().await.expect("the network takes everyone back")
}

/// Sends numbered messages, one after the other in each conversation, each until it is accepted.
async fn send_all(network: Loopback, name: u64, to: agentchat_core::Address) -> Vec<String> {
    let connector = network.connector(&format!("sender-{name}")).expect("name");
    let mut agent = start(&connector).await;
    let mut accepted = Vec::new();
    for number in 0..MESSAGES {
        let conversation = format!("{name}.{}", number % CONVERSATIONS);
        let text = format!("{conversation}/{number:04}");
        let message = Outbound::new(to.clone(), Body::text(&text))
            .with_conversation(ConversationId::new(conversation).expect("id"));
        loop {
            match agent.send(&message).await {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Disconnected => agent = start(&connector).await,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        }
        accepted.push(text);
    }
    accepted
}

/// Serves again and again until it is told to stop, in ever new incarnations.
async fn serve_all(
    network: Loopback,
    seed: u64,
    log: Log,
    mut done: tokio::sync::watch::Receiver<bool>,
    restarts: bool,
) {
    let connector = network.connector("receiver").expect("name");
    let mut dice = fastrand::Rng::with_seed(seed);
    for incarnation in 0.. {
        let agent = start(&connector).await;
        let options = ServeOptions::default()
            .with_concurrency(dice.usize(1..6))
            .with_retry(SECOND / 100, SECOND / 5)
            .with_grace(SECOND)
            .with_subscribe(SubscribeOptions::own().with_max_unsettled(dice.usize(1..40)));
        let handling = Arc::new((Mutex::new(fastrand::Rng::with_seed(dice.u64(..))), Arc::clone(&log)));
        let handler = move |request: Request| {
            let handling = Arc::clone(&handling);
            async move { handle(request, &handling.0, &handling.1, incarnation).await }
        };
        let serving = match agent.serve(handler, options).await {
            Ok(serving) => serving,
            Err(_) => continue,
        };
        let life = if restarts { SECOND / 1_000 * dice.u32(10..2_000) } else { 100_000 * SECOND };
        let over = tokio::select! {
            _ = tokio::time::sleep(life) => false,
            _ = done.wait_for(|done| *done) => true,
        };
        match dice.u8(0..4) {
            0 => drop(serving),
            1 => drop((agent, serving)),
            2 => network.cut(),
            _ => {
                let stopped = tokio::time::timeout(60 * SECOND, serving.stop(SECOND * 2)).await;
                let served = stopped.expect("stopping ends");
                assert!(served.error.is_none_or(|error| error.kind() != ErrorKind::Unexpected));
                let _ = agent.close(CloseMode::Detach, SECOND).await;
            }
        }
        if over {
            return;
        }
    }
}

async fn handle(request: Request, dice: &Mutex<fastrand::Rng>, log: &Log, incarnation: u32) -> HandlerResult {
    let (fate, wait) = {
        let mut dice = dice.lock().expect("no panic while held");
        (dice.u8(0..20), SECOND / 1_000 * dice.u32(0..20))
    };
    tokio::time::sleep(wait).await;
    match fate {
        0 => return Err("out of luck".into()),
        1 => panic!("out of luck"),
        2 => tokio::time::sleep(SECOND).await,
        _ => {}
    }
    // No await from here on: what is in the log is settled.
    let text = request.body().as_str().unwrap_or_default().to_owned();
    log.lock().expect("no panic while held").push((incarnation, text));
    Ok(())
}

/// Runs one storm and returns what was accepted and what was handled.
async fn storm(seed: u64, faults: LoopbackFaults, restarts: bool) -> (BTreeSet<String>, Vec<(u32, String)>) {
    let network = Loopback::with_faults(faults);
    let to = start(&network.connector("receiver").expect("name")).await.address().clone();
    let log = Log::default();
    let (stop, done) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(serve_all(network.clone(), seed, Arc::clone(&log), done, restarts));
    let senders: Vec<_> =
        (0..SENDERS).map(|name| tokio::spawn(send_all(network.clone(), name, to.clone()))).collect();
    let mut accepted = BTreeSet::new();
    for sender in senders {
        accepted.extend(sender.await.expect("no panic"));
    }
    let all_handled = async {
        loop {
            let handled: BTreeSet<_> =
                log.lock().expect("no panic").iter().map(|(_, text)| text.clone()).collect();
            if handled.is_superset(&accepted) {
                return;
            }
            tokio::time::sleep(SECOND).await;
        }
    };
    let lost = tokio::time::timeout(3_600 * SECOND, all_handled).await.is_err();
    // What might still be handled twice has this long to show it.
    tokio::time::sleep(60 * SECOND).await;
    stop.send_replace(true);
    tokio::time::timeout(600 * SECOND, serving).await.expect("serving ends").expect("no panic");
    let log = std::mem::take(&mut *log.lock().expect("no panic"));
    assert!(!lost, "seed {seed}: {} accepted, {} handled", accepted.len(), log.len());
    (accepted, log)
}

/// One incarnation handles each message once, and each conversation in its order.
fn check_incarnations(seed: u64, log: &[(u32, String)], ordered: bool) {
    let mut seen = BTreeSet::new();
    let mut last: HashMap<(u32, &str), &str> = HashMap::new();
    for (incarnation, text) in log {
        assert!(seen.insert((incarnation, text)), "seed {seed}: {text} was handled twice by {incarnation}");
        let (conversation, number) = text.split_once('/').expect("a slash");
        if let Some(before) = last.insert((*incarnation, conversation), number) {
            assert!(!ordered || before < number, "seed {seed}: {text} came after {before} in {incarnation}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_lives_on_handles_each_message_once_and_in_order() {
    for seed in seeds() {
        let (accepted, log) = storm(seed, faults(seed), false).await;
        check_incarnations(seed, &log, true);
        assert_eq!(log.len(), accepted.len(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_the_receiver_nothing_accepted_is_lost() {
    let mut incarnations = 0;
    for seed in seeds() {
        let (accepted, log) = storm(seed, faults(seed), true).await;
        check_incarnations(seed, &log, true);
        let handled: BTreeSet<_> = log.iter().map(|(_, text)| text.clone()).collect();
        assert_eq!(handled, accepted, "seed {seed}: nothing is handled that was not sent");
        incarnations += log.iter().map(|(incarnation, _)| incarnation).collect::<BTreeSet<_>>().len();
    }
    assert!(incarnations > 2 * seeds().count(), "receivers were restarted: {incarnations}");
}

#[tokio::test(start_paused = true)]
async fn reordering_changes_nothing_but_the_order() {
    let mut disordered = false;
    for seed in seeds() {
        let (accepted, log) = storm(seed, faults(seed).with_reordering(0.3), true).await;
        check_incarnations(seed, &log, false);
        let handled: BTreeSet<_> = log.iter().map(|(_, text)| text.clone()).collect();
        assert_eq!(handled, accepted, "seed {seed}");
        disordered |= std::panic::catch_unwind(|| check_incarnations(seed, &log, true)).is_err();
    }
    assert!(disordered, "the fault does something");
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_in_time_with_its_own_replies_in_order() {
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for seed in seeds() {
        let network = Loopback::with_faults(faults(seed).with_reordering(0.2));
        let (stop, mut done) = tokio::sync::watch::channel(false);
        let to = start(&network.connector("worker").expect("name")).await.address().clone();
        let worker = tokio::spawn({
            let network = network.clone();
            async move {
                while !*done.borrow() {
                    let agent = start(&network.connector("worker").expect("name")).await;
                    let options =
                        ServeOptions::default().with_retry(SECOND / 100, SECOND / 5).with_grace(SECOND);
                    let Ok(serving) = agent.serve(answer, options).await else { continue };
                    tokio::select! { _ = serving.wait() => {}, _ = done.wait_for(|done| *done) => {} }
                }
            }
        });
        let askers = (0..SENDERS).map(|name| ask_all(network.clone(), name, to.clone()));
        for asker in askers.map(tokio::spawn).collect::<Vec<_>>() {
            for outcome in asker.await.expect("no panic") {
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
        stop.send_replace(true);
        tokio::time::timeout(60 * SECOND, worker).await.expect("serving ends").expect("no panic");
    }
    let asked: u32 = outcomes.values().sum();
    assert!(outcomes["answered"] > asked / 2, "{outcomes:?}");
    assert!(
        outcomes.keys().all(|outcome| ["answered", "Timeout", "Disconnected"].contains(&outcome.as_str()))
    );
}

/// Answers in steps; errors of a step make the whole request come again.
async fn answer(request: Request) -> HandlerResult {
    let text = request.body().as_str().unwrap_or_default().to_owned();
    for step in 1..=5 {
        request.progress(Body::text(format!("{text}:{step}"))).await?;
    }
    request.reply(Body::text(format!("{text}:6"))).await?;
    Ok(())
}

async fn ask_all(network: Loopback, name: u64, to: agentchat_core::Address) -> Vec<String> {
    let connector = network.connector(&format!("asker-{name}")).expect("name");
    let mut agent = start(&connector).await;
    let mut outcomes = Vec::new();
    for number in 0..30 {
        let text = format!("{name}.{number}");
        let request = CallRequest::new(Body::text(&text))
            .with_timeout(30 * SECOND)
            .with_priority(if number % 3 == 0 { Priority::Urgent } else { Priority::Normal });
        let begun = tokio::time::Instant::now();
        let ended = async {
            let mut call = agent.call(&to, request).await?;
            let mut due = 1;
            while let Some(reply) = call.next().await {
                let reply = reply?;
                assert_eq!(reply.body().as_str(), Some(format!("{text}:{due}").as_str()));
                assert_eq!((reply.seq, reply.last), (due, due == 6));
                due += 1;
            }
            assert_eq!(due, 7, "it ended with its last reply");
            Ok::<_, agentchat_core::Error>(())
        }
        .await;
        assert!(begun.elapsed() <= 31 * SECOND, "{:?}", begun.elapsed());
        outcomes.push(match &ended {
            Ok(()) => "answered".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        });
        if ended.is_err_and(|error| error.kind() == ErrorKind::Disconnected) {
            agent = start(&connector).await;
        }
    }
    outcomes
}
