//! Processes whose clocks are wrong, each by hours or days in its own way: at each start, and now and then at once
//! in the middle. They are killed and started again with another clock, and have stores, over every network.
//! Nothing that has not expired is lost, what has expired is told, what was settled is not handed out again, and
//! order stays.
//!
//! The clocks are those that the processes see indeed: `support/hunt/clock.c` is loaded into them.
//! A few kills by default; `HUNT_ROUNDS=100` makes a hundred on each network.
#![cfg(target_os = "linux")]

#[path = "support/hunt/mod.rs"]
mod hunt;
#[path = "support/hunt/ledger.rs"]
mod ledger;
#[path = "support/hunt/processes.rs"]
mod processes;
mod support;
#[path = "support/hunt/talk.rs"]
mod talk;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentchat_core::store::MemoryStore;
use agentchat_core::{
    Address, Agent, Body, CallRequest, ErrorKind, HandlerResult, Request, ResilientConnector, ServeOptions,
};
use hunt::{Kind, MS, Net, SECOND, Trail, Way, options, rounds, within};
use ledger::Ledger;
use processes::{ATTACHED, Part, is_last, say, told};
use support::Scratch;

/// Tell a process what it does, by which way, with whom, with which store, in which round, and how many seconds
/// its messages have.
const VERB: &str = "HUNT_CLOCK_VERB";
const WAY: &str = "HUNT_CLOCK_WAY";
const PEER: &str = "HUNT_CLOCK_PEER";
const STORE: &str = "HUNT_CLOCK_STORE";
const ROUND: &str = "HUNT_CLOCK_ROUND";
const SPAN: &str = "HUNT_CLOCK_SPAN";

const HOUR: i64 = 3_600;
/// The farthest that a clock is off. What a store remembers for a week is within it whichever way it goes.
const FARTHEST: i64 = 72;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_wrong_by_days_lose_nothing_that_has_not_expired_and_repeat_nothing_settled() {
    on_each(400 * 24 * HOUR, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_by_a_clock_that_is_wrong_is_told_and_nothing_else_is_lost() {
    on_each(24 * HOUR, true).await;
}

async fn on_each(span: i64, expires: bool) {
    let first = hunt::seeds(1).next().expect("one");
    hunt::on_each(move |kind| async move {
        let _trail = Trail(kind, first);
        hunt_one(kind, span, expires, first, rounds(3)).await;
    })
    .await;
}

async fn hunt_one(kind: Kind, span: i64, expires: bool, seed: u64, rounds: u64) {
    let begun = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    let (net, scratch) = (Net::start(kind).await, Scratch::new("hunt-clock"));
    let file = |name: &str| scratch.path().join(name).to_str().expect("text").to_owned();
    let ways = [net.way("writer").await, net.way("reader").await];
    let peer = ways[1].address().await;
    let clock = clock(scratch.path());
    let mut parts = ["write", "read"].map(|verb| Part::new(verb, "killed_process"));
    for (part, way) in parts.iter_mut().zip(ways) {
        part.tell(VERB, part.name);
        part.tell(WAY, way.told());
        part.tell(PEER, peer.as_str());
        part.tell(STORE, file(part.name));
        part.tell(SPAN, span.to_string());
        part.tell("LD_PRELOAD", &clock);
    }
    let mut ledger = Ledger::default();
    for round in 0..=rounds {
        for part in &mut parts {
            if !part.is_alive() {
                set_off(part, &mut dice);
            }
            part.tell(ROUND, round.to_string());
            if round == rounds { part.start_last() } else { part.start() }
        }
        let [writer, reader] = &mut parts;
        tokio::join!(writer.speaks(), reader.speaks());
        if round == rounds {
            break;
        }
        if dice.u8(0..3) == 0 {
            net.trouble(&mut dice).await;
        }
        tokio::time::sleep(MS * dice.u32(0..300)).await;
        let who = dice.u8(0..4);
        for (number, part) in parts.iter_mut().enumerate() {
            let heard = part.heard();
            note(&mut ledger, number, part.life, heard);
            if who == number as u8 || who > 1 || round + 1 == rounds {
                let heard = part.kill().await;
                note(&mut ledger, number, part.life, heard);
                if number == 1 {
                    ledger.buried();
                }
            }
        }
    }
    net.calm().await;
    let ended = Instant::now() + 60 * SECOND;
    while !ledger.is_complete() {
        assert!(Instant::now() < ended, "{}", ledger.missing());
        for (number, part) in parts.iter_mut().enumerate() {
            let heard = part.heard();
            note(&mut ledger, number, part.life, heard);
        }
        tokio::time::sleep(10 * MS).await;
    }
    tokio::time::sleep(SECOND / 2).await;
    for (number, part) in parts.iter_mut().enumerate() {
        let mut heard = part.finish().await;
        heard.pop();
        note(&mut ledger, number, part.life, heard);
        assert_eq!(talk::left(&file(part.name)).await, (0, 0), "{}: in the outbox, parked", part.name);
    }
    println!("{kind:?}, {span} s, seed {seed}: {rounds} rounds in {:?}, {}", begun.elapsed(), ledger.check());
    assert!(expires || ledger.given_up.is_empty(), "nothing had expired: {:?}", ledger.given_up);
}

fn note(ledger: &mut Ledger, number: usize, life: u64, lines: Vec<String>) {
    for line in lines {
        if number == 0 { ledger.sent(&line) } else { ledger.read(life, &line) }
    }
}

/// Gives its next process another clock, which may jump soon after its start.
fn set_off(part: &mut Part, dice: &mut fastrand::Rng) {
    let mut hours = || (dice.i64(-FARTHEST..=FARTHEST) * HOUR).to_string();
    part.tell("HUNT_CLOCK_FIRST", hours());
    part.tell("HUNT_CLOCK_THEN", hours());
    let after = if dice.bool() { dice.u32(0..400) } else { u32::MAX };
    part.tell("HUNT_CLOCK_AFTER", after.to_string());
}

/// Makes the library that sets the clock of a process.
fn clock(folder: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/hunt/clock.c");
    let library = folder.join("clock.so");
    let mut command = Command::new("cc");
    let made = command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(made.expect("cc, which links this program, is there").success(), "clock.c compiles");
    library.to_str().expect("text").to_owned()
}

/// A receiver whose clock is ahead by more than a request has left takes it for expired, and says so at once. It
/// runs everything else, and that too where it is asked to decide by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_expired_by_the_receivers_clock_is_answered_as_late_and_not_lost() {
    hunt::on_each(|kind| async move {
        let (net, scratch) = (Net::start(kind).await, Scratch::new("hunt-clock"));
        let (way, calling) = (net.way("server").await, net.way("caller").await);
        let (clock, to) = (clock(scratch.path()), way.address().await);
        let connector = calling.connector(Arc::new(MemoryStore::new()));
        let connector = ResilientConnector::new(connector, options(0).with_skip_own(true));
        let caller = within(60, "starting", Agent::builder(connector).start()).await.expect("started");
        for (hours, verb) in [(-48, "serve"), (48, "serve"), (48, "serve expired")] {
            let mut server = Part::new("server", "killed_process");
            server.tell(VERB, verb);
            server.tell(WAY, way.told());
            server.tell(STORE, scratch.path().join("server").to_str().expect("text"));
            server.tell("LD_PRELOAD", &clock);
            server.tell("HUNT_CLOCK_FIRST", (hours * HOUR).to_string());
            server.tell("HUNT_CLOCK_AFTER", u32::MAX.to_string());
            server.start();
            let ask = |request: CallRequest| async {
                within(60, "answering", caller.call(&to, request).await.expect("sent").response()).await
            };
            let request = || CallRequest::new(Body::text("x")).with_timeout(50 * SECOND);
            let soon = ask(request()).await;
            match (hours, verb) {
                (48, "serve") => {
                    let error = soon.expect_err("it is late there");
                    assert_eq!(error.kind(), ErrorKind::Handler);
                    assert!(error.to_string().contains("deadline"), "{error}");
                }
                _ => assert_is_off(soon.expect("handled").body(), hours),
            }
            let far = SystemTime::now() + Duration::from_secs(100 * 3_600);
            assert_is_off(ask(request().with_deadline(far)).await.expect("handled").body(), hours);
            server.kill().await;
        }
    })
    .await;
}

/// That the server's clock was off indeed.
fn assert_is_off(body: &Body, hours: i64) {
    let there: i64 = body.as_str().expect("text").parse().expect("a number");
    assert!((there - unix() - hours * HOUR).abs() < 60, "{hours} hours, and {there} s");
}

fn unix() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed()
}

