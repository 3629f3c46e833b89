//! The engine by itself: time goes in, effects come out.

use std::time::Duration;

use super::{Effect, Engine, Incoming, Moment, Reply, Request};
use crate::testing::profile::{Profile, Switches};

fn engine(profile: Profile) -> Engine {
    Engine::new(profile, Switches::of(profile), 1, at(0))
}

fn at(millis: u64) -> Moment {
    Moment::default().plus(Duration::from_millis(millis))
}

fn request<'a>(
    method: &'a str,
    path: &'a str,
    authorization: Option<&'a str>,
    body: &'a [u8],
) -> Request<'a> {
    Request { method, path, query: "", authorization, idempotency_key: None, address: "here", body }
}

/// The sockets that are closed by these effects, with code and reason.
fn closes(effects: Vec<Effect>) -> Vec<(u64, u16, String)> {
    let closes = effects.into_iter().filter_map(|effect| match effect {
        Effect::Close { socket, code, reason } => Some((socket, code, reason)),
        _ => None,
    });
    closes.collect()
}

#[test]
fn due_names_the_moment_at_which_a_tick_does_something() {
    for (profile, ping, pong) in [(Profile::Legacy, 30_000, 10_000), (Profile::Current, 45_000, 30_000)] {
        let mut engine = engine(profile);
        assert_eq!(engine.due(), None);
        let key = engine.agent_key(at(0), "bob");
        engine.opened(at(100), 1, None, false);
        assert_eq!(engine.due(), Some(at(5_100)));
        engine.tick(at(5_099));
        assert!(engine.take_effects().is_empty());
        engine.tick(at(5_100));
        let closed = closes(engine.take_effects());
        assert_eq!(closed, [(1, 1008, "HELLO frame required".to_owned())]);
        assert_eq!(engine.due(), None);
        engine.opened(at(6_000), 2, Some(&key), false);
        engine.take_effects();
        assert_eq!(engine.due(), Some(at(6_000 + ping)));
        engine.tick(at(6_000 + ping));
        assert!(matches!(engine.take_effects().as_slice(), [Effect::Ping(2)]));
        engine.ponged(at(6_001 + ping), 2);
        assert_eq!(engine.due(), Some(at(6_000 + 2 * ping)));
        engine.tick(at(6_000 + 2 * ping));
        engine.tick(at(6_000 + 2 * ping + pong));
        let closed = closes(engine.take_effects());
        assert_eq!(closed, [(2, 1001, "Heartbeat timeout".to_owned())]);
    }
}

#[test]
fn time_never_runs_backwards() {
    let mut engine = engine(Profile::Current);
    engine.opened(at(1_000), 1, None, false);
    engine.opened(at(10), 2, None, false);
    engine.tick(at(6_000));
    assert_eq!(closes(engine.take_effects()).len(), 2);
}

#[test]
fn the_database_down_leaves_greetings_unanswered() {
    let mut engine = engine(Profile::Legacy);
    let key = engine.agent_key(at(0), "bob");
    engine.database_down = true;
    engine.opened(at(0), 1, None, false);
    let hello = format!(r#"{{"type":"hello","api_key":"{key}"}}"#);
    engine.received(at(1), 1, &Incoming::Text(&hello));
    assert!(engine.take_effects().is_empty());
    let bearer = format!("Bearer {key}");
    let me = |engine: &mut Engine| -> Reply {
        engine.handle(at(2), &request("GET", "/v1/agents/me", Some(&bearer), b""))
    };
    assert_eq!(me(&mut engine).status, 401);
    engine.database_down = false;
    assert_eq!(me(&mut engine).status, 200);
    engine.received(at(3), 1, &Incoming::Text(&hello));
    assert!(matches!(engine.take_effects().as_slice(), [Effect::Frame { socket: 1, hello: true, .. }]));
}

#[test]
fn a_message_sent_meanwhile_is_pushed_and_not_drained_again() {
    let mut engine = engine(Profile::Current);
    let (alice, bob) = (engine.agent_key(at(0), "alice"), engine.agent_key(at(0), "bob"));
    engine.opened(at(1), 1, Some(&bob), true);
    engine.take_effects();
    let bearer = format!("Bearer {alice}");
    let body = br#"{"to":"bob","client_msg_id":"1","content":{"text":"x"}}"#;
    let reply = engine.handle(at(2), &request("POST", "/v1/messages", Some(&bearer), body));
    assert_eq!(reply.status, 201);
    assert_eq!(engine.take_effects().len(), 1);
    engine.tick(at(1_000));
    assert!(engine.take_effects().is_empty());
}
