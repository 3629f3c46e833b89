//! The whole suite at once, for programs and examples.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, StreamExt, stream};

use super::{CASES, Case, Harness, Outcome, Skip};

/// What came of every case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The cases that held.
    pub held: Vec<&'static str>,
    /// The cases that do not apply, and why.
    pub skipped: Vec<(&'static str, Skip)>,
    /// The cases that failed, and what they said.
    pub failed: Vec<(&'static str, String)>,
}

/// Runs the whole suite outside of a test runner, a few cases at a time, each on a fresh harness. A skip
/// that its harness does not expect counts as failed. Panics of failing cases are caught, and printed by
/// the panic hook as always.
pub async fn run_all<H, F>(mut fresh: impl FnMut() -> F) -> Report
where
    H: Harness,
    F: Future<Output = H>,
{
    let mut report = Report { held: Vec::new(), skipped: Vec::new(), failed: Vec::new() };
    let runs = CASES.iter().map(|case| {
        let harness = fresh();
        async move { (case, outcome(case, harness).await) }
    });
    let mut runs = stream::iter(runs.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some((case, outcome)) = runs.next().await {
        match outcome {
            Ok(Outcome::Held) => report.held.push(case.name),
            Ok(Outcome::Skipped(why)) => report.skipped.push((case.name, why)),
            Err(panic) => report.failed.push((case.name, text_of(&*panic))),
        }
    }
    report
}

impl Report {
    /// Whether nothing failed and something held.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && !self.held.is_empty()
    }
}

impl fmt::Display for Report {
    /// One line for each case that did not hold, then the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, why) in &self.skipped {
            writeln!(f, "skipped {case}: {why}")?;
        }
        for (case, what) in &self.failed {
            writeln!(f, "FAILED {case}: {what}")?;
        }
        let (held, skipped, failed) = (self.held.len(), self.skipped.len(), self.failed.len());
        write!(f, "{held} held, {skipped} skipped, {failed} failed")
    }
}

async fn outcome<H: Harness>(
    case: &Case,
    harness: impl Future<Output = H>,
) -> Result<Outcome, Box<dyn Any + Send>> {
    let run = async {
        let harness = harness.await;
        case.run(&harness).await
    };
    AssertUnwindSafe(run).catch_unwind().await
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text").to_owned()
}

/// More would make the timeouts of slow machines meet the work of other cases.
const AT_ONCE: usize = 4;
