//! RTCP compounds there and back.

mod common;

use common::bytes;
use holdspace_wire::rtcp::{parse_untrusted, Arrivals, Packet, ReportBlock, SenderInfo, Writer};
use holdspace_wire::seq::Seq;
use proptest::prelude::*;

fn only(compound: &[u8]) -> Packet<'_> {
    let mut packets = parse_untrusted(compound);
    let packet = packets.next().unwrap().unwrap();
    assert!(packets.next().is_none());
    packet
}

fn block(ssrc: u32) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: 25,
        total_lost: -3,
        highest_seq: 0x0001_fffe,
        jitter: 77,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 65_536,
    }
}

#[test]
fn a_compound_of_every_kind_is_read_back() {
    let info = SenderInfo { ssrc: 1, ntp_time: 0xdead_beef_1234_5678, rtp_ts: 9, packets: 10, bytes: 11 };
    let mut out = [0; 1200];
    let mut writer = Writer::new(&mut out);
    writer.sender_report(&info, &[block(5), block(6)]).unwrap();
    writer.receiver_report(2, &[block(7)]).unwrap();
    writer.sdes_cname(1, "cname").unwrap();
    writer.nack(1, 2, &[Seq(65_535), Seq(0), Seq(15), Seq(16), Seq(40)]).unwrap();
    writer.pli(3, 4).unwrap();
    writer.fir(3, 4, 200).unwrap();
    writer.remb(3, 2_500_000, &[8, 9]).unwrap();
    writer.bye(&[1, 2]).unwrap();
    let len = writer.len();
    let packets: Vec<_> = parse_untrusted(&out[..len]).map(Result::unwrap).collect();
    assert_eq!(packets.len(), 8);
    assert!(matches!(packets[0], Packet::SenderReport { info: read, reports }
        if read == info && reports.eq([block(5), block(6)])));
    assert!(matches!(packets[1], Packet::ReceiverReport { sender_ssrc: 2, reports }
        if reports.eq([block(7)])));
    assert!(matches!(packets[2], Packet::Sdes(chunks) if chunks.eq([(1, &b"cname"[..])])));
    assert!(matches!(packets[3], Packet::Nack { sender_ssrc: 1, media_ssrc: 2, lost }
        if lost.eq([65_535, 0, 15, 16, 40].map(Seq))));
    assert!(matches!(packets[4], Packet::Pli { sender_ssrc: 3, media_ssrc: 4 }));
    assert!(matches!(packets[5], Packet::Fir { requests, .. } if requests.eq([(4, 200)])));
    assert!(matches!(packets[6], Packet::Remb { bps: 2_500_000, ssrcs, .. } if ssrcs.eq([8, 9])));
    assert!(matches!(packets[7], Packet::Bye(ssrcs) if ssrcs.eq([1, 2])));
}

#[test]
fn golden_nack_and_remb_of_the_specifications_layout() {
    let mut out = [0; 64];
    let mut writer = Writer::new(&mut out);
    writer.nack(1, 2, &[Seq(100), Seq(101), Seq(116)]).unwrap();
    let len = writer.len();
    assert_eq!(out[..len].to_vec(), bytes("81cd0003 00000001 00000002 0064 8001"));
    let mut writer = Writer::new(&mut out);
    writer.remb(1, 0x3_ffff << 2, &[3]).unwrap();
    let len = writer.len();
    assert_eq!(out[..len].to_vec(), bytes("8fce0005 00000001 00000000 52454d42 010bffff 00000003"));
}

#[test]
fn one_bad_packet_spoils_only_itself() {
    // A receiver report that claims two blocks and has none, then a PLI.
    let compound = bytes("82c90001 00000001 81ce0002 00000003 00000004");
    let packets: Vec<_> = parse_untrusted(&compound).collect();
    assert!(packets[0].is_err());
    assert!(matches!(packets[1], Ok(Packet::Pli { sender_ssrc: 3, media_ssrc: 4 })));
}

#[test]
fn broken_framing_ends_the_walk_with_one_error() {
    let compound = bytes("81ce0002 00000003 00000004 81ce0009 00000003");
    let packets: Vec<_> = parse_untrusted(&compound).collect();
    assert_eq!(packets.len(), 2);
    assert!(packets[1].is_err());
}

#[test]
fn a_transport_feedback_of_chromium_style_is_read() {
    // Base 0x0010, five packets: two-bit vector 1 0 2 1 1, reference −1, deltas 4, −2, 0, 255.
    let chunk = 0xc000u16 | 1 << 12 | 2 << 8 | 1 << 6 | 1 << 4;
    let mut compound = bytes("8fcd0006 00000001 00000002 0010 0005 ffffff 07");
    compound.extend(chunk.to_be_bytes());
    compound.extend(bytes("04 fffe 00 ff 0000"));
    compound.resize(28, 0);
    let Packet::TransportCc(feedback) = only(&compound) else { panic!("not feedback") };
    assert_eq!((feedback.reference_time, feedback.feedback_count), (-1, 7));
    let statuses: Vec<_> = feedback.statuses().map(|(seq, us)| (seq.0, us)).collect();
    let expected = [(16, Some(1000)), (17, None), (18, Some(500)), (19, Some(500)), (20, Some(64_250))];
    assert_eq!(statuses, expected);
}

