//! Signals and the calls that they interrupt; fork and what a child has; children and how they are waited for.

mod children;
mod delivery;
mod forking;
mod restart;
mod signalfd;

use super::Fact;

pub(in crate::facts) use forking::tell_of_signals;

pub(super) const FACTS: &[&[Fact]] =
    &[restart::FACTS, children::FACTS, delivery::FACTS, signalfd::FACTS, forking::FACTS];
