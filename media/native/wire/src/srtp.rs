//! SRTP and SRTCP (RFC 3711, RFC 7714) over aws-lc-rs; our part is indexes, replay windows and key derivation.
//! One `Inbound` and one `Outbound` per transport. Rollover counters and windows change only after authentication.
//! Must not send: a refused index (`IndexUsed`) means the caller drops the packet, because AES-GCM under a repeated
//! nonce gives its key away (DESIGN.md §2, "One index, one packet").

mod cipher;
mod window;

use crate::rtp;
use crate::seq::{ExtSeq, Seq};
use cipher::SessionCipher;
pub use cipher::{BadKey, Profile};
use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use window::{Verdict, Window};

/// Largest growth of any packet under any profile: room a buffer must leave behind the plain packet.
pub const MAX_OVERHEAD: usize = 20;

/// SSRCs one direction of a transport may have. More costs memory an authenticated peer could fill; 6 audio and 24
/// video slots with their RTX streams need 60.
const MAX_STREAMS: usize = 256;

/// SRTCP's index has 31 bits (RFC 3711 §3.4); the top bit says "encrypted".
const SRTCP_ENCRYPTED: u32 = 0x8000_0000;
const MAX_SRTCP_INDEX: u32 = 0x7fff_ffff;
const MAX_RTP_INDEX: u64 = (1 << 48) - 1;
/// RTCP's first eight bytes (header and sender SSRC) stay readable.
const RTCP_CLEAR_BYTES: usize = 8;

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
    /// The index space under this key is used up.
    Exhausted,
}

impl std::fmt::Display for SrtpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "srtp: {self:?}")
    }
}

impl std::error::Error for SrtpError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unprotected {
    /// Length of the plain packet; its bytes are in place.
    pub len: usize,
    /// The authenticated index: rollover counter and sequence number.
    pub ext_seq: ExtSeq,
}

/// SSRCs are random numbers already and their count is bounded: one multiplication spreads them enough.
#[derive(Default)]
struct SsrcHasher(u64);

impl Hasher for SsrcHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, ssrc: u32) {
        self.0 = (self.0 ^ u64::from(ssrc)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

type Streams = HashMap<u32, Window, BuildHasherDefault<SsrcHasher>>;

/// What the peer sends.
pub struct Inbound {
    rtp: SessionCipher,
    rtcp: SessionCipher,
    rtp_streams: Streams,
    rtcp_streams: Streams,
}

impl Inbound {
    /// `key`: master key followed by master salt, as DTLS exported it.
    pub fn new(profile: Profile, key: &[u8]) -> Result<Inbound, BadKey> {
        let (rtp, rtcp) = SessionCipher::derive_pair(profile, key)?;
        Ok(Inbound { rtp, rtcp, rtp_streams: Streams::default(), rtcp_streams: Streams::default() })
    }

    /// Authenticates and decrypts in place. `header` must have been read from `packet`.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], header: &rtp::Header) -> Result<Unprotected, SrtpError> {
        if header.header_len + self.rtp.rtp_overhead() > packet.len() {
            return Err(SrtpError::Malformed);
        }
        let known = self.rtp_streams.get(&header.ssrc);
        if known.is_none() && self.rtp_streams.len() >= MAX_STREAMS {
            return Err(SrtpError::TooManyStreams);
        }
        let index = guess_index(known, header.seq);
        if index > MAX_RTP_INDEX {
            return Err(SrtpError::Exhausted);
        }
        if known.is_some_and(|window| window.check(index) != Verdict::Fresh) {
            return Err(SrtpError::Replayed);
        }
        let len = self.rtp.open_rtp(packet, header.header_len, header.ssrc, index)?;
        self.rtp_streams.entry(header.ssrc).or_default().accept(index);
        Ok(Unprotected { len, ext_seq: ExtSeq(index) })
    }

    /// Authenticates and decrypts in place; returns the plain compound's length.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        if packet.len() < RTCP_CLEAR_BYTES + self.rtcp.rtcp_overhead() {
            return Err(SrtpError::Malformed);
        }
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let word_at = packet.len() - self.rtcp.rtcp_word_from_end();
        let word = u32::from_be_bytes([packet[word_at], packet[word_at + 1], packet[word_at + 2], packet[word_at + 3]]);
        // DTLS-SRTP negotiates encryption for both; unencrypted SRTCP has no honest sender here.
        if word & SRTCP_ENCRYPTED == 0 {
            return Err(SrtpError::Unauthenticated);
        }
        let known = self.rtcp_streams.get(&ssrc);
        if known.is_none() && self.rtcp_streams.len() >= MAX_STREAMS {
            return Err(SrtpError::TooManyStreams);
        }
        let index = word & MAX_SRTCP_INDEX;
        if known.is_some_and(|window| window.check(u64::from(index)) != Verdict::Fresh) {
            return Err(SrtpError::Replayed);
        }
        let len = self.rtcp.open_rtcp(packet, ssrc, index)?;
        self.rtcp_streams.entry(ssrc).or_default().accept(u64::from(index));
        Ok(len)
    }
}

