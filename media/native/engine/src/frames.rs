//! Whole VP8 pictures out of a publisher's packets, for the frame port: in decoding order, from a keyframe on, each
//! as soon as its last packet is here (RFC 7741 §4.1: one picture is the packets of one timestamp). What stays
//! incomplete is waited for while a retransmission may come, then left out up to the next keyframe. Must not know who
//! reads them.

use crate::time::Time;
use holdspace_wire::codec::vp8;
use std::collections::BTreeMap;

/// A lost packet is asked for at once and again after a round trip; later than this the picture is old.
const WAIT_MS: u64 = 300;
/// A second of 8 Mbit/s; more waits only where something is wrong.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_PIECES: usize = 1_024;

/// One packet of a picture, or one without content.
struct Piece {
    rtp_ts: u32,
    starts_frame: bool,
    starts_keyframe: bool,
    marker: bool,
    /// VP8 data behind the payload descriptor.
    data: Vec<u8>,
}

/// A whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) rtp_ts: u32,
    pub(crate) is_keyframe: bool,
    /// Pictures before it were left out.
    pub(crate) discontinuity: bool,
    pub(crate) data: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Frames {
    pieces: BTreeMap<u64, Piece>,
    bytes: usize,
    /// Where the next picture begins; None: with the next keyframe, wherever that is.
    next: Option<u64>,
    waiting_since: Option<Time>,
    left_out: bool,
}

