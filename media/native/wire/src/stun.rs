//! STUN binding checks of ICE (RFC 8489, RFC 8445 §7): requests read, answers written.
//! Bounds come first, then FINGERPRINT, then the caller finds the transport by ufrag, and only then the HMAC:
//! noise costs a length check, a forged request to a known ufrag one short HMAC.
//! Must not decide anything: roles, addresses and nomination belong to the engine.
//!
//! ```text
//!  0                   1                   2                   3
//! |0 0|   message type (14)       |         length                |
//! |                  magic cookie 0x2112A442                      |
//! |                  transaction id (96 bits)                     |
//! then attributes: type (16), length (16), value padded to 4 bytes
//! ```

use crate::{Malformed, NoRoom};
use aws_lc_rs::hmac;
use std::net::SocketAddr;

pub type TransactionId = [u8; 12];

const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER_BYTES: usize = 20;
/// Longest message read. Checks of browsers are near 100 bytes; RFC 8489 §6.1 bounds them by the path MTU.
pub const MAX_MESSAGE_BYTES: usize = 1280;
const INTEGRITY_BYTES: usize = 24;
const FINGERPRINT_BYTES: usize = 8;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
    /// From here on attributes may be ignored when unknown (RFC 8489 §14).
    pub(super) const OPTIONAL_FROM: u16 = 0x8000;
}

/// The key of MESSAGE-INTEGRITY, prepared once per ICE password.
pub struct IntegrityKey(hmac::Key);

impl IntegrityKey {
    pub fn new(password: &str) -> Self {
        IntegrityKey(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()))
    }

    /// HMAC over the message up to MESSAGE-INTEGRITY, with the length field as if that were its last attribute.
    fn context(&self, message: &[u8], integrity_at: usize) -> hmac::Context {
        let counted = (integrity_at + INTEGRITY_BYTES - HEADER_BYTES) as u16;
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&message[..2]);
        context.update(&counted.to_be_bytes());
        context.update(&message[4..integrity_at]);
        context
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
    /// Checks MESSAGE-INTEGRITY in constant time.
    pub fn is_authentic(&self, key: &IntegrityKey) -> bool {
        let given = &self.message[self.integrity_at + 4..self.integrity_at + INTEGRITY_BYTES];
        let computed = key.context(self.message, self.integrity_at).sign();
        aws_lc_rs::constant_time::verify_slices_are_equal(computed.as_ref(), given).is_ok()
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    BindingRequest(BindingRequest<'a>),
    /// Keep-alive without answer (RFC 8445 §11).
    BindingIndication,
    /// An answer; an ICE-lite agent asks nothing, so only tests and load generators look at it.
    BindingResponse {
        transaction_id: TransactionId,
        success: bool,
    },
}

pub fn parse_untrusted_message(datagram: &[u8]) -> Result<Message<'_>, Malformed> {
    let fields = parse_frame(datagram)?;
    match fields.message_type {
        BINDING_REQUEST => parse_request(datagram, fields.transaction_id).map(Message::BindingRequest),
        BINDING_INDICATION => Ok(Message::BindingIndication),
        BINDING_SUCCESS | BINDING_ERROR => Ok(Message::BindingResponse {
            transaction_id: fields.transaction_id,
            success: fields.message_type == BINDING_SUCCESS,
        }),
        _ => Err(Malformed("stun method or class we do not speak")),
    }
}

struct Frame {
    message_type: u16,
    transaction_id: TransactionId,
}

fn parse_frame(datagram: &[u8]) -> Result<Frame, Malformed> {
    if datagram.len() < HEADER_BYTES || datagram.len() > MAX_MESSAGE_BYTES {
        return Err(Malformed("stun length out of bounds"));
    }
    let declared = usize::from(u16_at(datagram, 2));
    if declared + HEADER_BYTES != datagram.len() || declared % 4 != 0 {
        return Err(Malformed("stun length field"));
    }
    if u32_at(datagram, 4) != MAGIC_COOKIE {
        return Err(Malformed("stun magic cookie"));
    }
    let mut transaction_id = [0; 12];
    transaction_id.copy_from_slice(&datagram[8..20]);
    Ok(Frame { message_type: u16_at(datagram, 0), transaction_id })
}