/// RFC 3711 §3.3.1 and appendix A: the rollover counter that puts the packet nearest to the newest one.
fn guess_index(known: Option<&Window>, seq: Seq) -> u64 {
    match known.and_then(Window::newest) {
        Some(newest) => ExtSeq(newest).nearest(seq).0,
        None => u64::from(seq.0),
    }
}

/// What we send.
pub struct Outbound {
    rtp: SessionCipher,
    rtcp: SessionCipher,
    streams: Streams,
    /// One index for all our SSRCs: unique per SSRC, as the nonce needs it, and simple.
    next_rtcp_index: u32,
}

impl Outbound {
    pub fn new(profile: Profile, key: &[u8]) -> Result<Outbound, BadKey> {
        let (rtp, rtcp) = SessionCipher::derive_pair(profile, key)?;
        Ok(Outbound { rtp, rtcp, streams: Streams::default(), next_rtcp_index: 1 })
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
        if header_len < rtp::FIXED_HEADER_BYTES || header_len > len {
            return Err(SrtpError::Malformed);
        }
        if len + self.rtp.rtp_overhead() > buf.len() {
            return Err(SrtpError::NoRoom);
        }
        if u16::from_be_bytes([buf[2], buf[3]]) != ext_seq.seq().0 {
            return Err(SrtpError::Malformed);
        }
        if ext_seq.0 > MAX_RTP_INDEX {
            return Err(SrtpError::Exhausted);
        }
        let ssrc = u32::from_be_bytes([buf[8], buf[9], buf[10], buf[11]]);
        let full = self.streams.len() >= MAX_STREAMS;
        let window = match self.streams.entry(ssrc) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return Err(SrtpError::TooManyStreams),
            Entry::Vacant(entry) => entry.insert(Window::default()),
        };
        if window.check(ext_seq.0) != Verdict::Fresh {
            return Err(SrtpError::IndexUsed);
        }
        // Taken before sealing: should sealing fail half-way, the index is spent all the same.
        window.accept(ext_seq.0);
        self.rtp.seal_rtp(buf, len, header_len, ssrc, ext_seq.0)
    }

    /// Protects a compound in place with our own SRTCP index. Returns the protected length.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        if len < RTCP_CLEAR_BYTES {
            return Err(SrtpError::Malformed);
        }
        if len + self.rtcp.rtcp_overhead() > buf.len() {
            return Err(SrtpError::NoRoom);
        }
        let index = self.next_rtcp_index;
        if index > MAX_SRTCP_INDEX {
            return Err(SrtpError::Exhausted);
        }
        self.next_rtcp_index += 1;
        let ssrc = u32::from_be_bytes([buf[4], buf[5], buf[6], buf[7]]);
        self.rtcp.seal_rtcp(buf, len, ssrc, index)
    }
}
