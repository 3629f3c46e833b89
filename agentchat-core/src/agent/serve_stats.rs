//! What serving has done so far, in numbers.

/// What became of the messages of a serving agent until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServeStats {
    /// Messages that their handler settled.
    pub handled: u64,
    /// How often a handler failed: a batch counts for each of its messages.
    pub failed: u64,
    /// Messages that were rejected, by their handler or before it.
    pub rejected: u64,
    /// Messages that were given up after their last try.
    pub given_up: u64,
    /// Messages that a newer one of their conversation took the place of.
    pub superseded: u64,
    /// Messages that were found after their deadline.
    pub expired: u64,
    /// Deliveries that were recognised as repetitions.
    pub repeated: u64,
}
