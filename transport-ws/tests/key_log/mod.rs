//! Listens to everything that is logged in this process, and holds that no key is in it.

use std::fmt::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::scripted::KEY;

/// From the first call on, everything is listened to.
pub(crate) fn no_key_is_told() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Listener).expect("nobody else listens"));
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!told.contains(KEY), "a key was logged");
}

/// Whether something of that name was logged.
pub(crate) fn has_heard(name: &str) -> bool {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
}

static TOLD: Mutex<String> = Mutex::new(String::new());

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut Heard);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Heard);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Heard);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Heard;

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        // It is looked at often enough: what is old need not stay.
        if told.len() > 1 << 20 && !told.contains(KEY) {
            told.clear();
        }
        let _ = writeln!(told, "{field}={value:?}");
    }
}
