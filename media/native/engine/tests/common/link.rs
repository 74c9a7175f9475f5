//! A bad network from a seed: loss, delay, jitter (and so reordering), duplication, each way.

use holdspace_engine::Time;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Of 1,000 datagrams.
    pub loss: u64,
    pub duplicate: u64,
    pub delay_ms: u64,
    /// Added at random, so that packets overtake each other.
    pub jitter_ms: u64,
}

pub struct Link {
    pub up: Faults,
    pub down: Faults,
    state: u64,
    number: u64,
    flying: BTreeMap<(u64, u64), (usize, bool, Vec<u8>)>,
}

impl Link {
    pub fn new(seed: u64) -> Link {
        let state = seed.wrapping_mul(2).wrapping_add(0x1234_5678_9abc_def1);
        Link { up: Faults::default(), down: Faults::default(), state, number: 0, flying: BTreeMap::new() }
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

    pub fn send(&mut self, now: Time, browser: usize, to_engine: bool, datagram: Vec<u8>) {
        let faults = if to_engine { self.up } else { self.down };
        let copies = 1 + usize::from(self.random(1_000) < faults.duplicate);
        for _ in 0..copies {
            if self.random(1_000) < faults.loss {
                continue;
            }
            let delay_ms = faults.delay_ms + self.random(faults.jitter_ms + 1);
            self.number += 1;
            let at = now.plus_ms(delay_ms).0;
            self.flying.insert((at, self.number), (browser, to_engine, datagram.clone()));
        }
    }

    pub fn due(&mut self, now: Time) -> Vec<(usize, bool, Vec<u8>)> {
        let later = self.flying.split_off(&(now.0 + 1, 0));
        std::mem::replace(&mut self.flying, later).into_values().collect()
    }
}
