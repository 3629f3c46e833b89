//! Whether a broker can be used, question by question.

use std::time::{Duration, Instant};

use agentchat_core::doctor::Report;
use mq9_client::{
    Client, ConnectOptions, CreateMailbox, DiscoverQuery, Error, ErrorKind, FetchOptions, Lifetime, Message,
    Mq9Uri, Reconnect,
};

use crate::section::Mq9Section;

/// Asks the broker at `url` what an agent needs of it. Each question is one check: `url`, `tls`, `broker`
/// (reached, and let in), `mq9` (it speaks the protocol), `mailbox` (one is made, written and read), and
/// `registry`. A question that depends on one that failed is not asked.
///
/// No agent's inbox is read. The mailbox of the check has a name that nobody can guess and expires after a
/// minute. Each step waits as long as `options` let a request wait. Neither a password nor the name of a
/// mailbox is in the report.
///
/// ```no_run
/// # async fn example() {
/// use mq9_client::ConnectOptions;
///
/// let report = transport_mq9::doctor::run("mq9://localhost", ConnectOptions::new()).await;
/// print!("{report}");
/// std::process::exit(report.exit_code().into());
/// # }
/// ```
pub async fn run(url: &str, options: ConnectOptions) -> Report {
    let mut report = Report::new();
    let uri: Mq9Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => {
            report.fail("url", error.to_string());
            return report;
        }
    };
    report.ok("url", format!("the broker is {}", uri.server()));
    let local = matches!(uri.host(), "localhost" | "127.0.0.1" | "[::1]" | "::1");
    match (uri.requires_tls(), local) {
        (true, _) => report.ok("tls", "TLS is on, and the certificate is checked"),
        (false, true) => report.ok("tls", "TLS is off, on this host alone"),
        (false, false) => report
            .warn("tls", "TLS is off: messages, and the names that guard inboxes, can be read on the way"),
    };
    let begun = Instant::now();
    let client = match options.with_reconnect(Reconnect::Close).connect(url).await {
        Ok(client) => client,
        Err(error) => {
            refused(&mut report, &error);
            return report;
        }
    };
    report.ok("broker", format!("connected in {} ms", begun.elapsed().as_millis()));
    report.ok("mq9", "mq9 commands are answered");
    let begun = Instant::now();
    match mailbox(&client).await {
        Ok(()) => report.ok(
            "mailbox",
            format!("a mailbox was made, written and read in {} ms", begun.elapsed().as_millis()),
        ),
        Err(error) => report.fail("mailbox", format!("a mailbox cannot be used: {error}")),
    };
    match registry(&client).await {
        Ok((true, agents)) => report.ok("registry", format!("the registry lists {agents} and searches")),
        Ok((false, agents)) => report.warn(
            "registry",
            format!(
                "the registry lists {agents} and does not search: agents are found by name, tag and text"
            ),
        ),
        Err(error) => report.fail("registry", format!("the registry does not answer: {error}")),
    };
    let _ = client.close().await;
    report
}

/// The same of the broker that a host's configuration names, with the login that it gives. That none is named, or
/// that the section cannot be used, is in the report.
pub async fn run_section(section: &Mq9Section) -> Report {
    match section.broker() {
        Ok(Some((url, options))) => run(url, options).await,
        Ok(None) => {
            let mut report = Report::new();
            report.fail("url", "neither MQ9_URL nor mq9.broker is set: mq9 is off");
            report
        }
        Err(error) => {
            let mut report = Report::new();
            report.fail("url", error.to_string());
            report
        }
    }
}

/// How connecting ended tells how far it came.
fn refused(report: &mut Report, error: &Error) {
    match error.kind() {
        ErrorKind::NotMq9 => {
            report.ok("broker", "connected");
            report.fail("mq9", format!("it speaks NATS and not mq9: {error}"));
        }
        ErrorKind::Unauthorized => {
            report.fail("broker", format!("it is reached and lets nobody in: {error}"));
        }
        _ => {
            report.fail("broker", error.to_string());
        }
    }
}

async fn mailbox(client: &Client) -> std::result::Result<(), String> {
    let mailbox = CreateMailbox::unnamed().with_lifetime(Lifetime::For(LIFE));
    let said = |error: Error| error.to_string();
    let mailbox = client.create_mailbox(mailbox).await.map_err(said)?;
    client.send(&mailbox, &Message::new(WORDS)).await.map_err(said)?;
    let found = client.fetch(&mailbox, &FetchOptions::stateless()).await.map_err(said)?;
    match found.first() {
        Some(message) if message.payload == WORDS => Ok(()),
        Some(_) => Err("what was read is not what was written".to_owned()),
        None => Err("what was written is not there".to_owned()),
    }
}

async fn registry(client: &Client) -> mq9_client::Result<(bool, String)> {
    let found = client.discover(&DiscoverQuery::all().with_limit(MANY)).await?;
    let agents = match found.agents.len() {
        1 => "1 agent".to_owned(),
        count if count < MANY as usize => format!("{count} agents"),
        _ => format!("{MANY} agents or more"),
    };
    Ok((client.can_search().await?, agents))
}

const WORDS: &str = "a doctor's check";
const LIFE: Duration = Duration::from_secs(60);
const MANY: u32 = 100;
