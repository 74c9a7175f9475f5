//! RTP headers there and back.

mod common;

use common::bytes;
use holdspace_wire::rtp::{
    abs_send_time, parse_untrusted_rtx, read_abs_send_time, read_audio_level, read_stream_id, read_transport_seq,
    rtx_prefix, write, write_padding, AudioLevel, Header, NewHeader,
};
use holdspace_wire::seq::Seq;
use proptest::prelude::*;

fn header<'a>(extensions: &'a [(u8, &'a [u8])]) -> NewHeader<'a> {
    NewHeader { marker: true, payload_type: 96, seq: Seq(0xfffe), rtp_ts: 0x0102_0304, ssrc: 0xa0b0_c0d0, extensions }
}

#[test]
fn header_with_csrcs_one_byte_extensions_and_padding_is_read() {
    let packet = bytes("b1 ef 0007 00000a00 11223344 55667788 bede0003 22 6d6964 00 10 85 32 0001ff 00 aabbcc 000003");
    let header = Header::parse_untrusted(&packet).unwrap();
    assert!(header.marker && header.has_padding);
    assert_eq!((header.payload_type, header.seq, header.csrc_count), (0x6f, Seq(7), 1));
    assert_eq!(header.extension(&packet, 2), Some(&b"mid"[..]));
    assert_eq!(header.extension(&packet, 1), Some(&[0x85][..]));
    assert_eq!(header.extension(&packet, 3), Some(&[0, 1, 0xff][..]));
    assert_eq!(header.extension(&packet, 4), None);
    assert_eq!(packet[header.payload_range(&packet).unwrap()], [0xaa, 0xbb, 0xcc]);
}

#[test]
fn id_15_of_the_one_byte_form_stops_reading() {
    let packet = bytes("90 60 0007 00000a00 11223344 bede0001 f0 00 10 85");
    let header = Header::parse_untrusted(&packet).unwrap();
    assert_eq!(header.extensions(&packet).count(), 0);
}

#[test]
fn padding_longer_than_the_payload_is_malformed() {
    let packet = bytes("a0 60 0007 00000a00 11223344 0000 09");
    let header = Header::parse_untrusted(&packet).unwrap();
    assert!(header.payload_range(&packet).is_err());
    let none = bytes("a0 60 0007 00000a00 11223344 0000 00");
    assert!(Header::parse_untrusted(&none).unwrap().payload_range(&none).is_err());
}

#[test]
fn unknown_extension_profile_is_skipped_whole() {
    let packet = bytes("90 60 0007 00000a00 11223344 abcd0001 10aa0000 ff");
    let header = Header::parse_untrusted(&packet).unwrap();
    assert_eq!(header.extensions(&packet).count(), 0);
    assert_eq!(packet[header.payload_range(&packet).unwrap()], [0xff]);
}

#[test]
fn a_short_packet_is_filled_with_padding_up_to_the_asked_length() {
    let mut out = [0xee; 64];
    let written = write(&mut out, &header(&[]), &[&rtx_prefix(Seq(9)), b"abc"], 20).unwrap();
    assert_eq!((written.header_len, written.len), (12, 20));
    let packet = &out[..written.len];
    let parsed = Header::parse_untrusted(packet).unwrap();
    let payload = &packet[parsed.payload_range(packet).unwrap()];
    assert_eq!(parse_untrusted_rtx(payload), Ok((Seq(9), &b"abc"[..])));
}

#[test]
fn a_padding_only_packet_has_an_empty_payload() {
    let mut out = [0; 300];
    let written = write_padding(&mut out, &header(&[(5, &[1, 2])]), 200).unwrap();
    let packet = &out[..written.len];
    let parsed = Header::parse_untrusted(packet).unwrap();
    assert_eq!(packet.len(), parsed.header_len + 200);
    assert!(parsed.payload_range(packet).unwrap().is_empty());
}

#[test]
fn extension_values_are_read_by_type() {
    assert_eq!(read_audio_level(&[0x85]), Some(AudioLevel { voice: true, level: 5 }));
    assert_eq!(read_transport_seq(&[1, 2]), Some(Seq(258)));
    assert_eq!(read_transport_seq(&[1]), None);
    assert_eq!(read_stream_id(b"hi"), Some("hi"));
    assert_eq!(read_stream_id(b""), None);
    assert_eq!(read_stream_id(&[0xff]), None);
    assert_eq!(read_abs_send_time(&abs_send_time(1_000_000)), Some(1 << 18));
    assert_eq!(read_abs_send_time(&abs_send_time(64_000_000)), Some(0));
}

#[test]
fn impossible_extensions_are_refused_by_the_writer() {
    let long = [0; 256];
    let mut out = [0; 1500];
    assert!(write(&mut out, &header(&[(1, &long)]), &[], 0).is_err());
    assert!(write(&mut out, &header(&[(0, &[1])]), &[], 0).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_malformed(packet in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(header) = Header::parse_untrusted(&packet) {
            prop_assert!(header.header_len <= packet.len());
            for element in header.extensions(&packet) {
                prop_assert!(element.range.end <= header.header_len);
            }
            let _ = header.payload_range(&packet);
        }
    }

    #[test]
    fn extensions_of_another_packet_never_reach_out_of_bounds(
        packet in prop::collection::vec(any::<u8>(), 40..300), cut in 0usize..40,
    ) {
        let mut packet = packet;
        packet[0] = 0x90;
        packet[12..16].copy_from_slice(&[0xbe, 0xde, 0, 4]);
        let header = Header::parse_untrusted(&packet).unwrap();
        for element in header.extensions(&packet[..cut]) {
            prop_assert!(element.range.end <= cut);
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        values in prop::collection::btree_map(1u8..=255, prop::collection::vec(any::<u8>(), 0..30), 0..8),
        payload in prop::collection::vec(any::<u8>(), 0..600),
        pad_to in 0usize..900,
    ) {
        let extensions: Vec<(u8, &[u8])> = values.iter().map(|(id, value)| (*id, &value[..])).collect();
        let mut out = [0; 1500];
        let new = header(&extensions);
        let written = write(&mut out, &new, &[&payload], pad_to).unwrap();
        let packet = &out[..written.len];
        let parsed = Header::parse_untrusted(packet).unwrap();
        prop_assert_eq!(parsed.header_len, written.header_len);
        prop_assert_eq!((parsed.marker, parsed.payload_type, parsed.seq), (true, 96, new.seq));
        prop_assert_eq!((parsed.rtp_ts, parsed.ssrc), (new.rtp_ts, new.ssrc));
        for (id, value) in &extensions {
            prop_assert_eq!(parsed.extension(packet, *id), Some(*value));
        }
        prop_assert_eq!(&packet[parsed.payload_range(packet).unwrap()], &payload[..]);
        prop_assert!(written.len >= pad_to.min(written.header_len + payload.len() + 255));
    }

    #[test]
    fn a_short_buffer_is_refused(size in 0usize..40) {
        let mut out = vec![0; size];
        let refused = write(&mut out, &header(&[(1, &[9])]), &[&[0; 20]], 0).is_err();
        prop_assert_eq!(refused, size < 20 + 20);
    }
}
