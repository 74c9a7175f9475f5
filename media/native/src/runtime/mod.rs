//! The I/O around the engines: N threads, each with its own sockets, rooms and tables (DESIGN.md §2, Threads).
//!
//! Place in the flow: the binding sends commands here and reads events and counters; everything between a received
//! datagram and a sent one happens on one thread without a lock.

pub mod acceptor;
pub mod command;
pub mod counters;
pub mod events;

mod demux;
mod orders;
mod outbox;
mod ports;
mod reports;
mod room;
mod streams;
mod thread;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use holdspace_engine::EngineConfig;
use holdspace_journal::{JournalNotice, JournalWriter};

use crate::errors::{panic_message, CoreError};
use crate::sys::clock;
use crate::sys::socket::{enable_gro, UdpSocket};
use crate::sys::tcp;
use crate::sys::wake::Wake;
use acceptor::{FindThread, FrontDoor};
use command::ThreadCommand;
use counters::{Published, ThreadCounts};
use events::{EventQueue, Notice};
use outbox::Outbox;
use ports::Ports;
use reports::Reports;
use streams::Streams;
use thread::{Worker, WorkerParts};

#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    pub threads: usize,
    pub bind: Vec<IpAddr>,
    pub udp_port: u16,
    /// Where ICE-TCP listens; None: nowhere. 0: on `udp_port`.
    pub tcp_port: Option<u16>,
    /// Send runs of datagrams as one, and take them so.
    pub gso: bool,
    pub socket_buffer_bytes: usize,
    pub engine: EngineConfig,
}

/// Of one thread.
struct Sockets {
    outboxes: Vec<Outbox>,
    reports: Reports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundAddress {
    pub thread: usize,
    pub address: SocketAddr,
    pub receive_buffer_bytes: usize,
}

/// What a thread shares with the rest of the node.
struct ThreadShared {
    wake: Wake,
    /// The thread's wake-up has been given and not yet taken.
    is_signalled: AtomicBool,
    events: EventQueue,
    published: Published,
}

/// The way to a runtime thread.
#[derive(Clone)]
struct Mailbox {
    shared: Arc<ThreadShared>,
    commands: Sender<ThreadCommand>,
}

impl Mailbox {
    /// Queues a command and wakes the thread; never waits for it. False: the thread is gone.
    fn send(&self, command: ThreadCommand) -> bool {
        let is_there = self.commands.send(command).is_ok();
        if is_there && !self.shared.is_signalled.swap(true, Ordering::AcqRel) {
            self.shared.wake.wake();
        }
        is_there
    }
}

struct ThreadHandle {
    mailbox: Mailbox,
    joiner: Mutex<Option<JoinHandle<()>>>,
}

pub struct Runtime {
    threads: Vec<ThreadHandle>,
    addresses: Vec<BoundAddress>,
    tcp_addresses: Vec<SocketAddr>,
    front_door: Mutex<Option<FrontDoor>>,
    wake: Arc<Wake>,
    announced: Arc<AtomicBool>,
    journal_events: Arc<EventQueue>,
    pub journals: JournalWriter,
}

impl Runtime {
    /// Binds every socket before the first thread starts: an address that cannot be had is an error here.
    /// `find` tells the acceptor of ICE-TCP which thread has the room of a fragment.
    pub fn start(mut options: RuntimeOptions, find: FindThread) -> Result<Self, CoreError> {
        let failed = |what: &str, error: std::io::Error| CoreError::Failed(format!("{what}: {error}"));
        options.engine.wall_offset_us = wall_offset_us();
        let wake = Arc::new(Wake::new().map_err(|error| failed("eventfd", error))?);
        let announced = Arc::new(AtomicBool::new(false));
        let journal_events = Arc::new(EventQueue::new(wake.clone(), announced.clone()));
        let notices = journal_events.clone();
        let journals = JournalWriter::start(move |notice| tell_journal(&notices, notice))
            .map_err(|error| failed("journal writer", error))?;
        let mut runtime = Self {
            threads: Vec::new(),
            addresses: Vec::new(),
            tcp_addresses: Vec::new(),
            front_door: Mutex::new(None),
            wake,
            announced,
            journal_events,
            journals,
        };
        let mut sockets = Vec::new();
        for index in 0..options.threads {
            sockets.push(runtime.bind(&options, index)?);
        }
        let listeners = runtime.listen(&options)?;
        for (index, sockets) in sockets.into_iter().enumerate() {
            let handle = runtime.spawn(&options, index, sockets)?;
            runtime.threads.push(handle);
        }
        if !listeners.is_empty() {
            let mailboxes = runtime.threads.iter().map(|thread| thread.mailbox.clone()).collect();
            let opened = FrontDoor::open(listeners, mailboxes, find).map_err(|error| failed("ICE-TCP", error))?;
            runtime.front_door = Mutex::new(Some(opened));
        }
        Ok(runtime)
    }

