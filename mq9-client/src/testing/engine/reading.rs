//! FETCH, ACK, QUERY and DELETE.

use std::collections::HashSet;

use bytes::Bytes;

use super::mailboxes::missing_mailbox;
use super::request::{DeliverPolicy, MsgAckReq, MsgFetchReq, MsgQueryReq, parse, parse_or_default};
use super::storage::{CLASSES, Partition, Record, Topic};
use super::{Change, Engine, Outcome, Rules, reply};

impl Engine {
    pub(super) fn fetch(&mut self, address: &str, body: &[u8]) -> (Outcome, Change) {
        match self.fetch_rows(address, body) {
            Ok((reply, wait_ms, change)) => {
                let outcome = match wait_ms {
                    0 => Outcome::Reply(reply),
                    wait if wait < GIVE_UP_MS => {
                        Outcome::ReplyAt { at_ms: self.clock.now_ms() + wait, body: reply }
                    }
                    _ => Outcome::Silent,
                };
                (outcome, change)
            }
            Err(text) => (Outcome::Reply(reply::error(&text)), Change::None),
        }
    }

    /// The reply, for how many milliseconds it is held back, and what changed.
    fn fetch_rows(&mut self, address: &str, body: &[u8]) -> Result<(Bytes, u64, Change), String> {
        let request: MsgFetchReq = parse(body, "")?;
        let rules = self.profile.rules;
        let now_s = self.clock.now_s();
        let topic = readable(self.topics.get(address), rules).ok_or_else(|| self.missing(address))?;
        let num_msgs = request.config.as_ref().and_then(|config| config.num_msgs).unwrap_or(100) as usize;
        let wait_ms = request.config.as_ref().and_then(|config| config.max_wait_ms).unwrap_or(500);

        let asked = || topic.partitions.iter().map(|log| start(&request, log, rules)).collect::<Vec<u64>>();
        let group = request.group_name.as_deref();
        let mut change = Change::None;
        let starts = match group {
            // A group with a position in any mailbox starts at its position here, or at the beginning.
            Some(group) if self.groups.exists(group) => {
                if request.force_deliver == Some(true) {
                    let starts = asked();
                    // The broker commits the position as if its first message had been acknowledged.
                    let skip = u64::from(rules == Rules::RobustMq);
                    let next = starts.iter().map(|start| start.wrapping_add(skip)).collect();
                    self.groups.commit(group, address, next, now_s);
                    change = Change::State;
                    starts
                } else {
                    let stored = |at| self.groups.next(group, address, at);
                    match rules {
                        Rules::Documented if stored(0).is_none() => asked(),
                        _ => (0..topic.partitions.len()).map(|at| stored(at).unwrap_or(0)).collect(),
                    }
                }
            }
            _ => asked(),
        };
        if rules == Rules::Documented
            && let (Some(group), DeliverPolicy::Latest) = (group, request.deliver)
            && self.groups.next(group, address, 0).is_none()
        {
            // "From this point forward" must be remembered, or a first FETCH could never lead anywhere.
            self.groups.commit(group, address, starts.clone(), now_s);
            change = Change::State;
        }

        let rows = read_classes(topic, &starts, num_msgs, now_s, rules);
        let wait_ms = if rows.is_empty() { wait_ms } else { 0 };
        Ok((reply::messages(&rows), wait_ms, change))
    }

    pub(super) fn ack(&mut self, body: &[u8]) -> Result<(Bytes, bool), String> {
        let request: MsgAckReq = parse(body, "")?;
        let address = request.mail_address.as_str();
        let rules = self.profile.rules;
        let Some(topic) = readable(self.topics.get(address), rules) else {
            return Err(match rules {
                Rules::RobustMq => format!("mailbox not found: {address}"),
                Rules::Documented => missing_mailbox(address),
            });
        };
        let group = request.group_name.as_str();
        let next = request.msg_id.wrapping_add(1);
        let next = (0..topic.partitions.len())
            .map(|at| match rules {
                // A plain overwrite for every partition and class: it rewinds as readily as it advances.
                Rules::RobustMq => next,
                Rules::Documented => next.max(self.groups.next(group, address, at).unwrap_or(0)),
            })
            .collect();
        self.groups.commit(group, address, next, self.clock.now_s());
        Ok((reply::done(), true))
    }

