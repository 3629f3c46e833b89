//! What a consumer has done so far.

/// Counters since the consumer began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// FETCH commands.
    pub fetches: u64,
    /// Messages handed out, retries counted again.
    pub delivered: u64,
    /// Rows that had been seen before, and were dropped.
    pub duplicates: u64,
    /// Messages settled.
    pub settled: u64,
    /// Messages given back to be handed out again.
    pub retries: u64,
    /// ACK commands carried out.
    pub acks: u64,
    /// DELETE commands carried out.
    pub deletes: u64,
    /// Calls that failed and were repeated.
    pub temporary_errors: u64,
    /// Times the mailbox's data turned out to have been replaced.
    pub resets: u64,
}
