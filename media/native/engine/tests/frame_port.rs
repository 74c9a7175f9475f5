//! The frame port as a contract: whole pictures in order to the worker, its pictures as an ordinary layer, keyframe
//! requests both ways, rates, a slow worker, and any bytes from a hostile one.

mod common;

use common::payload::{picture_of, VP8_DESCRIPTOR_BYTES};
use common::{assert_one_stream, worker, Faults, World};
use holdspace_engine::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A private camera (track 1) with a worker, and two subscribers; answers their slots' SSRCs.
fn room(seed: u64) -> (World, [u32; 2]) {
    let mut world = World::new(seed);
    let publisher = world.join();
    world.publish_as(publisher, 1, Kind::Video, true);
    world.open_port(1);
    let ssrcs = [10, 11].map(|slot| {
        let subscriber = world.join();
        world.subscribe(subscriber, slot, 1, Kind::Video)
    });
    (world, ssrcs)
}

/// The camera's frames by timestamp, as they were before they were cut into packets.
fn frames_sent(world: &World) -> BTreeMap<u32, Vec<u8>> {
    let mut frames = BTreeMap::<u32, Vec<u8>>::new();
    for (payload, rtp_ts, _) in world.browsers[0].sending[0].history.values() {
        frames.entry(*rtp_ts).or_default().extend(&payload[VP8_DESCRIPTOR_BYTES..]);
    }
    frames
}

fn share(world: &mut World, slot: u64, bps: Option<u64>) {
    world.apply(Command::SetSlotShare { slot: SlotId(slot), bps }).unwrap();
}

#[test]
fn the_worker_gets_every_picture_whole_byte_for_byte_though_packets_are_lost_and_late() {
    let (mut world, ssrcs) = room(501);
    world.link.up = Faults { loss: 30, jitter_ms: 12, delay_ms: 15, duplicate: 20 };
    world.run(6_000);
    let sent = frames_sent(&world);
    let frames: Vec<&Vec<u8>> = world.workers[0].frames().collect();
    assert!(frames.len() > 120, "{}", frames.len());
    let mut last = None::<u32>;
    for frame in &frames {
        let rtp_ts = u32::from_be_bytes(frame[4..8].try_into().unwrap());
        assert_eq!(frame[8..], sent[&rtp_ts], "whole");
        assert!(last.is_none_or(|last| rtp_ts.wrapping_sub(last) as i32 > 0), "in order");
        let follows = last.is_none_or(|last| rtp_ts.wrapping_sub(last) == 2_970);
        assert!(follows || frame[1] & 3 == 3, "after a gap a keyframe that says so: {:?}", &frame[..8]);
        last = Some(rtp_ts);
    }
    assert_eq!(frames[0][1], 1, "the first is a keyframe and misses nothing");
    assert!(ssrcs.iter().enumerate().all(|(at, ssrc)| world.browsers[at + 1].got(*ssrc).len() > 300));
}

#[test]
fn lost_packets_of_the_workers_pictures_are_repaired_like_any() {
    let (mut world, ssrcs) = room(502);
    world.link.down = Faults { loss: 40, jitter_ms: 5, delay_ms: 10, duplicate: 10 };
    world.run(5_000);
    world.link.down = Faults::default();
    world.run(1_500);
    for (at, ssrc) in ssrcs.into_iter().enumerate() {
        let got = world.browsers[at + 1].got(ssrc);
        let (first, last) = (*got.keys().next().unwrap(), *got.keys().next_back().unwrap());
        assert_eq!(got.len() as u64, last - first + 1, "without holes");
        assert!(got.values().any(|got| got.by_rtx));
        let pictures: Vec<u16> = got.values().map(|got| picture_of(&got.payload).0).collect();
        assert!(pictures.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) & 0x7fff <= 1));
        let marked = got.values().filter(|got| got.marker).count();
        let times: BTreeSet<u32> = got.values().map(|got| got.rtp_ts).collect();
        assert!(marked.abs_diff(times.len()) <= 1);
    }
}

