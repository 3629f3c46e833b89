//! The directory on mq9: a registry entry others can search, and a status message beside it with the
//! card's exact bytes, the inbox and the heartbeat.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use a2a_envelope::RawCard;
use agentchat_core::{
    Address, AgentCard, AgentEntry, AgentStatus, Discovered, Error, ErrorKind, Heartbeat, Query, Result,
    SearchBy, SearchRan,
};
use futures_util::{StreamExt, stream};
use mq9_client::{Client, DiscoverQuery, Registration, SearchKind};

use crate::address::Broker;
use crate::map_error;

/// Puts `card` into the registry, replacing whoever holds its name.
pub(crate) async fn register(client: &Client, card: &AgentCard, address: &Address) -> Result<()> {
    let failed = |cause| map_error::error("register", cause);
    let registration = Registration::card(card.name(), findable(card, address)).map_err(failed)?;
    client.register(&registration).await.map_err(failed)?;
    client.publish_status(&status(card, address, "registered", Duration::ZERO)).await.map_err(failed)
}

/// Takes `name` out of the registry and marks its status, so that a stranger who takes the name later is
/// not looked for in the old inbox.
pub(crate) async fn unregister(client: &Client, name: &str) -> Result<()> {
    let failed = |cause| map_error::error("unregister", cause);
    client.unregister(name).await.map_err(failed)?;
    client.publish_status(&mq9_client::AgentStatus::new(name, RETIRED, now())).await.map_err(failed)
}

/// As [`unregister`] for the agent that registered `card`, unless another one holds the name by now.
pub(crate) async fn unregister_own(
    client: &Client,
    broker: &Broker,
    card: &AgentCard,
    address: &Address,
) -> Result<()> {
    if is_replaced(client, broker, card, address, "unregister").await? {
        return Ok(());
    }
    unregister(client, card.name()).await
}

/// The names under which `address` stands in the registry.
pub(crate) async fn names_of(client: &Client, broker: &Broker, address: &Address) -> Result<Vec<String>> {
    let all = DiscoverQuery::all().with_limit(u32::MAX);
    let listed = client.discover(&all).await.map_err(|cause| map_error::error("unregister", cause))?;
    let own = |entry: &&mq9_client::AgentEntry| {
        reachable(broker, entry.mailbox().map(|uri| uri.to_string())).as_ref() == Some(address)
    };
    Ok(listed.agents.iter().filter(own).map(|entry| entry.name.clone()).collect())
}

/// Reports that the agent behind `card` is alive.
///
/// # Errors
/// [`ErrorKind::Conflict`] when another agent has registered the name since: its status would be lost.
pub(crate) async fn report(
    client: &Client,
    broker: &Broker,
    card: &AgentCard,
    address: &Address,
    heartbeat: &Heartbeat,
) -> Result<()> {
    // The status last said tells cheaply whether there is another agent; the registry decides.
    let last = status_of(client, card.name(), "report").await?;
    let said = last.and_then(|status| reachable(broker, status.mailbox));
    if said.is_some_and(|said| said != *address)
        && is_replaced(client, broker, card, address, "report").await?
    {
        let what = "another agent has registered this name since; register again to take it back";
        return Err(Error::new(ErrorKind::Conflict, "report", what));
    }
    let mut status = status(card, address, &heartbeat.status, heartbeat.interval)
        .with_work(heartbeat.active_tasks, f64::from(heartbeat.load));
    status.report_info = format!(
        r#"{{"status":{},"active_tasks":{},"load":{:.3}}}"#,
        serde_json::Value::from(heartbeat.status.as_str()),
        heartbeat.active_tasks,
        heartbeat.load
    );
    client.publish_status(&status).await.map_err(|cause| map_error::error("report", cause))
}

/// Asks the registry, then reads the status of each agent found.
pub(crate) async fn discover(client: &Client, broker: &Broker, query: &Query) -> Result<Discovered> {
    let failed = |cause| map_error::error("discover", cause);
    let asked = match &query.by {
        SearchBy::Name(name) => DiscoverQuery::name(name),
        SearchBy::Tag(tag) => DiscoverQuery::tag(tag),
        SearchBy::Text(text) => DiscoverQuery::text(text),
        SearchBy::Meaning(text) => DiscoverQuery::semantic(text),
        _ => DiscoverQuery::all(),
    };
    // The client takes no limit of 0.
    let limit = u32::try_from(query.limit).unwrap_or(u32::MAX).max(1);
    // Those that are not alive are left out only after their status is read.
    let asked = asked.with_limit(if query.alive_only { limit.max(MOST_STATUSES) } else { limit });
    let found = client.discover(&asked).await.map_err(failed)?;
    let ran = match found.ran {
        SearchKind::BrokerSemantic => SearchRan::NetworkMeaning,
        SearchKind::BrokerText => SearchRan::NetworkText,
        SearchKind::LocalText => SearchRan::LocalText,
        _ => SearchRan::Exact,
    };
    let entries = stream::iter(found.agents).map(|entry| describe(client, broker, entry));
    let mut agents = Vec::new();
    let mut entries = std::pin::pin!(entries.buffered(STATUSES_AT_ONCE));
    while agents.len() < query.limit
        && let Some(entry) = entries.next().await
    {
        let entry = entry?;
        if !query.alive_only || entry.status.as_ref().is_some_and(|status| status.alive) {
            agents.push(entry);
        }
    }
    Ok(Discovered::new(agents, ran))
}

