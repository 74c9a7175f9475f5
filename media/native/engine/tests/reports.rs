//! Reports both ways: transport-wide feedback, receiver and sender reports, round trips, caps, levels, track events.

mod common;

use common::{Faults, World};
use holdspace_engine::{Command, Event, Kind, SpokenLevel, TrackId, TrackState};

#[test]
fn every_packet_of_a_publisher_is_in_the_transport_wide_feedback() {
    let mut world = World::new(71);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    world.publish(publisher, 2, Kind::Audio);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Video);
    world.link.up = Faults { delay_ms: 20, jitter_ms: 15, ..Faults::default() };
    world.run(3_000);
    world.browsers[publisher].sending.iter_mut().for_each(|sending| sending.active = false);
    world.run(300);
    let browser = &world.browsers[publisher];
    let told = browser.told.values().filter(|arrived| **arrived).count() as u64;
    assert_eq!(told, browser.sent_numbers, "audio and reordered packets included");
}

#[test]
fn feedback_leaves_along_with_the_sound_for_its_peer() {
    let mut world = World::new(78);
    let (first, second) = (world.join(), world.join());
    world.publish(first, 1, Kind::Audio);
    world.publish(second, 2, Kind::Audio);
    world.subscribe(first, 10, 2, Kind::Audio);
    world.subscribe(second, 11, 1, Kind::Audio);
    world.run(500);
    world.keep_sent = true;
    world.run(2_000);
    let is_rtcp = |bytes: &[u8]| (128..192).contains(&bytes[0]) && (192..224).contains(&bytes[1]);
    let (along, alone): (Vec<_>, Vec<_>) =
        world.left.iter().filter(|left| is_rtcp(&left.bytes)).partition(|left| left.segments == 2);
    assert!(along.len() >= 60, "at least every 60 ms for each: {}", along.len());
    assert!(alone.len() <= 8, "reports do not fit behind sound: {}", alone.len());
    for browser in &world.browsers {
        let told = browser.told.values().filter(|arrived| **arrived).count() as u64;
        assert!(browser.sent_numbers - told <= 4, "{told} of {}", browser.sent_numbers);
    }
}

#[test]
fn lost_packets_are_reported_as_lost() {
    let mut world = World::new(72);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    world.browsers[publisher].sending[0].answers_nacks = false;
    world.run(500);
    world.link.up.loss = 200;
    world.run(3_000);
    world.link.up.loss = 0;
    world.run(1_500);
    let browser = &world.browsers[publisher];
    let lost = browser.told.values().filter(|arrived| !**arrived).count() as f64;
    assert!((lost / 360.0 - 0.2).abs() < 0.08, "{lost}");
    let worst = browser.blocks.iter().map(|block| block.fraction_lost).max().unwrap();
    assert!((30..90).contains(&worst), "20 % is 51 of 256: {worst}");
    let total = browser.blocks.last().unwrap().total_lost;
    assert!((f64::from(total) - lost).abs() <= 4.0, "{total} {lost}");
    let stats = world.counts(publisher);
    let sent = world.browsers[publisher].sending[0].packets;
    assert!(stats.expected_in.abs_diff(u64::from(sent)) <= 4, "{} of {sent}", stats.expected_in);
    assert!((stats.missing_in as f64 - lost).abs() <= 4.0, "{} missing, {lost} lost", stats.missing_in);
}

#[test]
fn a_receiver_report_names_only_bound_streams_and_echoes_the_sender_report() {
    let mut world = World::new(73);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let idle = world.publish(publisher, 2, Kind::Audio);
    world.browsers[publisher].sending[idle].active = false;
    world.run(100);
    let report = world.browsers[publisher].sender_report(0, 0x1234_5678_9abc_def0);
    world.send_up(publisher, report);
    world.run(1_500);
    let browser = &world.browsers[publisher];
    let video = browser.sending[0].ssrc;
    assert!(!browser.blocks.is_empty() && browser.blocks.iter().all(|block| block.ssrc == video));
    let block = browser.blocks.last().unwrap();
    assert_eq!(block.last_sr, 0x5678_9abc);
    assert!(block.delay_since_last_sr > 65_536 / 10 && block.delay_since_last_sr < 65_536 * 3 / 2);
    assert_eq!(u64::from(block.highest_seq) / 1_000, browser.sending[0].ext_seq / 1_000);
}

