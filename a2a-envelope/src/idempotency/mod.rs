//! Recognising a request that comes again, so that it is answered and not run a second time.

mod key;
mod record;
mod requests;
mod store;

pub use key::RequestKey;
pub use record::{RequestRecord, RequestState};
pub use requests::{Met, RequestError, RequestLimits, Requests};
pub use store::{MemoryRequestStore, RequestStore};
