//! What is larger than the network carries: said in several events where A2A allows that, else in less words.

use super::runner::{Lost, Runner};
use super::server::Shared;
use super::turn_handle::TurnRefusal;
use crate::envelope::Envelope;
use crate::error::Result as EnvelopeResult;
use crate::json::{self, quote};
use crate::json_text::JsonText;
use crate::limits::Limits;
use crate::reply::ReplyType;
use crate::stream::{StreamError, StreamWriter, error_json};
use crate::task::{Artifact, Event, TaskText, text_part};

impl Runner {
    /// More text, in pieces that can be carried.
    pub(super) async fn text(
        &mut self,
        writer: &mut StreamWriter,
        artifact: &str,
        text: &str,
    ) -> Result<Said, Lost> {
        let Some(room) =
            self.shared.room().filter(|room| streams(writer) && text.len() > *room / MOST_ESCAPED)
        else {
            return self.try_say(writer, |writer, now| writer.text(artifact, text, now)).await;
        };
        for piece in pieces(text, room) {
            let said = self.try_say(writer, |writer, now| writer.text(artifact, piece, now)).await?;
            if said.is_err() {
                return Ok(said);
            }
        }
        Ok(Ok(()))
    }

    /// The events that an event is for a caller that wants each.
    pub(super) fn in_chunks(&self, writer: &StreamWriter, event: Event) -> Result<Vec<Event>, TurnRefusal> {
        match self.shared.agent.capabilities().max_body {
            // The last reply is the outlet's: it ends the task, whatever becomes of its words.
            Some(most) if streams(writer) && !event.ends_request() => {
                let room = most.saturating_sub(FRAME);
                split(event, room).map_err(|bytes| TurnRefusal::TooLarge { bytes, most })
            }
            _ => Ok(vec![event]),
        }
    }

    pub(super) async fn events(
        &mut self,
        writer: &mut StreamWriter,
        events: Vec<Event>,
    ) -> Result<Said, Lost> {
        for event in &events {
            let said = self.try_say(writer, |writer, now| writer.event(event, now)).await?;
            if said.is_err() {
                return Ok(said);
            }
        }
        Ok(Ok(()))
    }
}

impl Shared {
    /// How many bytes of text are said at once.
    pub(crate) fn room(&self) -> Option<usize> {
        self.agent.capabilities().max_body.map(|most| (most / 2).max(SMALLEST))
    }
}

type Said = Result<(), StreamError>;

fn streams(writer: &StreamWriter) -> bool {
    writer.task().open_turn().is_some_and(|turn| turn.request.streams)
}

/// The text in pieces of which each takes at most `room` bytes as JSON, in their order.
pub(crate) fn pieces(text: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut begun, mut bytes) = (0, 0);
    for (at, letter) in text.char_indices() {
        let more = escaped(letter);
        if bytes + more > room && at > begun {
            pieces.push(&text[begun..at]);
            (begun, bytes) = (at, 0);
        }
        bytes += more;
    }
    pieces.push(&text[begun..]);
    pieces
}

/// The events that say what this one does, each of at most `room` bytes: an artifact may come in several chunks.
///
/// # Errors
/// How many bytes it takes, where it cannot be said in less.
pub(crate) fn split(event: Event, room: usize) -> Result<Vec<Event>, usize> {
    let size = event.to_stream_response("", "").as_str().len();
    if size <= room {
        return Ok(vec![event]);
    }
    let Event::Artifact { artifact, append, last_chunk } = event else { return Err(size) };
    let Artifact { id, parts, members } = artifact;
    // What is said about the artifact goes with its first chunk.
    let mut first = Artifact { id: id.clone(), parts: Vec::new(), members };
    let room = room.checked_sub(first.size() + FRAME).filter(|room| *room > SMALLEST).ok_or(size)?;
    let mut chunks = Vec::new();
    let mut taken = 0;
    for part in parts {
        for part in parts_of(part, room).ok_or(size)? {
            let more = part.as_str().len() + 1;
            if taken > 0 && taken + more > room {
                chunks.push(std::mem::replace(&mut first, Artifact::new(id.as_str())));
                taken = 0;
            }
            taken += more;
            first.parts.push(part);
        }
    }
    chunks.push(first);
    let last = chunks.len() - 1;
    let event = |(at, artifact)| Event::Artifact {
        artifact,
        append: append || at > 0,
        last_chunk: last_chunk && at == last,
    };
    Ok(chunks.into_iter().enumerate().map(event).collect())
}

