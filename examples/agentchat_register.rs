//! An agent of AgentChat, set up step by step: a new one by an address, a handle, and the code that comes by
//! mail; or one whose key is at hand, by pasting the key.
//!
//! `cargo run --example agentchat_register -- --key-file FILE` asks in a terminal and works with
//! AgentChat, or another server with `--server URL`. The key goes into FILE, which only its owner can
//! read; `agentchat.api_key_file` of a configuration, or `ApiKey::from_file`, names it then. With `--demo`, or
//! without a terminal, it answers by itself, on the embedded server and its mailbox, both ways.

mod common;
#[path = "common/wizard.rs"]
mod wizard;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use common::{Args, Failure, Scratch};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChat, AgentChatConfig, DEFAULT_BASE_URL};
use wizard::{Person, Question, set_up};

const USAGE: &str = "agentchat_register [--server URL] --key-file FILE | --demo [--key-file FILE]";
const DEMO_EMAIL: &str = "demo@agents.example";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let file = args.value("key-file").map(PathBuf::from);
    if args.has("demo") || !std::io::stdin().is_terminal() {
        return demo(file).await;
    }
    let file = file.ok_or("say where the key is to be kept: --key-file FILE")?;
    let client = client(args.value("server").unwrap_or(DEFAULT_BASE_URL))?;
    let mut here = Here(BufReader::new(tokio::io::stdin()).lines());
    set_up(&client, &mut here, Some(file)).await.map(drop)
}

fn client(url: &str) -> Result<AgentChat, Failure> {
    Ok(AgentChat::new(&AgentChatConfig::builder_without_key().with_base_url(url).build()?)?)
}

/// Both ways, on the embedded server, with answers that are wrong at first.
async fn demo(file: Option<PathBuf>) -> Result<(), Failure> {
    println!("nobody is asked: this is the embedded server\n");
    let (server, scratch) = (AgentChatServer::start().await?, Scratch::new("agentchat-register")?);
    let client = client(&server.base_url())?;
    let file = file.unwrap_or_else(|| scratch.file("new.key"));
    let mut person = Demo::new(&server, &["new", DEMO_EMAIL, "admin", "demo-agent", WRONG, SENT]);
    set_up(&client, &mut person, Some(file)).await?;

    println!("\nand one whose key is at hand\n");
    let key = server.agent("at-hand");
    let mut person = Demo::new(&server, &["key", "ac_cut_short", "ac_0123456789_of_nobody", &key]);
    let handle = set_up(&client, &mut person, Some(scratch.file("pasted.key"))).await?;
    if handle == "at-hand" { Ok(()) } else { Err("it is another agent's key".into()) }
}

/// Whoever sits at the terminal.
struct Here(Lines<BufReader<Stdin>>);

impl Person for Here {
    async fn answer(&mut self, question: Question) -> Result<String, Failure> {
        println!("{}", words(question));
        Ok(self.0.next_line().await?.ok_or("there was no answer")?.trim().to_owned())
    }

    fn told(&mut self, line: &str) {
        println!("   {line}");
    }
}

/// Answers by itself.
struct Demo<'a> {
    server: &'a AgentChatServer,
    answers: VecDeque<String>,
}

impl<'a> Demo<'a> {
    fn new(server: &'a AgentChatServer, answers: &[&str]) -> Self {
        Self { server, answers: answers.iter().map(|&answer| answer.to_owned()).collect() }
    }
}

impl Person for Demo<'_> {
    async fn answer(&mut self, question: Question) -> Result<String, Failure> {
        println!("{}", words(question));
        let answer = self.answers.pop_front().ok_or("the demo has no further answer")?;
        let sent = || self.server.otp_for(DEMO_EMAIL).ok_or("no mail came");
        let answer = match answer.as_str() {
            SENT => sent()?,
            WRONG => sent()?.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect(),
            _ => answer,
        };
        println!("> {}", if question == Question::Key { "***" } else { &answer });
        Ok(answer)
    }

    fn told(&mut self, line: &str) {
        println!("   {line}");
    }
}

fn words(question: Question) -> &'static str {
    match question {
        Question::Way => "A new agent, or one whose key you have? (new, key)",
        Question::Email => "Your e-mail address:",
        Question::Handle => "The agent's handle (3 to 30 letters, digits and single -, a letter first):",
        Question::Code => "The six digits of the mail:",
        Question::Key => "The key:",
        Question::File => "Another file for the key, which is told this once:",
    }
}

/// Stands for the code that was sent, and for another one.
const SENT: &str = "the code";
const WRONG: &str = "another code";
