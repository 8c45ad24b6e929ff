//! Hellos of all roles, and maps: their bytes are bincode's, and no others are let through.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

use batchkv_protocol::control::{FEATURE_MAP, MAGIC, VERSION};
use batchkv_protocol::limits::{
    ADDRESS_BYTES_MAX, EPOCH_MAX, FRAME_BYTES_MAX, PARTITIONS_MAX, SERVERS_MAX,
};
use batchkv_protocol::{
    Control, Hello, LiveMap, Malformed, MapFrame, Ownership, PartitionMap, ReceiveBuffer, Role,
    SendBuffer, ServerAddress, frame,
};
use bincode::{Encode, config};
use proptest::collection::vec;
use proptest::prelude::*;

/// The tags before these frames' are those of the other golden tests.
#[derive(Encode)]
#[allow(
    dead_code,
    reason = "all variants stand here so that the tags are right"
)]
enum Frame {
    ClientHello,
    ServerHello,
    CountersRequest,
    Counters,
    Error,
    Request,
    Answer,
    StatusRequest,
    Status,
    TimedAnswer,
    PeerHello {
        magic: [u8; 4],
        version_min: u16,
        version_max: u16,
        features: u64,
        cluster: u128,
        from: u64,
        to: u64,
    },
    OperatorHello {
        magic: [u8; 4],
        version_min: u16,
        version_max: u16,
        features: u64,
    },
    Map {
        version: u64,
        servers: Vec<(u32, String)>,
        partitions: Vec<(u32, u64)>,
    },
}

fn assert_same(out: &SendBuffer, oracle: &Frame) {
    let body = bincode::encode_to_vec(oracle, config::standard()).unwrap();
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    assert_eq!(out.pending(), frame);
}

fn frame_of(control: &Control) -> SendBuffer {
    let mut out = SendBuffer::default();
    control.write(&mut out);
    out
}

fn body(control: &Control) -> Vec<u8> {
    frame_of(control).pending()[frame::LENGTH_BYTES..].to_vec()
}

const CLUSTER: u128 = u128::MAX / 3;

fn peer() -> Hello {
    let role = Role::Peer {
        cluster: CLUSTER,
        from: 300,
        to: 1 << 40,
    };
    Hello {
        version_min: 1,
        version_max: 300,
        features: FEATURE_MAP,
        role,
    }
}

fn map() -> MapFrame {
    let server = |id, address: &str| ServerAddress {
        id,
        address: address.to_owned(),
    };
    let owned = |owner, epoch| Ownership { owner, epoch };
    MapFrame {
        version: 1 << 33,
        servers: vec![server(0, "127.0.0.1:8080"), server(1000, "[::1]:1")],
        partitions: vec![owned(0, 1), owned(1000, EPOCH_MAX)],
    }
}

fn controls() -> [Control; 4] {
    let client = Hello::new(Role::Client { id: [9; 16] }, 0);
    let operator = Hello::new(Role::Operator, FEATURE_MAP);
    [
        Control::from(client),
        peer().into(),
        operator.into(),
        Control::Map(map()),
    ]
}

#[test]
fn a_peers_and_an_operators_hello() {
    let oracle = Frame::PeerHello {
        magic: MAGIC,
        version_min: 1,
        version_max: 300,
        features: 8,
        cluster: CLUSTER,
        from: 300,
        to: 1 << 40,
    };
    assert_same(&frame_of(&peer().into()), &oracle);
    let oracle = Frame::OperatorHello {
        magic: MAGIC,
        version_min: VERSION,
        version_max: VERSION,
        features: 251,
    };
    let operator = Hello::new(Role::Operator, 251);
    assert_same(&frame_of(&operator.into()), &oracle);
}

#[test]
fn a_map() {
    let oracle = Frame::Map {
        version: 1 << 33,
        servers: vec![(0, "127.0.0.1:8080".into()), (1000, "[::1]:1".into())],
        partitions: vec![(0, 1), (1000, EPOCH_MAX)],
    };
    assert_same(&frame_of(&Control::Map(map())), &oracle);
}

