//! A worker dies at every point between taking a request and being done with it; another goes on. The caller
//! reads one whole answer.

#[path = "support/flow.rs"]
mod flow;
mod support;

use a2a_envelope::call::Incoming;
use a2a_envelope::idempotency::{
    MemoryRequestStore, Met, RequestKey, RequestLimits, RequestRecord, RequestState, Requests,
};
use a2a_envelope::stream::{
    Coalesce, Mirror, ReaderItem, ReaderOptions, Snapshot, StreamReader, StreamWriter, WriterAction,
    WriterOptions, repeat_answer,
};
use a2a_envelope::task::{MemoryTaskStore, Step, Task, TaskState};
use a2a_envelope::{Envelope, JsonText, Limits};
use flow::ms;
use proptest::prelude::*;
use support::seeded;

/// The process died.
#[derive(Debug)]
struct Died;

/// What outlives a worker: the stores, the inbox, and what was sent.
#[derive(Debug)]
struct World {
    tasks: MemoryTaskStore,
    requests: MemoryRequestStore,
    inbox: Vec<Envelope>,
    wire: Vec<Envelope>,
    /// How many more things the worker does before it dies.
    life: usize,
    /// Dies as soon as this step is complete.
    dies_after: Option<Step>,
    /// How often the handler was entered.
    runs: usize,
    reached: Vec<Step>,
    now: u64,
    task_ids: u64,
}

impl World {
    fn new(requests: Vec<Envelope>) -> Self {
        Self {
            tasks: MemoryTaskStore::new(),
            requests: MemoryRequestStore::new(100),
            inbox: requests,
            wire: Vec::new(),
            life: usize::MAX,
            dies_after: None,
            runs: 0,
            reached: Vec::new(),
            now: 0,
            task_ids: 0,
        }
    }

    /// One thing with an effect outside. The worker may die before it.
    fn live(&mut self) -> Result<(), Died> {
        self.now += 1;
        self.life = self.life.checked_sub(1).ok_or(Died)?;
        Ok(())
    }

    fn complete(&mut self, step: Step) -> Result<(), Died> {
        self.reached.push(step);
        if self.dies_after == Some(step) {
            self.dies_after = None;
            return Err(Died);
        }
        Ok(())
    }

