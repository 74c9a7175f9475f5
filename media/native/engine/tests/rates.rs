//! Congestion control, pacing and probing over a slow line: a room of two with an encoder that obeys.

mod common;

use common::{Call, Faults, World};
use holdspace_engine::{Command, Event, Kind, STREAM};
use proptest::prelude::*;

const DELAY: Faults = Faults { loss: 0, duplicate: 0, delay_ms: 20, jitter_ms: 0 };

#[test]
fn a_drop_to_300_kbit_stops_no_sound_and_the_picture_is_back_within_five_seconds() {
    for (seed, queue_ms) in [(1, 200), (2, 400), (3, 1_000), (4, 120)] {
        let mut call = Call::new(seed, 2_000_000);
        call.line(10_000_000, 400);
        call.run(10_000);
        assert!(call.video_bps(2_000) > 1_700_000, "{}", call.video_bps(2_000));
        let dropped_at = call.world.now;
        call.line(300_000, queue_ms);
        call.run(20_000);
        let to = call.world.now;
        let freeze = call.longest_freeze_ms(dropped_at, dropped_at.plus_ms(6_000));
        let later = call.longest_freeze_ms(dropped_at.plus_ms(5_000), to);
        let (pause, lost) = call.sound(dropped_at);
        let bps = call.video_bps(5_000);
        println!("queue {queue_ms}: freeze {freeze} later {later} sound pause {pause} lost {lost:.3} video {bps}");
        assert!(freeze < 4_000 && later < 500, "{queue_ms}: {freeze} {later}");
        assert!(pause < 1_000 && lost < 0.08, "{queue_ms}: {pause} {lost}");
        assert!((120_000..300_000).contains(&bps), "{queue_ms}: {bps}");
    }
}

#[test]
fn when_the_line_recovers_the_full_rate_is_back_within_seconds() {
    let mut call = Call::new(5, 2_000_000);
    call.line(300_000, 300);
    call.run(20_000);
    assert!(call.video_bps(3_000) < 300_000);
    call.line(10_000_000, 300);
    let at = call.world.now;
    while call.video_bps(1_000) < 1_700_000 && call.world.now.since_ms(at) < 60_000 {
        call.run(100);
    }
    let took = call.world.now.since_ms(at);
    println!("recovery took {took} ms, {:?}", call.estimates.last());
    assert!(took < 8_000, "{took}");
    let freeze = call.longest_freeze_ms(at, call.world.now);
    assert!(freeze < 300, "{freeze}");
}

#[test]
fn random_loss_costs_neither_rate_nor_picture() {
    for (seed, loss) in [(6, 10), (7, 50), (8, 100), (9, 100)] {
        let mut call = Call::new(seed, 1_200_000);
        call.line(5_000_000, 300);
        call.run(5_000);
        let at = call.world.now;
        call.world.link.down = Faults { loss, ..DELAY };
        call.run(40_000);
        let (bps, freeze) = (call.video_bps(10_000), call.longest_freeze_ms(at, call.world.now));
        println!("loss {loss}: {bps} freeze {freeze} estimate {}", call.estimate());
        assert!(bps > 850_000, "{loss}: {bps}");
        assert!(
            freeze
                < match loss {
                    10 => 150,
                    50 => 300,
                    _ => 1_000,
                },
            "{loss}: {freeze}"
        );
    }
}

#[test]
fn after_heavy_loss_has_ended_the_full_rate_is_back_within_seconds() {
    let mut call = Call::new(27, 1_500_000);
    call.line(10_000_000, 300);
    call.run(5_000);
    call.world.link.down = Faults { loss: 400, ..DELAY };
    call.run(10_000);
    assert!(call.estimate() < 700_000, "{}", call.estimate());
    call.world.link.down = DELAY;
    let at = call.world.now;
    while call.video_bps(1_000) < 1_200_000 && call.world.now.since_ms(at) < 60_000 {
        call.run(100);
    }
    let took = call.world.now.since_ms(at);
    println!("recovery took {took} ms, {:?}", call.estimates.last());
    assert!(took < 8_000, "{took}");
}