#[test]
fn a_subscribers_keyframe_request_goes_to_the_worker_and_not_to_the_camera() {
    let (mut world, ssrcs) = room(503);
    world.run(1_500);
    let (asked, told) = (world.browsers[0].plis_got.len(), world.workers[0].count(2));
    for _ in 0..5 {
        let pli = world.browsers[1].rtcp(|writer| writer.pli(2, ssrcs[0]).unwrap());
        world.send_up(1, pli);
        world.run(20);
    }
    world.run(100);
    assert_eq!(world.browsers[0].plis_got.len(), asked);
    assert_eq!(world.workers[0].count(2), told + 1, "once in half a second");
    let starts = |got: &&common::browser::Got| got.payload[0] & 0x10 != 0 && got.payload[4] & 1 == 0;
    assert!(world.browsers[1].got(ssrcs[0]).values().filter(starts).count() >= 2);
}

#[test]
fn a_newcomer_begins_at_a_keyframe_of_the_worker() {
    let (mut world, _) = room(504);
    world.run(1_500);
    let late = world.join();
    let ssrc = world.subscribe(late, 12, 1, Kind::Video);
    world.run(300);
    let got = world.browsers[late].got(ssrc);
    let first = got.values().next().expect("within 300 ms");
    assert!(first.payload[0] & 0x10 != 0 && first.payload[4] & 1 == 0);
}

#[test]
fn the_workers_keyframe_request_goes_to_the_camera_at_most_twice_a_second() {
    let (mut world, _) = room(505);
    world.run(1_500);
    let asked = world.browsers[0].plis_got.len();
    let keyframes = world.browsers[0].sending[0].keyframes;
    for _ in 0..10 {
        world.engine.worker_says(TrackId(1), &[2], world.now, &mut world.out);
        world.run(10);
    }
    assert_eq!(world.browsers[0].plis_got.len(), asked + 1);
    world.run(100);
    assert!(world.browsers[0].sending[0].keyframes > keyframes);
    assert_eq!(world.workers[0].frames().filter(|frame| frame[1] & 1 == 1).count() as u64, keyframes + 1);
}

#[test]
fn a_worker_whose_socket_is_full_goes_on_with_a_keyframe_that_says_what_is_missing() {
    let (mut world, _) = room(506);
    world.run(1_000);
    world.workers[0].is_full = true;
    world.run(700);
    let before = world.workers[0].inbox.len();
    assert!(world.engine.totals().port.frames_dropped > 0);
    world.workers[0].is_full = false;
    world.run(1_000);
    let after: Vec<&Vec<u8>> = world.workers[0].inbox[before..].iter().filter(|message| message[0] == 1).collect();
    assert!(after.len() > 10 && after[0][1] == 3, "{:?}", after.first());
    assert!(after[1..].iter().all(|frame| frame[1] & 2 == 0));
}

#[test]
fn the_worker_is_told_the_narrowest_share_in_steps() {
    let (mut world, _) = room(507);
    world.run(1_000);
    assert_eq!(world.workers[0].rates(), [1_200_000], "while none is known");
    share(&mut world, 10, Some(900_000));
    share(&mut world, 11, Some(600_000));
    world.run(2_500);
    assert_eq!(world.workers[0].rates(), [1_200_000, 600_000]);
    share(&mut world, 11, Some(640_000));
    world.run(3_000);
    assert_eq!(world.workers[0].rates().len(), 2, "a step under 15 %");
    share(&mut world, 11, Some(0));
    world.run(1_000);
    assert_eq!(world.workers[0].rates().last(), Some(&900_000), "who is paused narrows nothing");
    world.workers[0].is_full = true;
    share(&mut world, 10, Some(300_000));
    world.run(2_500);
    world.workers[0].is_full = false;
    world.run(500);
    assert_eq!(world.workers[0].rates().last(), Some(&300_000), "told again when it can be");
}

