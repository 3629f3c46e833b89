//! What a message may not do: send answers abroad, speak for the server, carry credentials or say who asked.

mod answer_policy;
mod credentials;
mod origin;
mod peer;

pub(crate) use answer_policy::has_userinfo;
pub use answer_policy::{AddressRule, AnswerPolicy, AnswerTarget};
pub use credentials::{Credentials, is_credential};
pub use origin::{Origin, Reach, origin_of};
pub(crate) use peer::drop_server_set;
