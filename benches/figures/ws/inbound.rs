//! Messages that are pushed: from the socket to a handler that does nothing, each settled.
//!
//! A server of prepared frames writes as fast as it is read. Raw is a `tokio-tungstenite` loop that parses
//! each row into owned structs, and acknowledges it where that is asked for. Ours is a session and a reader
//! that settles in batches; the same without a session, and an agent with a handler, stand beside it.

use super::feed::Feed;
use super::ours::{Layer, Reader};
use super::raw::Socket;
use super::row::Rows;
use crate::rig::{ROUNDS, block_on, median, per_second, print_ratio, timed};

pub fn ratio(name: &str, acks: bool) {
    let rounds = block_on(async {
        let feeds: Vec<Feed> = (0..4).map(|_| Feed::start(acks)).collect();
        let mut raw = Socket::connect(&feeds[0].url, None).await;
        let mut readers = Vec::new();
        for (feed, layer) in feeds[1..].iter().zip([Layer::Session, Layer::Bare, Layer::Agent]) {
            readers.push(Reader::attach(&feed.url, layer, 0).await.0);
        }
        let mut rows = Rows::new();
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let frames = rows.frames(COUNT);
            let mut rates = [0.0; 4];
            // Each is first as often as last.
            for turn in 0..4 {
                let who = (turn + round) % 4;
                let (feed, frames) = (&feeds[who], frames.clone());
                let acked = feed.acks() + COUNT;
                let elapsed = timed(async {
                    feed.push(frames);
                    match who {
                        0 => raw.read(COUNT, acks).await,
                        _ => readers[who - 1].read(COUNT).await,
                    }
                    if acks {
                        feed.until_acked(acked).await;
                    }
                });
                rates[who] = per_second(COUNT, elapsed.await);
            }
            if round > 0 {
                rounds.push(rates);
            }
        }
        rounds
    });
    let session: Vec<(f64, f64)> = rounds.iter().map(|[raw, session, ..]| (*session, *raw)).collect();
    print_ratio(name, &session, "messages per second");
    let beside = |of: usize| median(rounds.iter().map(|rates| rates[of] / rates[0]).collect());
    println!("       without a session {:.2}, with an agent and its handler {:.2}", beside(2), beside(3));
}

const COUNT: usize = 50_000;