    /// One ICE-TCP port for all threads: a network that lets 443 through lets nothing else through.
    fn listen(&mut self, options: &RuntimeOptions) -> Result<Vec<TcpListener>, CoreError> {
        let Some(wanted) = options.tcp_port else {
            return Ok(Vec::new());
        };
        let port = if wanted == 0 { options.udp_port } else { wanted };
        let mut listeners = Vec::new();
        for ip in &options.bind {
            let address = SocketAddr::new(*ip, port);
            let listener = match tcp::listen(address) {
                Ok(listener) => listener,
                Err(error) if is_missing_family(&error) && ip.is_unspecified() && options.bind.len() > 1 => continue,
                Err(error) => return Err(CoreError::Failed(format!("cannot listen on TCP {address}: {error}"))),
            };
            self.tcp_addresses.extend(listener.local_addr());
            listeners.push(listener);
        }
        Ok(listeners)
    }

    fn bind(&mut self, options: &RuntimeOptions, index: usize) -> Result<Sockets, CoreError> {
        let port = match options.udp_port {
            0 => 0,
            first => u16::try_from(usize::from(first) + index)
                .map_err(|_| CoreError::BadArgument("udp_port + threads exceeds 65535".to_owned()))?,
        };
        let (mut outboxes, mut reports) = (Vec::new(), Vec::new());
        for ip in &options.bind {
            let address = SocketAddr::new(*ip, port);
            let socket = match UdpSocket::open(address, options.socket_buffer_bytes) {
                Ok(socket) => socket,
                Err(error) if is_missing_family(&error) && ip.is_unspecified() && options.bind.len() > 1 => continue,
                Err(error) => return Err(CoreError::Failed(format!("cannot bind {address}: {error}"))),
            };
            self.addresses.push(BoundAddress {
                thread: index,
                address: socket.local(),
                receive_buffer_bytes: socket.receive_buffer_bytes(),
            });
            // Where the kernel can't sort, RTCP comes by the same socket as everything else.
            let second = socket.split_rtcp(options.socket_buffer_bytes).ok();
            for socket in [&socket].into_iter().chain(&second).filter(|_| options.gso) {
                let _ = enable_gro(socket.raw()); // refused: datagrams come one by one
            }
            reports.extend(second.map(|second| (outboxes.len(), second)));
            outboxes.push(Outbox::new(socket, options.gso));
        }
        if outboxes.is_empty() {
            return Err(CoreError::Failed("no address could be bound".to_owned()));
        }
        Ok(Sockets { outboxes, reports: Reports::new(reports) })
    }

