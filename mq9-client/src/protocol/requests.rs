//! The JSON bodies of the commands.

use bytes::Bytes;
use serde::Serialize;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MsgId;
use crate::options::{CreateMailbox, DeliverPolicy, FetchOptions, Group, Lifetime, QueryOptions};
use crate::protocol::outgoing::{MAX_SECONDS, whole_seconds};

#[derive(Serialize, Default)]
struct Create<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    desc: Option<&'a str>,
}

#[derive(Serialize)]
struct Fetch<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group_name: Option<&'a str>,
    deliver: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_id: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force_deliver: bool,
    config: FetchConfig,
}

#[derive(Serialize)]
struct FetchConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_msgs: Option<u32>,
    max_wait_ms: u64,
}

#[derive(Serialize)]
struct Ack<'a> {
    group_name: &'a str,
    mail_address: &'a str,
    msg_id: u64,
}

#[derive(Serialize)]
struct Query<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Pair<'a> {
    name: &'a str,
    payload: &'a str,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    report_info: &'a str,
}

#[derive(Serialize)]
struct Discover<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    semantic: Option<&'a str>,
    limit: u32,
    page: u32,
}

pub(crate) fn create(mailbox: &CreateMailbox) -> Result<Bytes> {
    let ttl = match mailbox.ttl {
        None => None,
        Some(Lifetime::Forever) => Some(0),
        Some(Lifetime::For(life)) => match whole_seconds(life) {
            0 => return Err(invalid("MAILBOX.CREATE", "a lifetime of zero would mean forever on the wire")),
            seconds if seconds > MAX_SECONDS => {
                return Err(invalid("MAILBOX.CREATE", "a lifetime above 2^32 s may overflow in the broker"));
            }
            seconds => Some(seconds),
        },
    };
    let name = mailbox.name.as_ref().map(MailAddress::as_str);
    body(&Create { name, ttl, desc: mailbox.description.as_deref() })
}

/// A CREATE that answers "already exists" for a living mailbox, and otherwise makes one for a second.
pub(crate) fn create_for_a_second(name: &MailAddress) -> Result<Bytes> {
    body(&Create { name: Some(name.as_str()), ttl: Some(1), desc: None })
}

pub(crate) fn fetch(options: &FetchOptions) -> Result<Bytes> {
    let (deliver, from_time, from_id) = match options.deliver {
        DeliverPolicy::Earliest => ("earliest", None, None),
        DeliverPolicy::Latest => ("latest", None, None),
        DeliverPolicy::FromTime(seconds) => ("from_time", Some(seconds), None),
        DeliverPolicy::FromId(id) => ("from_id", None, Some(id.get())),
    };
    body(&Fetch {
        group_name: options.group.as_ref().map(Group::as_str),
        deliver,
        from_time,
        from_id,
        force_deliver: options.force_deliver,
        config: FetchConfig { num_msgs: options.num_msgs, max_wait_ms: 0 },
    })
}

pub(crate) fn ack(mailbox: &MailAddress, group: &Group, id: MsgId) -> Result<Bytes> {
    if id.get() == u64::MAX {
        return Err(invalid("MSG.ACK", "the highest id wraps to 0 in the broker and rewinds the group"));
    }
    body(&Ack { group_name: group.as_str(), mail_address: mailbox.as_str(), msg_id: id.get() })
}

pub(crate) fn query(options: &QueryOptions) -> Result<Bytes> {
    if options.limit.is_some_and(|limit| !(1..=100).contains(&limit)) {
        return Err(invalid("MSG.QUERY", "a limit must be from 1 to 100, the broker's cap"));
    }
    // A key goes before tags in the broker; sending only what counts keeps that visible on the wire.
    let tags: &[String] = if options.key.is_some() { &[] } else { &options.tags };
    body(&Query { key: options.key.as_deref(), tags, limit: options.limit })
}

pub(crate) fn register_pair(name: &str, payload: &str) -> Result<Bytes> {
    body(&Pair { name, payload })
}

pub(crate) fn unregister(name: &str) -> Result<Bytes> {
    body(&Name { name })
}

pub(crate) fn report(name: &str, report_info: &str) -> Result<Bytes> {
    body(&Report { name, report_info })
}