/// Of which of the camera's times each picture is that the subscriber got, by what is in it, and when it was taken by
/// the subscriber's newest report: in ticks after `zero`, the world's (NTP time, camera time).
fn placed(world: &World, ssrc: u32, from: Time) -> Vec<(u32, u32)> {
    let receiving = &world.browsers[1].receiving[&ssrc];
    let report = receiving.reports.last().expect("a sender report");
    let mut sent = HashMap::<&[u8], u32>::new();
    for (payload, rtp_ts, _) in world.browsers[0].sending[0].history.values() {
        sent.insert(&payload[VP8_DESCRIPTOR_BYTES..], *rtp_ts);
    }
    let got = receiving.got.values().filter(|got| got.at >= from && got.payload.first().is_some_and(|b| b & 0x10 != 0));
    got.map(|got| {
        let raw = got.payload.get(VP8_DESCRIPTOR_BYTES..).and_then(|data| sent.get(data).copied());
        (raw.unwrap_or_else(|| worker::time_in(&got.payload[4..])), got.rtp_ts.wrapping_sub(report.rtp_ts))
    })
    .collect()
}

#[test]
fn picture_and_untouched_sound_keep_the_times_they_were_taken_at_however_long_the_blur_takes() {
    let mut world = World::new(508);
    let publisher = world.join();
    let camera = world.publish(publisher, 1, Kind::Video);
    let microphone = world.publish(publisher, 2, Kind::Audio);
    let subscriber = world.join();
    let picture_ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    let sound_ssrc = world.subscribe(subscriber, 11, 2, Kind::Audio);
    let worker = world.open_port(1);
    world.workers[worker].delay_ms = 75;
    world.run(500);
    for private in [false, true, false, true] {
        world.set_private(1, private);
        world.run(700);
        let from = world.now;
        [camera, microphone].iter().for_each(|sending| world.report(publisher, *sending));
        let (camera_ts, sound_ts) =
            (world.browsers[0].sending[camera].rtp_ts, world.browsers[0].sending[microphone].rtp_ts);
        let ntp = (u128::from(world.now.0) << 32) / 1_000_000;
        world.run(2_500);
        let after = |ssrc: u32, clock_hz: u128| {
            let report = world.browsers[subscriber].receiving[&ssrc].reports.last().unwrap();
            (((u128::from(report.ntp_time) - ntp) * clock_hz) >> 32) as u32
        };
        let pictures = placed(&world, picture_ssrc, from.plus_ms(100));
        assert!(pictures.len() > 60, "{} pictures, private: {private}", pictures.len());
        for (source_ts, since_report) in pictures {
            let taken = source_ts.wrapping_sub(camera_ts);
            let shown = since_report.wrapping_add(after(picture_ssrc, 90_000));
            let apart = taken.wrapping_sub(shown) as i32;
            assert!(apart.abs() <= 2, "a picture is {apart} of 90,000 parts of a second off, private: {private}");
        }
        let receiving = &world.browsers[subscriber].receiving[&sound_ssrc];
        let report = receiving.reports.last().unwrap();
        let got = receiving.got.values().next_back().unwrap();
        let (_, newest) = world.browsers[0].sending[microphone]
            .history
            .values()
            .find_map(|(payload, rtp_ts, _)| (*payload == got.payload).then_some(((), *rtp_ts)))
            .unwrap();
        let (taken, shown) = (newest.wrapping_sub(sound_ts), got.rtp_ts.wrapping_sub(report.rtp_ts));
        let apart = taken.wrapping_sub(shown.wrapping_add(after(sound_ssrc, 48_000))) as i32;
        assert!(apart.abs() <= 2, "sound is {apart} of 48,000 parts of a second off");
    }
}

#[test]
fn the_orientation_of_the_camera_reaches_worker_and_subscribers() {
    let (mut world, ssrcs) = room(509);
    for at in 0..2 {
        let browser = &mut world.browsers[at];
        (browser.orientation, browser.extensions.video_orientation) = (Some(1), Some(12));
        let (transport, extensions) = (browser.transport, browser.extensions);
        world.apply(Command::SetExtensions { transport, extensions }).unwrap();
    }
    world.run(1_000);
    assert_eq!(world.workers[0].frames().last().unwrap()[2], 1);
    let got = world.browsers[1].got(ssrcs[0]);
    assert!(got.values().next_back().unwrap().extensions.contains(&(12, vec![1])));
}