    fn spawn(&self, options: &RuntimeOptions, index: usize, sockets: Sockets) -> Result<ThreadHandle, CoreError> {
        let (commands, receiver) = mpsc::channel();
        let shared = Arc::new(ThreadShared {
            wake: Wake::new().map_err(|error| CoreError::Failed(format!("eventfd: {error}")))?,
            is_signalled: AtomicBool::new(false),
            events: EventQueue::new(self.wake.clone(), self.announced.clone()),
            published: Published::default(),
        });
        let streams = Streams::new().map_err(|error| CoreError::Failed(format!("epoll: {error}")))?;
        let ports = Ports::new().map_err(|error| CoreError::Failed(format!("epoll: {error}")))?;
        let parts = WorkerParts {
            index,
            streams,
            ports,
            shared: shared.clone(),
            commands: receiver,
            config: options.engine.clone(),
            outboxes: sockets.outboxes,
            reports: sockets.reports,
            sink: self.journals.sink(),
        };
        let events = shared.clone();
        let joiner = std::thread::Builder::new()
            .name(format!("holdspace-rt{index}"))
            .spawn(move || {
                let mut worker = Worker::new(parts);
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| worker.run())) {
                    let message = panic_message(&*payload);
                    events.events.push(Notice::ThreadFailed { thread: index, message });
                }
            })
            .map_err(|error| CoreError::Failed(format!("cannot start a thread: {error}")))?;
        Ok(ThreadHandle { mailbox: Mailbox { shared, commands }, joiner: Mutex::new(Some(joiner)) })
    }

    pub fn event_fd(&self) -> std::os::fd::RawFd {
        self.wake.raw()
    }

    pub fn addresses(&self) -> &[BoundAddress] {
        &self.addresses
    }

    /// Where ICE-TCP listens.
    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        &self.tcp_addresses
    }

    /// ICE-TCP connections there are, and how many were refused or left without saying whose they are.
    pub fn tcp_counts(&self) -> (usize, u64) {
        let front_door = self.front_door.lock().unwrap_or_else(PoisonError::into_inner);
        front_door.as_ref().map_or((0, 0), FrontDoor::counts)
    }

    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    /// Whether it still works off commands: a thread whose socket broke, or that panicked, does not.
    pub fn is_alive(&self, thread: usize) -> bool {
        let joiner = self.threads.get(thread).map(|handle| &handle.joiner);
        joiner.is_some_and(|joiner| {
            let joiner = joiner.lock().unwrap_or_else(PoisonError::into_inner);
            joiner.as_ref().is_some_and(|joiner| !joiner.is_finished())
        })
    }

    pub fn counts(&self) -> Vec<ThreadCounts> {
        self.threads.iter().map(|thread| thread.mailbox.shared.published.read()).collect()
    }

    /// Queues a command and wakes the thread; never waits for it.
    pub fn send(&self, thread: usize, command: ThreadCommand) -> Result<(), CoreError> {
        let is_there = self.threads.get(thread).is_some_and(|handle| handle.mailbox.send(command));
        is_there.then_some(()).ok_or_else(|| CoreError::Failed(format!("runtime thread {thread} is gone")))
    }

    /// All waiting notices, in order per room; clears the eventfd first, so that a later one wakes again.
    pub fn take_events(&self) -> Vec<Notice> {
        self.wake.clear();
        self.announced.store(false, Ordering::Release);
        let mut notices = self.journal_events.take();
        for thread in &self.threads {
            notices.extend(thread.mailbox.shared.events.take());
        }
        notices
    }

    /// Lets the threads work off their commands, joins them, and seals what their taps wrote. Safe to call twice.
    pub fn stop(&self) {
        *self.front_door.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for thread in 0..self.threads.len() {
            let _ = self.send(thread, ThreadCommand::Stop); // a thread that is gone needs no telling
        }
        for thread in &self.threads {
            let joiner = thread.joiner.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(joiner) = joiner {
                let _ = joiner.join(); // its panic, if any, has been told as an event
            }
        }
        self.journals.shutdown();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The machine has no addresses of this family: a wildcard of it stands for nothing, which is no failure.
fn is_missing_family(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn tell_journal(events: &EventQueue, notice: JournalNotice) {
    events.push(match notice {
        JournalNotice::Synced { journal, bytes } => Notice::JournalSynced { journal, bytes },
        JournalNotice::Failed { journal, why } => Notice::JournalFailed { journal, why },
        JournalNotice::Closed { journal } => Notice::JournalClosed { journal },
        JournalNotice::Overflowed { records, .. } => Notice::Dropped { count: records },
    });
}

/// Unix time in µs at the engine's `Time(0)`.
fn wall_offset_us() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (wall.as_micros() as u64).saturating_sub(clock::monotonic_ns() / 1_000)
}

#[cfg(test)]
mod port_tests;
#[cfg(test)]
mod tests;
