//! The session by itself: bytes go in, actions come out.

use super::*;

const INFO: Info = Info { port: 4222, client_id: 1, max_payload: 16, auth_required: false };
const ROBUSTMQ_CONNECT: &str =
    r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"name":"n","lang":"l","version":"1""#;

fn session(profile: WireProfile, auth: bool) -> Session {
    let credentials = auth.then(|| Credentials { user: "u".into(), password: "p".into() });
    let mut session = Session::new(profile, &INFO, credentials, Duration::ZERO);
    assert!(matches!(session.next(Duration::ZERO), Some(Action::Write(info)) if info.starts_with(b"INFO {")));
    if profile == WireProfile::RobustMq {
        assert_eq!(session.next(Duration::ZERO), Some(write("PING\r\n")));
    }
    session
}

fn write(text: &str) -> Action {
    Action::Write(Bytes::copy_from_slice(text.as_bytes()))
}

fn error(text: &str) -> Action {
    write(&format!("-ERR '{text}'\r\n"))
}

fn say(session: &mut Session, text: &str) -> Vec<Action> {
    session.receive(text.as_bytes());
    std::iter::from_fn(|| session.next(Duration::ZERO)).collect()
}

#[test]
fn standard_closes_on_bad_credentials() {
    let refused = [error("Authorization Violation"), Action::Close];
    for hello in [
        "CONNECT {\"user\":\"u\",\"pass\":\"x\"}\r\n",
        "CONNECT {\"user\":\"u\"}\r\n",
        "CONNECT {\"auth_token\":\"p\"}\r\n",
        "PUB a 0\r\n\r\n",
        "SUB a 1\r\n",
        "PING\r\n",
    ] {
        let mut session = session(WireProfile::Standard, true);
        assert_eq!(say(&mut session, hello), refused, "{hello:?}");
        assert_eq!(say(&mut session, "PING\r\n"), [], "{hello:?}");
    }
    let mut session = session(WireProfile::Standard, true);
    let actions = say(&mut session, "CONNECT {\"user\":\"u\",\"pass\":\"p\",\"verbose\":false}\r\nPING\r\n");
    assert!(matches!(actions[..], [Action::Wishes(_), Action::Write(_)]), "{actions:?}");
}

#[test]
fn standard_closes_on_a_client_that_never_logs_in() {
    let mut session = session(WireProfile::Standard, true);
    assert_eq!(session.deadline(), LOGIN_TIMEOUT);
    session.handle_deadline(LOGIN_TIMEOUT);
    assert_eq!(say(&mut session, ""), [error("Authentication Timeout"), Action::Close]);
}

#[test]
fn standard_closes_on_protocol_errors() {
    for (text, expected) in [
        ("FOO\r\n", "Unknown Protocol Operation"),
        ("PUB a 17\r\n", "Maximum Payload Violation"),
        ("CONNECT {bad\r\n", "Parser Error"),
        ("CONNECT {\"no_responders\":true}\r\n", "No Responders Requires Headers Support"),
    ] {
        let mut session = session(WireProfile::Standard, false);
        assert_eq!(say(&mut session, text), [error(expected), Action::Close], "{text:?}");
    }
}

#[test]
fn verbose_confirms_every_command() {
    for profile in [WireProfile::Standard, WireProfile::RobustMq] {
        let mut session = session(profile, false);
        let hello = ROBUSTMQ_CONNECT.replace("\"verbose\":false", "\"verbose\":true");
        let actions = say(&mut session, &format!("{hello}}}\r\nSUB a 1\r\nPUB a 0\r\n\r\nUNSUB 1\r\n"));
        let confirmations = actions.iter().filter(|action| **action == write("+OK\r\n")).count();
        assert_eq!((confirmations, actions.len()), (4, 8), "{actions:?}");
    }
}

#[test]
fn malformed_subjects_are_refused_without_closing() {
    let mut session = session(WireProfile::Standard, false);
    say(&mut session, "CONNECT {\"verbose\":false,\"pedantic\":true}\r\n");
    assert_eq!(say(&mut session, "SUB a..b 1\r\n"), [error("Invalid Subject")]);
    assert_eq!(say(&mut session, "PUB a.* 0\r\n\r\n"), [error("Invalid Publish Subject")]);
    assert_eq!(say(&mut session, "PING\r\n"), [write("PONG\r\n")]);
}

#[test]
fn only_standard_honours_the_max_of_unsub() {
    for (profile, max) in [(WireProfile::Standard, Some(3)), (WireProfile::RobustMq, None)] {
        let mut session = session(profile, false);
        say(&mut session, &format!("{ROBUSTMQ_CONNECT}}}\r\n"));
        assert_eq!(say(&mut session, "UNSUB 1 3\r\n"), [Action::Unsubscribe { sid: "1".into(), max }]);
    }
}

#[test]
fn robustmq_answers_bad_credentials_at_every_step_and_stays() {
    let mut session = session(WireProfile::RobustMq, true);
    let actions = say(&mut session, &format!("{ROBUSTMQ_CONNECT},\"user\":\"u\",\"pass\":\"x\"}}\r\n"));
    assert_eq!(actions, [error("Authorization Violation")]);
    assert_eq!(say(&mut session, "SUB a 1\r\n"), [error("Authorization Violation")]);
    assert_eq!(say(&mut session, "PUB a 0\r\n\r\n"), [error("Authorization Violation")]);
    assert_eq!(say(&mut session, "PING\r\n"), [write("PONG\r\n")]);
    let actions = say(&mut session, &format!("{ROBUSTMQ_CONNECT},\"user\":\"u\",\"pass\":\"p\"}}\r\n"));
    assert!(matches!(actions[..], [Action::Wishes(_)]), "{actions:?}");
    assert!(matches!(say(&mut session, "SUB a 1\r\n")[..], [Action::Subscribe(_)]));
}

#[test]
fn robustmq_ignores_an_incomplete_connect_and_stalls_behind_it() {
    let mut session = session(WireProfile::RobustMq, false);
    assert_eq!(say(&mut session, "CONNECT {}\r\nPING\r\n"), []);
    assert_eq!(say(&mut session, "PING\r\n"), [write("PONG\r\n"), write("PONG\r\n")]);
}

#[test]
fn robustmq_leaves_a_silent_client_without_a_word() {
    let mut session = session(WireProfile::RobustMq, false);
    let mut seen = Vec::new();
    while !seen.contains(&Action::Close) {
        let now = session.deadline();
        session.handle_deadline(now);
        seen.extend(say(&mut session, ""));
    }
    assert_eq!(seen, [write("PING\r\n"), write("PING\r\n"), Action::Close]);
}
