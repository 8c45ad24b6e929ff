//! Trying to make the driver believe a wrong number, and wrong usage.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

#[path = "../../client/tests/common/mod.rs"]
mod common;
mod driver;

use batchkv_protocol::{Answer, AnswerWriter, Position, Refusal, RequestFrame, SendBuffer};
use batchkv_workload::{Identity, Inserts, Kind, Options, Phase, Share, Spec, Stream};
use driver::{Asked, Lie, SMALL, Scratch, Server, client};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A run on a lying server is INVALID for a reason that names `words`.
fn caught(lie: Lie, workload: &str, words: &[&str]) {
    let server = Server::lying(lie);
    let (code, text, complaints) =
        client(&format!("--hosts {} {SMALL} {workload}", server.address));
    assert_eq!(code, 1, "{lie:?}: {text}{complaints}");
    assert!(text.contains("verdict     INVALID"), "{lie:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{lie:?}: {word}: {text}");
    }
}

#[test]
fn dropped_overwrites_are_stale_reads() {
    caught(
        Lie::DropsOverwrites,
        "--workload A",
        &["stale read of record"],
    );
}

#[test]
fn no_record_is_too_hot_or_too_cold_to_be_watched() {
    for lie in [Lie::FreezesTheHottest, Lie::FreezesTheColdest] {
        caught(
            lie,
            "--workload A",
            &["stale read of record", "the loaded value"],
        );
    }
}

#[test]
fn deletes_are_watched() {
    let mix = "--mix read=0.6,update=0.25,delete=0.15";
    for lie in [Lie::DropsDeletes, Lie::BringsDeletedBack] {
        caught(lie, mix, &["stale read of record"]);
    }
    caught(
        Lie::LosesKeys,
        mix,
        &["gets found nothing", "was there, and is not found"],
    );
}

#[test]
fn writes_that_nobody_reads_are_read_back() {
    caught(
        Lie::DropsOverwrites,
        "--mix update=1",
        &["stale read of record"],
    );
    caught(
        Lie::DropsOverwrites,
        "--mix update=1 --audit",
        &["stale read of record"],
    );
}

#[test]
fn what_was_there_before_is_no_excuse() {
    let server = Server::lying(Lie::DropsOverwrites);
    let run = |words: &str| {
        let line = format!("--hosts {} {SMALL} {words}", server.address);
        client(&line)
    };
    let (_, text, _) = run("--workload C");
    assert!(text.contains("verdict     QUALIFIED"), "{text}");
    let (code, text, _) = run("--workload A --no-load");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("another run's value"), "{text}");
}

/// The honest store, with deletes and without gets: no rule speaks that would make it wrong.
#[test]
fn honest_servers_are_not_blamed_for_deletes() {
    let server = Server::start(0, 1);
    for words in [
        "--mix read=0.5,update=0.35,delete=0.15",
        "--mix update=0.5,delete=0.5 --audit",
        "--mix read=0.5,insert=0.25,update=0.15,delete=0.1 --chooser latest",
    ] {
        let (code, text, complaints) =
            client(&format!("--hosts {} {SMALL} {words}", server.address));
        assert_eq!(code, 0, "{words}: {text}{complaints}");
    }
}

#[test]
fn damaged_values_are_found() {
    caught(Lie::DamagesValues, "", &["checksum does not fit"]);
}

#[test]
fn lost_keys_are_misses_that_cannot_be() {
    caught(Lie::LosesKeys, "", &["gets found nothing"]);
}

#[test]
fn refused_puts_are_errors() {
    caught(
        Lie::RefusesPuts,
        "--workload A",
        &["memory limit is reached", "refused"],
    );
}

#[test]
fn wrong_counts_are_found() {
    caught(Lie::Miscounts, "--workload A", &["count the same", "puts"]);
}

#[test]
fn a_server_that_dies_is_named_and_the_results_so_far_are_kept() {
    const FRAMES: usize = 2_000;
    let scratch = Scratch::new("dies");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (store, frames) = (common::Store::default(), AtomicUsize::new(0));
    let address = common::start_with(listener, move |mut peer| {
        peer.greet(common::hello(0, 1))?;
        while let Some(body) = peer.frame()? {
            if frames.fetch_add(1, Ordering::Relaxed) > FRAMES {
                break;
            }
            peer.respond(&body, &store)?;
        }
        Ok(())
    });
    let small = SMALL.replace("--secs 1", "--secs 600");
    let output = scratch.path().display();
    let (code, text, _) = client(&format!("--hosts {address} {small} --output {output}"));
    assert_eq!(code, 1);
    assert!(
        text.contains("verdict     INVALID") && text.contains(&address),
        "{text}"
    );
    let summary = scratch.summary("");
    assert_eq!(summary["verdict"], "INVALID");
    assert!(summary["unknown_ops"].as_u64().unwrap() > 0, "{summary}");
}