/// What a slow reader's queue lets go never met the path.
#[test]
fn packets_missing_from_a_stream_lower_nothing_and_from_datagrams_they_do() {
    let estimate_at_the_end = |socket: u32| {
        let mut call = Call::new(28, 1_200_000);
        call.world.browsers[call.subscriber].socket = socket;
        call.world.check(call.subscriber, true);
        call.run(5_000);
        call.world.link.down = Faults { loss: 400, ..DELAY };
        call.run(10_000);
        let lowered = call.estimates.iter().any(|(_, _, is_limit)| *is_limit);
        (call.estimate(), lowered)
    };
    let (by_stream, lowered) = estimate_at_the_end(STREAM | 5);
    assert!(by_stream > 1_200_000 && !lowered, "{by_stream}");
    let (by_datagrams, lowered) = estimate_at_the_end(0);
    assert!(by_datagrams < 1_000_000 && lowered, "{by_datagrams}");
}

#[test]
fn what_there_is_too_little_of_to_send_is_no_limit() {
    let mut call = Call::new(20, 150_000);
    call.line(5_000_000, 300);
    call.run(20_000);
    assert!(call.estimates.iter().all(|(_, _, is_limit)| !is_limit), "{:?}", call.estimates);
    assert!(call.world.browsers[call.publisher].rembs.is_empty());
    assert!(call.estimate() > 2_000_000, "padding showed what there is: {}", call.estimate());
    assert!(call.world.browsers[call.subscriber].padding_got > 20);
    call.most_bps = 2_000_000;
    call.run(3_000);
    assert!(call.video_bps(1_000) > 1_700_000, "at once, without a ramp");
}

#[test]
fn a_line_too_slow_for_pictures_pauses_them_and_brings_them_back() {
    let mut call = Call::new(21, 1_000_000);
    call.line(2_000_000, 300);
    call.run(5_000);
    call.line(90_000, 300);
    call.run(3_000);
    let at = call.world.now;
    call.run(20_000);
    let (pause, lost) = call.sound(at);
    println!("pauses {} sound pause {pause} lost {lost} estimate {}", call.pauses, call.estimate());
    assert!(call.pauses >= 1);
    assert!(pause < 400 && lost < 0.02, "{pause} {lost}");
    call.line(2_000_000, 300);
    call.run(20_000);
    assert!(call.video_bps(1_000) > 600_000, "{} {:?}", call.video_bps(1_000), call.estimates.last());
}

#[test]
fn lost_feedback_neither_stops_nor_starves() {
    let mut call = Call::new(22, 1_200_000);
    call.line(3_000_000, 300);
    call.run(5_000);
    call.world.link.up = Faults { loss: 300, ..DELAY };
    call.run(30_000);
    assert!(call.video_bps(10_000) > 700_000, "{} {:?}", call.video_bps(10_000), call.estimates.last());
}

/// A line that narrows both ways holds up the reports that would say so, or drops them, or lets later ones overtake.
#[test]
fn a_drop_whose_reports_are_lost_or_overtaken_does_not_take_the_rate_far_below_the_line() {
    let pieces = Faults { loss: 700, delay_ms: 270, ..Faults::default() };
    let overtaken = Faults { delay_ms: 800, ..Faults::default() };
    for (seed, queue_ms, most_bps, up, ms) in [
        (3, 250, 1_300_000, pieces, 600),
        (1, 600, 1_900_000, pieces, 1_500),
        (201, 600, 1_900_000, pieces, 1_500),
        (301, 600, 1_900_000, pieces, 1_500),
        (2, 600, 1_300_000, pieces, 1_500),
        (2, 250, 1_300_000, Faults { loss: 900, ..DELAY }, 2_500),
        (1, 600, 1_300_000, overtaken, 1_500),
        (1, 250, 1_300_000, overtaken, 1_500),
    ] {
        let mut call = Call::new(seed, most_bps);
        call.line(2_000_000, 250);
        call.run(8_000);
        let (dropped_at, subscriber) = (call.world.now, call.subscriber);
        call.line(300_000, queue_ms);
        call.world.link.up_of.insert(subscriber, up);
        call.run(ms);
        call.world.link.up_of.clear();
        call.run(10_000 - ms);
        let since = call.estimates.iter().filter(|(at, _, _)| *at >= dropped_at);
        let least = since.map(|(_, bps, _)| *bps).min().expect("it was lowered");
        let freeze = call.longest_freeze_ms(dropped_at, call.world.now);
        let (_, lost) = call.sound(dropped_at);
        println!("{seed} queue {queue_ms}: least {least} freeze {freeze} sound lost {lost:.3}");
        assert!(least > 150_000 && freeze < 3_000, "{seed} {queue_ms}: {least} {freeze}");
        assert!(lost < 0.06, "{seed} {queue_ms}: {lost}");
    }
}

