//! Making operations, keys and values.

use std::hint::black_box;

use batchkv_bench::job::{OPERATIONS, Source, VALUE, spec};
use batchkv_workload::law::Law;
use batchkv_workload::random::Random;
use batchkv_workload::zipf::Zipf;
use batchkv_workload::{KeyBuf, KeyStyle, Writer, values};
use criterion::Criterion;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = crate::group(criterion, "sampler");
    let spec = spec("zipf");
    let zipf = Zipf::new(spec.records(), Law::exact(spec.records(), spec.theta()));
    let mut random = Random::new(&[1]);
    group.bench_function("zipf draw", |bencher| {
        bencher.iter(|| {
            (0..OPERATIONS).for_each(|_| {
                black_box(zipf.draw(&mut random));
            })
        });
    });
    let mut source = Source::new(&spec);
    group.bench_function("operation", |bencher| {
        bencher.iter(|| {
            (0..OPERATIONS).for_each(|_| {
                black_box(source.draw());
            })
        });
    });
    let records: Vec<u64> = (0..OPERATIONS).map(|_| source.draw().0).collect();
    group.bench_function("key", |bencher| {
        let key = |record: &u64| {
            black_box(KeyBuf::new(KeyStyle::Decimal, *record));
        };
        bencher.iter(|| black_box(&records).iter().for_each(key));
    });
    let hashes = records
        .iter()
        .map(|record| KeyBuf::new(KeyStyle::Decimal, *record).hash());
    let hashes: Vec<u64> = hashes.collect();
    let mut writer = Writer::new(1, 1);
    let mut written = vec![VALUE; OPERATIONS];
    group.bench_function("value write", |bencher| {
        bencher.iter(|| {
            for (hash, value) in hashes.iter().zip(&mut written) {
                values::write(*hash, writer.next_stamp(), value);
            }
        });
    });
    for (hash, value) in hashes.iter().zip(&mut written) {
        values::write(*hash, writer.next_stamp(), value);
    }
    group.bench_function("value check", |bencher| {
        bencher.iter(|| {
            for (hash, value) in hashes.iter().zip(black_box(&written)) {
                black_box(values::check(*hash, value).expect("the value that was written"));
            }
        });
    });
    group.finish();
}
