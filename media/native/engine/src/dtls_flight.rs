//! Repeats the last DTLS flight byte for byte until the peer advances: aiortc itself waits a whole second
//! (DESIGN.md §2, DTLS). Reads nothing of DTLS.

use crate::time::Time;

/// 60, 120, 240 … ms; with six repeats the last goes out 3.8 s after the flight, inside the handshake's 10 s.
const FIRST_WAIT_MS: u64 = 60;
const MAX_REPEATS: u8 = 6;

pub(crate) struct Flight {
    datagrams: Vec<Vec<u8>>,
    next_at: Time,
    wait_ms: u64,
    repeats_left: u8,
}

impl Flight {
    pub(crate) fn new(datagrams: Vec<Vec<u8>>, now: Time) -> Self {
        Flight { datagrams, next_at: now.plus_ms(FIRST_WAIT_MS), wait_ms: FIRST_WAIT_MS, repeats_left: MAX_REPEATS }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        (self.repeats_left > 0).then_some(self.next_at)
    }

    /// The datagrams to send again, if it is time.
    pub(crate) fn due(&mut self, now: Time) -> Option<&[Vec<u8>]> {
        if self.repeats_left == 0 || now < self.next_at {
            return None;
        }
        self.repeats_left -= 1;
        self.wait_ms *= 2;
        self.next_at = now.plus_ms(self.wait_ms);
        Some(&self.datagrams)
    }
}
