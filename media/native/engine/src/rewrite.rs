//! The outgoing timeline of one slot or tap: sequence numbers without gaps of our making; timestamps, picture ids and
//! frame numbers that go on across switches of source. Pure arithmetic; must not touch packets.
//!
//! ```text
//!  publisher A   10 11 12 [13 padding] 14 15          (first_in 10)
//!  out            5  6  7               8  9
//!  publisher B                                40 41   (first_in 40)
//!  out                                        10 11
//! ```

use crate::time::Time;
use std::collections::VecDeque;

/// A jump larger than this is another stream in all but name; its loss would cost a keyframe anyway.
const MAX_JUMP: u64 = 1_000;
/// Swallowed packets remembered so that late ones around them find their number.
const MAX_SWALLOWED: usize = 256;

/// What the timeline needs of an inbound packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inbound {
    /// Identity of the stream; never reused.
    pub(crate) stream_key: u64,
    pub(crate) ext_seq: u64,
    pub(crate) rtp_ts: u32,
    /// VP8 and VP9.
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_pic_idx: u8,
    /// Of the dependency descriptor.
    pub(crate) frame_number: Option<u16>,
    pub(crate) now: Time,
}

/// Its place in the outgoing stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) ext_seq: u64,
    pub(crate) rtp_ts: u32,
    /// Modulo 2¹⁶; the codec writes as many bits as its field has.
    pub(crate) picture_id: u16,
    pub(crate) tl0_pic_idx: u8,
    pub(crate) frame_number: u16,
}

/// A packet that left no gap.
#[derive(Clone, Copy)]
struct Swallowed {
    ext_seq: u64,
    rtp_ts: u32,
    /// It was the first of a picture whose number was closed up, too.
    closed_picture: bool,
}

struct Source {
    stream_key: u64,
    first_in: u64,
    newest_in: u64,
    /// out = in + delta (mod 2⁶⁴) for packets newer than all swallowed ones.
    seq_delta: u64,
    ts_delta: u32,
    picture_delta: u16,
    tl0_delta: u8,
    frame_delta: u16,
    newest_picture: Option<u16>,
    /// Ascending; each moved everything newer down by one.
    swallowed: VecDeque<Swallowed>,
}

pub(crate) struct Timeline {
    clock_hz: u32,
    next_seq: u64,
    last_ts: u32,
    last_at: Option<Time>,
    last_picture: u16,
    last_tl0: u8,
    last_frame: u16,
    source: Option<Source>,
}