#[test]
fn two_slots_of_one_slow_peer_share_it() {
    let mut world = World::new(23);
    let (publisher, subscriber) = (world.join(), world.join());
    for track in [1, 2] {
        let at = world.publish(publisher, track, Kind::Video);
        world.browsers[publisher].sending[at].packets_per_frame = 2;
    }
    let first = world.subscribe(subscriber, 10, 1, Kind::Video);
    let second = world.subscribe(subscriber, 11, 2, Kind::Video);
    world.link.both(DELAY);
    world.link.lines.insert(subscriber, common::Line::new(600_000, 300));
    world.run(30_000);
    let got = |ssrc: u32| world.browsers[subscriber].got(ssrc).len() as f64;
    let share = got(first) / (got(first) + got(second));
    assert!((0.25..0.75).contains(&share), "{share}");
    assert!(world.counts(subscriber).dropped_out > 100, "nobody obeyed, so what had no room was let go");
    assert_eq!(world.engine.totals().repeat_refused, 0);
}

/// A subscriber without transport-wide feedback, and the stream it gets.
fn by_reports_alone(seed: u64) -> (World, usize, u32) {
    let mut world = World::new(seed);
    let (publisher, subscriber) = (world.join(), world.join());
    world.publish(publisher, 1, Kind::Video);
    let transport = world.browsers[subscriber].transport;
    world.browsers[subscriber].extensions.transport_cc = None;
    world.browsers[subscriber].reports = false;
    let extensions = world.browsers[subscriber].extensions;
    world.apply(Command::SetExtensions { transport, extensions }).unwrap();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(3_000);
    (world, subscriber, ssrc)
}

fn report(world: &mut World, subscriber: usize, ssrc: u32, fraction_lost: u8) {
    let highest_seq = world.browsers[subscriber].receiving[&ssrc].newest.unwrap() as u32;
    let block = holdspace_wire::rtcp::ReportBlock { ssrc, fraction_lost, highest_seq, ..Default::default() };
    let report = world.browsers[subscriber].rtcp(|writer| writer.receiver_report(2, &[block]).unwrap());
    world.send_up(subscriber, report);
    world.run(5);
}

fn last_estimate(world: &World) -> Option<(u64, bool)> {
    world.events.iter().rev().find_map(|event| match event {
        Event::Estimate { bps, is_limit, .. } => Some((*bps, *is_limit)),
        _ => None,
    })
}

#[test]
fn a_peer_without_transport_wide_feedback_is_slowed_by_its_reports() {
    let (mut world, subscriber, ssrc) = by_reports_alone(24);
    for _ in 0..10 {
        world.run(1_000);
        report(&mut world, subscriber, ssrc, 100);
    }
    let (bps, is_limit) = last_estimate(&world).expect("an estimate");
    assert!(is_limit && bps < 900_000, "{bps}");
}

#[test]
fn what_a_report_tells_of_the_former_path_does_not_slow_the_new_one() {
    let (mut world, subscriber, ssrc) = by_reports_alone(29);
    report(&mut world, subscriber, ssrc, 0);
    world.link.cut_off.insert(subscriber);
    world.run(3_000);
    world.link.cut_off.clear();
    world.browsers[subscriber].address.set_port(5_555);
    world.check(subscriber, true);
    world.run(200);
    report(&mut world, subscriber, ssrc, 230);
    for _ in 0..3 {
        world.run(1_000);
        report(&mut world, subscriber, ssrc, 0);
    }
    let is_lowered = |event: &Event| matches!(event, Event::Estimate { is_limit: true, .. });
    assert!(!world.events.iter().any(is_lowered), "{:?}", last_estimate(&world));
}

