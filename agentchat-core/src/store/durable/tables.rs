//! The tables, and the work on them.

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::super::limits::{StoreLimits, nothing_to_park, other_content};
use super::super::types::{Cursor, ParkedReason, ParkedSend, SettledId, StoredSend, from_millis};
use super::fault::Fault;
use super::record::{decode_reason, decode_send, encode_reason, encode_send};
use crate::id::ClientMsgId;

/// Every table, open for writing within one transaction.
///
/// A method that refuses does so before it changes anything, because other work shares the transaction.
pub(super) struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    sends: Table<'t, u64, &'static [u8]>,
    places: Table<'t, &'static str, u64>,
    parked: Table<'t, u64, &'static [u8]>,
    cursors: Table<'t, &'static str, &'static [u8]>,
    settled: Table<'t, &'static str, (i64, u64)>,
    by_time: Table<'t, (i64, u64), &'static str>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            sends: transaction.open_table(SENDS)?,
            places: transaction.open_table(PLACES)?,
            parked: transaction.open_table(PARKED)?,
            cursors: transaction.open_table(CURSORS)?,
            settled: transaction.open_table(SETTLED)?,
            by_time: transaction.open_table(BY_TIME)?,
        })
    }

    pub(super) fn save(&mut self, send: &StoredSend, limits: &StoreLimits) -> Result<(), Fault> {
        let id = send.id().as_str();
        let place = match self.place(id)? {
            Some(place) => {
                if read_send(&self.sends, place)?.message != send.message {
                    return Err(other_content().into());
                }
                self.parked.remove(place)?;
                place
            }
            None => {
                let bytes = self.meta(SEND_BYTES)?;
                let (count, parked) = (as_count(self.sends.len()?), as_count(self.parked.len()?));
                limits.admit_send(send, count, bytes, parked)?;
                self.meta.insert(SEND_BYTES, bytes + send.size())?;
                let place = self.next()?;
                self.places.insert(id, place)?;
                place
            }
        };
        self.sends.insert(place, encode_send(send).as_slice())?;
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &ClientMsgId) -> Result<(), Fault> {
        let Some(place) = self.place(id.as_str())? else { return Ok(()) };
        let size = read_send(&self.sends, place)?.size();
        let bytes = self.meta(SEND_BYTES)?;
        self.meta.insert(SEND_BYTES, bytes.saturating_sub(size))?;
        self.places.remove(id.as_str())?;
        self.parked.remove(place)?;
        self.sends.remove(place)?;
        Ok(())
    }

    pub(super) fn park(&mut self, id: &ClientMsgId, reason: &ParkedReason) -> Result<(), Fault> {
        let place = self.place(id.as_str())?.ok_or_else(nothing_to_park)?;
        self.parked.insert(place, encode_reason(reason).as_slice())?;
        Ok(())
    }

    pub(super) fn unpark(&mut self, id: &ClientMsgId) -> Result<Option<StoredSend>, Fault> {
        let Some(place) = self.place(id.as_str())? else { return Ok(None) };
        let send = read_send(&self.sends, place)?;
        self.parked.remove(place)?;
        Ok(Some(send))
    }

    pub(super) fn set_cursor(
        &mut self,
        key: &str,
        cursor: &Cursor,
        limits: &StoreLimits,
    ) -> Result<(), Fault> {
        if self.cursors.get(key)?.is_none() {
            limits.admit_cursor(as_count(self.cursors.len()?))?;
        }
        self.cursors.insert(key, cursor.bytes().as_ref())?;
        Ok(())
    }

    pub(super) fn clear_cursor(&mut self, key: &str) -> Result<(), Fault> {
        self.cursors.remove(key)?;
        Ok(())
    }

    pub(super) fn settle(&mut self, id: &str, at: i64, limits: &StoreLimits) -> Result<(), Fault> {
        let former = self.settled.get(id)?.map(|place| place.value());
        if former.is_none_or(|(time, _)| time < at) {
            if let Some(former) = former {
                self.by_time.remove(former)?;
            }
            let place = (at, self.next()?);
            self.by_time.insert(place, id)?;
            self.settled.insert(id, place)?;
        }
        self.forget_before(limits.settled_horizon(at))?;
        while as_count(self.settled.len()?) > limits.max_settled {
            self.forget_oldest()?;
        }
        Ok(())
    }

    pub(super) fn forget_before(&mut self, horizon: i64) -> Result<(), Fault> {
        while self.by_time.first()?.is_some_and(|(place, _)| place.value().0 < horizon) {
            self.forget_oldest()?;
        }
        Ok(())
    }

    fn forget_oldest(&mut self) -> Result<(), Fault> {
        if let Some((_, id)) = self.by_time.pop_first()? {
            self.settled.remove(id.value())?;
        }
        Ok(())
    }

    fn place(&self, id: &str) -> Result<Option<u64>, Fault> {
        Ok(self.places.get(id)?.map(|place| place.value()))
    }

    fn meta(&self, name: &str) -> Result<u64, Fault> {
        Ok(self.meta.get(name)?.map_or(0, |value| value.value()))
    }

    /// A number never given before: the order of first saves and of settled ids.
    fn next(&mut self) -> Result<u64, Fault> {
        let next = self.meta(NEXT)?;
        self.meta.insert(NEXT, next + 1)?;
        Ok(next)
    }
}