#[test]
fn what_was_never_handed_out_is_not_shown() {
    let (mut world, ssrcs) = room(510);
    world.workers[0].works = false;
    world.run(1_000);
    let given: Vec<[u8; 4]> = world.workers[0].frames().map(|frame| frame[4..8].try_into().unwrap()).collect();
    let tell = |world: &mut World, message: Vec<u8>| {
        world.engine.worker_says(TrackId(1), &message, world.now, &mut world.out);
        world.run(5);
        world.browsers[1].got(ssrcs[0]).len()
    };
    let invented = u32::from_be_bytes(given[5]).wrapping_add(1).to_be_bytes();
    assert_eq!(tell(&mut world, worker::picture(invented, true, 500)), 0);
    assert_eq!(tell(&mut world, worker::picture(given[5], false, 500)), 0, "a keyframe comes first");
    assert_eq!(tell(&mut world, worker::picture(given[6], true, 500)), 1);
    assert_eq!(tell(&mut world, worker::picture(given[6], true, 500)), 1, "once");
    assert_eq!(tell(&mut world, worker::picture(given[3], true, 500)), 1, "none older");
    let mut no_keyframe = worker::picture(given[8], true, 500);
    no_keyframe[11] = 0;
    assert_eq!(tell(&mut world, no_keyframe), 1, "without a start code");
    let mut flagged = worker::picture(given[8], false, 500);
    flagged[1] = 1;
    assert_eq!(tell(&mut world, flagged), 1, "flag and picture differ");
    assert_eq!(world.engine.totals().port.bad_port_messages, 5);
    assert_eq!(tell(&mut world, worker::picture(given[9], false, 1 << 19)), 1 + (1_usize << 19).div_ceil(1_100));
    world.run(500);
    assert_one_stream_of_worker(&world, ssrcs[0]);
}

fn assert_one_stream_of_worker(world: &World, ssrc: u32) {
    let numbers: Vec<u64> = world.browsers[1].got(ssrc).keys().copied().collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn an_ordinary_track_knows_nothing_of_all_this() {
    let mut world = World::new(511);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.open_port(1);
    world.run(500);
    world.engine.worker_says(TrackId(1), &worker::picture([0; 4], true, 100), world.now, &mut world.out);
    world.engine.worker_says(TrackId(9), &[2], world.now, &mut world.out);
    world.run(500);
    assert_eq!(world.workers[0].frames().count(), 0, "a port alone gets nothing");
    assert_one_stream(world.browsers[subscriber].got(ssrc));
    assert_eq!(world.engine.totals().port, PortCounts { bad_port_messages: 1, ..PortCounts::default() });
}

/// Bytes of a worker: its contract's messages, whole and broken, and anything else.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = || proptest::collection::vec(any::<u8>(), 0..80);
    prop_oneof![
        any_bytes(),
        (0..6_u8, any_bytes()).prop_map(|(kind, rest)| [vec![kind], rest].concat()),
        (any::<bool>(), 1..9_000_usize).prop_map(|(key, bytes)| worker::picture([0; 4], key, bytes.max(10))),
        Just(vec![1; MAX_PORT_MESSAGE + 1]),
        Just(vec![2]),
        Just(vec![4]),
    ]
}

proptest! {
    #![proptest_config(common::cases(32))]

    #[test]
    fn any_bytes_from_a_worker_break_nothing(
        seed in any::<u64>(),
        messages in proptest::collection::vec((message(), any::<prop::sample::Index>(), any::<bool>(), 0..60_u64), 1..60),
    ) {
        let (mut world, ssrcs) = room(seed);
        world.workers[0].works = false;
        world.run(300);
        for (mut message, given, names_given, ms) in messages {
            let times: Vec<Vec<u8>> = world.workers[0].frames().map(|frame| frame[4..8].to_vec()).collect();
            if names_given && message.len() >= 9 {
                message[4..8].copy_from_slice(&times[given.index(times.len())]);
            }
            world.engine.worker_says(TrackId(1), &message, world.now, &mut world.out);
            world.run(ms);
        }
        world.run(100);
        for (at, ssrc) in ssrcs.into_iter().enumerate() {
            let numbers: Vec<u64> = world.browsers[at + 1].got(ssrc).keys().copied().collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
            prop_assert_eq!(world.browsers[at + 1].undecodable, 0);
        }
        prop_assert_eq!(world.engine.totals().repeat_refused, 0);
    }
}
