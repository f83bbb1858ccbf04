//! `io-models check`: what it says of servers with one fault each, and its command line.

mod course;
mod planted;
mod program;
