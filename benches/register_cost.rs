//! What it costs to begin to watch a socket, to watch it for something else too, and to end it, beside 10 or 9000 that are watched.
//!
//! select and poll only write that down in memory of the process, and pay at each wait (`wait_cost`). epoll makes a system call each
//! time. The ring queues the operations of 100 sockets and tells the kernel of all of them with one call or a few, which is measured too;
//! to watch for something else it cancels the poll and makes another.
//!
//! The operations on 100 sockets are timed together. After the last ones of a sample, outside the time, a wait shows that they
//! hold. `cargo bench --bench register_cost`

mod watch;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use io_models::sys::epoll::EpollFlags;
use std::ops::Range;
use std::time::{Duration, Instant};
use watch::{Epoll, Mio, Pairs, Poll, Polling, Select, SelectBig, Watch, turn, wait_for_all};

/// So many sockets at a time are added, changed and taken out.
const BATCH: usize = 100;

fn registers(c: &mut Criterion) {
    for watched in [10, 9000] {
        let pairs = match Pairs::new(watched + BATCH) {
            Ok(pairs) => pairs,
            Err(why) => {
                eprintln!("skipped: {why}");
                continue;
            }
        };
        let mut group = c.benchmark_group("register");
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
        row(&mut group, "select", &pairs, Select::new(&pairs));
        row(&mut group, "select-big", &pairs, Ok(SelectBig::default()));
        row(&mut group, "poll", &pairs, Ok(Poll::default()));
        row(&mut group, "epoll-level", &pairs, Ok(Epoll::new(EpollFlags::empty())));
        #[cfg(feature = "uring")]
        row(&mut group, "uring-poll", &pairs, watch::Uring::new());
        row(&mut group, "mio", &pairs, Ok(Mio::new()));
        row(&mut group, "polling", &pairs, Ok(Polling::new()));
    }
}

fn row<W: Watch>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pairs: &Pairs,
    watch: Result<W, String>,
) {
    let watched = pairs.ours.len() - BATCH;
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(why) => return eprintln!("skipped: {name} with {watched} watched: {why}"),
    };
    for (i, socket) in pairs.ours.iter().enumerate().take(watched) {
        watch.add(socket, i);
    }
    watch.hand_over();
    let mut bench = Bench { watch, pairs, watched };
    for (name_of, step) in [("add", Step::Add), ("change", Step::Change), ("remove", Step::Remove)] {
        group.bench_function(BenchmarkId::new(format!("{name} {name_of}"), watched), |b| {
            b.iter_custom(|times| bench.time(times, step));
        });
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Add,
    Change,
    Remove,
}

struct Bench<'a, W> {
    watch: W,
    pairs: &'a Pairs,
    /// The sockets from this one on come and go.
    watched: usize,
}

impl<W: Watch> Bench<'_, W> {
    /// How long so many of these steps take.
    fn time(&mut self, times: u64, timed: Step) -> Duration {
        let steps: &[Step] = match timed {
            Step::Change => &[Step::Add, Step::Change, Step::Remove],
            _ => &[Step::Add, Step::Remove],
        };
        let (mut taken, mut left) = (Duration::ZERO, times as usize);
        while left > 0 {
            let batch = self.watched..self.watched + left.min(BATCH);
            left -= batch.len();
            for &step in steps {
                let started = Instant::now();
                self.take(step, batch.clone());
                if step == timed {
                    taken += started.elapsed();
                }
                if left == 0 {
                    self.check(step, batch.clone().collect());
                }
            }
        }
        taken
    }

    fn take(&mut self, step: Step, batch: Range<usize>) {
        for i in batch {
            let socket = &self.pairs.ours[i];
            match step {
                Step::Add => self.watch.add(socket, i),
                Step::Change => self.watch.add_writing(socket, i),
                Step::Remove => self.watch.remove(socket, i),
            }
        }
        self.watch.hand_over();
    }

    fn check(&mut self, after: Step, batch: Vec<usize>) {
        let mut ready = Vec::new();
        match after {
            Step::Add => turn(&mut self.watch, self.pairs, &batch, &mut ready),
            Step::Change => {
                wait_for_all(&mut self.watch, batch.len(), &mut ready);
                ready.sort_unstable();
                assert_eq!(ready, batch, "there is room to write");
            }
            Step::Remove => {
                batch.iter().for_each(|&i| self.pairs.write(i));
                turn(&mut self.watch, self.pairs, &[0], &mut ready);
                assert_eq!(ready, [0]);
                batch.iter().for_each(|&i| self.pairs.read(i));
            }
        }
    }
}

criterion_group!(benches, registers);
criterion_main!(benches);
