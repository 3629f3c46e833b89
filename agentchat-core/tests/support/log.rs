//! A subscriber that keeps everything it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Everything this library told while it was set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By name.
    pub(crate) sites: BTreeMap<&'static str, Site>,
    /// Every value in text, under its site and field.
    pub(crate) values: Vec<(&'static str, &'static str, String)>,
    spans: Vec<&'static str>,
}

/// A span or event, with the fields of all places that tell it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) is_span: bool,
    pub(crate) level: String,
    pub(crate) fields: BTreeSet<&'static str>,
}

impl Log {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("not poisoned")
    }

    fn meet(&self, metadata: &'static Metadata<'static>, values: impl FnOnce(&mut dyn Visit)) {
        let mut told = self.told();
        let name = metadata.name();
        let fields = metadata.fields().iter().map(|field| field.name()).filter(|name| *name != "message");
        let (is_span, level) = (metadata.is_span(), metadata.level().to_string().to_lowercase());
        let new = || Site { is_span, level: level.clone(), fields: BTreeSet::new() };
        let site = told.sites.entry(name).or_insert_with(new);
        assert_eq!((site.is_span, &site.level), (is_span, &level), "{name} is told in two ways");
        site.fields.extend(fields);
        values(&mut Values(name, &mut told.values));
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("agentchat_core")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.meet(attributes.metadata(), |to| attributes.record(to));
        let mut told = self.told();
        told.spans.push(attributes.metadata().name());
        span::Id::from_u64(told.spans.len() as u64)
    }

    fn record(&self, id: &span::Id, record: &span::Record<'_>) {
        let mut told = self.told();
        let name = told.spans[id.into_u64() as usize - 1];
        record.record(&mut Values(name, &mut told.values));
    }

    fn event(&self, event: &Event<'_>) {
        self.meet(event.metadata(), |to| event.record(to));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Values<'a>(&'static str, &'a mut Vec<(&'static str, &'static str, String)>);

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.1.push((self.0, field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.1.push((self.0, field.name(), value.to_owned()));
    }
}