#[test]
fn the_role_is_the_tag_of_the_first_frame() {
    for control in controls() {
        let read = Control::decode(&body(&control)).unwrap();
        assert_eq!(read, control);
        assert_eq!(frame::kind(&body(&control)), Ok(frame::Kind::Control));
        let hello = Hello::from_control(&read);
        match control {
            Control::Map(_) => assert_eq!(hello, None),
            _ => assert_eq!(hello.map(Control::from), Some(control)),
        }
    }
    let Control::PeerHello(mut forged) = Control::from(peer()) else {
        panic!("a peer's hello");
    };
    assert!(Hello::from_control(&Control::PeerHello(forged.clone())).is_some());
    forged.magic = *b"bkv2";
    assert_eq!(Hello::from_control(&Control::PeerHello(forged)), None);
    assert!(peer().speaks_our_version());
    let newer = Hello {
        version_min: VERSION + 1,
        ..peer()
    };
    assert!(!newer.speaks_our_version());
}

#[test]
fn the_largest_map_is_one_frame() {
    let servers = (0..SERVERS_MAX).map(|id| ServerAddress {
        id,
        address: "a".repeat(ADDRESS_BYTES_MAX),
    });
    let owned = Ownership {
        owner: SERVERS_MAX - 1,
        epoch: EPOCH_MAX,
    };
    let largest = Control::Map(MapFrame {
        version: u64::MAX,
        servers: servers.collect(),
        partitions: vec![owned; PARTITIONS_MAX as usize],
    });
    let out = frame_of(&largest);
    assert!(out.pending().len() <= FRAME_BYTES_MAX);
    let (mut input, mut bytes) = (ReceiveBuffer::default(), out.pending());
    while !bytes.is_empty() {
        input.fill_from(&mut bytes);
    }
    let read = Control::decode(input.body().unwrap().unwrap());
    assert!(read == Ok(largest), "the map is read as it was written");
}

#[test]
fn maps_that_cannot_be_are_refused() {
    let forge = |change: fn(&mut MapFrame)| {
        let mut forged = map();
        change(&mut forged);
        Control::decode(&body(&Control::Map(forged)))
    };
    assert!(forge(|_| ()).is_ok());
    for (what, change) in [
        (
            "an id",
            (|map| map.servers[0].id = SERVERS_MAX) as fn(&mut MapFrame),
        ),
        ("no address", |map| map.servers[0].address.clear()),
        ("an address", |map| {
            map.servers[1].address = "a".repeat(ADDRESS_BYTES_MAX + 1);
        }),
        ("the servers", |map| {
            map.servers = vec![map.servers[0].clone(); SERVERS_MAX as usize + 1];
        }),
        ("no partitions", |map| map.partitions.clear()),
        ("the partitions", |map| {
            map.partitions.push(map.partitions[0])
        }),
        ("an owner", |map| map.partitions[0].owner = SERVERS_MAX),
        ("an epoch", |map| map.partitions[0].epoch = EPOCH_MAX + 1),
    ] {
        assert_eq!(forge(change), Err(Malformed::Control), "{what}");
    }
}

#[test]
fn every_truncation_is_malformed_and_no_flip_panics() {
    for control in controls() {
        let mut whole = body(&control);
        for end in 0..whole.len() {
            assert!(Control::decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            for flip in 1..=255 {
                whole[at] ^= flip;
                let _ = Control::decode(&whole);
                whole[at] ^= flip;
            }
        }
        whole.push(0);
        assert!(Control::decode(&whole).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_or_a_frame(tag in 10..=13_u8, bytes in vec(any::<u8>(), 0..400)) {
        let mut tagged = vec![tag];
        tagged.extend(&bytes);
        if let Ok(control) = Control::decode(&tagged) {
            prop_assert_eq!(Control::decode(&body(&control)), Ok(control));
        }
    }

    /// Whatever maps are heard of, and in whatever order: a partition's highest epoch is believed.
    #[test]
    fn a_live_map_is_the_highest_of_what_was_offered(
        heard in vec(vec((0..SERVERS_MAX, 0..6_u64), 4), 1..20),
    ) {
        let live = LiveMap::new(&PartitionMap::fixed(4, 1).unwrap());
        let mut expected = live.snapshot().partitions().to_vec();
        let mut taken = 0;
        for map in &heard {
            let map: Vec<_> = map.iter().map(|&(owner, epoch)| Ownership { owner, epoch }).collect();
            for (known, heard) in expected.iter_mut().zip(&map) {
                if heard.epoch > known.epoch {
                    *known = *heard;
                    taken += 1;
                }
            }
            live.offer_all(&map);
        }
        let snapshot = live.snapshot();
        prop_assert_eq!(snapshot.partitions(), expected.as_slice());
        prop_assert_eq!(live.changes(), taken);
    }
}
