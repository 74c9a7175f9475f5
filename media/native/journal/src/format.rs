//! The file's layout and how chunks are sealed. No file, no thread: bytes in, bytes out.
//!
//! ```text
//! preamble   magic "HSJRNL" 00 01 (8) | file id (16, random) | header length (4) | header
//! chunk      "HSCK" (4) | key id (4) | chunk number (8) | sealed length (4) | ciphertext and tag
//! record     kind (1) | codec (1) | length (2) | tap (8) | arrival µs (8) | payload
//! ```
//! All numbers are big-endian. A chunk's key is HKDF-SHA256(key, salt = file id, info = "holdspace journal" ‖ key
//! id), its nonce the chunk number, which no other chunk of the file has: so no nonce repeats under one key, even if
//! a caller gives the same key to two files or two ids. Its additional data is SHA-256 of the preamble followed by
//! the chunk's header, so chunks cannot be moved between files, reordered or left out of the middle unnoticed.

use crate::{JournalError, Record};
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM};
use aws_lc_rs::digest::{digest, SHA256};
use aws_lc_rs::hkdf;

pub(crate) const FILE_ID_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"HSJRNL\x00\x01";
const CHUNK_MAGIC: [u8; 4] = *b"HSCK";
const CHUNK_HEADER_BYTES: usize = 20;
const TAG_BYTES: usize = 16;
const KEY_INFO: &[u8] = b"holdspace journal";

pub(crate) const RECORD_HEADER_BYTES: usize = 20;
const SENDER_REPORT_BYTES: usize = 16;

mod kind {
    pub(super) const RTP: u8 = 1;
    pub(super) const SENDER_REPORT: u8 = 2;
    pub(super) const EVENT: u8 = 3;
    /// Last record of a journal that was closed and not cut.
    pub(super) const END: u8 = 4;
}

pub(crate) fn preamble(file_id: &[u8; FILE_ID_BYTES], header: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28 + header.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(file_id);
    bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
    bytes.extend_from_slice(header);
    bytes
}

/// Everything that seals one file's chunks but the keys.
pub(crate) struct Sealer {
    file_id: [u8; FILE_ID_BYTES],
    preamble_hash: [u8; 32],
    next_chunk: u64,
}

impl Sealer {
    pub(crate) fn new(file_id: [u8; FILE_ID_BYTES], preamble: &[u8]) -> Self {
        let mut preamble_hash = [0; 32];
        preamble_hash.copy_from_slice(digest(&SHA256, preamble).as_ref());
        Sealer { file_id, preamble_hash, next_chunk: 0 }
    }

    pub(crate) fn derive_key(&self, key_id: u32, key: &[u8]) -> Result<LessSafeKey, JournalError> {
        let refused = |_| JournalError::Refused("key derivation failed");
        let info = [KEY_INFO, &key_id.to_be_bytes()];
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &self.file_id).extract(key);
        let mut bytes = [0; 32];
        derived.expand(&info, &AES_256_GCM).and_then(|okm| okm.fill(&mut bytes)).map_err(refused)?;
        UnboundKey::new(&AES_256_GCM, &bytes).map(LessSafeKey::new).map_err(refused)
    }

    /// Turns the records in `plain` into one chunk appended to `out`; `plain` is empty afterwards.
    pub(crate) fn seal(
        &mut self,
        key_id: u32,
        key: &LessSafeKey,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
        let number = self.next_chunk;
        self.next_chunk += 1;
        let mut aad = [0; 32 + CHUNK_HEADER_BYTES];
        aad[..32].copy_from_slice(&self.preamble_hash);
        let header = &mut aad[32..];
        header[..4].copy_from_slice(&CHUNK_MAGIC);
        header[4..8].copy_from_slice(&key_id.to_be_bytes());
        header[8..16].copy_from_slice(&number.to_be_bytes());
        header[16..].copy_from_slice(&((plain.len() + TAG_BYTES) as u32).to_be_bytes());
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&aad), plain)
            .map_err(|_| JournalError::Refused("sealing failed"))?;
        out.extend_from_slice(&aad[32..]);
        out.extend_from_slice(plain);
        out.extend_from_slice(tag.as_ref());
        plain.clear();
        Ok(())
    }
}

impl Record<'_> {
    pub(crate) fn encoded_len(&self) -> usize {
        RECORD_HEADER_BYTES
            + match self {
                Record::Rtp { packet, .. } => packet.len(),
                Record::SenderReport { .. } => SENDER_REPORT_BYTES,
            }
    }

    pub(crate) fn arrival_us(&self) -> u64 {
        match self {
            Record::Rtp { arrival_us, .. } | Record::SenderReport { arrival_us, .. } => *arrival_us,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Rtp { tap, codec, arrival_us, packet } => {
                encode_header(out, kind::RTP, codec, packet.len(), tap, arrival_us);
                out.extend_from_slice(packet);
            }
            Record::SenderReport { tap, arrival_us, ssrc, ntp_time, rtp_ts } => {
                encode_header(out, kind::SENDER_REPORT, 0, SENDER_REPORT_BYTES, tap, arrival_us);
                out.extend_from_slice(&ssrc.to_be_bytes());
                out.extend_from_slice(&ntp_time.to_be_bytes());
                out.extend_from_slice(&rtp_ts.to_be_bytes());
            }
        }
    }
}

pub(crate) fn encode_event(out: &mut Vec<u8>, arrival_us: u64, event: &[u8]) {
    encode_header(out, kind::EVENT, 0, event.len(), 0, arrival_us);
    out.extend_from_slice(event);
}

pub(crate) fn encode_end(out: &mut Vec<u8>) {
    encode_header(out, kind::END, 0, 0, 0, 0);
}

fn encode_header(out: &mut Vec<u8>, kind: u8, codec: u8, len: usize, tap: u64, arrival_us: u64) {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[0] = kind;
    header[1] = codec;
    header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    header[4..12].copy_from_slice(&tap.to_be_bytes());
    header[12..].copy_from_slice(&arrival_us.to_be_bytes());
    out.extend_from_slice(&header);
}
