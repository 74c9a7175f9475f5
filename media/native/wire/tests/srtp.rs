//! SRTP against libsrtp's bytes, and one index, one packet.

mod common;

use common::bytes;
use holdspace_wire::rtp::Header;
use holdspace_wire::seq::ExtSeq;
use holdspace_wire::srtp::{Inbound, Outbound, Profile, SrtpError, MAX_OVERHEAD};
use proptest::prelude::*;

const PROFILES: [Profile; 3] = [Profile::AesCm128HmacSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];
const SSRC: u32 = 0x1122_3344;

/// libsrtp 2 (pylibsrtp 1.0.0), key 01 02 03 …: the packet of seq 65,534, that of seq 1 after the rollover, and the
/// second SRTCP packet.
const GOLDEN: [(Profile, &str, &str, &str); 3] = [
    (
        Profile::AesCm128HmacSha1_80,
        "90e0fffe000103e611223344bede000110aa0000ad3166814f381e7baec70e7ec405dfc81f0ebf6a1381f8c0bb22d572ea87dbbc6b",
        "90e00001000003e911223344bede000110aa0000b2a6f3ba5281e2020ff7ff8deb58b06d1925d6cbee8b679a98d1c88de9",
        "80c8000611223344c8c5bfc359ff5588b5f2c0f83daf94d157d7bd35800000027d0f3955abccf31b3135",
    ),
    (
        Profile::AeadAes128Gcm,
        "90e0fffe000103e611223344bede000110aa0000513b5e23bb249134eaaeb45055d9c5f5dc92e1b7aacaa53c95858de088104877764d46dde8b4fd",
        "90e00001000003e911223344bede000110aa0000d672b3abc435af0999faab065c0d839a37e889f7b21892d182e18092c2785e70f94046",
        "80c8000611223344fea8784393dc7c2e098da6aad9cc27894406cfd9e2c08142cbd5153429e125f947dd5a9180000002",
    ),
    (
        Profile::AeadAes256Gcm,
        "90e0fffe000103e611223344bede000110aa0000c4086400277ccb23b2470a24af37c92912608df8fd9805bbfa07730d81576db5f77542c347288c",
        "90e00001000003e911223344bede000110aa000095c665f6b604e0c8bba779b25ca491c8c0face0011d63601e2cad60b7e0069e807ed63",
        "80c8000611223344c43caaeb1998a867d6d0fb43f15b27a0bda1ef98a351b58f83a85cccd6639f1fb0a09e8d80000002",
    ),
];

fn key(profile: Profile) -> Vec<u8> {
    (1..=(profile.key_bytes() + profile.salt_bytes()) as u8).collect()
}

fn plain_rtp(seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90, 0x80 | 96];
    packet.extend(seq.to_be_bytes());
    packet.extend((1000 + u32::from(seq)).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
    packet.extend(payload);
    packet
}

fn sender_report() -> Vec<u8> {
    bytes("80c8000611223344deadbeef12345678000023280000000a000003e8")
}

fn protect(outbound: &mut Outbound, plain: &[u8], index: u64) -> Result<Vec<u8>, SrtpError> {
    let mut buf = plain.to_vec();
    buf.resize(plain.len() + MAX_OVERHEAD, 0);
    let len = outbound.protect_rtp(&mut buf, plain.len(), 20, ExtSeq(index))?;
    buf.truncate(len);
    Ok(buf)
}

fn unprotect(inbound: &mut Inbound, sealed: &[u8]) -> Result<(Vec<u8>, ExtSeq), SrtpError> {
    let mut packet = sealed.to_vec();
    let header = Header::parse_untrusted(&packet).unwrap();
    let plain = inbound.unprotect_rtp(&mut packet, &header)?;
    packet.truncate(plain.len);
    Ok((packet, plain.ext_seq))
}

#[test]
fn rtp_is_byte_for_byte_that_of_libsrtp_across_the_rollover() {
    for (profile, before, after, _) in GOLDEN {
        let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
        let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
        for (index, golden) in [(65_534, before), (65_537, after)] {
            let seq = ExtSeq(index).seq().0;
            let plain = plain_rtp(seq, format!("holdspace payload {seq}").as_bytes());
            assert_eq!(protect(&mut outbound, &plain, index).unwrap(), bytes(golden), "{profile:?}");
            let opened = unprotect(&mut inbound, &bytes(golden)).unwrap();
            assert_eq!(opened, (plain, ExtSeq(index)), "{profile:?}");
        }
    }
}

