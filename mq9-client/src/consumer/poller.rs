//! The handle of a polling task.

use std::fmt;
use std::sync::Arc;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};

use super::desk::Desk;
use super::driver::{Driver, now};
use super::ops::MailboxOps;
use super::options::{ConsumerOptions, PollerOptions};
use super::reader::Reader;
use super::shared::Shared;
use super::slot::Slot;
use super::stream::Consumer;

/// Serves any number of mailboxes with one task on one connection.
///
/// Mailboxes are asked in the order in which they fall due, a few at a time, within one budget of polls per
/// second; long-idle ones cost next to nothing. Acknowledgements and deletions go out beside the reads.
///
/// Clones share the task. It ends when the last clone and the last [`Consumer`] made by any of them are
/// dropped.
#[derive(Clone)]
pub struct Poller {
    owner: Arc<Owner>,
}

impl Poller {
    /// Starts the task.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] outside a tokio runtime.
    pub(crate) fn spawn<O: MailboxOps>(ops: O, options: PollerOptions) -> Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Config, "consume", "there is no tokio runtime here").with_source(error)
        })?;
        let desk = Arc::new(Desk::default());
        // The task ends by itself once the owner is dropped; see `Owner`.
        drop(runtime.spawn(Driver::new(Arc::clone(&desk), &options).run(ops)));
        Ok(Self { owner: Arc::new(Owner { desk, options }) })
    }

    /// Begins to consume `mailbox`.
    ///
    /// Nothing is asked of the broker here: a missing mailbox shows as the stream's final error.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for options that cannot work, [`ErrorKind::Closed`] when the task is gone.
    pub fn add(&self, mailbox: MailAddress, options: ConsumerOptions) -> Result<Consumer> {
        options.validate()?;
        let group = options.group_for(&mailbox)?;
        let desk = &self.owner.desk;
        let key = desk.next_key();
        let rng = match self.owner.options.seed {
            Some(seed) => fastrand::Rng::with_seed(seed.wrapping_add(key)),
            None => fastrand::Rng::new(),
        };
        let shared = Arc::new(Shared::new(key, Arc::clone(desk)));
        let reader = Reader::new(mailbox.clone(), group.clone(), options.clone(), rng, now());
        desk.add(Slot::new(mailbox, group, reader, Arc::clone(&shared)))?;
        Ok(Consumer::new(shared, Arc::clone(&self.owner), options))
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("options", &self.owner.options).finish_non_exhaustive()
    }
}

/// What keeps the task alive: held by every poller and consumer.
#[derive(Debug)]
pub(crate) struct Owner {
    desk: Arc<Desk>,
    options: PollerOptions,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.desk.stop();
    }
}
