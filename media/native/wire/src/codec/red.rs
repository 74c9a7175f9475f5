//! Redundant audio (RFC 2198): several blocks in one packet, the newest last.

use crate::Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    pub payload_type: u8,
    /// How much older than the packet's timestamp; 0 for the primary block.
    pub timestamp_offset: u16,
    pub data: &'a [u8],
}

/// The primary (newest) block.
pub fn parse_untrusted_primary(payload: &[u8]) -> Result<Block<'_>, Malformed> {
    todo!()
}

/// Calls `visit` for each block in packet order, oldest first.
pub fn parse_untrusted<'a>(payload: &'a [u8], visit: impl FnMut(Block<'a>)) -> Result<(), Malformed> {
    todo!()
}

/// Replaces each block's payload type in place by `map(old)`; None leaves the packet unchanged as malformed.
pub fn rewrite_payload_types(
    payload: &mut [u8],
    map: impl Fn(u8) -> Option<u8>,
) -> Result<(), Malformed> {
    todo!()
}
