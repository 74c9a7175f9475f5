//! Limits: what a room, a transport or a hostile member may have; and that what is removed takes all beneath it.

mod common;

use common::{Faults, World};
use holdspace_engine::*;
use holdspace_wire::srtp::Profile;

fn refused(done: Result<(), EngineError>) -> bool {
    matches!(done, Err(EngineError::Refused(_)))
}

#[test]
fn transports_tracks_slots_and_taps_are_bounded() {
    let config = EngineConfig {
        max_transports: 2,
        max_tracks_per_transport: 2,
        max_slots_per_transport: 2,
        max_taps: 1,
        ..EngineConfig::default()
    };
    let mut world = World::with_config(config);
    let (first, _) = (world.join(), world.join());
    let third = Command::AddTransport {
        transport: TransportId(9),
        participant: "third".into(),
        ice_ufrag: "ufragthird".into(),
        ice_pwd: "password-of-the-third-person".into(),
    };
    assert!(refused(world.apply(third)));
    for track in 1..=2 {
        world.publish(first, track, Kind::Video);
        world.add_slot(first, track, Kind::Video, true);
    }
    let transport = TransportId(100);
    let spec = TrackSpec { mid: "x".into(), ..world.browsers[first].track_spec(0) };
    assert!(refused(world.apply(Command::SetTrack { transport, track: TrackId(3), spec })));
    let spec = world.browsers[first].slot_spec(3, Kind::Video, 77, None);
    assert!(refused(world.apply(Command::SetSlot { transport, slot: SlotId(3), spec })));
    let (grant, participant) = ("consent".to_owned(), "person0".to_owned());
    world.apply(Command::GrantRecording { grant: grant.clone(), participant }).unwrap();
    world.apply(Command::AddTap { tap: TapId(1), track: TrackId(1), grant: grant.clone() }).unwrap();
    assert!(refused(world.apply(Command::AddTap { tap: TapId(2), track: TrackId(1), grant })));
}

#[test]
fn ids_nobody_has_are_unknown_and_ids_with_other_arguments_are_duplicates() {
    let mut world = World::new(91);
    let browser = world.join();
    world.publish(browser, 1, Kind::Video);
    world.add_slot(browser, 10, Kind::Video, true);
    let unknown = [
        Command::RemoveTransport { transport: TransportId(9) },
        Command::SendDtls { transport: TransportId(9), datagrams: vec![], flight: false },
        Command::SetExtensions { transport: TransportId(9), extensions: ExtensionIds::default() },
        Command::RemoveTrack { track: TrackId(9) },
        Command::SetSlotSource { slot: SlotId(9), track: None },
        Command::SetSlotSource { slot: SlotId(10), track: Some(TrackId(9)) },
        Command::SetLayer { slot: SlotId(9), rid: None, temporal: None },
        Command::SetTrackMuted { track: TrackId(9), muted: true },
        Command::SetMaxBitrate { transport: TransportId(9), bps: None },
        Command::RevokeRecording { grant: "none".into() },
        Command::RemoveTap { tap: TapId(9) },
    ];
    for command in unknown {
        assert_eq!(world.apply(command.clone()), Err(EngineError::UnknownId), "{command:?}");
    }
    let transport = TransportId(100);
    let mut spec = world.browsers[browser].track_spec(0);
    assert_eq!(world.apply(Command::SetTrack { transport, track: TrackId(1), spec: spec.clone() }), Ok(()));
    spec.mid = "other".into();
    assert_eq!(world.apply(Command::SetTrack { transport, track: TrackId(1), spec }), Err(EngineError::DuplicateId));
    let keys = |key: Vec<u8>, world: &World| Command::SetSrtp {
        transport,
        profile: Profile::AeadAes128Gcm,
        inbound_key: key,
        outbound_key: world.browsers[0].key_down.clone(),
    };
    let same = keys(world.browsers[0].key_up.clone(), &world);
    assert_eq!(world.apply(same), Ok(()));
    let other = keys(vec![1; 28], &world);
    assert_eq!(world.apply(other), Err(EngineError::DuplicateId));
    let audio = world.publish(browser, 2, Kind::Audio);
    assert_eq!(audio, 1);
    assert!(refused(world.apply(Command::SetSlotSource { slot: SlotId(10), track: Some(TrackId(2)) })), "kinds differ");
}

