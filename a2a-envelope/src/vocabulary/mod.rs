//! The words of A2A in all its versions: operations, task states, roles, error codes.

mod code;
mod operation;
mod role;
mod version;

pub use code::ErrorCode;
pub use operation::Operation;
pub use role::Role;
pub use version::A2aVersion;
