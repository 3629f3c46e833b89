//! Panics that are expected print nothing; where they happened is remembered.

use std::cell::{Cell, RefCell};
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// While it lives, panics of this thread print nothing.
pub(crate) struct Quiet(());

impl Quiet {
    pub(crate) fn here() -> Self {
        HOOK.call_once(|| {
            let loud = take_hook();
            set_hook(Box::new(move |panic| {
                if DEPTH.get() == 0 {
                    return loud(panic);
                }
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                PLACE.with_borrow_mut(|known| *known = place);
            }));
        });
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Where the last quiet panic of this thread happened.
pub(crate) fn place() -> String {
    PLACE.with_borrow(Clone::clone)
}

static HOOK: Once = Once::new();
