//! An mq9 broker to run beside agents under development, with no server installed.
//!
//! ```text
//! cargo run --example mq9_broker -- --port 4222 --data ./mq9-data
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use mq9_client::testing::{Broker, EngineProfile, WireProfile};

const HELP: &str = "\
An mq9 broker on 127.0.0.1. Any NATS client can talk to it.

Usage: mq9_broker [OPTIONS]

Options:
  --port N             Listen on port N; 0 takes a free one [default: 4222]
  --data DIR           Keep mailboxes, messages and agents in DIR [default: in memory]
  --robustmq           Behave on the wire as RobustMQ does, quirks included
  --no-search          Answer searches in the registry as a RobustMQ built without them
  --user U             Ask for user U; needs --password
  --password P         Ask for password P; needs --user
  --help               Print this text

Stops on Ctrl-C and on SIGTERM.
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("error: {problem}\n\nTry --help.");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    // Listened to first, so that a signal during the start is not missed.
    let stop = stop_signal().map_err(|error| format!("signals cannot be listened to: {error}"))?;
    let engine =
        if arguments.search { EngineProfile::robustmq_with_search() } else { EngineProfile::robustmq() };
    let mut builder = Broker::builder().engine(engine).wire(arguments.wire).port(arguments.port);
    let mut where_kept = "in memory".to_owned();
    if let Some(dir) = arguments.data {
        where_kept = format!("in {}", dir.display());
        builder = builder.data_dir(dir);
    }
    if let Some((user, password)) = arguments.login {
        builder = builder.credentials(user, password);
    }
    let broker = builder
        .start()
        .await
        .map_err(|error| format!("cannot serve port {} with data {where_kept}: {error}", arguments.port))?;
    println!("{}", broker.url());
    eprintln!("mailboxes are kept {where_kept}; Ctrl-C stops");
    stop.await;
    broker.stop().await;
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Arguments {
    port: u16,
    data: Option<PathBuf>,
    wire: WireProfile,
    search: bool,
    login: Option<(String, String)>,
}

impl Arguments {
    /// `None`: help was asked for.
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut arguments =
            Arguments { port: 4222, data: None, wire: WireProfile::Standard, search: true, login: None };
        let (mut user, mut password) = (None, None);
        while let Some(option) = given.next() {
            let (option, mut inline) = match option.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                None => (option, None),
            };
            let mut value = |what: &str| {
                inline.take().or_else(|| given.next()).ok_or_else(|| format!("{option} needs {what}"))
            };
            match option.as_str() {
                "--port" => {
                    let text = value("a port number")?;
                    arguments.port =
                        text.parse().map_err(|_| format!("--port {text}: not a number from 0 to 65535"))?;
                }
                "--data" => arguments.data = Some(PathBuf::from(value("a directory")?)),
                "--user" => user = Some(value("a name")?),
                "--password" => password = Some(value("a password")?),
                "--robustmq" => arguments.wire = WireProfile::RobustMq,
                "--no-search" => arguments.search = false,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {option}")),
            }
            if inline.is_some() {
                return Err(format!("{option} takes no value"));
            }
        }
        arguments.login = match (user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) => return Err("--user needs --password".to_owned()),
            (None, Some(_)) => return Err("--password needs --user".to_owned()),
        };
        Ok(Some(arguments))
    }
}

#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Arguments>, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_defaults_suit_a_plain_nats_client() {
        let arguments = parse("").unwrap().unwrap();
        assert_eq!((arguments.port, arguments.wire), (4222, WireProfile::Standard));
        assert!(arguments.search && arguments.data.is_none() && arguments.login.is_none());
    }

    #[test]
    fn every_option_is_read() {
        let line = "--port 0 --data=/d --robustmq --no-search --user u --password p=q";
        let expected = Arguments {
            port: 0,
            data: Some("/d".into()),
            wire: WireProfile::RobustMq,
            search: false,
            login: Some(("u".into(), "p=q".into())),
        };
        assert_eq!(parse(line), Ok(Some(expected)));
        assert_eq!(parse("--port 1 --help"), Ok(None));
    }

    #[test]
    fn bad_arguments_are_named() {
        for (line, problem) in [
            ("--port", "--port needs a port number"),
            ("--port x", "--port x: not a number from 0 to 65535"),
            ("--port 70000", "--port 70000: not a number from 0 to 65535"),
            ("--user u", "--user needs --password"),
            ("--password p", "--password needs --user"),
            ("--robustmq=yes", "--robustmq takes no value"),
            ("--quiet", "unknown argument --quiet"),
            ("4222", "unknown argument 4222"),
        ] {
            assert_eq!(parse(line), Err(problem.to_owned()), "{line}");
        }
    }
}
