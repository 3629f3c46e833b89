//! What a server is asked about itself: its tasks, and its card.

use agentchat_core::HandlerResult;

use super::asker::Asker;
use super::server::Shared;
use crate::call::Incoming;
use crate::json_text::JsonText;
use crate::received::Received;
use crate::reply::ReplyType;
use crate::stream::Belongs;
use crate::task::TaskQuery;

impl Shared {
    /// Answers with the tasks that were asked for under the address this answer goes to.
    pub(crate) async fn list_tasks(
        &self,
        received: &Received,
        incoming: &Incoming,
        asker: &mut Asker,
    ) -> HandlerResult {
        let Some(to) = &asker.to else { return Ok(()) };
        let params = received.request().map_or("{}", |request| request.raw);
        let query = match TaskQuery::read(to.as_str(), params) {
            Ok(query) => query,
            Err(why) => {
                self.deliver_made(asker, incoming.refused(-32602, why, "INVALID_PARAMS")).await;
                return Ok(());
            }
        };
        let page = match self.stored(|| self.tasks.list(&query)).await {
            Ok(page) => page,
            Err(error) => {
                self.deliver_made(asker, incoming.refused_by(&error)).await;
                return Ok(());
            }
        };
        let room = self.agent.capabilities().max_body.unwrap_or(usize::MAX);
        let result = query.result(&page, (room / 2).min(LARGEST));
        self.answer_with(incoming, asker, &result).await;
        Ok(())
    }

    /// Answers with the extended card, byte for byte.
    pub(crate) async fn extended_card(&self, incoming: &Incoming, asker: &mut Asker) {
        let card = self.options.extended_card.as_ref();
        match card.and_then(|card| JsonText::new(card.as_str()).ok()) {
            Some(card) => self.answer_with(incoming, asker, &card).await,
            None => {
                let why = "there is no extended agent card";
                let made = incoming.refused(-32007, why, "EXTENDED_AGENT_CARD_NOT_CONFIGURED");
                self.deliver_made(asker, made).await;
            }
        }
    }

    pub(crate) async fn answer_with(&self, incoming: &Incoming, asker: &mut Asker, result: &JsonText) {
        let made = incoming.line.clone().result(ReplyType::Response, result, true, Belongs::nowhere());
        if let Ok(Some(reply)) = made {
            self.deliver_apart(asker, &reply).await;
        }
    }
}

/// How large a list is, but for one task that is larger.
const LARGEST: usize = 1024 * 1024;
