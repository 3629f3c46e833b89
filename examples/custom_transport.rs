//! A transport of one's own: inboxes are directories, messages are files.
//!
//! A spool directory, perhaps on a shared disk, carries the messages of all agents that see it, over
//! restarts of every one of them. It has no directory of agents, no priorities and no history, and its
//! capabilities say so. Reconnecting, repeating, recognising repetitions, calls and replies come with the
//! library.
//!
//! `cargo run --example custom_transport` lets two agents talk over it, takes the disk away while they do,
//! and then runs the conformance suite on the transport. The exit status says whether all of it held.

mod common;

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind as Io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use std::{fs, io};

use agentchat_core::conformance::{Harness, Skip, run_all};
use agentchat_core::*;
use async_trait::async_trait;
use common::{Failure, Scratch};

// The transport begins here.

/// How an agent attaches: where the spool is, and the agent's inbox in it.
#[derive(Debug, Clone)]
struct Spool(PathBuf, Address);

/// One attachment. It has ended for good once it is closed, which it keeps last, or the spool's epoch is another
/// one than that before.
#[derive(Debug, Clone)]
struct Attached(Spool, Capabilities, Vec<u8>, Arc<CloseOnce>);

#[async_trait]
impl Connector for Spool {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let away = |_| Error::new(ErrorKind::Disconnected, "connect", "no spool").with_reached(Reached::No);
        let epoch = fs::read(self.0.join(EPOCH)).map_err(away)?;
        fs::create_dir_all(self.0.join(self.1.name())).map_err(away)?;
        let mut able = Capabilities::none(&["spool"]);
        (able.ack, able.order) = (AckGuarantee::Redelivers, OrderGuarantee::Conversation);
        (able.durable_inbox, able.extra_inbox) = (true, true);
        Ok(Arc::new(Attached(self.clone(), able, epoch, Arc::default())))
    }
}

impl Attached {
    fn live(&self, operation: &'static str) -> Result<()> {
        let closed = self.3.is_done();
        let stands = fs::read(self.0.0.join(EPOCH)).is_ok_and(|epoch| epoch == self.2);
        let kind = if closed { ErrorKind::Closed } else { ErrorKind::Disconnected };
        let ended = || Error::new(kind, operation, "the attachment has ended");
        (stands && !closed).then_some(()).ok_or_else(ended)
    }

    /// `spool://inbox` is a directory and `spool://inbox/message` a file in it. No name leads elsewhere.
    fn path(&self, address: &str, operation: &'static str) -> Result<PathBuf> {
        self.live(operation)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
        let name = address.strip_prefix("spool://").filter(|name| name.chars().all(legal));
        let invalid = || Error::new(ErrorKind::Invalid, operation, "the address or tag is not of a spool");
        name.map(|name| self.0.0.join(name)).ok_or_else(invalid)
    }

    /// What the disk's answer means: nothing that is asked for can be missing but an inbox.
    fn io<T>(&self, operation: &'static str, answer: io::Result<T>) -> Result<T> {
        answer.or_else(|cause| {
            self.live(operation)?;
            let kind = if cause.kind() == Io::NotFound { ErrorKind::NotFound } else { ErrorKind::Unexpected };
            Err(Error::new(kind, operation, "the spool refuses").with_source(cause))
        })
    }

    /// The messages of an inbox by name, which is by age.
    fn list(&self, inbox: &Address) -> Result<BTreeSet<String>> {
        let files = self.io("subscribe", self.path(inbox.as_str(), "subscribe")?.read_dir())?;
        Ok(files.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect())
    }
}

#[async_trait]
impl Transport for Attached {
    fn capabilities(&self) -> &Capabilities {
        &self.1
    }

