//! The thinking of a session that outlives its connections. Nothing here has a socket, a clock or a task:
//! everything takes `now` and gives back what to do.

mod inbox;
mod order;