#[test]
fn a_member_who_makes_up_ssrcs_is_bounded_and_disturbs_nobody() {
    let mut world = World::new(92);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(100);
    let at = world.browsers[publisher].add_sending(TrackId(1), Kind::Video);
    world.browsers[publisher].sending[at].active = false;
    world.browsers[publisher].sending[at].mid = "nobody".into();
    for made_up in 0..2_000_u32 {
        let stranger = &mut world.browsers[publisher].sending[at];
        (stranger.ssrc, stranger.ext_seq) = (0x9000_0000 + made_up, 100);
        if made_up < 200 {
            world.send_media(publisher, at);
        }
        world.step();
    }
    let dropped = world.counts(publisher).dropped;
    assert_eq!(dropped.get(DropReason::UnknownSsrc), 800);
    assert!(world.browsers[subscriber].got(ssrc).len() > 230);
}

#[test]
fn who_sends_without_end_is_held_to_a_rate_and_their_neighbour_is_not() {
    let mut world = World::new(95);
    let (flooder, neighbour) = (world.join(), world.join());
    world.publish(flooder, 1, Kind::Video);
    world.publish(neighbour, 2, Kind::Audio);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Video);
    let sound = world.subscribe(subscriber, 11, 2, Kind::Audio);
    world.run(200);
    let (from, before) = (world.now, world.counts(flooder));
    for _ in 0..2_000 {
        for _ in 0..10 {
            let packets = world.browsers[flooder].next_packets(0);
            packets.into_iter().for_each(|packet| world.deliver_to_engine(flooder, packet));
            world.flush();
        }
        world.browsers[flooder].sending[0].history.clear();
        world.step();
    }
    let counts = world.counts(flooder);
    let taken = counts.packets_in - before.packets_in - counts.dropped.get(DropReason::Bound);
    // 5 MB a second for two seconds, half a second of it at once.
    assert!((5_000..12_500).contains(&taken), "{taken} of {}", counts.packets_in);
    let heard = world.browsers[subscriber].got(sound).values().filter(|got| got.at > from).count();
    assert!(heard > 95, "{heard}");
    world.run(600);
    let late = world.counts(flooder).dropped.get(DropReason::Bound);
    world.run(1_000);
    assert_eq!(world.counts(flooder).dropped.get(DropReason::Bound), late, "and forgiven");
}

#[test]
fn what_hangs_under_a_transport_goes_with_it() {
    let mut world = World::new(93);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Video);
    world.subscribe(publisher, 11, 1, Kind::Video);
    world.run(200);
    let in_before = world.engine.totals().packets_in;
    world.apply(Command::RemoveTransport { transport: TransportId(100) }).unwrap();
    let totals = world.engine.totals();
    assert_eq!((totals.transports, totals.tracks), (1, 0));
    assert_eq!(totals.packets_in, in_before, "counters outlive the transport");
    assert_eq!(world.apply(Command::RemoveTrack { track: TrackId(1) }), Err(EngineError::UnknownId));
    let fill = Command::SetSlotSource { slot: SlotId(11), track: None };
    assert_eq!(world.apply(fill), Err(EngineError::UnknownId));
    world.apply(Command::RemoveTransport { transport: TransportId(101) }).unwrap();
    world.browsers.iter_mut().for_each(|browser| browser.sending.clear());
    world.run(100);
    assert_eq!(world.engine.next_deadline(), None, "an empty room sleeps");
    let gone = world.routes.iter().filter(|route| matches!(route, Route::UfragRemoved { .. })).count();
    assert_eq!(gone, 2);
}

#[test]
fn memory_stays_flat_over_a_long_bad_session() {
    let mut world = World::new(94);
    world.link.both(Faults { loss: 30, duplicate: 10, delay_ms: 30, jitter_ms: 10 });
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    world.publish(publisher, 2, Kind::Audio);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Video);
    world.subscribe(subscriber, 11, 2, Kind::Audio);
    let (mut sizes, mut caches) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        world.run(10_000);
        let dump = format!("{:?}", world.engine.dump(world.now));
        let held = |name: &str| -> u64 {
            dump.match_indices(name)
                .map(|(at, _)| dump[at + name.len()..].trim_start_matches("\", Int(").split(')').next().unwrap())
                .map(|number| number.parse::<u64>().unwrap())
                .sum()
        };
        sizes.push((held("remembered"), held("ssrcs_in")));
        caches.push(held("cache_bytes"));
        for browser in &mut world.browsers {
            browser.sending.iter_mut().for_each(|sending| {
                let old = sending.ext_seq.saturating_sub(2_000);
                sending.history = sending.history.split_off(&old);
            });
        }
    }
    assert_eq!(sizes[1], sizes[5], "{sizes:?}");
    assert!(caches.iter().all(|bytes| (140_000..190_000).contains(bytes)), "one second of 1.1 Mbit/s: {caches:?}");
}
