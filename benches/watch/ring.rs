//! io_uring(7) as a source of readiness.

use super::Watch;
use io_models::sys::Errno;
use io_models::sys::uring::{Event, Ring, Setup, unavailable};
use std::os::unix::net::UnixStream;

/// A poll for each socket, which reports once.
pub(crate) struct Uring {
    ring: Ring,
    /// What was ready when the kernel was told of the poll.
    ready: Vec<usize>,
}

impl Uring {
    pub(crate) fn new() -> Result<Uring, String> {
        match unavailable() {
            Some(why) => Err(why),
            None => {
                let setup = Setup::default();
                Ok(Uring { ring: Ring::new(setup).expect("it is available"), ready: Vec::new() })
            }
        }
    }

    fn poll(&mut self, socket: &UnixStream, token: usize, events: i16) {
        self.ring.poll_fd(socket, events, token as u64).expect("the kernel has memory");
    }

    fn take(&mut self) {
        while let Some(completion) = self.ring.next() {
            match completion.event {
                Event::Ready(Ok(_)) => self.ready.push(completion.token as usize),
                Event::Ready(Err(Errno::ECANCELED)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Watch for Uring {
    fn add(&mut self, socket: &UnixStream, token: usize) {
        self.poll(socket, token, libc::POLLIN);
    }

    fn add_writing(&mut self, socket: &UnixStream, token: usize) {
        self.remove(socket, token);
        self.poll(socket, token, libc::POLLIN | libc::POLLOUT);
    }

    fn remove(&mut self, _: &UnixStream, token: usize) {
        self.ready.retain(|&ready| ready != token);
        self.ring.cancel_poll(token as u64).expect("the kernel has memory");
    }

    fn again(&mut self, socket: &UnixStream, token: usize) {
        self.poll(socket, token, libc::POLLIN);
    }

    fn hand_over(&mut self) {
        self.ring.enter(0, None).expect("the kernel has memory");
        self.take();
    }

    fn wait(&mut self, ready: &mut Vec<usize>) {
        while self.ready.is_empty() {
            self.ring.enter(1, None).expect("the kernel has memory");
            self.take();
        }
        ready.append(&mut self.ready);
    }
}
