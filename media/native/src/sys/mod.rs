//! The kernel's side of the core: clocks, UDP sockets, batched receive, segmented send, TCP, wake-up.
//!
//! Everything `unsafe` that is not PyO3's lives here, each function a thin safe face over one system call.
//! Nothing in here knows rooms, RTP or Python.

pub mod clock;
pub mod epoll;
pub mod poll;
pub mod receive;
pub mod send;
pub mod socket;
pub mod tcp;
pub mod wake;
pub mod worker_socket;

pub(crate) mod address;
