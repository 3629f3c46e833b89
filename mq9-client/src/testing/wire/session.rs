//! One connection's protocol state: bytes and times in, actions out.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::frame::{Frame, Publish, Subscribe};
use super::hello::{Info, Wishes, read_connect};
use super::keepalive::{Due, Keepalive};
use super::parser::{Dialect, Limits, Parser, Step, Violation};
use super::{Credentials, WireProfile, encode, subject};

/// The protocol state of one connection. Times are since the broker started.
pub(crate) struct Session {
    profile: WireProfile,
    parser: Parser,
    credentials: Option<Credentials>,
    logged_in: bool,
    wishes: Wishes,
    keepalive: Keepalive,
    /// Only there until the client has said who it is.
    login_deadline: Option<Duration>,
    actions: VecDeque<Action>,
    over: bool,
}

/// What the owner of the socket is to do next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Write(Bytes),
    /// The client said how it wants to be treated.
    Wishes(Wishes),
    Subscribe(Subscribe),
    Unsubscribe {
        sid: String,
        max: Option<u64>,
    },
    Publish(Publish),
    /// Write what is queued, then close.
    Close,
}

impl Session {
    pub(crate) fn new(
        profile: WireProfile,
        info: &Info,
        credentials: Option<Credentials>,
        now: Duration,
    ) -> Self {
        let (dialect, limits) = match profile {
            WireProfile::Standard => {
                (Dialect::Strict, Limits { line: STANDARD_LINE, payload: info.max_payload })
            }
            // What INFO advertises is not what is enforced.
            WireProfile::RobustMq => {
                (Dialect::Lenient, Limits { line: ROBUSTMQ_LINE, payload: ROBUSTMQ_PAYLOAD })
            }
        };
        let mut actions = VecDeque::from([Action::Write(info.line(profile))]);
        if profile == WireProfile::RobustMq {
            actions.push_back(Action::Write(Bytes::from_static(encode::PING)));
        }
        let waits_for_login = credentials.is_some() && profile == WireProfile::Standard;
        Session {
            profile,
            parser: Parser::new(dialect, limits),
            logged_in: credentials.is_none(),
            credentials,
            wishes: Wishes::unsaid(profile),
            keepalive: Keepalive::new(profile, now),
            login_deadline: waits_for_login.then(|| now + LOGIN_TIMEOUT),
            actions,
            over: false,
        }
    }

