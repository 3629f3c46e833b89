//! One client's connection: the socket, the session and the commands it brings.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::due::{DueReply, Reply, wait_until};
use super::encode;
use super::frame::Publish;
use super::hello::{Info, Wishes};
use super::hub::Hub;
use super::outbox::{Kind, Outbox};
use super::router::ConnectionId;
use super::session::{Action, Session};
use super::{Credentials, MQ9_PREFIX, WireProfile};
use crate::testing::{Command, EngineHost, Faults, Outcome};

/// What all connections of a running broker share.
pub(crate) struct Shared {
    pub(crate) profile: WireProfile,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) port: u16,
    pub(crate) max_payload: usize,
    pub(crate) max_pending: usize,
    pub(crate) started: Instant,
    pub(crate) host: EngineHost,
    pub(crate) hub: Arc<Hub>,
    pub(crate) faults: Faults,
    pub(crate) due: mpsc::Sender<DueReply>,
    pub(crate) workers: Workers,
}

/// RobustMQ's workers: each serves every 64th connection, one request at a time.
pub(crate) struct Workers(Vec<Mutex<()>>);

/// Serves one client until either side ends the connection. Dropping the future cuts it.
pub(crate) async fn serve(mut stream: TcpStream, id: ConnectionId, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let outbox = Arc::new(Outbox::new(shared.max_pending, shared.faults.take_cut_after()));
    let member = Membership::join(id, Arc::clone(&outbox), &shared);
    let credentials = shared.faults.credentials(shared.credentials.as_ref());
    let info = Info {
        port: shared.port,
        client_id: id,
        max_payload: shared.max_payload,
        auth_required: credentials.is_some(),
    };
    let session = Session::new(shared.profile, &info, credentials, shared.started.elapsed());
    let (reader, writer) = stream.split();
    let connection = Connection { id, shared: &shared, outbox: &outbox };
    let said_all = tokio::select! {
        biased;
        () = outbox.wait_cut() => false,
        () = write_out(writer, &outbox) => true,
        () = connection.read_in(reader, session) => false,
    };
    drop(member);
    if said_all {
        tokio::select! {
            () = outbox.wait_cut() => {}
            _ = tokio::time::timeout(LINGER, read_off(stream)) => {}
        }
    }
}

/// Until the client closes its side, too. A socket that is dropped with something unread in it is reset, and the
/// client may lose what was written last: why it was closed.
async fn read_off(mut stream: TcpStream) {
    let mut buffer = vec![0; READ_BUFFER];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

struct Connection<'a> {
    id: ConnectionId,
    shared: &'a Shared,
    outbox: &'a Outbox,
}

