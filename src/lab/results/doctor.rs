//! What limits a server, as data.

use crate::lab::env::Environment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What kind of document it is.
pub const SCHEMA: &str = "io-models/doctor";
/// Which version of it.
pub const SCHEMA_VERSION: u32 = 1;

/// Why the number of a server is lower than it could be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnosed {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The machine.
    pub environment: Environment,
    /// The name of the model, or of the program.
    pub name: String,
    /// The command that started it.
    pub server: String,
    /// The model that it is compared with.
    pub reference: String,
    /// How long it took.
    pub seconds: f64,
    /// A signal ended it early: what is missing was not measured.
    pub partial: bool,
    /// Each load that both servers had, in turn.
    pub loads: Vec<Load>,
    /// System calls of both servers, counted one by one.
    pub calls: Option<BothCalls>,
    /// What can limit a server, in the order in which it should be looked at.
    pub limiters: Vec<Limiter>,
    /// What could not be measured, or makes the figures doubtful.
    pub notes: Vec<Note>,
}

/// What could not be measured, or makes the figures doubtful.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Note {
    /// Other programs used the processors, or the scheduler let the generator and the servers wait for each other.
    OtherPrograms {
        /// For how much of the time the reference, which has one thread, waited for a processor.
        share: f64,
    },
    /// The turns of the first load differ so much that something else came between, or that the server is not the same in each.
    TurnsDiffer {
        /// How many there were.
        turns: usize,
        /// How many times as many answers a second the server gave as the reference in the turn in which it was least.
        least: f64,
        /// The same in the turn in which it was most.
        most: f64,
    },
    /// There is one processor: the generator and the servers take turns on it.
    OneProcessorHere,
    /// The server runs while nothing is asked of it.
    NeverSleeps,
    /// The server lost connections.
    Lost {
        /// Under which load.
        load: Kind,
        /// How many.
        connections: u64,
    },
    /// One client alone waits for long, nobody works meanwhile, and none of the limiters explains it.
    WaitsItself {
        /// How long, in microseconds: the median.
        p50_us: f64,
    },
    /// The server fails a check that each server should pass: its number may be high for no good reason.
    FailsCheck {
        /// What it did, and which check that was.
        why: String,
    },
    /// A load was not measured, because the server failed under it.
    LoadFailed {
        /// Which.
        load: Kind,
        /// What it did.
        why: String,
    },
    /// System calls were not counted.
    CallsNotCounted {
        /// Why.
        why: String,
    },
}

/// Which load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 64 connections, of which each asks 64 bytes as soon as it was answered.
    Requests,
    /// One connection that asks 64 bytes as soon as it was answered.
    OneConnection,
    /// 256 connections, of which each asks once, ends, and is opened again.
    Connections,
    /// 4 connections that ask 256 KiB each.
    LargeMessages,
    /// As `requests`, with eight under way on each connection.
    Pipelined,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 5] =
        [Kind::Requests, Kind::OneConnection, Kind::Connections, Kind::LargeMessages, Kind::Pipelined];
}

/// A load that both servers had, in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Which.
    pub kind: Kind,
    /// What the server did.
    pub server: Seen,
    /// What the reference did.
    pub reference: Seen,
    /// How many times as many answers a second the server gave as the reference.
    pub ratio: f64,
    /// The same in each turn.
    pub ratios: Vec<f64>,
}

/// What was seen of a server under a load: of several turns the median of each figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Answers a second.
    pub per_s: f64,
    /// The median time from a request to its answer, in microseconds. `null` without an answer.
    pub p50_us: Option<f64>,
    /// The share of the time in which the busiest thread of the generator had something to do.
    pub generator_busy: f64,
    /// Processors that the server used on average. `null` where the kernel does not tell.
    pub processors: Option<f64>,
    /// Of its busiest thread alone.
    pub busiest_thread: Option<f64>,
    /// Which share of its CPU time it was in the kernel.
    pub in_kernel: Option<f64>,
    /// How often its threads began to wait, for each answer.
    pub waits_per_answer: Option<f64>,
    /// For how long they waited for a processor, as a share of the time.
    pub kept_waiting: Option<f64>,
    /// Attempts to connect for which there was no local port.
    pub without_port: u64,
    /// How often the queue of a listening socket on this machine was full. `null` where the kernel does not tell.
    pub queue_full: Option<u64>,
    /// The longest time that a connection took to be there, in milliseconds, where connections come and go.
    pub slowest_connection_ms: Option<f64>,
    /// Connections that were lost.
    pub lost: u64,
}

/// System calls of both servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BothCalls {
    /// Of the server.
    pub server: Calls,
    /// Of the reference.
    pub reference: Calls,
}

