//! STUN binding checks of ICE (RFC 8489, RFC 8445 §7): requests read, answers written.
//! Bounds come first, then FINGERPRINT, then the caller finds the transport by ufrag, and only then the HMAC.
//! Must not decide anything: roles, addresses and nomination belong to the engine.

use crate::{Malformed, NoRoom};
use std::net::SocketAddr;

pub type TransactionId = [u8; 12];

/// The key of MESSAGE-INTEGRITY, prepared once per ICE password.
pub struct IntegrityKey(aws_lc_rs::hmac::Key);

impl IntegrityKey {
    pub fn new(password: &str) -> Self {
        todo!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceRole {
    Controlling(u64),
    Controlled(u64),
}

/// A binding request whose framing and FINGERPRINT hold; not yet authenticated.
#[derive(Debug, Clone, Copy)]
pub struct BindingRequest<'a> {
    message: &'a [u8],
    integrity_at: usize,
    pub transaction_id: TransactionId,
    /// USERNAME is `local_ufrag:remote_ufrag` as seen by its receiver, us.
    pub local_ufrag: &'a str,
    pub remote_ufrag: &'a str,
    pub use_candidate: bool,
    pub priority: Option<u32>,
    pub role: Option<IceRole>,
    /// First comprehension-required attribute we do not know: answer 420 (RFC 8489 §6.3.1).
    pub unknown_required: Option<u16>,
}

impl BindingRequest<'_> {
    /// Checks MESSAGE-INTEGRITY in constant time, without allocation.
    pub fn is_authentic(&self, key: &IntegrityKey) -> bool {
        todo!()
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    BindingRequest(BindingRequest<'a>),
    /// Keep-alive without answer (RFC 8445 §11).
    BindingIndication,
    /// An answer; an ICE-lite agent asks nothing, so only tests and load generators look at it.
    BindingResponse { transaction_id: TransactionId, success: bool },
}

pub fn parse_untrusted_message(datagram: &[u8]) -> Result<Message<'_>, Malformed> {
    todo!()
}

/// Success answer with XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY and FINGERPRINT; at most 80 bytes. Returns its length.
pub fn write_binding_success(
    out: &mut [u8],
    transaction_id: &TransactionId,
    mapped: SocketAddr,
    key: &IntegrityKey,
) -> Result<usize, NoRoom> {
    todo!()
}

/// Error answer: 400, 401, 420 (with the unknown attribute), 487. Signed when a key is given.
pub fn write_binding_error(
    out: &mut [u8],
    transaction_id: &TransactionId,
    code: u16,
    unknown_attribute: Option<u16>,
    key: Option<&IntegrityKey>,
) -> Result<usize, NoRoom> {
    todo!()
}

/// What a full ICE agent sends; here for tests and load generators.
pub struct CheckToSend<'a> {
    pub transaction_id: TransactionId,
    /// `remote_ufrag:local_ufrag` from the sender's side.
    pub username: &'a str,
    pub priority: u32,
    pub use_candidate: bool,
    pub role: IceRole,
}

pub fn write_binding_request(
    out: &mut [u8],
    check: &CheckToSend<'_>,
    key: &IntegrityKey,
) -> Result<usize, NoRoom> {
    todo!()
}
