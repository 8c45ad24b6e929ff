//! `batchkv-client verify-workload`: draws a workload without servers and tests it.
//!
//! Everything follows from the flags and the seed, so two machines that print the same drew the same.

use std::fmt::Write;

use batchkv_protocol::PartitionMap;
use batchkv_protocol::limits::PARTITIONS_DEFAULT;
use batchkv_workload::skew::SAMPLE_MAX;
use batchkv_workload::{
    Identity, Inserts, KeyBuf, Kind, Phase, Share, SkewSample, Spec, Stream, expected_shares,
    fingerprint,
};

use crate::command::config::Config;
use crate::screen::grouped;
use crate::verdict::skew_fault;

/// What was found, for people.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) text: String,
    /// Whether every test passed.
    pub(crate) passed: bool,
}

/// Where a sample's operations went.
struct Spread {
    distinct_records: u64,
    /// Operations by server.
    servers: Vec<u64>,
    /// What each server should get, 0 to 1; see [`expected`].
    expected: Option<Vec<f64>>,
}

/// What each of `servers` servers should get of all operations, 0 to 1; `None` where that changes during
/// the run.
pub(crate) fn expected(spec: &Spec, map: &PartitionMap, servers: usize) -> Option<Vec<f64>> {
    let owner = |key: &[u8]| map.partitions()[map.partition_of(key) as usize].owner as usize;
    expected_shares(spec, servers, owner)
}

/// Draws ten million operations of the client's measured streams, as a run would, and tests them; with
/// their shares of `servers` servers.
///
/// # Errors
/// When the client is none of the run's, which the configuration excludes.
pub(crate) fn verify(config: &Config, servers: u32) -> anyhow::Result<Proof> {
    let (client, clients) = (config.member.client, config.member.clients);
    let sample = SkewSample::draw(&config.spec, config.seed, client, config.tasks, SAMPLE_MAX);
    let fingerprint = fingerprint(&config.spec, config.seed, client, clients, config.tasks)?;
    let spread = spread(config, servers)?;
    let mut text = format!(
        "workload     {}\nfingerprint  {fingerprint:016x} (seed {}, client {client}/{clients}, {} tasks)\n",
        config.spec, config.seed, config.tasks
    );
    let operations = grouped(sample.kinds.iter().sum());
    let _ = writeln!(
        text,
        "sample       {operations} operations of the tasks' measured streams"
    );
    mix(&mut text, config, &sample);
    hottest(&mut text, &sample);
    placed(&mut text, config, &spread);
    let mix = config
        .spec
        .mix()
        .check(&sample.kinds)
        .err()
        .map(|wrong| wrong.to_string());
    let mut passed = true;
    for (name, fault) in [("mix", mix), ("skew", skew_fault(&sample))] {
        passed &= fault.is_none();
        let found = fault.map_or("passed".into(), |fault| format!("FAILED: {fault}"));
        let _ = writeln!(text, "test         {name}: {found}");
    }
    text.truncate(text.trim_end().len());
    Ok(Proof { text, passed })
}

fn mix(text: &mut String, config: &Config, sample: &SkewSample) {
    let total: u64 = sample.kinds.iter().sum();
    for kind in Kind::ALL {
        let (wanted, seen) = (config.spec.mix().share(kind), sample.kinds[kind as usize]);
        if wanted > 0.0 || seen > 0 {
            let seen = 100.0 * seen as f64 / total as f64;
            let (name, wanted) = (kind.name(), 100.0 * wanted);
            let _ = writeln!(
                text,
                "mix          {name:<7} {wanted:8.4} % wanted, {seen:8.4} % drawn"
            );
        }
    }
}

/// The ten hottest ranks, as far as they have a bucket each, and all of them together.
fn hottest(text: &mut String, sample: &SkewSample) {
    let draws = sample.draws() as f64;
    let single = sample
        .buckets
        .iter()
        .filter(|bucket| bucket.end == bucket.first + 1);
    let (mut wanted_sum, mut seen_sum) = (0.0, 0.0);
    for bucket in single.take(10) {
        let (wanted, seen) = (bucket.expected_share, bucket.observed as f64 / draws);
        wanted_sum += wanted;
        seen_sum += seen;
        share(text, &format!("{:>5}", bucket.first + 1), wanted, seen);
    }
    if wanted_sum > 0.0 {
        share(text, "to 10", wanted_sum, seen_sum);
    }
}

fn share(text: &mut String, rank: &str, wanted: f64, seen: f64) {
    let (wanted, seen) = (100.0 * wanted, 100.0 * seen);
    let _ = writeln!(
        text,
        "hottest      {rank}   {wanted:8.4} % wanted, {seen:8.4} % drawn"
    );
}

fn placed(text: &mut String, config: &Config, spread: &Spread) {
    let records = grouped(config.spec.records());
    let distinct = grouped(spread.distinct_records);
    let _ = writeln!(
        text,
        "keys         {distinct} distinct ones drawn; {records} records"
    );
    let all: u64 = spread.servers.iter().sum();
    for (server, &ops) in spread.servers.iter().enumerate() {
        let share = ops as f64 / all as f64;
        let of_mean = share * spread.servers.len() as f64;
        let wanted = spread
            .expected
            .as_ref()
            .map(|shares| 100.0 * shares[server]);
        let wanted = wanted.map_or(String::new(), |percent| format!("{percent:8.4} % wanted, "));
        let seen = 100.0 * share;
        let _ = writeln!(
            text,
            "server {server:<13}{wanted}{seen:8.4} % drawn, {of_mean:.3} times the mean"
        );
    }
}

/// Draws the same operations once more, with their records and keys.
fn spread(config: &Config, servers: u32) -> anyhow::Result<Spread> {
    let map = PartitionMap::fixed(PARTITIONS_DEFAULT, servers)?;
    let share = Share::new(config.member.client, config.member.clients, 0, 1)?;
    let mut records = Vec::with_capacity(SAMPLE_MAX as usize);
    let mut spread = Spread {
        distinct_records: 0,
        servers: vec![0; servers as usize],
        expected: expected(&config.spec, &map, servers as usize),
    };
    for task in 0..config.tasks {
        let identity = Identity {
            seed: config.seed,
            client: config.member.client,
            task,
            phase: Phase::Run,
        };
        let mut stream = Stream::new(&config.spec, identity);
        let mut inserts = Inserts::new(config.spec.records(), share);
        for _ in 0..SAMPLE_MAX.div_ceil(config.tasks.into()) {
            let record = stream.next(&mut inserts).record;
            let key = KeyBuf::new(config.spec.key_style(), record);
            let partition = map.partition_of(key.as_bytes());
            let owner = map.partitions()[partition as usize].owner;
            spread.servers[owner as usize] += 1;
            records.push(record);
        }
    }
    records.sort_unstable();
    records.dedup();
    spread.distinct_records = records.len() as u64;
    Ok(spread)
}