fn parse_request(message: &[u8], transaction_id: TransactionId) -> Result<BindingRequest<'_>, Malformed> {
    check_fingerprint(message)?;
    let mut request = BindingRequest {
        message,
        integrity_at: 0,
        transaction_id,
        local_ufrag: "",
        remote_ufrag: "",
        use_candidate: false,
        priority: None,
        role: None,
        unknown_required: None,
    };
    let end = message.len() - FINGERPRINT_BYTES;
    let mut at = HEADER_BYTES;
    // Only what MESSAGE-INTEGRITY covers is believed; anything between it and FINGERPRINT is ignored (§14.5).
    while at < end && request.integrity_at == 0 {
        let (kind, value, next) = attribute_at(message, at, end)?;
        if kind == attribute::MESSAGE_INTEGRITY {
            if value.len() + 4 != INTEGRITY_BYTES {
                return Err(Malformed("stun message-integrity length"));
            }
            request.integrity_at = at;
        } else {
            read_attribute(&mut request, kind, value)?;
        }
        at = next;
    }
    if request.integrity_at == 0 {
        return Err(Malformed("stun request without message-integrity"));
    }
    if request.local_ufrag.is_empty() {
        return Err(Malformed("stun request without username"));
    }
    Ok(request)
}

fn read_attribute<'a>(request: &mut BindingRequest<'a>, kind: u16, value: &'a [u8]) -> Result<(), Malformed> {
    match kind {
        attribute::USERNAME => {
            let text = std::str::from_utf8(value).map_err(|_| Malformed("stun username text"))?;
            let (local, remote) = text.split_once(':').ok_or(Malformed("stun username without colon"))?;
            // RFC 8839 §5.4: ufrag and password are at most 256 characters.
            if local.is_empty() || local.len() > 256 || remote.len() > 256 {
                return Err(Malformed("stun username parts"));
            }
            request.local_ufrag = local;
            request.remote_ufrag = remote;
        }
        attribute::PRIORITY => request.priority = Some(u32::from_be_bytes(fixed(value)?)),
        attribute::USE_CANDIDATE => request.use_candidate = true,
        attribute::ICE_CONTROLLING => {
            request.role = Some(IceRole::Controlling(u64::from_be_bytes(fixed(value)?)));
        }
        attribute::ICE_CONTROLLED => {
            request.role = Some(IceRole::Controlled(u64::from_be_bytes(fixed(value)?)));
        }
        unknown if unknown < attribute::OPTIONAL_FROM => {
            request.unknown_required.get_or_insert(unknown);
        }
        _ => {}
    }
    Ok(())
}

fn attribute_at(message: &[u8], at: usize, end: usize) -> Result<(u16, &[u8], usize), Malformed> {
    if end - at < 4 {
        return Err(Malformed("stun attribute header"));
    }
    let len = usize::from(u16_at(message, at + 2));
    let next = at + 4 + len.next_multiple_of(4);
    if next > end {
        return Err(Malformed("stun attribute length"));
    }
    Ok((u16_at(message, at), &message[at + 4..at + 4 + len], next))
}

fn check_fingerprint(message: &[u8]) -> Result<(), Malformed> {
    let at = message.len() - FINGERPRINT_BYTES;
    if at < HEADER_BYTES || u16_at(message, at) != attribute::FINGERPRINT || u16_at(message, at + 2) != 4 {
        return Err(Malformed("stun request without fingerprint"));
    }
    if u32_at(message, at + 4) != crc32(&message[..at]) ^ FINGERPRINT_XOR {
        return Err(Malformed("stun fingerprint"));
    }
    Ok(())
}

