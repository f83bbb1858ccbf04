//! What every model owes its clients, whatever it is made of.

mod bytes;
mod clients;
mod end;
mod limit;
mod many;
