//! Time of single functions, in ns for what one operation of the standard job asks of them: to see
//! what a change does. What the layers reach together is `ceilings`' to say.

mod codec;
mod sampler;
mod store;

use std::time::Duration;

use batchkv_bench::job::OPERATIONS;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

/// A group of benchmarks, each of which handles one request's operations at a time.
fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    group
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    codec::measure(&mut criterion);
    sampler::measure(&mut criterion);
    store::measure(&mut criterion);
    criterion.final_summary();
}
