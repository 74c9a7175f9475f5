//! A bad network from a seed: loss, delay, jitter (and so reordering), duplication, each way; and towards a browser a
//! line of some rate with a queue before it that drops what finds no room.

use holdspace_engine::Time;
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Of 1,000 datagrams.
    pub loss: u64,
    pub duplicate: u64,
    pub delay_ms: u64,
    /// Added at random, so that packets overtake each other.
    pub jitter_ms: u64,
}

/// A slow line: what comes faster waits, and is dropped once so much waits.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub bps: u64,
    pub queue_ms: u64,
    free_at_us: u64,
}

impl Line {
    pub fn new(bps: u64, queue_ms: u64) -> Line {
        Line { bps, queue_ms, free_at_us: 0 }
    }

    /// When the last bit has left; None: dropped.
    fn pass(&mut self, now: Time, bytes: usize) -> Option<Time> {
        let starts = self.free_at_us.max(now.0);
        if starts - now.0 > self.queue_ms * 1_000 {
            return None;
        }
        self.free_at_us = starts + bytes as u64 * 8_000_000 / self.bps.max(1);
        Some(Time(self.free_at_us))
    }
}

pub struct Link {
    /// Towards browsers by index; none: as fast as light.
    pub lines: HashMap<usize, Line>,
    /// Browsers whom nothing reaches and from whom nothing comes.
    pub cut_off: HashSet<usize>,
    /// Of 1,000 datagrams towards the engine, so many with one bit turned or their end missing.
    pub damaged: u64,
    pub up: Faults,
    pub down: Faults,
    /// Of single browsers, in place of `up`.
    pub up_of: HashMap<usize, Faults>,
    state: u64,
    number: u64,
    flying: BTreeMap<(u64, u64), (usize, bool, Vec<u8>)>,
}

impl Link {
    pub fn new(seed: u64) -> Link {
        let state = seed.wrapping_mul(2).wrapping_add(0x1234_5678_9abc_def1);
        Link {
            lines: HashMap::new(),
            cut_off: HashSet::new(),
            damaged: 0,
            up: Faults::default(),
            down: Faults::default(),
            up_of: HashMap::new(),
            state,
            number: 0,
            flying: BTreeMap::new(),
        }
    }

    pub fn both(&mut self, faults: Faults) {
        (self.up, self.down) = (faults, faults);
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below.max(1)
    }

    pub fn send(&mut self, now: Time, browser: usize, to_engine: bool, mut datagram: Vec<u8>) {
        if self.cut_off.contains(&browser) {
            return;
        }
        if to_engine && self.damaged > 0 && self.random(1_000) < self.damaged {
            self.damage(&mut datagram);
        }
        let faults = if to_engine { self.up_of.get(&browser).copied().unwrap_or(self.up) } else { self.down };
        let copies = 1 + usize::from(self.random(1_000) < faults.duplicate);
        for _ in 0..copies {
            if self.random(1_000) < faults.loss {
                continue;
            }
            let delay_ms = faults.delay_ms + self.random(faults.jitter_ms + 1);
            let line = self.lines.get_mut(&browser).filter(|_| !to_engine);
            let Some(left) = line.map_or(Some(now), |line| line.pass(now, datagram.len())) else { continue };
            self.number += 1;
            let at = left.plus_ms(delay_ms).0;
            self.flying.insert((at, self.number), (browser, to_engine, datagram.clone()));
        }
    }

    fn damage(&mut self, datagram: &mut Vec<u8>) {
        let at = self.random(datagram.len() as u64) as usize;
        match self.random(9) {
            8 => datagram.truncate(at.max(1)),
            bit => datagram[at] ^= 1 << bit,
        }
    }

    pub fn due(&mut self, now: Time) -> Vec<(usize, bool, Vec<u8>)> {
        let later = self.flying.split_off(&(now.0 + 1, 0));
        std::mem::replace(&mut self.flying, later).into_values().collect()
    }
}
