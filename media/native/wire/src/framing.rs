//! Frames of a byte stream, as ICE-TCP carries what UDP has datagrams for (RFC 4571 §2, RFC 6544 §3).
//!
//! ```text
//!  0                   1
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//! |            length             |  then so many bytes
//! ```

use crate::Malformed;

pub const LENGTH_BYTES: usize = 2;

/// Longest frame taken: what fits the buffer of a datagram. After a longer one the stream means nothing any more.
pub const MAX_FRAME_BYTES: usize = 2_048;

/// What goes before a frame of `len` bytes; None when its length has no place in 16 bits.
pub fn length_prefix(len: usize) -> Option<[u8; LENGTH_BYTES]> {
    u16::try_from(len).ok().map(u16::to_be_bytes)
}

/// Puts frames together again from pieces as the network cut them. Holds less than one frame between calls, if every
/// whole one is taken before the next `push`.
#[derive(Default)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// Before it: taken.
    start: usize,
}

impl Deframer {
    pub fn push(&mut self, untrusted: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(untrusted);
    }

    /// The next whole frame, empty ones left out; None: more bytes are wanted. After an error the stream is lost.
    pub fn next_untrusted_frame(&mut self) -> Result<Option<&mut [u8]>, Malformed> {
        loop {
            let Some(prefix) = self.buffer.get(self.start..self.start + LENGTH_BYTES) else {
                return Ok(None);
            };
            let len = usize::from(u16::from_be_bytes([prefix[0], prefix[1]]));
            if len > MAX_FRAME_BYTES {
                return Err(Malformed("frame longer than any of ours"));
            }
            let from = self.start + LENGTH_BYTES;
            if self.buffer.len() < from + len {
                return Ok(None);
            }
            self.start = from + len;
            if len > 0 {
                return Ok(self.buffer.get_mut(from..from + len));
            }
        }
    }

    /// Bytes of a frame that is not whole yet.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }
}
