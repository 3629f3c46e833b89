//! Random commands against a reference that is too simple to be wrong: lists, scanned from the start.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::rig::{Rig, START_MS, rows};
use super::{EngineProfile, Outcome};

/// One step: a command, or time passing.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Wait { seconds: u64 },
    Create { mailbox: u8, ttl_s: u64 },
    Send { mailbox: u8, class: u8, key: Option<u8>, tag: Option<u8>, ttl_s: Option<u64> },
    Fetch { mailbox: u8, group: Option<u8>, deliver: Deliver, force: bool, num_msgs: u32 },
    Ack { mailbox: u8, group: u8, id: u64 },
    Query { mailbox: u8, look: Look, limit: u64 },
    Delete { mailbox: u8, id: u64 },
}

#[derive(Debug, Clone)]
pub(crate) enum Deliver {
    Earliest,
    Latest,
    FromId(u64),
    /// Seconds after the start.
    FromTime(u64),
}

#[derive(Debug, Clone)]
pub(crate) enum Look {
    All,
    Key(u8),
    Tags(Vec<u8>),
}

/// Sequences in which mailboxes, groups, keys and ids are few, so that they meet.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let deliver = prop_oneof![
        Just(Deliver::Earliest),
        Just(Deliver::Latest),
        (0..12_u64).prop_map(Deliver::FromId),
        (0..200_u64).prop_map(Deliver::FromTime),
    ];
    let look = prop_oneof![
        Just(Look::All),
        (0..2_u8).prop_map(Look::Key),
        prop::collection::vec(0..3_u8, 1..3).prop_map(Look::Tags),
    ];
    let some = prop::option::of(0..2_u8);
    let id = prop_oneof![9 => 0..12_u64, 1 => Just(u64::MAX)];
    let step = prop_oneof![
        2 => prop_oneof![0..3_u64, 30..70_u64].prop_map(|seconds| Step::Wait { seconds }),
        2 => (0..3_u8, prop_oneof![Just(0), 1..90_u64])
            .prop_map(|(mailbox, ttl_s)| Step::Create { mailbox, ttl_s }),
        8 => (0..3_u8, 0..3_u8, some.clone(), some, prop::option::of(0..3_u64))
            .prop_map(|(mailbox, class, key, tag, ttl_s)| Step::Send { mailbox, class, key, tag, ttl_s }),
        6 => (0..3_u8, prop::option::of(0..3_u8), deliver, any::<bool>(), 0..5_u32)
            .prop_map(|(mailbox, group, deliver, force, num_msgs)| {
                Step::Fetch { mailbox, group, deliver, force, num_msgs }
            }),
        3 => (0..3_u8, 0..3_u8, id).prop_map(|(mailbox, group, id)| Step::Ack { mailbox, group, id }),
        2 => (0..3_u8, look, 0..6_u64)
            .prop_map(|(mailbox, look, limit)| Step::Query { mailbox, look, limit }),
        1 => (0..3_u8, 0..12_u64).prop_map(|(mailbox, id)| Step::Delete { mailbox, id }),
    ];
    prop::collection::vec(step, 1..60)
}

/// A command as it is published: what follows `$mq9.AI.`, header lines, body.
pub(crate) type Published = (String, Vec<String>, String);