/// Writes the format and creates every table.
pub(super) fn create(transaction: &WriteTransaction, format: u64) -> Result<(), TableError> {
    Tables::open(transaction)?.meta.insert(FORMAT_NAME, format)?;
    Ok(())
}

/// The format that the database says it has.
pub(super) fn format(transaction: &ReadTransaction) -> Result<Option<u64>, TableError> {
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get(FORMAT_NAME)?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The outbox in order.
pub(super) fn load(transaction: &ReadTransaction) -> Result<Vec<StoredSend>, Fault> {
    let parked = transaction.open_table(PARKED)?;
    let mut sends = Vec::new();
    for entry in transaction.open_table(SENDS)?.iter()? {
        let (place, record) = entry?;
        if parked.get(place.value())?.is_none() {
            sends.push(decode_send(record.value())?);
        }
    }
    // Stable: equal positions keep the order of their places, which is that of their first saves.
    sends.sort_by_key(|send| send.position);
    Ok(sends)
}

/// The parked messages in order.
pub(super) fn parked(transaction: &ReadTransaction) -> Result<Vec<ParkedSend>, Fault> {
    let sends = transaction.open_table(SENDS)?;
    let mut parked = Vec::new();
    for entry in transaction.open_table(PARKED)?.iter()? {
        let (place, reason) = entry?;
        let send = read_send(&sends, place.value())?;
        parked.push(ParkedSend::new(send, decode_reason(reason.value())?));
    }
    parked.sort_by_key(|parked| parked.send.position);
    Ok(parked)
}

/// The cursor under `key`.
pub(super) fn cursor(transaction: &ReadTransaction, key: &str) -> Result<Option<Cursor>, Fault> {
    let cursor = transaction.open_table(CURSORS)?.get(key)?;
    Ok(cursor.map(|bytes| Cursor::new(bytes.value().to_vec())))
}

/// The cursors whose keys begin with `prefix`, by key.
pub(super) fn cursors(transaction: &ReadTransaction, prefix: &str) -> Result<Vec<(String, Cursor)>, Fault> {
    let mut cursors = Vec::new();
    for entry in transaction.open_table(CURSORS)?.range(prefix..)? {
        let (key, bytes) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        cursors.push((key.value().to_owned(), Cursor::new(bytes.value().to_vec())));
    }
    Ok(cursors)
}

/// Whether `id` is settled.
pub(super) fn is_settled(transaction: &ReadTransaction, id: &str) -> Result<bool, Fault> {
    Ok(transaction.open_table(SETTLED)?.get(id)?.is_some())
}

/// The newest settled ids, the oldest of them first.
pub(super) fn newest(transaction: &ReadTransaction, count: usize) -> Result<Vec<SettledId>, Fault> {
    let mut ids = Vec::new();
    for entry in transaction.open_table(BY_TIME)?.iter()?.rev().take(count) {
        let (place, id) = entry?;
        ids.push(SettledId::new(id.value(), from_millis(place.value().0)));
    }
    ids.reverse();
    Ok(ids)
}

fn read_send(sends: &impl ReadableTable<u64, &'static [u8]>, place: u64) -> Result<StoredSend, Fault> {
    let record = sends.get(place)?.ok_or(super::record::Unreadable("a place without a message"))?;
    Ok(decode_send(record.value())?)
}

fn as_count(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Numbers: the format, the next number, the bytes of all messages.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Messages by their place, in the order of their first saves.
const SENDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sends");
/// Places by message id.
const PLACES: TableDefinition<'_, &str, u64> = TableDefinition::new("send_places");
/// Reasons by place. A message whose place is here is parked.
const PARKED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("parked");
/// Cursors by key.
const CURSORS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("cursors");
/// Settled ids with their time in milliseconds and their number.
const SETTLED: TableDefinition<'_, &str, (i64, u64)> = TableDefinition::new("settled");
/// The same, by time.
const BY_TIME: TableDefinition<'_, (i64, u64), &str> = TableDefinition::new("settled_by_time");

const FORMAT_NAME: &str = "format";
const NEXT: &str = "next";
const SEND_BYTES: &str = "send_bytes";
