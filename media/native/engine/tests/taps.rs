//! Recording taps: nothing without a grant for that very person, everything after repair, nothing after withdrawal.

mod common;

use common::{Faults, World};
use holdspace_engine::{
    tap_payload_type, Command, EngineError, Event, Kind, TapEnd, TapId, TapKind, TrackId, TransportId,
};
use holdspace_wire::codec::Codec;
use holdspace_wire::rtcp::{self, Packet, SenderInfo};
use holdspace_wire::rtp::Header;
use std::collections::BTreeMap;

fn grant(world: &mut World, grant: &str, participant: &str) {
    let (grant, participant) = (grant.into(), participant.into());
    world.apply(Command::GrantRecording { grant, participant }).unwrap();
}

fn tap(world: &mut World, tap: u64, track: u64, grant: &str) -> Result<(), EngineError> {
    world.apply(Command::AddTap { tap: TapId(tap), track: TrackId(track), grant: grant.into() })
}

/// (timestamp, payload) by unwrapped sequence number.
fn taped(world: &World, tap: u64) -> BTreeMap<u64, (u32, u8, Vec<u8>)> {
    let mut newest = None::<u64>;
    let mut packets = BTreeMap::new();
    for record in world.taped.iter().filter(|r| r.tap == TapId(tap) && r.kind == TapKind::Rtp) {
        let header = Header::parse_untrusted(&record.bytes).unwrap();
        let seq = header.seq.0;
        let ext =
            newest.map_or(u64::from(seq), |n| n.wrapping_add_signed(i64::from(seq.wrapping_sub(n as u16) as i16)));
        newest = newest.max(Some(ext));
        let payload = record.bytes[header.payload_range(&record.bytes).unwrap()].to_vec();
        let before = packets.insert(ext, (header.rtp_ts, header.payload_type, payload));
        assert!(before.is_none(), "each packet once");
    }
    packets
}

