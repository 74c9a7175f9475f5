//! What the engine alone costs per outgoing packet, without sockets: the lower end of `benchmarks forward`; and what a
//! forged STUN check of a known fragment costs (issue: under 2 µs; over sockets a system call more).
//! `cargo run --release --example cost [subscribers]`; one publisher, frames of 5 packets, AES-128-GCM.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{path_of, World};
use holdspace_engine::Kind;
use holdspace_wire::stun::{parse_untrusted_message, IntegrityKey};
use std::time::{Duration, Instant};

const FRAMES: usize = 4_000;
const FORGED: usize = 200_000;

fn main() {
    let subscribers: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(50);
    let mut world = World::new(1);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    world.browsers[publisher].sending[0].packets_per_frame = 5;
    world.browsers[publisher].sending[0].active = false;
    for at in 0..subscribers {
        let browser = world.join();
        world.subscribe(browser, 10 + at as u64, 1, Kind::Video);
    }
    let (mut spent_in, mut spent_out) = (Duration::ZERO, Duration::ZERO);
    let (mut packets, mut sends) = (0_usize, 0_usize);
    let path = path_of(world.browsers[publisher].address);
    let transport = world.browsers[publisher].transport;
    for frame in 0..FRAMES {
        world.now = world.now.plus_ms(33);
        if frame % 60 == 0 {
            (0..world.browsers.len()).for_each(|index| {
                let check = world.browsers[index].binding_request(true);
                world.deliver_to_engine(index, check);
            });
        }
        let mut datagrams = world.browsers[publisher].next_packets(0);
        world.browsers[publisher].sending[0].history.clear();
        let start = Instant::now();
        for datagram in &mut datagrams {
            world.engine.receive(transport, path, datagram, world.now, &mut world.out);
        }
        let middle = Instant::now();
        loop {
            let more = world.engine.flush(world.now, &mut world.out);
            packets += world.out.transmits().map(|(transmit, _)| transmit.segments).sum::<usize>();
            sends += world.out.transmits().count();
            world.out.clear_transmits();
            if !more {
                break;
            }
        }
        spent_in += middle - start;
        spent_out += middle.elapsed();
    }
    let per = |spent: Duration, count: usize| spent.as_nanos() as f64 / count as f64;
    println!(
        "{subscribers} subscribers: {:.0} ns per inbound packet, {:.0} ns per outgoing packet, {:.1} segments per send",
        per(spent_in, FRAMES * 5),
        per(spent_out, packets),
        packets as f64 / sends as f64,
    );
    let wrong = IntegrityKey::new("a-password-nobody-here-has");
    let mut forged = world.browsers[publisher].binding_request_with(true, &wrong);
    let start = Instant::now();
    for _ in 0..FORGED {
        // The runtime reads the fragment before it knows the room.
        assert!(parse_untrusted_message(&forged).is_ok());
        world.engine.receive(transport, path, &mut forged, world.now, &mut world.out);
    }
    println!("{:.0} ns per forged check of {} bytes", per(start.elapsed(), FORGED), forged.len());
}
