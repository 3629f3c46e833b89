//! The parser, fed in pieces of any size.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { line: 128, payload: 64 };

fn parse_all(parser: &mut Parser) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        match parser.next() {
            Step::More => return steps,
            step => steps.push(step),
        }
    }
}

fn parse(dialect: Dialect, bytes: &[u8]) -> Vec<Step> {
    let mut parser = Parser::new(dialect, LIMITS);
    parser.receive(bytes);
    parse_all(&mut parser)
}

fn publish(subject: &str, reply: Option<&str>, header: Option<&str>, payload: &str) -> Step {
    Step::Frame(Frame::Publish(Publish {
        subject: subject.to_owned(),
        reply: reply.map(str::to_owned),
        header: header.map(|text| Bytes::copy_from_slice(text.as_bytes())),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }))
}

#[test]
fn every_verb_is_read() {
    let text = b"CONNECT {\"verbose\":true}\r\nPING\r\npong\r\n+OK\r\nINFO {}\r\nPUB a 2\r\nhi\r\n\
        PUB a r 0\r\n\r\nHPUB a 18 20\r\nNATS/1.0\r\nk: v\r\n\r\nhi\r\nHPUB a r 12 12\r\nNATS/1.0\r\n\r\n\r\n\
        SUB a.* 1\r\nSUB a q 2\r\nUNSUB 1\r\nUNSUB 2 5\r\n";
    let expected = [
        Step::Frame(Frame::Connect(Bytes::from_static(b"{\"verbose\":true}"))),
        Step::Frame(Frame::Ping),
        Step::Frame(Frame::Pong),
        Step::Frame(Frame::Noise),
        Step::Frame(Frame::Noise),
        publish("a", None, None, "hi"),
        publish("a", Some("r"), None, ""),
        publish("a", None, Some("NATS/1.0\r\nk: v\r\n\r\n"), "hi"),
        publish("a", Some("r"), Some("NATS/1.0\r\n\r\n"), ""),
        Step::Frame(Frame::Subscribe(subscribe("a.*", None, "1"))),
        Step::Frame(Frame::Subscribe(subscribe("a", Some("q"), "2"))),
        Step::Frame(Frame::Unsubscribe { sid: "1".into(), max: None }),
        Step::Frame(Frame::Unsubscribe { sid: "2".into(), max: Some(5) }),
    ];
    assert_eq!(parse(Dialect::Strict, text), expected);
    assert_eq!(parse(Dialect::Lenient, text), expected);
}

#[test]
fn strict_refuses_what_nats_refuses_and_is_deaf_after() {
    let cases: [(&[u8], Violation); 8] = [
        (b"FOO bar\r\nPING\r\n", Violation::UnknownOperation),
        (b"PUB a\r\nPING\r\n", Violation::UnknownOperation),
        (b"PUB a xx\r\nPING\r\n", Violation::UnknownOperation),
        (b"PUB a +1\r\nx\r\n", Violation::UnknownOperation),
        (b"HPUB a 5 4\r\nabcd\r\n", Violation::UnknownOperation),
        (b"PUB a 1\r\nabPING\r\n", Violation::UnknownOperation),
        (b"PUB a 65\r\n", Violation::PayloadTooLarge),
        (&[b'x'; 129], Violation::LineTooLong),
    ];
    for (bytes, violation) in cases {
        let mut parser = Parser::new(Dialect::Strict, LIMITS);
        parser.receive(bytes);
        assert_eq!(parse_all(&mut parser), [Step::Violation(violation)], "{bytes:?}");
        parser.receive(b"PING\r\n");
        assert_eq!(parse_all(&mut parser), []);
        assert_eq!(parser.buffered(), 0);
    }
}

#[test]
fn strict_takes_a_lone_line_feed_and_lenient_does_not() {
    assert_eq!(parse(Dialect::Strict, b"PING\n"), [Step::Frame(Frame::Ping)]);
    assert_eq!(parse(Dialect::Lenient, b"PING\n"), []);
}

