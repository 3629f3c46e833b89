//! Reading what waits: by pages where it is acknowledged, by the server's own drain elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use agentchat_core::{Error, Result};
use tokio::time::sleep;

use super::{Phase, Reading};
use crate::api::RowPage;
use crate::http::Failure;
use crate::transport::lost::{in_place, lost_between_sockets};
use crate::transport::verdict::confirmed;
use crate::wire::MessageRow;

impl Reading {
    /// Reads a page of what is on the server. Behind the last one, `then` is the phase.
    pub(super) async fn read_page(&mut self, then: Phase) -> Result<()> {
        let cursor = self.cursor.clone();
        let reading = async { self.client.sync(cursor.as_deref()).await.map_err(Error::from) };
        let page = match self.shared.under("subscribe", reading).await {
            Ok(page) => page,
            Err(error) if is_unreadable(&error) => return self.no_list(error).await,
            Err(error) => return Err(confirmed(&self.client, &self.own, error).await),
        };
        self.unreadable = 0;
        let advanced = page.cursor(page.len()).map(str::to_owned);
        let stuck = advanced.is_none() || advanced == self.cursor;
        if stuck && !page.is_last() {
            self.shared.counts.stuck_page();
        }
        if page.is_last() || stuck {
            self.phase = then;
        }
        if advanced.is_some() {
            self.cursor = advanced;
        }
        for row in self.readable(page) {
            self.order.backlog(row, &mut self.ready);
        }
        Ok(())
    }

    /// The server's answer is no list. What waits may hold messages that are nowhere else, so it is asked
    /// again, later and later, and when that does not help the reader is told.
    async fn no_list(&mut self, error: Error) -> Result<()> {
        self.unreadable += 1;
        self.shared.counts.unreadable_list(self.unreadable);
        if self.unreadable > LISTS {
            return Err(error);
        }
        tokio::select! {
            _ = self.shared.ended() => {}
            () = sleep(FIRST_PAUSE * (1 << (self.unreadable - 1))) => {}
        }
        Ok(())
    }

    /// The rows of a page that can be read.
    fn readable(&self, page: RowPage) -> Vec<MessageRow> {
        let all = page.len();
        let rows: Vec<_> = page.rows.into_iter().filter_map(std::result::Result::ok).collect();
        if rows.len() < all {
            self.shared.counts.unreadable_rows((all - rows.len()) as u64);
        }
        rows
    }

    /// Waits until the server has written what waited, or so much that some of it must go on. What was lost
    /// with an earlier socket is older, so it is looked for first.
    pub(super) async fn await_drain(&mut self) -> Result<()> {
        let mut left = self.unsettled().await?;
        let mut rest = HashMap::new();
        if self.shared.keeping.is_none() {
            let (rows, more) = lost_between_sockets(&self.client, &self.shared).await;
            // With what arrived they are safe, whatever becomes of this reader.
            self.shared.put_back(rows.into_iter());
            rest = more;
        }
        if rest.is_empty() {
            self.drained(&mut left).await?;
        }
        let rows = self.shared.take_arrivals().into_iter().chain(left).collect();
        let mut behind = Vec::new();
        for row in in_place(rows) {
            let rest = rest.get(row.conversation_id().unwrap_or_default());
            match rest.is_some_and(|rest| row.seq().is_some_and(|seq| seq >= *rest)) {
                // There are others before it, which are read when these have gone.
                true => behind.push(row),
                false => self.order.backlog(row, &mut self.ready),
            }
        }
        self.shared.put_back(behind.into_iter());
        Ok(())
    }

    /// Waits for the server's own drain. What it has not written by then is put into `left`.
    async fn drained(&mut self, left: &mut Vec<MessageRow>) -> Result<()> {
        let mut patience = DRAIN_CHECKS;
        loop {
            let before = self.shared.inner().count;
            tokio::select! {
                _ = self.shared.ended() => return Ok(()),
                () = sleep(QUIET) => {}
            }
            let (count, full) = {
                let inner = self.shared.inner();
                (inner.count, inner.is_window_full())
            };
            if full {
                return Ok(());
            }
            if count != before {
                continue;
            }
            let reading = async { self.client.sync(None).await.map_err(Error::from) };
            let page = match self.shared.under("subscribe", reading).await {
                Ok(page) => page,
                Err(error) if is_unreadable(&error) => {
                    self.no_list(error).await?;
                    continue;
                }
                Err(error) => return Err(confirmed(&self.client, &self.own, error).await),
            };
            self.unreadable = 0;
            patience -= 1;
            if (page.is_empty() && self.shared.inner().count == count) || patience == 0 {
                left.extend(self.readable(page));
                self.phase = Phase::BacklogRead;
                return Ok(());
            }
        }
    }

    /// What history has and nobody settled. Nothing where nothing is kept, and the second time.
    async fn unsettled(&mut self) -> Result<Vec<MessageRow>> {
        if let Some(keeping) = self.shared.keeping.clone()
            && self.unsettled.is_none()
        {
            let reading = keeping.reconcile(&self.client, &self.own);
            self.unsettled = match self.shared.under("subscribe", reading).await {
                Ok(rows) => Some(rows),
                Err(error) => return Err(confirmed(&self.client, &self.own, error).await),
            };
        }
        Ok(self.unsettled.as_mut().map(std::mem::take).unwrap_or_default())
    }
}

fn is_unreadable(error: &Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .and_then(|source| source.downcast_ref::<crate::http::ApiError>())
        .is_some_and(|error| error.failure() == Failure::Unreadable)
}

/// How long a server that drains by itself must write nothing before it counts as done.
const QUIET: Duration = Duration::from_millis(150);
/// How often it is asked whether it is.
const DRAIN_CHECKS: u32 = 10;
/// How often a server that answers no list is asked again, and how soon at first: each time it takes twice as
/// long.
const LISTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