fn reports(world: &World, tap: u64) -> Vec<SenderInfo> {
    let of_tap = world.taped.iter().filter(|r| r.tap == TapId(tap) && r.kind == TapKind::SenderReport);
    of_tap
        .map(|record| match rtcp::parse_untrusted(&record.bytes).next().unwrap().unwrap() {
            Packet::SenderReport { info, .. } => info,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn room() -> World {
    let mut world = World::new(61);
    for track in [1, 2] {
        let person = world.join();
        world.publish(person, track, Kind::Video);
    }
    world.run(200);
    world
}

#[test]
fn a_tap_needs_a_grant_that_names_the_tracks_person() {
    let mut world = room();
    assert_eq!(tap(&mut world, 1, 1, "consent"), Err(EngineError::UnknownId));
    grant(&mut world, "consent", "person1");
    assert!(matches!(tap(&mut world, 1, 1, "consent"), Err(EngineError::Refused(_))));
    assert_eq!(tap(&mut world, 1, 9, "consent"), Err(EngineError::UnknownId));
    assert_eq!(tap(&mut world, 1, 2, "consent"), Ok(()));
    assert_eq!(tap(&mut world, 1, 2, "consent"), Ok(()), "idempotent");
    grant(&mut world, "consent", "person1");
    let renamed = Command::GrantRecording { grant: "consent".into(), participant: "person0".into() };
    assert_eq!(world.apply(renamed), Err(EngineError::DuplicateId));
    world.run(300);
    assert!(!taped(&world, 1).is_empty());
}

#[test]
fn withdrawal_ends_the_tap_at_once() {
    let mut world = room();
    grant(&mut world, "consent", "person0");
    tap(&mut world, 1, 1, "consent").unwrap();
    world.run(500);
    world.apply(Command::RevokeRecording { grant: "consent".into() }).unwrap();
    assert!(world.saw(&Event::TapEnded { tap: TapId(1), reason: TapEnd::GrantRevoked }));
    let records = world.taped.len();
    assert!(records > 50);
    world.run(1_000);
    assert_eq!(world.taped.len(), records);
    assert_eq!(tap(&mut world, 2, 1, "consent"), Err(EngineError::UnknownId), "the grant is gone, too");
}

#[test]
fn other_ends_of_a_tap_are_told() {
    let mut world = room();
    grant(&mut world, "consent", "person0");
    for id in 1..=3 {
        tap(&mut world, id, 1, "consent").unwrap();
    }
    world.apply(Command::RemoveTap { tap: TapId(1) }).unwrap();
    world.apply(Command::FailTap { tap: TapId(2) }).unwrap();
    world.apply(Command::RemoveTransport { transport: TransportId(100) }).unwrap();
    for (tap, reason) in [(1, TapEnd::Removed), (2, TapEnd::JournalFailed), (3, TapEnd::TrackGone)] {
        assert!(world.saw(&Event::TapEnded { tap: TapId(tap), reason }), "{tap}");
    }
    assert_eq!(world.apply(Command::RemoveTap { tap: TapId(3) }), Err(EngineError::UnknownId));
}

#[test]
fn the_recording_has_every_packet_under_loss_on_one_timeline() {
    let mut world = room();
    grant(&mut world, "consent", "person0");
    tap(&mut world, 1, 1, "consent").unwrap();
    world.run(50);
    world.link.both(Faults { loss: 100, duplicate: 10, delay_ms: 15, jitter_ms: 4 });
    world.run(8_000);
    world.link.both(Faults::default());
    world.run(1_500);
    let packets = taped(&world, 1);
    let span = packets.keys().next_back().unwrap() - packets.keys().next().unwrap() + 1;
    assert!(packets.len() as u64 * 1_000 >= span * 999, "{} of {span}", packets.len());
    assert!(packets.values().all(|(_, pt, _)| *pt == tap_payload_type(Codec::Vp8)));
    let first = packets.values().next().unwrap();
    assert!(first.2[0] & 0x10 != 0 && first.2[6] & 1 == 0, "starts with a keyframe");
    let sent: Vec<&Vec<u8>> = world.browsers[0].sending[0].history.values().map(|sent| &sent.0).collect();
    let start = sent.iter().position(|payload| payload[6..] == first.2[6..]).unwrap() as u64;
    let offset = packets.keys().next().unwrap() - start;
    for (ext_seq, (_, _, payload)) in &packets {
        assert_eq!(payload[6..], sent[(ext_seq - offset) as usize][6..]);
    }
}

#[test]
fn the_timeline_goes_on_across_mute_and_shows_nothing_of_it() {
    let mut world = room();
    grant(&mut world, "consent", "person0");
    tap(&mut world, 1, 1, "consent").unwrap();
    world.run(500);
    world.apply(Command::SetTrackMuted { track: TrackId(1), muted: true }).unwrap();
    let records = world.taped.len();
    world.run(2_000);
    assert_eq!(world.taped.len(), records);
    world.apply(Command::SetTrackMuted { track: TrackId(1), muted: false }).unwrap();
    world.run(500);
    let packets: Vec<_> = taped(&world, 1).into_iter().collect();
    assert!(packets.windows(2).all(|w| w[1].0 == w[0].0 + 1));
    let longest = packets.windows(2).map(|w| w[1].1 .0.wrapping_sub(w[0].1 .0)).max().unwrap();
    assert!((2_000 * 90..2_200 * 90).contains(&longest), "the pause is in the timestamps: {longest}");
}

#[test]
fn sender_reports_stand_on_the_taps_timeline() {
    let mut world = room();
    let ntp = 0xe0000000_00000000_u64;
    let report = world.browsers[0].sender_report(0, ntp);
    let source_ts = world.browsers[0].sending[0].rtp_ts;
    world.send_up(0, report);
    world.run(1);
    let reported_at = world.now;
    grant(&mut world, "consent", "person0");
    tap(&mut world, 1, 1, "consent").unwrap();
    world.run(200);
    let first = reports(&world, 1)[0];
    let packets = taped(&world, 1);
    let (ts, _, payload) = packets.values().next().unwrap();
    let history = world.browsers[0].sending[0].history.values();
    let sent_ts = history.clone().find(|sent| sent.0[6..] == payload[6..]).unwrap().1;
    let offset = ts.wrapping_sub(sent_ts);
    let record = world.taped.iter().find(|record| record.kind == TapKind::SenderReport).unwrap();
    let passed_ms = record.arrival.since_ms(reported_at) as u32;
    assert_eq!(first.rtp_ts, source_ts.wrapping_add(offset).wrapping_add(passed_ms * 90));
    let passed_ntp = (first.ntp_time - ntp) as f64 / 4_294_967_296.0;
    assert!((passed_ntp * 1_000.0 - f64::from(passed_ms)).abs() < 1.0);
    let again = world.browsers[0].sender_report(0, ntp + (5 << 32));
    world.send_up(0, again);
    world.run(2);
    assert_eq!(reports(&world, 1).last().unwrap().ntp_time, ntp + (5 << 32));
}

#[test]
fn a_taped_track_is_asked_for_lost_packets_for_two_seconds() {
    for taped in [false, true] {
        let mut world = room();
        world.subscribe(1, 10, 1, Kind::Video);
        if taped {
            grant(&mut world, "consent", "person0");
            tap(&mut world, 1, 1, "consent").unwrap();
        }
        world.run(300);
        world.browsers[0].sending[0].answers_nacks = false;
        world.link.up.loss = 1_000;
        world.run(33);
        world.link.up.loss = 0;
        let start = world.counts(0).nacks_out;
        world.run(1_100);
        let after_1_s = world.counts(0).nacks_out;
        world.browsers[0].sending[0].keyframe_wanted = false;
        world.run(800);
        let after_2_s = world.counts(0).nacks_out;
        assert!(after_1_s > start);
        assert_eq!(after_2_s > after_1_s, taped);
    }
}
