//! Records of the first format can be read for ever.

use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Written by format 1. A change here is a change of the format: raise it and keep reading this one.
const SMALL: &[u8] =
    b"\x00\x00\x00\x4d{\"position\":1,\"attempts\":0,\"id\":\"m-1\",\"to\":\"loopback://b\",\
\"media_type\":\"a/b\"}\x00\xff";
const WHOLE: &str = concat!(
    r#"{"position":18446744073709551615,"attempts":3,"id":"m-2","to":"mq9://h:4222/inbox","#,
    r#""conversation":"c-1","media_type":"application/json","headers":[["B","2"],["a","größe \"1\""]],"#,
    r#""reply_to":"mq9s://h/answers","correlation":"call-1","priority":"urgent","ttl":[60,500],"#,
    r#""delay":[0,1],"key":"k","tags":["t2","t1"],"deadline":[4102444800,123456789]}"#,
);
const REASON: &str = r#"{"kind":"too_large","reached":"yes","text":"send: too large","at":[-1,999999999]}"#;

fn small() -> StoredSend {
    let to = Address::parse("loopback://b").expect("valid");
    let message = Outbound::new(to, Body::new("a/b", vec![0, 255]));
    StoredSend::new(1, message.with_id(ClientMsgId::new("m-1").expect("valid")))
}

fn whole() -> StoredSend {
    let to = Address::parse("mq9://h:4222/inbox").expect("valid");
    let message = Outbound::new(to, Body::json("{}"))
        .with_id(ClientMsgId::new("m-2").expect("valid"))
        .with_conversation(ConversationId::new("c-1").expect("valid"))
        .with_header("B", "2")
        .with_header("a", "größe \"1\"")
        .with_reply_to(Address::parse("mq9s://h/answers").expect("valid"))
        .with_correlation_id(CorrelationId::new("call-1").expect("valid"))
        .with_priority(Priority::Urgent)
        .with_ttl(Duration::new(60, 500))
        .with_delay(Duration::from_nanos(1))
        .with_key("k")
        .with_tag("t2")
        .with_tag("t1")
        .with_deadline(UNIX_EPOCH + Duration::new(4_102_444_800, 123_456_789));
    StoredSend::new(u64::MAX, message).with_attempts(3)
}

#[test]
fn the_format_of_messages_is_the_one_written_down() {
    assert_eq!(encode_send(&small()), SMALL);
    assert_eq!(decode_send(SMALL), Ok(small()));
    let mut golden = (WHOLE.len() as u32).to_be_bytes().to_vec();
    golden.extend_from_slice(WHOLE.as_bytes());
    golden.extend_from_slice(b"{}");
    let written = encode_send(&whole());
    assert_eq!(String::from_utf8_lossy(&written[4..]), String::from_utf8_lossy(&golden[4..]));
    assert_eq!(written, golden);
    assert_eq!(decode_send(&golden), Ok(whole()));
}

#[test]
fn the_format_of_reasons_is_the_one_written_down() {
    let at = UNIX_EPOCH - Duration::from_nanos(1);
    let reason = ParkedReason::new(ErrorKind::TooLarge, Reached::Yes, "send: too large", at);
    assert_eq!(String::from_utf8_lossy(&encode_reason(&reason)), REASON);
    assert_eq!(decode_reason(REASON.as_bytes()), Ok(reason));
    let newer = REASON.replace("too_large", "from_the_future");
    assert_eq!(decode_reason(newer.as_bytes()).map(|reason| reason.kind), Ok(ErrorKind::Unexpected));
}

#[test]
fn what_is_not_known_is_refused_and_not_dropped() {
    let with_head = |head: &str| {
        let mut record = (head.len() as u32).to_be_bytes().to_vec();
        record.extend_from_slice(head.as_bytes());
        record
    };
    let unknown = WHOLE.replace(r#""attempts":3"#, r#""attempts":3,"colour":"red""#);
    assert_eq!(decode_send(&with_head(&unknown)), Err(Unreadable("the head")));
    let urgency = WHOLE.replace("urgent", "someday");
    assert_eq!(decode_send(&with_head(&urgency)), Err(Unreadable("the head")));
    let nanos = WHOLE.replace("[60,500]", "[60,1000000000]");
    assert_eq!(decode_send(&with_head(&nanos)), Err(Unreadable("a duration")));
    let address = WHOLE.replace("mq9://h:4222/inbox", "nowhere");
    assert_eq!(decode_send(&with_head(&address)), Err(Unreadable("an address")));
    assert_eq!(decode_send(&SMALL[..40]), Err(Unreadable("the length")));
    assert_eq!(decode_send(&[]), Err(Unreadable("the length")));
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    for kind in KINDS {
        let reason = ParkedReason::new(kind, Reached::No, "", UNIX_EPOCH);
        assert_eq!(decode_reason(&encode_reason(&reason)), Ok(reason));
    }
}

fn moments() -> impl Strategy<Value = SystemTime> {
    (any::<bool>(), 0_u64..1 << 40, 0_u32..NANOS).prop_map(|(before, seconds, nanos)| {
        let distance = Duration::new(seconds, nanos);
        if before { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    })
}

fn durations() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0_u32..NANOS).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

prop_compose! {
    fn sends()(
        (position, attempts, id, to) in (any::<u64>(), any::<u32>(), "[!-~]{1,128}", "[a-z0-9.]{1,20}"),
        (media_type, body, headers) in (any::<String>(), vec(any::<u8>(), 0..300), vec(any::<(String, String)>(), 0..6)),
        (conversation, correlation, reply_to) in (option::of("[!-~]{1,128}"), option::of("[!-~]{1,128}"), option::of("[a-z0-9.]{1,20}")),
        (priority, key, tags) in (0_usize..3, option::of(any::<String>()), vec(any::<String>(), 0..4)),
        (ttl, delay, deadline) in (option::of(durations()), option::of(durations()), option::of(moments())),
    ) -> StoredSend {
        let address = |name: String| Address::parse(format!("mq9://h:1/{name}")).expect("valid");
        let mut message = Outbound::new(address(to), Body::new(media_type, body))
            .with_id(ClientMsgId::new(id).expect("valid"))
            .with_priority([Priority::Normal, Priority::Urgent, Priority::Critical][priority]);
        message.headers = headers.into_iter().collect();
        message.conversation = conversation.map(|id| ConversationId::new(id).expect("valid"));
        message.correlation_id = correlation.map(|id| CorrelationId::new(id).expect("valid"));
        message.reply_to = reply_to.map(address);
        (message.key, message.tags) = (key, tags);
        (message.ttl, message.delay, message.deadline) = (ttl, delay, deadline);
        StoredSend::new(position, message).with_attempts(attempts)
    }
}

proptest! {
    #[test]
    fn every_part_of_every_message_survives(send in sends()) {
        let read = decode_send(&encode_send(&send)).expect("readable");
        prop_assert_eq!(read.message.fingerprint(), send.message.fingerprint());
        prop_assert_eq!(read, send);
    }

    #[test]
    fn reading_never_panics(mut record in vec(any::<u8>(), 0..200), at in 0_usize..200, byte in any::<u8>()) {
        let _ = (decode_send(&record), decode_reason(&record));
        record = encode_send(&whole());
        let at = at % record.len();
        record[at] = byte;
        let _ = decode_send(&record);
    }

    #[test]
    fn every_reason_survives(text in "\\PC{0,300}", at in moments()) {
        let reason = ParkedReason::new(ErrorKind::Forbidden, Reached::Unknown, text, at);
        prop_assert_eq!(decode_reason(&encode_reason(&reason)), Ok(reason));
    }
}
