//! STUN as aioice writes it, and as nobody should.

mod common;

use common::bytes;
use holdspace_wire::stun::{
    parse_untrusted_message, write_binding_error, write_binding_request, write_binding_success, BindingRequest,
    CheckToSend, IceRole, IntegrityKey, Message,
};
use proptest::prelude::*;

/// Made with aioice 0.10, which interoperates with browsers.
const REQUEST: &str = "0001004c2112a442000102030405060708090a0b0006000d6c6f63616c7566723a72656d6f000000\
    002400046e001eff802a000801020304050607080025000000080014162a83e89ff87ef9a25c00b5f28ae58d18295a74\
    80280004bc5d7f22";
const PASSWORD: &str = "a-password-of-24-letters";
const TRANSACTION: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

fn request(message: &[u8]) -> BindingRequest<'_> {
    match parse_untrusted_message(message) {
        Ok(Message::BindingRequest(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn request_of_another_agent_is_read_and_authenticated() {
    let message = bytes(REQUEST);
    let request = request(&message);
    assert_eq!((request.local_ufrag, request.remote_ufrag), ("localufr", "remo"));
    assert_eq!(request.transaction_id, TRANSACTION);
    assert_eq!(request.priority, Some(1_845_501_695));
    assert_eq!(request.role, Some(IceRole::Controlling(0x0102_0304_0506_0708)));
    assert!(request.use_candidate);
    assert_eq!(request.unknown_required, None);
    assert!(request.is_authentic(&IntegrityKey::new(PASSWORD)));
    assert!(!request.is_authentic(&IntegrityKey::new("another-password-entirely")));
}

#[test]
fn our_request_is_byte_for_byte_that_of_another_agent() {
    let check = CheckToSend {
        transaction_id: TRANSACTION,
        username: "localufr:remo",
        priority: 1_845_501_695,
        use_candidate: true,
        role: IceRole::Controlling(0x0102_0304_0506_0708),
    };
    let mut out = [0; 200];
    let len = write_binding_request(&mut out, &check, &IntegrityKey::new(PASSWORD)).unwrap();
    assert_eq!(out[..len].to_vec(), bytes(REQUEST));
}

#[test]
fn success_answers_are_byte_for_byte_those_of_another_agent() {
    let cases = [
        (
            "192.0.2.7:40000",
            "0101002c2112a442000102030405060708090a0b002000080001bd52e112a6450008001445444970464612488746282e\
             5a43d52ef5bfe254802800049e26a03f",
        ),
        (
            "[2001:db8::7]:40000",
            "010100382112a442000102030405060708090a0b002000140002bd520113a9fa000102030405060708090a0c\
             00080014d9f7fe9b3a79959a4487c054d1d77e5e6c1691fc80280004b62cf225",
        ),
    ];
    let key = IntegrityKey::new(PASSWORD);
    for (address, expected) in cases {
        let mut out = [0; 80];
        let len = write_binding_success(&mut out, &TRANSACTION, address.parse().unwrap(), &key).unwrap();
        assert_eq!(out[..len].to_vec(), bytes(expected));
    }
}

#[test]
fn error_answer_parses_as_a_failed_response() {
    let mut out = [0; 100];
    let key = IntegrityKey::new(PASSWORD);
    let len = write_binding_error(&mut out, &TRANSACTION, 420, Some(0x7fff), Some(&key)).unwrap();
    assert!(matches!(
        parse_untrusted_message(&out[..len]),
        Ok(Message::BindingResponse { transaction_id: TRANSACTION, success: false })
    ));
    assert_eq!(out[20..32], [0, 9, 0, 4, 0, 0, 4, 20, 0, 10, 0, 2]);
}

#[test]
fn writers_refuse_a_short_buffer() {
    let key = IntegrityKey::new(PASSWORD);
    let address = "192.0.2.7:40000".parse().unwrap();
    for size in 0..64 {
        let mut out = vec![0; size];
        assert!(write_binding_success(&mut out, &TRANSACTION, address, &key).is_err());
    }
}

#[test]
fn request_without_fingerprint_integrity_or_username_is_malformed() {
    let key = IntegrityKey::new(PASSWORD);
    let mut out = [0; 100];
    let len = write_binding_error(&mut out, &TRANSACTION, 400, None, Some(&key)).unwrap();
    out[..2].copy_from_slice(&[0, 1]);
    assert!(parse_untrusted_message(&out[..len]).is_err());
    let message = bytes(REQUEST);
    assert!(parse_untrusted_message(&message[..message.len() - 8]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_malformed(message in prop::collection::vec(any::<u8>(), 0..1400)) {
        let _ = parse_untrusted_message(&message);
    }

    #[test]
    fn any_one_changed_byte_is_noticed(at in 0usize..96, change in 1u8..) {
        let mut message = bytes(REQUEST);
        message[at] ^= change;
        let key = IntegrityKey::new(PASSWORD);
        if let Ok(Message::BindingRequest(request)) = parse_untrusted_message(&message) {
            prop_assert!(!request.is_authentic(&key));
        }
    }

    #[test]
    fn any_attributes_under_a_right_fingerprint_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        // A stranger can compute a fingerprint: rebuild it so that the attribute walk is reached.
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend(TRANSACTION);
        message.extend(&body);
        message.resize(message.len().next_multiple_of(4), 0);
        let counted = (message.len() - 20 + 8) as u16;
        message[2..4].copy_from_slice(&counted.to_be_bytes());
        let checksum = crc32(&message) ^ 0x5354_554e;
        message.extend([0x80, 0x28, 0, 4]);
        message.extend(checksum.to_be_bytes());
        let parsed = parse_untrusted_message(&message);
        if let Ok(Message::BindingRequest(request)) = parsed {
            prop_assert!(!request.is_authentic(&IntegrityKey::new(PASSWORD)));
        }
    }
}

/// Bit by bit, independent of the table under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
