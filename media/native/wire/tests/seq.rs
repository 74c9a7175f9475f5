//! Sequence arithmetic at the wrap.

use holdspace_wire::demux::{classify, Datagram};
use holdspace_wire::seq::{ExtSeq, Seq, SeqUnwrapper, TimestampUnwrapper};
use proptest::prelude::*;

#[test]
fn newer_is_decided_across_the_wrap() {
    assert!(Seq(3).is_newer_than(Seq(65_530)));
    assert!(!Seq(65_530).is_newer_than(Seq(3)));
    assert!(!Seq(7).is_newer_than(Seq(7)));
}

#[test]
fn unwrapper_counts_rollovers_and_takes_late_packets_back() {
    let mut unwrapper = SeqUnwrapper::new();
    assert_eq!(unwrapper.unwrap(Seq(65_534)), ExtSeq(65_534));
    assert_eq!(unwrapper.unwrap(Seq(2)), ExtSeq(65_538));
    assert_eq!(unwrapper.unwrap(Seq(65_535)), ExtSeq(65_535));
    assert_eq!(unwrapper.newest(), Some(ExtSeq(65_538)));
    assert_eq!(unwrapper.peek(Seq(1)), ExtSeq(65_537));
}

#[test]
fn a_packet_from_before_rollover_zero_stays_above_zero() {
    assert_eq!(ExtSeq(5).nearest(Seq(65_530)), ExtSeq(65_530));
}

#[test]
fn timestamps_unwrap_forward_and_backward() {
    let mut unwrapper = TimestampUnwrapper::new();
    assert_eq!(unwrapper.unwrap(u32::MAX - 5), i64::from(u32::MAX) - 5);
    assert_eq!(unwrapper.unwrap(4), i64::from(u32::MAX) + 5);
    assert_eq!(unwrapper.unwrap(u32::MAX), i64::from(u32::MAX));
}

#[test]
fn datagrams_are_told_apart_by_rfc_7983_and_rfc_5761() {
    let cases: [(&[u8], Datagram); 10] = [
        (&[0, 1], Datagram::Stun),
        (&[3], Datagram::Stun),
        (&[4, 0], Datagram::Other),
        (&[20, 0xfe], Datagram::Dtls),
        (&[63], Datagram::Dtls),
        (&[64], Datagram::Other),
        (&[0x80, 200], Datagram::Rtcp),
        (&[0x80, 0x80 | 96], Datagram::Rtp),
        (&[0x90, 111], Datagram::Rtp),
        (&[], Datagram::Other),
    ];
    for (datagram, expected) in cases {
        assert_eq!(classify(datagram), expected, "{datagram:?}");
    }
}

proptest! {
    #[test]
    fn unwrapping_gives_back_any_stream_with_steps_under_half_the_circle(
        start in 0u64..70_000,
        steps in prop::collection::vec(-900i64..30_000, 1..200),
    ) {
        let mut unwrapper = SeqUnwrapper::new();
        let mut newest = start % 65_536;
        unwrapper.unwrap(Seq(newest as u16));
        for step in steps {
            let Some(value) = newest.checked_add_signed(step) else { continue };
            prop_assert_eq!(unwrapper.unwrap(ExtSeq(value).seq()), ExtSeq(value));
            newest = newest.max(value);
        }
    }
}
