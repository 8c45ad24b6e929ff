use std::collections::HashSet;

use batchkv_workload::permutation::Permutation;
use batchkv_workload::{Inserts, LoadOrder, Share};

#[test]
fn permutations_are_bijective() {
    let sizes = (1..200).chain([255, 256, 257, 1_000, 65_536, 65_537, 100_003]);
    for n in sizes {
        for constant in [0, 1, 0x1234_5678_9ABC_DEF0] {
            let permutation = Permutation::new(n, constant);
            let mut seen = vec![false; n as usize];
            for index in 0..n {
                let place = &mut seen[permutation.apply(index) as usize];
                assert!(!*place, "{n}: {index} meets another");
                *place = true;
            }
        }
    }
}

#[test]
fn a_permutation_tears_neighbours_apart() {
    let permutation = Permutation::new(1_000_000, 7);
    let close = (0..999_999_u64)
        .filter(|&i| permutation.apply(i).abs_diff(permutation.apply(i + 1)) < 1_000)
        .count();
    // Of random pairs, 0.2 % are so close.
    assert!((1_000..4_000).contains(&close), "{close}");
}

#[test]
fn all_workers_load_every_record_once() {
    for records in [1, 2, 7, 1_000, 10_007] {
        let mut seen = HashSet::new();
        let (mut shortest, mut longest) = (usize::MAX, 0);
        let clients = 3;
        for client in 0..clients {
            // As many workers as the client likes.
            let workers = client + 2;
            for worker in 0..workers {
                let share = Share::new(client, clients, worker, workers).expect("valid");
                let order = LoadOrder::new(records, share);
                if client == 0 {
                    shortest = shortest.min(order.len());
                    longest = longest.max(order.len());
                }
                for record in order {
                    assert!(record < records && seen.insert(record));
                }
            }
        }
        assert_eq!(seen.len() as u64, records);
        assert!(longest - shortest <= 1);
    }
}

#[test]
fn no_two_workers_share_a_writer_id_or_an_inserted_record() {
    let (records, clients) = (100, 4);
    let mut writers = HashSet::new();
    let mut inserted = HashSet::new();
    for client in 0..clients {
        let workers = client + 1;
        for worker in 0..workers {
            let share = Share::new(client, clients, worker, workers).expect("valid");
            assert!(writers.insert(share.writer()));
            let mut inserts = Inserts::new(records, share);
            for _ in 0..50 {
                let record = inserts.next_record();
                assert!(record >= records && inserted.insert(record));
                assert_eq!((record - records) % u64::from(clients), u64::from(client));
            }
        }
    }
}

#[test]
fn impossible_places_are_refused() {
    for (client, clients, worker, workers, part) in [
        (1, 1, 0, 1, "client 1/1"),
        (0, 0, 0, 1, "client 0/0"),
        (0, 1, 2, 2, "worker 2 of 2"),
        (0, 300, 0, 300, "at most 65536"),
    ] {
        let error = Share::new(client, clients, worker, workers).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn the_newest_record_is_the_last_acknowledged_without_gap() {
    let share = Share::new(1, 2, 0, 2).expect("valid");
    let mut inserts = Inserts::new(10, share);
    assert_eq!((inserts.newest(0), inserts.newest(9)), (9, 0));
    let sent: Vec<u64> = (0..4).map(|_| inserts.next_record()).collect();
    assert_eq!(sent, [11, 15, 19, 23]);
    inserts.acknowledged(19);
    assert_eq!(inserts.newest(0), 9, "11 and 15 are not acknowledged yet");
    inserts.acknowledged(11);
    assert_eq!((inserts.newest(0), inserts.newest(1)), (11, 9));
    inserts.acknowledged(15);
    let newest: Vec<u64> = (0..5).map(|distance| inserts.newest(distance)).collect();
    assert_eq!(newest, [19, 15, 11, 9, 8]);
    // Twice, another worker's, a loaded one, one that was not sent.
    for record in [11, 13, 5, 27] {
        inserts.acknowledged(record);
        assert_eq!(inserts.newest(0), 19);
    }
}
