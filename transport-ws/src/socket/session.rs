//! One socket's life without the socket: frames and the time go in, what to do comes out.

use std::time::Duration;

use tokio::time::Instant;

use super::close_code::HELLO_TIMEOUT;
use crate::config::{AgentChatConfig, Handshake};
use crate::transport::shared::AT_ONCE;
use crate::wire::{MessageRow, ServerFrame};

/// A socket from its upgrade to its end.
#[derive(Debug)]
pub(crate) struct SocketSession {
    times: Times,
    handshake: Handshake,
    state: State,
    opened: Instant,
    heard: Instant,
    next_ping: Instant,
    /// Until when the pong to our last ping may take.
    pong_by: Option<Instant>,
    passed_over: u64,
    /// How many of those were no frame, until they are told of.
    unreadable: u64,
}

/// The deadlines of a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) hello: Duration,
    pub(crate) ping: Duration,
    pub(crate) pong: Duration,
    pub(crate) idle: Duration,
}

/// What has to be done.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly every action is a message")]
pub(crate) enum Action {
    /// The session is live. `acks`: messages are to be acknowledged one by one.
    Live { acks: bool },
    /// A message arrived.
    Message(MessageRow),
    /// Something beside messages.
    Pushed(ServerFrame),
    /// The agent is invited to a group.
    Invited,
    /// The server refused the key in a frame.
    Refused,
    /// Ping the server.
    Ping,
    /// Close the socket: a close of our own, after which the connection counts as lost.
    Close { code: u16, reason: &'static str },
}

#[derive(Debug)]
enum State {
    /// Messages that arrive before the answer to the greeting wait, of so many bytes.
    Greeting(Vec<MessageRow>, usize),
    Live,
    /// What had arrived early and went to nobody is still to be had.
    Over(Vec<MessageRow>),
}

/// What several frames of a live session bring.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) rows: Vec<MessageRow>,
    /// What came beside them.
    pub(crate) pushed: Vec<ServerFrame>,
    /// There may be an invitation to a group.
    pub(crate) invited: bool,
    /// What rows and frames take together.
    bytes: usize,
}

impl News {
    /// Whether it holds so much that others are to have their turn.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() + self.pushed.len() >= AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }

    /// Forgets how much it held: it was taken out.
    pub(crate) fn taken(&mut self) {
        self.bytes = 0;
    }
}

impl Times {
    pub(crate) fn of(config: &AgentChatConfig) -> Self {
        Self {
            hello: config.hello_timeout(),
            ping: config.ping_interval(),
            pong: config.pong_timeout(),
            idle: config.idle_timeout(),
        }
    }
}

impl SocketSession {
    pub(crate) fn new(times: Times, handshake: Handshake, now: Instant) -> Self {
        Self {
            times,
            handshake,
            state: State::Greeting(Vec::new(), 0),
            opened: now,
            heard: now,
            next_ping: now + times.ping,
            pong_by: None,
            passed_over: 0,
            unreadable: 0,
        }
    }

    /// A text frame arrived. One that cannot be read is passed over.
    pub(crate) fn on_frame(&mut self, frame: ServerFrame, now: Instant) -> Vec<Action> {
        self.on_sign_of_life(now);
        match (frame, &mut self.state) {
            (_, State::Over(_)) => Vec::new(),
            (ServerFrame::HelloOk { capabilities }, State::Greeting(..)) => {
                self.go_live(capabilities.iter().any(|it| it == ACK))
            }
            (ServerFrame::Message(row), State::Greeting(early, bytes)) => {
                *bytes += row.len();
                early.push(row);
                let too_much = early.len() > EARLY || *bytes > EARLY_BYTES;
                match self.handshake {
                    // Whoever proved itself by a header may be live without a word.
                    Handshake::Header => self.go_live(false),
                    Handshake::Hello if too_much => self.close(1008, TOO_EARLY),
                    Handshake::Hello => Vec::new(),
                }
            }
            (ServerFrame::Message(row), State::Live) => vec![Action::Message(row)],
            (ServerFrame::Invitation(_), State::Live) => vec![Action::Invited],
            (ServerFrame::Refused { .. }, State::Greeting(..)) => {
                self.state = State::Over(Vec::new());
                vec![Action::Refused]
            }
            (frame, State::Live) if is_news(&frame) => vec![Action::Pushed(frame)],
            (frame, _) => {
                self.passed_over += 1;
                self.unreadable += u64::from(matches!(frame, ServerFrame::Unreadable(_)));
                Vec::new()
            }
        }
    }

