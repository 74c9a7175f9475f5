//! Which indexes of one stream were seen: the replay window of RFC 3711 §3.3.2, also the guard against sending one
//! index twice. Knows nothing of keys.

/// Packets behind the newest that are told apart. Larger costs 1 bit each per stream; smaller refuses late
/// retransmissions of a 1,200-packet-per-second stream before its 1 s cache forgets them.
const WINDOW_PACKETS: u64 = 1024;
const WORDS: usize = (WINDOW_PACKETS / 64) as usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    Seen,
    TooOld,
}

/// A ring of bits indexed by `index % 1024`; words ahead of the newest are always clear.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    newest: Option<u64>,
    bits: [u64; WORDS],
}

impl Window {
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    pub(super) fn check(&self, index: u64) -> Verdict {
        match self.newest {
            None => Verdict::Fresh,
            Some(newest) if index > newest => Verdict::Fresh,
            Some(newest) if newest - index >= WINDOW_PACKETS => Verdict::TooOld,
            Some(_) if self.bits[word(index)] & bit(index) != 0 => Verdict::Seen,
            Some(_) => Verdict::Fresh,
        }
    }

    /// Takes note of an index that `check` called fresh.
    pub(super) fn accept(&mut self, index: u64) {
        match self.newest {
            Some(newest) if index <= newest => {}
            Some(newest) if index - newest < WINDOW_PACKETS => {
                for skipped in newest + 1..=index {
                    self.bits[word(skipped)] &= !bit(skipped);
                }
                self.newest = Some(index);
            }
            _ => {
                self.bits = [0; WORDS];
                self.newest = Some(index);
            }
        }
        self.bits[word(index)] |= bit(index);
    }
}

fn word(index: u64) -> usize {
    (index / 64) as usize % WORDS
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}
