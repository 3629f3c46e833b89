//! Bytes to frames, however the network cut them, with a bound on what is kept in between.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{Frame, Publish, Subscribe};

/// An incremental parser of the client's side of the NATS protocol.
///
/// Never holds more than one unfinished line or payload within its limits, plus what the last
/// [`Parser::receive`] brought beyond it.
#[derive(Debug)]
pub(crate) struct Parser {
    dialect: Dialect,
    limits: Limits,
    buffer: BytesMut,
    /// How far the buffer was searched for a line end, so that a slow line costs no second look.
    scanned: usize,
    state: State,
}

/// How strictly lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A NATS server: a line it does not understand ends the connection; a lone LF ends a line.
    Strict,
    /// RobustMQ: such a line is thrown away without a word, and what is buffered behind it is not looked
    /// at before more bytes arrive. Only CR LF ends a line. After a payload over the limit nothing makes
    /// sense any more: all that follows is swallowed.
    Lenient,
}

/// What may be as long as what, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) line: usize,
    /// Header block and payload together.
    pub(crate) payload: usize,
}

/// What one look at the buffer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Frame(Frame),
    /// Nothing more before the next [`Parser::receive`].
    More,
    /// The client broke the protocol; nothing will ever be parsed again. Strict dialect only.
    Violation(Violation),
}

/// How a client broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    UnknownOperation,
    LineTooLong,
    PayloadTooLarge,
}

impl Parser {
    pub(crate) fn new(dialect: Dialect, limits: Limits) -> Self {
        Parser { dialect, limits, buffer: BytesMut::new(), scanned: 0, state: State::Line }
    }

    /// Takes bytes from the network. Drain [`Parser::next`] before the next call, or the buffer grows.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        match self.state {
            State::Deaf => return,
            // Every look in this state drops one line only, so a flood of bad lines would pile up.
            State::Stalled if self.buffer.len() > self.limits.line + self.limits.payload => {
                self.refuse(Violation::LineTooLong);
                return;
            }
            State::Stalled => self.state = State::Line,
            State::Line | State::Payload(_) => {}
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if the buffer holds a whole one.
    pub(crate) fn next(&mut self) -> Step {
        loop {
            match &self.state {
                State::Deaf | State::Stalled => return Step::More,
                State::Payload(announced) => {
                    if self.buffer.len() < announced.total + LINE_END.len() {
                        return Step::More;
                    }
                    return self.finish_payload();
                }
                State::Line => {
                    let Some(line) = self.take_line() else {
                        return match self.fault_of_the_unfinished() {
                            Some(violation) => self.refuse(violation),
                            None => Step::More,
                        };
                    };
                    if line.len() > self.limits.line {
                        return self.refuse(Violation::LineTooLong);
                    }
                    if line.is_empty() {
                        continue;
                    }
                    match read_line(&line) {
                        Some(Line::Whole(frame)) => return Step::Frame(frame),
                        Some(Line::Announces(announced)) if announced.total > self.limits.payload => {
                            return self.refuse(Violation::PayloadTooLarge);
                        }
                        Some(Line::Announces(announced)) => self.state = State::Payload(announced),
                        None => return self.refuse(Violation::UnknownOperation),
                    }
                }
            }
        }
    }

    /// Looks at nothing more before further bytes arrive, as RobustMQ does behind a line it threw away.
    pub(crate) fn stall(&mut self) {
        if matches!(self.state, State::Line) {
            self.state = State::Stalled;
        }
    }

