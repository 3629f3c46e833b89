//! The AgentChat double.
mod engine;
mod profile;
pub use engine::{PauseMode, Standing};
pub use profile::{Profile, Switches};
