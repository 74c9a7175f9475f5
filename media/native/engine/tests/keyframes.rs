//! Keyframe requests: asked for when somebody needs one, passed on, and never more often than every 500 ms.

mod common;

use common::{Line, World};
use holdspace_engine::{Command, Kind, TrackId};
use holdspace_wire::srtp::Profile;

fn room() -> (World, usize, u32) {
    let mut world = World::new(21);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(1_000);
    world.browsers[publisher].plis_got.clear();
    (world, subscriber, ssrc)
}

#[test]
fn a_flood_of_requests_reaches_the_publisher_twice_a_second() {
    let (mut world, subscriber, ssrc) = room();
    let before = world.counts(0).plis_out;
    for at in 0..3_000 {
        if at % 10 == 0 {
            let pli = world.browsers[subscriber].rtcp(|writer| match at % 20 {
                0 => writer.pli(2, ssrc).unwrap(),
                _ => writer.fir(2, ssrc, (at / 20) as u8).unwrap(),
            });
            world.send_up(subscriber, pli);
        }
        world.step();
    }
    world.run(2);
    let plis = &world.browsers[0].plis_got;
    assert!((6..=7).contains(&plis.len()), "{plis:?}");
    assert!(plis.windows(2).all(|w| w[1].0.since_ms(w[0].0) >= 500));
    assert_eq!(world.counts(0).plis_out - before, plis.len() as u64);
    assert_eq!(world.counts(subscriber).plis_in, 300);
}

#[test]
fn a_newcomer_gets_a_keyframe_and_nothing_before_it() {
    let (mut world, _, _) = room();
    let late = world.join();
    let ssrc = world.subscribe(late, 20, 1, Kind::Video);
    world.run(200);
    assert_eq!(world.browsers[0].plis_got.len(), 1);
    let got = world.browsers[late].got(ssrc);
    let first = got.values().next().expect("media");
    assert!(first.payload[0] & 0x10 != 0 && first.payload[6] & 1 == 0, "the first packet starts a keyframe");
}

#[test]
fn somebody_who_is_still_connecting_costs_no_keyframe_and_gets_one_as_soon_as_they_are_there() {
    let (mut world, _, _) = room();
    let late = world.add_browser(Profile::AeadAes128Gcm);
    let ssrc = world.subscribe(late, 20, 1, Kind::Video);
    world.run(200);
    assert!(world.browsers[0].plis_got.is_empty(), "nobody could have used it");
    world.check(late, true);
    world.set_keys(late);
    let there = world.now;
    world.run(200);
    let (asked, _) = world.browsers[0].plis_got[0];
    assert!(asked.since_ms(there) < 50, "asked at once, not at the next turn of the half second");
    assert!(!world.browsers[late].got(ssrc).is_empty());
}

#[test]
fn somebody_on_another_network_gets_a_keyframe_before_asking() {
    let (mut world, subscriber, ssrc) = room();
    world.link.cut_off.insert(subscriber);
    world.run(2_000);
    world.link.cut_off.clear();
    world.browsers[subscriber].address.set_port(5_555);
    world.browsers[subscriber].nacks = false;
    let from = world.now;
    world.check(subscriber, true);
    world.run(150);
    assert_eq!(world.browsers[0].plis_got.len(), 1);
    let got = world.browsers[subscriber].got(ssrc).values();
    let is_keyframe = |payload: &[u8]| payload[0] & 0x10 != 0 && payload[6] & 1 == 0;
    assert!(got.filter(|got| got.at > from).any(|got| is_keyframe(&got.payload)));
}

#[test]
fn somebody_back_on_an_earlier_network_gets_a_keyframe_before_asking_and_the_full_rate_at_once() {
    let (mut world, subscriber, ssrc) = room();
    let home = world.browsers[subscriber].address;
    world.browsers[subscriber].address.set_port(5_555);
    world.check(subscriber, true);
    world.link.lines.insert(subscriber, Line::new(300_000, 300));
    world.run(5_000);
    let estimate = |world: &World| world.counts(subscriber).estimate_bps.expect("feedback came");
    assert!(estimate(&world) < 500_000, "{}", estimate(&world));
    world.link.lines.clear();
    world.link.cut_off.insert(subscriber);
    world.run(2_000);
    world.link.cut_off.clear();
    world.browsers[subscriber].address = home;
    world.browsers[subscriber].nacks = false;
    world.browsers[0].plis_got.clear();
    let from = world.now;
    // Media moves with the first report from there.
    world.run(2_000);
    assert_eq!(world.browsers[0].plis_got.len(), 1);
    let got = world.browsers[subscriber].got(ssrc).values();
    let is_keyframe = |payload: &[u8]| payload[0] & 0x10 != 0 && payload[6] & 1 == 0;
    assert!(got.filter(|got| got.at > from).any(|got| is_keyframe(&got.payload)));
    assert!(estimate(&world) > 1_000_000, "{}", estimate(&world));
}

#[test]
fn a_waiting_slot_asks_again_until_the_keyframe_comes() {
    let (mut world, _, _) = room();
    let late = world.join();
    world.link.up.loss = 1_000;
    world.run(10);
    let ssrc = world.subscribe(late, 20, 1, Kind::Video);
    world.run(100);
    world.link.up.loss = 0;
    world.browsers[0].sending[0].keyframe_wanted = false;
    world.run(1_500);
    assert!(!world.browsers[late].got(ssrc).is_empty());
}

#[test]
fn packets_given_up_lead_to_a_keyframe() {
    let (mut world, subscriber, ssrc) = room();
    world.browsers[0].sending[0].answers_nacks = false;
    world.link.up.loss = 1_000;
    world.run(40);
    world.link.up.loss = 0;
    world.run(2_500);
    assert!(world.counts(0).lost_in > 0);
    assert!(!world.browsers[0].plis_got.is_empty());
    assert!(world.browsers[subscriber].got(ssrc).len() > 300);
}

#[test]
fn a_request_of_python_is_passed_on() {
    let (mut world, _, _) = room();
    world.apply(Command::RequestKeyframe { track: TrackId(1) }).unwrap();
    world.run(2);
    assert_eq!(world.browsers[0].plis_got.len(), 1);
    assert!(world.apply(Command::RequestKeyframe { track: TrackId(9) }).is_err());
}
