//! ICE-TCP over real connections: who is let in, who is answered, and how it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use _forwarder::node::Node;
use _forwarder::runtime::events::Notice;
use _forwarder::runtime::RuntimeOptions;
use holdspace_engine::{EngineConfig, Event, IceState};
use holdspace_wire::framing::length_prefix;
use holdspace_wire::stun::{
    parse_untrusted_message, write_binding_request, CheckToSend, IceRole, IntegrityKey, Message,
};

const ROOM: u64 = 1;
const UFRAG: &str = "anna-fragment";
const PASSWORD: &str = "a-password-of-24-letters";
/// For a thread of a loaded machine to get its turn: what is waited for comes in milliseconds on an idle one.
const PATIENCE: Duration = Duration::from_secs(60);

fn node() -> (Node, SocketAddr) {
    let node = Node::start(RuntimeOptions {
        threads: 2,
        bind: vec!["127.0.0.1".parse().unwrap()],
        udp_port: 0,
        tcp_port: Some(0),
        gso: true,
        socket_buffer_bytes: 1 << 18,
        engine: EngineConfig::default(),
    })
    .unwrap();
    // Two rooms, so that the wanted one is not on the first thread.
    node.add_room(7).unwrap();
    node.add_room(ROOM).unwrap();
    node.add_transport(ROOM, 1, "anna".to_owned(), (UFRAG.to_owned(), PASSWORD.to_owned())).unwrap();
    let address = node.tcp_addresses()[0];
    (node, address)
}

fn check(ufrag: &str, password: &str) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let check = CheckToSend {
        transaction_id: [7; 12],
        username: &format!("{ufrag}:remotefragment"),
        priority: 1,
        use_candidate: true,
        role: IceRole::Controlling(1),
    };
    let length = write_binding_request(&mut bytes, &check, &IntegrityKey::new(password)).unwrap();
    framed(&bytes[..length])
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&length_prefix(packet.len()).unwrap()[..], packet].concat()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    packet
}

/// Whether the other side closes it without a word.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn wait_for_ice(node: &Node, wanted: IceState) {
    let until = Instant::now() + PATIENCE;
    loop {
        for notice in node.drain() {
            if matches!(notice, Notice::Room { event: Event::Ice { state, .. }, .. } if state == wanted) {
                return;
            }
        }
        assert!(Instant::now() < until, "never {wanted:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_checked_connection_is_answered_and_its_end_is_noticed_at_once() {
    let (node, address) = node();
    let mut stream = connect(address);
    let request = check(UFRAG, PASSWORD);
    // In pieces, as a network may cut it.
    stream.write_all(&request[..1]).unwrap();
    stream.write_all(&request[1..30]).unwrap();
    stream.write_all(&request[30..]).unwrap();
    let packet = answer(&mut stream);
    assert!(matches!(parse_untrusted_message(&packet), Ok(Message::BindingResponse { success: true, .. })));
    wait_for_ice(&node, IceState::Connected);
    assert_eq!(node.tcp_counts().0, 1);
    drop(stream);
    wait_for_ice(&node, IceState::Closed);
}

#[test]
fn strangers_are_closed_without_a_word() {
    let (node, address) = node();
    let first_frames = [
        check("other-fragment", PASSWORD),
        check(UFRAG, "another-password-of-ours"),
        framed(b"\x16\xfe\xff a record of DTLS before any check"),
        framed(&[0x80; 40]),
        framed(&[1; 2_000]),
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(),
        vec![0; 4_000],
    ];
    let mut strangers: Vec<TcpStream> = first_frames
        .iter()
        .map(|bytes| {
            let mut stream = connect(address);
            stream.write_all(bytes).unwrap();
            stream
        })
        .collect();
    for (at, stream) in strangers.iter_mut().enumerate() {
        assert!(is_closed(stream), "first frame {at}");
    }
    assert!(node.drain().is_empty());
    let until = Instant::now() + PATIENCE;
    while node.tcp_counts().0 > 0 {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_that_says_nothing_is_closed_after_five_seconds() {
    let (_node, address) = node();
    let began = Instant::now();
    let mut silent = connect(address);
    let mut halting = connect(address);
    halting.write_all(&check(UFRAG, PASSWORD)[..40]).unwrap();
    assert!(is_closed(&mut silent) && is_closed(&mut halting));
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn one_network_holds_a_bounded_number_of_silent_connections() {
    let (node, address) = node();
    let crowd: Vec<TcpStream> = (0..40).map(|_| connect(address)).collect();
    let until = Instant::now() + PATIENCE;
    let mut most = 0;
    while node.tcp_counts().1 < 24 {
        most = most.max(node.tcp_counts().0);
        assert!(Instant::now() < until, "{:?}", node.tcp_counts());
        std::thread::yield_now();
    }
    assert!(most <= 16, "{most}");
    // Their places are free again once all have gone.
    drop(crowd);
    while node.tcp_counts() != (0, 40) {
        assert!(Instant::now() < until, "{:?}", node.tcp_counts());
        std::thread::yield_now();
    }
    let mut stream = connect(address);
    stream.write_all(&check(UFRAG, PASSWORD)).unwrap();
    assert!(answer(&mut stream).len() > 20);
}

#[test]
fn a_connection_ends_with_its_transport() {
    let (node, address) = node();
    let mut stream = connect(address);
    stream.write_all(&check(UFRAG, PASSWORD)).unwrap();
    answer(&mut stream);
    node.remove_transport(ROOM, 1).unwrap();
    assert!(is_closed(&mut stream));
}
