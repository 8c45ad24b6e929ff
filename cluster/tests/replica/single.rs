//! Cases one by one: what stops a replica, what ends an image, what is no image.

use crate::images::whole_image;
use crate::model::{Owned, encoded};
use crate::world::apply_all;
use batchkv_cluster::limits::{CHUNK_BYTES, IMAGE_BYTES_MAX, STREAM_IDLE_MAX};
use batchkv_cluster::replica::{Fault, ImageError, Import, ImportError};
use batchkv_cluster::{Answer, Outcome, Proposal, Refused, Replica, Sequence};
use batchkv_store::Dashmap;
use std::sync::Arc;

fn replica() -> Replica<Dashmap> {
    Replica::new(Arc::new(Dashmap::new(1, None)), 0)
}

fn put(number: u32, value_bytes: usize) -> Vec<u8> {
    let key = number.to_le_bytes().to_vec();
    encoded(None, &[Owned::Put(key, vec![7; value_bytes])])
}

fn apply(replica: &mut Replica<Dashmap>, index: u64, proposal: &[u8]) -> Answer {
    apply_all(replica, index, 0, [proposal]).unwrap().remove(0)
}

fn import(image: &[u8]) -> Result<Replica<Dashmap>, ImportError> {
    let mut import = Import::begin(Arc::new(Dashmap::new(1, None)), 0);
    for chunk in image.chunks(7) {
        import.take(chunk)?;
    }
    import.finish()
}

#[test]
fn streams_of_one_entry_have_names_of_their_own_and_end_with_log_time() {
    let mut replica = replica();
    let open = Proposal::OpenStream.encode().unwrap();
    let answers = apply_all(&mut replica, 5, 0, [&open[..], &open[..]]).unwrap();
    let [
        Answer::Opened { stream: one },
        Answer::Opened { stream: two },
    ] = answers[..]
    else {
        panic!("{answers:?}");
    };
    assert_ne!(one, two);
    let group = |stream| {
        let sequence = Sequence {
            stream,
            number: 0,
            floor: 0,
        };
        encoded(Some(sequence), &[Owned::Delete(vec![1])])
    };
    let deleted = Answer::Applied([Outcome::Deleted { existed: false }].into());
    assert_eq!(apply(&mut replica, 6, &group(one)), deleted);
    let later = STREAM_IDLE_MAX.as_millis() as u64 + 1;
    let answers = apply_all(&mut replica, 7, later, [&group(two)[..]]).unwrap();
    assert_eq!(answers, [Answer::Refused(Refused::StreamExpired)]);
    assert_eq!((replica.applied(), replica.version()), (7, 1));
}

#[test]
fn a_replica_that_cannot_follow_stops_for_good() {
    let mut small = Replica::new(Arc::new(Dashmap::new(1, Some(1000))), 0);
    assert!(apply_all(&mut small, 1, 0, [&put(1, 100)[..]]).is_ok());
    let expected = Err(Fault::OutOfMemory);
    assert_eq!(apply_all(&mut small, 2, 0, [&put(2, 2000)[..]]), expected);
    assert_eq!(apply_all(&mut small, 3, 0, [&put(1, 1)[..]]), expected);
    assert_eq!(small.applied(), 1);
    let image = small.begin_image();
    assert_eq!(small.next_chunk(image), Err(ImageError::Stopped));

    let mut damaged = replica();
    let found = apply_all(&mut damaged, 1, 0, [&[1, 9][..]]);
    assert!(matches!(found, Err(Fault::Malformed(_))), "{found:?}");
    assert!(apply_all(&mut damaged, 1, 0, [&put(1, 1)[..]]).is_err());
}

#[test]
fn golden_image() {
    let mut replica = replica();
    apply(&mut replica, 1, &put(1, 2));
    let id = replica.begin_image();
    let delete = encoded(None, &[Owned::Delete(vec![1, 0, 0, 0])]);
    apply(&mut replica, 2, &delete);
    apply(&mut replica, 3, &put(513, 0));
    let image = replica.next_chunk(id).unwrap().unwrap();
    assert_eq!(replica.next_chunk(id), Ok(None));
    let expected = [
        &b"bkvi\x01"[..],
        &[2, 4, 0, 1, 0, 0, 0], // written since the beginning
        &[1, 4, 0, 8, 0, 0, 0, 1, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
        &[1, 4, 0, 8, 0, 0, 0, 1, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0], // copied
        &[3, 3, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],       // applied, version
        &[3, 0, 0, 0, 1, 0, 0],                                     // table
    ]
    .concat();
    assert_eq!(image, expected);
    assert_eq!(import(&image).unwrap().digest(), replica.digest());
}

#[test]
fn chunks_have_a_bound_and_an_image_that_is_fetched_too_slowly_another() {
    let mut replica = replica();
    let mut index = 0;
    for number in 0..4 {
        index += 1;
        apply(&mut replica, index, &put(number, 500_000));
    }
    let id = replica.begin_image();
    let mut bytes = 0;
    while let Some(chunk) = replica.next_chunk(id).unwrap() {
        assert!(chunk.len() <= CHUNK_BYTES);
        bytes += chunk.len();
    }
    assert!(bytes > 2_000_000);
    assert_eq!(replica.next_chunk(id), Err(ImageError::Unknown));

    let slow = replica.begin_image();
    replica.next_chunk(slow).unwrap();
    for _ in 0..=IMAGE_BYTES_MAX / 1_000_000 {
        index += 1;
        apply(&mut replica, index, &put(1, 1_000_000));
    }
    assert_eq!(replica.next_chunk(slow), Err(ImageError::TooSlow));
    assert_eq!(replica.next_chunk(slow), Err(ImageError::Unknown));
    let other = whole_image(&mut replica);
    assert_eq!(import(&other).unwrap().digest(), replica.digest());
}

#[test]
fn what_is_cut_or_no_image_is_refused() {
    let mut replica = replica();
    for number in 1..4 {
        apply(&mut replica, number.into(), &put(number, 3));
    }
    let image = whole_image(&mut replica);
    for end in 0..image.len() {
        assert_eq!(import(&image[..end]).unwrap_err(), ImportError::Unfinished);
    }
    let longer = [&image[..], &[0]].concat();
    assert!(matches!(import(&longer), Err(ImportError::Malformed(_))));
    for at in 0..image.len() {
        for bit in 0..8 {
            let mut flipped = image.clone();
            flipped[at] ^= 1 << bit;
            // What a flip leaves readable is the transport's to notice; nothing here may panic.
            let _refused = import(&flipped);
        }
    }
}

#[test]
fn what_was_there_before_an_import_is_gone_after_it() {
    let engine = Arc::new(Dashmap::new(1, None));
    let mut old = Replica::new(engine.clone(), 0);
    apply_all(&mut old, 1, 0, [&put(77, 1)[..]]).unwrap();
    let mut source = replica();
    apply(&mut source, 1, &put(1, 1));
    let mut import = Import::begin(engine, 0);
    import.take(&whole_image(&mut source)).unwrap();
    assert_eq!(import.finish().unwrap().digest(), source.digest());
}
