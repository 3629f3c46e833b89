//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use agentchat_core::{Error, ErrorKind, Result};

/// What the command line says. Whose agent it is comes from the environment, or from a file that it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Settings {
    /// A JSON file with the sections `agentchat` and `mq9` (default: none). What the environment sets goes
    /// before it.
    pub config: Option<PathBuf>,
    /// The tools to show (default: all there are).
    pub tools: Option<Vec<String>>,
    /// How long a call may take at most (default: what each tool says, 30 s mostly).
    pub deadline: Option<Duration>,
    /// Where threads that the model has closed for itself are remembered (default: nowhere).
    pub closed_threads: Option<PathBuf>,
    /// How much is logged (default: warnings).
    pub log: Option<String>,
}

/// What a process was started for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// To serve.
    Serve(Settings),
    /// To print this text, and end.
    Print(String),
}

impl Start {
    /// Reads the arguments of a process, without its own name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what is not known, and for values that cannot be used.
    pub fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut settings = Settings::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (name, joined) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let mut value = || {
                let value = joined.clone().or_else(|| arguments.next());
                value.filter(|value| !value.is_empty()).ok_or_else(|| fault(format!("{name} needs a value")))
            };
            match name.as_str() {
                "--tools" => {
                    let names = value()?;
                    settings.tools = Some(names.split(',').map(|name| name.trim().to_owned()).collect());
                }
                "--config" => settings.config = Some(value()?.into()),
                "--deadline" => settings.deadline = Some(seconds(&value()?)?),
                "--closed-threads" => settings.closed_threads = Some(value()?.into()),
                "--log" => settings.log = Some(level(value()?)?),
                "--help" | "-h" => return Ok(Self::Print(HELP.to_owned())),
                "--version" | "-V" => {
                    return Ok(Self::Print(
                        concat!("agentchat-mcp ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
                    ));
                }
                other => return Err(fault(format!("{other:?} is not known; see --help"))),
            }
        }
        Ok(Self::Serve(settings))
    }
}

fn seconds(text: &str) -> Result<Duration> {
    match text.parse::<u64>() {
        Ok(seconds @ 1..=3_600) => Ok(Duration::from_secs(seconds)),
        _ => Err(fault("--deadline takes whole seconds, 1 to 3600".to_owned())),
    }
}

fn level(text: String) -> Result<String> {
    match ["off", "error", "warn", "info", "debug", "trace"].contains(&text.as_str()) {
        true => Ok(text),
        false => Err(fault("--log takes off, error, warn, info, debug or trace".to_owned())),
    }
}

fn fault(what: String) -> Error {
    Error::new(ErrorKind::Config, "arguments", what)
}

const HELP: &str = "\
agentchat-mcp: AgentChat and mq9 as MCP tools, over stdin and stdout

  --config PATH            whose agent it is, as JSON: the sections \"agentchat\" and \"mq9\"
  --tools A,B              show these tools alone (default: all)
  --deadline SECONDS       no call takes longer (default: what each tool says)
  --closed-threads PATH    remember threads closed for oneself in this file
  --log LEVEL              off, error, warn, info, debug or trace, to stderr (default: warn)
  --help, --version

AgentChat is on with AGENTCHATME_API_KEY (and AGENTCHATME_HANDLE, AGENTCHATME_API_BASE), mq9 with MQ9_URL (and
MQ9_INBOX and others). At least one must be, there or in the file of --config; what is set goes before the file.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Start> {
        Start::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_argument_sets_its_setting_in_either_spelling() {
        assert_eq!(read("").expect("fine"), Start::Serve(Settings::default()));
        let expected = Settings {
            config: Some("/c.json".into()),
            tools: Some(vec!["a".to_owned(), "b".to_owned()]),
            deadline: Some(Duration::from_secs(7)),
            closed_threads: Some("/t.json".into()),
            log: Some("trace".to_owned()),
        };
        for line in [
            "--config /c.json --tools a,b --deadline 7 --closed-threads /t.json --log trace",
            "--log=trace --closed-threads=/t.json --deadline=7 --tools=a,b --config=/c.json",
        ] {
            assert_eq!(read(line).expect(line), Start::Serve(expected.clone()));
        }
    }

    #[test]
    fn what_is_not_known_or_has_no_value_is_refused() {
        for line in [
            "--tool a",
            "x",
            "--tools",
            "--tools=",
            "--config",
            "--deadline 0",
            "--deadline 9999",
            "--log loud",
        ] {
            assert_eq!(read(line).expect_err(line).kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn help_names_every_argument() {
        let Start::Print(help) = read("--log trace --help").expect("fine") else { panic!("it serves") };
        for name in [
            "--config",
            "--tools",
            "--deadline",
            "--closed-threads",
            "--log",
            "AGENTCHATME_API_KEY",
            "MQ9_URL",
        ] {
            assert!(help.contains(name), "{name}");
        }
        assert!(matches!(read("-V"), Ok(Start::Print(text)) if text.contains(env!("CARGO_PKG_VERSION"))));
    }
}
