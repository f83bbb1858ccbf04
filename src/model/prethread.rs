//! A fixed number of threads, each serving one client after another, blocking calls: UNP chapter 30 design 7.
//!
//! No thread is made for a client: the price of `thread` is paid once, before the first client comes. All of them wait in
//! accept(2) on the same listener, and the kernel wakes one for each client. (The book has a mutex around accept, because some
//! systems of its time failed without.) Each worker is the server of `blocking.rs`, so there are never more clients than threads:
//! the others wait in the queue of the listener, behind clients that may say nothing.
//!
//! System calls per request: recv and send.

use super::blocking::one_after_another;
use crate::Result;
use crate::observer::Observer;
use crate::serve::workers::in_threads;
use crate::serve::{Job, Sleepers, Totals, finish};

/// Serve one client in each thread until the stop.
///
/// # Errors
///
/// Those of the listener; `EAGAIN` when there are not as many threads. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let Job { ref listener, stop, workers, .. } = job;
    let sleepers = Sleepers::with_those_at(listener);
    let totals = in_threads(workers, stop, &sleepers, |worker, stop| {
        let (pump, last, totals) = one_after_another(job.pump(worker), listener, stop, &sleepers)?;
        finish(pump, last, totals)
    })?;
    job.listener.close();
    Ok(totals)
}
