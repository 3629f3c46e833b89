//! A subscriber that keeps what this crate tells while it is set.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Told>>>);

/// A span or event that was told, with the values it has.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) is_span: bool,
    pub(crate) level: String,
    pub(crate) values: BTreeMap<&'static str, String>,
}

impl Log {
    pub(crate) fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.0.lock().expect("not poisoned")
    }

    /// The values of a field in all spans of a name.
    pub(crate) fn all(&self, name: &str, field: &str) -> Vec<String> {
        let told = self.told();
        let named = told.iter().filter(|told| told.name == name);
        named.filter_map(|told| told.values.get(field).cloned()).collect()
    }

    fn meet(&self, metadata: &'static Metadata<'static>, values: impl FnOnce(&mut dyn Visit)) -> u64 {
        let mut told = Told {
            name: metadata.name(),
            is_span: metadata.is_span(),
            level: metadata.level().to_string().to_lowercase(),
            values: BTreeMap::new(),
        };
        values(&mut Values(&mut told.values));
        let mut all = self.told();
        all.push(told);
        all.len() as u64
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("a2a_envelope")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.meet(attributes.metadata(), |to| attributes.record(to)))
    }

    fn record(&self, id: &span::Id, record: &span::Record<'_>) {
        record.record(&mut Values(&mut self.told()[id.into_u64() as usize - 1].values));
    }

    fn event(&self, event: &Event<'_>) {
        self.meet(event.metadata(), |to| event.record(to));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Values<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}
