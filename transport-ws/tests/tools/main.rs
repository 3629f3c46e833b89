//! The tools for models: what they are called, what they ask, what never leaves, and what comes back.
#![cfg(all(feature = "tools", feature = "test-server"))]

mod codes;
mod defects;
mod later;
mod repeated;
mod samples;
mod support;
mod table;
