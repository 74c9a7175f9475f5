//! Whatever bytes arrive, authenticated or not, the engine counts, drops and goes on.

mod common;

use common::{path_of, World};
use holdspace_engine::{DropReason, Kind};
use holdspace_wire::srtp::{Outbound, Profile};
use proptest::prelude::*;

fn room() -> World {
    let mut world = World::new(81);
    let (first, second) = (world.join(), world.join());
    world.publish(first, 1, Kind::Video);
    world.publish(first, 2, Kind::Audio);
    world.subscribe(second, 10, 1, Kind::Video);
    world.subscribe(second, 11, 2, Kind::Audio);
    world.run(300);
    world
}

fn dropped(world: &World) -> u64 {
    DropReason::ALL.iter().map(|reason| world.engine.totals().dropped.get(*reason)).sum()
}

/// Both directions of the room still work.
fn assert_alive(world: &mut World) {
    let before = world.counts(1).packets_out;
    world.run(300);
    assert!(world.counts(1).packets_out > before + 20);
}

/// Encrypts anything as if the peer had meant it. Its SSRCs are not those of the harness, so indexes stay apart.
fn sign_rtp(key: &mut Outbound, body: &[u8], seq: u16, ssrc: u32) -> Option<Vec<u8>> {
    let mut packet = vec![0x80; 12.max(body.len()) + 32];
    packet[..body.len()].copy_from_slice(body);
    packet[0] = 0x80 | packet[0] & 0x3f;
    packet[2..4].copy_from_slice(&seq.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    let len = 12.max(body.len());
    let header_len = holdspace_wire::rtp::Header::parse_untrusted(&packet[..len]).ok()?.header_len;
    let sealed = key.protect_rtp(&mut packet, len, header_len, holdspace_wire::seq::ExtSeq(u64::from(seq))).ok()?;
    packet.truncate(sealed);
    Some(packet)
}

proptest! {
    #![proptest_config(common::cases(64))]

    #[test]
    fn any_bytes_never_panic(datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..200)) {
        let mut world = room();
        for mut datagram in datagrams {
            for (transport, path) in [(100, world.browsers[0].address), (101, "9.9.9.9:9".parse().unwrap()), (7, world.browsers[0].address)] {
                let transport = holdspace_engine::TransportId(transport);
                world.engine.receive(transport, path_of(path), &mut datagram, world.now, &mut world.out);
            }
            world.flush();
        }
        assert_alive(&mut world);
    }

    #[test]
    fn any_signed_packet_never_panics(
        bodies in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 12..300), any::<u16>(), 0..12_u32), 1..200),
    ) {
        let mut world = room();
        let mut key = Outbound::new(Profile::AeadAes128Gcm, &world.browsers[0].key_up).unwrap();
        let media = world.browsers[0].sending[0].ssrc;
        for (mut body, seq, choice) in bodies {
            // Half of them under the payload types and SSRCs the room knows, so that parsers are reached.
            body[1] = match choice % 4 { 0 => 96, 1 => 104, 2 => 111, _ => body[1] };
            let ssrc = match choice % 3 { 0 => media + 1, 1 => 0x2001, _ => u32::from(body[8] % 4) };
            if let Some(packet) = sign_rtp(&mut key, &body, seq, ssrc) {
                world.deliver_to_engine(0, packet);
                world.flush();
            }
        }
        assert_alive(&mut world);
    }

    #[test]
    fn any_signed_compound_never_panics(
        bodies in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 4..120), 200..208_u8), 1..200),
    ) {
        let mut world = room();
        let slots: Vec<u32> = world.browsers[1].receiving.keys().copied().collect();
        for (mut body, packet_type) in bodies {
            body.resize(body.len().next_multiple_of(4).max(16), 0);
            let compound = world.browsers[1].rtcp(|writer| writer.pli(2, 3).unwrap());
            let mut key = Outbound::new(Profile::AeadAes128Gcm, &world.browsers[1].key_up).unwrap();
            body[0] = 0x80 | body[0] & 0x1f;
            body[1] = packet_type;
            let words = (body.len() / 4 - 1) as u16;
            body[2..4].copy_from_slice(&words.to_be_bytes());
            body[4..8].copy_from_slice(&world.sends.to_be_bytes()[4..]);
            body[8..12].copy_from_slice(&slots[usize::from(packet_type) % slots.len()].to_be_bytes());
            let len = body.len();
            body.resize(len + 32, 0);
            let sealed = key.protect_rtcp(&mut body, len).unwrap();
            world.deliver_to_engine(1, body[..sealed].to_vec());
            world.deliver_to_engine(1, compound);
            world.flush();
            world.step();
        }
        assert_alive(&mut world);
    }

    #[test]
    fn any_flipped_byte_of_a_real_packet_is_only_counted(at in 0..400_usize, flip in 1..=255_u8) {
        let mut world = room();
        let packets = world.browsers[0].next_packets(0);
        let before = dropped(&world);
        for (number, mut packet) in packets.into_iter().enumerate() {
            let at = (at + number * 97) % packet.len();
            packet[at] ^= flip;
            world.deliver_to_engine(0, packet);
        }
        world.flush();
        // A flipped first byte may make it STUN or DTLS; anything else must have been dropped.
        let dtls = world.events.iter().filter(|e| matches!(e, holdspace_engine::Event::Dtls { .. })).count() as u64;
        prop_assert!(dropped(&world) + dtls >= before + 3);
    }
}

#[test]
fn replayed_packets_are_dropped_and_counted() {
    let mut world = room();
    let packets = world.browsers[0].next_packets(0);
    for _ in 0..3 {
        for packet in &packets {
            world.deliver_to_engine(0, packet.clone());
        }
    }
    world.flush();
    assert_eq!(world.counts(0).dropped.get(DropReason::Replayed), 8);
}

#[test]
fn media_before_keys_is_counted_as_such() {
    let mut world = World::new(82);
    let browser = world.add_browser(Profile::AeadAes128Gcm);
    world.check(browser, true);
    world.publish(browser, 1, Kind::Audio);
    world.run(100);
    assert!(world.counts(browser).dropped.get(DropReason::NoKeys) >= 4);
    world.set_keys(browser);
    let before = world.counts(browser).dropped.get(DropReason::NoKeys);
    world.run(100);
    assert_eq!(world.counts(browser).dropped.get(DropReason::NoKeys), before);
}
