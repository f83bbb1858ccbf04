//! An echo server that wastes a known time on each request, to see whether a comparison notices.
//!
//! `cargo run --release --example slowed_echo -- PORT NANOSECONDS`; with 0 it is `epoll-level`. `scripts/aa.sh` runs it.

use io_models::echo::Reply;
use io_models::initserver::initserver;
use io_models::model::epoll_level;
use io_models::observer::Observer;
use io_models::serve::Job;
use io_models::stop;
use std::env;
use std::error::Error;
use std::hint::black_box;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Steps from which the length of one is taken.
const MANY: u64 = 20_000_000;

/// Counts to this number whenever something was received.
struct Waste(u64);

impl Observer for Waste {
    fn received(&mut self, _: RawFd, _: &[u8]) {
        count_to(self.0);
    }
}

/// Count, in steps that no compiler leaves out. A clock that is read until a time has passed would be exact only to the time
/// that the reading takes.
fn count_to(steps: u64) {
    for step in 0..steps {
        black_box(step);
    }
}

/// Steps in `time`, by the fastest of several tries: the slower ones were interrupted.
fn steps_in(time: Duration) -> u64 {
    let try_out = || {
        let began = Instant::now();
        count_to(MANY);
        began.elapsed()
    };
    let fastest = (0..5).map(|_| try_out()).min().unwrap_or_default();
    (time.as_secs_f64() / fastest.as_secs_f64() * MANY as f64).round() as u64
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(port), Some(waste), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: slowed_echo PORT NANOSECONDS".into());
    };
    let steps = steps_in(Duration::from_nanos(waste.parse()?));
    let listener = initserver(format!("127.0.0.1:{port}").parse()?)?;
    let (stopper, stop) = stop::pair()?;
    stopper.stop_on_signals()?;
    epoll_level::serve(Job::new(listener, &stop, Reply::Echo).observed(&|_| Waste(steps)))?;
    Ok(())
}