impl Timeline {
    pub(crate) fn new(first_seq: u64, first_ts: u32, clock_hz: u32) -> Self {
        Timeline {
            clock_hz,
            next_seq: first_seq,
            last_ts: first_ts,
            last_at: None,
            last_picture: 0,
            last_tl0: 0,
            last_frame: 0,
            source: None,
        }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Of the newest packet.
    pub(crate) fn last_ts(&self) -> u32 {
        self.last_ts
    }

    pub(crate) fn stream_key(&self) -> Option<u64> {
        self.source.as_ref().map(|source| source.stream_key)
    }

    pub(crate) fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    /// Translates a source timestamp of the present stream.
    pub(crate) fn translate_ts(&self, stream_key: u64, rtp_ts: u32) -> Option<u32> {
        let source = self.source.as_ref().filter(|s| s.stream_key == stream_key)?;
        Some(rtp_ts.wrapping_add(source.ts_delta))
    }

    /// Numbers from `next_seq` on were never sent and are given out again.
    pub(crate) fn rewind(&mut self, next_seq: u64) {
        self.next_seq = self.next_seq.min(next_seq);
    }

    /// What follows is another stream, or the same after a pause.
    pub(crate) fn detach(&mut self) {
        self.source = None;
    }

    /// The packet goes on from what was sent last, whatever stream that was. `aligned`: its outgoing timestamp as the
    /// sender reports of both streams place it; without one, or with nonsense, the time that passed counts.
    pub(crate) fn attach(&mut self, packet: &Inbound, aligned: Option<u32>) -> Placed {
        let elapsed_us = self.last_at.map_or(0, |at| packet.now.since_us(at));
        let elapsed = (u128::from(elapsed_us) * u128::from(self.clock_hz) / 1_000_000) as u32;
        let by_clock = self.last_ts.wrapping_add(elapsed.max(1));
        let is_near = |ts: &u32| (ts.wrapping_sub(by_clock) as i32).unsigned_abs() < self.clock_hz;
        let aligned = aligned.filter(is_near);
        let out_ts = match aligned {
            // Of the same moment as the last packet, or older: the new stream's first frame must still come after it.
            Some(ts) if ts.wrapping_sub(self.last_ts) as i32 <= 0 => self.last_ts.wrapping_add(1),
            Some(ts) => ts,
            None => by_clock,
        };
        let picture = packet.picture_id.unwrap_or(0);
        self.source = Some(Source {
            stream_key: packet.stream_key,
            first_in: packet.ext_seq,
            newest_in: packet.ext_seq.wrapping_sub(1),
            seq_delta: self.next_seq.wrapping_sub(packet.ext_seq),
            ts_delta: out_ts.wrapping_sub(packet.rtp_ts),
            picture_delta: self.last_picture.wrapping_add(1).wrapping_sub(picture),
            tl0_delta: self.last_tl0.wrapping_add(1).wrapping_sub(packet.tl0_pic_idx),
            frame_delta: self.last_frame.wrapping_add(1).wrapping_sub(packet.frame_number.unwrap_or(0)),
            newest_picture: None,
            swallowed: VecDeque::new(),
        });
        self.place_newest(packet)
    }

    /// The packet jumped too far ahead to be called loss.
    pub(crate) fn is_break(&self, stream_key: u64, ext_seq: u64) -> bool {
        self.source.as_ref().is_some_and(|s| s.stream_key == stream_key && ext_seq > s.newest_in.wrapping_add(MAX_JUMP))
    }

    /// None: not of the present stream, from before it was attached, or swallowed once.
    pub(crate) fn place(&mut self, packet: &Inbound) -> Option<Placed> {
        let source = self.source.as_ref().filter(|s| s.stream_key == packet.stream_key)?;
        if packet.ext_seq > source.newest_in {
            return Some(self.place_newest(packet));
        }
        if packet.ext_seq < source.first_in {
            return None;
        }
        let at = source.swallowed.partition_point(|gone| gone.ext_seq < packet.ext_seq);
        if source.swallowed.get(at).is_some_and(|gone| gone.ext_seq == packet.ext_seq) {
            return None;
        }
        let newer = source.swallowed.range(at..);
        let pictures = newer.clone().filter(|gone| gone.closed_picture).count() as u16;
        let placed = translate(source, packet);
        let ext_seq = placed.ext_seq.wrapping_add(newer.len() as u64);
        Some(Placed { ext_seq, picture_id: placed.picture_id.wrapping_add(pictures), ..placed })
    }

    /// Its number is spoken for already: it comes after newer ones.
    pub(crate) fn is_late(&self, ext_seq: u64) -> bool {
        self.source.as_ref().is_some_and(|source| ext_seq <= source.newest_in)
    }

    /// Other packets of the late packet's frame were left out.
    pub(crate) fn left_out(&self, packet: &Inbound) -> bool {
        let Some(source) = self.source.as_ref() else { return false };
        let at = source.swallowed.partition_point(|gone| gone.ext_seq < packet.ext_seq);
        let beside = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|at| source.swallowed.get(at));
        beside.into_iter().any(|gone| gone.rtp_ts == packet.rtp_ts)
    }

    fn place_newest(&mut self, packet: &Inbound) -> Placed {
        let Some(source) = &mut self.source else { unreachable!("only called with a source") };
        source.newest_in = packet.ext_seq;
        let placed = translate(source, packet);
        self.next_seq = placed.ext_seq + 1;
        self.last_ts = placed.rtp_ts;
        self.last_at = Some(packet.now);
        if packet.picture_id.is_some() {
            source.newest_picture = packet.picture_id;
            self.last_picture = placed.picture_id;
            self.last_tl0 = placed.tl0_pic_idx;
        }
        if packet.frame_number.is_some() {
            self.last_frame = placed.frame_number;
        }
        placed
    }

