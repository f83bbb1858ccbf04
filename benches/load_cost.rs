//! What it costs the generator not to be fooled: checking every byte, writing a latency down, knowing when the next request
//! is due. To be compared with the 5 to 9 µs that a request costs in all, nearly all of it in the kernel.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use io_models::lab::load::plan::{Payload, Sizes};
use io_models::lab::load::record::histogram;
use io_models::lab::load::schedule::{Arrivals, Schedule};
use io_models::lab::load::stream::{Block, PIECE};
use std::hint::black_box;
use std::time::Duration;

fn check(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    for size in [64, 4096, PIECE] {
        let (block, starts) = Block::new(1, Payload::Random, &Sizes::Fixed(size as u32), 64);
        group.throughput(Throughput::Bytes(size as u64));
        let mut request = 0;
        group.bench_function(format!("{size} bytes"), |bencher| {
            bencher.iter_batched_ref(
                || {
                    request += 1;
                    let start = starts[request % 64];
                    let position = request as u64 * size as u64;
                    (start, position, block.piece(start, position, size as u64).to_vec())
                },
                |(start, position, bytes)| black_box(block.differs(*start, *position, bytes)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn record(criterion: &mut Criterion) {
    let mut latencies = histogram();
    let mut ns = 1_u64;
    criterion.bench_function("write a latency down", |bencher| {
        bencher.iter(|| {
            // Some 50 to 350 µs, in no order.
            ns = ns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            latencies.saturating_record(50_000 + (ns >> 40) % 300_000);
        });
    });
}

fn schedule(criterion: &mut Criterion) {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let mut schedule = Schedule::new(0, &[(1e5, Duration::from_secs(1))], arrivals, (0, 1), 1);
        criterion.bench_function(&format!("next of a schedule, {arrivals:?}"), |bencher| {
            bencher.iter(|| {
                schedule.advance();
                black_box(schedule.next())
            });
        });
    }
}

criterion_group!(benches, check, record, schedule);
criterion_main!(benches);
