//! The runtime as a whole, over real sockets: strangers get nothing, a panic ends one room.

use std::net::{IpAddr, UdpSocket as StdSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use holdspace_engine::{
    CodecSpec, Command, Event, ExtensionIds, Kind, SlotId, SlotSpec, TapId, TrackId, TrackSpec, TransportId,
};
use holdspace_wire::srtp::Profile;
use holdspace_wire::stun::{write_binding_request, CheckToSend, IceRole, IntegrityKey};

use super::*;
use crate::load::generator::{Generator, Options, ParticipantSpec, PublishSpec, Sending};
use crate::load::measure::Report;
use crate::runtime::events::Answer;
use crate::sys::poll::Poller;
use crate::sys::send::{send_segmented, Route, SendResult};

const PASSWORD: &str = "a-password-of-24-letters";

pub(super) fn start(threads: usize) -> Runtime {
    let options = RuntimeOptions {
        threads,
        bind: vec!["127.0.0.1".parse().unwrap()],
        udp_port: 0,
        tcp_port: None,
        gso: true,
        socket_buffer_bytes: 1 << 20,
        engine: EngineConfig::default(),
    };
    Runtime::start(options, Box::new(|_| None)).unwrap()
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
    poller.wait(Some(60_000_000_000));
    assert!(poller.is_readable(0), "no event came");
    runtime.take_events()
}

/// A round trip through the thread: everything queued before it has been worked off.
pub(super) fn settle(runtime: &Runtime, room: u64) -> Answer {
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
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
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

/// As one run, which the kernel does not take apart on loopback.
fn send_run(socket: &StdSocket, run: &[u8], each: usize) {
    let route = Route { to: socket.peer_addr().unwrap(), from: None };
    assert_eq!(send_segmented(socket.as_raw_fd(), &route, run, each), SendResult::Sent(run.len().div_ceil(each)));
}

fn answered(socket: &StdSocket) -> u8 {
    let mut answer = [0; 512];
    socket.recv(&mut answer).unwrap();
    answer[8]
}

#[test]
fn a_run_of_datagrams_is_taken_apart_and_each_judged_by_itself() {
    let runtime = start(1);
    add_transport(&runtime, 1, 1, "known-fragment");
    settle(&runtime, 1);
    let socket = client(&runtime);
    let each = check("known-fragment", 1).len();
    let rubbish = vec![200; each];
    let cut_off = &check("known-fragment", 4)[..each - 1];
    let run =
        [&check("wrong-fragment", 1), &check("known-fragment", 2), &rubbish, &check("known-fragment", 3), cut_off];
    send_run(&socket, &vec![9; 7_000], 3_000); // longer than any packet: three datagrams
    socket.send(&[]).unwrap();
    send_run(&socket, &run.concat(), each);
    assert_eq!([answered(&socket), answered(&socket)], [2, 3]);
    runtime.stop();
    let unclaimed = runtime.counts()[0].unclaimed;
    assert_eq!((unclaimed.malformed, unclaimed.unknown_ufrag), (3 + 1 + 2, 1));
}

#[test]
fn a_run_is_sorted_by_its_first_datagram_and_what_is_of_another_kind_is_not_lost() {
    let runtime = start(1);
    add_transport(&runtime, 1, 1, "known-fragment");
    settle(&runtime, 1);
    let socket = client(&runtime);
    socket.send(&check("known-fragment", 1)).unwrap();
    assert_eq!(answered(&socket), 1);
    let (rtcp, rtp, dtls) = ([128, 200, 0, 0], [128, 96, 0, 0], [22, 254, 253, 7]);
    for first in [rtcp, rtp] {
        send_run(&socket, &[first, dtls, rtcp, rtp, first].concat(), 4);
        let dtls = Event::Dtls { transport: TransportId(1), datagram: dtls.to_vec() };
        while !next_notices(&runtime).contains(&Notice::Room { room: 1, event: dtls.clone() }) {}
    }
    runtime.stop();
    let dropped: u64 = runtime.counts()[0].totals.dropped.iter().map(|(_, count)| count).sum();
    assert_eq!(dropped, 8, "all reached the transport, which has no keys yet");
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
fn what_the_engine_refuses_is_told_without_what_it_carried() {
    let runtime = start(1);
    add_transport(&runtime, 1, 1, "first-fragment");
    let keys = (vec![7; 3], vec![7; 3]);
    let (transport, profile) = (TransportId(9), Profile::AeadAes128Gcm);
    let unknown = Command::SetSrtp { transport, profile, inbound_key: keys.0, outbound_key: keys.1 };
    runtime.send(0, ThreadCommand::Room { room: 1, command: unknown }).unwrap();
    let refused = Notice::CommandRefused { room: 1, what: "set_srtp 9".to_owned(), why: "unknown id".to_owned() };
    while !next_notices(&runtime).contains(&refused) {}
    // Ending a tap that has ended is no refusal.
    runtime.send(0, ThreadCommand::Room { room: 1, command: Command::RemoveTap { tap: TapId(3) } }).unwrap();
    settle(&runtime, 1);
    runtime.stop();
    assert_eq!(runtime.counts()[0].commands_refused, 1);
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

fn codec(kind: Kind) -> CodecSpec {
    let (name, payload_type, clock_hz) = if kind == Kind::Audio { ("opus", 111, 48_000) } else { ("vp8", 96, 90_000) };
    CodecSpec {
        name: name.to_owned(),
        payload_type,
        clock_hz,
        rtx_payload_type: None,
        nack: false,
        pli: false,
        remb: false,
        twcc: true,
        fmtp: String::new(),
    }
}

/// Tells the runtime of a publisher (transport 1) and a subscriber (2) with keys made of their numbers, and of one
/// track (1) between them; video is private.
pub(super) fn add_subscriber(runtime: &Runtime, kind: Kind) {
    let tell = |command| runtime.send(0, ThreadCommand::Room { room: 1, command }).unwrap();
    add_transport(runtime, 1, 1, "first-fragment");
    let (ice_ufrag, ice_pwd) = ("second-fragment".to_owned(), PASSWORD.to_owned());
    tell(Command::AddTransport { transport: TransportId(2), participant: "other".to_owned(), ice_ufrag, ice_pwd });
    for number in [1u8, 2] {
        let transport = TransportId(u64::from(number));
        let extensions = ExtensionIds { mid: Some(4), transport_cc: Some(3), ..ExtensionIds::default() };
        tell(Command::SetExtensions { transport, extensions });
        let (inbound_key, outbound_key) = (vec![number; 28], vec![number + 100; 28]);
        tell(Command::SetSrtp { transport, profile: Profile::AeadAes128Gcm, inbound_key, outbound_key });
    }
    let (mid, codecs, private) = ("0".to_owned(), vec![codec(kind)], kind == Kind::Video);
    let (ssrcs, rids) = (vec![(2222, None)], vec![]);
    let spec = TrackSpec { mid: mid.clone(), kind, codecs: codecs.clone(), ssrcs, rids, private };
    tell(Command::SetTrack { transport: TransportId(1), track: TrackId(1), spec });
    let spec = SlotSpec { mid, kind, ssrc: 4444, rtx_ssrc: None, codecs, cname: "c".to_owned() };
    tell(Command::SetSlot { transport: TransportId(2), slot: SlotId(1), spec });
    tell(Command::SetSlotSource { slot: SlotId(1), track: Some(TrackId(1)) });
}

/// Both share one socket, each with an address of its own.
fn load_participant(runtime: &Runtime, number: u8, kind: Kind) -> ParticipantSpec {
    let publishes_video = kind == Kind::Video;
    let fragment = if number == 1 { "first-fragment" } else { "second-fragment" };
    ParticipantSpec {
        socket: 0,
        source: IpAddr::from([127, 0, 0, number + 1]),
        server: runtime.addresses()[0].address,
        ice_username: format!("{fragment}:theirs"),
        ice_password: PASSWORD.to_owned(),
        profile: Profile::AeadAes128Gcm,
        send_key: vec![number; 28],
        receive_key: vec![number + 100; 28],
        streams: if number == 1 { vec![] } else { vec![(4444, publishes_video)] },
        transport_cc_extension: 3,
        publish: (number == 1).then(|| only(kind)),
    }
}

/// The other kind is not negotiated: dropped by the server.
fn only(kind: Kind) -> PublishSpec {
    let (video_ssrc, audio_ssrc) = if kind == Kind::Video { (2222, 1111) } else { (1111, 2222) };
    let (video_mid, audio_mid) = if kind == Kind::Video { ("0", "9") } else { ("9", "0") };
    PublishSpec {
        video_ssrc,
        video_payload_type: 96,
        video_mid: video_mid.to_owned(),
        audio_ssrc,
        audio_payload_type: 111,
        audio_mid: audio_mid.to_owned(),
        mid_extension: 4,
        audio_level_extension: 0,
        transport_cc_extension: 3,
    }
}

/// Both participants, publishing.
pub(super) fn start_load(runtime: &Runtime, kind: Kind) -> Generator {
    let mut generator = Generator::new(Options { cpu: None, gro: true, sending: Sending::Gso });
    assert_eq!(generator.add_socket(StdSocket::bind("0.0.0.0:0").unwrap().into()).unwrap(), 0);
    generator.add(load_participant(runtime, 1, kind)).unwrap();
    generator.add(load_participant(runtime, 2, kind)).unwrap();
    generator.start().unwrap();
    generator.publish(true).unwrap();
    generator
}

/// Sums reports until `wanted` more packets came; the runtime's answers pace it.
pub(super) fn receive_more(runtime: &Runtime, generator: &Generator, wanted: u64) -> Report {
    let mut sum = Report::default();
    while sum.received < wanted {
        assert_ne!(settle(runtime, 1), Answer::Gone);
        let report = generator.report().unwrap();
        sum.received += report.received;
        sum.expected += report.expected;
        sum.mismatched += report.mismatched;
    }
    sum
}

#[test]
fn what_waited_while_the_thread_was_stalled_is_forwarded_whole() {
    let runtime = start(1);
    add_subscriber(&runtime, Kind::Audio);
    let generator = start_load(&runtime, Kind::Audio);
    receive_more(&runtime, &generator, 5);
    runtime.send(0, ThreadCommand::Stall { milliseconds: 600 }).unwrap();
    let report = receive_more(&runtime, &generator, 60);
    assert_eq!((report.expected, report.mismatched), (report.received, 0));
}