    /// How many frames could not be read since this was asked last.
    pub(crate) fn take_unreadable(&mut self) -> u64 {
        std::mem::take(&mut self.unreadable)
    }

    /// What arrived before the answer to the greeting, when there is none.
    pub(crate) fn take_early(&mut self) -> Vec<MessageRow> {
        match &mut self.state {
            State::Greeting(early, _) | State::Over(early) => std::mem::take(early),
            State::Live => Vec::new(),
        }
    }

    /// A frame of a session that is live is added to `news`.
    pub(crate) fn on_live_frame(&mut self, frame: ServerFrame, now: Instant, news: &mut News) {
        match (frame, &self.state) {
            (ServerFrame::Message(row), State::Live) => {
                self.on_sign_of_life(now);
                news.bytes += row.len();
                news.rows.push(row);
            }
            (frame, _) => {
                for action in self.on_frame(frame, now) {
                    match action {
                        Action::Invited => news.invited = true,
                        Action::Pushed(frame) => {
                            news.bytes += frame.weight();
                            news.pushed.push(frame);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Something arrived, be it no frame of the protocol. A pong that is due may lie behind much of that, so it
    /// has its whole time from here.
    pub(crate) fn on_sign_of_life(&mut self, now: Instant) {
        self.heard = now;
        if let Some(by) = &mut self.pong_by {
            *by = now + self.times.pong;
        }
    }

    pub(crate) fn on_pong(&mut self, now: Instant) {
        self.heard = now;
        self.pong_by = None;
    }

    /// A call beside the socket reached nobody: whether the server is there is asked at once.
    pub(crate) fn on_doubt(&mut self, now: Instant) {
        if self.pong_by.is_none() {
            self.next_ping = self.next_ping.min(now);
        }
    }

    /// When [`SocketSession::on_tick`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        let alive = self.pong_by.unwrap_or(self.next_ping).min(self.heard + self.times.idle);
        match self.state {
            State::Greeting(..) => alive.min(self.opened + self.patience()),
            State::Live | State::Over(_) => alive,
        }
    }

    pub(crate) fn on_tick(&mut self, now: Instant) -> Vec<Action> {
        if matches!(self.state, State::Greeting(..)) && now >= self.opened + self.patience() {
            return match self.handshake {
                // An older server answers nothing to a good key.
                Handshake::Header => self.go_live(false),
                Handshake::Hello => self.close(1008, HELLO_TIMEOUT),
            };
        }
        if now >= self.heard + self.times.idle {
            return self.close(1011, "idle");
        }
        if self.pong_by.is_some_and(|by| now >= by) {
            return self.close(1011, "ping timeout");
        }
        if self.pong_by.is_none() && now >= self.next_ping && !matches!(self.state, State::Over(_)) {
            self.next_ping = now + self.times.ping;
            self.pong_by = Some(now + self.times.pong);
            return vec![Action::Ping];
        }
        Vec::new()
    }

    /// How many frames were passed over.
    #[cfg(test)]
    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn patience(&self) -> Duration {
        match self.handshake {
            Handshake::Hello => self.times.hello,
            Handshake::Header => self.times.hello.min(HEADER_GRACE),
        }
    }

    fn go_live(&mut self, acks: bool) -> Vec<Action> {
        let State::Greeting(early, _) = std::mem::replace(&mut self.state, State::Live) else {
            return Vec::new();
        };
        std::iter::once(Action::Live { acks }).chain(early.into_iter().map(Action::Message)).collect()
    }

    fn close(&mut self, code: u16, reason: &'static str) -> Vec<Action> {
        let early = match &mut self.state {
            State::Over(_) => return Vec::new(),
            State::Greeting(early, _) => std::mem::take(early),
            State::Live => Vec::new(),
        };
        self.state = State::Over(early);
        vec![Action::Close { code, reason }]
    }
}

/// Whether a frame of a live session says something that is no part of the session itself.
fn is_news(frame: &ServerFrame) -> bool {
    !matches!(frame, ServerFrame::HelloOk { .. } | ServerFrame::Refused { .. } | ServerFrame::Unreadable(_))
}

/// The capability of acknowledging single messages.
pub(crate) const ACK: &str = "ack";
/// Messages kept that arrive before the answer to the greeting: as many as a server drains by itself. Older
/// servers bring them once.
const EARLY: usize = 10_000;
/// The same in bytes.
const EARLY_BYTES: usize = 16 * 1024 * 1024;
/// What is taken from the socket before others have their turn, in bytes, and the frame that goes beyond.
const BYTES_AT_ONCE: usize = 1024 * 1024;
const TOO_EARLY: &str = "too much before the greeting";
/// How long a server that was given the key in a header has to refuse it.
const HEADER_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        hello: Duration::from_secs(4),
        ping: Duration::from_secs(20),
        pong: Duration::from_secs(20),
        idle: Duration::from_secs(100),
    };

    fn hello_ok(capabilities: &str) -> ServerFrame {
        ServerFrame::read(format!(r#"{{"type":"hello.ok","capabilities":[{capabilities}]}}"#))
    }

    fn message(id: &str) -> ServerFrame {
        ServerFrame::read(format!(
            r#"{{"type":"message.new","payload":{{"id":"{id}","conversation_id":"conv_1","seq":1}}}}"#
        ))
    }

    fn live(now: Instant) -> SocketSession {
        let mut session = SocketSession::new(TIMES, Handshake::Hello, now);
        session.on_frame(hello_ok(r#""ack""#), now);
        session
    }

    #[test]
    fn c44_frames_before_ok_not_dispatched() {
        let now = Instant::now();
        let mut session = SocketSession::new(TIMES, Handshake::Hello, now);
        assert!(session.on_frame(message("m1"), now).is_empty());
        let actions = session.on_frame(hello_ok(r#""zebra","ack""#), now);
        assert!(matches!(&actions[0], Action::Live { acks: true }));
        assert!(matches!(&actions[1], Action::Message(row) if row.id() == Some("m1")), "{actions:?}");
        assert_eq!(actions.len(), 2);
        assert!(session.on_frame(hello_ok(""), now).is_empty(), "live is live");
    }

    #[test]
    fn what_comes_early_is_kept_up_to_a_bound_and_is_there_when_the_greeting_fails() {
        let now = Instant::now();
        let mut session = SocketSession::new(TIMES, Handshake::Hello, now);
        for number in 0..EARLY {
            assert!(session.on_frame(message(&number.to_string()), now).is_empty());
        }
        let actions = session.on_frame(message("last"), now);
        assert!(matches!(actions[..], [Action::Close { reason: TOO_EARLY, .. }]), "{actions:?}");
        assert_eq!(session.take_early().len(), EARLY + 1);
        assert!(live(now).take_early().is_empty());
    }

    #[test]
    fn what_is_taken_at_once_is_bounded_in_frames_and_in_bytes() {
        let now = Instant::now();
        let (mut session, mut news) = (live(now), News::default());
        let zebra = |letters: usize| {
            let text = "x".repeat(letters);
            ServerFrame::read(format!(r#"{{"type":"zebra","payload":"{text}"}}"#))
        };
        for number in 0..AT_ONCE {
            assert!(!news.is_full(), "{number} small ones");
            let frame = if number % 2 == 0 { message("m") } else { zebra(1) };
            session.on_live_frame(frame, now, &mut news);
        }
        assert!(news.is_full());
        news = News::default();
        session.on_live_frame(zebra(BYTES_AT_ONCE - 1_000), now, &mut news);
        assert!(!news.is_full());
        session.on_live_frame(message(&"m".repeat(1_000)), now, &mut news);
        assert!(news.is_full(), "two large ones");
        (news.rows, news.pushed) = Default::default();
        news.taken();
        assert!(!news.is_full());
    }

    #[test]
    fn c45_hello_timeout_is_our_own_close_at_four_seconds() {
        let now = Instant::now();
        let mut session = SocketSession::new(TIMES, Handshake::Hello, now);
        assert_eq!(session.deadline(), now + TIMES.hello);
        assert!(session.on_tick(now + Duration::from_millis(3_999)).is_empty());
        let actions = session.on_tick(now + TIMES.hello);
        assert!(matches!(actions[..], [Action::Close { code: 1008, reason: HELLO_TIMEOUT }]), "{actions:?}");
        assert!(session.on_frame(hello_ok(""), now + TIMES.hello).is_empty(), "it is over");
    }

    #[test]
    fn a_doubt_is_settled_by_one_ping_at_once() {
        let now = Instant::now();
        let mut session = live(now);
        session.on_doubt(now);
        assert_eq!(session.deadline(), now);
        assert!(matches!(session.on_tick(now)[..], [Action::Ping]));
        session.on_doubt(now);
        assert!(session.on_tick(now).is_empty(), "it is asked already");
        session.on_pong(now);
        assert_eq!(session.deadline(), now + TIMES.ping, "from then on as ever");
    }

    #[test]
    fn a_header_is_answered_by_a_word_a_message_or_silence() {
        let now = Instant::now();
        let new = || SocketSession::new(TIMES, Handshake::Header, now);
        assert!(matches!(new().on_frame(hello_ok(r#""ack""#), now)[..], [Action::Live { acks: true }]));
        assert!(matches!(
            new().on_frame(message("m"), now)[..],
            [Action::Live { acks: false }, Action::Message(_)]
        ));
        let mut session = new();
        let silence = session.deadline();
        assert!(silence <= now + Duration::from_secs(1));
        assert!(matches!(session.on_tick(silence)[..], [Action::Live { acks: false }]));
    }

    #[test]
    fn c55_dead_peer_is_found_by_our_own_ping() {
        let now = Instant::now();
        let mut session = live(now);
        let ping = session.deadline();
        assert_eq!(ping, now + TIMES.ping);
        assert!(matches!(session.on_tick(ping)[..], [Action::Ping]));
        assert!(session.on_tick(ping + Duration::from_secs(1)).is_empty(), "one ping at a time");
        session.on_pong(ping + Duration::from_secs(2));
        let ping = session.deadline();
        assert!(matches!(session.on_tick(ping)[..], [Action::Ping]));
        let overdue = session.deadline();
        assert_eq!(overdue, now + Duration::from_secs(60));
        assert!(matches!(session.on_tick(overdue)[..], [Action::Close { code: 1011, .. }]));
    }

    #[test]
    fn whatever_arrives_is_a_sign_of_life_while_a_pong_is_due() {
        let now = Instant::now();
        let mut session = live(now);
        let ping = now + TIMES.ping;
        assert!(matches!(session.on_tick(ping)[..], [Action::Ping]));
        // A minute of messages and pings of the server, and no pong: it is there all the same.
        let mut last = ping;
        for step in 1..=6 {
            last = ping + step * Duration::from_secs(10);
            session.on_live_frame(message("m"), last, &mut News::default());
            assert!(session.on_tick(last).is_empty(), "after {step} frames");
        }
        session.on_sign_of_life(last);
        assert_eq!(session.deadline(), last + TIMES.pong);
        assert!(session.on_tick(last + TIMES.pong - Duration::from_millis(1)).is_empty());
        assert!(matches!(session.on_tick(last + TIMES.pong)[..], [Action::Close { code: 1011, .. }]));
    }

    #[test]
    fn silence_ends_a_socket_that_is_not_pinged() {
        let now = Instant::now();
        let times = Times { ping: Duration::from_secs(1_000), ..TIMES };
        let mut session = SocketSession::new(times, Handshake::Hello, now);
        session.on_frame(hello_ok(""), now);
        session.on_sign_of_life(now + Duration::from_secs(50));
        assert_eq!(session.deadline(), now + Duration::from_secs(150));
        assert!(matches!(session.on_tick(session.deadline())[..], [Action::Close { code: 1011, .. }]));
    }

    #[test]
    fn c56_unknown_frame_types_are_passed_over() {
        let now = Instant::now();
        let mut session = live(now);
        let unknown = ServerFrame::read(r#"{"type":"zebra.event","payload":{}}"#);
        let told = session.on_frame(unknown, now);
        assert!(
            matches!(&told[..], [Action::Pushed(ServerFrame::Unknown { kind, .. })] if kind == "zebra.event")
        );
        for text in ["no json", "[]", "{}", r#"{"type":7}"#] {
            assert!(session.on_frame(ServerFrame::read(text.to_owned()), now).is_empty(), "{text}");
        }
        assert!(session.on_frame(ServerFrame::binary(), now).is_empty());
        assert_eq!((session.passed_over(), session.take_unreadable(), session.take_unreadable()), (5, 5, 0));
        assert!(matches!(session.on_frame(message("m"), now)[..], [Action::Message(_)]));
    }

    #[test]
    fn a_refusal_counts_before_the_session_is_live_and_not_after() {
        let now = Instant::now();
        let refusal = || ServerFrame::read(r#"{"type":"auth.rejected","payload":{"reason":"revoked"}}"#);
        let mut session = SocketSession::new(TIMES, Handshake::Hello, now);
        assert!(matches!(session.on_frame(refusal(), now)[..], [Action::Refused]));
        assert!(live(now).on_frame(refusal(), now).is_empty());
    }
}
