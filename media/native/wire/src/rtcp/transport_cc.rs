//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1), both ways.
//!
//! ```text
//! |      base sequence number     |      packet status count      |
//! |                 reference time (64 ms)        | fb pkt. count |
//! |  packet chunk                 |  packet chunk …               |
//! |  recv delta (250 µs, one byte or two) …                       |
//! ```

use crate::seq::Seq;
use crate::Malformed;

/// Packets one feedback may speak of. 8 run-length chunks could claim 65,535; at 250 ms per feedback this many are
/// 32,000 packets/s of one peer, far above what one sends.
const MAX_STATUSES: usize = 8192;
const FIXED_BYTES: usize = 8;
const TICK_US: i64 = 250;
const REFERENCE_TICKS: i64 = 256;
const MAX_RUN: usize = 0x1fff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    NotReceived = 0,
    SmallDelta = 1,
    LargeDelta = 2,
}

impl Symbol {
    fn delta_bytes(self) -> usize {
        self as usize
    }

    fn from_bits(bits: u16) -> Result<Symbol, Malformed> {
        match bits & 3 {
            0 => Ok(Symbol::NotReceived),
            1 => Ok(Symbol::SmallDelta),
            2 => Ok(Symbol::LargeDelta),
            _ => Err(Malformed("transport-cc reserved symbol")),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Chunk {
    Run { symbol: u16, len: usize },
    OneBit(u16),
    TwoBit(u16),
}

impl Chunk {
    fn read(bits: u16) -> Chunk {
        match bits >> 14 {
            0 | 1 => Chunk::Run { symbol: bits >> 13 & 3, len: usize::from(bits & 0x1fff) },
            2 => Chunk::OneBit(bits),
            _ => Chunk::TwoBit(bits),
        }
    }

    fn len(self) -> usize {
        match self {
            Chunk::Run { len, .. } => len,
            Chunk::OneBit(_) => 14,
            Chunk::TwoBit(_) => 7,
        }
    }

    fn symbol(self, at: usize) -> Result<Symbol, Malformed> {
        Symbol::from_bits(match self {
            Chunk::Run { symbol, .. } => symbol,
            Chunk::OneBit(bits) => bits >> (13 - at) & 1,
            Chunk::TwoBit(bits) => bits >> (12 - 2 * at),
        })
    }
}

/// Transport-wide feedback; iterate [`TransportCc::statuses`] for each packet's fate.
#[derive(Debug, Clone, Copy)]
pub struct TransportCc<'a> {
    pub sender_ssrc: u32,
    pub media_ssrc: u32,
    pub base_seq: Seq,
    pub status_count: u16,
    /// Signed 24 bits, in units of 64 ms.
    pub reference_time: i32,
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportCc<'a> {
    /// Checks every chunk and that all deltas are there, so that iterating cannot fail.
    pub(super) fn parse_untrusted(sender_ssrc: u32, media_ssrc: u32, body: &'a [u8]) -> Result<Self, Malformed> {
        let (&[s0, s1, c0, c1, r0, r1, r2, feedback_count], rest) =
            body.split_first_chunk::<FIXED_BYTES>().ok_or(Malformed("transport-cc cut short"))?;
        let status_count = u16::from_be_bytes([c0, c1]);
        if usize::from(status_count) > MAX_STATUSES {
            return Err(Malformed("transport-cc speaks of too many packets"));
        }
        let (chunks_len, deltas_len) = measure(rest, usize::from(status_count))?;
        let (chunks, deltas) = rest.split_at(chunks_len);
        if deltas.len() < deltas_len {
            return Err(Malformed("transport-cc deltas cut short"));
        }
        Ok(TransportCc {
            sender_ssrc,
            media_ssrc,
            base_seq: Seq(u16::from_be_bytes([s0, s1])),
            status_count,
            reference_time: i32::from_be_bytes([r0, r1, r2, 0]) >> 8,
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// (transport seq, arrival): arrival in µs relative to `reference_time` × 64 ms, None if it was not received.
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            chunks: self.chunks,
            deltas: self.deltas,
            seq: self.base_seq,
            remaining: self.status_count,
            chunk: Chunk::Run { symbol: 0, len: 0 },
            at: 0,
            ticks: 0,
        }
    }
}

/// Bytes of chunks and of deltas that `status_count` packets need.
fn measure(bytes: &[u8], status_count: usize) -> Result<(usize, usize), Malformed> {
    let (mut seen, mut chunks_len, mut deltas_len) = (0, 0, 0);
    while seen < status_count {
        let bits = bytes.get(chunks_len..chunks_len + 2).ok_or(Malformed("transport-cc chunks cut short"))?;
        let chunk = Chunk::read(u16::from_be_bytes([bits[0], bits[1]]));
        if chunk.len() == 0 {
            return Err(Malformed("transport-cc empty run"));
        }
        let used = chunk.len().min(status_count - seen);
        if let Chunk::Run { .. } = chunk {
            deltas_len += used * chunk.symbol(0)?.delta_bytes();
        } else {
            for at in 0..used {
                deltas_len += chunk.symbol(at)?.delta_bytes();
            }
        }
        seen += used;
        chunks_len += 2;
    }
    Ok((chunks_len, deltas_len))
}

#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    chunks: &'a [u8],
    deltas: &'a [u8],
    seq: Seq,
    remaining: u16,
    chunk: Chunk,
    at: usize,
    ticks: i64,
}

impl Statuses<'_> {
    fn next_symbol(&mut self) -> Option<Symbol> {
        if self.at == self.chunk.len() {
            let (bits, rest) = self.chunks.split_first_chunk()?;
            self.chunks = rest;
            self.chunk = Chunk::read(u16::from_be_bytes(*bits));
            self.at = 0;
        }
        let symbol = self.chunk.symbol(self.at).ok()?;
        self.at += 1;
        Some(symbol)
    }

    fn next_delta(&mut self, symbol: Symbol) -> Option<i64> {
        let (delta, rest) = self.deltas.split_at_checked(symbol.delta_bytes())?;
        self.deltas = rest;
        match delta {
            [ticks] => Some(i64::from(*ticks)),
            [high, low] => Some(i64::from(i16::from_be_bytes([*high, *low]))),
            _ => None,
        }
    }
}

impl Iterator for Statuses<'_> {
    type Item = (Seq, Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let symbol = self.next_symbol()?;
        let seq = self.seq;
        self.seq = seq.next();
        if symbol == Symbol::NotReceived {
            return Some((seq, None));
        }
        self.ticks += self.next_delta(symbol)?;
        Some((seq, Some(self.ticks * TICK_US)))
    }
}

