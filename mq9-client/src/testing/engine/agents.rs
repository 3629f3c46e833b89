//! The registry: REGISTER, UNREGISTER, REPORT and DISCOVER.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::request::{
    AgentDiscoverReq, AgentRegisterReq, AgentReportReq, AgentUnregisterReq, parse, parse_or_default,
};
use super::{Rules, card, reply};
use crate::ranking;

/// The registered agents, by name.
#[derive(Default)]
pub(crate) struct Agents(BTreeMap<String, Agent>);

struct Agent {
    /// As registered: a re-serialised card, a payload string, or (documented rules) the whole body.
    info: String,
    /// Documented rules only: the routing identifier beside the name.
    mailbox: Option<String>,
    /// Present for what search finds.
    indexed: Option<Indexed>,
}

struct Indexed {
    name: String,
    description: String,
    text: String,
}

/// A command's reply, and whether it changed the registry.
type Done = Result<(Bytes, bool), String>;

impl Agents {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn register(&mut self, body: &[u8], rules: Rules) -> Done {
        if body.is_empty() {
            return Err("payload must not be empty".into());
        }
        match rules {
            Rules::RobustMq => self.register_strict(body),
            Rules::Documented => self.register_any(body),
        }
    }

    /// A strict card is stored re-serialised, `{name, payload}` verbatim. A name that is taken stays as it
    /// is, and the reply is success all the same.
    fn register_strict(&mut self, body: &[u8]) -> Done {
        let (name, info) = match card::parse(body) {
            Some(card) => {
                let mut info = Vec::new();
                reply::json(&mut info, &card);
                (card.name, String::from_utf8(info).unwrap_or_default())
            }
            None => {
                let pair: AgentRegisterReq = parse(body, "invalid AGENT.REGISTER payload: ")?;
                (pair.name, pair.payload)
            }
        };
        if info.is_empty() {
            return Err("agent_info must not be empty".into());
        }
        if self.0.contains_key(&name) {
            return Ok((reply::done(), false));
        }
        let indexed = card::parse(info.as_bytes()).map(|card| Indexed {
            text: card.search_text(),
            name: card.name,
            description: card.description,
        });
        self.0.insert(name, Agent { info, mailbox: None, indexed });
        Ok((reply::done(), true))
    }

    /// Any object with a `name` or a `mailbox`, kept as it came; registering again replaces it.
    fn register_any(&mut self, body: &[u8]) -> Done {
        let body_read = Opaque::parse(body, "AGENT.REGISTER")?;
        let indexed = Indexed {
            name: body_read.name.clone().unwrap_or_default(),
            description: body_read.description().to_owned(),
            text: body_read.search_text(),
        };
        let name = body_read.name.or_else(|| body_read.mailbox.clone()).unwrap_or_default();
        let info = String::from_utf8_lossy(body).into_owned();
        self.0.insert(name, Agent { info, mailbox: body_read.mailbox, indexed: Some(indexed) });
        Ok((reply::done(), true))
    }

    pub(crate) fn unregister(&mut self, body: &[u8], rules: Rules) -> Done {
        let removed = match rules {
            Rules::RobustMq => {
                let request: AgentUnregisterReq = parse(body, "invalid AGENT.UNREGISTER payload: ")?;
                if request.name.is_empty() {
                    return Err("agent name must not be empty".into());
                }
                self.0.remove(&request.name).is_some()
            }
            Rules::Documented => {
                let request = Opaque::parse(body, "AGENT.UNREGISTER")?;
                let before = self.0.len();
                self.0.retain(|name, agent| {
                    request.name.as_ref() != Some(name)
                        && (request.mailbox.is_none() || agent.mailbox != request.mailbox)
                });
                self.0.len() < before
            }
        };
        Ok((reply::done(), removed))
    }

    /// Checks a status report. Nothing on mq9 shows it again, so nothing is kept.
    pub(crate) fn report(body: &[u8], rules: Rules) -> Result<Bytes, String> {
        if rules == Rules::Documented {
            return Opaque::parse(body, "AGENT.REPORT").map(|_| reply::done());
        }
        let request: AgentReportReq = parse(body, "invalid AGENT.REPORT payload: ")?;
        if request.name.is_empty() {
            return Err("agent name must not be empty".into());
        }
        Ok(reply::done())
    }

