//! Storage for the room's objects: stable small indexes for the packet path, ids for commands.
//! An index is reused after removal; whoever keeps one across commands keeps a key to compare, too.

use std::collections::BTreeMap;

pub(crate) struct Arena<Id, T> {
    cells: Vec<Option<T>>,
    free: Vec<usize>,
    by_id: BTreeMap<Id, usize>,
}

impl<Id: Ord + Copy, T> Arena<Id, T> {
    pub(crate) fn new() -> Self {
        Arena { cells: Vec::new(), free: Vec::new(), by_id: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, id: Id, value: T) -> usize {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.cells.push(None);
                self.cells.len() - 1
            }
        };
        self.cells[index] = Some(value);
        self.by_id.insert(id, index);
        index
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<(usize, T)> {
        let index = self.by_id.remove(&id)?;
        self.free.push(index);
        self.cells[index].take().map(|value| (index, value))
    }

    pub(crate) fn index_of(&self, id: Id) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.cells.get(index)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.cells.get_mut(index)?.as_mut()
    }

    pub(crate) fn by_id(&self, id: Id) -> Option<&T> {
        self.get(self.index_of(id)?)
    }

    pub(crate) fn by_id_mut(&mut self, id: Id) -> Option<&mut T> {
        self.get_mut(self.index_of(id)?)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Indexes below this one may be in use.
    pub(crate) fn end(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.cells.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.cells.iter_mut().flatten()
    }
}

/// SplitMix64: spreads first sequence numbers, timestamps and report times. Not for secrets.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
