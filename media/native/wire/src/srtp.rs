//! SRTP and SRTCP (RFC 3711, RFC 7714) over aws-lc-rs; our part is indexes, replay windows and key derivation.
//! One `Inbound` and one `Outbound` per transport. State changes only after authentication.

use crate::seq::ExtSeq;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    AeadAes256Gcm,
    AeadAes128Gcm,
    AesCm128HmacSha1_80,
}

impl Profile {
    /// By the names of the DTLS-SRTP registry as `_forwarder.pyi` spells them.
    pub fn from_name(name: &str) -> Option<Profile> {
        todo!()
    }

    pub fn key_bytes(self) -> usize {
        todo!()
    }

    pub fn salt_bytes(self) -> usize {
        todo!()
    }

    /// Bytes a protected RTP packet is longer than the plain one.
    pub fn rtp_overhead(self) -> usize {
        todo!()
    }

    pub fn rtcp_overhead(self) -> usize {
        todo!()
    }
}

/// Largest growth of any packet under any profile: room a buffer must leave behind the plain packet.
pub const MAX_OVERHEAD: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrtpError {
    Malformed,
    Unauthenticated,
    /// Inbound: seen before, or older than the window of 1,024.
    Replayed,
    /// Outbound: this (SSRC, index) was used before or is too old to know. The packet must not be sent.
    IndexUsed,
    /// More SSRCs than a transport may have.
    TooManyStreams,
    NoRoom,
    /// The key has protected as many packets as its profile allows.
    Exhausted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unprotected {
    /// Length of the plain packet; its bytes are in place.
    pub len: usize,
    /// The authenticated index: rollover counter and sequence number.
    pub ext_seq: ExtSeq,
}

pub struct Inbound {}

impl Inbound {
    /// `key`: master key followed by master salt, as DTLS exported it.
    pub fn new(profile: Profile, key: &[u8]) -> Result<Inbound, BadKey> {
        todo!()
    }

    /// Authenticates and decrypts in place. `header` must have been read from `packet`.
    pub fn unprotect_rtp(
        &mut self,
        packet: &mut [u8],
        header: &crate::rtp::Header,
    ) -> Result<Unprotected, SrtpError> {
        todo!()
    }

    /// Authenticates and decrypts in place; returns the plain compound's length.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        todo!()
    }
}

pub struct Outbound {}

impl Outbound {
    pub fn new(profile: Profile, key: &[u8]) -> Result<Outbound, BadKey> {
        todo!()
    }

    /// Protects `buf[..len]` in place; `buf` needs [`MAX_OVERHEAD`] more. Returns the protected length.
    /// `ext_seq`'s low bits must be the packet's sequence number; its 48 bits are the SRTP index.
    pub fn protect_rtp(
        &mut self,
        buf: &mut [u8],
        len: usize,
        header_len: usize,
        ext_seq: ExtSeq,
    ) -> Result<usize, SrtpError> {
        todo!()
    }

    /// Protects a compound in place with our own SRTCP index. Returns the protected length.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        todo!()
    }
}
