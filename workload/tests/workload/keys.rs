use batchkv_workload::keys::KEY_BYTES_MAX;
use batchkv_workload::{KeyBuf, KeyStyle};
use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};

#[test]
fn golden_ycsb_keys() {
    for (record, key) in [
        (2, "user1820151046732198393"),
        (1001, "user3339209904021769693"),
    ] {
        assert_eq!(
            KeyBuf::new(KeyStyle::User, record).as_bytes(),
            key.as_bytes()
        );
    }
}

#[test]
fn decimal_keys_at_every_change_of_length() {
    let mut key = KeyBuf::new(KeyStyle::Decimal, 7);
    let powers = (0..20).map(|digits| 10_u64.pow(digits));
    for record in powers
        .flat_map(|power| [power - 1, power, power + 1])
        .chain([u64::MAX])
    {
        key.set(KeyStyle::Decimal, record);
        assert_eq!(key.as_bytes(), record.to_string().as_bytes());
    }
}

proptest! {
    #[test]
    fn decimal_keys_are_decimal(number: u64, shift in 0..64_u32) {
        let record = number >> shift;
        let key = KeyBuf::new(KeyStyle::Decimal, record);
        prop_assert_eq!(key.as_bytes().to_vec(), record.to_string().into_bytes());
    }

    #[test]
    fn user_keys_are_a_word_and_a_number(record in any::<u64>()) {
        let key = KeyBuf::new(KeyStyle::User, record);
        let text = std::str::from_utf8(key.as_bytes()).expect("ASCII");
        let hash: u64 = text.strip_prefix("user").expect("prefix").parse().expect("decimal");
        prop_assert!(hash <= 1 << 63 && key.as_bytes().len() <= KEY_BYTES_MAX);
    }
}

#[test]
fn a_buffers_hash_is_its_bytes_hash() {
    let mut key = KeyBuf::default();
    let records = (0..30).map(|shift| 1_u64 << (2 * shift)).chain(0..1000);
    for record in records {
        for style in [KeyStyle::Decimal, KeyStyle::User] {
            key.set(style, record);
            assert_eq!(
                key.hash(),
                batchkv_workload::keys::hash(key.as_bytes()),
                "{record}"
            );
        }
    }
}
