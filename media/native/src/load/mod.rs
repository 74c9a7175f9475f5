//! Fake participants for benchmarks: one thread that publishes realistic bursts and receives for everybody.
//!
//! Python does the signaling and the DTLS handshakes (benchmarks/participant.py) and hands over sockets and keys; from
//! there on nothing but this thread touches them, busy-polling like a receiver that is never asleep. `limit` is the
//! yardstick: the cheapest loop that sends the same datagrams to the same receivers.
//! Nothing in here runs in a server.

pub mod generator;
pub mod limit;
pub mod measure;
pub mod reflector;

mod participant;
mod publisher;
mod thread;

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Pins the calling thread; errors are ignored, because a benchmark on a smaller machine is still a benchmark.
pub(crate) fn pin_to_cpu(cpu: usize) {
    // SAFETY: all-zero bytes are a valid empty set; CPU_SET refuses indices beyond it by doing nothing.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set);
    }
}

/// A second descriptor of the caller's socket, ours to close.
pub fn duplicate(fd: RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC answers a new descriptor or an error, whatever it is given.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
