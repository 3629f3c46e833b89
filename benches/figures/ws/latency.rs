//! How long something takes that somebody waits for.

use std::time::{Duration, Instant};

use agentchat_core::{Address, Body, Outbound};

use super::feed::Feed;
use super::ours::{Layer, Reader};
use super::raw::Pages;
use super::row::{Rows, frame, numbered};
use crate::rig::{block_on, median, print};

/// Round trips from greeting to the first message in the handler: every answer of the server takes one, and
/// one more on a connection that is new. What one takes is measured beside it, by a raw request: timers add
/// something to each.
pub fn first_delivery(name: &str) {
    let trips = |acks: bool| {
        block_on(async {
            let feed = Feed::with_delay(acks, TRIP);
            let mut rows = Rows::new();
            match acks {
                true => feed.store(vec![(String::new(), rows.pages(1, 1).remove(0))]),
                false => feed.welcome(rows.frames(1)),
            }
            let attaching = Reader::attach(&feed.url, Layer::Session, 1);
            let (_reader, read) =
                tokio::time::timeout(Duration::from_secs(20), attaching).await.expect("it comes");
            let took = read.duration_since(feed.greeted());
            let mut raw = Pages::connect(&feed.url).await;
            // The first one takes twice as long: its connection is new.
            raw.trip().await;
            took.as_secs_f64() / raw.trip().await.as_secs_f64()
        })
    };
    let stored = median((0..RUNS).map(|_| trips(true)).collect());
    let drained = median((0..RUNS).map(|_| trips(false)).collect());
    let detail = format!(
        "of {} ms, for a message that waited; {drained:.2} from a server that writes what waits by itself",
        TRIP.as_millis()
    );
    print(name, stored, "round_trips", &detail);
}

/// What a reply of one's own adds to the wait for the next message of the same conversation, whose number
/// comes behind that of the reply.
pub fn reply_then_inbound(name: &str) {
    let (plain, replied) = block_on(async {
        let feed = Feed::start(true);
        let mut reader = Reader::attach(&feed.url, Layer::Session, 0).await.0;
        let to = Address::of("agentchat", "tally-ho").expect("an address");
        let (mut plain, mut replied) = (Vec::new(), Vec::new());
        let mut seq = 0;
        for _ in 0..EXCHANGES {
            seq += 1;
            feed.push(frame(&pushed(seq)));
            reader.next().await;
            plain.push(since(feed.pushed()));
            feed.on_send(numbered(0, seq + 1, seq + 1, ""), frame(&pushed(seq + 2)));
            let reply = Outbound::new(to.clone(), Body::text("yes"));
            reader.transport().send(&reply).await.expect("accepted");
            reader.next().await;
            replied.push(since(feed.pushed()));
            seq += 2;
        }
        (plain, replied)
    });
    let worst = replied.iter().fold(0.0_f64, |worst, wait| worst.max(*wait));
    let (plain, replied) = (median(plain), median(replied));
    let detail = format!(
        "from push to handler {plain:.3} ms without, {replied:.3} ms behind a reply; at most {worst:.3} in {EXCHANGES}"
    );
    print(name, (replied - plain).max(0.0), "ms", &detail);
}

fn pushed(seq: usize) -> String {
    format!(r#"{{"type":"message.new","payload":{}}}"#, numbered(0, seq, seq, ""))
}

fn since(then: Instant) -> f64 {
    then.elapsed().as_secs_f64() * 1e3
}

const TRIP: Duration = Duration::from_millis(50);
const RUNS: usize = 5;
const EXCHANGES: usize = 500;