#[test]
fn feedback_stops_where_a_gap_no_longer_fits_a_delta() {
    let arrivals = [Some(1_000_000), Some(1_000_300), Some(20_000_000), Some(20_000_100)];
    let mut out = [0; 200];
    let mut writer = Writer::new(&mut out);
    let feedback =
        Arrivals { sender_ssrc: 1, media_ssrc: 2, feedback_count: 0, base_seq: Seq(5), arrivals_us: &arrivals };
    assert_eq!(writer.transport_cc(&feedback), Ok(2));
}

#[test]
fn writers_refuse_a_short_buffer_and_write_nothing() {
    let mut out = [0; 20];
    let mut writer = Writer::new(&mut out);
    writer.pli(1, 2).unwrap();
    assert!(writer.pli(1, 2).is_err());
    assert!(writer.receiver_report(1, &[block(1); 32]).is_err());
    assert_eq!(writer.len(), 12);
}

fn touch(compound: &[u8]) {
    for packet in parse_untrusted(compound).flatten() {
        match packet {
            Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                reports.for_each(drop);
            }
            Packet::Sdes(chunks) => chunks.for_each(drop),
            Packet::Bye(ssrcs) | Packet::Remb { ssrcs, .. } => ssrcs.for_each(drop),
            Packet::Nack { lost, .. } => lost.for_each(drop),
            Packet::Fir { requests, .. } => requests.for_each(drop),
            Packet::TransportCc(feedback) => {
                assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
            }
            Packet::Pli { .. } | Packet::Unknown { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_packets_or_malformed(compound in prop::collection::vec(any::<u8>(), 0..300)) {
        touch(&compound);
    }

    #[test]
    fn any_body_under_right_framing_does_not_panic(
        kind in 200u8..208, count in 0u8..32, body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let words = (body.len() / 4) as u16;
        let mut compound = vec![0x80 | count, kind];
        compound.extend(words.to_be_bytes());
        compound.extend(&body[..4 * usize::from(words)]);
        touch(&compound);
    }

    #[test]
    fn feedback_is_read_back_within_a_quarter_millisecond(
        base in any::<u16>(),
        start in 0i64..1_000_000_000,
        steps in prop::collection::vec(prop::option::weighted(0.8, -3_000i64..90_000), 1..400),
        room in 60usize..1200,
    ) {
        let mut clock = start;
        let arrivals: Vec<Option<i64>> = steps
            .iter()
            .map(|step| step.map(|step| { clock = (clock + step).max(0); clock }))
            .collect();
        let mut rest = &arrivals[..];
        let mut seq = Seq(base);
        while !rest.is_empty() {
            let mut out = vec![0; room];
            let mut writer = Writer::new(&mut out);
            let feedback = Arrivals {
                sender_ssrc: 1, media_ssrc: 2, feedback_count: 3, base_seq: seq, arrivals_us: rest,
            };
            let taken = writer.transport_cc(&feedback).unwrap();
            prop_assert!(taken > 0);
            let len = writer.len();
            let Packet::TransportCc(read) = only(&out[..len]) else { panic!("not feedback") };
            prop_assert_eq!(usize::from(read.status_count), taken);
            let reference_us = i64::from(read.reference_time) * 64_000;
            for ((read_seq, us), sent) in read.statuses().zip(rest) {
                prop_assert_eq!(read_seq, seq);
                seq = seq.next();
                prop_assert_eq!(us.map(|us| reference_us + us), sent.map(|us| us.div_euclid(250) * 250));
            }
            rest = &rest[taken..];
        }
    }

    #[test]
    fn nacks_name_exactly_the_lost(base in any::<u16>(), gaps in prop::collection::vec(1u16..40, 0..60)) {
        let mut seq = base;
        let lost: Vec<Seq> = gaps.iter().map(|gap| { seq = seq.wrapping_add(*gap); Seq(seq) }).collect();
        let mut out = [0; 600];
        let mut writer = Writer::new(&mut out);
        writer.nack(1, 2, &lost).unwrap();
        let len = writer.len();
        let Packet::Nack { lost: read, .. } = only(&out[..len]) else { panic!("not a nack") };
        prop_assert!(read.eq(lost));
    }

    #[test]
    fn remb_keeps_eighteen_significant_bits(bps in any::<u64>()) {
        let mut out = [0; 40];
        let mut writer = Writer::new(&mut out);
        writer.remb(1, bps, &[]).unwrap();
        let len = writer.len();
        let Packet::Remb { bps: read, .. } = only(&out[..len]) else { panic!("not remb") };
        prop_assert!(read <= bps && bps - read <= bps >> 17);
    }
}
