//! Every endpoint of the contract: the client has it, the double answers it, its codes are told as what they
//! mean, and its method's documentation names it.
#![cfg(feature = "test-server")]

mod codes;
mod contract;
mod docs;
mod double;
mod kept;
mod local;
