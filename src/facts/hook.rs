//! Something that stands between an experiment and every call that it makes.

use super::kernel::Call;
use crate::sys::raw::{
    Action, Address, At, Came, Completion, Mask, Message, ReadOnly, Reply, Sets, Submission,
};
use libc::{epoll_event, pollfd, timespec, timeval};
use std::time::Duration;

/// What may be done at each call. Whatever implements this is a [`Kernel`](super::kernel::Kernel).
pub(super) trait Hook: Sync {
    /// What the call gives without being made; `None` if it is made.
    fn instead<T: Given>(&self, _call: Call) -> Option<Reply<T>> {
        None
    }

    /// What the call gives, after it gave `reply` and filled `memory`.
    fn after<T: Given>(&self, call: Call, reply: Reply<T>, memory: &mut [&mut dyn Fill]) -> Reply<T>;
}

/// A value that a call gives.
pub(super) trait Given: Sized {
    /// What a call gives that did nothing and says that it succeeded.
    fn nothing() -> Self;

    /// A count that is `n` more; `false` if it is no count.
    fn add(&mut self, _n: i32) -> bool {
        false
    }
}

/// A change of memory that a call has filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The lowest bit that is set is lost.
    Lost,
    /// The lowest bit that is not set is gained.
    Gained,
    /// Nothing but zeros is left.
    Cleared,
}

impl Change {
    fn of(self, number: u64) -> u64 {
        match self {
            Change::Lost => number & number.wrapping_sub(1),
            Change::Gained => number | number.wrapping_add(1),
            Change::Cleared => 0,
        }
    }
}

/// An argument of a call, which may be memory that the call fills.
pub(super) trait Fill {
    /// Change it; `false` if there is nothing to change.
    fn change(&mut self, _change: Change) -> bool {
        false
    }
}

/// An argument, so that it can be looked at after the call.
pub(super) trait Again: Fill {
    type Same<'a>
    where
        Self: 'a;

    /// The same, for the call.
    fn again(&mut self) -> Self::Same<'_>;
}

macro_rules! copied {
    ($($type:ty),*) => { $(
        impl Fill for $type {}
        impl Again for $type {
            type Same<'b> = $type where Self: 'b;
            fn again(&mut self) -> $type { *self }
        }
    )* };
}
copied!(i32, u32, u64, i64, usize, Mask, Action, Option<epoll_event>, Option<Duration>);

macro_rules! shared {
    ($($type:ty),*) => { $(
        impl Fill for &$type {}
        impl<'a> Again for &'a $type {
            type Same<'b> = &'a $type where Self: 'b;
            fn again(&mut self) -> &'a $type { self }
        }
    )* };
}
shared!([u8], str, [i32], [Submission], Address, ReadOnly<timespec>);

macro_rules! filled {
    ($($type:ty: |$value:ident, $change:ident| $filled:expr;)*) => { $(
        impl Fill for &mut $type {
            fn change(&mut self, $change: Change) -> bool {
                let $value = &mut **self;
                $filled;
                true
            }
        }
        impl<'a> Again for &'a mut $type {
            type Same<'b> = &'b mut $type where Self: 'b;
            fn again(&mut self) -> &mut $type { self }
        }
        impl Fill for Option<&mut $type> {
            fn change(&mut self, change: Change) -> bool {
                self.as_mut().is_some_and(|value| value.change(change))
            }
        }
        impl<'a> Again for Option<&'a mut $type> {
            type Same<'b> = Option<&'b mut $type> where Self: 'b;
            fn again(&mut self) -> Option<&mut $type> { self.as_deref_mut() }
        }
    )* };
}
filled! {
    i32: |value, change| *value = change.of(u64::from(value.cast_unsigned())) as i32;
    i64: |value, change| *value = change.of(value.cast_unsigned()).cast_signed();
    [i32; 2]: |value, change| value[0] = change.of(u64::from(value[0].cast_unsigned())) as i32;
    timeval: |value, change| value.tv_sec = change.of(value.tv_sec.cast_unsigned()).cast_signed();
    timespec: |value, change| value.tv_sec = change.of(value.tv_sec.cast_unsigned()).cast_signed();
    [u8]: |value, change| match change {
        Change::Cleared => value.fill(0),
        change => value.iter_mut().take(1).for_each(|byte| *byte = change.of(u64::from(*byte)) as u8),
    };
}

/// A field of the entries of an array: the first that has a bit set loses it, the first of all gains one, all are cleared.
macro_rules! arrays {
    ($($type:ty: $field:ident as $number:ty;)*) => { $(
        impl Fill for At<'_, $type> {
            fn change(&mut self, change: Change) -> bool {
                let At::Memory(entries) = self else { return false };
                let has_bits = |entry: &&mut $type| change == Change::Gained || entry.$field != 0;
                let changed = entries.iter_mut().filter(has_bits);
                let most = if change == Change::Cleared { usize::MAX } else { 1 };
                changed.take(most).map(|entry| entry.$field = change.of(u64::from(entry.$field as $number)) as _).count() > 0
            }
        }
        impl<'a> Again for At<'a, $type> {
            type Same<'b> = At<'b, $type> where Self: 'b;
            fn again(&mut self) -> At<'_, $type> { At::again(self) }
        }
    )* };
}
arrays! {
    pollfd: revents as u16;
    epoll_event: events as u32;
}

impl Fill for Sets<'_> {
    fn change(&mut self, change: Change) -> bool {
        [&mut self.read, &mut self.write, &mut self.except].into_iter().any(|set| {
            let At::Memory(words) = set else { return false };
            let word = words.iter_mut().find(|word| change == Change::Gained || **word != 0);
            word.map(|word| *word = change.of(*word)).is_some()
        })
    }
}

impl<'a> Again for Sets<'a> {
    type Same<'b>
        = Sets<'b>
    where
        Self: 'b;
    fn again(&mut self) -> Sets<'_> {
        Sets::again(self)
    }
}

/// What a call gives that did nothing, and how a count becomes `n` more.
macro_rules! given {
    ($($type:ty = $nothing:expr $(, |$count:ident, $n:ident| $add:expr)?;)*) => { $(
        impl Given for $type {
            fn nothing() -> $type { $nothing }
            $(fn add(&mut self, $n: i32) -> bool {
                let $count = self;
                $add
            })?
        }
    )* };
}
given! {
    () = ();
    u64 = 0;
    [i32; 2] = [-1; 2];
    Address = Address::loopback(0);
    usize = 0, |count, n| { *count = count.saturating_add_signed(n as isize); true };
    i32 = 0, |count, n| { *count = count.saturating_add(n); true };
    // Of a child: the status.
    (i32, i32) = (0, 0), |child, n| child.1.add(n);
    Message = Message { bytes: 0, fds: Vec::new(), flags: 0 }, |message, n| message.bytes.add(n);
    Came = Came { signal: 0, code: 0, value: 0, fd: 0, band: 0 }, |came, n| came.value.add(n);
    Option<Completion> = None, |next, n| match next {
        Some(Completion { result: Ok(result), .. }) => result.add(n),
        _ => false,
    };
}
