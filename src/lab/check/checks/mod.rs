//! The checks, in the order of the report.

mod bytes;
mod clients;
mod cost;
mod edge;
mod end;
mod faults;
mod frame;
mod limits;
mod reset;
mod signals;
mod stop;

pub(in crate::lab::check) use cost::Churned;

use super::{Answers, Check, Needs};

/// All checks.
pub fn all() -> impl Iterator<Item = &'static Check> {
    let groups: [&[Check]; 11] = [
        &bytes::CHECKS,
        &end::CHECKS,
        &clients::CHECKS,
        &reset::CHECKS,
        &edge::CHECKS,
        &signals::CHECKS,
        &limits::CHECKS,
        &cost::CHECKS,
        &stop::CHECKS,
        &frame::CHECKS,
        &faults::CHECKS,
    ];
    groups.into_iter().flatten()
}

/// The check with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Check> {
    all().find(|check| check.id == id)
}

/// The first check: without it no other says anything.
const ANSWERS: &str = "echo/one-byte";

/// And without this one no other can tell whose bytes it sees.
const NOTHING_MORE: &str = "echo/nothing-more";

/// What a check takes that has more than one client.
pub(in crate::lab::check) const IN_TURN: &str = "clients/one-after-another";

/// What messages take that are larger than a usual buffer.
const LARGE: &str = "echo/buffer-16384";

/// What a check takes that sends several requests without waiting: one recv(2) may find more than one of them.
const PIPELINED: &str = "echo/pipelined";

/// What most checks have in common.
const USUAL: Check = Check {
    id: "",
    claim: "",
    does: "",
    matters: "",
    cause: "",
    reference: "",
    needs: Needs::Address,
    clients: 1,
    answers: Answers::Any,
    after: &[ANSWERS, NOTHING_MORE, IN_TURN],
    run: |_| Ok(()),
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// No check depends on itself, by way of others.
    #[test]
    fn checks_can_be_put_in_an_order() {
        let mut open: Vec<_> = all().collect();
        let mut done = HashSet::new();
        while !open.is_empty() {
            let next = open.iter().position(|check| check.after.iter().all(|id| done.contains(id)));
            let next = next.unwrap_or_else(|| panic!("none of {open:?} can be made"));
            done.insert(open.swap_remove(next).id);
        }
    }

    #[test]
    fn every_check_is_described() {
        let mut earlier = HashSet::new();
        for check in all() {
            for text in [check.claim, check.does, check.matters, check.cause] {
                assert!(text.ends_with('.'), "{}: {text:?} is no sentence", check.id);
            }
            assert!(!check.reference.is_empty(), "{} has no reference", check.id);
            assert!(check.id.contains('/'), "{} has no group", check.id);
            assert!(earlier.insert(check.id), "{} is there twice", check.id);
        }
        assert!(earlier.len() >= 40, "{} checks", earlier.len());
    }
}