async fn describe(client: &Client, broker: &Broker, entry: mq9_client::AgentEntry) -> Result<AgentEntry> {
    let listed = reachable(broker, entry.mailbox().map(|uri| uri.to_string()));
    let status = status_of(client, &entry.name, "discover").await?;
    let current = |status: &mq9_client::AgentStatus| {
        status.status != RETIRED && is_of_the_holder(broker, status, listed.as_ref())
    };
    let Some(status) = status.filter(current) else {
        return Ok(AgentEntry::new(entry.name, listed, entry.info));
    };
    let address = reachable(broker, status.mailbox.clone()).or(listed);
    let card = status.card.clone().map_or(entry.info, Into::into);
    let mut described = AgentEntry::new(entry.name, address, card);
    if status.interval > 0 {
        let interval = Duration::from_secs(status.interval);
        let age = Duration::from_secs(now().saturating_sub(status.at));
        described.status = Some(AgentStatus::new(&status.status, status.active_tasks, age, interval));
    }
    Ok(described)
}

async fn status_of(
    client: &Client,
    name: &str,
    operation: &'static str,
) -> Result<Option<mq9_client::AgentStatus>> {
    use mq9_client::ErrorKind as Mq9;
    match client.agent_status(name).await {
        // Anybody can write there, and register under any name. A status that cannot be read is none, nor
        // has one who goes by no name, or by one that is too long to ask for.
        Err(cause) if matches!(cause.kind(), Mq9::Protocol | Mq9::Invalid | Mq9::TooLarge) => Ok(None),
        status => status.map_err(|cause| map_error::error(operation, cause)),
    }
}

/// Whether a status was said by the agent that the registry entry leads to, and not by one whose name was
/// taken over and which goes on reporting.
fn is_of_the_holder(broker: &Broker, status: &mq9_client::AgentStatus, listed: Option<&Address>) -> bool {
    let said = reachable(broker, status.mailbox.clone());
    let (Some(listed), Some(said)) = (listed, said) else { return true };
    // A card may name an mq9 mailbox by itself; that is then what the registry shows.
    let on_card = || RawCard::new(status.card.clone()?).ok()?.mailbox();
    said == *listed || reachable(broker, on_card()).as_ref() == Some(listed)
}

/// Whether the registry shows another agent under the name of `card`. An entry without an address on this
/// broker could be anybody's, so it counts as this agent's own.
async fn is_replaced(
    client: &Client,
    broker: &Broker,
    card: &AgentCard,
    address: &Address,
    operation: &'static str,
) -> Result<bool> {
    let found = client.discover(&DiscoverQuery::name(card.name())).await;
    let found = found.map_err(|cause| map_error::error(operation, cause))?;
    let entry = found.agents.into_iter().next();
    let listed = entry.and_then(|entry| reachable(broker, Some(entry.mailbox()?.to_string())));
    let own = RawCard::new(findable(card, address)).ok().and_then(|card| reachable(broker, card.mailbox()));
    Ok(listed.is_some() && own.is_some() && listed != own)
}

/// The address of a mailbox as a registry entry tells it, if it is on this broker.
fn reachable(broker: &Broker, mailbox: Option<String>) -> Option<Address> {
    let mailbox = broker.mailbox_in(&mailbox?, "discover").ok()?;
    broker.address_of(&mailbox).ok()
}

/// The card with the agent's inbox among its interfaces, for clients that read nothing else. A card that
/// names an mq9 interface already, or is signed, is registered as it is.
fn findable(card: &AgentCard, address: &Address) -> bytes::Bytes {
    RawCard::new(card.document().clone())
        .and_then(|raw| raw.with_interface(address.as_str()))
        .map_or_else(|_| card.document().clone(), RawCard::into_bytes)
}

fn status(card: &AgentCard, address: &Address, word: &str, interval: Duration) -> mq9_client::AgentStatus {
    let status = mq9_client::AgentStatus::new(card.name(), word, now())
        .with_mailbox(address.as_str())
        .with_interval(interval);
    match std::str::from_utf8(card.document()) {
        Ok(text) => status.with_card(text),
        Err(_) => status,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The status of an agent that unregistered.
const RETIRED: &str = "retired";
/// How many statuses are read at a time.
const STATUSES_AT_ONCE: usize = 16;
/// How many agents are looked at, at least, when only those alive are wanted.
const MOST_STATUSES: u32 = 1_000;
