//! What load to put on whom.

use crate::lab::units;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What load to put on whom: all that can be said of it before it begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// Connections that ask.
    pub active: usize,
    /// Connections that ask once, to be known to the server, and are silent from then on.
    pub idle: usize,
    /// Bytes a request.
    pub sizes: Sizes,
    /// What these bytes are.
    pub payload: Payload,
    /// What the server must answer.
    pub expect: Expect,
    /// The seed of the bytes that are sent, and of sizes and times where these are random.
    pub seed: u64,
    /// Give up on a connection after this long without an answer.
    pub patience: Duration,
    /// Requests under way on one connection, at most.
    pub depth: usize,
    /// Close a connection after so many requests, and open another.
    pub requests_per_conn: Option<u32>,
    /// Own addresses, used in turn; with none the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// How to wait.
    pub wait: Wait,
}

impl Plan {
    /// Connections in all.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.active.saturating_add(self.idle)
    }
}

/// What a generator does while there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Ask the kernel again at once. It takes a processor, and finds what comes without delay.
    Spin,
    /// Sleep until something comes or is due. The processor is free for others, and each time the generator has to
    /// be woken: its wake-up time is part of what it measures, and the server pays for waking it.
    Sleep,
}

impl Wait {
    /// What it does to the measurement, in a few words.
    #[must_use]
    pub fn effect(self) -> &'static str {
        match self {
            Wait::Spin => "it busy-waits and needs a processor of its own",
            Wait::Sleep => "it sleeps between requests: its wake-ups are part of the latency",
        }
    }
}

/// How the generator talks to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// epoll(7): two system calls per request (recv and send), and one epoll_wait for a batch of requests.
    Epoll,
    /// io_uring(7): one system call for a batch of requests.
    Uring,
}

/// The bytes that are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Each value of a byte, zero bytes and newlines included.
    #[default]
    Random,
    /// Letters, digits, `-` and `_`: for servers that handle text only.
    Text,
}

/// What the server must answer to a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The bytes of the request.
    #[default]
    Echo,
    /// The two bytes `ok`, whatever the request is.
    Ok,
}

/// The answer of [`Expect::Ok`].
pub(super) const OK: &[u8] = b"ok";

impl Expect {
    /// How many bytes the answer to a request of `size` bytes has.
    #[inline]
    pub(super) fn answer_to(self, size: u64) -> u64 {
        match self {
            Expect::Echo => size,
            Expect::Ok => OK.len() as u64,
        }
    }
}

/// How many bytes a request has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// Always so many.
    Fixed(u32),
    /// Any number from the first to the last, each as often.
    Range(u32, u32),
    /// Any of these, each as often.
    List(Vec<u32>),
}

impl Sizes {
    /// The size, if there is only one.
    #[must_use]
    pub fn fixed(&self) -> Option<u32> {
        match self {
            Sizes::Fixed(size) => Some(*size),
            _ => None,
        }
    }

    /// The largest.
    #[must_use]
    pub fn largest(&self) -> u32 {
        match self {
            Sizes::Fixed(size) | Sizes::Range(_, size) => *size,
            Sizes::List(sizes) => sizes.iter().copied().max().unwrap_or(1),
        }
    }

    /// The size of the next request.
    #[inline]
    pub(super) fn next(&self, random: &mut Rng) -> u64 {
        let size = match self {
            Sizes::Fixed(size) => *size,
            Sizes::Range(from, to) => random.u32(*from..=*to),
            Sizes::List(sizes) => sizes[random.usize(..sizes.len())],
        };
        size.into()
    }
}

/// For people: `64 bytes`.
impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sizes::Fixed(size) => write!(f, "{}", units::of((*size).into(), "byte")),
            Sizes::Range(from, to) => write!(f, "{from} to {to} bytes"),
            Sizes::List(sizes) => {
                let sizes: Vec<_> = sizes.iter().map(u32::to_string).collect();
                write!(f, "{} bytes", sizes.join(" or "))
            }
        }
    }
}
