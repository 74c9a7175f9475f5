//! What changes inside a packet on its way: payload types (RED's inner ones, too) and header extensions.

mod common;

use common::World;
use holdspace_engine::{Command, IceState, Kind, TapId, TapKind, TrackId};
use holdspace_wire::codec::red;
use holdspace_wire::rtp::Header;

fn red_room(subscriber_has_red: bool) -> (World, u32) {
    let mut world = World::new(101);
    let publisher = world.join();
    world.browsers[publisher].red = true;
    world.publish(publisher, 1, Kind::Audio);
    let subscriber = world.join();
    world.browsers[subscriber].red = subscriber_has_red;
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Audio);
    world.run(501);
    (world, ssrc)
}

#[test]
fn red_blocks_are_renamed_to_the_subscribers_opus() {
    let (world, ssrc) = red_room(true);
    let browser = &world.browsers[1];
    let got = browser.got(ssrc);
    assert!(got.len() >= 24);
    for (got, (sent, _, _)) in got.values().zip(world.browsers[0].sending[0].history.values()) {
        assert_eq!(got.payload_type, browser.red_type());
        let mut blocks = Vec::new();
        red::parse_untrusted(&got.payload, |block| blocks.push((block.payload_type, block.data.to_vec()))).unwrap();
        let mut sent_blocks = Vec::new();
        red::parse_untrusted(sent, |block| sent_blocks.push((browser.opus(), block.data.to_vec()))).unwrap();
        assert_eq!(blocks, sent_blocks);
    }
}

#[test]
fn red_is_unpacked_for_a_subscriber_without_it() {
    let (world, ssrc) = red_room(false);
    let browser = &world.browsers[1];
    let got = browser.got(ssrc);
    assert!(got.len() >= 24);
    for (got, (sent, _, _)) in got.values().zip(world.browsers[0].sending[0].history.values()) {
        assert_eq!(got.payload_type, browser.opus());
        assert_eq!(got.payload, red::parse_untrusted_primary(sent).unwrap().data);
    }
}

/// A quarter of single packets is lost on the way up, never two in a row.
fn run_with_single_losses(world: &mut World) -> usize {
    let mut lost = 0;
    for at in 0..100 {
        world.link.up.loss = if at % 4 == 3 { 1_000 } else { 0 };
        lost += usize::from(at % 4 == 3);
        world.run(20);
    }
    world.link.up.loss = 0;
    world.run(20);
    lost
}

#[test]
fn lost_audio_is_made_again_for_a_subscriber_without_red() {
    let (mut world, ssrc) = red_room(false);
    let before = world.browsers[1].got(ssrc).len();
    let lost = run_with_single_losses(&mut world);
    let got = world.browsers[1].got(ssrc);
    assert!(lost == 25 && got.len() - before >= 100, "{lost} {}", got.len() - before);
    let sent = &world.browsers[0].sending[0].history;
    for (got, (payload, _, _)) in got.values().zip(sent.values()) {
        assert_eq!(got.payload, red::parse_untrusted_primary(payload).unwrap().data);
        assert_eq!(got.payload_type, world.browsers[1].opus());
    }
    let got: Vec<_> = got.values().collect();
    assert!(got.windows(2).all(|pair| pair[1].ext_seq == pair[0].ext_seq + 1));
    assert!(got.windows(2).all(|pair| pair[1].rtp_ts.wrapping_sub(pair[0].rtp_ts) == 960));
}

#[test]
fn a_subscriber_with_red_repairs_its_audio_itself() {
    let (mut world, ssrc) = red_room(true);
    let lost = run_with_single_losses(&mut world);
    let got: Vec<_> = world.browsers[1].got(ssrc).values().collect();
    let missing: u64 = got.windows(2).map(|pair| pair[1].ext_seq - pair[0].ext_seq - 1).sum();
    assert_eq!(missing as usize, lost, "nothing is sent twice to somebody who has it");
    assert!(got.iter().all(|got| got.payload_type == world.browsers[1].red_type()));
}

