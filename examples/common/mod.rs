//! What the examples share: where the broker is, and further processes of the same program.
#![allow(dead_code, reason = "each example uses a part of it")]

pub mod agentchat;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command as StdCommand, ExitCode, Stdio};

use mq9_client::testing::{Broker, EngineProfile};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

pub type Failure = Box<dyn Error + Send + Sync>;

/// The exit status of an example; a failure is printed as one line.
pub fn end(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Options of the form `--name value`.
pub struct Args(Vec<String>);

impl Args {
    /// Reads the command line; `--help` prints `usage` and ends the program.
    pub fn parse(usage: &str) -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        if args.iter().any(|arg| arg == "--help" || arg == "-h") {
            println!("{usage}");
            std::process::exit(0);
        }
        Self(args)
    }

    /// The value behind `--name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg.strip_prefix("--") == Some(name))?;
        self.0.get(at + 1).map(String::as_str)
    }

    /// Whether `--name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|arg| arg.strip_prefix("--") == Some(name))
    }

    /// The value behind `--name`, which this role of the program cannot do without.
    pub fn required(&self, name: &str) -> Result<&str, Failure> {
        self.value(name).ok_or_else(|| format!("--{name} VALUE is missing").into())
    }
}

/// The broker of a run: the one that `--broker` names, else the embedded double on a free port.
pub struct RunBroker {
    pub url: String,
    /// The double; it stops when this is dropped.
    pub embedded: Option<Broker>,
}

impl RunBroker {
    pub async fn from_args(args: &Args) -> Result<Self, Failure> {
        if let Some(url) = args.value("broker") {
            println!("broker: {url}");
            return Ok(Self { url: url.to_owned(), embedded: None });
        }
        let broker = Broker::builder().engine(EngineProfile::robustmq_with_search()).start().await?;
        println!("broker: {} (embedded; pass --broker mq9://… for a real one)", broker.url());
        Ok(Self { url: broker.url(), embedded: Some(broker) })
    }
}

/// A directory for this run, removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Another process of this program, or of an example beside it. It is killed when dropped.
pub struct Process {
    pub child: Child,
    pub lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program again with other arguments.
    pub fn again(args: &[&str]) -> Result<Self, Failure> {
        Self::start(std::env::current_exe()?, args)
    }

    /// Starts the example `name`, building it first when it has not been.
    pub fn example(name: &str, args: &[&str]) -> Result<Self, Failure> {
        let path = std::env::current_exe()?.with_file_name(name);
        if !path.exists() {
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            let built = StdCommand::new(cargo).args(["build", "--quiet", "--example", name]).status()?;
            if !built.success() || !path.exists() {
                return Err(format!("the example {name} is not built: cargo build --examples").into());
            }
        }
        Self::start(path, args)
    }

    fn start(program: PathBuf, args: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(program).args(args).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or("the process has no output")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// Waits for the end of the process, which must be a success.
    pub async fn succeed(&mut self, who: &str) -> Result<(), Failure> {
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("{who} failed: {status}").into()) }
    }
}

/// Asks a process to end, as a supervisor does: SIGTERM.
pub fn terminate(child: &Child) -> Result<(), Failure> {
    if !cfg!(unix) {
        return Err("only a unix process can be sent SIGTERM".into());
    }
    let id = child.id().ok_or("the process has ended already")?;
    match StdCommand::new("kill").args(["-TERM", &id.to_string()]).status()?.success() {
        true => Ok(()),
        false => Err("the process could not be sent SIGTERM".into()),
    }
}
