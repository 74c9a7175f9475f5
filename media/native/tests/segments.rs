//! Segmented and plain sends put the same datagrams on the wire, and received ones carry what the runtime needs.

use std::net::SocketAddr;

use _forwarder::sys::clock::{monotonic_ns, ClockBridge};
use _forwarder::sys::poll::Poller;
use _forwarder::sys::receive::{Arrival, ReceiveBatch, BATCH_DATAGRAMS, DATAGRAM_BYTES, RUN_BYTES};
use _forwarder::sys::send::{send_each, send_segmented, Route, SendResult};
use _forwarder::sys::socket::{enable_gro, UdpSocket};

const BUFFER_BYTES: usize = 1 << 20;

fn open(address: &str) -> UdpSocket {
    UdpSocket::open(SocketAddr::new(address.parse().unwrap(), 0), BUFFER_BYTES).unwrap()
}

fn receive_all(socket: &UdpSocket, wanted: usize) -> Vec<Vec<u8>> {
    let mut batch = ReceiveBatch::new(DATAGRAM_BYTES, BATCH_DATAGRAMS);
    let mut poller = Poller::new([socket.raw()]);
    let mut received = Vec::new();
    while received.len() < wanted {
        poller.wait(Some(60_000_000_000));
        let count = batch.receive(socket.raw()).unwrap();
        assert!(count > 0, "{} of {wanted} datagrams came", received.len());
        for index in 0..count {
            received.push(batch.datagram(index).unwrap().1.to_vec());
        }
    }
    received
}

fn numbered_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 256) as u8).collect()
}

#[test]
fn segmented_and_plain_sends_give_the_same_datagrams() {
    let bytes = numbered_bytes(4 * 1_100 + 333);
    let expected: Vec<Vec<u8>> = bytes.chunks(1_100).map(<[u8]>::to_vec).collect();
    for address in ["127.0.0.1", "::1"] {
        let (sender, receiver) = (open(address), open(address));
        let route = Route { to: receiver.local(), from: None };
        assert_eq!(send_segmented(sender.raw(), &route, &bytes, 1_100), SendResult::Sent(5));
        assert_eq!(receive_all(&receiver, 5), expected);
        assert_eq!(send_each(sender.raw(), &route, &bytes, 1_100), SendResult::Sent(5));
        assert_eq!(receive_all(&receiver, 5), expected);
    }
}

#[test]
fn a_run_comes_as_one_where_that_was_asked_for_and_falls_apart_as_it_was_sent() {
    let bytes = numbered_bytes(4 * 1_100 + 333);
    let (sender, receiver) = (open("127.0.0.1"), open("127.0.0.1"));
    enable_gro(receiver.raw()).unwrap();
    let route = Route { to: receiver.local(), from: None };
    send_segmented(sender.raw(), &route, &bytes, 1_100);
    send_segmented(sender.raw(), &route, &bytes[..500], 500);
    send_segmented(sender.raw(), &route, &[], 1);
    let mut batch = ReceiveBatch::new(RUN_BYTES, BATCH_DATAGRAMS);
    Poller::new([receiver.raw()]).wait(Some(60_000_000_000));
    assert_eq!(batch.receive(receiver.raw()).unwrap(), 3);
    let (run, whole) = batch.datagram(0).unwrap();
    assert_eq!((whole.to_vec(), run.cut_bytes(whole.len())), (bytes.clone(), 1_100));
    assert!(run.realtime_ns.is_some() && !run.truncated);
    let (single, whole) = batch.datagram(1).unwrap();
    assert_eq!((whole.to_vec(), single.cut_bytes(whole.len())), (bytes[..500].to_vec(), 500));
    let (empty, nothing) = batch.datagram(2).unwrap();
    assert_eq!((nothing.len(), empty.cut_bytes(0)), (0, 1));
    assert_eq!(Arrival { segment_bytes: Some(0), ..single }.cut_bytes(500), 500, "a length that cuts nothing");
}

#[test]
fn an_answer_leaves_a_wildcard_socket_from_the_address_that_was_asked() {
    let server = open("0.0.0.0");
    let client = open("127.0.0.1");
    let asked: SocketAddr = format!("127.0.0.2:{}", server.local().port()).parse().unwrap();
    send_segmented(client.raw(), &Route { to: asked, from: None }, b"question", 8);
    let mut batch = ReceiveBatch::new(DATAGRAM_BYTES, BATCH_DATAGRAMS);
    Poller::new([server.raw()]).wait(Some(60_000_000_000));
    assert_eq!(batch.receive(server.raw()).unwrap(), 1);
    let (arrival, _) = batch.datagram(0).unwrap();
    assert_eq!(arrival.destination, Some(asked.ip()));
    let route = Route { to: arrival.source, from: arrival.destination };
    let two_segments = [b"answer!!".as_slice(), b"again"].concat();
    assert_eq!(send_segmented(server.raw(), &route, &two_segments, 8), SendResult::Sent(2));
    Poller::new([client.raw()]).wait(Some(60_000_000_000));
    assert_eq!(batch.receive(client.raw()).unwrap(), 2);
    assert_eq!(batch.datagram(0).unwrap().0.source, asked);
}

#[test]
fn the_kernel_stamps_arrivals_on_the_clock_of_the_engine() {
    let (sender, receiver) = (open("127.0.0.1"), open("127.0.0.1"));
    let before = monotonic_ns();
    send_segmented(sender.raw(), &Route { to: receiver.local(), from: None }, b"now", 3);
    Poller::new([receiver.raw()]).wait(Some(60_000_000_000));
    let mut batch = ReceiveBatch::new(DATAGRAM_BYTES, BATCH_DATAGRAMS);
    assert_eq!(batch.receive(receiver.raw()).unwrap(), 1);
    let stamp = batch.datagram(0).unwrap().0.realtime_ns.expect("the kernel stamps datagrams");
    let arrived = ClockBridge::read().to_monotonic(stamp);
    let slack_ns = 1_000_000; // the two clocks are read one after the other
    assert!(arrived + slack_ns >= before && arrived <= monotonic_ns(), "{before} {arrived}");
}

#[test]
fn a_datagram_longer_than_the_buffer_is_reported_as_truncated() {
    let (sender, receiver) = (open("127.0.0.1"), open("127.0.0.1"));
    send_segmented(sender.raw(), &Route { to: receiver.local(), from: None }, &[1; 9_000], 9_000);
    Poller::new([receiver.raw()]).wait(Some(60_000_000_000));
    let mut batch = ReceiveBatch::new(DATAGRAM_BYTES, BATCH_DATAGRAMS);
    assert_eq!(batch.receive(receiver.raw()).unwrap(), 1);
    let (arrival, bytes) = batch.datagram(0).unwrap();
    assert!(arrival.truncated);
    assert_eq!(bytes.len(), DATAGRAM_BYTES);
}
