//! Sequence numbers and timestamps that wrap (RFC 3550 §A.1, RFC 3711 §3.3.1), and their unwrapped kin.
//! `Seq` is what stands in a packet, `ExtSeq` what we count with; the compiler keeps them apart.

/// A 16-bit RTP sequence number as it stands in the packet. Not `Ord`: use [`Seq::is_newer_than`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seq(pub u16);

impl Seq {
    /// Steps from `other` to `self`, negative when `self` is older; half the circle counts as older.
    pub fn steps_from(self, other: Seq) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }

    pub fn is_newer_than(self, other: Seq) -> bool {
        self.steps_from(other) > 0
    }

    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.wrapping_add(1))
    }
}

/// An unwrapped sequence number: rollover counter in the high bits, the packet's `Seq` in the low 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ExtSeq(pub u64);

impl ExtSeq {
    pub fn seq(self) -> Seq {
        Seq(self.0 as u16)
    }

    /// SRTP's rollover counter (RFC 3711 §3.3.1).
    pub fn rollover(self) -> u32 {
        (self.0 >> 16) as u32
    }

    #[must_use]
    pub fn next(self) -> ExtSeq {
        ExtSeq(self.0 + 1)
    }

    /// The extended number nearest to `self` whose low bits are `seq`; never below zero.
    pub fn nearest(self, seq: Seq) -> ExtSeq {
        let steps = i64::from(seq.steps_from(self.seq()));
        ExtSeq(self.0.checked_add_signed(steps).unwrap_or(u64::from(seq.0)))
    }
}

/// Follows one stream of `Seq`s; the first one starts rollover 0. Only for numbers that are already believed.
#[derive(Debug, Clone, Default)]
pub struct SeqUnwrapper {
    newest: Option<ExtSeq>,
}

impl SeqUnwrapper {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn unwrap(&mut self, seq: Seq) -> ExtSeq {
        let ext = self.peek(seq);
        if self.newest.is_none_or(|newest| ext > newest) {
            self.newest = Some(ext);
        }
        ext
    }

    /// What `unwrap` would answer, without taking note of it.
    pub fn peek(&self, seq: Seq) -> ExtSeq {
        match self.newest {
            Some(newest) => newest.nearest(seq),
            None => ExtSeq(u64::from(seq.0)),
        }
    }

    pub fn newest(&self) -> Option<ExtSeq> {
        self.newest
    }
}

/// Follows 32-bit RTP timestamps; answers may be negative only before the first one given.
#[derive(Debug, Clone, Default)]
pub struct TimestampUnwrapper {
    last: Option<i64>,
}

impl TimestampUnwrapper {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn unwrap(&mut self, rtp_ts: u32) -> i64 {
        let value = match self.last {
            Some(last) => last + i64::from(rtp_ts.wrapping_sub(last as u32) as i32),
            None => i64::from(rtp_ts),
        };
        self.last = Some(value);
        value
    }
}
