//! What the A2A envelope costs for a body of 2 KiB.

use std::hint::black_box;
use std::time::Instant;

use a2a_envelope::{CorrelationId, Envelope, Headers, Limits, Received};
use bytes::Bytes;

use crate::rig::{median, print};

/// A request is put into its envelope, headers beside the body.
pub fn wrap() {
    let body = body();
    let each = micros(|| black_box(request(body.clone())));
    print("a2a.wrap", each, "us", "native carriage, six headers, the body not copied");
}

/// The pairs and the body that a transport received are told: dialect, method, correlation, answer address.
pub fn read() {
    let sent = request(body());
    let pairs: Vec<(String, String)> = owned(&sent.headers);
    let limits = Limits::default();
    let each = micros(|| {
        let headers = Headers::from_pairs(pairs.iter().map(|(name, value)| (name, value))).expect("legal");
        let got = Received::read(headers, sent.body.clone(), &limits).expect("readable");
        assert!(got.answer.is_some() && got.correlation.is_some());
        black_box(got)
    });
    let got = Received::read(sent.headers.clone(), sent.body.clone(), &limits).expect("readable");
    let checked = micros(|| black_box(got.check(&limits).is_ok()));
    let detail = format!("the headers suffice; looking through the body as well takes {checked:.2} us more");
    print("a2a.read", each, "us", &detail);
}

/// The wrapped carriage, over what escaping the same body as a JSON string takes.
pub fn wrapped() {
    let sent = request(body());
    let text = String::from_utf8(sent.body.to_vec()).expect("text");
    let limits = Limits::default();
    let rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let ours = round(&mut || black_box(sent.to_wrapped(&limits).expect("fits")));
            (ours, round(&mut || black_box(serde_json::to_string(&text).expect("text"))))
        })
        .collect();
    let back = micros(|| {
        let text = sent.to_wrapped(&limits).expect("fits");
        black_box(Received::read(Headers::new(), text, &limits).expect("readable"))
    });
    let escape = median(rounds.iter().map(|round| round.1).collect());
    let detail = format!("the escape takes {escape:.2} us; wrapped and read again {back:.2} us");
    print("a2a.wrapped", median(rounds.iter().map(|(ours, raw)| ours / raw).collect()), "ratio", &detail);
}

fn request(body: Bytes) -> Envelope {
    let id = CorrelationId::new("0198c0de-7a2a-7000-8000-000000000001").expect("legal");
    Envelope::new(body)
        .with_method("SendMessage")
        .and_then(|e| e.with_reply_to("caller.3k5tqmzt2lqhu4dyjxwyrv2a7e"))
        .and_then(|e| e.with_correlation_id(&id))
        .and_then(|e| e.with_idempotency_key("0198c0de-7a2a-7000-8000-000000000002"))
        .and_then(|e| e.with_a2a_version("1.0"))
        .expect("legal headers")
}

/// A request of 2 KiB with the escapes and numbers of an ordinary one.
fn body() -> Bytes {
    let head = r#"{"jsonrpc":"2.0","id":"0198c0de-7a2a-7000-8000-000000000001","method":"SendMessage","params":{"message":{"messageId":"0198c0de-7a2a-7000-8000-000000000002","role":"ROLE_USER","parts":["#;
    let tail = r#"{"data":{"order":5,"weights":[1.0,2.5,1e400]}}]}}}"#;
    let part =
        r#"{"text":"Where is order 5? It was promised for \"Tuesday\", and nobody here has seen it.\n"},"#;
    let mut text = head.to_owned();
    while text.len() + part.len() + tail.len() <= SIZE {
        text.push_str(part);
    }
    text.push_str(&" ".repeat(SIZE - text.len() - tail.len()));
    text.push_str(tail);
    assert_eq!(text.len(), SIZE);
    text.into()
}

fn owned(headers: &Headers) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Microseconds of one step: the median of the rounds.
fn micros<T>(mut step: impl FnMut() -> T) -> f64 {
    round(&mut step);
    median((0..ROUNDS).map(|_| round(&mut step)).collect())
}

fn round<T>(step: &mut impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..STEPS {
        black_box(step());
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(STEPS)
}

/// Short rounds and many of them, so that most are not interrupted.
const ROUNDS: usize = 401;
const STEPS: u32 = 200;
const SIZE: usize = 2 * 1024;
