//! Messages as they are written.

use serde_json::{Map, Value, json};

use super::Engine;
use super::model::{AgentIx, EnvIx, Envelope, MsgIx};

impl Engine {
    /// What every form of a message has.
    pub(super) fn row(&self, message: MsgIx) -> Map<String, Value> {
        let message = &self.messages[message];
        let mut row = Map::new();
        row.insert("id".into(), json!(message.id));
        row.insert("conversation_id".into(), json!(self.conversations[message.conversation].id));
        row.insert("client_msg_id".into(), json!(message.client_msg_id));
        row.insert("seq".into(), json!(message.seq));
        row.insert("type".into(), json!(message.kind));
        row.insert("content".into(), message.content.clone());
        row.insert("metadata".into(), message.metadata.clone());
        row.insert("created_at".into(), json!(message.created_at.database()));
        row.insert("sender".into(), json!(self.handle_of(message.sender)));
        row
    }

    /// A message as its recipient or a reader of the history gets it, without delivery columns.
    pub(super) fn delivered_row(&self, message: MsgIx) -> Map<String, Value> {
        let mut row = self.row(message);
        if self.switches.context {
            row.insert("context".into(), self.context_of(message));
        }
        row
    }

    /// A message with the columns of one delivery, or of none.
    pub(super) fn history_row(&self, message: MsgIx, envelope: Option<EnvIx>) -> Value {
        let mut row = self.delivered_row(message);
        let envelope = envelope.map(|envelope| &self.envelopes[envelope]);
        row.insert("delivery_id".into(), json!(envelope.map(|envelope| &envelope.id)));
        status_columns(&mut row, envelope);
        Value::Object(row)
    }

    /// The frame of the connect drain, and of `sync`'s rows.
    pub(super) fn stored_row(&self, envelope: EnvIx) -> Value {
        self.history_row(self.envelopes[envelope].message, Some(envelope))
    }

    /// The answer to `read`: the status without the delivery's identifier.
    pub(super) fn read_row(&self, message: MsgIx, reader: AgentIx) -> Value {
        let mut row = self.row(message);
        let envelope = self.messages[message].envelopes.get(&reader).map(|ix| &self.envelopes[*ix]);
        status_columns(&mut row, envelope);
        Value::Object(row)
    }
}

fn status_columns(row: &mut Map<String, Value>, envelope: Option<&Envelope>) {
    row.insert("status".into(), json!(envelope.map_or("stored", |envelope| envelope.status.name())));
    let delivered = envelope.and_then(|envelope| envelope.delivered_at);
    row.insert("delivered_at".into(), json!(delivered.map(|at| at.database())));
    let read = envelope.and_then(|envelope| envelope.read_at);
    row.insert("read_at".into(), json!(read.map(|at| at.database())));
}

/// The frame around an event.
pub(super) fn frame(kind: &str, payload: impl Into<Value>) -> Value {
    json!({ "type": kind, "payload": payload.into() })
}
