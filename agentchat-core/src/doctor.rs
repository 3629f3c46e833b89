//! What is wrong with a configuration, line by line: the report that each transport's doctor fills.
//!
//! A check asks one question and says what it found in words that name the remedy. Nothing in a report shows a
//! key, and nothing that is asked takes messages out of an inbox.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::beacon::{BeaconSight, BeaconState};

/// What the checks found, in the order in which they were made.
///
/// `Display` has a line for each, which begins with two spaces and `[ok]`, `[warn]` or `[fail]`, padded to one
/// width.
///
/// ```
/// use agentchat_core::doctor::Report;
///
/// let mut report = Report::new();
/// report.ok("key", "the key is set").warn("lock", "nobody leads").fail("broker", "nothing listens");
/// assert_eq!(report.to_string(), "  [ok]   the key is set\n  [warn] nobody leads\n  [fail] nothing listens\n");
/// assert_eq!(report.exit_code(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The checks that were made.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// Its name, which stays the same over versions.
    pub name: String,
    /// What it found.
    pub finding: Finding,
    /// That in words, on one line.
    pub words: String,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Finding {
    /// All is well.
    Ok,
    /// It works, and is perhaps not what was meant.
    Warn,
    /// It does not work.
    Fail,
}

impl Report {
    /// No check yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check that is well.
    pub fn ok(&mut self, name: &str, words: impl Into<String>) -> &mut Self {
        self.add(name, Finding::Ok, words.into())
    }

    /// Adds a check that found something odd.
    pub fn warn(&mut self, name: &str, words: impl Into<String>) -> &mut Self {
        self.add(name, Finding::Warn, words.into())
    }

    /// Adds a check that found a fault.
    pub fn fail(&mut self, name: &str, words: impl Into<String>) -> &mut Self {
        self.add(name, Finding::Fail, words.into())
    }

    /// Adds what a beacon says: that no agent lives on this host is a warning, for it need not.
    pub fn beacon(&mut self, sight: &BeaconSight) -> &mut Self {
        let name = "beacon";
        match sight {
            BeaconSight::Absent => self.warn(name, "no agent has run on this host: there is no sign of life"),
            BeaconSight::Unreadable(why) => {
                self.warn(name, format!("the sign of life cannot be read: {why}"))
            }
            BeaconSight::Stale { pid, age } => {
                let (minutes, what) = (age.as_secs() / 60, "is dead or hangs");
                self.warn(name, format!("process {pid} {what}: its last sign of life is {minutes} min old"))
            }
            BeaconSight::Fresh { pid, state, age } => {
                let words = format!("process {pid} is {state} ({} s ago)", age.as_secs());
                match state {
                    BeaconState::Connected | BeaconState::Running | BeaconState::Idle => self.ok(name, words),
                    _ => self.warn(name, words),
                }
            }
        }
    }

    /// The check of that name, where it was made.
    pub fn get(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// How many checks found a fault.
    pub fn failures(&self) -> usize {
        self.checks.iter().filter(|check| check.finding == Finding::Fail).count()
    }

    /// What a process should exit with: the number of faults, at most 100.
    pub fn exit_code(&self) -> u8 {
        u8::try_from(self.failures().min(100)).unwrap_or(100)
    }

    fn add(&mut self, name: &str, finding: Finding, words: String) -> &mut Self {
        // A server's words may have any characters in them.
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = words.chars().filter(|c| !c.is_control()).collect();
        self.checks.push(Check { name: name.to_owned(), finding, words });
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<6} {}", self.finding.tag(), self.words)
    }
}

impl Finding {
    fn tag(self) -> &'static str {
        match self {
            Self::Ok => "[ok]",
            Self::Warn => "[warn]",
            Self::Fail => "[fail]",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_stays_a_line_whatever_a_server_says() {
        let mut report = Report::new();
        report.fail("x", "first\nsecond\t\u{1b}[31mred");
        assert_eq!(report.to_string(), "  [fail] first second [31mred\n");
    }

    #[test]
    fn the_exit_code_counts_faults_alone_and_fits() {
        let mut report = Report::new();
        assert_eq!(report.exit_code(), 0);
        report.ok("a", "fine").warn("b", "odd");
        assert_eq!((report.exit_code(), report.get("b").map(|it| it.finding)), (0, Some(Finding::Warn)));
        for _ in 0..300 {
            report.fail("c", "broken");
        }
        assert_eq!((report.failures(), report.exit_code()), (300, 100));
    }

    #[test]
    fn a_report_can_be_kept_as_json() {
        let mut report = Report::new();
        report.warn("lock", "nobody leads");
        let text = serde_json::to_string(&report).expect("written");
        assert_eq!(text, r#"{"checks":[{"name":"lock","finding":"warn","words":"nobody leads"}]}"#);
        assert_eq!(serde_json::from_str::<Report>(&text).expect("read"), report);
    }

    #[test]
    fn a_beacon_is_well_only_while_its_agent_is() {
        let fresh = |state| BeaconSight::Fresh { pid: 7, state, age: Duration::from_secs(3) };
        let line = |sight: &BeaconSight| Report::new().beacon(sight).to_string();
        assert_eq!(line(&fresh(BeaconState::Connected)), "  [ok]   process 7 is connected (3 s ago)\n");
        for state in [BeaconState::Off, BeaconState::Down, BeaconState::Starting, BeaconState::Other] {
            assert!(line(&fresh(state)).starts_with("  [warn] process 7 is "), "{state}");
        }
        let stale = BeaconSight::Stale { pid: 7, age: Duration::from_secs(200) };
        assert!(line(&stale).contains("[warn] process 7 is dead or hangs"), "{}", line(&stale));
        assert!(line(&BeaconSight::Absent).contains("[warn] no agent has run"));
        assert!(
            line(&BeaconSight::Unreadable("EOF".into()))
                .contains("[warn] the sign of life cannot be read: EOF")
        );
    }
}
