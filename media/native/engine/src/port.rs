//! The frame port of one private track: the messages to and from the worker that makes its pictures fit to be seen,
//! and what has to be remembered between them. The worker reads pictures of strangers: what it writes is untrusted.
//!
//! ```text
//!  FRAME     1  flags (1 keyframe, 2 discontinuity)  orientation  0  RTP time (4)  one whole VP8 picture
//!  KEYFRAME  2
//!  RATE      3  0 0 0  bits per second (4)            to the worker only
//!  GAP       4                                        from the worker only
//! ```

use crate::frames::{Frame, Frames};
use crate::stream_in::StreamIn;
use crate::time::Time;
use holdspace_wire::codec::vp8;
use holdspace_wire::Malformed;
use std::collections::VecDeque;

/// Larger messages are no pictures; also the size of the runtime's buffer.
pub const MAX_PORT_MESSAGE: usize = 1024 * 1024;

pub(crate) const FRAME: u8 = 1;
pub(crate) const KEYFRAME: u8 = 2;
pub(crate) const RATE: u8 = 3;
pub(crate) const GAP: u8 = 4;

const FRAME_HEAD: usize = 8;
const IS_KEYFRAME: u8 = 1;
const DISCONTINUITY: u8 = 2;
/// Pictures in the worker's hands; it keeps only the newest, so that older ones never come back.
const MAX_GIVEN: usize = 64;

/// Encoders adjust with every change: no smaller steps, and not more often.
const RATE_STEP: f64 = 0.15;
const RATE_EVERY_US: u64 = 2_000_000;
/// While no subscriber's share is known: what a camera sends at 640×480.
const DEFAULT_BPS: u64 = 1_200_000;
const LEAST_BPS: u64 = 100_000;
const MOST_BPS: u64 = 2_500_000;

/// Index of the worker's pictures among a track's layers: behind every encoding a publisher can send.
pub(crate) const BLURRED: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An ordinary track that was, or may become, private.
    Off,
    On,
    /// To be ended by the next keyframe of the camera.
    Ending,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::On => "on",
            Mode::Ending => "ending",
        }
    }
}

/// What makes a track private, and what is shown instead.
pub(crate) struct Privacy {
    pub(crate) mode: Mode,
    /// The worker's pictures, as packets.
    pub(crate) blurred: StreamIn,
    pub(crate) next_seq: u64,
    pub(crate) picture_id: u16,
    pub(crate) port: Option<Port>,
}

#[derive(Default)]
pub(crate) struct Port {
    /// The encoding (layer, stream key) whose pictures the worker gets.
    pub(crate) source: Option<(usize, u64)>,
    pub(crate) frames: Frames,
    /// Timestamps of pictures that may still come back, oldest first.
    given: VecDeque<u32>,
    told_bps: Option<u64>,
    told_at: Time,
}

/// Counted per room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortCounts {
    pub frames_to_worker: u64,
    /// Whole pictures that did not reach the worker, or whose return found nobody to be shown to.
    pub frames_dropped: u64,
    pub frames_from_worker: u64,
    pub bad_port_messages: u64,
}

impl PortCounts {
    pub fn add(&mut self, other: &PortCounts) {
        self.frames_to_worker += other.frames_to_worker;
        self.frames_dropped += other.frames_dropped;
        self.frames_from_worker += other.frames_from_worker;
        self.bad_port_messages += other.bad_port_messages;
    }
}

impl Privacy {
    pub(crate) fn new(stream_key: u64) -> Privacy {
        let blurred = StreamIn::new(stream_key, 0, None);
        Privacy { mode: Mode::Off, blurred, next_seq: 1, picture_id: 0, port: None }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Pictures of another encoder or clock follow: consumers begin anew, at a keyframe.
    pub(crate) fn restart(&mut self, stream_key: u64) {
        self.blurred = StreamIn::new(stream_key, 0, None);
    }
}

impl Port {
    /// Every picture handed out so far is forgotten.
    pub(crate) fn lose(&mut self) {
        self.frames.lose();
        self.given.clear();
    }

    pub(crate) fn note_given(&mut self, rtp_ts: u32) {
        if self.given.len() >= MAX_GIVEN {
            self.given.pop_front();
        }
        self.given.push_back(rtp_ts);
    }

    /// Whether a picture of this time was handed out and none as new has come back.
    pub(crate) fn take_back(&mut self, rtp_ts: u32) -> bool {
        let at = self.given.iter().position(|given| *given == rtp_ts);
        at.map(|at| self.given.drain(..=at)).is_some()
    }

    pub(crate) fn given(&self) -> usize {
        self.given.len()
    }

