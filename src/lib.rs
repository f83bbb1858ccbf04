//! Linux network I/O models, side by side: each server design in one readable file, behind one
//! [`initserver`](initserver::initserver) and one [echo handler](echo), over thin safe wrappers of
//! the system calls.
//!
//! A program that wants the models or the wrappers turns the measuring tools off, and then needs nix, libc and thiserror only:
//!
//! ```toml
//! io-models = { version = "0.1", default-features = false }
//! ```
//!
//! # The modules, in reading order
//!
//! The [models](model) are what this crate is about. What stands before them here is what their loops use.
//!
//! 1. [`initserver`]: from an address to a listening socket.
//! 2. [`echo`]: what happens to the bytes of a client.
//! 3. [`observer`]: whom a loop tells what it does.
//! 4. [`serve`]: what the loops share: what to serve, whom to accept, who is connected, the end.
//! 5. [`stop`]: how a loop is told to end.
//! 6. [`startup`]: what a process inherits from its parent.
//! 7. [`model`]: the server models, and the table of them.
//! 8. [`tcp`]: a blocking client and a blocking server, as the two classes of the course.
//! 9. [`transfer`]: files over TCP, as two programs of the course.
#![cfg_attr(feature = "facts", doc = "10. [`facts`]: what the kernel does, as experiments.")]
//! 11. [`error`]: what can go wrong: the call, the descriptor, the errno.
//! 12. [`remedy`]: from an errno to what the user can do about it.
//! 13. [`sys`]: the system calls, thin and safe. All `unsafe` is there.
//!
//! # How a byte travels
//!
//! ```text
//! client            kernel                       a loop of ours
//!  | connect  -->  accept queue  --readable-->  wait               (select | poll | epoll | …)
//!  |                                             |- stop readable?     end in order: serve::finish
//!  |                                             |- listener readable? Acceptor::next -> Conn
//!  | bytes    -->  receive buffer --readable-->  |- client readable?   Pump::pump
//!  |                                             |                       recv -> Handler -> send at once
//!  | <--bytes      send buffer    <------------- |                       the rest is kept: unsent
//!  |                                             |                       -> Want::{Read, ReadMore, Write, Close}
//!  |                                             |- the model turns Want into ITS OWN bookkeeping
//!  | close    -->  FIN           --readable-->   |- recv gives 0 -> Want::Close
//! ```
//!
//! # A first example
//!
//! A server of any model, in a thread, told to stop:
//!
//! ```
//! use io_models::{echo::Reply, initserver::initserver, model, serve::Job, stop};
//! use std::io::{Read, Write};
//!
//! let listener = initserver("127.0.0.1:0".parse()?)?;
//! let addr = listener.addr();
//! let (stopper, stop) = stop::pair()?;
//! let epoll = model::find("epoll-edge").ok_or("no such model")?;
//! let server = std::thread::spawn(move || (epoll.serve)(Job::new(listener, &stop, Reply::Echo)));
//!
//! let mut client = std::net::TcpStream::connect(addr)?;
//! client.write_all(b"hello")?;
//! let mut answer = [0; 5];
//! client.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"hello");
//!
//! stopper.stop()?;
//! let totals = server.join().expect("the server did not panic")?;
//! assert_eq!((totals.connections, totals.bytes_in, totals.bytes_out), (1, 5, 5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::unwrap_used)]

#[cfg(not(target_os = "linux"))]
compile_error!("io-models is about Linux: epoll, eventfd and /proc/PID/task exist nowhere else");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("io-models needs a 64-bit Linux: the kernel's timespec differs from libc's elsewhere");

pub mod initserver;
pub mod echo;
pub mod observer;
pub mod serve;
pub mod stop;
pub mod startup;
pub mod model;
pub mod tcp;
pub mod transfer;
#[cfg(feature = "facts")]
pub mod facts;
// What the programs are made of. It is public for them, and changes with them.
#[cfg(feature = "lab")]
#[doc(hidden)]
pub mod course;
#[cfg(feature = "lab")]
#[doc(hidden)]
pub mod lab;
pub mod error;
pub mod remedy;
#[expect(unsafe_code, reason = "the only place that calls the kernel")]
pub mod sys;

pub use error::{Error, Result};