#[test]
fn a_tap_of_red_holds_opus() {
    let (mut world, _) = red_room(true);
    let (grant, participant) = ("consent".to_owned(), "person0".to_owned());
    world.apply(Command::GrantRecording { grant: grant.clone(), participant }).unwrap();
    world.apply(Command::AddTap { tap: TapId(1), track: TrackId(1), grant }).unwrap();
    world.run(200);
    run_with_single_losses(&mut world);
    let records: Vec<_> = world.taped.iter().filter(|record| record.kind == TapKind::Rtp).collect();
    assert!(records.len() >= 109, "lost packets are made again: {}", records.len());
    let seqs: Vec<u16> = records.iter().map(|record| Header::parse_untrusted(&record.bytes).unwrap().seq.0).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    let sent: Vec<&Vec<u8>> = world.browsers[0].sending[0].history.values().map(|sent| &sent.0).collect();
    for record in records {
        let header = Header::parse_untrusted(&record.bytes).unwrap();
        assert_eq!(header.payload_type, 111);
        let payload = &record.bytes[header.payload_range(&record.bytes).unwrap()];
        assert!(sent.iter().any(|sent| red::parse_untrusted_primary(sent).unwrap().data == payload));
    }
}

#[test]
fn orientation_stands_on_every_packet_once_the_publisher_said_it() {
    let mut world = World::new(102);
    let publisher = world.join();
    world.browsers[publisher].extensions.video_orientation = Some(13);
    world.browsers[publisher].orientation = Some(3);
    let (transport, extensions) = (world.browsers[publisher].transport, world.browsers[publisher].extensions);
    world.apply(Command::SetExtensions { transport, extensions }).unwrap();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    world.browsers[subscriber].extensions.video_orientation = Some(14);
    let (transport, extensions) = (world.browsers[subscriber].transport, world.browsers[subscriber].extensions);
    world.apply(Command::SetExtensions { transport, extensions }).unwrap();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(1_000);
    let got = world.browsers[subscriber].got(ssrc);
    assert!(got.len() > 100);
    let without = got.values().filter(|got| !got.extensions.contains(&(14, vec![3]))).count();
    assert!(without <= 3, "only before its first packet: {without}");
}

#[test]
fn rid_is_never_forwarded_and_ids_are_the_subscribers() {
    let mut world = World::new(103);
    let publisher = world.join();
    world.browsers[publisher].extensions.rid = Some(13);
    let (transport, extensions) = (world.browsers[publisher].transport, world.browsers[publisher].extensions);
    world.apply(Command::SetExtensions { transport, extensions }).unwrap();
    let at = world.publish(publisher, 1, Kind::Video);
    world.browsers[publisher].sending[at].rid = Some("high".into());
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(300);
    let browser = &world.browsers[subscriber];
    let ids = [browser.extensions.mid, browser.extensions.transport_cc, browser.extensions.abs_send_time];
    let ids: Vec<u8> = ids.into_iter().flatten().collect();
    assert!(browser.got(ssrc).len() > 20);
    for got in browser.got(ssrc).values() {
        assert_eq!(got.extensions.iter().map(|extension| extension.0).collect::<Vec<u8>>(), ids);
    }
}

#[test]
fn a_lost_stream_connection_closes_a_transport_without_other_addresses() {
    let mut world = World::new(104);
    let browser = world.join();
    let (transport, path) = (world.browsers[browser].transport, common::path_of(world.browsers[browser].address));
    world.engine.path_lost(transport, path, world.now, &mut world.out);
    world.engine.path_lost(transport, path, world.now, &mut world.out);
    world.flush();
    let closed = holdspace_engine::Event::Ice { transport, state: IceState::Closed };
    assert_eq!(world.events.iter().filter(|event| **event == closed).count(), 1);
}