/// System calls of a server, each of which was counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// For each request of one connection that asks again when it was answered, by the name of the call.
    pub per_request: BTreeMap<String, f64>,
    /// Of those, writes to standard output and standard error.
    pub prints_per_request: f64,
    /// Calls of futex(2) for each request, with 16 connections that ask together.
    pub futex_per_request: f64,
    /// Bytes that a call which receives gets of a message of 64 KiB, on average. `null` where there was no such call.
    pub bytes_per_receive: Option<f64>,
    /// Threads and processes that made a call.
    pub threads: usize,
    /// It set `TCP_NODELAY` on a socket.
    pub sets_nodelay: bool,
    /// The last value that it gave for `SO_SNDBUF`, if it did.
    pub send_buffer: Option<i32>,
    /// The same for `SO_RCVBUF`.
    pub receive_buffer: Option<i32>,
    /// The last value that it gave listen(2) for its queue.
    pub backlog: Option<i32>,
}

impl Calls {
    /// All together, for each request.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.per_request.values().sum()
    }
}

/// What can limit a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limiter {
    /// What it is.
    pub what: What,
    /// Whether it limits this one.
    pub verdict: Verdict,
    /// The load that it was judged by.
    pub load: Kind,
    /// What became of the number without it, as far as it can be taken away from outside.
    pub lifted: Vec<Lifted>,
    /// Why it could not be taken away, or why the number without it says little.
    pub why_not: Option<WhyNot>,
}

/// Why something cannot be taken away from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum WhyNot {
    /// This machine has fewer processors than it takes to show the number without it.
    FewProcessors {
        /// How many it takes.
        needed: usize,
        /// How many this process may use.
        here: usize,
    },
    /// It is a matter of what the program itself does.
    InTheProgram,
    /// The server is not reached at an address of IPv4 loopback, which has many own addresses.
    OneOwnAddress,
    /// The system refused it.
    Refused {
        /// Why.
        why: String,
    },
}

/// What can limit a server, in the order in which it should be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The load generator cannot ask for more.
    Generator,
    /// The queue of listen(2) is too short: a connection that finds it full comes a second later.
    Backlog,
    /// There are no local ports left for new connections.
    Ports,
    /// One thread uses a whole processor, or the server may use one alone.
    OneProcessor,
    /// Threads are woken for each request.
    WakeUps,
    /// It makes more system calls for each request than are needed.
    CallsPerRequest,
    /// Nagle's algorithm waits for an acknowledgement that the client delays.
    Nagle,
    /// Threads wait for each other.
    Lock,
    /// Large messages are moved in small pieces.
    SmallBuffers,
}

impl What {
    /// All of them, in order.
    pub const ALL: [What; 9] = [
        What::Generator,
        What::Backlog,
        What::Ports,
        What::OneProcessor,
        What::WakeUps,
        What::CallsPerRequest,
        What::Nagle,
        What::Lock,
        What::SmallBuffers,
    ];
}

/// Whether something limits a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Limits,
    /// It does not, under these loads.
    DoesNotLimit,
    /// It could not be found out.
    NotKnown,
}

/// The number before and after something was changed from outside. Both were measured in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifted {
    /// What was changed.
    pub how: How,
    /// What was seen before.
    pub before: Seen,
    /// What was seen with it.
    pub after: Seen,
    /// How many times as many answers a second there were.
    pub ratio: f64,
    /// The same in the turn in which it was least: by that it is judged, because what else the machine does is not in each turn.
    pub least_ratio: f64,
}

/// What was changed from outside. The server itself is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Two threads of the generator instead of one.
    TwoGeneratorThreads,
    /// listen(2) again on the server's socket, with a queue of 4096.
    LongerQueue,
    /// Clients from eight own addresses instead of one.
    MoreAddresses,
    /// The server may use all processors.
    AllProcessors,
    /// A second copy of the server, on another port, with half of the connections.
    SecondCopy,
    /// All threads of the server on one processor.
    OneProcessor,
    /// Eight requests under way on each connection.
    EightAtOnce,
    /// Standard output and standard error of the server are /dev/null.
    NoOutput,
    /// `TCP_NODELAY` on its sockets.
    NoDelay,
    /// Socket buffers of a mebibyte, or as large as the kernel allows.
    LargerBuffers,
}

impl Diagnosed {
    /// What was measured under this load.
    #[must_use]
    pub fn load(&self, kind: Kind) -> Option<&Load> {
        self.loads.iter().find(|load| load.kind == kind)
    }

    /// What limits it, in order.
    pub fn limits(&self) -> impl Iterator<Item = &Limiter> {
        self.limiters.iter().filter(|limiter| limiter.verdict == Verdict::Limits)
    }

    /// A saved one.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn read(text: &str) -> Result<Diagnosed, String> {
        super::read(text, SCHEMA, SCHEMA_VERSION, "run doctor again")
    }
}
