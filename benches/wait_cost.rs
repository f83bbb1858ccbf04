//! What one wait costs with more and more watched sockets, of which few are active: select and poll look at all of them, epoll and
//! io_uring at the active ones. mio and polling wait with epoll too.
//!
//! A turn is a byte to each active socket, a wait that reports them, and a recv from each. The row `none` is the same without the
//! wait, so the difference to it is the price of waiting. `cargo bench --bench wait_cost`

#[expect(dead_code, reason = "register_cost uses all of it")]
mod watch;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use io_models::sys::epoll::EpollFlags;
use std::time::Duration;
use watch::{Epoll, Mio, Pairs, Poll, Polling, Select, SelectBig, Watch, turn};

/// At most so many sockets are active.
const MOST: usize = 100;

fn waits(c: &mut Criterion) {
    for watched in [10, 100, 1000, 9000] {
        let pairs = match Pairs::new(watched) {
            Ok(pairs) => pairs,
            Err(why) => {
                eprintln!("skipped: {why}");
                continue;
            }
        };
        rows(c, "wait, 1 active", &pairs, 1);
        rows(c, "wait, up to 100 active", &pairs, watched.min(MOST));
    }
}

fn rows(c: &mut Criterion, question: &str, pairs: &Pairs, active: usize) {
    let mut group = c.benchmark_group(question);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    // Spread over all of them, from the middle of the first part on.
    let apart = pairs.ours.len() / active;
    let active: Vec<_> = (0..active).map(|i| i * apart + apart / 2).collect();

    group.bench_function(BenchmarkId::new("none", pairs.ours.len()), |b| {
        b.iter(|| {
            active.iter().for_each(|&i| pairs.write(i));
            active.iter().for_each(|&i| pairs.read(i));
        });
    });
    row(&mut group, "select", pairs, &active, Select::new(pairs));
    row(&mut group, "select-big", pairs, &active, Ok(SelectBig::default()));
    row(&mut group, "poll", pairs, &active, Ok(Poll::default()));
    row(&mut group, "epoll-level", pairs, &active, Ok(Epoll::new(EpollFlags::empty())));
    row(&mut group, "epoll-edge", pairs, &active, Ok(Epoll::new(EpollFlags::EPOLLET)));
    #[cfg(feature = "uring")]
    row(&mut group, "uring-poll", pairs, &active, watch::Uring::new());
    row(&mut group, "mio", pairs, &active, Ok(Mio::new()));
    row(&mut group, "polling", pairs, &active, Ok(Polling::new()));
}

fn row<W: Watch>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pairs: &Pairs,
    active: &[usize],
    watch: Result<W, String>,
) {
    let watched = pairs.ours.len();
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(why) => return eprintln!("skipped: {name} with {watched} watched: {why}"),
    };
    pairs.ours.iter().enumerate().for_each(|(i, socket)| watch.add(socket, i));
    watch.hand_over();
    let mut ready = Vec::with_capacity(active.len());
    group.bench_function(BenchmarkId::new(name, watched), |b| {
        b.iter(|| turn(&mut watch, pairs, active, &mut ready));
    });
}

criterion_group!(benches, waits);
criterion_main!(benches);
