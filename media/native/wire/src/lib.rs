//! Packets as bytes: what arrives from strangers is read here, what leaves is written here.
//!
//! Place in the flow: the runtime hands a datagram to [`demux`], the engine reads it with [`stun`], [`srtp`],
//! [`rtp`], [`rtcp`] and [`codec`] and writes its answers with the same modules.
//! Nothing here has a socket, a clock, a lock or a thread, and no input makes it panic: functions with `untrusted`
//! in their name answer every byte string with a value or [`Malformed`].

pub mod codec;
pub mod demux;
pub mod framing;
pub mod rtcp;
pub mod rtp;
pub mod seq;
pub mod srtp;
pub mod stun;

/// The one error of every parser here: the bytes are not what they claim to be. The text is for logs and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// The output buffer given to a writer is too small for what it was asked to write; nothing of it may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("output buffer too small")
    }
}

impl std::error::Error for NoRoom {}
