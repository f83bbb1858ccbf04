//! The program from outside: every model keeps one contract, gives back what it took from the
//! system, and the command line says what it should.
//!
//! All tests are in this one binary. Servers are started as processes of their own, because they
//! change what belongs to a process: limits, signals, children.

mod support;

mod contract;
mod chaos;
mod full;
mod signals;
mod inherited;
mod forked;
mod locks;
mod workers;
mod passing;
mod counted;
mod herd;
mod oneshot;
mod cli;
mod load;
mod check;
mod demo;
mod doctor;
mod compare;
mod report;
mod unp30;
mod trace;
mod course;
mod facts;
mod terminal;
mod security;
mod languages;
mod build;
mod overview;
