//! `io-models trace`: every call of a server, and what lies in the buffers.

mod counts;
mod program;
