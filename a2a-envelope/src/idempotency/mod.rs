//! Recognising a request that comes again, so that it is answered and not run a second time.
//!
//! ```
//! use std::time::Duration;
//! use a2a_envelope::JsonText;
//! use a2a_envelope::idempotency::{Met, RequestKey, RequestLimits, Requests};
//!
//! let mut requests = Requests::new(RequestLimits::default());
//! let (key, now) = (RequestKey::new("m-1").unwrap(), Duration::from_secs(1_763_000_000));
//! assert!(matches!(requests.meet("ann", &key, b"body", "t-1", now)?, Met::New(_)));
//! assert!(matches!(requests.meet("ann", &key, b"body", "t-2", now)?, Met::Running(record) if record.task_id == "t-1"));
//! requests.answered("ann", &key, Some(JsonText::string("done")), now);
//! assert!(matches!(requests.meet("ann", &key, b"body", "t-3", now)?, Met::Answered(_)));
//! assert!(requests.meet("ann", &key, b"another body", "t-4", now).is_err());
//! # Ok::<(), a2a_envelope::idempotency::RequestError>(())
//! ```

mod key;
mod limits;
mod met;
mod record;
mod requests;
mod store;

pub use key::RequestKey;
pub use limits::RequestLimits;
pub use met::{Met, RequestError};
pub use record::{RequestRecord, RequestState, WaitingRequest};
pub use requests::Requests;
pub use store::{MemoryRequestStore, RequestStore};