    /// Bytes kept at the moment.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let found = match self.dialect {
            Dialect::Strict => {
                self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n').map(|at| at + 1)
            }
            Dialect::Lenient => {
                self.buffer[self.scanned..].windows(2).position(|pair| pair == LINE_END).map(|at| at + 2)
            }
        };
        let Some(end) = found else {
            // The last byte may be the first half of a line end.
            self.scanned = self.buffer.len().saturating_sub(1);
            return None;
        };
        let mut line = self.buffer.split_to(self.scanned + end).freeze();
        self.scanned = 0;
        line.truncate(line.trim_ascii_end().len());
        Some(line)
    }

    /// What is wrong already with a line whose end has not come. A NATS server knows by its first byte that a
    /// TLS handshake is none of its operations; the end of that line would never come.
    fn fault_of_the_unfinished(&self) -> Option<Violation> {
        let binary = |byte: &u8| !byte.is_ascii_graphic() && !byte.is_ascii_whitespace();
        match self.buffer.first() {
            Some(first) if self.dialect == Dialect::Strict && binary(first) => {
                Some(Violation::UnknownOperation)
            }
            _ => (self.buffer.len() > self.limits.line).then_some(Violation::LineTooLong),
        }
    }

    fn finish_payload(&mut self) -> Step {
        let State::Payload(announced) = std::mem::replace(&mut self.state, State::Line) else {
            return Step::More;
        };
        let mut payload = self.buffer.split_to(announced.total).freeze();
        let well_ended = self.buffer.starts_with(LINE_END);
        self.buffer.advance(LINE_END.len());
        if !well_ended && self.dialect == Dialect::Strict {
            return self.refuse(Violation::UnknownOperation);
        }
        let header = (announced.header > 0).then(|| payload.split_to(announced.header));
        let Announced { subject, reply, .. } = announced;
        Step::Frame(Frame::Publish(Publish { subject, reply, header, payload }))
    }

    fn refuse(&mut self, violation: Violation) -> Step {
        let ignorable = violation == Violation::UnknownOperation;
        if self.dialect == Dialect::Lenient && ignorable {
            self.state = State::Stalled;
            return Step::More;
        }
        self.state = State::Deaf;
        self.buffer = BytesMut::new();
        match self.dialect {
            Dialect::Strict => Step::Violation(violation),
            Dialect::Lenient => Step::More,
        }
    }
}

#[derive(Debug)]
enum State {
    Line,
    Payload(Announced),
    Stalled,
    /// Nothing is understood or kept any more.
    Deaf,
}

#[derive(Debug)]
struct Announced {
    subject: String,
    reply: Option<String>,
    header: usize,
    total: usize,
}

enum Line {
    Whole(Frame),
    Announces(Announced),
}

fn read_line(line: &Bytes) -> Option<Line> {
    let verb_end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (verb, rest) = line.split_at(verb_end);
    let verb = verb.to_ascii_uppercase();
    if verb == b"CONNECT" {
        return Some(Line::Whole(Frame::Connect(line.slice_ref(rest.trim_ascii()))));
    }
    let rest = std::str::from_utf8(rest).ok()?;
    let arguments: Vec<&str> = rest.split_ascii_whitespace().take(MAX_ARGUMENTS + 1).collect();
    let frame = match (verb.as_slice(), arguments.as_slice()) {
        (b"PING", _) => Frame::Ping,
        (b"PONG", _) => Frame::Pong,
        (b"INFO" | b"+OK", _) => Frame::Noise,
        (b"PUB", [subject, total]) => return announced(subject, None, "0", total),
        (b"PUB", [subject, reply, total]) => return announced(subject, Some(reply), "0", total),
        (b"HPUB", [subject, header, total]) => return announced(subject, None, header, total),
        (b"HPUB", [subject, reply, header, total]) => {
            return announced(subject, Some(reply), header, total);
        }
        (b"SUB", [subject, sid]) => Frame::Subscribe(subscribe(subject, None, sid)),
        (b"SUB", [subject, queue, sid]) => Frame::Subscribe(subscribe(subject, Some(queue), sid)),
        (b"UNSUB", [sid]) => Frame::Unsubscribe { sid: (*sid).to_owned(), max: None },
        (b"UNSUB", [sid, max]) => Frame::Unsubscribe { sid: (*sid).to_owned(), max: Some(max.parse().ok()?) },
        _ => return None,
    };
    Some(Line::Whole(frame))
}

fn announced(subject: &str, reply: Option<&str>, header: &str, total: &str) -> Option<Line> {
    let (header, total): (usize, usize) = (number(header)?, number(total)?);
    (header <= total).then(|| {
        let reply = reply.map(str::to_owned);
        Line::Announces(Announced { subject: subject.to_owned(), reply, header, total })
    })
}

fn number(text: &str) -> Option<usize> {
    // `parse` alone would let a leading plus sign through.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn subscribe(subject: &str, queue: Option<&str>, sid: &str) -> Subscribe {
    Subscribe { subject: subject.to_owned(), queue: queue.map(str::to_owned), sid: sid.to_owned() }
}

const LINE_END: &[u8] = b"\r\n";
const MAX_ARGUMENTS: usize = 4;

#[cfg(test)]
mod tests;