impl Step {
    /// The command of a step, unless it only waits. `number` becomes a message's payload.
    pub(crate) fn published(&self, number: usize) -> Option<Published> {
        let plain = |command: String, body: String| Some((command, Vec::new(), body));
        match self {
            Self::Wait { .. } => None,
            Self::Create { mailbox, ttl_s } => {
                plain("MAILBOX.CREATE".into(), format!(r#"{{"name":"m{mailbox}","ttl":{ttl_s}}}"#))
            }
            Self::Send { mailbox, class, key, tag, ttl_s } => {
                let mut headers = vec![format!("mq9-priority: {}", CLASSES[usize::from(*class)])];
                headers.extend(key.map(|key| format!("mq9-key: k{key}")));
                headers.extend(tag.map(|tag| format!("mq9-tags: t, t{tag}")));
                headers.extend(ttl_s.map(|ttl| format!("mq9-ttl: {ttl}")));
                Some((format!("MSG.SEND.m{mailbox}"), headers, number.to_string()))
            }
            Self::Fetch { mailbox, group, deliver, force, num_msgs } => {
                let group = group.map_or("null".to_owned(), |group| format!("\"g{group}\""));
                let deliver = match deliver {
                    Deliver::Earliest => r#""earliest""#.to_owned(),
                    Deliver::Latest => r#""latest""#.to_owned(),
                    Deliver::FromId(id) => format!(r#""from_id","from_id":{id}"#),
                    Deliver::FromTime(after) => {
                        format!(r#""from_time","from_time":{}"#, START_MS / 1000 + after)
                    }
                };
                let config = format!(r#"{{"num_msgs":{num_msgs},"max_wait_ms":0}}"#);
                let body = format!(
                    r#"{{"group_name":{group},"deliver":{deliver},"force_deliver":{force},"config":{config}}}"#
                );
                plain(format!("MSG.FETCH.m{mailbox}"), body)
            }
            Self::Ack { mailbox, group, id } => plain(
                "MSG.ACK.any".into(),
                format!(r#"{{"group_name":"g{group}","mail_address":"m{mailbox}","msg_id":{id}}}"#),
            ),
            Self::Query { mailbox, look, limit } => {
                let look = match look {
                    Look::All => String::new(),
                    Look::Key(key) => format!(r#""key":"k{key}","#),
                    Look::Tags(tags) => {
                        let tags: Vec<String> =
                            tags.iter().map(|tag| format!("\"{}\"", tag_name(*tag))).collect();
                        format!(r#""tags":[{}],"#, tags.join(","))
                    }
                };
                plain(format!("MSG.QUERY.m{mailbox}"), format!(r#"{{{look}"limit":{limit}}}"#))
            }
            Self::Delete { mailbox, id } => plain(format!("MSG.DELETE.m{mailbox}.{id}"), String::new()),
        }
    }
}

const CLASSES: [&str; 3] = ["critical", "urgent", "normal"];

fn tag_name(tag: u8) -> String {
    if tag == 2 { "t".into() } else { format!("t{tag}") }
}

/// What the reference says to a step: the rows of a reading command, or a word about any other.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Rows(Vec<String>),
    Id(i64),
    Done,
    Refused,
}

#[derive(Default)]
struct Reference {
    now_s: u64,
    boxes: BTreeMap<u8, Box>,
    next: BTreeMap<(u8, u8), u64>,
}

#[derive(Default)]
struct Box {
    exists: bool,
    expires_s: u64,
    given: u64,
    messages: Vec<Kept>,
}

struct Kept {
    id: u64,
    number: usize,
    class: u8,
    key: Option<u8>,
    tag: Option<u8>,
    born_s: u64,
    last_s: u64,
}

impl Reference {
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now_s += 1;
            if self.now_s.is_multiple_of(60) {
                for mailbox in self.boxes.values_mut().filter(|mailbox| mailbox.expires_s <= self.now_s) {
                    mailbox.exists = false;
                }
            }
        }
    }

    fn take(&mut self, step: &Step, number: usize) -> Said {
        let now_s = self.now_s;
        match step {
            Step::Wait { seconds } => {
                self.wait(*seconds);
                Said::Done
            }
            Step::Create { mailbox, ttl_s } => {
                let mailbox = self.boxes.entry(*mailbox).or_default();
                if mailbox.exists {
                    return Said::Refused;
                }
                mailbox.exists = true;
                mailbox.expires_s = if *ttl_s == 0 { u64::MAX } else { now_s + ttl_s };
                Said::Done
            }
            Step::Send { mailbox, class, key, tag, ttl_s } => {
                let Some(mailbox) = self.boxes.get_mut(mailbox).filter(|mailbox| mailbox.exists) else {
                    return Said::Refused;
                };
                let id = mailbox.given;
                mailbox.given += 1;
                mailbox.messages.retain(|kept| key.is_none() || kept.key != *key);
                let last_s = ttl_s.map_or(u64::MAX, |ttl| now_s + ttl);
                let (class, key, tag) = (*class, *key, *tag);
                mailbox.messages.push(Kept { id, number, class, key, tag, born_s: now_s, last_s });
                Said::Id(id as i64)
            }
            Step::Fetch { mailbox, group, deliver, force, num_msgs } => {
                let Some(found) = self.boxes.get(mailbox) else { return Said::Refused };
                let last = found.given.saturating_sub(1);
                let asked = match deliver {
                    Deliver::Earliest => 0,
                    Deliver::Latest => last,
                    Deliver::FromId(id) => *id.min(&last),
                    Deliver::FromTime(after) => {
                        // What is in storage counts here, expired or not, until a collection takes it out.
                        let young = |kept: &&Kept| kept.born_s >= *after && !self.collected(kept);
                        found.messages.iter().find(young).map_or(0, |kept| kept.id)
                    }
                };
                let known = group.filter(|group| self.next.keys().any(|(name, _)| name == group));
                let start = match known {
                    Some(group) if *force => {
                        self.next.insert((group, *mailbox), asked + 1);
                        asked
                    }
                    Some(group) => self.next.get(&(group, *mailbox)).copied().unwrap_or(0),
                    None => asked,
                };
                let mut rows: Vec<&Kept> = Vec::new();
                for class in 0..3 {
                    if rows.len() < *num_msgs as usize {
                        let wanted =
                            |kept: &&Kept| kept.class == class && kept.id >= start && kept.last_s >= now_s;
                        rows.extend(found.messages.iter().filter(wanted).take(*num_msgs as usize));
                    }
                }
                shown(&rows)
            }
            Step::Ack { mailbox, group, id } => {
                if !self.boxes.contains_key(mailbox) {
                    return Said::Refused;
                }
                self.next.insert((*group, *mailbox), id.wrapping_add(1));
                Said::Done
            }
            Step::Query { mailbox, look, limit } => {
                let Some(found) = self.boxes.get(mailbox) else { return Said::Refused };
                let limit = *limit as usize;
                let visible: Vec<&Kept> = found.messages.iter().filter(|kept| kept.last_s >= now_s).collect();
                let pick = |wanted: &dyn Fn(&Kept) -> bool| -> Vec<&Kept> {
                    visible.iter().copied().filter(|kept| wanted(kept)).take(limit).collect()
                };
                match look {
                    Look::All => shown(&pick(&|_| true)),
                    Look::Key(key) => shown(&pick(&|kept| kept.key == Some(*key))),
                    Look::Tags(tags) => {
                        let mut rows: Vec<&Kept> = Vec::new();
                        for tag in tags {
                            let has = |kept: &Kept| kept.tag.is_some_and(|own| *tag == 2 || own == *tag);
                            let more = pick(&has)
                                .into_iter()
                                .filter(|kept| !rows.iter().any(|row| row.id == kept.id));
                            let more: Vec<&Kept> = more.collect();
                            rows.extend(more);
                        }
                        shown(&rows)
                    }
                }
            }
            Step::Delete { mailbox, id } => {
                let Some(found) = self.boxes.get_mut(mailbox) else { return Said::Refused };
                found.messages.retain(|kept| kept.id != *id);
                Said::Done
            }
        }
    }

    fn collected(&self, kept: &Kept) -> bool {
        kept.last_s < self.now_s / 60 * 60
    }
}

fn shown(rows: &[&Kept]) -> Said {
    Said::Rows(rows.iter().map(|kept| format!("{}:{}", kept.id, kept.number)).collect())
}

fn said_by(outcome: Outcome) -> Said {
    let Outcome::Reply(body) = outcome else { panic!("every step is answered at once") };
    let reply: serde_json::Value = serde_json::from_slice(&body).expect("a reply is JSON");
    if reply["error"] != "" {
        return Said::Refused;
    }
    match (reply.get("messages"), reply.get("msg_id")) {
        (Some(_), _) => Said::Rows(rows(&reply)),
        (_, Some(id)) => Said::Id(id.as_i64().expect("an id")),
        _ => Said::Done,
    }
}

/// The same cases in every run.
pub(crate) fn seeded(cases: u32, seed: u64) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(seeded(512, 0x6d71_3900))]

    #[test]
    fn the_engine_agrees_with_the_reference(steps in steps()) {
        let mut rig = Rig::new(EngineProfile::robustmq());
        // The reference counts its minutes from 0.
        let mut reference = Reference::default();
        for (number, step) in steps.iter().enumerate() {
            let expected = reference.take(step, number);
            let Some((command, headers, body)) = step.published(number) else {
                if let Step::Wait { seconds } = step {
                    rig.wait_s(*seconds);
                }
                continue;
            };
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let said = said_by(rig.outcome(&command, &headers, body.as_bytes()));
            prop_assert_eq!(said, expected, "step {}: {:?}", number, step);
        }
    }

    #[test]
    fn it_makes_no_difference_how_often_the_engine_is_ticked(steps in steps()) {
        let mut seldom = Rig::new(EngineProfile::robustmq().with_partitions(3));
        let mut often = Rig::new(EngineProfile::robustmq().with_partitions(3));
        for (number, step) in steps.iter().enumerate() {
            if let Step::Wait { seconds } = step {
                seldom.wait_s(*seconds);
                for _ in 0..seconds * 2 {
                    often.now_ms += 500;
                    often.engine.tick(often.now_ms);
                }
            } else if let Some((command, headers, body)) = step.published(number) {
                let mut headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                if number % 3 == 0 {
                    headers.push("mq9-delay: 7");
                }
                let replies = [&mut seldom, &mut often].map(|rig| rig.outcome(&command, &headers, body.as_bytes()));
                prop_assert!(replies[0] == replies[1], "step {}: {:?}", number, step);
            }
        }
    }
}
