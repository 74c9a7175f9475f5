//! The room's side of pacing: which slots wait for their subscriber's path, when they are looked at again, and the
//! padding that asks a path for more. Peers without a limit never come here.

use crate::assemble;
use crate::engine::Engine;
use crate::event::Event;
use crate::output::Outputs;
use crate::time::Time;

impl Engine {
    pub(crate) fn pace_at(&mut self, at: Time) {
        self.pace_wake = Some(self.pace_wake.map_or(at, |wake| wake.min(at)));
    }

    /// After anything that may have changed a peer's estimate.
    pub(crate) fn after_rate(&mut self, index: usize, now: Time, out: &mut Outputs) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        let transport = peer.id;
        if let Some((bps, is_limit)) = peer.rate.take_news(now) {
            out.events.push(Event::Estimate { transport, bps, is_limit });
        }
        self.schedule_probe(index, now);
    }

    /// Media may flow to the peer for the first time, or by another path.
    pub(crate) fn restart_rate(&mut self, index: usize, now: Time) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        peer.rate.restart(now);
        self.schedule_probe(index, now);
    }

    pub(crate) fn schedule_probe(&mut self, index: usize, now: Time) {
        let Some(peer) = self.transports.get(index) else { return };
        if peer.extensions.transport_cc.is_none() || self.probing_slot(index).is_none() {
            return;
        }
        if let Some(at) = peer.rate.prober.deadline() {
            self.pace_at(at.max(now));
        }
    }

    /// Padding goes by the RTX stream of a slot that shows something: it leaves no gap anywhere.
    fn probing_slot(&self, index: usize) -> Option<usize> {
        let peer = self.transports.get(index).filter(|peer| peer.can_send_media())?;
        peer.slots
            .iter()
            .copied()
            .find(|at| self.slots.get(*at).is_some_and(|slot| slot.source.is_some() && slot.can_pad()))
    }

    /// Looks again at what waits: slots of paced peers are back in line, due padding is written.
    pub(crate) fn pace(&mut self, now: Time, out: &mut Outputs) {
        self.pace_wake = None;
        self.waiting_video.extend(self.paced.drain(..).rev());
        for index in 0..self.transports.end() {
            self.pad(index, now, out);
            self.schedule_probe(index, now);
        }
    }

    fn pad(&mut self, index: usize, now: Time, out: &mut Outputs) {
        let Some(slot_at) = self.probing_slot(index) else { return };
        let (Some(peer), Some(slot)) = (self.transports.get_mut(index), self.slots.get_mut(slot_at)) else { return };
        if peer.extensions.transport_cc.is_none() {
            return;
        }
        if let Some(bytes) = peer.rate.padding_due(now) {
            assemble::send_padding(slot, peer, bytes, now, out);
        }
    }

    /// The slot has to wait: first in line next time unless it had a turn.
    pub(crate) fn put_off(&mut self, slot_at: usize, until: Time, had_turn: bool) {
        if had_turn {
            self.paced.push_back(slot_at);
        } else {
            self.paced.push_front(slot_at);
        }
        self.pace_at(until);
    }

    /// Its path has emptied: what comes next begins at a keyframe, asked for now.
    pub(crate) fn release(&mut self, slot_at: usize, now: Time) {
        let Some(slot) = self.slots.get_mut(slot_at) else { return };
        slot.held = false;
        if let Some(track_at) = slot.source.filter(|_| slot.open && !slot.is_paused()) {
            let wanted = slot.wanted_layer;
            self.want_keyframe_of(track_at, wanted, now);
        }
    }
}
