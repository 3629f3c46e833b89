//! Setting up an agent of AgentChat: a new one, or one whose key is at hand.

use std::error::Error;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentchat_core::ErrorKind;
use transport_ws::api::{NewAgent, Registered};
use transport_ws::{AgentChat, ApiError, ApiKey, ErrorCode};

type Failure = Box<dyn Error + Send + Sync>;

/// Who is asked.
pub trait Person {
    /// What the person answers; an error ends everything.
    fn answer(&mut self, question: Question) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Something to read.
    fn told(&mut self, line: &str);
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Way,
    Email,
    Handle,
    Code,
    Key,
    File,
}

/// Asks until there is an agent whose key the server takes, and keeps the key in a new file, when one is named,
/// that only its owner can read. Nothing is written before the server has taken the key. Says whose it is.
pub async fn set_up(
    client: &AgentChat,
    person: &mut (impl Person + Send),
    file: Option<PathBuf>,
) -> Result<String, Failure> {
    // A key is told once: where it goes must be known before there is one.
    if file.as_ref().is_some_and(|file| file.exists()) {
        return Err("the key file is there already; nothing was done".into());
    }
    let (key, handle) = loop {
        match person.answer(Question::Way).await?.as_str() {
            "new" => break register(client, person).await?,
            "key" => break paste(client, person).await?,
            other => person.told(&format!("{other:?} is neither new nor key")),
        }
    };
    if let Some(file) = file {
        keep(&key, file, person).await?;
    }
    let me = client.clone().with_key(key).me().await?;
    if me.handle != handle {
        return Err("the key is that of another account".into());
    }
    person.told(&format!("the key is good: it is @{handle}'s"));
    Ok(handle)
}

/// A new agent. What is wrong with an answer is said, and asked for again.
async fn register(
    client: &AgentChat,
    person: &mut (impl Person + Send),
) -> Result<(ApiKey, String), Failure> {
    let mut email = person.answer(Question::Email).await?;
    let mut handle = person.answer(Question::Handle).await?;
    loop {
        let pending = match client.register(&NewAgent::new(&email, &handle)).await {
            Ok(pending) => pending,
            Err(error) => {
                person.told(&error.to_string());
                match error.error_code() {
                    // The next code to this address is sent after a while.
                    Some(ErrorCode::OtpLimited)
                        if error.retry_after().is_some_and(|wait| wait <= LONGEST_WAIT) =>
                    {
                        let wait = error.retry_after().unwrap_or_default();
                        person.told(&format!("waiting {} s for that", wait.as_secs()));
                        tokio::time::sleep(wait).await;
                    }
                    Some(ErrorCode::InvalidHandle | ErrorCode::HandleTaken) => {
                        handle = person.answer(Question::Handle).await?;
                    }
                    code if refused_here(&error) || code.as_ref().is_some_and(is_of_both) => {
                        email = person.answer(Question::Email).await?;
                        handle = person.answer(Question::Handle).await?;
                    }
                    _ => return Err(error.into()),
                }
                continue;
            }
        };
        let pending = pending.id.filter(|id| !id.is_empty()).ok_or("the server began nothing")?;
        person.told(&format!("a code was sent to {email}"));
        loop {
            let code = person.answer(Question::Code).await?;
            match client.register_verify(&pending, &code).await {
                Ok(Registered { agent, key, .. }) => {
                    person.told(&format!("registered: agentchat://{}", agent.handle));
                    return Ok((key, agent.handle));
                }
                Err(error) => {
                    person.told(&error.to_string());
                    match error.error_code() {
                        Some(ErrorCode::InvalidCode | ErrorCode::Validation) => {}
                        None if refused_here(&error) => {}
                        // A fresh code is sent.
                        Some(ErrorCode::Expired | ErrorCode::OtpAttemptsExhausted) => break,
                        _ => return Err(error.into()),
                    }
                }
            }
        }
    }
}

/// Who waits for a code waits a minute; who has had too many today is told so and ends.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

fn is_of_both(code: &ErrorCode) -> bool {
    matches!(code, ErrorCode::Validation | ErrorCode::EmailLimit | ErrorCode::EmailInUse)
}

/// Whether an answer was found wrong without asking the server, which costs no attempt.
fn refused_here(error: &ApiError) -> bool {
    error.failure() == transport_ws::http::Failure::Invalid
}

/// An agent whose key is at hand: the server says whose it is.
async fn paste(client: &AgentChat, person: &mut (impl Person + Send)) -> Result<(ApiKey, String), Failure> {
    loop {
        let key = match ApiKey::new(person.answer(Question::Key).await?) {
            Ok(key) => key,
            Err(error) => {
                person.told(&error.to_string());
                continue;
            }
        };
        match client.clone().with_key(key.clone()).me().await {
            Ok(me) => return Ok((key, me.handle)),
            Err(error) if error.kind() == ErrorKind::Unauthorized => person.told(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Into a new file, whatever its name must be for that.
async fn keep(key: &ApiKey, mut file: PathBuf, person: &mut (impl Person + Send)) -> Result<(), Failure> {
    while let Err(error) = key.to_new_file(&file) {
        person.told(&error.to_string());
        file = person.answer(Question::File).await?.into();
    }
    if ApiKey::from_file(&file)? != *key {
        return Err("the file holds another key".into());
    }
    person.told(&format!("the key is in {}, for its owner alone", Path::display(&file)));
    Ok(())
}
