//! Writing and reading frames.

use std::hint::black_box;

use batchkv_bench::job::{Source, VALUE, map, spec};
use batchkv_bench::rows::{bodies, read_answer, read_request, rewrite_answer, rewrite_request};
use batchkv_protocol::{RequestFrame, SendBuffer};
use criterion::Criterion;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = crate::group(criterion, "codec");
    let map = map();
    let steps = Source::new(&spec("zipf")).steps(&map);
    let mut out = SendBuffer::default();
    group.bench_function("request encode", |bencher| {
        bencher.iter(|| rewrite_request(black_box(&steps), &mut out));
    });
    rewrite_request(&steps, &mut out);
    let requests = bodies(&out);
    group.bench_function("request validate", |bencher| {
        bencher.iter(|| {
            for body in black_box(&requests) {
                let frame = RequestFrame::parse(body).expect("our own frame");
                black_box(frame.validate(map.partitioning()).expect("our own request"));
            }
        });
    });
    group.bench_function("request decode", |bencher| {
        bencher.iter(|| {
            read_request(black_box(&requests), |operation| {
                black_box(operation);
            })
        });
    });
    group.bench_function("answer encode", |bencher| {
        bencher.iter(|| rewrite_answer(black_box(&VALUE), &mut out));
    });
    rewrite_answer(&VALUE, &mut out);
    let answers = bodies(&out);
    group.bench_function("answer decode", |bencher| {
        bencher.iter(|| {
            read_answer(black_box(&answers), |answer| {
                black_box(answer);
            })
        });
    });
    group.finish();
}
