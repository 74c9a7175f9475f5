//! The handle of the generator's thread.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::measure::Report;
use super::participant::{Participant, Seat};
use super::thread::{Loop, Order};
use crate::errors::CoreError;
use crate::sys::clock::monotonic_ns;
use crate::sys::socket;

pub use super::participant::ParticipantSpec;
pub use super::publisher::{PublishSpec, Sending};

/// The thread answers between two rounds, which take microseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where the thread is pinned.
    pub cpu: Option<usize>,
    /// Receive runs of datagrams as one.
    pub gro: bool,
    pub sending: Sending,
}

/// Sockets and participants may be added before and after `start`.
pub struct Generator {
    options: Options,
    sockets: Vec<Arc<OwnedFd>>,
    participants: usize,
    orders: Sender<Order>,
    waiting: Option<Receiver<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Generator {
    pub fn new(options: Options) -> Self {
        let (orders, waiting) = mpsc::channel();
        Self { options, sockets: Vec::new(), participants: 0, orders, waiting: Some(waiting), thread: None }
    }

    /// Returns the socket's number. Bound to all addresses it may carry many participants, each with its own.
    pub fn add_socket(&mut self, socket: OwnedFd) -> Result<usize, CoreError> {
        let failed = |error: std::io::Error| CoreError::Failed(format!("socket option: {error}"));
        socket::stamp_arrivals(socket.as_raw_fd()).map_err(failed)?;
        socket::tell_destinations(socket.as_raw_fd()).map_err(failed)?;
        if self.options.gro {
            socket::enable_gro(socket.as_raw_fd()).map_err(failed)?;
        }
        let socket = Arc::new(socket);
        self.sockets.push(Arc::clone(&socket));
        self.order(Order::AddSocket(socket))?;
        Ok(self.sockets.len() - 1)
    }

    pub fn add(&mut self, spec: ParticipantSpec) -> Result<(), CoreError> {
        let (socket, source) = (spec.socket, spec.source);
        let shared = self.sockets.get(socket).ok_or_else(|| CoreError::BadArgument("no such socket".to_owned()))?;
        let seat = Seat {
            index: self.participants,
            socket: shared.as_raw_fd(),
            is_shared: is_wildcard(shared),
            sending: self.options.sending,
        };
        let participant = Participant::new(spec, &seat, monotonic_ns())
            .ok_or_else(|| CoreError::BadArgument("a key has a wrong length for its profile".to_owned()))?;
        self.participants += 1;
        self.order(Order::Add { participant: Box::new(participant), socket, source })
    }

    pub fn start(&mut self) -> Result<(), CoreError> {
        let Some(orders) = self.waiting.take() else {
            return Err(CoreError::Refused("the generator runs already".to_owned()));
        };
        let work = Loop::new(orders, self.options);
        let thread = std::thread::Builder::new()
            .name("holdspace-load".to_owned())
            .spawn(|| work.run())
            .map_err(|error| CoreError::Failed(format!("cannot start a thread: {error}")))?;
        self.thread = Some(thread);
        Ok(())
    }

    fn order(&self, order: Order) -> Result<(), CoreError> {
        self.orders.send(order).map_err(|_| CoreError::Failed("the generator does not run".to_owned()))
    }

    pub fn publish(&self, wanted: bool) -> Result<(), CoreError> {
        self.order(Order::Publish(wanted))
    }

    /// What was counted since the last report.
    pub fn report(&self) -> Result<Report, CoreError> {
        let (reply, answer) = mpsc::channel();
        self.order(Order::Report(reply))?;
        answer.recv_timeout(ANSWER_TIMEOUT).map_err(|_| CoreError::Failed("the generator hangs".to_owned()))
    }

    pub fn stop(&mut self) {
        let _ = self.orders.send(Order::Stop); // a thread that is gone needs no telling
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is_wildcard(socket: &OwnedFd) -> bool {
    let local = socket2::SockRef::from(socket).local_addr().ok().and_then(|address| address.as_socket());
    local.is_some_and(|address| address.ip().is_unspecified())
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop();
    }
}
