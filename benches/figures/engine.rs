//! The double's engine by itself: commands per second in process.

use mq9_client::testing::{Command, Engine, EngineProfile, Outcome};

use crate::rig::{ROUNDS, median, per_second, print};

pub fn commands() {
    let rates = (0..ROUNDS).map(|_| round()).collect();
    print(
        "mq9.double.commands",
        median(rates),
        "per_second",
        "SEND, FETCH of 10, ACK and QUERY by key in turn",
    );
}

fn round() -> f64 {
    const TURNS: usize = 50_000;
    let mut engine = Engine::new(EngineProfile::robustmq());
    let mut now = 1_700_000_000_000;
    let mut handle = |subject: &str, header: Option<&[u8]>, payload: &[u8]| {
        now += 1;
        let outcome = engine.handle(now, Command { subject, header, payload });
        assert!(matches!(outcome, Outcome::Reply(_)), "{outcome:?}");
    };
    handle("$mq9.AI.MAILBOX.CREATE", None, br#"{"name":"bench","ttl":0}"#);
    let start = std::time::Instant::now();
    for turn in 0..TURNS {
        let header = format!("NATS/1.0\r\nmq9-key: k{}\r\n\r\n", turn % 100);
        handle("$mq9.AI.MSG.SEND.bench", Some(header.as_bytes()), &[b'x'; 300]);
        let fetch = br#"{"group_name":"g","deliver":"earliest","config":{"num_msgs":10,"max_wait_ms":0}}"#;
        handle("$mq9.AI.MSG.FETCH.bench", None, fetch);
        let ack = format!(r#"{{"group_name":"g","mail_address":"bench","msg_id":{turn}}}"#);
        handle("$mq9.AI.MSG.ACK.bench", None, ack.as_bytes());
        handle("$mq9.AI.MSG.QUERY.bench", None, br#"{"key":"k7"}"#);
    }
    per_second(TURNS * 4, start.elapsed())
}
