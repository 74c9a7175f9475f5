//! A fake worker at a frame port: answers each picture with one of its own, of the same time, after a while. Its
//! pictures are told from a camera's by their filling.

use holdspace_engine::{Time, TrackId};
use std::collections::VecDeque;

/// What the worker's pictures are filled with.
pub const BLURRED: u8 = 0xb1;

pub struct Worker {
    pub track: TrackId,
    /// Messages as the engine sent them.
    pub inbox: Vec<Vec<u8>>,
    /// Answers pictures; else it only reads.
    pub works: bool,
    /// Its socket is full.
    pub is_full: bool,
    pub delay_ms: u64,
    pub picture_bytes: usize,
    keyframe_wanted: bool,
    answers: VecDeque<(Time, Vec<u8>)>,
}

impl Worker {
    pub fn new(track: u64) -> Worker {
        Worker {
            track: TrackId(track),
            inbox: Vec::new(),
            works: true,
            is_full: false,
            delay_ms: 12,
            picture_bytes: 2_500,
            keyframe_wanted: true,
            answers: VecDeque::new(),
        }
    }

    /// False: the socket took it not.
    pub fn take(&mut self, message: &[u8], now: Time) -> bool {
        if self.is_full {
            return false;
        }
        self.inbox.push(message.to_vec());
        match message {
            [1, flags, _, _, time @ ..] => {
                // A decoder without its reference shows nothing.
                assert!(*flags & 2 == 0 || *flags & 1 == 1, "after a gap comes a keyframe");
                if self.works {
                    let answer = picture(time[..4].try_into().unwrap(), self.keyframe_wanted, self.picture_bytes);
                    self.keyframe_wanted = false;
                    self.answers.push_back((now.plus_ms(self.delay_ms), answer));
                }
            }
            [2] => self.keyframe_wanted = true,
            [3, 0, 0, 0, ..] => assert_eq!(message.len(), 8),
            other => panic!("no message of the contract: {other:?}"),
        }
        true
    }

    pub fn due(&mut self, now: Time) -> Vec<Vec<u8>> {
        let later = self.answers.iter().position(|(at, _)| *at > now).unwrap_or(self.answers.len());
        self.answers.drain(..later).map(|(_, answer)| answer).collect()
    }

    pub fn count(&self, kind: u8) -> usize {
        self.inbox.iter().filter(|message| message[0] == kind).count()
    }

    pub fn frames(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.inbox.iter().filter(|message| message[0] == 1)
    }

    pub fn rates(&self) -> Vec<u32> {
        let rates = self.inbox.iter().filter(|message| message[0] == 3);
        rates.map(|message| u32::from_be_bytes(message[4..8].try_into().unwrap())).collect()
    }
}

/// A FRAME of the worker; behind the VP8 header stands of which time it is.
pub fn picture(rtp_ts: [u8; 4], is_keyframe: bool, bytes: usize) -> Vec<u8> {
    let mut message = vec![1, u8::from(is_keyframe), 0, 0];
    message.extend(rtp_ts);
    message.extend([if is_keyframe { 0x10 } else { 0x11 }, 0, 0]);
    if is_keyframe {
        message.extend([0x9d, 0x01, 0x2a, 0x80, 2, 0xe0, 1]);
    }
    message.extend(rtp_ts);
    message.resize(8 + bytes, BLURRED);
    message
}

/// What `picture` wrote behind the header of a VP8 picture.
pub fn time_in(picture: &[u8]) -> u32 {
    let header_bytes = if picture[0] & 1 == 0 { 10 } else { 3 };
    u32::from_be_bytes(picture[header_bytes..header_bytes + 4].try_into().unwrap())
}
