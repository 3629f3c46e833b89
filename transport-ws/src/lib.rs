#![doc = include_str!("../README.md")]

#[cfg(feature = "test-server")]
pub mod testing;
