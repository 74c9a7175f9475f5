//! Frame ports over a real socket pair: a worker on a thread of its own that echoes, floods, sleeps or dies.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use holdspace_engine::{Command, Kind, PortCounts, PortEnd, TrackId};
use socket2::{Domain, Socket, Type};

use super::tests::{add_subscriber, receive_more, settle, start, start_load};
use super::*;
use crate::runtime::events::Answer;
use crate::sys::worker_socket::WorkerSocket;

const TRACK: TrackId = TrackId(1);

/// The worker's end; sent and received on like a datagram socket.
fn open_port(runtime: &Runtime) -> UnixDatagram {
    let (ours, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    theirs.set_send_buffer_size(1 << 20).unwrap();
    let socket = WorkerSocket::new(ours.into()).unwrap();
    runtime.send(0, ThreadCommand::OpenPort { room: 1, track: TRACK, socket }).unwrap();
    UnixDatagram::from(OwnedFd::from(theirs))
}

fn counts(runtime: &Runtime) -> PortCounts {
    assert_ne!(settle(runtime, 1), Answer::Gone);
    runtime.counts()[0].totals.port
}

fn packets_in(runtime: &Runtime) -> u64 {
    assert_ne!(settle(runtime, 1), Answer::Gone);
    runtime.counts()[0].totals.packets_in
}

/// As the room's dump says: unlike a notice it cannot be overlooked.
fn has_port(runtime: &Runtime) -> bool {
    !format!("{:?}", settle(runtime, 1)).contains("(\"port\", Null)")
}

/// Answers every picture with itself until the other end closes, or until `most` have been answered.
fn echo(socket: UnixDatagram, most: usize) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let (mut message, mut echoed) = (vec![0; 1 << 20], 0);
        while let Ok(len @ 1..) = socket.recv(&mut message) {
            if message[0] == 1 && socket.send(&message[..len]).is_ok() {
                echoed += 1;
            }
            if echoed >= most {
                break;
            }
        }
        echoed
    })
}

#[test]
fn pictures_go_to_the_worker_and_come_back_until_it_dies_and_a_new_one_goes_on() {
    let runtime = start(1);
    add_subscriber(&runtime, Kind::Video);
    let generator = start_load(&runtime, Kind::Video);
    while packets_in(&runtime) < 300 {}
    assert_eq!(generator.report().unwrap().received, 0, "private, and no worker");
    let worker = echo(open_port(&runtime), 20);
    receive_more(&runtime, &generator, 30);
    while has_port(&runtime) {}
    assert_eq!(worker.join().unwrap(), 20);
    // What the worker answered last may still be on its way to the subscriber; after that nothing comes.
    let before = packets_in(&runtime);
    while packets_in(&runtime) < before + 50 {}
    generator.report().unwrap();
    let before = packets_in(&runtime);
    while packets_in(&runtime) < before + 300 {}
    assert_eq!(generator.report().unwrap().received, 0, "nothing without a worker");
    let worker = echo(open_port(&runtime), usize::MAX);
    receive_more(&runtime, &generator, 30);
    runtime.send(0, ThreadCommand::Room { room: 1, command: close() }).unwrap();
    while has_port(&runtime) {}
    assert!(worker.join().unwrap() > 0, "its socket was closed");
    assert_eq!(counts(&runtime).bad_port_messages, 0);
}

fn close() -> Command {
    Command::ClosePort { track: TRACK, reason: PortEnd::Closed }
}

#[test]
fn a_worker_that_does_not_read_holds_up_nothing() {
    let runtime = start(1);
    add_subscriber(&runtime, Kind::Video);
    let generator = start_load(&runtime, Kind::Video);
    let socket = open_port(&runtime);
    while counts(&runtime).frames_dropped == 0 {}
    let before = counts(&runtime);
    assert!(before.frames_to_worker > 10);
    // It wakes up: after what the socket held comes a keyframe that says what is missing.
    let mut message = vec![0; 1 << 20];
    let is_resumed = (0..100_000).any(|_| {
        let len = socket.recv(&mut message).unwrap();
        len > 8 && message[0] == 1 && message[1] == 3
    });
    assert!(is_resumed);
    generator.publish(false).unwrap();
}

#[test]
fn a_hostile_worker_changes_nothing() {
    let runtime = start(1);
    add_subscriber(&runtime, Kind::Video);
    let generator = start_load(&runtime, Kind::Video);
    let socket = open_port(&runtime);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..2_000_usize {
        let mut bytes = vec![0u8; 1 + round * 37 % 3_000];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        bytes[0] %= 6;
        socket.send(&bytes).unwrap();
    }
    socket.send(&vec![1; 190_000]).unwrap();
    while counts(&runtime).bad_port_messages < 1_000 {}
    assert_eq!((counts(&runtime).frames_from_worker, generator.report().unwrap().received), (0, 0));
    // The same socket still serves an honest one.
    let worker = echo(socket, usize::MAX);
    receive_more(&runtime, &generator, 30);
    runtime.send(0, ThreadCommand::RemoveRoom { room: 1 }).unwrap();
    assert!(worker.join().unwrap() > 0, "the room took its sockets with it");
}

#[test]
fn only_a_socket_of_the_kind_is_taken() {
    let (ours, _theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    let (stream, _other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    for fd in [stream.as_raw_fd(), -1, i32::MAX] {
        assert!(WorkerSocket::adopt(fd).is_none(), "{fd}");
    }
    assert!(WorkerSocket::adopt(ours.into_raw_fd()).is_some());
}
