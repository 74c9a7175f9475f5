//! One room on its thread: the engine, its taps' way to the journal, and its place in the timer queue.

use std::collections::HashMap;

use holdspace_engine::{Engine, Event, Outputs, TapId, TapKind, TapRecord, Time, TrackId};
use holdspace_journal::{codec_number, JournalSink, Record};

use super::command::TapPlace;

pub(super) struct Room {
    pub(super) engine: Engine,
    pub(super) touched: bool,
    /// The earliest deadline that stands for this room in the thread's timer queue.
    pub(super) queued: Option<Time>,
    taps: HashMap<TapId, Tap>,
    codecs: HashMap<TrackId, u8>,
}

struct Tap {
    place: TapPlace,
    track: TrackId,
}

impl Room {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, touched: false, queued: None, taps: HashMap::new(), codecs: HashMap::new() }
    }

    pub(super) fn add_tap(&mut self, tap: TapId, track: TrackId, place: TapPlace) {
        self.taps.insert(tap, Tap { place, track });
    }

    pub(super) fn has_taps(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Learns from the engine's events what journal records need to say.
    pub(super) fn observe(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Codec { track, name, .. } => {
                    self.codecs.insert(*track, codec_number(name));
                }
                Event::TapEnded { tap, .. } => {
                    self.taps.remove(tap);
                }
                _ => {}
            }
        }
    }

    /// Appends all tap records to the journal's sink; returns the taps whose records it refused.
    pub(super) fn write_taps(&self, outputs: &mut Outputs, sink: &mut JournalSink) -> Vec<TapId> {
        let mut refused = Vec::new();
        for entry in outputs.tap_records() {
            let Some(tap) = self.taps.get(&entry.tap) else {
                continue; // ended by an event of the same turn
            };
            let codec = self.codecs.get(&tap.track).copied().unwrap_or(0);
            let Some(record) = record_of(&entry, codec) else {
                continue;
            };
            let result = sink.append(tap.place.journal, tap.place.key_id, record);
            if result.is_err() && !refused.contains(&entry.tap) {
                refused.push(entry.tap);
            }
        }
        outputs.clear_tap_records();
        refused
    }
}

fn record_of<'a>(entry: &TapRecord<'a>, codec: u8) -> Option<Record<'a>> {
    let tap = entry.tap.0;
    let arrival_us = entry.arrival.0;
    match entry.kind {
        TapKind::Rtp => Some(Record::Rtp { tap, codec, arrival_us, packet: entry.bytes }),
        TapKind::SenderReport => {
            // RFC 3550 §6.4.1: sender's SSRC at 4, NTP time at 8, RTP time at 16.
            let ssrc = u32::from_be_bytes(entry.bytes.get(4..8)?.try_into().ok()?);
            let ntp_time = u64::from_be_bytes(entry.bytes.get(8..16)?.try_into().ok()?);
            let rtp_ts = u32::from_be_bytes(entry.bytes.get(16..20)?.try_into().ok()?);
            Some(Record::SenderReport { tap, arrival_us, ssrc, ntp_time, rtp_ts })
        }
    }
}
