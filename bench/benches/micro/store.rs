//! Session and engine without sockets, over a million records: frames in, frames out.

use batchkv_bench::job::{Source, map, spec};
use batchkv_bench::served::{REQUESTS, Served, frames, requests};
use batchkv_store::Partitioned;
use batchkv_workload::Spec;
use criterion::Criterion;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = crate::group(criterion, "store");
    let spec = spec("zipf");
    let mut served = Served::loaded(Partitioned::new(256, None), &spec);
    for (name, requests) in [
        ("gets", requests_of(&spec, false)),
        ("puts", requests_of(&spec, true)),
        ("standard mix", requests(&spec)),
    ] {
        let mut next = requests.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| served.feed(next.next().expect("a cycle goes on")));
        });
    }
    group.finish();
}

/// Requests with the job's keys that only get or only put.
fn requests_of(spec: &Spec, is_put: bool) -> Vec<Vec<u8>> {
    let (map, mut source) = (map(), Source::new(spec));
    let mut request = || {
        let mut steps = source.steps(&map);
        steps.iter_mut().for_each(|step| step.is_put = is_put);
        frames(&steps)
    };
    (0..REQUESTS).map(|_| request()).collect()
}
