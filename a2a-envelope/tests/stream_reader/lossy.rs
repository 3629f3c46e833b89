//! Whatever a network does to replies: lost, repeated, late, in any order.

use std::time::Duration;

use a2a_envelope::stream::{ReaderItem, ReaderOptions, StreamEnd, StreamReader};
use a2a_envelope::{Envelope, ReplyType};
use proptest::prelude::*;

use crate::flow::{Desk, ms, new_task};
use crate::support::seeded;
use crate::{ends, mirror, numbered, seqs, snapshot, stream};

/// What a network does to one reply.
#[derive(Debug, Clone, Copy)]
struct Fate {
    lost: bool,
    twice: bool,
    /// Behind how many others it comes.
    late: usize,
    /// How long after the one before it is read.
    after: u64,
}

fn fates(loss: u32) -> impl Strategy<Value = Vec<Fate>> {
    let fate =
        (prop::bool::weighted(f64::from(loss) / 100.0), prop::bool::weighted(0.2), 0..6_usize, 0..300_u64)
            .prop_map(|(lost, twice, late, after)| Fate { lost, twice, late, after });
    prop::collection::vec(fate, 30)
}

fn through(sent: Vec<Envelope>, fates: &[Fate]) -> Vec<(Envelope, u64)> {
    let mut places = Vec::new();
    for (place, (envelope, fate)) in sent.into_iter().zip(fates.iter().cycle()).enumerate() {
        if fate.lost {
            continue;
        }
        if fate.twice {
            places.push((place + fate.late * 2, envelope.clone(), fate.after));
        }
        places.push((place + fate.late, envelope, fate.after));
    }
    places.sort_by_key(|(place, ..)| *place);
    places.into_iter().map(|(_, envelope, after)| (envelope, after)).collect()
}

/// Reads all that came, with the newest snapshot at hand, until the end or until nothing is due.
fn read(
    came: Vec<(Envelope, u64)>,
    desk: Option<&Desk>,
    options: ReaderOptions,
) -> (Vec<ReaderItem>, StreamReader) {
    let mut reader = StreamReader::new(options, ms(0));
    let (mut now, mut items) = (0, Vec::new());
    let answered =
        |reader: &mut StreamReader, new: Vec<ReaderItem>, now: u64, items: &mut Vec<ReaderItem>| {
            let asked = new.contains(&ReaderItem::ReadSnapshot);
            items.extend(new);
            if asked {
                items.extend(reader.snapshot(desk.and_then(|desk| desk.snapshot("t-1")), ms(now)));
            }
        };
    for (envelope, after) in came {
        now += after;
        let due = reader.poll(ms(now));
        answered(&mut reader, due, now, &mut items);
        let new = reader.receive(envelope, ms(now)).unwrap();
        answered(&mut reader, new, now, &mut items);
    }
    for _ in 0..50 {
        now += 40_000;
        let due = reader.poll(ms(now));
        answered(&mut reader, due, now, &mut items);
    }
    (items, reader)
}

