//! What one or two servers did for the same clients, call by call, as data.

use crate::lab::SystemCalls;
use crate::lab::env::Environment;
use crate::lab::results::check::Expect;
use crate::lab::units::of;
use serde::{Deserialize, Serialize};

/// What kind of document it is.
pub const SCHEMA: &str = "io-models/trace";
/// Which version of it.
pub const SCHEMA_VERSION: u32 = 1;

/// A result that is read has no more servers than that.
pub const MOST_SERVERS: usize = 2;
/// And no more steps and clients.
pub const MOST: usize = 100;
/// And no more remarks: each is about a client, or about the server.
pub const MOST_REMARKS: usize = 1000;
/// And no more threads of a server.
pub const MOST_TASKS: usize = 1000;
/// And no more events of a server.
pub const MOST_EVENTS: usize = 20_000;

/// The traces of one or two servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traced {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The machine.
    pub environment: Environment,
    /// What the clients did, the same for each server.
    pub script: Vec<Step>,
    /// What the servers answer. Whether `ok` came as often as it should is not judged.
    pub expect: Expect,
    /// How long it took.
    pub seconds: f64,
    /// A signal ended it before the script was at its end.
    pub partial: bool,
    /// One, or two to compare.
    pub servers: Vec<Recording>,
}

/// What the clients do at once. Then they wait until the server sleeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is called, such as `ask again`.
    pub name: String,
    /// Its actions, as the script writes them: `A send 64`.
    pub actions: Vec<String>,
}

/// What one server did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The name of the model, or of the program.
    pub name: String,
    /// The command that started it.
    pub server: String,
    /// Its processes and threads, in the order in which they were first seen.
    pub tasks: Vec<Task>,
    /// The names of the clients: the index of a client is its place here.
    pub clients: Vec<String>,
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// What a reader should look at.
    pub remarks: Vec<Remark>,
    /// What the clients got back, one of each.
    pub answers: Vec<Answer>,
    /// System calls of the server from its start to its end, those that are no events included. They are those that `strace -f -c` counts.
    pub calls: SystemCalls<u64>,
    /// Calls that would have been events, but came after so many that they are only counted.
    pub left_out: u64,
    /// What could not be seen, and why.
    pub notes: Vec<String>,
}

/// A thread of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The number of its process.
    pub process: i32,
    /// Its own number, which for the first thread of a process is the same.
    pub thread: i32,
    /// Which it is among the tasks: `process 1`, `process 1, thread 2`.
    pub name: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in microseconds since the server was started.
    pub at_us: f64,
    /// Its step, as an index. `None` before the first one, while the server starts, and after the last one, while it ends.
    pub step: Option<usize>,
    /// What happened.
    pub what: What,
    /// What lay in the buffers after it, a client each that is connected. Empty where it is the same as after the event before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fills: Vec<Fill>,
    /// How many connections waited in the accept queue after it. `None` where it is the same as before, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_queue: Option<u32>,
    /// The other server did nothing like it in this step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_here: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// A client did something.
    Client(Action),
    /// A call began, and did not return before something else happened: the thread waits in it. The [`Call`] comes later, if it returns.
    Begins(Call),
    /// A call returned.
    Call(Call),
    /// A signal was delivered.
    Signal {
        /// To which thread, as an index.
        task: usize,
        /// Its name, such as `SIGCHLD`.
        name: String,
    },
    /// A thread or a process was there for the first time.
    Started {
        /// Which, as an index.
        task: usize,
    },
    /// A thread or a process ended.
    Ended {
        /// Which, as an index.
        task: usize,
        /// How: `exit 0`, `SIGTERM`.
        how: String,
    },
}

