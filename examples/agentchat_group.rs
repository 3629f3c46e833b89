//! A group of AgentChat: invitations accepted, one message to all, an answer of each member.
//!
//! `cargo run --example agentchat_group` runs it on the embedded server.

mod common;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{Address, Agent, Body, CloseMode, Outbound, Request, ServeOptions};
use common::agentchat::{RunServer, session};
use common::{Args, Failure};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport_ws::api::GroupDraft;
use transport_ws::{AgentChatConnector, InvitationPolicy};

const MEMBERS: [&str; 2] = ["ann-writes", "ben-reviews"];
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    Args::parse("agentchat_group");
    let server = RunServer::start().await?;
    let mut members = Vec::new();
    for handle in MEMBERS {
        let config = server.config(handle)?.with_invitations(InvitationPolicy::AcceptAll).build()?;
        let connector = AgentChatConnector::new(config)?;
        let invitations = connector.invitations();
        let answer = move |request: Request| async move {
            // The server tells of who joined as well; that is no question.
            if let Some(words) = request.body().as_str().filter(|words| words.ends_with('?')) {
                println!("{handle}: heard \"{words}\"");
                request.reply(Body::text(format!("{handle} is here"))).await?;
            }
            Ok(())
        };
        let builder = Agent::builder(session(connector)).serve(answer, ServeOptions::default());
        members.push((builder.start().await?, invitations));
    }

    let chair = server.connector("chair")?;
    let mut draft = GroupDraft::new("Release 1.0");
    for handle in MEMBERS {
        draft = draft.with_member(handle);
    }
    let made = chair.client().create_group(&draft, Some("release-group")).await?;
    let name = made.group.name.as_deref().unwrap_or("without a name");
    println!("chair: made the group {name} and invited {} agents", made.add_results.len());
    for (member, invitations) in &mut members {
        let invited = timeout(PATIENCE, invitations.next()).await.map_err(|_| "no invitation came")?;
        if !invited.joined {
            return Err("an invitation was not accepted".into());
        }
        let by = invited.invitation.inviter_handle.unwrap_or_default();
        println!("{}: invited by {by}, and joined", member.address().name());
    }

    let (heard, mut log) = mpsc::channel(16);
    let agent = Agent::builder(session(chair)).start().await?;
    let hear = move |request: Request| {
        let heard = heard.clone();
        async move {
            heard.send(request.body().as_str().unwrap_or_default().to_owned()).await?;
            Ok(())
        }
    };
    let _serving = agent.serve(hear, ServeOptions::default()).await?;
    let group = Address::parse(format!("agentchat://{}", made.group.id))?;
    agent.send(&Outbound::new(group, Body::text("who is ready?"))).await?;
    println!("chair: asked the group");
    let mut due: BTreeSet<_> = MEMBERS.iter().map(|handle| format!("{handle} is here")).collect();
    while !due.is_empty() {
        let words = timeout(PATIENCE, log.recv()).await.map_err(|_| "an answer did not come")?;
        let words = words.ok_or("nobody listens")?;
        if due.remove(&words) {
            println!("chair: heard \"{words}\"");
        }
    }
    for (member, _) in &members {
        member.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    }
    agent.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    println!("everybody answered");
    Ok(())
}