#[test]
fn lenient_drops_a_bad_line_and_waits_for_more_bytes() {
    for bad in ["FOO bar\r\n", "PUB a\r\n", "PUB a xx\r\n"] {
        let mut parser = Parser::new(Dialect::Lenient, LIMITS);
        parser.receive(format!("{bad}PING\r\n").as_bytes());
        assert_eq!(parse_all(&mut parser), [], "{bad:?}");
        parser.receive(b"PING\r\n");
        assert_eq!(parse_all(&mut parser), [Step::Frame(Frame::Ping), Step::Frame(Frame::Ping)], "{bad:?}");
    }
}

#[test]
fn lenient_skips_empty_lines_without_stalling() {
    assert_eq!(parse(Dialect::Lenient, b"\r\n\r\nPING\r\n"), [Step::Frame(Frame::Ping)]);
}

#[test]
fn lenient_swallows_everything_after_a_payload_over_the_limit() {
    let mut parser = Parser::new(Dialect::Lenient, LIMITS);
    parser.receive(b"PUB a 65\r\n");
    assert_eq!(parse_all(&mut parser), []);
    for _ in 0..100 {
        parser.receive(b"PUB a 1\r\nx\r\nPING\r\n");
        assert_eq!(parse_all(&mut parser), []);
        assert_eq!(parser.buffered(), 0);
    }
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..64);
    let one = prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"PONG\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"SUB a.> q 7\r\n".to_vec()),
        Just(b"UNSUB 7 3\r\n".to_vec()),
        Just(b"CONNECT {}\r\n".to_vec()),
        body.prop_map(|body| {
            let mut frame = format!("PUB a.b _INBOX.x {}\r\n", body.len()).into_bytes();
            frame.extend(body);
            frame.extend(b"\r\n");
            frame
        }),
    ];
    prop::collection::vec(one, 0..12).prop_map(|frames| frames.concat())
}

fn in_pieces(parser: &mut Parser, bytes: &[u8], sizes: &[usize]) -> Vec<Step> {
    let (mut steps, mut rest, mut turn) = (Vec::new(), bytes, 0);
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(sizes[turn % sizes.len()].min(rest.len()));
        parser.receive(piece);
        steps.extend(parse_all(parser));
        assert!(parser.buffered() <= LIMITS.line + LIMITS.payload + piece.len());
        (rest, turn) = (left, turn + 1);
    }
    steps
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_frames(
        bytes in frames(),
        sizes in prop::collection::vec(1usize..40, 1..8),
    ) {
        for dialect in [Dialect::Strict, Dialect::Lenient] {
            let whole = parse(dialect, &bytes);
            let pieces = in_pieces(&mut Parser::new(dialect, LIMITS), &bytes, &sizes);
            prop_assert_eq!(whole, pieces);
        }
    }

    #[test]
    fn garbage_neither_panics_nor_grows_the_buffer(
        bytes in prop::collection::vec(any::<u8>(), 0..2048),
        sizes in prop::collection::vec(1usize..300, 1..8),
    ) {
        for dialect in [Dialect::Strict, Dialect::Lenient] {
            in_pieces(&mut Parser::new(dialect, LIMITS), &bytes, &sizes);
        }
    }

    #[test]
    fn mangled_frames_neither_panic_nor_grow_the_buffer(
        mut bytes in frames(),
        wounds in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sizes in prop::collection::vec(1usize..40, 1..8),
    ) {
        for (at, byte) in wounds {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        for dialect in [Dialect::Strict, Dialect::Lenient] {
            in_pieces(&mut Parser::new(dialect, LIMITS), &bytes, &sizes);
        }
    }
}

#[test]
fn a_tls_handshake_is_refused_at_its_first_byte_by_a_strict_server_only() {
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00];
    for (dialect, expected) in
        [(Dialect::Strict, Step::Violation(Violation::UnknownOperation)), (Dialect::Lenient, Step::More)]
    {
        let mut parser = Parser::new(dialect, Limits { line: 4_096, payload: 1_024 });
        parser.receive(&hello);
        assert_eq!(parser.next(), expected);
    }
}