    fn address(&self) -> &Address {
        &self.0.1
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        // Names sort by time. The file is renamed into its place: a reader sees all of it or nothing.
        let inbox = self.path(message.to.as_str(), "send")?;
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        let name = format!("{:020}-{}", now.as_nanos(), ClientMsgId::random());
        let draft = self.0.0.join(format!(".{name}"));
        self.io("send", inbox.read_dir())?;
        self.io("send", fs::write(&draft, write(message, self.address())))?;
        self.io("send", fs::rename(&draft, inbox.join(&name)))?;
        Ok(Receipt::new(SendOutcome::Accepted(MessageId::new(name)?)))
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        options.check()?;
        let at = match &options.inbox {
            Inbox::Own => self.address().clone(),
            Inbox::Existing(address) => address.clone(),
            _ => Address::of("spool", &format!("reply-{}", ClientMsgId::random()))?,
        };
        if let Inbox::Fresh { .. } = options.inbox {
            self.io("subscribe", fs::create_dir(self.path(at.as_str(), "subscribe")?))?;
        }
        let (line, taken, waited) = (self.clone(), HashMap::new(), Some(self.list(&at)?));
        let reader = Reader { line, at: at.clone(), options, taken, waited };
        let next = |mut reader: Reader| async { Ok(Some((reader.next().await?, reader))) };
        Ok(Subscription::new(at, Box::pin(futures_util::stream::try_unfold(reader, next))))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.live("ack")?;
        // A file that is gone was settled before.
        let settled = |cause: io::Error| if cause.kind() == Io::NotFound { Ok(()) } else { Err(cause) };
        tags.iter().try_for_each(|tag| {
            self.io("ack", fs::remove_file(self.path(tag.as_str(), "ack")?).or_else(settled))
        })
    }

    async fn close(&self, _: CloseMode) -> Result<()> {
        self.3.close(CloseMode::Detach, async |_| Ok(())).await
    }
}

/// One subscription. Nothing runs but while its stream is polled: dropping it is all it takes to stop it.
struct Reader {
    line: Attached,
    at: Address,
    options: SubscribeOptions,
    /// What was handed out and is not settled, with its size. What is settled has no file.
    taken: HashMap<String, usize>,
    /// What waited at the beginning; `None` once the end of it is told.
    waited: Option<BTreeSet<String>>,
}