proptest! {
    #![proptest_config(seeded(300))]

    #[test]
    fn whatever_a_network_does_the_caller_ends_with_the_task_as_it_is(
        chunks in 0..40_usize, fates in fates(20), held in 1..20_usize,
    ) {
        let (sent, desk) = stream(chunks);
        let options = ReaderOptions::default().with_held(held, 1_000_000);
        let (items, _) = read(through(sent, &fates), Some(&desk), options);
        prop_assert_eq!(ends(&items).len(), 1);
        prop_assert!(matches!(items.last(), Some(ReaderItem::End(_))), "nothing follows the end");
        let gaps = items.iter().filter(|item| matches!(item, ReaderItem::Gap { .. })).count();
        prop_assert_eq!(gaps, 0);
        let (mirror, task) = (mirror(&items), desk.tasks.get_now("t-1").unwrap());
        prop_assert_eq!(mirror.state(), Some(task.state()));
        prop_assert_eq!(mirror.artifacts(), task.artifacts());
    }

    #[test]
    fn without_loss_every_reply_is_given_once_and_no_snapshot_is_read(chunks in 0..40_usize, mut fates in fates(0)) {
        fates.iter_mut().for_each(|fate| fate.after = 0);
        let (sent, _) = stream(chunks);
        let count = sent.len() as u64;
        let (items, reader) = read(through(sent, &fates), None, ReaderOptions::default());
        prop_assert_eq!(seqs(&items), (1..=count).collect::<Vec<_>>());
        prop_assert_eq!(items.len() as u64, count + 1, "the replies, and the end");
        prop_assert_eq!(reader.held(), 0);
    }

    #[test]
    fn without_snapshots_exactly_what_was_lost_is_reported(chunks in 0..40_usize, fates in fates(20)) {
        let (sent, _) = stream(chunks);
        // The first and the last come: what is lost at an end cannot be known.
        let mut fates: Vec<_> = fates.into_iter().cycle().take(sent.len()).collect();
        let count = fates.len();
        for fate in &mut fates {
            (fate.after, fate.late) = (0, fate.late.min(3));
        }
        (fates[0].lost, fates[count - 1].lost) = (false, false);
        let lost: Vec<_> = (1..=count as u64).filter(|seq| fates[*seq as usize - 1].lost).collect();
        let options = ReaderOptions::default().with_snapshot_tries(0);
        let (items, _) = read(through(sent, &fates), None, options);
        let reported: Vec<_> = items
            .iter()
            .filter_map(|item| if let ReaderItem::Gap { from, to, .. } = item { Some(*from..=*to) } else { None })
            .flatten()
            .collect();
        prop_assert_eq!(&reported, &lost);
        let kept: Vec<_> = (1..=count as u64).filter(|seq| !lost.contains(seq)).collect();
        prop_assert_eq!(seqs(&items), kept);
        prop_assert_eq!(ends(&items), [StreamEnd::Last]);
    }

    #[test]
    fn no_replies_make_it_panic_or_end_twice_or_go_back(
        ops in prop::collection::vec((0..12_u64, any::<bool>(), 0..12_u64, 0..9_u8, 0..2_000_u64), 0..60),
        huge in any::<bool>(),
    ) {
        let options = ReaderOptions::default().with_held(4, 2_000).with_hole_after(Duration::from_millis(300));
        let mut reader = StreamReader::new(options, ms(0));
        let (mut now, mut items) = (0, Vec::new());
        for (seq, last, generation, kind, after) in ops {
            now += after;
            let seq = if huge && seq > 8 { u64::MAX - (11 - seq) } else { seq };
            let generation = if huge && generation > 10 { u64::MAX } else { generation };
            let mut envelope = numbered(0, last).with_seq(seq).unwrap().with_generation(generation).unwrap();
            match kind {
                0 => envelope.body = "]".into(),
                1 => envelope.body = new_task().to_json().as_str().to_owned().into(),
                2 => envelope = envelope.with_reply_type(ReplyType::End).unwrap(),
                3 => envelope = envelope.with_reply_type(ReplyType::Error).unwrap(),
                4 => drop(envelope.headers.remove("amb-generation")),
                5 if last => drop(envelope.headers.remove("amb-seq")),
                _ => {}
            }
            match kind {
                7 => items.extend(reader.snapshot(Some(snapshot(generation, if last { "completed" } else { "working" })), ms(now))),
                8 => items.extend(reader.snapshot(None, ms(now))),
                _ => items.extend(reader.receive(envelope, ms(now)).unwrap()),
            }
            items.extend(reader.poll(ms(now)));
            prop_assert!(reader.held() <= 4);
        }
        items.extend(reader.cut());
        prop_assert_eq!(ends(&items).len(), 1);
        prop_assert!(matches!(items.last(), Some(ReaderItem::End(_))));
        let seqs = seqs(&items);
        prop_assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    }
}
