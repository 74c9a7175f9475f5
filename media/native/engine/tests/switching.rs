//! Sources come and go under a slot: switch, mute, leaving, layers. The outgoing stream goes on as one.

mod common;

use common::browser::Got;
use common::{assert_one_stream, keyframes, World};
use holdspace_engine::{Command, Kind, SlotId, TrackId, TransportId};

fn two_publishers() -> (World, usize, u32) {
    let mut world = World::new(11);
    for track in [1, 2] {
        let publisher = world.join();
        world.publish(publisher, track, Kind::Video);
    }
    let subscriber = world.join();
    world.run(300);
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    (world, subscriber, ssrc)
}

#[test]
fn a_switch_of_source_starts_at_a_keyframe_and_breaks_nothing() {
    let (mut world, subscriber, ssrc) = two_publishers();
    world.run(500);
    for track in [2, 1, 2] {
        world.fill(10, Some(track));
        world.run(700);
    }
    let got = world.browsers[subscriber].got(ssrc);
    assert_one_stream(got);
    assert!(keyframes(got) >= 4, "one per source: {}", keyframes(got));
    assert!(got.len() > 250, "{}", got.len());
    let gap = got.values().collect::<Vec<_>>().windows(2).map(|w| w[1].at.since_ms(w[0].at)).max();
    assert!(gap < Some(150), "a switch takes as long as the next keyframe: {gap:?} ms");
}

#[test]
fn the_timestamp_of_a_switch_advances_by_the_time_that_passed() {
    let (mut world, subscriber, ssrc) = two_publishers();
    world.run(500);
    world.fill(10, None);
    world.run(2_000);
    world.fill(10, Some(2));
    world.run(300);
    let got: Vec<&Got> = world.browsers[subscriber].got(ssrc).values().collect();
    let at = (1..got.len()).max_by_key(|at| got[*at].at.since_us(got[*at - 1].at)).unwrap();
    let (before, after) = (got[at - 1], got[at]);
    let passed_ms = after.at.since_ms(before.at);
    let ticks = after.rtp_ts.wrapping_sub(before.rtp_ts);
    assert!(passed_ms >= 2_000 && ticks.abs_diff(passed_ms as u32 * 90) < 90 * 40, "{passed_ms} ms, {ticks} ticks");
}

#[test]
fn a_muted_track_reaches_nobody_and_returns_with_a_keyframe() {
    let (mut world, subscriber, ssrc) = two_publishers();
    world.run(500);
    world.apply(Command::SetTrackMuted { track: TrackId(1), muted: true }).unwrap();
    world.run(2);
    let before = world.browsers[subscriber].got(ssrc).len();
    world.run(1_000);
    assert_eq!(world.browsers[subscriber].got(ssrc).len(), before);
    world.apply(Command::SetTrackMuted { track: TrackId(1), muted: false }).unwrap();
    world.run(300);
    let got = world.browsers[subscriber].got(ssrc);
    assert!(got.len() > before + 20);
    assert_one_stream(got);
    assert_eq!(keyframes(got), 2);
    assert!(world.counts(0).nacks_out == 0, "nothing muted is asked for");
}

#[test]
fn leaving_and_coming_back_goes_on_where_the_slot_stopped() {
    let (mut world, subscriber, ssrc) = two_publishers();
    world.run(300);
    world.apply(Command::RemoveTransport { transport: TransportId(100) }).unwrap();
    world.browsers[0].sending[0].active = false;
    world.run(200);
    world.fill(10, Some(2));
    world.run(500);
    let got = world.browsers[subscriber].got(ssrc);
    assert_one_stream(got);
    assert!(got.len() > 90, "{}", got.len());
}

#[test]
fn layers_switch_only_at_the_wanted_layers_keyframe() {
    let mut world = World::new(12);
    let publisher = world.join();
    let sendings = world.publish_simulcast(publisher, 1, &["l", "h"]);
    let (low, high) = (sendings[0], sendings[1]);
    let subscriber = world.join();
    world.run(200);
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(500);
    let low_packets = world.browsers[subscriber].got(ssrc).len();
    assert!(low_packets > 40);
    sendings.iter().for_each(|at| world.report(publisher, *at));
    world.apply(Command::SetLayer { slot: SlotId(10), rid: Some("h".into()), temporal: None }).unwrap();
    world.run(700);
    let got = world.browsers[subscriber].got(ssrc);
    assert_one_stream(got);
    let body = |sending: usize| {
        let history = &world.browsers[publisher].sending[sending].history;
        history.values().map(|sent| sent.0[6..].to_vec()).collect::<std::collections::HashSet<_>>()
    };
    let (low_sent, high_sent) = (body(low), body(high));
    let from_high: Vec<bool> = got.values().map(|got| high_sent.contains(&got.payload[6..])).collect();
    assert!(got.values().all(|got| low_sent.contains(&got.payload[6..]) || high_sent.contains(&got.payload[6..])));
    let switch = from_high.iter().position(|high| *high).expect("switched");
    assert!(from_high[switch..].iter().all(|high| *high), "and never back");
    let first = got.values().nth(switch).unwrap();
    assert!(first.payload[0] & 0x10 != 0 && first.payload[6] & 1 == 0, "at a keyframe");
    let foreign = Command::SetLayer { slot: SlotId(10), rid: Some("x".into()), temporal: None };
    assert!(world.apply(foreign).is_err());
}

#[test]
fn a_layer_that_is_not_sent_is_replaced_by_one_that_is() {
    let mut world = World::new(13);
    let publisher = world.join();
    let sendings = world.publish_simulcast(publisher, 1, &["l", "h"]);
    let (low, high) = (sendings[0], sendings[1]);
    world.browsers[publisher].sending[high].active = false;
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.apply(Command::SetLayer { slot: SlotId(10), rid: Some("h".into()), temporal: None }).unwrap();
    world.run(500);
    assert!(world.browsers[subscriber].got(ssrc).len() > 30, "the low layer, while the high one is off");
    world.browsers[publisher].sending[high].active = true;
    world.run(50);
    sendings.iter().for_each(|at| world.report(publisher, *at));
    world.run(500);
    world.browsers[publisher].sending[low].active = false;
    let before = world.browsers[subscriber].got(ssrc).len();
    world.run(500);
    assert!(world.browsers[subscriber].got(ssrc).len() > before + 40, "the high layer since it came");
    assert_one_stream(world.browsers[subscriber].got(ssrc));
}