impl Frames {
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.next.is_none()
    }

    /// What comes next begins at a keyframe and says that something is missing before it.
    pub(crate) fn lose(&mut self) {
        *self = Frames { left_out: true, ..Frames::default() };
    }

    /// `payload`: of one packet, descriptor included; empty, or not VP8: its number holds nothing.
    pub(crate) fn push(&mut self, ext_seq: u64, rtp_ts: u32, marker: bool, payload: &[u8]) {
        if self.next.is_some_and(|next| ext_seq < next) {
            return;
        }
        let descriptor = vp8::parse_untrusted(payload).ok();
        let data = descriptor.map_or(&[][..], |descriptor| &payload[descriptor.len..]).to_vec();
        let starts_frame = descriptor.is_some_and(|descriptor| descriptor.starts_frame());
        let starts_keyframe = descriptor.is_some_and(|descriptor| descriptor.starts_keyframe);
        self.bytes += data.len();
        let piece = Piece { rtp_ts, starts_frame, starts_keyframe, marker, data };
        if let Some(before) = self.pieces.insert(ext_seq, piece) {
            self.bytes -= before.data.len();
        }
        if starts_keyframe && self.next.is_none() {
            self.begin_at(ext_seq);
        }
        if self.bytes > MAX_BYTES || self.pieces.len() > MAX_PIECES {
            self.lose();
        }
    }

    fn begin_at(&mut self, ext_seq: u64) {
        self.pieces = self.pieces.split_off(&ext_seq);
        self.bytes = self.pieces.values().map(|piece| piece.data.len()).sum();
        self.next = Some(ext_seq);
        self.waiting_since = None;
    }

    /// The next picture, if it is whole.
    pub(crate) fn take(&mut self, now: Time) -> Option<Frame> {
        loop {
            let next = self.next?;
            if let Some(end) = self.end_of_frame(next) {
                let frame = self.take_out(next, end);
                if !frame.data.is_empty() {
                    self.left_out = false;
                    return Some(frame);
                }
                continue;
            }
            // A later keyframe makes everything before it superfluous.
            let later = self.pieces.range(next + 1..).find(|(_, piece)| piece.starts_keyframe).map(|(at, _)| *at);
            if let Some(later) = later {
                self.left_out = true;
                self.begin_at(later);
                continue;
            }
            if self.pieces.is_empty() {
                self.waiting_since = None;
            } else if now.since_ms(*self.waiting_since.get_or_insert(now)) > WAIT_MS {
                self.lose();
            }
            return None;
        }
    }

    /// One past the last packet of the picture that begins at `first`; None: not all of it is here.
    fn end_of_frame(&self, first: u64) -> Option<u64> {
        let head = self.pieces.get(&first)?;
        if head.data.is_empty() {
            return Some(first + 1);
        }
        if !head.starts_frame {
            return None;
        }
        for (expected, (at, piece)) in (first..).zip(self.pieces.range(first..)) {
            if *at != expected {
                return None;
            }
            if piece.rtp_ts != head.rtp_ts && !piece.data.is_empty() {
                return Some(*at);
            }
            if piece.marker {
                return Some(at + 1);
            }
        }
        None
    }

    fn take_out(&mut self, first: u64, end: u64) -> Frame {
        let rest = self.pieces.split_off(&end);
        let pieces = std::mem::replace(&mut self.pieces, rest);
        (self.next, self.waiting_since) = (Some(end), None);
        let mut frame = Frame { rtp_ts: 0, is_keyframe: false, discontinuity: self.left_out, data: Vec::new() };
        for (at, piece) in pieces {
            if at == first {
                (frame.rtp_ts, frame.is_keyframe) = (piece.rtp_ts, piece.starts_keyframe);
            }
            frame.data.extend_from_slice(&piece.data);
        }
        self.bytes -= frame.data.len();
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(starts: bool, keyframe: bool, fill: u8) -> Vec<u8> {
        let mut payload = vp8::descriptor(7, starts).to_vec();
        payload.extend([u8::from(!keyframe), fill]);
        payload
    }

    /// Two packets: a picture at `ext_seq` and the number after it.
    fn picture(frames: &mut Frames, ext_seq: u64, keyframe: bool) {
        frames.push(ext_seq, ext_seq as u32, false, &payload(true, keyframe, 1));
        frames.push(ext_seq + 1, ext_seq as u32, true, &payload(false, keyframe, 2));
    }

    fn taken(frames: &mut Frames, now_ms: u64) -> Vec<(u32, bool, bool)> {
        let frames = std::iter::from_fn(|| frames.take(Time(0).plus_ms(now_ms)));
        frames.map(|frame| (frame.rtp_ts, frame.is_keyframe, frame.discontinuity)).collect()
    }

    #[test]
    fn pictures_come_whole_and_in_order_from_the_first_keyframe_on() {
        let mut frames = Frames::default();
        picture(&mut frames, 10, false);
        assert!(taken(&mut frames, 0).is_empty() && frames.needs_keyframe());
        picture(&mut frames, 12, true);
        frames.push(15, 14, true, &payload(false, false, 2));
        picture(&mut frames, 16, false);
        assert_eq!(taken(&mut frames, 0), [(12, true, false)]);
        frames.push(14, 14, false, &payload(true, false, 1));
        assert_eq!(taken(&mut frames, 0), [(14, false, false), (16, false, false)]);
    }

    #[test]
    fn a_number_without_content_is_no_hole() {
        let mut frames = Frames::default();
        picture(&mut frames, 1, true);
        frames.push(3, 1, false, &[]);
        picture(&mut frames, 4, false);
        assert_eq!(taken(&mut frames, 0), [(1, true, false), (4, false, false)]);
    }

    #[test]
    fn what_never_comes_is_left_out_up_to_the_next_keyframe() {
        let mut frames = Frames::default();
        picture(&mut frames, 1, true);
        picture(&mut frames, 5, false);
        assert_eq!(taken(&mut frames, 0), [(1, true, false)]);
        assert!(taken(&mut frames, 200).is_empty() && !frames.needs_keyframe());
        assert!(taken(&mut frames, 400).is_empty() && frames.needs_keyframe());
        picture(&mut frames, 7, false);
        picture(&mut frames, 9, true);
        assert_eq!(taken(&mut frames, 500), [(9, true, true)]);
    }

    #[test]
    fn a_keyframe_ends_the_wait_for_what_came_before_it() {
        let mut frames = Frames::default();
        picture(&mut frames, 1, true);
        assert_eq!(taken(&mut frames, 0), [(1, true, false)]);
        picture(&mut frames, 5, false);
        picture(&mut frames, 7, true);
        assert_eq!(taken(&mut frames, 0), [(7, true, true)]);
    }

    #[test]
    fn a_stream_that_never_ends_a_picture_stays_within_its_bound() {
        let mut frames = Frames::default();
        for seq in 0..5_000_u64 {
            let mut payload = payload(seq == 0, true, 1);
            payload.extend([0; 1_200]);
            frames.push(seq, 1, false, &payload);
            assert!(frames.take(Time(0)).is_none());
            assert!(frames.bytes <= MAX_BYTES && frames.pieces.len() <= MAX_PIECES);
        }
    }
}