/// Refuses every operation of a frame, the first of whose groups is number `group` of its request; gives the
/// answers, and how many groups there are.
fn refuse(body: &[u8], mut group: u32) -> (SendBuffer, u32) {
    let request = RequestFrame::parse(body).unwrap();
    let (mut cursor, mut out) = (request.cursor(), SendBuffer::default());
    let mut answers = AnswerWriter::begin(&mut out, request.id);
    while let Some(header) = cursor.next_group(body).unwrap() {
        cursor.skip_group();
        for operation in 0..header.operations.into() {
            let refused = Answer::Refused(Refusal::OutOfMemory);
            assert!(answers.answer(Position { group, operation }, refused));
        }
        group += 1;
    }
    answers.finish(request.last);
    (out, group)
}

#[test]
fn what_was_refused_before_a_loss_is_not_unknown() {
    const BATCH_SIZE: u64 = 1024;
    let scratch = Scratch::new("refuses");
    let address = common::start_with(common::listener(), |mut peer| {
        peer.greet(common::hello(0, 1))?;
        let mut group = 0;
        while let Some(body) = peer.frame()? {
            let (answers, groups) = refuse(&body, group);
            // The last frame of the first request gets no answer.
            if RequestFrame::parse(&body).unwrap().last {
                break;
            }
            peer.stream.write_all(answers.pending())?;
            group = groups;
        }
        Ok(())
    });
    let one = format!("--threads 1 --tasks 1 --window 1 --connections 1 --batch-size {BATCH_SIZE}");
    let output = scratch.path().display();
    let (code, text, _) = client(&format!(
        "--hosts {address} --records 1000 --no-load --workload A --warmup-secs 0 --secs 1 {one} --output {output}"
    ));
    assert_eq!(code, 1, "{text}");
    let summary = scratch.summary("");
    let unknown = summary["unknown_ops"].as_u64().unwrap();
    // A frame of 16 KiB holds fewer than half of them.
    assert!((1..BATCH_SIZE / 2).contains(&unknown), "{summary}");
    let errors = summary["errors"].as_u64().unwrap();
    assert_eq!(errors + unknown, BATCH_SIZE, "{summary}");
}

#[test]
fn without_a_server_the_address_is_named() {
    let (code, _, complaints) = client("--hosts 127.0.0.1:1");
    assert_eq!(code, 1);
    assert!(
        complaints.contains("no batchkv server at 127.0.0.1:1"),
        "{complaints}"
    );
    let (code, _, complaints) = client("get key --hosts 127.0.0.1:1");
    assert_eq!(code, 1);
    assert!(complaints.contains("127.0.0.1:1"), "{complaints}");
}

#[test]
fn wrong_usage_exits_2_and_names_the_flag() {
    let lines = [
        ("--theta -1", "'-1' for '--theta <NUMBER>': allowed"),
        ("-theta nan", "'nan' for '--theta <NUMBER>': allowed"),
        ("--records 0", "'0' for '--records <COUNT>': allowed"),
        ("--batch-size 65537", "1 to 65536"),
        ("--mix read=0.5", "do not add up to 1"),
        ("--hosts ,", "',' for '--hosts"),
        ("--bogus", "--bogus"),
        ("--secs", "--secs"),
        ("get key --hosts nowhere", "'nowhere' for '--hosts"),
    ];
    for (line, words) in lines {
        let (code, _, complaints) = client(line);
        assert_eq!(code, 2, "{line}: {complaints}");
        assert!(complaints.contains(words), "{line}: {complaints}");
    }
}

#[test]
fn hosts_that_do_not_fit_the_servers_exit_2() {
    let servers = [Server::start(0, 2), Server::start(1, 2)];
    let [first, second] = servers.each_ref().map(|server| server.address.as_str());
    for hosts in [format!("{second},{first}"), first.to_owned()] {
        let (code, _, complaints) = client(&format!("--hosts {hosts} {SMALL}"));
        assert_eq!(code, 2, "{complaints}");
        assert!(
            complaints.contains(&format!("'{hosts}' for '--hosts': ")),
            "{complaints}"
        );
    }
}

#[test]
fn help_is_no_error() {
    let (code, text, _) = client("--help");
    assert_eq!(code, 0);
    assert!(text.contains("--batch-size"));
}

