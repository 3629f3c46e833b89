//! A transport that writes down what is asked of it, and fails or hangs where the test says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use agentchat_core::{
    AckTag, Address, AgentCard, Capabilities, CloseMode, Connector, Discovered, Error, ErrorKind, Heartbeat,
    Loopback, Outbound, Query, Reached, Receipt, Result, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;

/// How a step goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It fails, and was not done.
    Refused,
    /// It fails, and was done all the same.
    Unanswered,
    /// It never ends.
    Hangs,
}

/// Connects to a network step by step.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    network: Loopback,
    name: String,
    durable: bool,
    faults: Arc<Mutex<HashMap<&'static str, Fault>>>,
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl Steps {
    pub(crate) fn new(network: &Loopback, name: &str) -> Self {
        let (faults, log) = Default::default();
        Self { network: network.clone(), name: name.to_owned(), durable: true, faults, log }
    }

    /// A network that says it keeps nothing for an agent that is away.
    pub(crate) fn forgetful(mut self) -> Self {
        self.durable = false;
        self
    }

    pub(crate) fn fault(self, step: &'static str, fault: Fault) -> Self {
        self.faults.lock().expect("not poisoned").insert(step, fault);
        self
    }

    pub(crate) fn heal(&self) {
        self.faults.lock().expect("not poisoned").clear();
    }

    /// What was asked, in order.
    pub(crate) fn log(&self) -> Vec<&'static str> {
        self.log.lock().expect("not poisoned").clone()
    }

    async fn step(&self, name: &'static str, done: impl Future<Output = Result<()>> + Send) -> Result<()> {
        self.log.lock().expect("not poisoned").push(name);
        let fault = self.faults.lock().expect("not poisoned").get(name).copied();
        let refused = |kind| Err(Error::new(kind, name, "as the test says"));
        match fault {
            None => done.await,
            Some(Fault::Refused) => refused(ErrorKind::Forbidden),
            Some(Fault::Unanswered) => {
                done.await?;
                refused(ErrorKind::Timeout)
            }
            Some(Fault::Hangs) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Connector for Steps {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = self.network.connector(&self.name)?.connect().await?;
        self.step("connect", async { Ok(()) }).await?;
        let mut capabilities = inner.capabilities().clone();
        capabilities.durable_inbox = self.durable;
        Ok(Arc::new(Stepping { inner, steps: self.clone(), capabilities }))
    }
}

#[derive(Debug)]
struct Stepping {
    inner: Arc<dyn Transport>,
    steps: Steps,
    capabilities: Capabilities,
}

#[async_trait]
impl Transport for Stepping {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.steps.step("register", self.inner.register(card)).await
    }

    async fn unregister(&self) -> Result<()> {
        self.steps.step("unregister", self.inner.unregister()).await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.steps.step("report", self.inner.report(heartbeat)).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.inner.discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.inner.send(message).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.steps.step("subscribe", async { Ok(()) }).await?;
        self.inner.subscribe(options).await
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        // Acknowledgements are no steps: their number depends on how they are gathered.
        self.inner.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        let name = match mode {
            CloseMode::Retire => "close, retiring",
            _ => "close",
        };
        self.steps.step(name, self.inner.close(mode)).await
    }
}

/// That the error is the one of `step` as it was to fail, whatever was undone after it.
pub(crate) fn assert_of(error: &Error, step: &str, reached: Reached) {
    assert_eq!((error.operation(), error.reached()), (step, reached), "{error:?}");
}
