//! Things that go wrong on purpose.

mod gate;
mod http;
mod push;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use gate::Gate;
pub use http::HttpFault;
pub use push::PushFault;
pub(crate) use push::{End, PushScript, Write};

use super::server::Host;

/// The faults of one [`AgentChatServer`](super::AgentChatServer): each call takes effect at once, and
/// lasts as long as it says. Cheap to clone; all clones act on the same server, across its restarts.
#[derive(Clone)]
pub struct Faults {
    host: Arc<Host>,
}

/// What is scripted. The server looks into it as it goes.
#[derive(Default)]
pub(crate) struct Script {
    inner: Mutex<Inner>,
    /// Nothing is read from any connection.
    pub(crate) reads: Gate,
    /// Nothing is written to any connection.
    pub(crate) writes: Gate,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<(String, u64, HttpFault)>,
    pushes: PushScript,
    swallow_acks: u64,
    close_sockets: VecDeque<(u16, String)>,
    refuse: bool,
    outage: Duration,
}

impl Faults {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Faults { host }
    }

    /// Scripts what happens to the next request of a route: `METHOD /path`, where `*` stands for one
    /// segment (or any method), `**` at the end for any number, and `*` alone for every request. The
    /// upgrade is `GET /v1/ws`. Faults of one route strike in the order in which they were scripted.
    ///
    /// # Panics
    ///
    /// If the route is no such text: a fault that never strikes would make a test pass for nothing.
    pub fn on(&self, route: &str, fault: HttpFault) {
        self.repeat(route, 1, fault);
    }

    /// As [`Faults::on`], for so many requests.
    ///
    /// # Panics
    ///
    /// As [`Faults::on`].
    pub fn repeat(&self, route: &str, times: u64, fault: HttpFault) {
        let formed = route == "*" || route.split_once(' ').is_some_and(|(_, path)| path.starts_with('/'));
        assert!(formed, "there is no route named {route:?}");
        if times > 0 {
            self.script().requests.push_back((route.to_owned(), times, fault));
        }
    }

    /// Scripts what happens to the next frames that are pushed, to whichever socket.
    pub fn pushes(&self, faults: impl IntoIterator<Item = PushFault>) {
        self.script().pushes.plan(faults);
    }

    /// Repeats and reorders pushes at random, the same way for the same seed and the same pushes.
    pub fn shuffle_pushes(&self, seed: u64) {
        self.script().pushes.shuffle(seed);
    }

    /// Writes every frame that was held or waits for later ones.
    pub fn release_pushes(&self) {
        let held = self.script().pushes.take_held();
        self.host.write_now(held);
    }

    /// Closes the socket that gets the `frames`-th push from now on, right after it. With code 1006 the
    /// connection ends without a close frame.
    pub fn close_after_pushes(&self, frames: u64, code: u16, reason: &str) {
        self.script().pushes.end_after(frames, End { code, reason: reason.to_owned() });
    }

    /// Closes the next sockets that try to authenticate, one for each call, instead of looking at their
    /// key.
    pub fn close_next_socket(&self, code: u16, reason: &str) {
        self.script().close_sockets.push_back((code, reason.to_owned()));
    }

    /// Leaves out the next so many `hello.ok`; the sockets work otherwise.
    pub fn swallow_hellos(&self, count: u64) {
        self.script().pushes.swallow_hellos = count;
    }

    /// Writes each `hello.ok`, and what follows it, so much later. Zero ends it.
    pub fn delay_hellos(&self, delay: Duration) {
        self.script().pushes.hello_delay = delay;
    }

    /// Overhears the next so many acknowledgements.
    pub fn swallow_acks(&self, count: u64) {
        self.script().swallow_acks = count;
    }

    /// Reads and writes nothing on any connection until [`Faults::release`], as a server that hangs.
    pub fn stall(&self) {
        self.host.script.reads.shut();
        self.host.script.writes.shut();
    }

    /// Reads nothing from any connection until [`Faults::release`]; writes go on.
    pub fn stall_reads(&self) {
        self.host.script.reads.shut();
    }

    /// Ends a stall.
    pub fn release(&self) {
        self.host.script.reads.open();
        self.host.script.writes.open();
    }

    /// Accepts no connection while on: each one made is closed before the first byte.
    pub fn refuse(&self, on: bool) {
        self.script().refuse = on;
    }

    /// Cuts every connection there is, requests and sockets alike.
    pub fn cut_all(&self) {
        self.host.cut_all();
    }

    /// The database is away: after so long every key is unknown (401, or close 1008 on sockets that bring
    /// theirs in a header), greetings are not answered at all, and sockets that are authenticated stay.
    /// `None` ends it. The recorded server took seven seconds.
    pub fn database_down(&self, latency: Option<Duration>) {
        self.script().outage = latency.unwrap_or_default();
        self.host.with(|engine, _| engine.database_down = latency.is_some());
    }

    /// The message bus is away: `/v1/health` says so with 503, and everybody seems to be offline.
    pub fn bus_down(&self, on: bool) {
        self.host.with(|engine, _| engine.bus_down = on);
    }

    /// How many scripted faults of requests and pushes have not struck yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        let script = self.script();
        let requests: u64 = script.requests.iter().map(|(_, times, _)| times).sum();
        usize::try_from(requests).unwrap_or(usize::MAX) + script.pushes.planned() + script.close_sockets.len()
    }

    /// Ends every fault that is still to come. Frames that were held are written.
    pub fn clear(&self) {
        self.release_pushes();
        *self.script() = Inner::default();
        self.host.with(|engine, _| {
            engine.database_down = false;
            engine.bus_down = false;
        });
        self.release();
    }

    fn script(&self) -> MutexGuard<'_, Inner> {
        self.host.script.inner()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

impl Script {
    /// The fault for a request, used up.
    pub(crate) fn take(&self, method: &str, path: &str) -> HttpFault {
        let mut inner = self.inner();
        let named = |(route, _, _): &(String, u64, HttpFault)| http::names(route, method, path);
        let Some(position) = inner.requests.iter().position(named) else { return HttpFault::passing() };
        let (_, times, fault) = &mut inner.requests[position];
        let fault = fault.clone();
        *times -= 1;
        if *times == 0 {
            inner.requests.remove(position);
        }
        fault
    }

    pub(crate) fn hello(&self, text: Arc<str>) -> Vec<Write> {
        self.inner().pushes.hello(text)
    }

    pub(crate) fn push(&self, socket: u64, text: Arc<str>) -> (Vec<Write>, Option<End>) {
        self.inner().pushes.push(socket, text)
    }

    pub(crate) fn swallows_ack(&self) -> bool {
        let mut inner = self.inner();
        let swallows = inner.swallow_acks > 0;
        inner.swallow_acks = inner.swallow_acks.saturating_sub(1);
        swallows
    }

    pub(crate) fn closes_socket(&self) -> Option<(u16, String)> {
        self.inner().close_sockets.pop_front()
    }

    pub(crate) fn refuses(&self) -> bool {
        self.inner().refuse
    }

    pub(crate) fn outage(&self) -> Duration {
        self.inner().outage
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
