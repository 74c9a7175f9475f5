//! DTLS passes through; lost flights are repeated byte for byte until the peer goes on.

mod common;

use common::World;
use holdspace_engine::{Command, Event, TransportId};
use holdspace_wire::srtp::Profile;

const FLIGHT: [&[u8]; 2] = [&[22, 254, 253, 1, 2, 3], &[22, 254, 253, 4]];

fn in_handshake() -> World {
    let mut world = World::new(51);
    let browser = world.add_browser(Profile::AeadAes128Gcm);
    world.check(browser, true);
    world.run(3);
    world
}

fn send(world: &mut World, flight: bool) {
    let datagrams = FLIGHT.iter().map(|datagram| datagram.to_vec()).collect();
    world.apply(Command::SendDtls { transport: TransportId(100), datagrams, flight }).unwrap();
}

fn times_ms(world: &World) -> Vec<u64> {
    let got = &world.browsers[0].dtls_got;
    let first = got[0].0;
    got.iter().filter(|(_, bytes)| bytes.as_slice() == FLIGHT[0]).map(|(at, _)| at.since_ms(first)).collect()
}

#[test]
fn a_flight_is_repeated_after_60_120_240_ms_and_so_on_but_not_for_ever() {
    let mut world = in_handshake();
    send(&mut world, true);
    world.run(20_000);
    assert_eq!(times_ms(&world), [0, 60, 180, 420, 900, 1_860, 3_780]);
    let got = &world.browsers[0].dtls_got;
    assert!(got.chunks(2).all(|pair| pair[0].1 == FLIGHT[0] && pair[1].1 == FLIGHT[1]));
}

#[test]
fn the_peers_next_datagram_ends_the_repeats_and_reaches_python() {
    let mut world = in_handshake();
    send(&mut world, true);
    world.run(100);
    world.send_up(0, vec![22, 254, 253, 9]);
    world.run(5_000);
    assert_eq!(times_ms(&world), [0, 60]);
    let event = Event::Dtls { transport: TransportId(100), datagram: vec![22, 254, 253, 9] };
    assert_eq!(world.events.iter().filter(|seen| **seen == event).count(), 1);
}

#[test]
fn media_ends_the_repeats_of_the_last_flight() {
    let mut world = in_handshake();
    send(&mut world, true);
    world.set_keys(0);
    world.publish(0, 1, holdspace_engine::Kind::Audio);
    world.run(5_000);
    assert_eq!(times_ms(&world), [0]);
}

#[test]
fn an_alert_is_sent_once() {
    let mut world = in_handshake();
    send(&mut world, false);
    world.run(5_000);
    assert_eq!(times_ms(&world), [0]);
}

#[test]
fn a_handshake_before_nomination_connects() {
    let mut world = World::new(52);
    let browser = world.add_browser(Profile::AeadAes128Gcm);
    world.browsers[browser].checks = false;
    world.check(browser, false);
    world.deliver_to_engine(browser, vec![22, 254, 253, 9]);
    world.flush();
    let state = holdspace_engine::IceState::Connected;
    assert!(world.saw(&Event::Ice { transport: TransportId(100), state }));
    send(&mut world, true);
    world.run(2);
    assert_eq!(world.browsers[browser].dtls_got.len(), 2);
}
