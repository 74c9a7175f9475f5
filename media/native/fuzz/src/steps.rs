//! A room played by bytes: each step is one byte that chooses it and bytes that say how.

use crate::room::Room;

pub(crate) type Step = fn(&mut Room, &mut Input<'_>);

/// Until the bytes run out, at most `most` steps; the room is given a moment to settle.
pub(crate) fn play_steps(mut room: Room, mut input: Input<'_>, steps: &[Step], most: usize) -> Room {
    for _ in 0..most {
        if input.is_empty() {
            break;
        }
        let step = steps[usize::from(input.byte()) % steps.len()];
        step(&mut room, &mut input);
        room.flush();
    }
    room.sleep_ms(50);
    room.look();
    room
}

/// Bytes taken one after the other; zeros when they have run out.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *byte
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// As many as the next byte says, or as there are.
    pub(crate) fn slice(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.bytes.len());
        let (slice, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        slice
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }
}