    /// A worker's whole life: what was left behind first, then the inbox.
    fn work(&mut self) -> Result<(), Died> {
        let mut requests =
            Requests::restored(RequestLimits::default(), self.requests.load_now(), ms(self.now));
        for record in self.requests.load_now() {
            if record.state == RequestState::Running {
                self.go_on(&mut requests, &record, None)?;
            }
        }
        while let Some(envelope) = self.inbox.first().cloned() {
            self.complete(Step::Received)?;
            let incoming = Incoming::read(&envelope, None, &Limits::default()).unwrap();
            let key = incoming.key.clone().unwrap();
            self.task_ids += 1;
            let task_id = format!("t-{}", self.task_ids);
            match requests.meet("ann", &key, &envelope.body, &task_id, ms(self.now)).unwrap() {
                Met::New(record) => {
                    self.live()?;
                    self.requests.put_now(&record).unwrap();
                    self.complete(Step::Recorded)?;
                    self.go_on(&mut requests, &record, Some(&incoming))?;
                }
                Met::Running(record) => self.go_on(&mut requests, &record, Some(&incoming))?,
                Met::Answered(record) => {
                    self.live()?;
                    self.answer_again(&record);
                }
                other => panic!("{other:?}"),
            }
            self.settle()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Died> {
        if !self.inbox.is_empty() {
            self.live()?;
            self.inbox.remove(0);
            self.complete(Step::Settled)?;
        }
        Ok(())
    }

    /// Goes on with a request from where the stores say it is.
    fn go_on(
        &mut self,
        requests: &mut Requests,
        record: &RequestRecord,
        incoming: Option<&Incoming>,
    ) -> Result<(), Died> {
        let task = self.tasks.get_now(&record.task_id);
        let mut step = Step::after_crash(Some(record), task.as_ref());
        if step == Step::Recorded {
            // Nobody has its message but the inbox, which brings it again.
            let Some(incoming) = incoming else { return Ok(()) };
            let request = incoming.task_request().unwrap();
            let task = Task::new(record.task_id.as_str(), "c-1", request, ms(self.now)).unwrap();
            self.live()?;
            self.tasks.put_now(&task, 0).unwrap();
            self.complete(Step::Stored)?;
            self.live()?;
            self.wire.push(incoming.ack().unwrap());
            self.complete(Step::Acked)?;
            self.settle()?;
            step = Step::Acked;
        }
        if step < Step::Answered {
            self.run(&record.task_id)?;
        } else {
            self.live()?;
            self.answer_again(record);
        }
        self.complete(Step::Sent)?;
        self.live()?;
        let key = RequestKey::new(&record.key).unwrap();
        let answer = self.wire.last().map(|last| JsonText::new(last.body_text().unwrap()).unwrap());
        let record = requests.answered("ann", &key, answer, ms(self.now)).unwrap();
        self.requests.put_now(&record).unwrap();
        self.complete(Step::Closed)
    }

    fn run(&mut self, task_id: &str) -> Result<(), Died> {
        let options = WriterOptions::default().with_coalesce(Coalesce::OFF).with_reserve(2);
        let task = self.tasks.get_now(task_id).unwrap();
        let (mut writer, actions) = StreamWriter::open(task, options, ms(self.now)).unwrap();
        self.carry(actions)?;
        self.runs += 1;
        self.complete(Step::Running)?;
        for word in ["one ", "two ", "three"] {
            let actions = writer.text("a", word, ms(self.now)).unwrap();
            self.carry(actions)?;
        }
        let actions = writer.complete(ms(self.now)).unwrap();
        self.carry(actions)
    }

    fn carry(&mut self, actions: Vec<WriterAction>) -> Result<(), Died> {
        for action in actions {
            self.live()?;
            match action {
                WriterAction::Save { task, expected, .. } => {
                    self.tasks.put_now(&task, expected).unwrap();
                    if task.state().is_terminal() {
                        self.complete(Step::Answered)?;
                    }
                }
                WriterAction::Send(envelope) => self.wire.push(envelope),
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }

    fn answer_again(&mut self, record: &RequestRecord) {
        let task = self.tasks.get_now(&record.task_id).unwrap();
        let turn = task.turns().iter().find(|turn| turn.request.key.as_deref() == Some(&record.key)).unwrap();
        self.wire.push(repeat_answer(&task, turn, record.answer.as_ref()).unwrap());
    }

    /// Starts workers until one is done, and says how many there were.
    fn until_done(&mut self, lives: &[usize]) -> usize {
        for (count, life) in lives.iter().enumerate() {
            self.life = *life;
            if self.work().is_ok() {
                return count + 1;
            }
        }
        for count in 1..4 {
            self.life = usize::MAX;
            if self.work().is_ok() {
                return lives.len() + count;
            }
        }
        panic!("no worker is ever done: {self:?}");
    }

    /// What a caller makes of all that was sent.
    fn read(&self) -> (Mirror, Vec<ReaderItem>) {
        let mut reader = StreamReader::new(ReaderOptions::default(), ms(0));
        let (mut items, mut mirror) = (Vec::new(), Mirror::new());
        let task = self.requests.load_now().first().and_then(|record| self.tasks.get_now(&record.task_id));
        let snapshot = || {
            task.as_ref()
                .map(|task| Snapshot::read(&Snapshot::of(task).unwrap(), &Limits::default()).unwrap())
        };
        for envelope in &self.wire {
            items.extend(reader.receive(envelope.clone(), ms(0)).unwrap());
        }
        for step in 1..20 {
            let due = reader.poll(ms(step * 30_000));
            let asked = due.contains(&ReaderItem::ReadSnapshot);
            items.extend(due);
            if asked {
                items.extend(reader.snapshot(snapshot(), ms(step * 30_000)));
            }
        }
        items.iter().for_each(|item| mirror.apply(item));
        (mirror, items)
    }

    fn assert_answered_whole(&self) {
        let (mirror, items) = self.read();
        assert_eq!(mirror.state(), Some(&TaskState::Completed), "{items:?}");
        assert_eq!(mirror.text("a").as_deref(), Some("one two three"), "{items:?}");
        assert_eq!(items.iter().filter(|item| matches!(item, ReaderItem::End(_))).count(), 1);
        assert!(self.inbox.is_empty());
        let records = self.requests.load_now();
        assert!(records.len() == 1 && records[0].state == RequestState::Answered, "{records:?}");
        assert_eq!(
            self.tasks.get_now(&records[0].task_id).unwrap().turns().len(),
            1,
            "one task, one request"
        );
        let others = (1..=self.task_ids).map(|n| format!("t-{n}")).filter(|id| *id != records[0].task_id);
        assert_eq!(others.filter_map(|id| self.tasks.get_now(&id)).count(), 0);
    }
}

fn send(method: &str) -> Envelope {
    Envelope::new(format!(
        r#"{{"jsonrpc":"2.0","id":"r-1","method":"{method}","params":{{"message":{{"messageId":"m-1","role":"ROLE_USER","parts":[{{"text":"go"}}]}}}}}}"#
    ))
}

#[test]
fn without_a_crash_every_step_is_taken_once_in_order() {
    let mut world = World::new(vec![send("SendStreamingMessage")]);
    assert_eq!(world.until_done(&[]), 1);
    assert_eq!(world.reached, Step::ALL);
    assert_eq!(world.runs, 1);
    world.assert_answered_whole();
}

#[test]
fn a_crash_after_any_step_is_gone_on_from() {
    for method in ["SendStreamingMessage", "SendMessage"] {
        for step in Step::ALL {
            let mut world = World::new(vec![send(method)]);
            world.dies_after = Some(step);
            let workers = world.until_done(&[]);
            assert_eq!(workers, 2, "{step:?}");
            world.assert_answered_whole();
            let again = usize::from(step == Step::Running);
            assert_eq!(world.runs, 1 + again, "{method} {step:?}: only a run that was cut off is repeated");
        }
    }
}

#[test]
fn a_crash_before_any_effect_is_gone_on_from() {
    for method in ["SendStreamingMessage", "SendMessage"] {
        let mut whole = World::new(vec![send(method)]);
        whole.until_done(&[]);
        for life in 0..whole.now as usize {
            let mut world = World::new(vec![send(method)]);
            world.until_done(&[life]);
            world.assert_answered_whole();
            assert!(world.runs <= 2, "{method} {life}");
        }
    }
}

#[test]
fn a_request_that_is_delivered_again_when_all_is_done_is_answered_from_the_record() {
    for method in ["SendStreamingMessage", "SendMessage"] {
        let mut world = World::new(vec![send(method)]);
        world.until_done(&[]);
        let last = world.wire.last().unwrap().clone();
        world.inbox.push(send(method));
        world.until_done(&[]);
        assert_eq!(world.runs, 1);
        assert_eq!(world.wire.last(), Some(&last), "the same reply under the same number");
        world.assert_answered_whole();
    }
}

#[test]
fn steps_are_ordered_and_end() {
    assert!(Step::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].next() == Some(pair[1])));
    assert_eq!(Step::Closed.next(), None);
}

proptest! {
    #![proptest_config(seeded(200))]

    #[test]
    fn any_number_of_crashes_and_repetitions_end_in_one_whole_answer(
        lives in prop::collection::vec(0..20_usize, 0..6), copies in 1..3_usize, streams in any::<bool>(),
    ) {
        let method = if streams { "SendStreamingMessage" } else { "SendMessage" };
        let mut world = World::new(vec![send(method); copies]);
        world.until_done(&lives);
        world.assert_answered_whole();
        prop_assert!(world.runs <= 1 + lives.len());
    }
}
