//! Recognising a request that comes again, so that it is answered and not run a second time.

mod key;
mod limits;
mod met;
mod record;
mod requests;
mod store;

pub use key::RequestKey;
pub use limits::RequestLimits;
pub use met::{Met, RequestError};
pub use record::{RequestRecord, RequestState};
pub use requests::Requests;
pub use store::{MemoryRequestStore, RequestStore};
