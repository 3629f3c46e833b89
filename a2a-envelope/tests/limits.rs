//! Limits are inclusive, hold for every reader, and say which one was passed and by how much.

use a2a_envelope::{
    CallbackField, Dialect, Envelope, Error, Headers, LimitKind, Limits, RawCard, find_callback,
};

type Reader = (&'static str, fn(&[u8], &Limits) -> Result<(), Error>);

/// Everything that parses a body.
const READERS: [Reader; 5] = [
    ("find_callback", |body, limits| find_callback(body, limits).map(drop)),
    ("CallbackField::own", |body, limits| CallbackField::own(body, limits).map(drop)),
    ("Dialect::detect_within", |body, limits| {
        Dialect::detect_within(&Headers::new(), body, limits).map(drop)
    }),
    ("RawCard::within", |body, limits| RawCard::within(body.to_vec(), limits).map(drop)),
    ("Envelope::request_method", |body, limits| {
        Envelope::from_parts(Headers::new(), body.to_vec()).request_method(limits).map(drop)
    }),
];

/// An object of exactly this many bytes.
fn sized(bytes: usize) -> Vec<u8> {
    format!("{{\"x\":\"{}\"}}", "x".repeat(bytes - 8)).into_bytes()
}

/// An object nested exactly this deep.
fn nested(levels: usize) -> Vec<u8> {
    format!("{{\"x\":{}0{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1)).into_bytes()
}

fn passed(result: Result<(), Error>) -> Option<(LimitKind, usize, usize)> {
    match result {
        Ok(()) => None,
        Err(Error::Limit { limit, allowed, found, .. }) => Some((limit, allowed, found)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_body_at_the_limit_is_read_and_one_byte_more_is_not() {
    for (name, read) in READERS {
        for limit in [8, 100, 65_536] {
            let limits = Limits::default().with_max_body(limit);
            assert_eq!(passed(read(&sized(limit), &limits)), None, "{name}");
            let over = passed(read(&sized(limit + 1), &limits));
            assert_eq!(over, Some((LimitKind::Body, limit, limit + 1)), "{name}");
        }
    }
}

#[test]
fn nesting_at_the_limit_is_read_and_one_level_more_is_not() {
    for (name, read) in READERS {
        for limit in [1, 2, 128, 1000] {
            let limits = Limits::default().with_max_depth(limit);
            assert_eq!(passed(read(&nested(limit), &limits)), None, "{name}");
            let over = passed(read(&nested(limit + 3), &limits));
            assert_eq!(over, Some((LimitKind::Depth, limit, limit + 3)), "{name}");
        }
    }
}

#[test]
fn the_defaults_hold_where_no_limits_are_given() {
    let max = Limits::default().max_body;
    let headers = Headers::new();
    let call = |bytes: usize| {
        let mut body = br#"{"jsonrpc":"2.0","id":"1","pushNotification":{"url":"u"},"x":""#.to_vec();
        body.resize(bytes - 2, b'x');
        body.extend(b"\"}");
        body
    };
    let (fits, over) = (call(max), call(max + 1));
    assert_eq!(a2a_envelope::callback_of(&fits).as_deref(), Some("u"));
    assert_eq!(a2a_envelope::callback_of(&over), None);
    assert!(a2a_envelope::correlation_of(&headers, &fits).is_some());
    assert!(a2a_envelope::correlation_of(&headers, &over).is_none());
    assert!(a2a_envelope::answer_address(&headers, &fits).is_some());
    assert!(a2a_envelope::answer_address(&headers, &over).is_none());
    assert_eq!(Dialect::detect(&headers, &fits), Dialect::JsonRpc);
    assert_eq!(Dialect::detect(&headers, &over), Dialect::Opaque);
    assert!(RawCard::new(fits).is_ok() && RawCard::new(over).is_err());
}

#[test]
fn an_opaque_body_has_no_depth_and_is_carried_all_the_same() {
    let deep = nested(500);
    let envelope = Envelope::new(deep.clone());
    assert_eq!(envelope.validate(&Limits::default()), Ok(()));
    let wrapped = envelope.to_wrapped(&Limits::default()).unwrap();
    assert_eq!(Envelope::from_wrapped(&wrapped, &Limits::default()).unwrap().body, deep);
}
