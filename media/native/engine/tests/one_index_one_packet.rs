//! The promise AES-GCM rests on: under one key no (SSRC, index) leaves twice with different bytes, whatever people
//! and networks do. `World` holds every datagram to it; here random lives are played. The encryptor's own guard must
//! never have been needed: a refusal is counted and would be the engine's bug.

mod common;

use common::{Faults, World};
use holdspace_engine::{Command, Kind, SlotId, TrackId};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Act {
    Run(u64),
    Fill {
        slot: u64,
        track: Option<u64>,
    },
    Mute {
        track: u64,
        muted: bool,
    },
    Faults(Faults),
    Padding {
        track: u64,
    },
    NackFlood {
        subscriber: usize,
    },
    /// The publisher's numbers jump, as after a long outage.
    Jump {
        track: u64,
        by: u64,
    },
    Readd {
        track: u64,
    },
    Move {
        browser: usize,
        port: u16,
    },
    Silence {
        browser: usize,
    },
    UnaskedRtx {
        track: u64,
        back: u64,
    },
    Layer {
        slot: u64,
        rid: usize,
        temporal: Option<u8>,
    },
    /// An encoding begins or ends.
    Encoding {
        layer: usize,
        active: bool,
    },
    Reports,
}

const VIDEO_TRACKS: u64 = 2;
/// Of the third publisher.
const SIMULCAST_TRACK: u64 = 3;
const RIDS: [&str; 3] = ["q", "h", "f"];
const RED_TRACK: u64 = 4;

fn act() -> impl Strategy<Value = Act> {
    let track = 1..=VIDEO_TRACKS;
    let faults = (0..200_u64, 0..100_u64, 0..60_u64, 0..30_u64).prop_map(|(loss, duplicate, delay_ms, jitter_ms)| {
        Act::Faults(Faults { loss, duplicate, delay_ms, jitter_ms })
    });
    prop_oneof![
        6 => (1..400_u64).prop_map(Act::Run),
        4 => (10..13_u64, proptest::option::of(track.clone())).prop_map(|(slot, track)| Act::Fill { slot, track }),
        2 => (track.clone(), any::<bool>()).prop_map(|(track, muted)| Act::Mute { track, muted }),
        2 => faults,
        1 => track.clone().prop_map(|track| Act::Padding { track }),
        1 => (2..4_usize).prop_map(|subscriber| Act::NackFlood { subscriber }),
        1 => (track.clone(), 1..20_000_u64).prop_map(|(track, by)| Act::Jump { track, by }),
        1 => track.clone().prop_map(|track| Act::Readd { track }),
        1 => (0..4_usize, 6_000..6_010_u16).prop_map(|(browser, port)| Act::Move { browser, port }),
        1 => (2..4_usize).prop_map(|browser| Act::Silence { browser }),
        1 => (track, 1..600_u64).prop_map(|(track, back)| Act::UnaskedRtx { track, back }),
        4 => (13..15_u64, 0..3_usize, proptest::option::of(0..3_u8))
            .prop_map(|(slot, rid, temporal)| Act::Layer { slot, rid, temporal }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(layer, active)| Act::Encoding { layer, active }),
        3 => Just(Act::Reports),
    ]
}

/// Two publishers; two subscribers, one of them without RTX in one slot; a third publisher with three encodings of
/// temporal layers and RED, which only one subscriber takes.
fn room(seed: u64) -> World {
    let mut world = World::new(seed);
    for track in 1..=VIDEO_TRACKS {
        let publisher = world.join();
        world.publish(publisher, track, Kind::Video);
    }
    let (first, second) = (world.join(), world.join());
    world.subscribe(first, 10, 1, Kind::Video);
    world.subscribe(first, 11, 2, Kind::Video);
    world.add_slot(second, 12, Kind::Video, false);
    world.fill(12, Some(1));
    let third = world.join();
    world.browsers[third].red = true;
    for at in world.publish_simulcast(third, SIMULCAST_TRACK, &RIDS) {
        world.browsers[third].sending[at].temporal_layers = 1 + at as u64;
    }
    world.publish(third, RED_TRACK, Kind::Audio);
    world.browsers[second].red = true;
    for (subscriber, slot) in [(first, 13), (second, 14)] {
        world.subscribe(subscriber, slot, SIMULCAST_TRACK, Kind::Video);
        world.subscribe(subscriber, slot + 2, RED_TRACK, Kind::Audio);
    }
    world
}

