//! `io-models report`: a saved comparison, drawn again.

mod browser;
mod page;
mod program;
mod sample;