    /// Lists everything, or searches. A list ignores `limit` and `page`; a search obeys them.
    pub(crate) fn discover(&self, body: &[u8], rules: Rules, search: bool) -> Result<Bytes, String> {
        let request: AgentDiscoverReq = parse_or_default(body, "invalid AGENT.DISCOVER payload: ")?;
        let given = |query: &Option<String>| query.clone().filter(|query| !query.is_empty());
        let Some(query) = given(&request.semantic).or_else(|| given(&request.text)) else {
            return Ok(reply::agents(self.0.iter().map(|(name, agent)| agent.listed(name, rules))));
        };
        if !search {
            return Err(NO_SEARCH.into());
        }
        let limit = request.limit.unwrap_or(20) as usize;
        let skipped = (request.page.unwrap_or(1).max(1) as usize - 1).saturating_mul(limit);
        let found: Vec<(&String, &Agent, &Indexed)> = self
            .0
            .iter()
            .filter_map(|(key, agent)| agent.indexed.as_ref().map(|indexed| (key, agent, indexed)))
            .collect();
        let texts: Vec<&str> = found.iter().map(|(_, _, indexed)| indexed.text.as_str()).collect();
        let ranked = ranking::rank(&query, &texts);
        let page = ranked.iter().skip(skipped).take(limit).map(|(at, _)| found[*at]);
        Ok(reply::agents(page.map(|(key, agent, indexed)| match rules {
            Rules::RobustMq => agent.found(key, indexed),
            Rules::Documented => agent.listed(key, rules),
        })))
    }
}

impl Agent {
    fn listed(&self, name: &str, rules: Rules) -> Vec<u8> {
        if rules == Rules::Documented {
            return self.info.clone().into_bytes();
        }
        let mut item = Vec::with_capacity(self.info.len() + 64);
        reply::json(&mut item, &Listed { name, agent_info: &self.info });
        item
    }

    fn found(&self, key: &str, indexed: &Indexed) -> Vec<u8> {
        let mut item = Vec::with_capacity(self.info.len() + 128);
        let Indexed { name, description, .. } = indexed;
        reply::json(&mut item, &Found { agent_id: key, name, description, agent_info: &self.info });
        item
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    agent_info: &'a str,
}

#[derive(Serialize)]
struct Found<'a> {
    agent_id: &'a str,
    name: &'a str,
    description: &'a str,
    agent_info: &'a str,
}

/// What the documented rules look at in a body that is otherwise opaque.
struct Opaque {
    name: Option<String>,
    mailbox: Option<String>,
    fields: Map<String, Value>,
}

impl Opaque {
    /// Reads an object that must name an agent or its mailbox.
    fn parse(body: &[u8], command: &str) -> Result<Self, String> {
        let context = format!("invalid {command} payload: ");
        let fields: Map<String, Value> = parse(body, &context)?;
        let text = |key| fields.get(key).and_then(Value::as_str).map(str::to_owned);
        let (name, mailbox) = (text("name"), text("mailbox"));
        if name.is_none() && mailbox.is_none() {
            return Err(format!("{context}missing field `mailbox`"));
        }
        Ok(Self { name, mailbox, fields })
    }

    fn description(&self) -> &str {
        self.fields.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    fn search_text(&self) -> String {
        let mut words = Vec::new();
        for key in ["name", "description", "tags", "skills", "payload"] {
            if let Some(value) = self.fields.get(key) {
                collect_text(value, &mut words);
            }
        }
        words.join(" ")
    }
}

fn collect_text<'a>(value: &'a Value, words: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => words.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_text(item, words)),
        Value::Object(fields) => fields.values().for_each(|field| collect_text(field, words)),
        _ => {}
    }
}

const NO_SEARCH: &str = "Grpc call of the node failed,Grpc status was code: 'Internal error', message: \
    \"agent search is not enabled in this build (missing the 'vector-search' feature)\"";