pub(crate) fn discover(text: Option<&str>, semantic: Option<&str>, limit: u32, page: u32) -> Result<Bytes> {
    body(&Discover { text, semantic, limit, page })
}

fn body(request: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec(request)
        .map(Bytes::from)
        .map_err(|error| invalid("request", "the request cannot be written as JSON").with_source(error))
}

fn invalid(operation: &'static str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, operation, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn text(body: Result<Bytes>) -> String {
        String::from_utf8(body.expect("a body").to_vec()).expect("text")
    }

    fn refusal(body: Result<Bytes>) -> String {
        let error = body.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    }

    #[test]
    fn create_sends_only_what_was_said() {
        let name = MailAddress::new("a.b").expect("valid");
        assert_eq!(text(create(&CreateMailbox::unnamed())), "{}");
        let full = CreateMailbox::named(name.clone()).with_lifetime(Lifetime::Forever).with_description("d");
        assert_eq!(text(create(&full)), r#"{"name":"a.b","ttl":0,"desc":"d"}"#);
        let short = CreateMailbox::named(name).with_lifetime(Lifetime::For(Duration::from_millis(1)));
        assert_eq!(text(create(&short)), r#"{"name":"a.b","ttl":1}"#);
    }

    #[test]
    fn a_zero_lifetime_never_becomes_forever() {
        let zero = CreateMailbox::unnamed().with_lifetime(Lifetime::For(Duration::ZERO));
        assert!(refusal(create(&zero)).contains("forever"));
        let huge = CreateMailbox::unnamed().with_lifetime(Lifetime::For(Duration::MAX));
        assert!(refusal(create(&huge)).contains("overflow"));
    }

    #[test]
    fn fetch_always_asks_for_no_wait() {
        assert_eq!(
            text(fetch(&FetchOptions::stateless())),
            r#"{"deliver":"earliest","config":{"max_wait_ms":0}}"#
        );
        let group = FetchOptions::group(Group::new("g").expect("valid"))
            .with_deliver(DeliverPolicy::FromId(MsgId::new(7)))
            .with_force_deliver(true)
            .with_num_msgs(u32::MAX);
        assert_eq!(
            text(fetch(&group)),
            r#"{"group_name":"g","deliver":"from_id","from_id":7,"force_deliver":true,"config":{"num_msgs":4294967295,"max_wait_ms":0}}"#
        );
        let time = FetchOptions::stateless().with_deliver(DeliverPolicy::FromTime(9));
        assert_eq!(text(fetch(&time)), r#"{"deliver":"from_time","from_time":9,"config":{"max_wait_ms":0}}"#);
    }

    #[test]
    fn ack_carries_the_address_and_refuses_the_id_that_rewinds() {
        let (mailbox, group) = (MailAddress::new("a").expect("valid"), Group::new("g").expect("valid"));
        assert_eq!(
            text(ack(&mailbox, &group, MsgId::new(3))),
            r#"{"group_name":"g","mail_address":"a","msg_id":3}"#
        );
        assert!(refusal(ack(&mailbox, &group, MsgId::new(u64::MAX))).contains("rewinds"));
    }

    #[test]
    fn query_sends_no_since_and_bounds_the_limit() {
        assert_eq!(text(query(&QueryOptions::all().with_since(5))), "{}");
        assert_eq!(
            text(query(&QueryOptions::tags(["a", "b"]).with_limit(100))),
            r#"{"tags":["a","b"],"limit":100}"#
        );
        let mut both = QueryOptions::key("k");
        both.tags = vec!["a".into()];
        assert_eq!(text(query(&both)), r#"{"key":"k"}"#);
        for limit in [0, 101] {
            assert!(refusal(query(&QueryOptions::all().with_limit(limit))).contains("1 to 100"));
        }
    }

    #[test]
    fn agent_bodies_name_the_agent() {
        assert_eq!(text(register_pair("n", "{\"a\": 1}")), r#"{"name":"n","payload":"{\"a\": 1}"}"#);
        assert_eq!(text(unregister("n")), r#"{"name":"n"}"#);
        assert_eq!(text(report("n", "busy")), r#"{"name":"n","report_info":"busy"}"#);
        assert_eq!(text(discover(None, Some("q"), 20, 1)), r#"{"semantic":"q","limit":20,"page":1}"#);
    }
}
