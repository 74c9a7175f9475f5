//! The limit loop (DESIGN.md §8): what it costs at least to seal and send the recorded datagrams to the receivers.
//!
//! No engine, no tables, no feedback: for every burst and receiver copy, seal with the negotiated profile, send by
//! GSO. Run on the schedule of the record it pays for cold caches and wake-ups as a server does; run without, not.

use std::net::SocketAddr;
use std::time::Duration;

use holdspace_wire::seq::ExtSeq;
use holdspace_wire::srtp::{Outbound, Profile, MAX_OVERHEAD};

use super::measure::Burst;
use super::pin_to_cpu;
use crate::errors::CoreError;
use crate::sys::clock::{monotonic_ns, thread_cpu_ns};
use crate::sys::send::{send_segmented, Route, SendResult, MAX_SEND_BYTES};
use crate::sys::socket::UdpSocket;

pub struct LimitOptions<'a> {
    pub receivers: &'a [SocketAddr],
    pub bursts: &'a [Burst],
    pub profile: Profile,
    pub cpu: Option<usize>,
    /// Keep the record's times; else as fast as it goes.
    pub paced: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LimitResult {
    pub cpu_ns: u64,
    pub packets: u64,
    pub sends: u64,
    pub failed: u64,
}

struct Receiver {
    route: Route,
    outbound: Outbound,
    seq: ExtSeq,
    ssrc: u32,
    overhead: usize,
}

/// Runs on a thread of its own, so that its CPU time is its own.
pub fn run(options: &LimitOptions<'_>) -> Result<LimitResult, CoreError> {
    std::thread::scope(|scope| {
        let work = scope.spawn(|| run_here(options));
        work.join().unwrap_or_else(|_| Err(CoreError::Failed("the limit loop panicked".to_owned())))
    })
}

fn run_here(options: &LimitOptions<'_>) -> Result<LimitResult, CoreError> {
    if let Some(cpu) = options.cpu {
        pin_to_cpu(cpu);
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = UdpSocket::open(any, 8 << 20).map_err(|error| CoreError::Failed(error.to_string()))?;
    let mut receivers = make_receivers(options)?;
    let mut buffer = Vec::with_capacity(64 * 1_024);
    let mut result = LimitResult::default();
    let began_ns = monotonic_ns();
    let first_ns = options.bursts.first().map_or(0, |burst| burst.at_ns);
    let cpu_before_ns = thread_cpu_ns();
    for burst in options.bursts {
        if options.paced {
            let due_ns = began_ns + burst.at_ns.saturating_sub(first_ns);
            if let Some(early_ns) = due_ns.checked_sub(monotonic_ns()) {
                std::thread::sleep(Duration::from_nanos(early_ns));
            }
        }
        for receiver in &mut receivers {
            seal_and_send(&socket, receiver, &burst.datagram_bytes, &mut buffer, &mut result);
        }
    }
    result.cpu_ns = thread_cpu_ns() - cpu_before_ns;
    Ok(result)
}

fn make_receivers(options: &LimitOptions<'_>) -> Result<Vec<Receiver>, CoreError> {
    let key_bytes = options.profile.key_bytes() + options.profile.salt_bytes();
    let overhead = options.profile.rtp_overhead();
    let make = |(index, to): (usize, &SocketAddr)| {
        let key: Vec<u8> = (0..key_bytes).map(|at| (at * 31 + index * 7 + 1) as u8).collect();
        let outbound = Outbound::new(options.profile, &key)
            .map_err(|_| CoreError::BadArgument("a key of this profile's length was refused".to_owned()))?;
        let route = Route { to: *to, from: None };
        Ok(Receiver { route, outbound, seq: ExtSeq(0), ssrc: 0xF000_0000 + index as u32, overhead })
    };
    options.receivers.iter().enumerate().map(make).collect()
}

fn seal_and_send(
    socket: &UdpSocket,
    receiver: &mut Receiver,
    datagram_bytes: &[usize],
    buffer: &mut Vec<u8>,
    result: &mut LimitResult,
) {
    const PLAIN: [u8; 2_048] = [0x3C; 2_048];
    let mut at = 0;
    while at < datagram_bytes.len() {
        let segment = datagram_bytes[at];
        buffer.clear();
        let mut end = at;
        // As many equal datagrams as there are, and one shorter behind them.
        while end < datagram_bytes.len()
            && datagram_bytes[end] <= segment
            && buffer.len() + datagram_bytes[end] <= MAX_SEND_BYTES
        {
            let plain = datagram_bytes[end].saturating_sub(receiver.overhead).clamp(12, PLAIN.len());
            let start = buffer.len();
            buffer.extend_from_slice(&PLAIN[..plain]);
            buffer.resize(start + plain + MAX_OVERHEAD, 0);
            write_header(&mut buffer[start..start + 12], receiver);
            let sealed = receiver.outbound.protect_rtp(&mut buffer[start..], plain, 12, receiver.seq);
            buffer.truncate(start + sealed.unwrap_or(plain));
            receiver.seq = receiver.seq.next();
            end += 1;
            if datagram_bytes[end - 1] < segment {
                break;
            }
        }
        let count = (end - at) as u64;
        match send_segmented(socket.raw(), &receiver.route, buffer, segment) {
            SendResult::Sent(_) => result.packets += count,
            _ => result.failed += count,
        }
        result.sends += 1;
        at = end;
    }
}

fn write_header(header: &mut [u8], receiver: &Receiver) {
    header[0] = 0x80;
    header[1] = 96;
    header[2..4].copy_from_slice(&receiver.seq.seq().0.to_be_bytes());
    header[4..8].copy_from_slice(&[0; 4]);
    header[8..12].copy_from_slice(&receiver.ssrc.to_be_bytes());
}
