//! The runtime as a whole, over real sockets: strangers get nothing, a panic ends one room.

use std::net::UdpSocket as StdSocket;
use std::time::Duration;

use holdspace_engine::{Command, TransportId};
use holdspace_wire::stun::{write_binding_request, CheckToSend, IceRole, IntegrityKey};

use super::*;
use crate::runtime::events::Answer;
use crate::sys::poll::Poller;

const PASSWORD: &str = "a-password-of-24-letters";

fn start(threads: usize) -> Runtime {
    let options = RuntimeOptions {
        threads,
        bind: vec!["127.0.0.1".parse().unwrap()],
        udp_port: 0,
        gso: true,
        socket_buffer_bytes: 1 << 20,
        engine: EngineConfig::default(),
    };
    Runtime::start(options).unwrap()
}

fn add_transport(runtime: &Runtime, room: u64, transport: u64, ufrag: &str) {
    let command = Command::AddTransport {
        transport: TransportId(transport),
        participant: "someone".to_owned(),
        ice_ufrag: ufrag.to_owned(),
        ice_pwd: PASSWORD.to_owned(),
    };
    runtime.send(0, ThreadCommand::AddRoom { room }).unwrap();
    runtime.send(0, ThreadCommand::Room { room, command }).unwrap();
}

/// Waits for the next notices; fails when none come.
fn next_notices(runtime: &Runtime) -> Vec<Notice> {
    let mut poller = Poller::new([runtime.event_fd()]);
    poller.wait(Some(5_000_000_000));
    assert!(poller.is_readable(0), "no event came");
    runtime.take_events()
}

/// A round trip through the thread: everything queued before it has been worked off.
fn settle(runtime: &Runtime, room: u64) -> Answer {
    runtime.send(0, ThreadCommand::ReportRoom { room, ticket: 77 }).unwrap();
    loop {
        for notice in next_notices(runtime) {
            if let Notice::Answer { ticket: 77, answer } = notice {
                return answer;
            }
        }
    }
}

fn client(runtime: &Runtime) -> StdSocket {
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(runtime.addresses()[0].address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn check(ufrag: &str, transaction: u8) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let check = CheckToSend {
        transaction_id: [transaction; 12],
        username: &format!("{ufrag}:remotefragment"),
        priority: 1,
        use_candidate: true,
        role: IceRole::Controlling(1),
    };
    let length = write_binding_request(&mut bytes, &check, &IntegrityKey::new(PASSWORD)).unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn a_check_for_an_unknown_fragment_is_never_answered() {
    let runtime = start(1);
    add_transport(&runtime, 1, 1, "known-fragment");
    settle(&runtime, 1);
    let socket = client(&runtime);
    socket.send(&check("wrong-fragment", 1)).unwrap();
    socket.send(&check("known-fragment", 2)).unwrap();
    // The answer to the second proves that the first, sent before it, got none.
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    assert!(length > 20);
    assert_eq!(answer[8..20], [2; 12]);
}

#[test]
fn a_flood_of_random_datagrams_changes_nothing() {
    let runtime = start(1);
    add_transport(&runtime, 1, 1, "known-fragment");
    settle(&runtime, 1);
    let socket = client(&runtime);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..5_000usize {
        let mut bytes = vec![0u8; round % 300];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        socket.send(&bytes).unwrap();
    }
    socket.send(&check("known-fragment", 9)).unwrap();
    let mut answer = [0; 512];
    assert!(socket.recv(&mut answer).unwrap() > 20, "it still answers");
    assert_ne!(settle(&runtime, 1), Answer::Gone);
    runtime.stop();
    let counts = runtime.counts()[0];
    assert_eq!(counts.totals.packets_in, 0);
    assert!(counts.unclaimed.malformed + counts.unclaimed.unknown_address >= 4_900, "{counts:?}");
}

#[test]
fn a_panic_ends_its_room_and_no_other() {
    let runtime = start(1);
    add_transport(&runtime, 1, 1, "first-fragment");
    add_transport(&runtime, 2, 2, "second-fragment");
    runtime.send(0, ThreadCommand::PanicInRoom { room: 1 }).unwrap();
    let failed = Notice::RoomFailed { room: 1, message: "asked to".to_owned() };
    while !next_notices(&runtime).contains(&failed) {}
    assert_eq!(settle(&runtime, 1), Answer::Gone);
    assert_ne!(settle(&runtime, 2), Answer::Gone);
    let socket = client(&runtime);
    socket.send(&check("first-fragment", 1)).unwrap();
    socket.send(&check("second-fragment", 2)).unwrap();
    let mut answer = [0; 512];
    socket.recv(&mut answer).unwrap();
    assert_eq!(answer[8..20], [2; 12], "only the room that lives answers");
}

#[test]
fn stopping_works_off_what_was_asked_before_and_may_be_repeated() {
    let runtime = start(2);
    runtime.send(1, ThreadCommand::AddRoom { room: 5 }).unwrap();
    runtime.stop();
    assert_eq!(runtime.counts()[1].rooms, 1);
    runtime.stop();
    assert!(runtime.send(1, ThreadCommand::AddRoom { room: 6 }).is_err());
}

#[test]
fn a_goodbye_leaves_before_its_room_is_removed() {
    let runtime = start(1);
    add_transport(&runtime, 1, 1, "known-fragment");
    let socket = client(&runtime);
    socket.send(&check("known-fragment", 1)).unwrap();
    let mut datagram = [0; 512];
    socket.recv(&mut datagram).unwrap();
    let goodbye = vec![21, 254, 253, 0, 1];
    let command = Command::SendDtls { transport: TransportId(1), datagrams: vec![goodbye.clone()], flight: false };
    runtime.send(0, ThreadCommand::Room { room: 1, command }).unwrap();
    runtime.send(0, ThreadCommand::RemoveRoom { room: 1 }).unwrap();
    runtime.stop();
    let length = socket.recv(&mut datagram).unwrap();
    assert_eq!(datagram[..length], goodbye);
}