impl Connection<'_> {
    /// Reads and obeys the client. Never returns: the end comes from the writer, or by a cut.
    async fn read_in(&self, mut reader: ReadHalf<'_>, mut session: Session) {
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            while let Some(action) = self.next_action(&mut session).await {
                let _turn = match self.shared.profile {
                    WireProfile::Standard => None,
                    WireProfile::RobustMq => Some(self.shared.workers.turn(self.id).lock().await),
                };
                if action == Action::Close {
                    return self.finish().await;
                }
                self.act(action).await;
            }
            let deadline = self.shared.started + session.deadline();
            tokio::select! {
                biased;
                read = reader.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => session.receive(&buffer[..count]),
                    _ => return self.finish().await,
                },
                () = tokio::time::sleep_until(deadline) => {
                    session.handle_deadline(self.shared.started.elapsed());
                }
            }
        }
    }

    async fn next_action(&self, session: &mut Session) -> Option<Action> {
        let action = session.next(self.shared.started.elapsed())?;
        self.shared.faults.pass().await;
        (!self.outbox.is_cut()).then_some(action)
    }

    async fn act(&self, action: Action) {
        let hub = &self.shared.hub;
        match action {
            Action::Write(frame) => self.outbox.push(frame, Kind::Control),
            Action::Wishes(wishes) => hub.set_wishes(self.id, wishes),
            Action::Subscribe(wanted) => {
                if !hub.subscribe(self.id, wanted) {
                    self.outbox.push(encode::error("maximum subscriptions exceeded"), Kind::Control);
                }
            }
            Action::Unsubscribe { sid, max } => hub.unsubscribe(self.id, &sid, max),
            Action::Publish(publish) => match self.shared.profile {
                WireProfile::Standard => self.publish_standard(publish).await,
                WireProfile::RobustMq => self.publish_robustmq(publish).await,
            },
            Action::Close => {}
        }
    }

    /// The engine is one more subscriber, and its replies are messages like any other.
    async fn publish_standard(&self, publish: Publish) {
        let hub = &self.shared.hub;
        let addressed = publish.subject.strip_prefix(MQ9_PREFIX).is_some_and(|rest| rest.starts_with('.'));
        let outcome = if addressed { self.submit(&publish).await } else { Outcome::NotMq9 };
        let receivers = hub.publish(self.id, &publish);
        let Some(to) = publish.reply else { return };
        match outcome {
            Outcome::NotMq9 if receivers == 0 => hub.no_responders(self.id, &to),
            Outcome::ServerError(text) if !text.starts_with(UNRECOGNIZED) => {
                self.outbox.push(encode::error(&text), Kind::Control);
            }
            Outcome::ServerError(_) if receivers == 0 => hub.no_responders(self.id, &to),
            Outcome::Reply(body) if !self.shared.faults.drops_reply(&publish.subject) => {
                hub.reply(Reply { to, body });
            }
            Outcome::ReplyAt { at_ms, body } if !self.shared.faults.drops_reply(&publish.subject) => {
                // Fails only when the broker stops, and this connection with it.
                let _ = self.shared.due.send(DueReply { at_ms, reply: Reply { to, body } }).await;
            }
            _ => {}
        }
    }

    /// Everything goes to the engine, which knows what it makes of a plain subject.
    async fn publish_robustmq(&self, publish: Publish) {
        let body = match self.submit(&publish).await {
            Outcome::Reply(body) => body,
            Outcome::ReplyAt { at_ms, body } => {
                wait_until(&self.shared.host, at_ms).await;
                body
            }
            Outcome::ServerError(text) => return self.outbox.push(encode::error(&text), Kind::Control),
            Outcome::NotMq9 => {
                self.shared.hub.publish(self.id, &publish);
                return;
            }
            _ => return,
        };
        if let Some(to) = publish.reply
            && !self.shared.faults.drops_reply(&publish.subject)
        {
            self.shared.hub.reply_to_requester(self.id, &Reply { to, body });
        }
    }

    async fn submit(&self, publish: &Publish) -> Outcome {
        let slowness = self.shared.faults.slowness();
        if !slowness.is_zero() && publish.subject.starts_with(MQ9_PREFIX) {
            tokio::time::sleep(slowness).await;
        }
        self.shared.host.submit(Command {
            subject: &publish.subject,
            header: publish.header.as_deref(),
            payload: &publish.payload,
        })
    }

    /// Lets the writer end the connection once everything queued is written.
    async fn finish(&self) {
        self.outbox.finish();
        std::future::pending().await
    }
}

impl Workers {
    pub(crate) fn new() -> Self {
        Workers((0..WORKERS).map(|_| Mutex::default()).collect())
    }

    fn turn(&self, id: ConnectionId) -> &Mutex<()> {
        let at = usize::try_from(id % WORKERS).unwrap_or_default();
        &self.0[at]
    }
}

/// A place in the hub, given up on drop: a connection may end at any await.
struct Membership {
    id: ConnectionId,
    hub: Arc<Hub>,
}

impl Membership {
    fn join(id: ConnectionId, outbox: Arc<Outbox>, shared: &Shared) -> Self {
        let hub = Arc::clone(&shared.hub);
        hub.join(id, outbox, Wishes::unsaid(shared.profile));
        Membership { id, hub }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.leave(self.id);
    }
}

async fn write_out(mut writer: WriteHalf<'_>, outbox: &Outbox) {
    loop {
        let batch = outbox.next().await;
        let written = tokio::time::timeout(WRITE_DEADLINE, writer.write_all(&batch.bytes)).await;
        if batch.last || !matches!(written, Ok(Ok(()))) {
            let _ = writer.shutdown().await;
            return;
        }
    }
}

/// How the engine says that a subject names no command: on a NATS server, nobody would serve it.
const UNRECOGNIZED: &str = "unrecognized mq9 subject";
const WORKERS: u64 = 64;
const READ_BUFFER: usize = 16 * 1024;
/// What a client gets for closing its side.
const LINGER: Duration = Duration::from_secs(1);
/// As nats-server by default: a client that takes nothing for so long is cut.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