fn play(world: &mut World, act: Act) {
    match act {
        Act::Run(ms) => world.run(ms),
        Act::Fill { slot, track } => world.fill(slot, track),
        Act::Mute { track, muted } => {
            world.apply(Command::SetTrackMuted { track: TrackId(track), muted }).unwrap();
        }
        Act::Faults(faults) => world.link.both(faults),
        Act::Padding { track } => {
            let browser = track as usize - 1;
            let padding = world.browsers[browser].padding_packet(0);
            world.send_up(browser, padding);
        }
        Act::NackFlood { subscriber } => flood(world, subscriber),
        Act::Jump { track, by } => world.browsers[track as usize - 1].sending[0].ext_seq += by,
        Act::Readd { track } => {
            let browser = &world.browsers[track as usize - 1];
            let (transport, spec) = (browser.transport, browser.track_spec(0));
            let track = TrackId(track);
            world.apply(Command::RemoveTrack { track }).unwrap();
            world.apply(Command::SetTrack { transport, track, spec }).unwrap();
            for slot in 10..13 {
                world.apply(Command::SetSlotSource { slot: SlotId(slot), track: Some(track) }).unwrap();
            }
        }
        Act::Move { browser, port } => {
            world.browsers[browser].address.set_port(port);
            world.check(browser, true);
        }
        Act::Silence { browser } => {
            let shy = &mut world.browsers[browser];
            (shy.checks, shy.reports, shy.nacks) = (false, false, false);
            world.run(8_500);
            let back = &mut world.browsers[browser];
            (back.checks, back.reports, back.nacks) = (true, true, true);
            world.check(browser, true);
        }
        Act::Layer { slot, rid, temporal } => {
            let rid = Some(RIDS[rid].to_owned());
            world.apply(Command::SetLayer { slot: SlotId(slot), rid, temporal }).unwrap();
        }
        Act::Encoding { layer, active } => world.browsers[4].sending[layer].active = active,
        Act::Reports => (0..RIDS.len()).for_each(|layer| world.report(4, layer)),
        Act::UnaskedRtx { track, back } => {
            let browser = &mut world.browsers[track as usize - 1];
            let known: Vec<u64> = browser.sending[0].history.keys().rev().copied().collect();
            if let Some(original) = known.get(back as usize) {
                let rtx = browser.rtx_of(0, *original);
                world.send_up(track as usize - 1, rtx);
            }
        }
    }
}

/// Asks for the last thousand packets of every slot, sent or not, lost or not.
fn flood(world: &mut World, subscriber: usize) {
    let slots: Vec<(u32, u64)> = world.browsers[subscriber]
        .receiving
        .iter()
        .filter_map(|(ssrc, receiving)| Some((*ssrc, receiving.newest?)))
        .collect();
    for (ssrc, newest) in slots {
        for start in (newest.saturating_sub(1_000)..newest + 100).step_by(200) {
            let lost: Vec<holdspace_wire::seq::Seq> =
                (start..start + 200).map(|seq| holdspace_wire::seq::ExtSeq(seq).seq()).collect();
            let nack = world.browsers[subscriber].rtcp(|writer| writer.nack(2, ssrc, &lost).unwrap());
            world.send_up(subscriber, nack);
        }
    }
}

proptest! {
    #![proptest_config(common::cases(32))]

    #[test]
    fn no_index_is_spent_twice(seed in any::<u64>(), acts in proptest::collection::vec(act(), 1..40)) {
        let mut world = room(seed);
        world.run(200);
        for act in acts {
            play(&mut world, act);
        }
        world.run(300);
        prop_assert_eq!(world.engine.totals().repeat_refused, 0);
        let undecodable: u64 = world.browsers.iter().map(|browser| browser.undecodable).sum();
        prop_assert_eq!(undecodable, 0, "subscribers agree on every index");
    }
}

#[test]
fn a_peer_without_rtx_gets_the_identical_ciphertext() {
    let mut world = room(7);
    world.run(300);
    world.keep_sent = true;
    world.link.down.loss = 100;
    world.run(3_000);
    let without_rtx = |receiving: &common::browser::Receiving| receiving.kind_is_video && receiving.rtx_ssrc.is_none();
    let ssrc = *world.browsers[3].receiving.iter().find(|(_, receiving)| without_rtx(receiving)).unwrap().0;
    let to = world.browsers[3].address;
    let mut seen = std::collections::HashMap::new();
    let mut repeats = 0;
    for left in world.left.iter().filter(|left| left.to == to && left.bytes[8..12] == ssrc.to_be_bytes()) {
        let seq = u16::from_be_bytes([left.bytes[2], left.bytes[3]]);
        if let Some(before) = seen.insert(seq, left.bytes.clone()) {
            assert_eq!(before, left.bytes);
            repeats += 1;
        }
    }
    assert!(repeats > 10, "{repeats}");
    assert!(world.counts(3).retransmitted_out >= repeats, "another slot of this browser has RTX");
}

#[test]
fn a_slots_ssrc_is_never_used_twice_on_a_transport() {
    let mut world = room(8);
    let browser = &world.browsers[2];
    let transport = browser.transport;
    for (ssrc, rtx) in [(0x5000_0000, None), (0x5000_0001, None), (9, Some(0x5000_0002)), (9, Some(9))] {
        let spec = browser_spec(&world, 2, ssrc, rtx);
        let refused = world.apply(Command::SetSlot { transport, slot: SlotId(99), spec });
        assert!(matches!(refused, Err(holdspace_engine::EngineError::Refused(_))), "{ssrc:#x}");
    }
    let spec = browser_spec(&world, 2, 0x5000_0000, Some(0x5000_0001));
    assert_eq!(world.apply(Command::SetSlot { transport, slot: SlotId(10), spec }), Ok(()), "the same slot again");
}

fn browser_spec(world: &World, index: usize, ssrc: u32, rtx: Option<u32>) -> holdspace_engine::SlotSpec {
    world.browsers[index].slot_spec(10, Kind::Video, ssrc, rtx)
}