    /// When the worker is to be told a rate; `now`: at once.
    pub(crate) fn rate_deadline(&self, shares: impl Iterator<Item = u64>, now: Time) -> Option<(Time, u64)> {
        let wanted = shares.min().unwrap_or(DEFAULT_BPS).clamp(LEAST_BPS, MOST_BPS);
        let Some(told) = self.told_bps else { return Some((now, wanted)) };
        let is_step = wanted.abs_diff(told) as f64 >= told as f64 * RATE_STEP;
        is_step.then(|| (self.told_at.plus_us(RATE_EVERY_US), wanted))
    }

    pub(crate) fn note_rate(&mut self, bps: u64, now: Time) {
        (self.told_bps, self.told_at) = (Some(bps), now);
    }

    /// The worker did not get it.
    pub(crate) fn forget_rate(&mut self) {
        self.told_bps = None;
    }

    pub(crate) fn told_bps(&self) -> Option<u64> {
        self.told_bps
    }
}

pub(crate) fn frame_head(frame: &Frame, orientation: Option<u8>) -> [u8; FRAME_HEAD] {
    let mut flags = 0;
    flags |= if frame.is_keyframe { IS_KEYFRAME } else { 0 };
    flags |= if frame.discontinuity { DISCONTINUITY } else { 0 };
    let [a, b, c, d] = frame.rtp_ts.to_be_bytes();
    [FRAME, flags, orientation.unwrap_or(0), 0, a, b, c, d]
}

pub(crate) fn rate_message(bps: u64) -> [u8; 8] {
    let [a, b, c, d] = (bps as u32).to_be_bytes(); // within MOST_BPS
    [RATE, 0, 0, 0, a, b, c, d]
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FromWorker<'a> {
    Frame { is_keyframe: bool, rtp_ts: u32, picture: &'a [u8] },
    Keyframe,
    Gap,
}

pub(crate) fn parse_untrusted(message: &[u8]) -> Result<FromWorker<'_>, Malformed> {
    match message {
        [KEYFRAME] => Ok(FromWorker::Keyframe),
        [GAP] => Ok(FromWorker::Gap),
        [FRAME, flags, _, _, a, b, c, d, picture @ ..] if message.len() <= MAX_PORT_MESSAGE => {
            let is_keyframe = vp8::parse_untrusted_picture(picture)?;
            if is_keyframe != (flags & IS_KEYFRAME != 0) {
                return Err(Malformed("the flag says another kind of picture"));
            }
            Ok(FromWorker::Frame { is_keyframe, rtp_ts: u32::from_be_bytes([*a, *b, *c, *d]), picture })
        }
        _ => Err(Malformed("no message of a worker")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(port: &Port, share: u64, now_ms: u64) -> Option<u64> {
        let now = Time(0).plus_ms(now_ms);
        port.rate_deadline([share].into_iter(), now).filter(|(at, _)| *at <= now).map(|(_, bps)| bps)
    }

    #[test]
    fn a_rate_is_told_in_steps_and_not_more_often_than_every_two_seconds() {
        let mut port = Port::default();
        assert_eq!(due(&port, 900_000, 0), Some(900_000), "the first at once");
        port.note_rate(900_000, Time(0));
        assert_eq!(due(&port, 1_000_000, 5_000), None, "a small step");
        assert_eq!(due(&port, 500_000, 1_999), None, "too soon");
        assert_eq!(due(&port, 500_000, 2_000), Some(500_000));
        assert_eq!(due(&port, 1, 2_000), Some(LEAST_BPS));
        assert_eq!(due(&port, u64::MAX, 2_000), Some(MOST_BPS));
        port.forget_rate();
        assert_eq!(due(&port, 900_000, 1), Some(900_000), "what did not arrive is told again");
    }

    #[test]
    fn a_picture_comes_back_once_and_none_older_after_it() {
        let mut port = Port::default();
        (0..100).for_each(|ts| port.note_given(ts));
        assert!(!port.take_back(35) && !port.take_back(100), "forgotten, and never given");
        assert!(port.take_back(50) && !port.take_back(50) && !port.take_back(49) && port.take_back(51));
    }

    #[test]
    fn only_whole_messages_of_a_worker_are_read() {
        let delta = [1, 0, 0, 0, 0, 0, 0, 9, 0x11];
        assert_eq!(parse_untrusted(&delta), Ok(FromWorker::Frame { is_keyframe: false, rtp_ts: 9, picture: &[0x11] }));
        let cut: [&[u8]; 8] = [
            &[],
            &[0],
            &[1],
            &delta[..8],
            &[2, 0],
            &[3, 0, 0, 0, 0, 0, 0, 1],
            &[4, 4],
            &[1, 1, 0, 0, 0, 0, 0, 9, 0x11],
        ];
        assert!(cut.iter().all(|message| parse_untrusted(message).is_err()));
        let keyframe_without_code = [&[1, 1, 0, 0, 0, 0, 0, 9][..], &[0x10; 20]].concat();
        assert!(parse_untrusted(&keyframe_without_code).is_err());
        let huge = [&delta[..], &vec![0; MAX_PORT_MESSAGE]].concat();
        assert!(parse_untrusted(&huge).is_err());
    }
}
