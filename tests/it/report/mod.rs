//! `io-models report`: a saved comparison, drawn again.

mod browser;
mod page;
mod program;
pub(crate) mod sample;
