//! An in-memory broker behind the consumer's trait, counting and failing on demand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MsgId, Received};
use crate::options::{FetchOptions, Group};

use super::model::Mailbox;
use super::ops::MailboxOps;
use super::options::{ConsumerOptions, PollerOptions};
use super::poller::Poller;
use super::stream::Consumer;

pub(super) const MS: Duration = Duration::from_millis(1);

/// Mailboxes in memory.
#[derive(Clone, Default)]
pub(super) struct Broker(pub(super) Arc<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    pub(super) boxes: Mutex<HashMap<String, Mailbox>>,
    pub(super) fetches: AtomicUsize,
    pub(super) concurrent: AtomicUsize,
    pub(super) most_concurrent: AtomicUsize,
    pub(super) acks: Mutex<Vec<u64>>,
    pub(super) fail: Mutex<Option<ErrorKind>>,
    pub(super) gone: AtomicBool,
    pub(super) panics: AtomicBool,
    pub(super) latency: Mutex<Duration>,
    /// Replies of more bytes than this do not come.
    pub(super) largest: Mutex<Option<usize>>,
}

impl Broker {
    pub(super) fn with<T>(&self, mailbox: &str, look: impl FnOnce(&mut Mailbox) -> T) -> T {
        look(self.0.boxes.lock().expect("boxes").entry(mailbox.to_owned()).or_default())
    }

    pub(super) fn send(&self, mailbox: &str, count: usize) {
        self.with(mailbox, |mailbox| mailbox.send_many(count));
    }

    pub(super) fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }

    pub(super) fn acks(&self) -> Vec<u64> {
        self.0.acks.lock().expect("acks").clone()
    }

    pub(super) fn fail_with(&self, kind: Option<ErrorKind>) {
        *self.0.fail.lock().expect("fail") = kind;
    }

    pub(super) async fn delay(&self) {
        let latency = *self.0.latency.lock().expect("latency");
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    pub(super) fn fault(&self) -> Result<()> {
        match *self.0.fail.lock().expect("fail") {
            Some(kind) => Err(Error::new(kind, "MSG.TEST", "told to fail")),
            None => Ok(()),
        }
    }

    pub(super) fn poller(&self) -> Poller {
        Poller::spawn(self.clone(), PollerOptions::default().with_seed(1)).expect("runtime")
    }

    pub(super) fn consume(&self, mailbox: &str, options: ConsumerOptions) -> Consumer {
        self.poller().add(address(mailbox), options).expect("consumer")
    }
}

impl MailboxOps for Broker {
    async fn fetch(&self, mailbox: &MailAddress, options: &FetchOptions) -> Result<Vec<Received>> {
        assert!(!self.0.panics.load(Ordering::SeqCst), "told to panic");
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        let now = self.0.concurrent.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_concurrent.fetch_max(now, Ordering::SeqCst);
        self.delay().await;
        self.0.concurrent.fetch_sub(1, Ordering::SeqCst);
        self.fault()?;
        let rows = self.with(mailbox.as_str(), |mailbox| mailbox.fetch(options));
        let bytes: usize = rows.iter().map(|row| row.payload.len()).sum();
        match *self.0.largest.lock().expect("largest") {
            Some(largest) if bytes > largest => Err(Error::new(ErrorKind::Timeout, "MSG.TEST", "too large")),
            _ => Ok(rows),
        }
    }

    async fn ack(&self, mailbox: &MailAddress, group: &Group, up_to: MsgId) -> Result<()> {
        self.delay().await;
        self.fault()?;
        self.0.acks.lock().expect("acks").push(up_to.get());
        self.with(mailbox.as_str(), |mailbox| mailbox.ack(group.as_str(), up_to.get()));
        Ok(())
    }

    async fn delete(&self, mailbox: &MailAddress, id: MsgId) -> Result<()> {
        self.fault()?;
        self.with(mailbox.as_str(), |mailbox| mailbox.rows.remove(&id.get()));
        Ok(())
    }

    async fn exists(&self, _: &MailAddress) -> Result<bool> {
        Ok(!self.0.gone.load(Ordering::SeqCst))
    }
}

pub(super) fn address(name: &str) -> MailAddress {
    MailAddress::new(name).expect("valid")
}

pub(super) fn options() -> ConsumerOptions {
    ConsumerOptions::new("g")
}

pub(super) async fn take(consumer: &mut Consumer, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await.expect("in time");
        ids.push(next.expect("open").expect("no error").id().get());
    }
    ids
}

pub(super) async fn is_silent(consumer: &mut Consumer, time: Duration) -> bool {
    tokio::time::timeout(time, consumer.next()).await.is_err()
}
