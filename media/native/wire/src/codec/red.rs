//! Redundant audio (RFC 2198): several blocks in one packet, the newest last.
//!
//! ```text
//! |1|   block PT  |  timestamp offset (14)  |  block length (10)  |   every block but the last
//! |0|   block PT  |                                                 the last, the primary
//! ```

use crate::Malformed;

/// Browsers send one to three blocks; more is noise.
const MAX_BLOCKS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    pub payload_type: u8,
    /// How much older than the packet's timestamp; 0 for the primary block.
    pub timestamp_offset: u16,
    pub data: &'a [u8],
}

/// The primary (newest) block.
pub fn parse_untrusted_primary(payload: &[u8]) -> Result<Block<'_>, Malformed> {
    let mut primary = None;
    parse_untrusted(payload, |block| primary = Some(block))?;
    primary.ok_or(Malformed("red packet without blocks"))
}

/// Calls `visit` for each block in packet order, oldest first; nothing is visited if any block does not fit.
pub fn parse_untrusted<'a>(payload: &'a [u8], mut visit: impl FnMut(Block<'a>)) -> Result<(), Malformed> {
    let (headers_len, blocks) = measure(payload)?;
    let mut data = &payload[headers_len..];
    for header in payload[..headers_len].chunks(4).take(blocks) {
        let payload_type = header[0] & 0x7f;
        let Some([a, b, c]) = header.get(1..4).map(|rest| [rest[0], rest[1], rest[2]]) else {
            visit(Block { payload_type, timestamp_offset: 0, data });
            break;
        };
        let len = usize::from(u16::from_be_bytes([b & 0x03, c]));
        let timestamp_offset = u16::from_be_bytes([a, b]) >> 2;
        let (block, rest) = data.split_at(len);
        data = rest;
        visit(Block { payload_type, timestamp_offset, data: block });
    }
    Ok(())
}

/// Length of all headers and number of blocks, with every bound checked.
fn measure(payload: &[u8]) -> Result<(usize, usize), Malformed> {
    let mut at = 0;
    let mut data_len = 0;
    for blocks in 1..=MAX_BLOCKS {
        let head = *payload.get(at).ok_or(Malformed("red header cut short"))?;
        if head & 0x80 == 0 {
            if at + 1 + data_len > payload.len() {
                return Err(Malformed("red blocks longer than the packet"));
            }
            return Ok((at + 1, blocks));
        }
        let header = payload.get(at..at + 4).ok_or(Malformed("red header cut short"))?;
        data_len += usize::from(u16::from_be_bytes([header[2] & 0x03, header[3]]));
        at += 4;
    }
    Err(Malformed("too many red blocks"))
}

/// Replaces each block's payload type in place by `map(old)`; where that is None the packet stays as it was.
pub fn rewrite_payload_types(payload: &mut [u8], map: impl Fn(u8) -> Option<u8>) -> Result<(), Malformed> {
    let (headers_len, _) = measure(payload)?;
    let heads = || (0..headers_len).step_by(4);
    if heads().any(|at| map(payload[at] & 0x7f).is_none()) {
        return Err(Malformed("red block of an unknown payload type"));
    }
    for at in heads() {
        let new = map(payload[at] & 0x7f).unwrap_or(0);
        payload[at] = payload[at] & 0x80 | new & 0x7f;
    }
    Ok(())
}