#[test]
fn rtcp_is_byte_for_byte_that_of_libsrtp() {
    for (profile, _, _, golden) in GOLDEN {
        let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
        let plain = sender_report();
        let mut sealed = Vec::new();
        for _ in 0..2 {
            sealed = plain.clone();
            sealed.resize(plain.len() + MAX_OVERHEAD, 0);
            let len = outbound.protect_rtcp(&mut sealed, plain.len()).unwrap();
            sealed.truncate(len);
        }
        assert_eq!(sealed, bytes(golden), "{profile:?}");
        let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
        let mut packet = sealed.clone();
        assert_eq!(inbound.unprotect_rtcp(&mut packet), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
        assert_eq!(inbound.unprotect_rtcp(&mut sealed), Err(SrtpError::Replayed));
    }
}

#[test]
fn an_index_is_protected_once_and_only_once() {
    for profile in PROFILES {
        let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
        let packet = |index: u64| plain_rtp(index as u16, b"first");
        assert!(protect(&mut outbound, &packet(100), 100).is_ok());
        assert!(protect(&mut outbound, &packet(98), 98).is_ok(), "reordering is allowed");
        for index in [100, 98] {
            let again = protect(&mut outbound, &plain_rtp(index as u16, b"other"), index);
            assert_eq!(again, Err(SrtpError::IndexUsed));
        }
        assert!(protect(&mut outbound, &packet(2000), 2000).is_ok());
        assert_eq!(protect(&mut outbound, &packet(976), 976), Err(SrtpError::IndexUsed));
        assert!(protect(&mut outbound, &packet(977), 977).is_ok());
    }
}

#[test]
fn protecting_refuses_what_does_not_fit_together() {
    let mut outbound = Outbound::new(Profile::AeadAes128Gcm, &key(Profile::AeadAes128Gcm)).unwrap();
    let plain = plain_rtp(5, b"abc");
    assert_eq!(protect(&mut outbound, &plain, 6), Err(SrtpError::Malformed));
    assert_eq!(protect(&mut outbound, &plain, 5 | 1 << 48), Err(SrtpError::Exhausted));
    let mut tight = plain.clone();
    let refused = outbound.protect_rtp(&mut tight, plain.len(), 20, ExtSeq(5));
    assert_eq!(refused, Err(SrtpError::NoRoom));
    assert!(protect(&mut outbound, &plain, 5).is_ok(), "a refusal spends no index");
    assert!(Outbound::new(Profile::AeadAes128Gcm, &[0; 27]).is_err());
}

#[test]
fn replays_and_packets_behind_the_window_are_refused() {
    for profile in PROFILES {
        let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
        let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
        let mut sealed = |index: u64| protect(&mut outbound, &plain_rtp(index as u16, b"x"), index);
        let (old, first, late) = (sealed(500).unwrap(), sealed(501).unwrap(), sealed(1525).unwrap());
        assert!(unprotect(&mut inbound, &first).is_ok());
        assert!(unprotect(&mut inbound, &late).is_ok());
        assert_eq!(unprotect(&mut inbound, &late), Err(SrtpError::Replayed));
        assert_eq!(unprotect(&mut inbound, &first), Err(SrtpError::Replayed));
        assert_eq!(unprotect(&mut inbound, &old), Err(SrtpError::Replayed));
    }
}

#[test]
fn forged_packets_move_neither_rollover_nor_window() {
    for profile in PROFILES {
        let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
        let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
        let first = protect(&mut outbound, &plain_rtp(10, b"x"), 10).unwrap();
        assert!(unprotect(&mut inbound, &first).is_ok());
        for seq in [11, 20_000, 40_000, 60_000, 10_000] {
            let mut forged = first.clone();
            forged[2..4].copy_from_slice(&u16::to_be_bytes(seq));
            assert_eq!(unprotect(&mut inbound, &forged), Err(SrtpError::Unauthenticated));
        }
        let next = protect(&mut outbound, &plain_rtp(11, b"y"), 11).unwrap();
        assert_eq!(unprotect(&mut inbound, &next).unwrap().1, ExtSeq(11));
    }
}

#[test]
fn streams_of_one_transport_are_bounded_in_both_directions() {
    let profile = Profile::AeadAes128Gcm;
    let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
    let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
    let mut last = Ok(());
    for ssrc in 0..257u32 {
        let mut plain = plain_rtp(1, b"x");
        plain[8..12].copy_from_slice(&ssrc.to_be_bytes());
        last = protect(&mut outbound, &plain, 1).and_then(|sealed| unprotect(&mut inbound, &sealed)).map(|_| ());
    }
    assert_eq!(last, Err(SrtpError::TooManyStreams));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_the_key(packet in prop::collection::vec(any::<u8>(), 0..200)) {
        for profile in PROFILES {
            let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
            prop_assert!(inbound.unprotect_rtcp(&mut packet.clone()).is_err());
            if let Ok(header) = Header::parse_untrusted(&packet) {
                prop_assert!(inbound.unprotect_rtp(&mut packet.clone(), &header).is_err());
            }
        }
    }

    #[test]
    fn any_changed_byte_is_unauthenticated_or_malformed(at in 0usize..37, change in 1u8..) {
        for profile in PROFILES {
            let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
            let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
            let mut sealed = protect(&mut outbound, &plain_rtp(7, b"payload"), 7).unwrap();
            sealed[at] ^= change;
            if let Ok(header) = Header::parse_untrusted(&sealed) {
                prop_assert!(inbound.unprotect_rtp(&mut sealed, &header).is_err());
            }
        }
    }

    #[test]
    fn every_packet_of_a_disordered_stream_comes_out_once(
        start in 0u64..140_000,
        order in prop::collection::vec(0u64..600, 1..300),
    ) {
        let profile = Profile::AeadAes128Gcm;
        let mut outbound = Outbound::new(profile, &key(profile)).unwrap();
        let mut inbound = Inbound::new(profile, &key(profile)).unwrap();
        let mut sent = std::collections::HashSet::new();
        // A receiver starts in rollover 0, so the stream's first packet does too.
        let start = start % 65_000;
        let first = protect(&mut outbound, &plain_rtp(start as u16, b""), start).unwrap();
        unprotect(&mut inbound, &first).unwrap();
        sent.insert(start);
        for (step, offset) in order.iter().enumerate() {
            let index = start + offset + 400 * step as u64 / 2;
            let sealed = protect(&mut outbound, &plain_rtp(index as u16, b"z"), index);
            prop_assert_eq!(sealed.is_ok(), sent.insert(index) && sealed.is_ok());
            if let Ok(sealed) = sealed {
                let (_, ext_seq) = unprotect(&mut inbound, &sealed).unwrap();
                prop_assert_eq!(ext_seq, ExtSeq(index));
                prop_assert_eq!(unprotect(&mut inbound, &sealed), Err(SrtpError::Replayed));
            }
        }
    }
}
