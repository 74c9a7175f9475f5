//! What subscribers get of a publisher: the same payloads, in one unbroken stream of their own.

mod common;

use common::payload::{picture_of, VP8_DESCRIPTOR_BYTES};
use common::{Faults, World};
use holdspace_engine::Kind;

/// (sequence, picture) continuity, and payloads equal but for the rewritten descriptor.
fn assert_same_pictures(world: &World, publisher: usize, subscriber: usize, ssrc: u32, skip_last: usize) {
    let sent: Vec<_> = world.browsers[publisher].sending[0].history.values().collect();
    let got: Vec<_> = world.browsers[subscriber].got(ssrc).values().collect();
    assert!(got.len() + skip_last >= sent.len(), "{} of {} arrived", got.len(), sent.len());
    for ((payload, _, marker), got) in sent.iter().zip(&got) {
        assert_eq!(&payload[VP8_DESCRIPTOR_BYTES..], &got.payload[VP8_DESCRIPTOR_BYTES..]);
        assert_eq!(*marker, got.marker);
    }
    let first = got[0].ext_seq;
    for (at, got) in got.iter().enumerate() {
        assert_eq!(got.ext_seq, first + at as u64, "no gap and no repeat");
    }
}

#[test]
fn every_subscriber_gets_every_packet_byte_for_byte_under_its_own_numbers() {
    let mut world = World::new(1);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscribers: Vec<(usize, u32)> = (0..5)
        .map(|at| {
            let browser = world.join();
            (browser, world.subscribe(browser, 10 + at, 1, Kind::Video))
        })
        .collect();
    world.run(3_000);
    for (browser, ssrc) in subscribers {
        assert_same_pictures(&world, publisher, browser, ssrc, 0);
        let receiving = &world.browsers[browser];
        let got = receiving.got(ssrc);
        assert!(got.values().all(|got| got.payload_type == receiving.vp8()));
        assert!(*got.keys().next().unwrap() < 1 << 15, "streams start in the first half of the index space");
        let mid = receiving.extensions.mid.unwrap();
        let slot_mid = format!("s{}", 9 + browser);
        assert!(got.values().all(|got| got.extensions.contains(&(mid, slot_mid.clone().into_bytes()))));
        assert_eq!(receiving.undecodable, 0);
        let pictures: Vec<u16> = got.values().map(|got| picture_of(&got.payload).0).collect();
        assert!(pictures.windows(2).all(|w| w[1].wrapping_sub(w[0]) & 0x7fff <= 1));
    }
}

#[test]
fn audio_carries_its_level_and_starts_at_once() {
    let mut world = World::new(2);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Audio);
    let listener = world.join();
    world.run(500);
    let ssrc = world.subscribe(listener, 10, 1, Kind::Audio);
    world.run(201);
    let browser = &world.browsers[listener];
    let got = browser.got(ssrc);
    assert_eq!(got.len(), 10);
    let level = browser.extensions.audio_level.unwrap();
    assert!(got.values().all(|got| got.extensions.contains(&(level, vec![30]))));
    let steps: Vec<u32> = got.values().map(|got| got.rtp_ts).collect();
    assert!(steps.windows(2).all(|w| w[1].wrapping_sub(w[0]) == 960));
}

#[test]
fn a_frame_leaves_as_one_send_per_subscriber() {
    let mut world = World::new(3);
    let publisher = world.join();
    let sending = world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(200);
    world.browsers[publisher].sending[sending].active = false;
    world.run(50);
    world.keep_sent = true;
    world.send_media(publisher, sending);
    world.step();
    let frame: Vec<_> = world.left.iter().filter(|left| left.bytes[8..12] == ssrc.to_be_bytes()).collect();
    assert_eq!(frame.len(), 4);
    assert!(frame.iter().all(|left| left.segments == 4), "{:?}", frame.iter().map(|l| l.segments).collect::<Vec<_>>());
}

#[test]
fn padding_is_swallowed_without_a_gap() {
    let mut world = World::new(4);
    let publisher = world.join();
    let sending = world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    for _ in 0..40 {
        world.run(33);
        let padding = world.browsers[publisher].padding_packet(sending);
        world.send_up(publisher, padding);
    }
    world.run(40);
    assert_same_pictures(&world, publisher, subscriber, ssrc, 0);
    assert_eq!(world.browsers[subscriber].receiving[&ssrc].asked.len(), 0, "nothing looked lost");
}

#[test]
fn loss_both_ways_is_repaired_by_rtx() {
    let mut world = World::new(5);
    world.link.both(Faults { loss: 50, duplicate: 20, delay_ms: 20, jitter_ms: 3 });
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(10_000);
    world.browsers[publisher].sending[0].active = false;
    world.run(2_000);
    let sent = world.browsers[publisher].sending[0].history.len();
    let got = world.browsers[subscriber].got(ssrc);
    let span = (got.keys().next_back().unwrap() - got.keys().next().unwrap() + 1) as usize;
    assert!(span >= sent - 40, "{span} of {sent}: only the start may be missing");
    assert!(got.len() as f64 >= span as f64 * 0.999, "{} of {span} arrived", got.len());
    assert!(got.values().any(|got| got.by_rtx));
    let (up, down) = (world.counts(publisher), world.counts(subscriber));
    assert!(up.recovered_in > sent as u64 / 40, "{up:?}");
    assert!(down.retransmitted_out > sent as u64 / 40, "{down:?}");
    let history: Vec<&Vec<u8>> = world.browsers[publisher].sending[0].history.values().map(|h| &h.0).collect();
    for got in got.values() {
        let body = &got.payload[VP8_DESCRIPTOR_BYTES..];
        assert!(history.iter().any(|sent| &sent[VP8_DESCRIPTOR_BYTES..] == body));
    }
}

#[test]
fn streams_without_announced_ssrc_are_bound_by_mid() {
    let mut world = World::new(6);
    let publisher = world.join();
    world.browsers[publisher].add_sending(holdspace_engine::TrackId(1), Kind::Video);
    world.browsers[publisher].sending[0].unannounced = true;
    let browser = &world.browsers[publisher];
    let (transport, spec) = (browser.transport, browser.track_spec(0));
    let track = holdspace_engine::TrackId(1);
    world.apply(holdspace_engine::Command::SetTrack { transport, track, spec }).unwrap();
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.link.up.loss = 50;
    world.run(3_000);
    world.browsers[publisher].sending[0].active = false;
    world.run(500);
    assert!(world.browsers[subscriber].got(ssrc).len() > 300);
    assert!(world.counts(publisher).recovered_in > 5, "the RTX stream was bound by MID, too");
    assert_eq!(world.counts(publisher).dropped.get(holdspace_engine::DropReason::UnknownSsrc), 0);
}