    /// Leaves a packet out without a gap. A late one, whose gap is out already, is placed: send it empty.
    /// `closes_picture`: the codec wants no gap in its picture ids either.
    pub(crate) fn swallow(&mut self, packet: &Inbound, closes_picture: bool) -> Option<Placed> {
        let source = self.source.as_mut().filter(|s| s.stream_key == packet.stream_key)?;
        if packet.ext_seq <= source.newest_in {
            return self.place(packet);
        }
        source.newest_in = packet.ext_seq;
        source.seq_delta = source.seq_delta.wrapping_sub(1);
        let closed_picture =
            closes_picture && packet.picture_id.is_some() && packet.picture_id != source.newest_picture;
        if closed_picture {
            source.newest_picture = packet.picture_id;
            source.picture_delta = source.picture_delta.wrapping_sub(1);
        }
        source.swallowed.push_back(Swallowed { ext_seq: packet.ext_seq, rtp_ts: packet.rtp_ts, closed_picture });
        // A hole before the swallowed packet is the publisher's loss and must stay one.
        self.next_seq = packet.ext_seq.wrapping_add(source.seq_delta).wrapping_add(1);
        if source.swallowed.len() > MAX_SWALLOWED {
            source.first_in = source.swallowed.pop_front().map_or(source.first_in, |gone| gone.ext_seq + 1);
        }
        None
    }
}

fn translate(source: &Source, packet: &Inbound) -> Placed {
    Placed {
        ext_seq: packet.ext_seq.wrapping_add(source.seq_delta),
        rtp_ts: packet.rtp_ts.wrapping_add(source.ts_delta),
        picture_id: packet.picture_id.unwrap_or(0).wrapping_add(source.picture_delta),
        tl0_pic_idx: packet.tl0_pic_idx.wrapping_add(source.tl0_delta),
        frame_number: packet.frame_number.unwrap_or(0).wrapping_add(source.frame_delta),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound(stream_key: u64, ext_seq: u64) -> Inbound {
        let picture_id = Some(ext_seq as u16 & 0x7fff);
        let now = Time(ext_seq * 10_000);
        let (rtp_ts, tl0_pic_idx, frame_number) = (ext_seq as u32 * 900, ext_seq as u8, Some(ext_seq as u16));
        Inbound { stream_key, ext_seq, rtp_ts, picture_id, tl0_pic_idx, frame_number, now }
    }

    #[test]
    fn the_publishers_gaps_stay_and_swallowed_packets_leave_none() {
        let mut line = Timeline::new(100, 0, 90_000);
        assert_eq!(line.attach(&inbound(1, 10), None).ext_seq, 100);
        assert_eq!(line.place(&inbound(1, 11)).map(|p| p.ext_seq), Some(101));
        assert_eq!(line.swallow(&inbound(1, 13), false), None);
        assert_eq!(line.place(&inbound(1, 14)).map(|p| p.ext_seq), Some(103));
        assert_eq!(line.place(&inbound(1, 12)).map(|p| p.ext_seq), Some(102));
        assert_eq!(line.place(&inbound(1, 13)), None);
        assert_eq!(line.swallow(&inbound(1, 14 + 1), false), None);
        assert_eq!(line.place(&inbound(1, 16)).map(|p| p.ext_seq), Some(104));
    }

    #[test]
    fn a_late_padding_packet_fills_the_gap_it_would_leave() {
        let mut line = Timeline::new(0, 0, 90_000);
        line.attach(&inbound(1, 10), None);
        line.place(&inbound(1, 12));
        assert_eq!(line.swallow(&inbound(1, 11), false).map(|p| p.ext_seq), Some(1));
    }

    #[test]
    fn a_switch_goes_on_in_sequence_time_and_picture() {
        let mut line = Timeline::new(7, 1_000, 90_000);
        line.attach(&inbound(1, 65_534), None);
        let last = line.place(&inbound(1, 65_535)).expect("newest");
        let mut first = inbound(2, 3);
        first.now = Time(65_535 * 10_000 + 20_000);
        let placed = line.attach(&first, None);
        assert_eq!(placed.ext_seq, last.ext_seq + 1);
        assert_eq!(placed.rtp_ts, last.rtp_ts.wrapping_add(1_800));
        assert_eq!(placed.picture_id, last.picture_id.wrapping_add(1));
        assert_eq!(placed.tl0_pic_idx, last.tl0_pic_idx.wrapping_add(1));
        assert_eq!(line.place(&inbound(1, 65_536)), None);
    }
}
