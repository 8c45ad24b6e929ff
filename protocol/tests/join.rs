//! A newcomer's frames: their bytes, and what is not let through.

use batchkv_protocol::limits::ADDRESS_BYTES_MAX;
use batchkv_protocol::{Control, JoinAnswer, JoinRequest, Malformed, SendBuffer, frame};

fn body(control: &Control) -> Vec<u8> {
    let mut out = SendBuffer::default();
    control.write(&mut out);
    out.pending()[frame::LENGTH_BYTES..].to_vec()
}

fn request(address: &str) -> Control {
    Control::JoinRequest(JoinRequest {
        token: 7,
        address: address.to_owned(),
        peer_address: "h:2".to_owned(),
        machine: 300,
    })
}

#[test]
fn golden_bytes() {
    let golden: [(Control, &[u8]); 5] = [
        (request("h:1"), b"\x14\x07\x03h:1\x03h:2\xfb\x2c\x01"),
        (
            Control::JoinAnswer(JoinAnswer::Joined {
                cluster: 9,
                server: 4,
            }),
            b"\x15\x00\x09\x04",
        ),
        (
            Control::JoinAnswer(JoinAnswer::Ask {
                address: "h:3".to_owned(),
            }),
            b"\x15\x01\x03h:3",
        ),
        (
            Control::JoinAnswer(JoinAnswer::Wait {
                reason: "a".to_owned(),
            }),
            b"\x15\x02\x01a",
        ),
        (
            Control::JoinAnswer(JoinAnswer::Refused {
                reason: "b".to_owned(),
            }),
            b"\x15\x03\x01b",
        ),
    ];
    for (control, bytes) in golden {
        assert_eq!(body(&control), bytes);
        assert_eq!(frame::kind(bytes), Ok(frame::Kind::Control));
        assert_eq!(Control::decode(bytes), Ok(control));
    }
}

#[test]
fn addresses_have_bounds() {
    let longest = "h".repeat(ADDRESS_BYTES_MAX);
    assert!(Control::decode(&body(&request(&longest))).is_ok());
    for address in [String::new(), longest + "h"] {
        let decoded = Control::decode(&body(&request(&address)));
        assert_eq!(decoded, Err(Malformed::Control));
    }
}
