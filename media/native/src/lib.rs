//! The packet core of Holdspace: sockets, threads and the Python binding over the sans-I/O engine.
//!
//! ```text
//!   Python ── binding ── registry (ids) ──commands──▶ runtime threads ── engine (one per room) ── wire
//!      ▲                                                   │      └────── taps ──▶ journal writer
//!      └────────── events behind one eventfd ◀─────────────┘
//! ```
//!
//! `media/_forwarder.pyi` is the contract of what Python sees. Nothing here decides who may see or hear whom.

pub mod errors;
pub mod load;
pub mod node;
pub mod registry;
pub mod runtime;
pub mod sys;

#[cfg(feature = "python")]
mod binding;