    pub(super) fn query(&self, address: &str, body: &[u8]) -> Result<Bytes, String> {
        let request: MsgQueryReq = parse_or_default(body, "invalid query request: ")?;
        let rules = self.profile.rules;
        let topic = readable(self.topics.get(address), rules).ok_or_else(|| self.missing(address))?;
        let limit = request.limit.unwrap_or(QUERY_CAP).min(QUERY_CAP) as usize;
        let now_s = self.clock.now_s();
        let logs = topic.partitions.iter();
        let rows: Vec<(u64, &Record)> = match (&request.key, request.tags.as_deref()) {
            (Some(key), _) => logs.flat_map(|log| log.by_key(key, now_s).into_iter().take(limit)).collect(),
            (None, Some(tags)) if !tags.is_empty() => tagged(topic, tags, limit, now_s),
            _ if rules == Rules::Documented => {
                let since = request.since.unwrap_or(0);
                let mut rows: Vec<(u64, &Record)> = logs
                    .flat_map(|log| {
                        log.all(now_s).rev().take_while(|(_, record)| record.create_s >= since).take(limit)
                    })
                    .collect();
                rows.reverse();
                rows
            }
            // The oldest rows, whatever `since` says.
            _ => logs.flat_map(|log| log.all(now_s).take(limit)).collect(),
        };
        Ok(reply::messages(&rows))
    }

    pub(super) fn delete(&mut self, address: &str, id: &str) -> Result<(Bytes, bool), String> {
        let number: u64 = id.parse().map_err(|_| format!("invalid msg_id: {id}"))?;
        let rules = self.profile.rules;
        let missing = self.missing(address);
        let topic = self.topics.get_mut(address).filter(|topic| is_readable(topic, rules)).ok_or(missing)?;
        let removed = topic.remove(number);
        if !removed && rules == Rules::Documented {
            return Err("message not found".into());
        }
        Ok((reply::deleted(), removed))
    }

    fn missing(&self, address: &str) -> String {
        match self.profile.rules {
            Rules::RobustMq => format!("Tenant default topic '{address}' not found in broker cache"),
            Rules::Documented => missing_mailbox(address),
        }
    }
}

/// RobustMQ reads whatever topic bears the name; the document knows mailboxes only.
fn is_readable(topic: &Topic, rules: Rules) -> bool {
    rules == Rules::RobustMq || topic.is_mailbox
}

fn readable(topic: Option<&Topic>, rules: Rules) -> Option<&Topic> {
    topic.filter(|topic| is_readable(topic, rules))
}

/// Where a FETCH without a stored position begins in one partition.
fn start(request: &MsgFetchReq, log: &Partition, rules: Rules) -> u64 {
    match request.deliver {
        DeliverPolicy::Earliest => 0,
        DeliverPolicy::Latest if rules == Rules::Documented => log.end(),
        // The last record is included.
        DeliverPolicy::Latest => log.last_id(),
        DeliverPolicy::FromId if rules == Rules::Documented => request.from_id.unwrap_or(0),
        // Beyond the end the last record comes again.
        DeliverPolicy::FromId => request.from_id.unwrap_or(0).min(log.last_id()),
        // When nothing is that young, everything comes.
        DeliverPolicy::FromTime => log.first_since(request.from_time.unwrap_or(0)).unwrap_or(0),
    }
}

/// Reads the classes in order, `num_msgs` per class and partition, and stops only between classes.
fn read_classes<'a>(
    topic: &'a Topic,
    starts: &[u64],
    num_msgs: usize,
    now_s: u64,
    rules: Rules,
) -> Vec<(u64, &'a Record)> {
    let mut rows = Vec::new();
    for class in CLASSES {
        if rows.len() >= num_msgs {
            break;
        }
        let wanted = if rules == Rules::Documented { num_msgs - rows.len() } else { num_msgs };
        for (log, start) in topic.partitions.iter().zip(starts) {
            let mut size = 0;
            let fits = |(_, record): &(u64, &Record)| {
                let first = size == 0;
                size += record.payload.len();
                first || size <= READ_LIMIT
            };
            rows.extend(log.class_from(class, *start, now_s).take(wanted).take_while(fits));
        }
    }
    rows
}

/// The rows of each tag in turn, at most `limit` per tag, each row once.
fn tagged<'a>(topic: &'a Topic, tags: &[String], limit: usize, now_s: u64) -> Vec<(u64, &'a Record)> {
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    for tag in tags {
        for (at, log) in topic.partitions.iter().enumerate() {
            rows.extend(log.by_tag(tag, now_s).take(limit).filter(|(id, _)| seen.insert((at, *id))));
        }
    }
    rows
}

const QUERY_CAP: u64 = 100;
/// Payload bytes after which a read of one class ends.
const READ_LIMIT: usize = 30 << 20;
/// The broker abandons a request after this long.
const GIVE_UP_MS: u64 = 30_000;
