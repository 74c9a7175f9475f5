//! What the binding asks of a runtime thread.

use holdspace_engine::{Command, TapId, TrackId, TransportId};

use super::acceptor::HandedStream;
use crate::sys::worker_socket::WorkerSocket;

#[derive(Debug)]
pub enum ThreadCommand {
    AddRoom {
        room: u64,
    },
    RemoveRoom {
        room: u64,
    },
    Room {
        room: u64,
        command: Command,
    },
    /// `AddTap` of the engine, and where its records go.
    AddTap {
        room: u64,
        tap: TapId,
        track: TrackId,
        grant: String,
        place: TapPlace,
    },
    /// `OpenPort` of the engine, and the socket of the worker.
    OpenPort {
        room: u64,
        track: TrackId,
        socket: WorkerSocket,
    },
    ReportTransport {
        room: u64,
        transport: TransportId,
        ticket: u64,
    },
    ReportRoom {
        room: u64,
        ticket: u64,
    },
    /// An ICE-TCP connection that names a fragment of a room on this thread.
    TakeStream(HandedStream),
    /// Work off what was asked before this, send it, and end.
    Stop,
    #[cfg(test)]
    PanicInRoom {
        room: u64,
    },
    /// As if the machine had given the CPU to others.
    #[cfg(test)]
    Stall {
        milliseconds: u64,
    },
}

/// The journal and key under which a tap's records are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapPlace {
    pub journal: u64,
    pub key_id: u32,
}
