//! What every model owes its clients, whatever it is made of.

mod bytes;
mod checked;
mod clients;
mod end;
mod limit;
mod many;