#[test]
fn a_peers_own_estimate_is_kept_to() {
    let mut world = World::new(25);
    let (publisher, subscriber) = (world.join(), world.join());
    world.publish(publisher, 1, Kind::Video);
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(3_000);
    let before = world.browsers[subscriber].got(ssrc).len();
    for _ in 0..10 {
        let remb = world.browsers[subscriber].rtcp(|writer| writer.remb(2, 200_000, &[ssrc]).unwrap());
        world.send_up(subscriber, remb);
        world.run(1_000);
    }
    let bytes = (world.browsers[subscriber].got(ssrc).len() - before) * 1_100;
    assert!(bytes * 8 / 10 < 320_000, "{} bits/s", bytes * 8 / 10);
}

fn datagram_feedback(world: &mut World, index: usize, base: u16, arrivals_us: &[Option<i64>]) {
    let arrivals = holdspace_wire::rtcp::Arrivals {
        sender_ssrc: 2,
        media_ssrc: 3,
        feedback_count: 1,
        base_seq: holdspace_wire::seq::Seq(base),
        arrivals_us,
    };
    let feedback = world.browsers[index].rtcp(|writer| {
        writer.transport_cc(&arrivals).expect("room");
    });
    world.send_up(index, feedback);
}

proptest! {
    #![proptest_config(common::cases(32))]

    #[test]
    fn hostile_feedback_ends_in_some_estimate_and_sound_goes_on(
        seed in any::<u64>(),
        reports in proptest::collection::vec((any::<u16>(), proptest::collection::vec(proptest::option::of(any::<i64>()), 1..60), any::<u64>(), any::<u8>()), 1..40),
    ) {
        let mut world = World::new(seed);
        let (publisher, subscriber) = (world.join(), world.join());
        world.publish(publisher, 1, Kind::Video);
        world.publish(publisher, 2, Kind::Audio);
        world.subscribe(subscriber, 10, 1, Kind::Video);
        let audio = world.subscribe(subscriber, 11, 2, Kind::Audio);
        world.run(300);
        for (base, arrivals, bps, fraction_lost) in reports {
            let near = world.browsers[subscriber].transport_seqs.last().copied().unwrap_or(0) as u16;
            let base = if base % 2 == 0 { near.wrapping_sub(base % 64) } else { base };
            datagram_feedback(&mut world, subscriber, base, &arrivals);
            let block = holdspace_wire::rtcp::ReportBlock { ssrc: audio, fraction_lost, highest_seq: bps as u32, ..Default::default() };
            let rtcp = world.browsers[subscriber].rtcp(|writer| {
                writer.receiver_report(2, &[block]).unwrap();
                writer.remb(2, bps >> 8, &[audio]).unwrap();
            });
            world.send_up(subscriber, rtcp);
            world.run(50);
        }
        let from = world.now;
        world.run(2_000);
        let heard = world.browsers[subscriber].got(audio).values().filter(|got| got.at > from).count();
        prop_assert!(heard > 95, "{heard}");
        let estimate = world.counts(subscriber).estimate_bps.unwrap_or(30_000);
        prop_assert!((30_000..=50_000_000).contains(&estimate));
    }
}

#[test]
fn what_the_runtime_could_not_send_is_not_held_against_the_path() {
    let mut world = World::new(26);
    let (publisher, subscriber) = (world.join(), world.join());
    world.publish(publisher, 1, Kind::Video);
    world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(500);
    let transport = world.browsers[subscriber].transport;
    world.engine.not_sent(transport, 1, u64::MAX);
    world.engine.not_sent(holdspace_engine::TransportId(9_999), 1, 3);
    datagram_feedback(&mut world, subscriber, 1, &[Some(0), None, None, None, None, Some(1_000)]);
    let before = format!("{:?}", world.engine.dump(world.now)).contains("\"feedback_lost\", Int(0)");
    assert!(before, "nothing of it is called lost");
}
