//! The raw UDP reflector: what this machine carries with the same generator and no server in between.
//!
//! It sends back whatever comes, runs of equal datagrams as one. A step of a benchmark counts only if the reflector
//! lost nothing at that step.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::pin_to_cpu;
use crate::errors::CoreError;
use crate::sys::clock::thread_cpu_ns;
use crate::sys::poll::Poller;
use crate::sys::receive::{ReceiveBatch, RUN_BYTES};
use crate::sys::send::{send_segmented, Route, SendResult, MAX_SEND_BYTES};
use crate::sys::socket::{enable_gro, UdpSocket};

/// How soon it notices that it should stop.
const LOOK_UP_NS: u64 = 50_000_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct Reflected {
    pub datagrams: u64,
    /// Could not be sent back.
    pub failed: u64,
    pub cpu_ns: u64,
}

pub struct Reflector {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Reflected>>,
}

impl Reflector {
    pub fn start(cpu: Option<usize>) -> Result<Self, CoreError> {
        let failed = |error: std::io::Error| CoreError::Failed(format!("the reflector: {error}"));
        let socket = UdpSocket::open(SocketAddr::from(([127, 0, 0, 1], 0)), 8 << 20).map_err(failed)?;
        enable_gro(socket.raw()).map_err(failed)?;
        let (address, stop) = (socket.local(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("holdspace-echo".to_owned())
            .spawn(move || {
                if let Some(cpu) = cpu {
                    pin_to_cpu(cpu);
                }
                reflect(&socket, &told)
            })
            .map_err(failed)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Zeroes when it was stopped before.
    pub fn stop(&mut self) -> Reflected {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.stop();
    }
}

fn reflect(socket: &UdpSocket, stop: &AtomicBool) -> Reflected {
    let mut poller = Poller::new(std::iter::once(socket.raw()));
    let mut batch = ReceiveBatch::new(RUN_BYTES, 16);
    let mut result = Reflected::default();
    while !stop.load(Ordering::Relaxed) {
        poller.wait(Some(LOOK_UP_NS));
        let count = batch.receive(socket.raw()).unwrap_or(0); // a failed receive shows as loss
        for index in 0..count {
            let Some((arrival, bytes)) = batch.datagram(index) else {
                continue;
            };
            let segment = arrival.cut_bytes(bytes.len());
            let route = Route { to: arrival.source, from: None };
            for run in bytes.chunks(MAX_SEND_BYTES / segment * segment) {
                let datagrams = run.len().div_ceil(segment) as u64;
                match send_segmented(socket.raw(), &route, run, segment) {
                    SendResult::Sent(_) => result.datagrams += datagrams,
                    _ => result.failed += datagrams,
                }
            }
        }
    }
    result.cpu_ns = thread_cpu_ns();
    result
}
