//! Addresses: learned only by an authenticated check, moved by nomination, lost by silence, bounded.

mod common;

use common::{path_of, World};
use holdspace_engine::{Command, DropReason, EngineError, Event, IceState, Kind, Route, TransportId};
use holdspace_wire::srtp::Profile;
use holdspace_wire::stun::IntegrityKey;
use std::net::SocketAddr;

fn states(world: &World, index: usize) -> Vec<IceState> {
    let id = world.browsers[index].transport;
    let state = |event: &Event| match event {
        Event::Ice { transport, state } if *transport == id => Some(*state),
        _ => None,
    };
    world.events.iter().filter_map(state).collect()
}

fn other_address(world: &mut World, index: usize, port: u16) -> SocketAddr {
    let address = SocketAddr::from(([10, 0, 1, 1 + index as u8], port));
    world.browsers[index].address = address;
    address
}

#[test]
fn checks_are_answered_with_and_without_use_candidate() {
    let mut world = World::new(31);
    let browser = world.add_browser(Profile::AeadAes256Gcm);
    world.check(browser, false);
    assert!(states(&world, browser).is_empty(), "not nominated yet");
    world.check(browser, true);
    world.run(2);
    assert_eq!(world.browsers[browser].stun_answers.iter().filter(|(_, success)| *success).count(), 2);
    assert_eq!(states(&world, browser), [IceState::Connected]);
    let path = path_of(world.browsers[browser].address);
    let transport = world.browsers[browser].transport;
    assert_eq!(world.routes[1..], [Route::AddressLearned { path, transport }]);
}

#[test]
fn a_wrong_password_gets_no_answer_and_teaches_no_address() {
    let mut world = World::new(32);
    let browser = world.add_browser(Profile::AeadAes128Gcm);
    let forged =
        world.browsers[browser].binding_request_with(true, &IntegrityKey::new("wrong-password-wrong-password"));
    world.deliver_to_engine(browser, forged);
    world.flush();
    assert_eq!((world.sends, world.routes.len()), (0, 1));
    assert_eq!(world.counts(browser).dropped.get(DropReason::Unauthenticated), 1);
}

#[test]
fn nothing_but_checks_is_accepted_from_an_unchecked_address() {
    let mut world = World::new(33);
    let browser = world.join();
    world.publish(browser, 1, Kind::Video);
    world.run(100);
    let before = world.counts(browser).packets_in;
    other_address(&mut world, browser, 4_000);
    world.run(500);
    let counts = world.counts(browser);
    assert!(counts.dropped.get(DropReason::Unauthenticated) >= 40);
    assert_eq!(counts.packets_in, before);
    world.deliver_to_engine(browser, vec![22, 254, 253, 0, 0]);
    assert!(!world.events.iter().any(|event| matches!(event, Event::Dtls { .. })));
}

#[test]
fn media_follows_a_nomination_to_another_address() {
    let mut world = World::new(34);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(500);
    let before = world.browsers[subscriber].got(ssrc).len();
    other_address(&mut world, subscriber, 4_001);
    world.run(200);
    assert_eq!(world.browsers[subscriber].got(ssrc).len(), before, "the old address gets it still");
    world.check(subscriber, true);
    world.run(1_000);
    let got = world.browsers[subscriber].got(ssrc);
    assert!(got.len() > before + 100);
    assert!(got.values().filter(|got| got.by_rtx).count() > 10, "what the old address got is asked for again");
}

#[test]
fn an_unacknowledged_address_gets_64_kilobytes_and_no_more() {
    let mut world = World::new(35);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(500);
    let replayed_to = other_address(&mut world, subscriber, 4_002);
    world.check(subscriber, true);
    (world.browsers[subscriber].reports, world.browsers[subscriber].nacks) = (false, false);
    world.keep_sent = true;
    world.run(3_000);
    let bytes = |world: &World| -> usize {
        world.left.iter().filter(|left| left.to == replayed_to).map(|left| left.bytes.len()).sum()
    };
    assert!((55_000..66_000).contains(&bytes(&world)), "{}", bytes(&world));
    world.browsers[subscriber].reports = true;
    world.run(1_000);
    assert!(bytes(&world) > 150_000, "feedback from there lifts the limit: {}", bytes(&world));
}

