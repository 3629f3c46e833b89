//! What waited: ten thousand stored rows, from attaching to the last one settled, against a raw loop that reads
//! pages of the same size over one connection, parses them and acknowledges each page.

use super::feed::Feed;
use super::ours::{Layer, Reader};
use super::raw::Pages;
use super::row::Rows;
use crate::rig::{ROUNDS, block_on, per_second, print_ratio, timed};

pub fn ratio(name: &str) {
    let rounds = block_on(async {
        let feed = Feed::start(true);
        let mut raw = Pages::connect(&feed.url).await;
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            feed.store(pages());
            let (mut ours, mut theirs) = (0.0, 0.0);
            for turn in 0..2 {
                if (turn + round) % 2 == 0 {
                    let acked = feed.acks() + COUNT;
                    let elapsed = timed(async {
                        let reader = Reader::attach(&feed.url, Layer::Session, COUNT).await;
                        feed.until_acked(acked).await;
                        drop(reader);
                    });
                    ours = per_second(COUNT, elapsed.await);
                } else {
                    let elapsed = timed(async { assert_eq!(raw.read(PAGE).await, COUNT) });
                    theirs = per_second(COUNT, elapsed.await);
                }
            }
            if round > 0 {
                rounds.push((ours, theirs));
            }
        }
        rounds
    });
    print_ratio(name, &rounds, "rows per second, connecting included in ours");
}

fn pages() -> Vec<(String, Vec<u8>)> {
    let pages = Rows::new().pages(COUNT, PAGE);
    let cursor = |page: usize| if page == 0 { String::new() } else { Rows::cursor(page * PAGE - 1) };
    pages.into_iter().enumerate().map(|(at, page)| (cursor(at), page)).collect()
}

const COUNT: usize = 10_000;
/// The page size by default.
const PAGE: usize = 200;