impl Reader {
    async fn next(&mut self) -> Result<Event> {
        loop {
            let names = self.line.list(&self.at)?;
            self.taken.retain(|name, _| names.contains(name));
            let waits = |name: &String| names.contains(name) && !self.taken.contains_key(name);
            if self.waited.take_if(|waited| !waited.iter().any(waits)).is_some() {
                return Ok(Event::CaughtUp);
            }
            let room = self.taken.len() < self.options.max_unsettled
                && self.taken.values().sum::<usize>() < self.options.max_unsettled_bytes;
            if let Some(name) = names.iter().find(|name| room && waits(name)) {
                let tag = format!("{}/{name}", self.at);
                let file = self.line.io("subscribe", fs::read(self.line.path(&tag, "subscribe")?))?;
                self.taken.insert(name.clone(), file.len());
                return read(&file, name, &tag).map(Event::Message);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Every part by name in one line of JSON, then the body byte for byte.
fn write(message: &Outbound, sender: &Address) -> Vec<u8> {
    let mut parts = vec![("@id", message.client_msg_id.to_string()), ("@sender", sender.to_string())];
    parts.push(("@media-type", message.body.media_type.to_string()));
    parts.extend(message.conversation.iter().map(|id| ("@conversation", id.to_string())));
    parts.extend(message.reply_to.iter().map(|address| ("@reply-to", address.to_string())));
    parts.extend(message.correlation_id.iter().map(|id| ("@correlation-id", id.to_string())));
    let since = message.deadline.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    parts.extend(since.map(|since| ("@deadline", since.as_millis().to_string())));
    parts.extend(message.tags.iter().map(|tag| ("@tag", tag.clone())));
    parts.extend(message.headers.iter().map(|(name, value)| (name, value.to_owned())));
    [&serde_json::to_vec(&parts).expect("texts are JSON"), &b"\n"[..], &message.body.bytes].concat()
}

fn read(file: &[u8], name: &str, tag: &str) -> Result<Delivery> {
    let strange = |_| Error::new(ErrorKind::Protocol, "subscribe", "a file in the inbox is no message");
    let mut halves = file.splitn(2, |byte| *byte == b'\n').map(<[u8]>::to_vec);
    let (parts, body) = (halves.next().unwrap_or_default(), Body::binary(halves.next().unwrap_or_default()));
    let mut row = Delivery::new(MessageId::new(name)?, AckTag::new(tag)?, body);
    for (part, text) in serde_json::from_slice::<Vec<(String, String)>>(&parts).map_err(strange)? {
        match part.as_str() {
            "@id" => row.client_msg_id = Some(ClientMsgId::new(text)?),
            "@sender" => row.sender = Some(Address::parse(text)?),
            "@media-type" => row.body.media_type = text.into(),
            "@conversation" => row.conversation = Some(ConversationId::new(text)?),
            "@reply-to" => row.reply_to = Some(Address::parse(text)?),
            "@correlation-id" => row.correlation_id = Some(CorrelationId::new(text)?),
            "@deadline" => row.deadline = text.parse().ok().map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            "@tag" => row.tags.push(text),
            _ => row.headers.insert(part, text),
        }
    }
    Ok(row)
}

const EPOCH: &str = ".epoch";

// The transport ends here.

/// Two agents on one spool: one serves, the other asks, and the disk goes away in between.
async fn talk(scratch: &Scratch) -> std::result::Result<(), Failure> {
    let disk = Disk::new(scratch.file("talk"))?;
    let coder = Agent::builder(session(disk.spool("coder")?)).start().await?;
    let handler = |request: Request| async move {
        request.progress(Body::text("thinking")).await?;
        let answer = format!("print({:?})", request.body().as_str().unwrap_or_default());
        request.reply(Body::text(answer)).await?;
        Ok(())
    };
    let serving = coder.serve(handler, ServeOptions::default()).await?;
    let asker = Agent::builder(session(disk.spool("asker")?)).start().await?;
    for words in ["hello", "hello again"] {
        let mut call = asker.call(coder.address(), CallRequest::new(Body::text(words))).await?;
        while let Some(reply) = call.next().await {
            println!("asked for {words:?}: {}", reply?.body().as_str().unwrap_or_default());
        }
        if words == "hello" {
            disk.outage().await;
            println!("the disk is away");
            let back = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                disk.heal().await;
                println!("the disk is back");
            };
            let note = Outbound::new(coder.address().clone(), Body::text("sent without a disk"));
            let (sent, ()) = tokio::join!(asker.send(&note), back);
            sent?;
        }
    }
    drop(serving);
    Ok(())
}

/// A session over a spool: it outlives attachments.
fn session(spool: Spool) -> ResilientConnector {
    let soon = BackoffPolicy::new().with_base(Duration::from_millis(20));
    ResilientConnector::new(spool, ResilientOptions::new().with_reconnect(soon))
}

/// A spool directory that can be taken away, and the harness of the suite.
struct Disk {
    root: PathBuf,
    away: PathBuf,
}

impl Disk {
    fn new(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let disk = Self { away: root.with_extension("away"), root };
        disk.begin_epoch()?;
        Ok(disk)
    }

    fn begin_epoch(&self) -> io::Result<()> {
        fs::write(self.root.join(EPOCH), ClientMsgId::random().as_str())
    }

    fn spool(&self, name: &str) -> Result<Spool> {
        Ok(Spool(self.root.clone(), Address::of("spool", name)?))
    }
}

#[async_trait]
impl Harness for Disk {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(self.spool(name).expect("the suite's names are plain"))
    }

    /// What a spool does not do, and what nobody can do to a directory.
    fn expected_skips(&self) -> Vec<Skip> {
        let mut skips = vec![Skip::Directory, Skip::ReadableStatus, Skip::ServerDedup, Skip::Priority];
        skips.extend([Skip::Ttl, Skip::Delay, Skip::KeyedState, Skip::Replay, Skip::EndsWithConnection]);
        skips.extend([Skip::Numbered, Skip::Stall, Skip::Expire]);
        skips
    }

    async fn cut(&self) -> bool {
        self.begin_epoch().is_ok()
    }

    async fn restart(&self) -> bool {
        self.cut().await
    }

    async fn outage(&self) -> bool {
        self.cut().await && fs::rename(&self.root, &self.away).is_ok()
    }

    async fn heal(&self) {
        // Nothing is to be done when it is not away.
        let _ = fs::rename(&self.away, &self.root);
    }
}

async fn run() -> std::result::Result<(), Failure> {
    let scratch = Scratch::new("custom-transport")?;
    talk(&scratch).await?;
    let report = run_all(|| async {
        let root = scratch.file(ClientMsgId::random().as_str());
        Disk::new(root).expect("the scratch directory can be written to")
    })
    .await;
    println!("{report}");
    if report.is_good() { Ok(()) } else { Err("the transport breaks a promise".into()) }
}

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}
