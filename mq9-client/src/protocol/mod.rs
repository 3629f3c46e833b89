//! The mq9 commands as bytes: subjects, requests, replies. No socket and no clock here.
//!
//! A command is a variant of `subjects::Command`; its body is made in `requests` (a message's in `outgoing`),
//! its reply read in `replies` or, with messages in it, in `rows`. What a broker says against it is in
//! `broker_errors`.

pub(crate) mod broker_errors;
pub(crate) mod header_block;
pub(crate) mod json_text;
pub(crate) mod outgoing;
pub(crate) mod payload;
pub(crate) mod replies;
pub(crate) mod requests;
pub(crate) mod rows;
pub(crate) mod slab;
pub(crate) mod subjects;
