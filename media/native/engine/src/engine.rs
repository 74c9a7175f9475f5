//! The room: its objects, and the calls of the runtime. What a call does stands beside its subject:
//! `control` (commands), `inbound` and `inbound_rtcp` (datagrams), `forward` (to slots and taps), `timers`, `dump`.

use crate::arena::{Arena, Rng};
use crate::assemble::{self, Turn};
use crate::command::{SlotId, TapId, TrackId, TransportId};
use crate::config::EngineConfig;
use crate::event::{Event, IceState};
use crate::ice::Change;
use crate::output::{Outputs, Path, Route, FLUSH_BYTES};
use crate::port::PortCounts;
use crate::slot::{Sent, Slot};
use crate::stats::{DropCounts, RoomTotals};
use crate::tap::Tap;
use crate::time::Time;
use crate::track::Track;
use crate::transport::{Counters, Transport};
use holdspace_wire::seq::Seq;
use std::collections::{BTreeMap, VecDeque};

pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) rng: Rng,
    pub(crate) transports: Arena<TransportId, Transport>,
    pub(crate) tracks: Arena<TrackId, Track>,
    pub(crate) slots: Arena<SlotId, Slot>,
    pub(crate) taps: Arena<TapId, Tap>,
    /// Grant → participant.
    pub(crate) grants: BTreeMap<String, String>,
    pub(crate) next_stream_key: u64,
    /// Slots with something to send; audio goes first.
    pub(crate) waiting_audio: Vec<usize>,
    pub(crate) waiting_video: Vec<usize>,
    /// Video slots that wait for their subscriber's path, in the order of their next turn.
    pub(crate) paced: VecDeque<usize>,
    /// When they, or a probe, are looked at.
    pub(crate) pace_wake: Option<Time>,
    /// The earliest thing `tick` has to do.
    pub(crate) wake: Option<Time>,
    pub(crate) levels_at: Option<Time>,
    /// Of transports that are gone.
    pub(crate) past: Counters,
    pub(crate) port_counts: PortCounts,
    /// Input for transports that are not here.
    pub(crate) stray: DropCounts,
    pub(crate) plan: Vec<(Sent, usize)>,
    pub(crate) ask: Vec<Seq>,
    pub(crate) rtcp: Vec<u8>,
}

impl Engine {
    pub fn new(config: EngineConfig) -> Engine {
        Engine {
            rng: Rng::new(config.seed),
            config,
            transports: Arena::new(),
            tracks: Arena::new(),
            slots: Arena::new(),
            taps: Arena::new(),
            grants: BTreeMap::new(),
            next_stream_key: 1,
            waiting_audio: Vec::new(),
            waiting_video: Vec::new(),
            paced: VecDeque::new(),
            pace_wake: None,
            wake: None,
            levels_at: None,
            past: Counters::default(),
            port_counts: PortCounts::default(),
            stray: DropCounts::default(),
            plan: Vec::new(),
            ask: Vec::new(),
            rtcp: Vec::new(),
        }
    }

    /// When `flush` (or `tick`) should be called at the latest; asked after each batch.
    pub fn next_deadline(&self) -> Option<Time> {
        self.wake.into_iter().chain(self.pace_wake).min()
    }

    /// Does what is due, then assembles what waits into `out`. True: more waits; send and clear the transmits and
    /// call again.
    #[must_use]
    pub fn flush(&mut self, now: Time, out: &mut Outputs) -> bool {
        if self.wake.is_some_and(|at| at <= now) {
            self.tick(now, out);
        }
        if self.pace_wake.is_some_and(|at| at <= now) {
            self.pace(now, out);
        }
        while let Some(at) = self.waiting_audio.last().or_else(|| self.waiting_video.last()).copied() {
            if out.waiting_bytes() >= FLUSH_BYTES {
                return true;
            }
            let mut sent_to = None;
            let turn = match self.slots.get_mut(at) {
                Some(slot) => match self.transports.get_mut(slot.transport) {
                    Some(peer) => {
                        sent_to = Some(slot.transport);
                        assemble::send_slot(slot, peer, &self.tracks, &mut self.plan, now, out)
                    }
                    None => Turn::Done,
                },
                None => Turn::Done,
            };
            sent_to.into_iter().for_each(|index| self.ride_along(index, now, out));
            if turn == Turn::More {
                continue;
            }
            if self.waiting_audio.pop().is_none() {
                self.waiting_video.pop();
            }
            match turn {
                Turn::Wait { until, had_turn } => self.put_off(at, until, had_turn),
                Turn::Drained => self.release(at, now),
                Turn::Done | Turn::More => {}
            }
        }
        self.wake.is_some_and(|at| at <= now) // such as a keyframe to ask for, now that a path has emptied
    }

