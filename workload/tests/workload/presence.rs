use batchkv_workload::Presence;

const RECORD: u64 = 7;

fn loaded() -> Presence {
    Presence::new(10, true).expect("few records")
}

fn is_lost(presence: &Presence) -> bool {
    presence.is_lost(RECORD, presence.get_sent(RECORD))
}

#[test]
fn a_record_that_nobody_deleted_is_there() {
    let presence = loaded();
    assert!(is_lost(&presence));
    let sent = presence.get_sent(RECORD);
    presence.delete_sent(RECORD);
    // The delete may have come before the get.
    assert!(!presence.is_lost(RECORD, sent) && !is_lost(&presence));
    assert!(presence.is_lost(RECORD + 1, presence.get_sent(RECORD + 1)));
}

#[test]
fn a_put_behind_all_deletes_brings_it_back() {
    let presence = loaded();
    presence.delete_sent(RECORD);
    let overlapping = presence.put_sent(RECORD);
    presence.delete_acknowledged(RECORD);
    presence.put_acknowledged(RECORD, overlapping);
    assert!(!is_lost(&presence));
    let behind = presence.put_sent(RECORD);
    assert!(!is_lost(&presence));
    presence.put_acknowledged(RECORD, behind);
    assert!(is_lost(&presence));
    presence.delete_sent(RECORD);
    assert!(!is_lost(&presence));
}

#[test]
fn what_was_not_loaded_is_there_once_it_was_put() {
    let presence = Presence::new(10, false).expect("few records");
    assert!(!is_lost(&presence));
    presence.put_acknowledged(RECORD, presence.put_sent(RECORD));
    assert!(is_lost(&presence));
    assert!(!presence.is_lost(10, presence.get_sent(10)));
    assert!(Presence::new(1 << 40, true).is_none());
}
