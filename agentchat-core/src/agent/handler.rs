//! Who handles messages.

use std::future::Future;

use async_trait::async_trait;

use super::outcome::{HandlerResult, contained};
use super::request::Request;

/// Handles the messages of a serving agent. Closures `Fn(Request) -> impl Future<Output = HandlerResult>`
/// are handlers; see [`batch_handler`] for closures that take several messages.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles one message. A panic counts as an error. The future is dropped when the agent closes and
    /// its deadline passes; the message comes again to the next one who serves the inbox.
    async fn handle(&self, request: Request) -> HandlerResult;

    /// Handles messages of one conversation that waited together, in their order, under
    /// [`ServePolicy::Batch`](crate::ServePolicy::Batch). `Ok` settles all of them; an error is about all of
    /// them, or about [one](crate::HandlerError::at). As provided it handles one after the other.
    async fn handle_batch(&self, requests: Vec<Request>) -> HandlerResult {
        for (index, request) in requests.into_iter().enumerate() {
            contained(async { self.handle(request).await }).await.map_err(|error| error.at(index))?;
        }
        Ok(())
    }
}

#[async_trait]
impl<F, T> Handler for F
where
    F: Fn(Request) -> T + Send + Sync + 'static,
    T: Future<Output = HandlerResult> + Send,
{
    async fn handle(&self, request: Request) -> HandlerResult {
        self(request).await
    }
}

/// Makes a handler of a closure that takes batches. Without
/// [`ServePolicy::Batch`](crate::ServePolicy::Batch) each batch is one message.
///
/// ```
/// use agentchat_core::{Body, Request, ServeOptions, ServePolicy, batch_handler};
///
/// let handler = batch_handler(|requests: Vec<Request>| async move {
///     let texts: Vec<_> = requests.iter().filter_map(|request| request.body().as_str()).collect();
///     println!("{}", texts.join("\n"));
///     Ok(())
/// });
/// let options = ServeOptions::default().with_policy(ServePolicy::Batch(30));
/// # let _ = (Box::new(handler) as Box<dyn agentchat_core::Handler>, options);
/// ```
pub fn batch_handler<F, T>(handle: F) -> impl Handler
where
    F: Fn(Vec<Request>) -> T + Send + Sync + 'static,
    T: Future<Output = HandlerResult> + Send,
{
    Batches(handle)
}

struct Batches<F>(F);

#[async_trait]
impl<F, T> Handler for Batches<F>
where
    F: Fn(Vec<Request>) -> T + Send + Sync + 'static,
    T: Future<Output = HandlerResult> + Send,
{
    async fn handle(&self, request: Request) -> HandlerResult {
        self.0(vec![request]).await
    }

    async fn handle_batch(&self, requests: Vec<Request>) -> HandlerResult {
        self.0(requests).await
    }
}
