//! The engine of ONE room: every packet decision, and no I/O. No socket, clock, lock or thread; `now` is an
//! argument. Errors are bad input; a panic is our bug.
//!
//! # How the runtime drives it
//!
//! ```text
//!  recvmmsg (≤ 64 datagrams) ─▶ demux ─▶ Engine::receive(transport, path, datagram, kernel time) … ─┐
//!  command queue ─────────────────────▶ Engine::apply(command, now) ──────────────────────────────┤
//!  timer: next_deadline() has come ───▶ (flush does the timed work itself; tick alone is not needed) ┤
//!                                                                                                   ▼
//!     sendmsg (GSO) ◀─ Outputs::transmits ◀── Engine::flush(now): true = send these, then flush again
//! ```
//!
//! - One [`Outputs`] per thread is lent to every call and drained by the runtime afterwards: routes and events after
//!   any call, transmits and tap records after each `flush`. `receive` only queues; `flush` assembles and encrypts.
//!   `apply` and `tick` may queue too: flush after them.
//! - The runtime demultiplexes. STUN requests go by local ufrag, all else by source address; both tables are kept
//!   from [`Route`] outputs only. The engine checks again that a path is one it has authenticated, so a stale table
//!   entry is harmless. An unknown ufrag or address is the runtime's to drop and count.
//! - Messages for the workers of private tracks are outputs like transmits; one that the worker's socket does not take
//!   is told by [`Engine::worker_refused`], what the worker says comes by [`Engine::worker_says`].
//! - When an address moves to a transport of another room, the runtime's table entry is overwritten and the older
//!   engine is told by [`Engine::forget_path`].
//! - Ids come from Python and are unique within the process. The runtime adds the room's id to events.

mod arena;
mod assemble;
mod bwe;
mod cache;
pub mod command;
pub mod config;
mod control;
mod describe;
mod dtls_flight;
mod dump;
mod engine;
pub mod event;
mod feedback;
mod forward;
mod frames;
mod ice;
mod inbound;
mod inbound_rtcp;
mod layers;
mod nack;
pub mod output;
mod pace;
mod pacer;
mod port;
mod private;
mod rate;
mod red;
mod rewrite;
mod slot;
pub mod stats;
mod stream_in;
mod tap;
pub mod time;
mod timers;
mod track;
mod transport;

pub use command::{CodecSpec, Command, ExtensionIds, Kind, SlotId, SlotSpec, TapId, TrackId, TrackSpec, TransportId};
pub use config::EngineConfig;
pub use engine::Engine;
pub use event::{Event, IceState, PortEnd, SpokenLevel, TapEnd, TrackState};
pub use output::{Local, Outputs, Path, Route, TapKind, TapRecord, Transmit, STREAM};
pub use port::{PortCounts, MAX_PORT_MESSAGE};
pub use stats::{DelayHistogram, DropCounts, DropReason, RoomTotals, TransportStats, Value};
pub use tap::{tap_payload_type, TAP_ORIENTATION_ID};
pub use time::Time;

/// Why a command was not carried out. Mapped to `media.errors` classes by the binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineError {
    /// The transport, track, slot, tap or grant is not in this room.
    UnknownId,
    /// It is there already with other arguments.
    DuplicateId,
    /// A rule forbids it; the text says which.
    Refused(&'static str),
}

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EngineError::UnknownId => f.write_str("unknown id"),
            EngineError::DuplicateId => f.write_str("id exists with other arguments"),
            EngineError::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

impl std::error::Error for EngineError {}