    pub(crate) fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Writes down what a datagram changed about a transport's addresses and state.
    pub(crate) fn settle_ice(&mut self, index: usize, change: Change, now: Time, out: &mut Outputs) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        let transport = peer.id;
        if let Some(path) = change.learned {
            out.routes.push(Route::AddressLearned { path, transport });
        }
        out.routes.extend(change.forgotten.into_iter().map(|path| Route::AddressForgotten { path, transport }));
        out.routes.extend(change.dropped_ufrag.map(|ufrag| Route::UfragRemoved { ufrag }));
        if let Some(deadline) = peer.ice.deadline() {
            self.wake_at(deadline);
        }
        if change.moved {
            self.begin_path(index, now);
        }
        if let Some(state) = change.state {
            out.events.push(Event::Ice { transport, state });
            self.open_slots(index, now);
        }
    }

    /// Slots send while their subscriber is connected and has keys; what waited for another time is let go. A slot that
    /// opens needs a keyframe now: one asked for earlier would have come too early, and used up the next half second.
    pub(crate) fn open_slots(&mut self, index: usize, now: Time) {
        let Some(peer) = self.transports.get(index) else { return };
        let open = peer.can_send_media();
        let mut sources = Vec::new();
        for slot in &peer.slots {
            let Some(slot) = self.slots.get_mut(*slot) else { continue };
            if slot.open != open {
                slot.open = open;
                slot.drop_queue();
                slot.resend.clear();
                sources.extend(slot.source.filter(|_| open).map(|track_at| (track_at, slot.wanted_layer)));
            }
        }
        let has_opened = !sources.is_empty();
        for (track_at, wanted) in sources {
            self.want_keyframe_of(track_at, wanted, now);
        }
        if has_opened {
            self.restart_rate(index, now);
        }
    }

    /// The peer has another path, or an earlier one again: nothing that was learned lately holds there. What went by the
    /// old one since it broke is lost, and more than caches hold: its decoder would ask for a keyframe only after a
    /// second of repeats in vain.
    fn begin_path(&mut self, index: usize, now: Time) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        peer.proof_from = peer.rate.history.next_number();
        let mut shown = Vec::new();
        for slot in &peer.slots {
            let Some(slot) = self.slots.get_mut(*slot) else { continue };
            slot.begin_path();
            if !slot.open || slot.is_audio() {
                continue;
            }
            shown.extend(slot.source.filter(|_| !slot.is_paused()).map(|track_at| (track_at, slot.wanted_layer)));
        }
        self.restart_rate(index, now);
        for (track_at, wanted) in shown {
            self.want_keyframe_of(track_at, wanted, now);
        }
    }

    /// For somebody who was just given the track: a keyframe of the layer that would be sent.
    pub(crate) fn want_keyframe_of(&mut self, track_at: usize, wanted_layer: usize, now: Time) {
        let Some(track) = self.tracks.get(track_at) else { return };
        let layers = 1 << track.layer_for(wanted_layer, now).min(63);
        self.want_keyframes(track_at, layers, now);
    }

    /// The address now belongs to another transport.
    pub fn forget_path(&mut self, transport: TransportId, path: Path, now: Time) {
        let Some(index) = self.transports.index_of(transport) else { return };
        let Some(peer) = self.transports.get_mut(index) else { return };
        let mut change = Change::default();
        peer.ice.forget(path, now, &mut change);
        if change.moved {
            self.begin_path(index, now);
        }
    }

    /// A stream connection (ICE-TCP) ended: like `forget_path`, and [`IceState::Closed`] if it was the last.
    pub fn path_lost(&mut self, transport: TransportId, path: Path, now: Time, out: &mut Outputs) {
        let Some(index) = self.transports.index_of(transport) else { return };
        if !self.transports.get(index).is_some_and(|peer| peer.ice.knows(path)) {
            return;
        }
        self.forget_path(transport, path, now);
        out.routes.push(Route::AddressForgotten { path, transport });
        let Some(peer) = self.transports.get_mut(index) else { return };
        if peer.ice.paths().next().is_none() && peer.ice.state() != Some(IceState::Closed) {
            peer.ice.set_closed();
            out.events.push(Event::Ice { transport, state: IceState::Closed });
            self.open_slots(index, now);
        }
    }

    /// Datagrams of a [`crate::Transmit`] that never left: feedback must not call them lost.
    pub fn not_sent(&mut self, transport: TransportId, first_number: u64, count: u64) {
        if let Some(peer) = self.transports.by_id_mut(transport) {
            peer.rate.history.mark_unsent(first_number, count);
        }
    }

    pub fn totals(&self) -> RoomTotals {
        let mut totals = RoomTotals {
            transports: self.transports.len(),
            tracks: self.tracks.len(),
            dropped: self.stray,
            port: self.port_counts,
            ..RoomTotals::default()
        };
        for counters in self.transports.iter().map(|peer| &peer.counters).chain([&self.past]) {
            totals.packets_in += counters.packets_in;
            totals.packets_out += counters.packets_out;
            totals.bytes_in += counters.bytes_in;
            totals.bytes_out += counters.bytes_out;
            totals.repeat_refused += counters.repeat_refused;
            totals.dropped.add(&counters.dropped);
        }
        totals
    }
}
