//! Requests whose method this library does not know: they are the application's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::asker::Asker;
use super::handler::TurnError;
use super::server::Shared;
use crate::call::Incoming;
use crate::json_text::JsonText;
use crate::received::Received;

/// Answers one such request with a result, or with why there is none.
pub(crate) type Other = Arc<dyn Fn(Received) -> Answered + Send + Sync>;
type Answered = Pin<Box<dyn Future<Output = Result<JsonText, TurnError>> + Send>>;

/// A closure as an [`Other`].
pub(crate) fn boxed<F, T>(answer: F) -> Other
where
    F: Fn(Received) -> T + Send + Sync + 'static,
    T: Future<Output = Result<JsonText, TurnError>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(answer(request)))
}

impl Shared {
    /// Hands the request over untouched, where somebody takes it.
    pub(crate) async fn other(&self, received: &Received, incoming: &Incoming, asker: &mut Asker) {
        let Some(other) = &self.other else {
            let made = incoming.refused(-32601, "the method is not known", "METHOD_NOT_FOUND");
            return self.deliver_made(asker, made).await;
        };
        match other(received.clone()).await {
            Ok(result) => self.answer_with(incoming, asker, &result).await,
            Err(error) => {
                self.deliver_made(asker, incoming.refused(-32603, &error.reason(), "INTERNAL")).await;
            }
        }
    }
}
