//! Calls on a node: known ids, equal repeats and rules are answered at once, without a word from a runtime thread.

use _forwarder::errors::CoreError;
use _forwarder::node::Node;
use _forwarder::registry::TapRequest;
use _forwarder::runtime::RuntimeOptions;
use holdspace_engine::{EngineConfig, Kind, SlotSpec, TrackSpec};
use holdspace_wire::srtp::Profile;

const ROOM: u64 = 1;

fn node(threads: usize) -> Node {
    Node::start(RuntimeOptions {
        threads,
        bind: vec!["127.0.0.1".parse().unwrap()],
        udp_port: 0,
        tcp_port: None,
        gso: true,
        socket_buffer_bytes: 1 << 18,
        engine: EngineConfig { max_transports: 3, max_tracks_per_transport: 2, ..EngineConfig::default() },
    })
    .unwrap()
}

fn ice(name: &str) -> (String, String) {
    (format!("{name}-fragment"), "a-password-of-24-letters".to_owned())
}

fn add_transport(node: &Node, transport: u64, name: &str) -> Result<(), CoreError> {
    node.add_transport(ROOM, transport, name.to_owned(), ice(name))
}

fn track(mid: &str, kind: Kind) -> TrackSpec {
    TrackSpec { mid: mid.to_owned(), kind, codecs: vec![], ssrcs: vec![], rids: vec![], private: false }
}

fn slot(mid: &str, ssrc: u32) -> SlotSpec {
    let (mid, cname) = (mid.to_owned(), "name".to_owned());
    SlotSpec { mid, kind: Kind::Video, ssrc, rtx_ssrc: None, codecs: vec![], cname }
}

fn is_unknown(result: Result<(), CoreError>) -> bool {
    matches!(result, Err(CoreError::UnknownId(_)))
}

fn is_duplicate(result: Result<(), CoreError>) -> bool {
    matches!(result, Err(CoreError::DuplicateId(_)))
}

fn is_refused(result: Result<(), CoreError>) -> bool {
    matches!(result, Err(CoreError::Refused(_)))
}

#[test]
fn rooms_made_in_one_go_spread_over_the_threads() {
    let node = node(2);
    let threads: Vec<usize> = (1..=4).map(|room| node.add_room(room).unwrap()).collect();
    assert_eq!(threads.iter().filter(|thread| **thread == 0).count(), 2, "{threads:?}");
    assert_eq!(node.add_room(1).unwrap(), threads[0], "a room stays where it is");
}

#[test]
fn new_rooms_go_to_the_thread_with_fewer_people() {
    let node = node(2);
    let crowded = node.add_room(ROOM).unwrap();
    add_transport(&node, 1, "anna").unwrap();
    add_transport(&node, 2, "bert").unwrap();
    let threads: Vec<usize> = (2..=5).map(|room| node.add_room(room).unwrap()).collect();
    assert!(threads.iter().all(|thread| *thread != crowded), "{threads:?}");
    node.remove_room(ROOM).unwrap();
    assert_eq!(node.add_room(6).unwrap(), crowded, "once they have gone");
}

#[test]
fn a_transport_is_made_once_and_with_one_set_of_arguments() {
    let node = node(1);
    assert!(is_unknown(add_transport(&node, 1, "anna")));
    node.add_room(ROOM).unwrap();
    add_transport(&node, 1, "anna").unwrap();
    add_transport(&node, 1, "anna").unwrap();
    assert!(is_duplicate(add_transport(&node, 1, "bert")));
    assert!(is_refused(add_transport(&node, 2, "anna")), "one fragment leads to one transport");
    assert!(matches!(
        node.add_transport(ROOM, 2, "bert".to_owned(), ("short".to_owned(), "x".repeat(24))),
        Err(CoreError::BadArgument(_))
    ));
    add_transport(&node, 2, "bert").unwrap();
    add_transport(&node, 3, "carl").unwrap();
    assert!(is_refused(add_transport(&node, 4, "dora")), "the room has its three");
    node.remove_transport(ROOM, 1).unwrap();
    node.remove_transport(ROOM, 1).unwrap();
    add_transport(&node, 4, "anna").unwrap();
}

#[test]
fn a_transport_holds_its_last_two_fragments_and_no_more() {
    let node = node(1);
    node.add_room(ROOM).unwrap();
    add_transport(&node, 1, "first").unwrap();
    node.restart_ice(ROOM, 1, ice("second")).unwrap();
    node.restart_ice(ROOM, 1, ice("second")).unwrap();
    assert!(is_refused(add_transport(&node, 2, "first")), "it may still carry media");
    node.restart_ice(ROOM, 1, ice("third")).unwrap();
    assert!(is_refused(add_transport(&node, 2, "second")));
    assert!(is_refused(add_transport(&node, 2, "third")));
    add_transport(&node, 2, "first").unwrap();
    node.remove_transport(ROOM, 1).unwrap();
    add_transport(&node, 1, "second").unwrap();
    add_transport(&node, 3, "third").unwrap();
}

#[test]
fn keys_are_set_once_and_have_the_length_of_their_profile() {
    let node = node(1);
    node.add_room(ROOM).unwrap();
    add_transport(&node, 1, "anna").unwrap();
    let set = |fill: u8, length: usize| {
        node.set_srtp(ROOM, 1, Profile::AeadAes128Gcm, (vec![fill; length], vec![fill; length]))
    };
    assert!(matches!(set(1, 30), Err(CoreError::BadArgument(_))));
    set(1, 28).unwrap();
    set(1, 28).unwrap();
    assert!(is_duplicate(set(2, 28)));
    set(1, 28).unwrap();
}