#[test]
fn sender_reports_keep_the_publishers_clock_on_the_slots_timeline() {
    let mut world = World::new(74);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(1_500);
    assert!(world.browsers[subscriber].receiving[&ssrc].reports.is_empty(), "none before the publisher's");
    let ntp = 0xe1000000_00000000_u64;
    let (source_ts, at) = (world.browsers[publisher].sending[0].rtp_ts, world.now);
    let report = world.browsers[publisher].sender_report(0, ntp);
    world.send_up(publisher, report);
    world.run(3_000);
    let receiving = &world.browsers[subscriber].receiving[&ssrc];
    assert!((3..=5).contains(&receiving.reports.len()), "{}", receiving.reports.len());
    let (sent, got) =
        (world.browsers[publisher].sending[0].history.values().next().unwrap(), receiving.got.values().next().unwrap());
    let offset = got.rtp_ts.wrapping_sub(sent.1);
    for report in &receiving.reports {
        let passed_s = (report.ntp_time - ntp) as f64 / 4_294_967_296.0;
        let ticks = report.rtp_ts.wrapping_sub(source_ts.wrapping_add(offset));
        assert!((passed_s * 90_000.0 - f64::from(ticks)).abs() < 2.0, "{passed_s} {ticks}");
        assert!(passed_s < world.now.since_us(at) as f64 / 1e6);
    }
    let counted = receiving.reports.last().unwrap().packets as usize;
    assert!((receiving.got.len() - 140..=receiving.got.len()).contains(&counted));
    assert_eq!(world.browsers[subscriber].cnames[&ssrc], "cname10");
}

#[test]
fn the_round_trip_is_measured_from_reports() {
    let mut world = World::new(75);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Audio);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Audio);
    world.link.both(Faults { delay_ms: 40, ..Faults::default() });
    world.run(200);
    let report = world.browsers[publisher].sender_report(0, 7 << 32);
    world.send_up(publisher, report);
    world.run(4_000);
    let rtt_ms = world.counts(subscriber).rtt_ms.expect("measured");
    assert!((78.0..86.0).contains(&rtt_ms), "{rtt_ms}");
}

#[test]
fn a_cap_is_repeated_until_it_is_lifted() {
    let mut world = World::new(76);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    world.publish(publisher, 2, Kind::Audio);
    world.run(2_000);
    assert!(world.browsers[publisher].rembs.is_empty(), "no REMB unless asked: it would cap Chromium");
    let transport = world.browsers[publisher].transport;
    world.apply(Command::SetMaxBitrate { transport, bps: Some(600_000) }).unwrap();
    world.run(3_500);
    let rembs = std::mem::take(&mut world.browsers[publisher].rembs);
    assert_eq!(rembs.len(), 4);
    assert!(rembs.iter().all(|bps| bps.abs_diff(600_000) < 6_000), "{rembs:?}");
    world.apply(Command::SetMaxBitrate { transport, bps: None }).unwrap();
    world.run(6_000);
    let rembs = &world.browsers[publisher].rembs;
    assert!(rembs.len() == 3 && rembs.iter().all(|bps| *bps > 100_000_000), "{rembs:?}");
}

