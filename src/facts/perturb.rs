//! The real kernel, with one call of an experiment altered: which steps notice nothing, whatever is altered?
//!
//! A wrong kernel shows that one step of a fact can fail. This shows it of the others: a step that no alteration of any
//! call makes fail asserts nothing. tests/perturb.rs alters each call of each fact in each way.

use super::hook::{Change, Fill, Given, Hook};
use super::kernel::Call;
use crate::sys::Errno;
use crate::sys::raw::{Refusal, Reply};
use crate::sys::shared::{self, Row};
use std::cell::Cell;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

macro_rules! ways {
    ($($way:ident = $word:literal, $meaning:literal;)*) => {
        /// How a call is altered.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum How { $(#[doc = $meaning] $way,)* }

        impl How {
            /// All ways that there are.
            pub const ALL: &[How] = &[$(How::$way,)*];

            /// One word.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(How::$way => $word,)* }
            }
        }
    };
}

ways! {
    Dropped = "dropped", "It is not made, and seems to succeed.";
    Delayed = "delayed", "It is made 30 ms late.";
    Refused = "refused", "It is made, and gives EIO; what gives an errno gives another one.";
    Plus = "plus", "What it gives is one more.";
    Minus = "minus", "What it gives is one less.";
    Lost = "lost", "The memory that it fills lacks one bit.";
    Gained = "gained", "The memory that it fills has one bit more.";
    Cleared = "cleared", "The memory that it fills is all zero.";
}

/// One call of an experiment, altered in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alteration {
    /// Which call, from 0. Of many of the same in a row only the first three count.
    pub nth: usize,
    /// In which way.
    pub how: How,
}

impl Alteration {
    /// The one of that name, such as `17:lost`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Alteration> {
        let (nth, how) = text.split_once(':')?;
        let how = How::ALL.iter().copied().find(|way| way.name() == how)?;
        Some(Alteration { nth: nth.parse().ok()?, how })
    }
}

impl fmt::Display for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.nth, self.how.name())
    }
}

/// How late a delayed call is: longer than a scheduler lets a thread wait, and shorter than any time that an experiment
/// waits for.
const LATE: Duration = Duration::from_millis(30);

/// How many calls of the same kind in a row count: a loop that fills a buffer is not altered at each of its turns.
const IN_A_ROW: u64 = 3;

/// The real kernel, but for one call.
#[derive(Debug)]
pub(super) struct Perturbed {
    alteration: Alteration,
    /// The calls that this process and the children of the experiment made.
    calls: &'static Row<4>,
    /// The one that this process altered; who has it counts.
    altered: Mutex<Option<Call>>,
}

/// What is counted: the calls that count, the number of the last one, how many of the same were before it, those altered.
const COUNTED: usize = 0;
const LAST: usize = 1;
const IN_ROW: usize = 2;
const ALTERED: usize = 3;

thread_local! {
    /// Whether the call that this thread is in is the one to alter.
    static DUE: Cell<bool> = const { Cell::new(false) };
}

impl Perturbed {
    pub(super) fn new(alteration: Alteration) -> Perturbed {
        // Without shared memory the calls of children are not counted.
        let calls = shared::with_children().unwrap_or_else(|_| Box::leak(Box::new(Row::new())));
        Perturbed { alteration, calls, altered: Mutex::default() }
    }

    /// What became of the alteration so far.
    pub(super) fn altered(&self) -> Altered {
        let calls = self.calls.values();
        match *self.altered.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(call) => Altered::Call(format!("{call:?}")),
            None if calls[ALTERED] > 0 => Altered::Call("a call of a child".to_owned()),
            None if calls[COUNTED] > self.alteration.nth as u64 => Altered::Not,
            None => Altered::NoSuchCall,
        }
    }

    /// Whether the call that begins is the one to alter.
    fn begins(&self, call: Call) -> bool {
        let _counting = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = self.calls.values();
        let same = calls[COUNTED] > 0 && calls[LAST] == call as u64;
        let in_a_row = if same { calls[IN_ROW] + 1 } else { 0 };
        let counts = in_a_row < IN_A_ROW;
        self.calls.put(LAST, call as u64);
        self.calls.put(IN_ROW, in_a_row);
        self.calls.add_with_others(COUNTED, u64::from(counts));
        counts && calls[COUNTED] == self.alteration.nth as u64
    }

    /// The call was altered.
    fn did(&self, call: Call) {
        self.calls.add_with_others(ALTERED, 1);
        *self.altered.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }
}

impl Hook for Perturbed {
    fn instead<T: Given>(&self, call: Call) -> Option<Reply<T>> {
        let due = self.begins(call);
        DUE.set(due);
        match self.alteration.how {
            How::Dropped if due => {
                self.did(call);
                Some(Ok(T::nothing()))
            }
            How::Delayed if due => {
                self.did(call);
                // Not by a sleep, which a fact may be about: a thread that is late is not in its call yet.
                std::thread::park_timeout(LATE);
                None
            }
            _ => None,
        }
    }

    fn after<T: Given>(&self, call: Call, mut reply: Reply<T>, memory: &mut [&mut dyn Fill]) -> Reply<T> {
        if !DUE.replace(false) {
            return reply;
        }
        let mut change =
            |change| memory.iter_mut().fold(false, |any, argument| argument.change(change) | any);
        let changed = match self.alteration.how {
            How::Dropped | How::Delayed => false,
            How::Refused => {
                let errno = match &reply {
                    Err(refusal) if refusal.errno == Errno::EIO => Errno::ENXIO,
                    _ => Errno::EIO,
                };
                reply = Err(Refusal { call: "an altered call", errno });
                true
            }
            How::Plus => reply.as_mut().is_ok_and(|value| value.add(1)),
            How::Minus => reply.as_mut().is_ok_and(|value| value.add(-1)),
            How::Lost => change(Change::Lost),
            How::Gained => change(Change::Gained),
            How::Cleared => change(Change::Cleared),
        };
        if changed {
            self.did(call);
        }
        reply
    }
}

/// What became of an alteration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Altered {
    /// This call was altered.
    Call(String),
    /// The call cannot be altered in this way: it fills no memory, or gives no count.
    Not,
    /// The experiment ended before.
    NoSuchCall,
}