    /// Takes bytes from the network. Drain [`Session::next`] before the next call.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.parser.receive(bytes);
    }

    /// The next thing to do, looking at one frame more if need be. `None`: read from the network.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Action> {
        while self.actions.is_empty() && !self.over {
            match self.parser.next() {
                Step::More => break,
                Step::Frame(frame) => {
                    self.keepalive.heard(now);
                    self.take(frame);
                }
                Step::Violation(violation) => self.fail(violation_text(violation)),
            }
        }
        self.actions.pop_front()
    }

    /// When to call [`Session::handle_deadline`] if nothing is heard until then.
    pub(crate) fn deadline(&self) -> Duration {
        let keepalive = self.keepalive.deadline();
        self.login_deadline.map_or(keepalive, |login| login.min(keepalive))
    }

    /// Acts on what the time has brought.
    pub(crate) fn handle_deadline(&mut self, now: Duration) {
        if self.login_deadline.is_some_and(|deadline| now >= deadline) {
            return self.fail("Authentication Timeout");
        }
        match (self.keepalive.check(now), self.profile) {
            (Due::Nothing, _) => {}
            (Due::Ping, _) => self.write(encode::PING),
            (Due::GiveUp, WireProfile::Standard) => self.fail("Stale Connection"),
            (Due::GiveUp, WireProfile::RobustMq) => self.close(),
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Connect(text) => self.connect(&text),
            Frame::Ping if self.may_speak() => self.write(encode::PONG),
            Frame::Publish(publish) if self.may_speak() && self.logged_in => self.publish(publish),
            Frame::Subscribe(wanted) if self.may_speak() && self.logged_in => self.subscribe(wanted),
            Frame::Publish(_) | Frame::Subscribe(_) if self.profile == WireProfile::RobustMq => {
                self.actions.push_back(Action::Write(encode::error(UNAUTHORIZED)));
            }
            Frame::Unsubscribe { sid, max } if self.may_speak() => {
                self.confirm();
                let max = max.filter(|_| self.profile == WireProfile::Standard);
                self.actions.push_back(Action::Unsubscribe { sid, max });
            }
            Frame::Pong | Frame::Noise => {}
            _ => self.fail(UNAUTHORIZED),
        }
    }

    /// On a standard server with credentials, nothing but `CONNECT` may come before the login.
    fn may_speak(&self) -> bool {
        self.logged_in || self.profile == WireProfile::RobustMq
    }

    fn connect(&mut self, text: &[u8]) {
        let Some((wishes, login)) = read_connect(self.profile, text) else {
            return match self.profile {
                WireProfile::Standard => self.fail("Parser Error"),
                WireProfile::RobustMq => self.parser.stall(),
            };
        };
        if let Some(wanted) = &self.credentials {
            self.logged_in = login.user.as_deref() == Some(&wanted.user)
                && login.pass.as_deref() == Some(&wanted.password);
            if !self.logged_in {
                return match self.profile {
                    WireProfile::Standard => self.fail(UNAUTHORIZED),
                    WireProfile::RobustMq => {
                        self.actions.push_back(Action::Write(encode::error(UNAUTHORIZED)));
                    }
                };
            }
        }
        self.login_deadline = None;
        if self.profile == WireProfile::Standard && wishes.no_responders && !wishes.headers {
            return self.fail("No Responders Requires Headers Support");
        }
        self.wishes = wishes;
        self.confirm();
        self.actions.push_back(Action::Wishes(wishes));
    }

    fn publish(&mut self, publish: Publish) {
        self.confirm();
        if self.wishes.pedantic
            && self.profile == WireProfile::Standard
            && !subject::is_literal(&publish.subject)
        {
            return self.actions.push_back(Action::Write(encode::error("Invalid Publish Subject")));
        }
        self.actions.push_back(Action::Publish(publish));
    }

    fn subscribe(&mut self, wanted: Subscribe) {
        if !subject::is_pattern(&wanted.subject) {
            if self.profile == WireProfile::Standard {
                self.actions.push_back(Action::Write(encode::error("Invalid Subject")));
            }
            return;
        }
        self.confirm();
        self.actions.push_back(Action::Subscribe(wanted));
    }

    fn confirm(&mut self) {
        if self.wishes.verbose {
            self.write(encode::OK);
        }
    }

    fn write(&mut self, frame: &'static [u8]) {
        self.actions.push_back(Action::Write(Bytes::from_static(frame)));
    }

    fn fail(&mut self, text: &str) {
        if !self.over {
            self.actions.push_back(Action::Write(encode::error(text)));
        }
        self.close();
    }

    fn close(&mut self) {
        if !self.over {
            self.over = true;
            self.actions.push_back(Action::Close);
        }
    }
}

fn violation_text(violation: Violation) -> &'static str {
    match violation {
        Violation::UnknownOperation => "Unknown Protocol Operation",
        Violation::LineTooLong => "maximum control line exceeded",
        Violation::PayloadTooLarge => "Maximum Payload Violation",
    }
}

const UNAUTHORIZED: &str = "Authorization Violation";
/// As nats-server by default.
const STANDARD_LINE: usize = 4096;
const LOGIN_TIMEOUT: Duration = Duration::from_secs(2);
/// No limit was observed; this one only bounds memory.
const ROBUSTMQ_LINE: usize = 64 * 1024;
/// Observed: one byte more and the connection understands nothing any longer.
const ROBUSTMQ_PAYLOAD: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