/// Success answer with XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY and FINGERPRINT; at most 76 bytes. Returns its length.
pub fn write_binding_success(
    out: &mut [u8],
    transaction_id: &TransactionId,
    mapped: SocketAddr,
    key: &IntegrityKey,
) -> Result<usize, NoRoom> {
    let mut message = MessageWriter::new(out, BINDING_SUCCESS, transaction_id)?;
    let port = mapped.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let mut value = [0u8; 20];
    value[2..4].copy_from_slice(&port.to_be_bytes());
    let len = match mapped {
        SocketAddr::V4(v4) => {
            value[1] = 1;
            let ip = u32::from(*v4.ip()) ^ MAGIC_COOKIE;
            value[4..8].copy_from_slice(&ip.to_be_bytes());
            8
        }
        SocketAddr::V6(v6) => {
            value[1] = 2;
            let mut mask = [0u8; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(transaction_id);
            let ip = u128::from(*v6.ip()) ^ u128::from_be_bytes(mask);
            value[4..20].copy_from_slice(&ip.to_be_bytes());
            20
        }
    };
    message.attribute(attribute::XOR_MAPPED_ADDRESS, &value[..len])?;
    message.finish(Some(key))
}

/// Error answer: 400, 401, 420 (with the unknown attribute), 487. Signed when a key is given.
pub fn write_binding_error(
    out: &mut [u8],
    transaction_id: &TransactionId,
    code: u16,
    unknown_attribute: Option<u16>,
    key: Option<&IntegrityKey>,
) -> Result<usize, NoRoom> {
    let mut message = MessageWriter::new(out, BINDING_ERROR, transaction_id)?;
    let value = [0, 0, (code / 100) as u8 & 7, (code % 100) as u8];
    message.attribute(attribute::ERROR_CODE, &value)?;
    if let Some(kind) = unknown_attribute {
        message.attribute(attribute::UNKNOWN_ATTRIBUTES, &kind.to_be_bytes())?;
    }
    message.finish(key)
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

pub fn write_binding_request(out: &mut [u8], check: &CheckToSend<'_>, key: &IntegrityKey) -> Result<usize, NoRoom> {
    let mut message = MessageWriter::new(out, BINDING_REQUEST, &check.transaction_id)?;
    message.attribute(attribute::USERNAME, check.username.as_bytes())?;
    message.attribute(attribute::PRIORITY, &check.priority.to_be_bytes())?;
    match check.role {
        IceRole::Controlling(tie) => message.attribute(attribute::ICE_CONTROLLING, &tie.to_be_bytes())?,
        IceRole::Controlled(tie) => message.attribute(attribute::ICE_CONTROLLED, &tie.to_be_bytes())?,
    }
    if check.use_candidate {
        message.attribute(attribute::USE_CANDIDATE, &[])?;
    }
    message.finish(Some(key))
}

struct MessageWriter<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> MessageWriter<'b> {
    fn new(out: &'b mut [u8], kind: u16, transaction_id: &TransactionId) -> Result<Self, NoRoom> {
        let header = out.get_mut(..HEADER_BYTES).ok_or(NoRoom)?;
        header[..2].copy_from_slice(&kind.to_be_bytes());
        header[2..4].fill(0);
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(transaction_id);
        Ok(MessageWriter { out, len: HEADER_BYTES })
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> Result<(), NoRoom> {
        let padded = value.len().next_multiple_of(4);
        let space = self.out.get_mut(self.len..self.len + 4 + padded).ok_or(NoRoom)?;
        space[..2].copy_from_slice(&kind.to_be_bytes());
        space[2..4].copy_from_slice(&(value.len() as u16).to_be_bytes());
        space[4..4 + value.len()].copy_from_slice(value);
        space[4 + value.len()..].fill(0);
        self.len += 4 + padded;
        let counted = (self.len - HEADER_BYTES) as u16;
        self.out[2..4].copy_from_slice(&counted.to_be_bytes());
        Ok(())
    }

    fn finish(mut self, key: Option<&IntegrityKey>) -> Result<usize, NoRoom> {
        if let Some(key) = key {
            let tag = key.context(&self.out[..self.len], self.len).sign();
            self.attribute(attribute::MESSAGE_INTEGRITY, tag.as_ref())?;
        }
        // The checksum covers a length field that already counts FINGERPRINT itself (RFC 8489 §14.7).
        let at = self.len;
        self.attribute(attribute::FINGERPRINT, &[0; 4])?;
        let checksum = crc32(&self.out[..at]) ^ FINGERPRINT_XOR;
        self.out[at + 4..at + 8].copy_from_slice(&checksum.to_be_bytes());
        Ok(self.len)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed("stun attribute size"))
}

/// CRC-32 of ITU V.42 (reflected 0x04C11DB7), as FINGERPRINT wants it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};