#[test]
fn levels_come_every_200_ms_with_the_loudest_of_each_track() {
    let mut world = World::new(77);
    let (first, second) = (world.join(), world.join());
    let loud = world.publish(first, 1, Kind::Audio);
    world.publish(second, 2, Kind::Audio);
    world.browsers[first].sending[loud].audio_level = 0x80 | 12;
    world.run(2_001);
    let levels: Vec<&Vec<SpokenLevel>> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Levels(levels) => Some(levels),
            _ => None,
        })
        .collect();
    assert!((9..=10).contains(&levels.len()), "{}", levels.len());
    for heard in levels {
        assert!(heard.contains(&SpokenLevel { track: TrackId(1), level_dbov: 12, active: true }));
        assert!(heard.contains(&SpokenLevel { track: TrackId(2), level_dbov: 30, active: false }));
    }
    world.apply(Command::SetTrackMuted { track: TrackId(1), muted: true }).unwrap();
    world.run(200);
    world.events.clear();
    world.run(400);
    let muted = |event: &Event| matches!(event, Event::Levels(l) if l.iter().any(|l| l.track == TrackId(1)));
    assert!(!world.events.iter().any(muted));
}

#[test]
fn levels_of_different_rooms_come_at_the_same_moments() {
    for starts_after_ms in [0, 7, 38] {
        let mut world = World::new(79);
        world.run(starts_after_ms);
        let publisher = world.join();
        world.publish(publisher, 1, Kind::Audio);
        let mut told = Vec::new();
        for _ in 0..2_000 {
            world.step();
            let events = std::mem::take(&mut world.events);
            told.extend(events.iter().filter(|event| matches!(event, Event::Levels(_))).map(|_| world.now));
        }
        assert!((9..=11).contains(&told.len()), "{told:?}");
        assert!(told.iter().all(|at| at.0 % 25_000 == 0), "{told:?}");
    }
}

#[test]
fn a_track_is_live_at_its_first_packet_and_silent_after_two_seconds() {
    let mut world = World::new(78);
    let publisher = world.join();
    let sending = world.publish(publisher, 1, Kind::Video);
    world.run(100);
    let (transport, track) = (world.browsers[publisher].transport, TrackId(1));
    assert!(world.saw(&Event::Track { transport, track, state: TrackState::Live }));
    let codec = Event::Codec { transport, track, name: "vp8".into(), fmtp: String::new() };
    assert_eq!(world.events.iter().filter(|event| **event == codec).count(), 1);
    world.browsers[publisher].sending[sending].active = false;
    world.run(1_900);
    let silent = Event::Track { transport, track, state: TrackState::Silent };
    assert!(!world.saw(&silent));
    world.run(200);
    assert!(world.saw(&silent));
    world.browsers[publisher].sending[sending].active = true;
    world.events.clear();
    world.run(100);
    assert!(world.saw(&Event::Track { transport, track, state: TrackState::Live }));
}

#[test]
fn every_packet_to_a_subscriber_has_its_own_transport_wide_number() {
    let mut world = World::new(79);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    world.publish(publisher, 2, Kind::Audio);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Video);
    world.subscribe(subscriber, 11, 2, Kind::Audio);
    world.run(2_000);
    let mut seqs = world.browsers[subscriber].transport_seqs.clone();
    seqs.sort_unstable();
    assert!(seqs.len() > 300 && seqs.windows(2).all(|w| w[1] == w[0] + 1));
    let holdspace_engine::Value::Map(dump) = world.engine.dump(world.now) else { panic!("a map") };
    assert!(format!("{dump:?}").contains("feedback_acknowledged"));
}

#[test]
fn a_publisher_of_opus_is_told_the_worst_loss_of_its_listeners() {
    for (red, listeners_red, told) in [(false, false, 60), (true, false, 60), (true, true, 0)] {
        let mut world = World::new(79);
        let publisher = world.join();
        world.browsers[publisher].red = red;
        world.publish(publisher, 1, Kind::Audio);
        for (slot, loss) in [(10, 20), (11, 60)] {
            let listener = world.join();
            world.browsers[listener].red = listeners_red;
            world.browsers[listener].says_lost = loss;
            world.subscribe(listener, slot, 1, Kind::Audio);
        }
        world.run(5_000);
        let blocks = &world.browsers[publisher].blocks;
        assert_eq!(
            blocks.last().map(|block| (block.fraction_lost, block.total_lost)),
            Some((told, 0)),
            "{red} {listeners_red}"
        );
    }
}