/// What a client did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Which client, as an index.
    pub client: usize,
    /// What.
    #[serde(rename = "does")]
    pub verb: Verb,
    /// How many bytes were sent or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What a client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Connect, and the connection stands: it is in the accept queue of the server, or was accepted.
    Connects,
    /// Send bytes that must come back.
    Sends,
    /// Read what has come.
    Reads,
    /// Read the end of the stream.
    ReadsEnd,
    /// `shutdown(SHUT_WR)`: it sends no more, and goes on reading.
    HalfCloses,
    /// close(2).
    Closes,
    /// Close with RST.
    Resets,
    /// It was told that the connection was reset.
    IsReset,
}

/// A system call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Of which thread, as an index.
    pub task: usize,
    /// Its name.
    pub name: String,
    /// What it is on: the socket of a client, the listener, what waits for readiness, or something else. `None` where it is on no descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<On>,
    /// Its arguments as strace(1) prints them, without the name: `5, "hel"..., 64, MSG_NOSIGNAL`. Those that the kernel writes are there
    /// when it has returned.
    pub arguments: String,
    /// What it returned: the number, or -1 when it failed. `None` while it has not returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<i64>,
    /// How it failed, such as `EAGAIN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// How long it took, in microseconds, tracing included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<f64>,
    /// What a wait has told: the descriptors that are ready, and for what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<Ready>,
    /// The client whose connection accept(2) returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<usize>,
    /// The event that ended the wait, as an index: an action of a client, a signal, or the end of a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woken_by: Option<usize>,
    /// How often the same call was made with the same result, one after the other, without anything in between. Only the first one is here.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u64,
    /// The fact on which it rests, of `io-models facts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
}

fn once() -> u64 {
    1
}

fn is_once(times: &u64) -> bool {
    *times == 1
}

/// What a call is on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The connection of a client, as an index.
    Client(usize),
    /// A listening socket.
    Listener,
    /// An epoll instance.
    Epoll,
    /// Something else, as /proc names it: `eventfd`, `pipe`, `io_uring`, `/dev/null`.
    Other(String),
}

/// A descriptor that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Which.
    pub on: On,
    /// For what, such as `EPOLLIN|EPOLLRDHUP`, `POLLIN`, `readable`.
    pub events: String,
}

/// What lay in the buffers of a connection. `None`: the kernel did not tell, or there is no such connection any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Which client, as an index.
    pub client: usize,
    /// Bytes in the receive buffer of the server, which it has not read.
    pub received: Option<u64>,
    /// Bytes that the server has sent, and that have not arrived in the receive buffer of the client: they lie in the send buffer of the
    /// server. (A copy of what has arrived stays there, too, until it is acknowledged.)
    pub unsent: Option<u64>,
    /// Bytes in the receive buffer of the client, which it has not read.
    pub unread: Option<u64>,
}

/// Something that a reader should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remark {
    /// The event at which it shows, as an index.
    pub event: usize,
    /// What it is.
    pub what: Remarkable,
    /// Which client, as an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<usize>,
    /// How many bytes, connections or wake-ups.
    pub count: u64,
}

/// What is worth to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remarkable {
    /// All threads wait, and bytes of a client lie unread in its receive buffer: the event for them was told, and is forgotten.
    UnreadWhileWaiting,
    /// All threads wait for other clients, one each, and bytes of this one or connections lie unread until then: no wait of theirs can
    /// tell of them.
    BusyWithAnother,
    /// All threads wait, and connections lie in the accept queue.
    UnacceptedWhileWaiting,
    /// It was woken again and again by something for which it did nothing.
    WokenInVain,
    /// A client did not get back what it sent.
    AnswerMissing,
    /// A client got back other bytes than it sent.
    AnswerWrong,
    /// It closed a connection with unread bytes, so that the kernel sent RST.
    ClosedUnread,
    /// It never sleeps.
    NeverSleeps,
}

/// What a client got back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Which client, as an index.
    pub client: usize,
    /// Bytes that it sent.
    pub sent: u64,
    /// Bytes that came back and were right.
    pub right: u64,
    /// Whether another byte came back than that which was sent.
    pub is_wrong: bool,
}

