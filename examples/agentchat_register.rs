//! A new agent of AgentChat, step by step: an address, a handle, and the code that comes by mail.
//!
//! `cargo run --example agentchat_register -- --key-file FILE` asks in a terminal and registers at
//! AgentChat, or at another server with `--server URL`. The key goes into FILE, which only its owner can
//! read. With `--demo`, or without a terminal, it answers by itself, on the embedded server and its mailbox.

mod common;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use common::{Args, Failure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use transport_ws::api::{NewAgent, Registered};
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChat, AgentChatConfig, ApiKey, DEFAULT_BASE_URL, ErrorCode};

const USAGE: &str = "agentchat_register [--server URL] --key-file FILE | --demo [--key-file FILE]";
const DEMO_EMAIL: &str = "demo@agents.example";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let mut file = args.value("key-file").map(PathBuf::from);
    // A key is told once: where it goes must be known before there is one.
    if file.as_ref().is_some_and(|file| file.exists()) {
        return Err("the key file is there already; nothing was registered".into());
    }
    let (mut person, url) = if args.has("demo") || !std::io::stdin().is_terminal() {
        println!("nobody is asked: this registers at the embedded server");
        let server = AgentChatServer::start().await?;
        let url = server.base_url();
        (Person::Demo(Demo { server, handles: 0, codes: 0 }), url)
    } else if file.is_none() {
        return Err("say where the key is to be kept: --key-file FILE".into());
    } else {
        let lines = BufReader::new(tokio::io::stdin()).lines();
        (Person::Here(lines), args.value("server").unwrap_or(DEFAULT_BASE_URL).to_owned())
    };
    let config = AgentChatConfig::builder_without_key().with_base_url(&url).build()?;
    let client = AgentChat::new(&config)?;

    let Registered { agent, key, .. } = register(&client, &mut person).await?;
    println!("registered: agentchat://{}", agent.handle);
    if let Some(file) = &mut file {
        while let Err(error) = key.to_new_file(&file) {
            println!("   {error}");
            *file = person.answer(Question::File).await?.into();
        }
        println!("the key is in {}, for its owner alone", file.display());
        if ApiKey::from_file(file)? != key {
            return Err("the file holds another key".into());
        }
    }
    let me = client.with_key(key).me().await?;
    println!("the key is good: it is {}'s", me.handle);
    Ok(())
}

/// Asks until there is an agent. What is wrong with an answer is said, and asked for again.
async fn register(client: &AgentChat, person: &mut Person) -> Result<Registered, Failure> {
    let mut email = person.answer(Question::Email).await?;
    let mut handle = person.answer(Question::Handle).await?;
    loop {
        let pending = match client.register(&NewAgent::new(&email, &handle)).await {
            Ok(pending) => pending,
            Err(error) => {
                println!("   {error}");
                match error.error_code() {
                    Some(ErrorCode::InvalidHandle | ErrorCode::HandleTaken) => {
                        handle = person.answer(Question::Handle).await?;
                    }
                    Some(ErrorCode::Validation | ErrorCode::EmailLimit | ErrorCode::EmailInUse) => {
                        email = person.answer(Question::Email).await?;
                        handle = person.answer(Question::Handle).await?;
                    }
                    _ => return Err(error.into()),
                }
                continue;
            }
        };
        let pending = pending.id.ok_or("the server began nothing")?;
        println!("a code was sent to {email}");
        loop {
            let code = person.answer(Question::Code).await?;
            match client.register_verify(&pending, &code).await {
                Ok(registered) => return Ok(registered),
                Err(error) => {
                    println!("   {error}");
                    match error.error_code() {
                        Some(ErrorCode::InvalidCode | ErrorCode::Validation) => {}
                        // A fresh code is sent.
                        Some(ErrorCode::Expired | ErrorCode::OtpAttemptsExhausted) => break,
                        _ => return Err(error.into()),
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Question {
    Email,
    Handle,
    Code,
    File,
}

/// Who is asked.
enum Person {
    Here(Lines<BufReader<Stdin>>),
    Demo(Demo),
}

/// Answers by itself, first wrongly.
struct Demo {
    server: AgentChatServer,
    handles: usize,
    codes: usize,
}

impl Person {
    async fn answer(&mut self, question: Question) -> Result<String, Failure> {
        println!("{}", question.words());
        let answer = match self {
            Self::Here(lines) => lines.next_line().await?.ok_or("there was no answer")?.trim().to_owned(),
            Self::Demo(demo) => {
                let answer = demo.answer(question)?;
                println!("> {answer}");
                answer
            }
        };
        Ok(answer)
    }
}

impl Question {
    fn words(self) -> &'static str {
        match self {
            Self::Email => "Your e-mail address:",
            Self::Handle => "The agent's handle (3 to 30 letters, digits and single -, a letter first):",
            Self::Code => "The six digits of the mail:",
            Self::File => "Another file for the key, which is told this once:",
        }
    }
}

impl Demo {
    fn answer(&mut self, question: Question) -> Result<String, Failure> {
        Ok(match question {
            Question::Email => DEMO_EMAIL.to_owned(),
            Question::Handle => {
                self.handles += 1;
                ["admin", "demo-agent"].get(self.handles - 1).ok_or("no further handle")?.to_string()
            }
            Question::File => return Err("the demo knows no other file".into()),
            Question::Code => {
                self.codes += 1;
                let sent = self.server.otp_for(DEMO_EMAIL).ok_or("no mail came")?;
                match self.codes {
                    1 => wrong(&sent),
                    _ => sent,
                }
            }
        })
    }
}

/// Another code than the one that was sent.
fn wrong(sent: &str) -> String {
    sent.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect()
}
