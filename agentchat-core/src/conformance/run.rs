//! Running cases and telling how they ended.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Harness, Skip};

/// How a case ended. A failed one panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Outcome {
    /// It ran, and what it promises held.
    Held,
    /// It does not apply: why.
    Skipped(Skip),
}

/// One case of the suite.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// Its name, which begins with the verb it is about.
    pub name: &'static str,
    body: for<'a> fn(&'a dyn Harness) -> CaseFuture<'a>,
}

/// A case under way.
pub type CaseFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

impl Case {
    #[doc(hidden)]
    pub const fn new(name: &'static str, body: for<'a> fn(&'a dyn Harness) -> CaseFuture<'a>) -> Self {
        Self { name, body }
    }

    /// Runs it on a fresh harness, for a minute at most.
    ///
    /// # Panics
    /// If what it promises does not hold, it takes longer, or it is skipped for a reason that the harness
    /// does not expect.
    pub async fn run(&self, harness: &dyn Harness) -> Outcome {
        let Ok(outcome) = tokio::time::timeout(LONGEST, (self.body)(harness)).await else {
            panic!("{} did not end within a minute", self.name);
        };
        if let Outcome::Skipped(why) = outcome {
            let expected = harness.expected_skips().contains(&why);
            assert!(expected, "skipped, which the harness does not expect: {why} (Skip::{why:?})");
        }
        outcome
    }
}

/// Runs a case as one test of `backend` and notes how it ended: what
/// [`conformance_tests!`](crate::conformance_tests) expands to. `None` is a network that is not there.
///
/// # Panics
/// As [`Case::run`]; and without a network, if `CONFORMANCE_EXPECT` names the backend.
pub async fn run_as_test(backend: &str, case: &Case, harness: Option<&dyn Harness>) {
    let outcome = match harness {
        Some(harness) => case.run(harness).await,
        None => {
            let expected = std::env::var(EXPECT).unwrap_or_default();
            let expected = expected.split([',', ' ']).any(|name| name == backend);
            assert!(!expected, "{EXPECT} names {backend}, and there is no network to test");
            Outcome::Skipped(Skip::NoNetwork)
        }
    };
    if let Outcome::Skipped(why) = outcome {
        print_skipped(&format!("{backend} {}", case.name), &why.to_string());
    }
    if let Some(directory) = std::env::var_os(REPORT) {
        let written = write(Path::new(&directory), backend, case, outcome);
        written.unwrap_or_else(|error| panic!("{REPORT} cannot be written to: {error}"));
    }
    if let Some(sum) = sum_up(backend, outcome) {
        say(&sum);
    }
}

/// Says that a test was skipped, past the test runner, which hides what passing tests print.
pub fn print_skipped(name: &str, why: &str) {
    say(&format!("skipped {name}: {why}"));
}

/// Adds a line to the report of `backend`: how the case ended, its name and why, between tabs.
fn write(directory: &Path, backend: &str, case: &Case, outcome: Outcome) -> std::io::Result<()> {
    let line = match outcome {
        Outcome::Held => format!("held\t{}\t\n", case.name),
        Outcome::Skipped(why) => format!("skipped\t{}\t{why}\n", case.name),
    };
    std::fs::create_dir_all(directory)?;
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let file = directory.join(backend.chars().map(legal).collect::<String>());
    // In one write, so that tests that run side by side do not mix their lines.
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}

/// Counts the case; the last one of its backend in this process gives the sum.
fn sum_up(backend: &str, outcome: Outcome) -> Option<String> {
    static TALLY: Mutex<Option<HashMap<String, (usize, usize)>>> = Mutex::new(None);
    let mut tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    let (held, skipped) = tally.get_or_insert_default().entry(backend.to_owned()).or_default();
    match outcome {
        Outcome::Held => *held += 1,
        Outcome::Skipped(_) => *skipped += 1,
    }
    let all = *held + *skipped == super::CASES.len();
    all.then(|| format!("conformance of {backend}: {held} held, {skipped} skipped"))
}

/// In one write, so that tests that run side by side do not mix their lines.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

const LONGEST: Duration = Duration::from_secs(60);
/// The backends that have to have a network, by name, with commas or blanks between.
const EXPECT: &str = "CONFORMANCE_EXPECT";
/// A directory to which each backend's outcomes are written, a file for each.
const REPORT: &str = "CONFORMANCE_REPORT";