#[test]
fn an_address_that_takes_a_lost_ones_place_must_prove_itself() {
    let mut world = World::new(43);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(500);
    let (transport, home) = (world.browsers[subscriber].transport, world.browsers[subscriber].address);
    let other = other_address(&mut world, subscriber, 4_005);
    world.check(subscriber, false);
    (world.browsers[subscriber].reports, world.browsers[subscriber].nacks) = (false, false);
    world.engine.forget_path(transport, path_of(home), world.now);
    world.keep_sent = true;
    world.run(3_000);
    let bytes: usize = world.left.iter().filter(|left| left.to == other).map(|left| left.bytes.len()).sum();
    assert!((55_000..66_000).contains(&bytes), "{bytes}");
    world.browsers[subscriber].reports = true;
    world.run(1_000);
    let later: usize = world.left.iter().filter(|left| left.to == other).map(|left| left.bytes.len()).sum();
    assert!(later > 150_000, "{later}");
}

#[test]
fn of_two_nominated_addresses_the_one_with_media_wins() {
    let mut world = World::new(36);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Audio);
    world.subscribe(publisher, 10, 1, Kind::Audio);
    world.browsers[publisher].checks = false;
    world.run(300);
    let home = world.browsers[publisher].address;
    other_address(&mut world, publisher, 4_003);
    world.check(publisher, true);
    world.browsers[publisher].address = home;
    world.run(1_000);
    world.keep_sent = true;
    world.run(300);
    assert!(world.left.iter().all(|left| left.to == home));
    assert!(world.left.len() > 10);
}

#[test]
fn silence_stops_media_after_8_s_and_ends_after_30_s() {
    let mut world = World::new(37);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Audio);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Audio);
    world.run(1_000);
    (world.browsers[subscriber].checks, world.browsers[subscriber].reports) = (false, false);
    world.run(7_800);
    assert_eq!(states(&world, subscriber), [IceState::Connected]);
    world.run(400);
    assert_eq!(states(&world, subscriber), [IceState::Connected, IceState::Disconnected]);
    world.run(2);
    let stopped_at = world.browsers[subscriber].got(ssrc).len();
    world.run(500);
    assert_eq!(world.browsers[subscriber].got(ssrc).len(), stopped_at);
    world.check(subscriber, true);
    world.run(500);
    assert_eq!(states(&world, subscriber).last(), Some(&IceState::Connected));
    assert!(world.browsers[subscriber].got(ssrc).len() > stopped_at + 20);
    world.run(30_600);
    assert_eq!(states(&world, subscriber).last(), Some(&IceState::Failed));
    world.check(subscriber, true);
    world.run(100);
    assert_eq!(states(&world, subscriber).last(), Some(&IceState::Failed), "only a restart revives it");
}

#[test]
fn a_transport_nobody_ever_reaches_fails_after_30_s() {
    let mut world = World::new(38);
    let browser = world.add_browser(Profile::AeadAes128Gcm);
    world.browsers[browser].checks = false;
    world.run(29_900);
    assert!(states(&world, browser).is_empty());
    world.run(200);
    assert_eq!(states(&world, browser), [IceState::Failed]);
}