/// A reply that fits better, as long as there is one: without the history of its task; then that it is too large.
pub(crate) fn smaller(reply: &Envelope, most: Option<usize>) -> Vec<Envelope> {
    let root = json::parse_body(&reply.body, &Limits::default()).ok();
    let mut forms: Vec<Envelope> = without_history(reply).into_iter().collect();
    let id = root.and_then(|root| root.get("id")).map_or("null", |id| id.raw());
    forms.extend(too_large(reply, id, most).ok());
    forms
}

/// The part, or the parts its text is divided into; `None` where it has another content.
fn parts_of(part: JsonText, room: usize) -> Option<Vec<JsonText>> {
    if part.as_str().len() < room {
        return Some(vec![part]);
    }
    let root = json::object_of_checked(part.as_str().as_bytes())?;
    let text = root.text_of("text").filter(|_| root.items().count() == 1)?;
    Some(pieces(&text, room - SMALLEST).into_iter().map(text_part).collect())
}

fn without_history(reply: &Envelope) -> Option<Envelope> {
    let body = reply.body_text().ok()?;
    let root = json::object_of_checked(body.as_bytes())?;
    let result = root.get("result")?;
    let task = result.get("task").unwrap_or(result);
    task.get("history")?;
    let less = TaskText::read(task).ok()?.with_history_length(0);
    let mut made = reply.clone();
    made.body = format!("{}{less}{}", &body[..task.start()], &body[task.end()..]).into();
    Some(made)
}

fn too_large(reply: &Envelope, id: &str, most: Option<usize>) -> EnvelopeResult<Envelope> {
    let bytes = reply.body.len();
    let why = match most {
        Some(most) => format!("the answer has {bytes} bytes, and this network carries at most {most}"),
        None => format!("the answer has {bytes} bytes, and this network does not carry so many"),
    };
    let error = error_json(-32603, &why, "ANSWER_TOO_LARGE");
    let mut made = reply.clone().with_reply_type(ReplyType::Error)?.with_last(true)?;
    made.body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into();
    Ok(made)
}

fn escaped(letter: char) -> usize {
    quote(letter.encode_utf8(&mut [0; 4])).len() - 2
}

/// The most bytes that one byte of text takes as JSON.
const MOST_ESCAPED: usize = 6;
/// What stands around an artifact in a reply, its ids included.
const FRAME: usize = 1_024;
/// What stands around a text in a part, and the least that is worth a chunk.
const SMALLEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(events: &[Event]) -> Artifact {
        let mut whole: Option<Artifact> = None;
        for (at, event) in events.iter().enumerate() {
            let Event::Artifact { artifact, append, last_chunk } = event else { panic!("{event:?}") };
            assert_eq!((*append, *last_chunk), (at > 0, at + 1 == events.len()));
            match &mut whole {
                Some(whole) => whole.append(artifact.clone()),
                None => whole = Some(artifact.clone()),
            }
        }
        whole.unwrap()
    }

    #[test]
    fn an_artifact_is_said_in_chunks_that_fit_and_add_up_to_it() {
        let text = "täglich \u{1}\"\\".repeat(1_000);
        let file = JsonText::new(r#"{"url":"https://x","filename":"f"}"#).unwrap();
        let name = JsonText::string("report");
        let artifact = Artifact::new("a").with_text("short").with_text(&text).with_part(file.clone());
        let artifact = artifact.with_member("name", name);
        let events = split(Event::artifact(artifact.clone()), 4_000).unwrap();
        assert!(events.len() > 4, "{}", events.len());
        for event in &events {
            assert!(event.to_stream_response("", "").as_str().len() <= 4_000);
        }
        let whole = said(&events);
        assert_eq!((whole.text(), &whole.members), (artifact.text(), &artifact.members));
        assert_eq!(whole.parts.last(), Some(&file));
        assert_eq!(split(Event::artifact(artifact.clone()), 1 << 20).unwrap(), [Event::artifact(artifact)]);
    }

    #[test]
    fn what_has_no_text_to_divide_is_refused_with_its_size() {
        let data = JsonText::new(format!(r#"{{"data":"{}"}}"#, "x".repeat(5_000))).unwrap();
        let bytes = split(Event::artifact(Artifact::new("a").with_part(data)), 4_000).unwrap_err();
        assert!(bytes > 5_000, "{bytes}");
        let words = JsonText::string(&"x".repeat(5_000));
        let status = Event::status_with(crate::task::TaskState::Working, words);
        assert!(split(status, 4_000).is_err());
    }

    #[test]
    fn a_text_is_divided_between_letters() {
        for text in ["", "a", "ä\u{1}b"] {
            assert_eq!(pieces(text, 1).concat(), text);
        }
        assert_eq!(pieces("ab\"cd", 3), ["ab", "\"c", "d"]);
    }
}