/// Not a test of its own: a process that is killed. In an ordinary run it does nothing.
#[test]
fn killed_process() {
    let Some(verb) = told(VERB) else { return };
    let of = |name: &str| told(name).expect("it was told");
    processes::live(async move {
        let store = talk::store_at(&of(STORE)).await;
        let connector = Way::heard(&of(WAY)).connector(Arc::clone(&store));
        let options = options(0).with_store(store).with_connect_timeout(60 * SECOND);
        if verb.starts_with("serve") {
            let connector = ResilientConnector::new(connector, options.with_skip_own(true));
            let serving = ServeOptions::default();
            let serving = if verb == "serve" { serving } else { serving.with_expired_handed_over() };
            let _agent = Agent::builder(connector).serve(tell_time, serving).start().await.expect("started");
            say(ATTACHED);
            return std::future::pending::<()>().await;
        }
        let round: u64 = of(ROUND).parse().expect("a number");
        let session = talk::session(connector, options.with_seed(round)).await;
        if verb == "read" {
            talk::read(&session, round).await;
        } else {
            let to = Address::parse(of(PEER)).expect("an address");
            let span = Duration::from_secs(of(SPAN).parse().expect("a number"));
            talk::write(&session, to, round, Some(span)).await;
            // What an earlier process could not send in time.
            while is_last() {
                for parked in session.parked() {
                    let why = parked.error.as_ref().map(agentchat_core::Error::kind);
                    assert_eq!(why, Some(ErrorKind::Timeout), "{parked:?}");
                    say(&format!("given {}", parked.message.client_msg_id));
                    session.discard(&parked.message.client_msg_id);
                }
                tokio::time::sleep(5 * MS).await;
            }
        }
        std::future::pending::<()>().await;
    });
}

async fn tell_time(request: Request) -> HandlerResult {
    request.reply(Body::text(unix().to_string())).await?;
    Ok(())
}