impl Traced {
    /// What `trace --json` wrote.
    ///
    /// # Errors
    ///
    /// Why it is something else, or too large, in words.
    pub fn read(text: &str) -> Result<Traced, String> {
        let result: Traced = super::read(text, SCHEMA, SCHEMA_VERSION, "trace again")?;
        result.possible().map_err(|why| super::damaged(&why))
    }

    /// The same, if `trace` can have written it: every index is one of something, and the steps come one after the other.
    fn possible(self) -> Result<Traced, String> {
        let at_most = |n: usize, one: &str, most: usize| match n {
            n if n > most => Err(format!("it has {}, and at most {most} are read", of(n as u64, one))),
            _ => Ok(()),
        };
        at_most(self.servers.len(), "server", MOST_SERVERS)?;
        at_most(self.script.len(), "step", MOST)?;
        if self.servers.is_empty() {
            return Err("it has no server".to_owned());
        }
        for server in &self.servers {
            at_most(server.clients.len(), "client", MOST)?;
            at_most(server.remarks.len(), "remark", MOST_REMARKS)?;
            at_most(server.tasks.len(), "thread", MOST_TASKS)?;
            at_most(server.events.len(), "event", MOST_EVENTS)?;
            server.possible(self.script.len()).map_err(|why| format!("{}: {why}", server.name))?;
        }
        Ok(self)
    }
}

impl Recording {
    /// Whether a recording can be so.
    fn possible(&self, steps: usize) -> Result<(), String> {
        let (clients, tasks, events) = (self.clients.len(), self.tasks.len(), self.events.len());
        let is = |index: usize, all: usize, what: &str| match index {
            index if index < all => Ok(()),
            _ => Err(format!("{what} {index} is not one of {all}")),
        };
        let on = |on: &On| match on {
            On::Client(index) => is(*index, clients, "client"),
            _ => Ok(()),
        };
        let call = |at: usize, call: &Call| {
            is(call.task, tasks, "thread")?;
            call.on.iter().chain(call.ready.iter().map(|ready| &ready.on)).try_for_each(on)?;
            match call.woken_by {
                Some(cause) if cause >= at => {
                    Err(format!("event {at} was woken by {cause}, which came later"))
                }
                _ if call.times == 0 => Err(format!("the call of event {at} was never made")),
                _ => Ok(()),
            }
        };
        // Before the first step there is none, then each step follows the one before, and after the last one there is none.
        let mut step = None;
        let mut is_over = false;
        for (at, event) in self.events.iter().enumerate() {
            if event.step.is_some_and(|step| step >= steps) {
                return Err(format!("event {at} is of a step that is not one of {steps}"));
            }
            if (is_over && event.step.is_some()) || (event.step.is_some() && event.step < step) {
                return Err(format!("event {at} is of a step that was over"));
            }
            is_over = step.is_some() && event.step.is_none();
            step = event.step.or(step);
            if !event.at_us.is_finite() {
                return Err(format!("event {at} has no time"));
            }
            event.fills.iter().try_for_each(|fill| is(fill.client, clients, "client"))?;
            match &event.what {
                What::Client(action) => is(action.client, clients, "client")?,
                What::Begins(begun) => call(at, begun)?,
                What::Call(done) => call(at, done)?,
                What::Signal { task, .. } | What::Started { task } | What::Ended { task, .. } => {
                    is(*task, tasks, "thread")?;
                }
            }
        }
        for remark in &self.remarks {
            is(remark.event, events, "event")?;
            remark.client.map_or(Ok(()), |client| is(client, clients, "client"))?;
        }
        self.answers.iter().try_for_each(|answer| is(answer.client, clients, "client"))?;
        match self.calls.by_name.iter().find(|(_, n)| !n.is_u64()) {
            Some((name, n)) => Err(format!("{name} was called {n} times")),
            None => Ok(()),
        }
    }
}