/// What the receiver of packets reports by transport-wide feedback.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals<'a> {
    pub sender_ssrc: u32,
    pub media_ssrc: u32,
    pub feedback_count: u8,
    pub base_seq: Seq,
    /// Arrival of `base_seq + i` in µs on one clock, None if it has not come.
    pub arrivals_us: &'a [Option<i64>],
}

/// One feedback packet decided but not yet written: how many arrivals it covers and how long it is.
pub(super) struct Plan<'a> {
    arrivals: Arrivals<'a>,
    reference_ticks: i64,
    count: usize,
    chunks_len: usize,
    body_len: usize,
}

impl<'a> Plan<'a> {
    /// None if not even one status fits.
    pub(super) fn new(arrivals: &Arrivals<'a>, room: usize) -> Option<Plan<'a>> {
        let fixed = 8 + FIXED_BYTES;
        // The worst status takes 2/7 bytes of chunk and 2 of delta; 2 more for a chunk begun, 3 for the word boundary.
        let fitting = room.checked_sub(fixed + 5)? * 7 / 16;
        let most = arrivals.arrivals_us.len().min(fitting).min(MAX_STATUSES);
        let first = arrivals.arrivals_us.iter().take(most).flatten().next();
        let first_tick = first.map_or(0, |us| us.div_euclid(TICK_US));
        let reference_ticks = first_tick.div_euclid(REFERENCE_TICKS) * REFERENCE_TICKS;
        let mut plan = Plan { arrivals: *arrivals, reference_ticks, count: most, chunks_len: 0, body_len: 0 };
        let mut deltas_len = 0;
        plan.count = plan.deltas().inspect(|(symbol, _)| deltas_len += symbol.delta_bytes()).count();
        if plan.count == 0 {
            return None;
        }
        let mut chunks = 0;
        plan.for_each_chunk(|_| chunks += 1);
        plan.chunks_len = 2 * chunks;
        plan.body_len = (fixed + plan.chunks_len + deltas_len).next_multiple_of(4);
        Some(plan)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Everything after the RTCP header, both SSRCs included.
    pub(super) fn body_len(&self) -> usize {
        self.body_len
    }

    /// Symbol and delta in ticks per packet; ends where a delta no longer fits 16 bits.
    fn deltas(&self) -> impl Iterator<Item = (Symbol, i64)> + '_ {
        let mut previous = self.reference_ticks;
        self.arrivals.arrivals_us[..self.count].iter().map_while(move |arrival| {
            let Some(us) = arrival else {
                return Some((Symbol::NotReceived, 0));
            };
            let tick = us.div_euclid(TICK_US);
            let delta = tick - previous;
            previous = tick;
            match delta {
                0..=255 => Some((Symbol::SmallDelta, delta)),
                _ if i16::try_from(delta).is_ok() => Some((Symbol::LargeDelta, delta)),
                _ => None,
            }
        })
    }

    fn for_each_chunk(&self, mut visit: impl FnMut(u16)) {
        let mut window = [Symbol::NotReceived; 14];
        let mut symbols = self.deltas().map(|(symbol, _)| symbol).peekable();
        while symbols.peek().is_some() {
            let mut held = 0;
            while held < window.len() {
                let Some(symbol) = symbols.next() else { break };
                window[held] = symbol;
                held += 1;
            }
            let mut held = &window[..held];
            // A run is only worth it from 14 on, or for what is left at the end.
            if held.iter().all(|symbol| *symbol == held[0]) {
                let mut run = held.len();
                while run < MAX_RUN && symbols.next_if_eq(&held[0]).is_some() {
                    run += 1;
                }
                visit((held[0] as u16) << 13 | run as u16);
                continue;
            }
            if held.iter().all(|symbol| *symbol != Symbol::LargeDelta) {
                visit(pack(0x8000, held, 13, 1));
                continue;
            }
            while !held.is_empty() {
                let (now, later) = held.split_at(held.len().min(7));
                visit(pack(0xc000, now, 12, 2));
                held = later;
            }
        }
    }

    pub(super) fn write(&self, body: &mut [u8]) {
        let arrivals = &self.arrivals;
        body[..4].copy_from_slice(&arrivals.sender_ssrc.to_be_bytes());
        body[4..8].copy_from_slice(&arrivals.media_ssrc.to_be_bytes());
        body[8..10].copy_from_slice(&arrivals.base_seq.0.to_be_bytes());
        body[10..12].copy_from_slice(&(self.count as u16).to_be_bytes());
        let reference = (self.reference_ticks / REFERENCE_TICKS) as u32;
        body[12..15].copy_from_slice(&reference.to_be_bytes()[1..]);
        body[15] = arrivals.feedback_count;
        let (chunks, deltas) = body[16..].split_at_mut(self.chunks_len);
        let mut space = chunks.chunks_exact_mut(2);
        self.for_each_chunk(|bits| {
            if let Some(chunk) = space.next() {
                chunk.copy_from_slice(&bits.to_be_bytes());
            }
        });
        let mut at = 0;
        for (symbol, delta) in self.deltas() {
            match symbol {
                Symbol::NotReceived => {}
                Symbol::SmallDelta => deltas[at] = delta as u8,
                Symbol::LargeDelta => deltas[at..at + 2].copy_from_slice(&(delta as i16).to_be_bytes()),
            }
            at += symbol.delta_bytes();
        }
    }
}

fn pack(kind: u16, symbols: &[Symbol], top: usize, width: usize) -> u16 {
    symbols.iter().enumerate().fold(kind, |bits, (i, symbol)| bits | (*symbol as u16) << (top - width * i))
}
