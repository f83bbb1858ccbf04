//! The number before and after, in Rust and in C++.

use super::{languages, shown};
use io_models::lab::demo::ALL;
use io_models::lab::results::demo::{Demonstration, Drawn, Language, Run};
use std::collections::BTreeSet;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What must be so of a demo.
type Holds = fn(&Demonstration);

/// For each of them.
const HOLDS: [(&str, Holds); 15] = [
    ("level-or-edge", |shown| {
        spins(shown);
        // A whole request takes the same calls: no difference is shown.
        assert_eq!(shown.broken.figures["calls"], shown.mended.figures["calls"], "{shown:?}");
    }),
    ("one-read-per-edge", |shown| parts(shown, [1024.0, 7168.0], [8192.0, 0.0])),
    ("one-accept-per-edge", |shown| parts(shown, [1.0, 15.0], [16.0, 0.0])),
    ("epollout-left-on", spins),
    ("write-flood", |shown| {
        assert!(shown.broken.number < shown.mended.number, "{shown:?}");
        assert_eq!(part(&shown.mended), [f64::from(32 << 20), 0.0], "{shown:?}");
    }),
    ("emfile-spin", |shown| {
        spins(shown);
        assert!(shown.broken.figures["log"] > shown.mended.figures["log"], "{shown:?}");
    }),
    ("two-threads-one-client", |shown| {
        assert!(shown.broken.number >= 5.0, "{shown:?}");
        assert_eq!(shown.mended.number, 0.0, "{shown:?}");
    }),
    ("duplicated-descriptor", spins),
    ("who-closes-first", |shown| {
        parts(shown, [0.0, 20.0], [20.0, 0.0]);
        let refused = [&shown.broken, &shown.mended].map(|run| run.figures["refused"]);
        let close_wait = [&shown.broken, &shown.mended].map(|run| run.figures["close_wait"]);
        assert_eq!((refused, close_wait), ([1.0, 0.0], [1.0, 0.0]), "{shown:?}");
    }),
    ("message-boundaries", |shown| {
        assert_eq!((shown.broken.number, shown.mended.number), (2.0, 100.0), "{shown:?}");
        let Drawn::Pieces { sent, taken } = &shown.mended.drawn else { panic!("{shown:?}") };
        assert_eq!(sent, taken);
    }),
    ("sigpipe", |shown| parts(shown, [0.0, 10.0], [10.0, 0.0])),
    ("fd-set-1024", |shown| parts(shown, [0.0, 8.0], [8.0, 0.0])),
    ("nagle-delayed-ack", |shown| {
        // The shortest delay of the kernel.
        assert!(shown.broken.number >= 40.0 && shown.mended.number < shown.broken.number, "{shown:?}");
    }),
    ("thundering-herd", |shown| {
        // On a busy machine, a thread that has not slept yet is woken once for two clients.
        assert!(shown.broken.number >= 12.0 && shown.mended.number < 4.0, "{shown:?}");
    }),
    ("accept-queue", |shown| parts(shown, [6.0, 58.0], [64.0, 0.0])),
];

/// The broken program does not sleep when it has nothing to do, and the mended one does. How often it wakes up in a second is a matter of
/// how much of a processor it gets.
fn spins(shown: &Demonstration) {
    assert!(shown.broken.number > 100.0, "{shown:?}");
    assert_eq!(shown.mended.number, 0.0, "{shown:?}");
}

/// The parts of both bars.
fn parts(shown: &Demonstration, broken: [f64; 2], mended: [f64; 2]) {
    assert_eq!((part(&shown.broken), part(&shown.mended)), (broken.to_vec(), mended.to_vec()), "{shown:?}");
}

fn part(run: &Run) -> Vec<f64> {
    let Drawn::Parts(parts) = &run.drawn else { panic!("{run:?}") };
    parts.iter().map(|(_, value)| *value).collect()
}

#[test]
fn the_numbers_of_each_demo_hold() {
    let mut tested = BTreeSet::new();
    for (id, holds) in HOLDS {
        for language in languages(id) {
            let Some(shown) = shown(id, language) else { continue };
            let (broken, mended) = (shown.broken.number, shown.mended.number);
            println!("{id}, {}: {broken} before, {mended} after, in {:.1} s", language.name(), shown.seconds);
            holds(&shown);
        }
        tested.insert(id);
    }
    assert_eq!(tested, ALL.iter().map(|demo| demo.id).collect());
}

#[test]
fn they_hold_beside_four_busy_loops() {
    /// Ends the loops when it is dropped, also by a failure.
    struct Busy<'a>(&'a AtomicBool);
    impl Drop for Busy<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let is_busy = AtomicBool::new(true);
    thread::scope(|scope| {
        let _busy = Busy(&is_busy);
        for _ in 0..4 {
            scope.spawn(|| {
                while is_busy.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        for (id, holds) in HOLDS {
            holds(&shown(id, Language::Rust).expect("Rust needs no compiler"));
        }
    });
}
