//! What was met that cannot be used, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the attachments of a connector met that is not as it should be, since the connector was made. Each is
/// told by a `tracing` event of level `debug`, too, whose name is given; so is a history that could not be
/// asked for what is missing (`history.unread`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// Frames that are none, or whose payload is not what their kind needs (`frame.unreadable`). Kinds that
    /// this version does not know are no fault.
    pub unreadable_frames: u64,
    /// Rows of pages that cannot be read (`row.unreadable`).
    pub unreadable_rows: u64,
    /// Answers that are no list, in place of what waits (`sync.unreadable`).
    pub unreadable_lists: u64,
    /// Pages of what waits that name no row to go on behind (`sync.stuck`).
    pub stuck_pages: u64,
    /// Times that more waited for a missing message than there is room for (`order.overflow`).
    pub overflows: u64,
    /// Holes that were given up: each was an [`Event::Gap`](agentchat_core::Event::Gap) (`order.gap`).
    pub gaps: u64,
    /// Messages of an older server that nobody read over their socket, for which there was no room until the next
    /// one, and which cannot be found in history: they have no number there, or are of too many conversations
    /// (`row.unkept`).
    pub unkept_rows: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    unreadable_frames: AtomicU64,
    unreadable_rows: AtomicU64,
    unreadable_lists: AtomicU64,
    stuck_pages: AtomicU64,
    overflows: AtomicU64,
    gaps: AtomicU64,
    unkept_rows: AtomicU64,
}

impl Counts {
    pub(crate) fn snapshot(&self) -> ReceiveStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReceiveStats {
            unreadable_frames: read(&self.unreadable_frames),
            unreadable_rows: read(&self.unreadable_rows),
            unreadable_lists: read(&self.unreadable_lists),
            stuck_pages: read(&self.stuck_pages),
            overflows: read(&self.overflows),
            gaps: read(&self.gaps),
            unkept_rows: read(&self.unkept_rows),
        }
    }

    pub(crate) fn unreadable_frames(&self, count: u64) {
        self.unreadable_frames.fetch_add(count, Ordering::Relaxed);
        tracing::debug!(name: "frame.unreadable", count, "frames of an AgentChat socket were passed over");
    }

    pub(crate) fn unreadable_rows(&self, count: u64) {
        self.unreadable_rows.fetch_add(count, Ordering::Relaxed);
        tracing::debug!(name: "row.unreadable", count, "rows of an AgentChat page were passed over");
    }

    pub(crate) fn unreadable_list(&self, attempt: u32) {
        self.unreadable_lists.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(name: "sync.unreadable", attempt, "what waits is no list");
    }

    pub(crate) fn stuck_page(&self) {
        self.stuck_pages.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(name: "sync.stuck", "a full page of what waits names no place to go on");
    }

    pub(crate) fn overflow(&self) {
        self.overflows.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(name: "order.overflow", "too much waits for a missing message");
    }

    pub(crate) fn gap(&self, expected: u64, got: u64) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(name: "order.gap", expected, got, "a missing message was given up");
    }

    /// So many messages are lost, if any.
    pub(crate) fn unkept(&self, count: u64) {
        if count > 0 {
            self.unkept_rows.fetch_add(count, Ordering::Relaxed);
            tracing::debug!(name: "row.unkept", count, "messages that nobody read found no room");
        }
    }
}