#[test]
fn tracks_and_slots_keep_their_place_and_their_ssrcs() {
    let node = node(1);
    node.add_room(ROOM).unwrap();
    add_transport(&node, 1, "anna").unwrap();
    add_transport(&node, 2, "bert").unwrap();
    assert!(is_unknown(node.set_track(ROOM, 9, 1, track("0", Kind::Audio))));
    node.set_track(ROOM, 1, 1, track("0", Kind::Audio)).unwrap();
    node.set_track(ROOM, 1, 1, track("0", Kind::Audio)).unwrap();
    assert!(is_duplicate(node.set_track(ROOM, 2, 1, track("0", Kind::Audio))));
    node.set_track(ROOM, 1, 2, track("1", Kind::Video)).unwrap();
    assert!(is_refused(node.set_track(ROOM, 1, 3, track("2", Kind::Video))), "two tracks are the bound");
    node.set_slot(ROOM, 2, 10, slot("3", 100)).unwrap();
    node.set_slot(ROOM, 2, 10, slot("3", 100)).unwrap();
    assert!(is_refused(node.set_slot(ROOM, 2, 11, slot("4", 100))), "an SSRC is never used twice");
    assert!(is_refused(node.set_slot_source(ROOM, 10, Some(1))), "sound does not fit a picture slot");
    node.set_slot_source(ROOM, 10, Some(2)).unwrap();
    node.remove_track(ROOM, 2).unwrap();
    assert!(is_unknown(node.set_slot_source(ROOM, 10, Some(2))));
    node.set_slot_source(ROOM, 10, None).unwrap();
    node.remove_transport(ROOM, 2).unwrap();
    assert!(is_unknown(node.set_slot_source(ROOM, 10, None)));
}

#[test]
fn a_track_of_another_room_is_unknown() {
    let node = node(1);
    for room in [1, 2] {
        node.add_room(room).unwrap();
        node.add_transport(room, room, "someone".to_owned(), ice(&format!("room{room}"))).unwrap();
        node.set_track(room, room, room * 10, track("1", Kind::Video)).unwrap();
    }
    node.set_slot(1, 1, 5, slot("3", 100)).unwrap();
    assert!(is_unknown(node.set_slot_source(1, 5, Some(20))));
}

#[test]
fn a_tap_needs_a_grant_that_names_the_owner_of_the_track() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(1);
    node.add_room(ROOM).unwrap();
    add_transport(&node, 1, "anna").unwrap();
    node.set_track(ROOM, 1, 1, track("0", Kind::Audio)).unwrap();
    node.open_journal(7, &folder.path().join("journal"), &[1; 32], b"header").unwrap();
    let tap = |grant| node.add_tap(ROOM, 3, &TapRequest { track: 1, grant, journal: 7, key_id: 1, key: &[2; 32] });
    assert!(is_unknown(tap("consent-1")));
    node.grant_recording(ROOM, "consent-of-bert".to_owned(), "bert".to_owned()).unwrap();
    assert!(is_refused(tap("consent-of-bert")));
    node.grant_recording(ROOM, "consent-1".to_owned(), "anna".to_owned()).unwrap();
    tap("consent-1").unwrap();
    tap("consent-1").unwrap();
    assert!(is_duplicate(node.grant_recording(ROOM, "consent-1".to_owned(), "bert".to_owned())));
    node.revoke_recording(ROOM, "consent-1".to_owned()).unwrap();
    assert!(is_unknown(tap("consent-1")), "withdrawn is withdrawn");
    node.grant_recording(ROOM, "consent-1".to_owned(), "bert".to_owned()).unwrap();
    assert!(is_refused(tap("consent-1")), "nothing of the withdrawn one is left");
}

#[test]
fn a_journal_is_created_exclusively() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let node = node(1);
    node.open_journal(7, &path, &[1; 32], b"header").unwrap();
    node.open_journal(7, &path, &[1; 32], b"header").unwrap();
    assert!(is_duplicate(node.open_journal(7, &path, &[1; 32], b"other header")));
    assert!(is_refused(node.open_journal(8, &path, &[1; 32], b"header")));
    assert!(is_unknown(node.journal_event(8, b"event")));
    node.journal_event(7, b"event").unwrap();
    node.close_journal(7).unwrap();
    assert!(is_unknown(node.journal_event(7, b"event")));
}

#[test]
fn a_closed_node_says_so_and_closes_again() {
    let node = node(2);
    node.close();
    node.close();
    assert!(matches!(node.add_room(1), Err(CoreError::Failed(_))));
}

#[test]
fn two_nodes_cannot_share_a_port() {
    let first = node(1);
    let port = first.addresses()[0].address.port();
    let second = Node::start(RuntimeOptions {
        threads: 1,
        bind: vec!["127.0.0.1".parse().unwrap()],
        udp_port: port,
        tcp_port: None,
        gso: true,
        socket_buffer_bytes: 1 << 18,
        engine: EngineConfig::default(),
    });
    assert!(matches!(second, Err(CoreError::Failed(_))));
}
