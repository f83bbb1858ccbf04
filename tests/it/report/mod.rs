//! `io-models report`: a saved result, drawn again.

mod browser;
mod page;
mod program;
mod trace;
pub(crate) mod sample;
pub(crate) mod traces;