#[test]
fn an_earlier_runs_files_do_not_pass_for_this_ones() {
    let scratch = Scratch::new("earlier");
    fs::write(scratch.path().join("summary.json"), "{}").unwrap();
    let output = scratch.path().display();
    // Nobody listens there.
    let (code, _, complaints) = client(&format!("--hosts 127.0.0.1:1 {SMALL} --output {output}"));
    assert_eq!(code, 1, "{complaints}");
    assert!(!scratch.path().join("summary.json").exists());
}

/// Hours of puts that are all refused would end in the same.
#[test]
fn a_load_that_cannot_succeed_ends_with_the_reason() {
    let server = Server::small(16 << 20);
    let words = "--records 1e7 --tasks 4 --secs 1 --warmup-secs 0";
    let (code, text, complaints) = client(&format!("--hosts {} {words}", server.address));
    assert_eq!(code, 1, "{text}{complaints}");
    for part in [
        "Every record must be loaded",
        "10,000,000 records",
        "--max-memory",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_load_that_no_memory_holds_is_refused_before_it_begins() {
    let server = Server::start(0, 1);
    let words = "--records 1e7 --value-bytes 1048576 --tasks 1 --threads 1";
    let (code, text, complaints) = client(&format!("--hosts {} {words}", server.address));
    assert_eq!(code, 1, "{text}{complaints}");
    for part in ["10,000,000 records are 9", "which the servers run on"] {
        assert!(complaints.contains(part), "{part}: {complaints}");
    }
    assert_eq!(server.stop().counters.puts, 0);
}

#[test]
fn reads_that_found_nothing_are_told_first() {
    let server = Server::start(0, 1);
    let words = format!("--hosts {} {SMALL} --no-load --workload C", server.address);
    let (code, text, complaints) = client(&words);
    assert_eq!(code, 0, "{text}{complaints}");
    assert!(
        text.contains("- 100.0 % of the reads found nothing"),
        "{text}"
    );
}

/// The next operations of a stream that inserts nothing, as [`Asked`] has them.
fn draw(stream: &mut Stream, operations: usize) -> Vec<(bool, u64)> {
    let mut inserts = Inserts::new(5000, Share::new(0, 1, 0, 1).unwrap());
    let drawn = std::iter::repeat_with(|| stream.next(&mut inserts)).take(operations);
    drawn
        .map(|drawn| (drawn.kind == Kind::Update, drawn.record))
        .collect()
}

/// A task's batches, one after the other, are its streams: the warm-up's up to anywhere, then the measured one.
/// Within a batch operations go in the order of their partitions.
#[test]
fn what_is_sent_is_what_the_streams_draw() {
    const BATCH_SIZE: usize = 256;
    let asked = Asked::default();
    let server = Server::noting(asked.clone());
    let (code, _, said) = client(&format!(
        "--hosts {} --records 5000 --tasks 1 --threads 1 --batch-size {BATCH_SIZE} --secs 1 --warmup-secs 0 \
         --no-load --no-verify --seed 7",
        server.address
    ));
    // It keeps nothing, so records are lost.
    assert_eq!(code, 1, "{said}");
    server.stop();
    let options = Options {
        records: 5000,
        ..Options::default()
    };
    let spec = Spec::new(options).unwrap();
    let [mut warm_up, mut run] = [Phase::WarmUp, Phase::Run].map(|phase| {
        let (seed, client, task) = (7, 0, 0);
        let identity = Identity {
            seed,
            client,
            task,
            phase,
        };
        Stream::new(&spec, identity)
    });
    let sorted = |mut operations: Vec<_>| {
        operations.sort_unstable();
        operations
    };
    let (mut is_warm, mut batches) = (true, 0);
    for batch in asked.lock().unwrap().chunks_exact(BATCH_SIZE) {
        let batch = sorted(batch.to_vec());
        if !is_warm {
            assert_eq!(batch, sorted(draw(&mut run, BATCH_SIZE)));
            batches += 1;
            continue;
        }
        let warm = draw(&mut warm_up, BATCH_SIZE);
        if batch == sorted(warm.clone()) {
            continue;
        }
        is_warm = false;
        let fits = |border: &usize| {
            let measured = draw(&mut run.clone(), BATCH_SIZE - border);
            batch == sorted([&warm[..*border], &measured].concat())
        };
        let border = (0..BATCH_SIZE).find(fits).expect("it is of both streams");
        draw(&mut run, BATCH_SIZE - border);
    }
    assert!(batches > 0);
}