#[test]
fn a_restart_keeps_the_old_credentials_until_the_new_pair_carries_media() {
    let mut world = World::new(39);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(300);
    let transport = world.browsers[publisher].transport;
    let restart = Command::RestartIce {
        transport,
        ice_ufrag: "renewed00".into(),
        ice_pwd: "another-password-for-the-restart".into(),
    };
    world.apply(restart.clone()).unwrap();
    world.apply(restart).unwrap();
    let answers = world.browsers[publisher].stun_answers.len();
    world.check(publisher, true);
    world.run(300);
    assert!(world.browsers[publisher].stun_answers.len() > answers, "old credentials still count");
    let browser = &mut world.browsers[publisher];
    let old_ufrag = std::mem::replace(&mut browser.server_ufrag, "renewed00".into());
    let old_pwd = std::mem::replace(&mut browser.server_pwd, "another-password-for-the-restart".into());
    let old_address = browser.address;
    other_address(&mut world, publisher, 4_004);
    world.check(publisher, true);
    world.run(200);
    assert!(world.routes.contains(&Route::UfragRemoved { ufrag: old_ufrag.clone() }));
    assert!(world.routes.contains(&Route::AddressForgotten { path: path_of(old_address), transport }));
    let browser = &mut world.browsers[publisher];
    (browser.server_ufrag, browser.server_pwd) = (old_ufrag, old_pwd);
    browser.checks = false;
    let refused = world.counts(publisher).dropped.get(DropReason::Unauthenticated);
    world.check(publisher, true);
    assert_eq!(world.counts(publisher).dropped.get(DropReason::Unauthenticated), refused + 1);
    let before = world.browsers[subscriber].got(ssrc).len();
    world.run(300);
    assert!(world.browsers[subscriber].got(ssrc).len() > before + 20, "media never stopped");
}

#[test]
fn at_most_eight_addresses_are_remembered() {
    let mut world = World::new(40);
    let browser = world.join();
    let home = world.browsers[browser].address;
    for port in 0..50 {
        other_address(&mut world, browser, 5_000 + port);
        world.run(1);
        world.check(browser, false);
    }
    let learned = world.routes.iter().filter(|route| matches!(route, Route::AddressLearned { .. })).count();
    let forgotten: Vec<&Route> =
        world.routes.iter().filter(|route| matches!(route, Route::AddressForgotten { .. })).collect();
    assert_eq!((learned, forgotten.len()), (51, 43));
    let transport = world.browsers[browser].transport;
    let lost_home = Route::AddressForgotten { path: path_of(home), transport };
    assert!(!forgotten.contains(&&lost_home), "the selected address stays");
}

#[test]
fn an_address_claimed_by_a_newer_transport_leaves_the_older_one() {
    let mut world = World::new(41);
    let first = world.join();
    world.publish(first, 1, Kind::Video);
    world.run(100);
    let second = world.add_browser(Profile::AeadAes128Gcm);
    world.browsers[first].checks = false;
    world.browsers[second].address = world.browsers[first].address;
    world.check(second, true);
    let before = world.counts(first).packets_in;
    world.run(200);
    assert_eq!(world.counts(first).packets_in, before);
    world.engine.forget_path(TransportId(101), path_of(world.browsers[second].address), world.now);
    world.deliver_to_engine(second, vec![22, 254, 253, 0, 0]);
    assert_eq!(world.counts(second).dropped.get(DropReason::Unauthenticated), 1);
}

#[test]
fn short_credentials_and_repeated_ids_are_refused() {
    let mut world = World::new(42);
    let browser = world.add_browser(Profile::AeadAes128Gcm);
    let add = |ufrag: &str, pwd: &str, id: u64| Command::AddTransport {
        transport: TransportId(id),
        participant: "person0".into(),
        ice_ufrag: ufrag.into(),
        ice_pwd: pwd.into(),
    };
    let (ufrag, pwd) = (world.browsers[browser].server_ufrag.clone(), world.browsers[browser].server_pwd.clone());
    assert_eq!(world.apply(add(&ufrag, &pwd, 100)), Ok(()));
    assert_eq!(world.apply(add(&ufrag, "some-other-password-entirely", 100)), Err(EngineError::DuplicateId));
    assert!(matches!(world.apply(add("short", &pwd, 7)), Err(EngineError::Refused(_))));
    assert!(matches!(world.apply(add(&ufrag, "short", 7)), Err(EngineError::Refused(_))));
}
