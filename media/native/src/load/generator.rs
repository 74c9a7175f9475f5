//! The handle of the generator's thread.

use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::measure::Report;
use super::participant::Participant;
use super::thread::{Loop, Order};
use crate::errors::CoreError;
use crate::sys::clock::monotonic_ns;
use crate::sys::socket;

pub use super::participant::ParticipantSpec;
pub use super::publisher::PublishSpec;

/// The thread answers between two rounds, which take microseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where the thread is pinned.
    pub cpu: Option<usize>,
    /// Receive runs of datagrams as one.
    pub gro: bool,
}

pub struct Generator {
    options: Options,
    waiting: Vec<Participant>,
    running: Option<(Sender<Order>, JoinHandle<()>)>,
}

impl Generator {
    pub fn new(options: Options) -> Self {
        Self { options, waiting: Vec::new(), running: None }
    }

    /// To be called before `start`.
    pub fn add(&mut self, spec: ParticipantSpec) -> Result<(), CoreError> {
        use std::os::fd::AsRawFd;
        let failed = |error: std::io::Error| CoreError::Failed(format!("socket option: {error}"));
        socket::stamp_arrivals(spec.socket.as_raw_fd()).map_err(failed)?;
        if self.options.gro {
            socket::enable_gro(spec.socket.as_raw_fd()).map_err(failed)?;
        }
        let participant = Participant::new(spec, self.waiting.len(), monotonic_ns())
            .ok_or_else(|| CoreError::BadArgument("a key has a wrong length for its profile".to_owned()))?;
        self.waiting.push(participant);
        Ok(())
    }

    pub fn start(&mut self) -> Result<(), CoreError> {
        if self.running.is_some() {
            return Err(CoreError::Refused("the generator runs already".to_owned()));
        }
        let (sender, orders) = mpsc::channel();
        let work = Loop {
            participants: std::mem::take(&mut self.waiting),
            orders,
            options: self.options,
            schedules: Default::default(),
        };
        let thread = std::thread::Builder::new()
            .name("holdspace-load".to_owned())
            .spawn(|| work.run())
            .map_err(|error| CoreError::Failed(format!("cannot start a thread: {error}")))?;
        self.running = Some((sender, thread));
        Ok(())
    }

    fn order(&self, order: Order) -> Result<(), CoreError> {
        let gone = || CoreError::Failed("the generator does not run".to_owned());
        let (sender, _) = self.running.as_ref().ok_or_else(gone)?;
        sender.send(order).map_err(|_| gone())
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
        if let Some((sender, thread)) = self.running.take() {
            let _ = sender.send(Order::Stop); // a thread that is gone needs no telling
            let _ = thread.join();
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop();
    }
}
