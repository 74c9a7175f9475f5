//! Looking inside: one transport's statistics, and the whole room as plain data. Without keys, addresses' secrets or
//! packet bytes.

use crate::command::TransportId;
use crate::engine::Engine;
use crate::slot::Slot;
use crate::stats::{TransportStats, Value};
use crate::stream_in::{ReceiveStats, StreamIn};
use crate::tap::Tap;
use crate::time::Time;
use crate::track::Track;
use crate::transport::Transport;
use crate::EngineError;

fn int(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn age_ms(at: Option<Time>, now: Time) -> Value {
    at.map_or(Value::Null, |at| int(now.since_ms(at)))
}

impl Engine {
    pub fn transport_stats(&self, id: TransportId, now: Time) -> Result<TransportStats, EngineError> {
        let peer = self.transports.by_id(id).ok_or(EngineError::UnknownId)?;
        let counters = &peer.counters;
        let worst_loss = peer.slots.iter().filter_map(|at| self.slots.get(*at)).map(|slot| slot.fraction_lost);
        Ok(TransportStats {
            packets_in: counters.packets_in,
            bytes_in: counters.bytes_in,
            packets_out: counters.packets_out,
            bytes_out: counters.bytes_out,
            retransmitted_out: counters.retransmitted_out,
            nacks_in: counters.nacks_in,
            nacks_out: counters.nacks_out,
            plis_in: counters.plis_in,
            plis_out: counters.plis_out,
            recovered_in: counters.recovered_in,
            lost_in: counters.lost_in,
            expected_in: self.sum_of_streams(peer, |stats| stats.expected()),
            missing_in: self.sum_of_streams(peer, |stats| stats.missing()),
            dropped: counters.dropped,
            dropped_out: counters.dropped_out,
            rtt_ms: peer.rtt_us.map(|us| us as f64 / 1_000.0),
            fraction_lost_out: worst_loss.fold(0.0, f64::max),
            jitter_in_ms: self.worst_jitter_ms(peer, now),
            estimate_bps: peer.rate.estimate_bps(now),
        })
    }

    fn sum_of_streams(&self, peer: &Transport, count: impl Fn(&ReceiveStats) -> u64) -> u64 {
        let tracks = peer.tracks.iter().filter_map(|at| self.tracks.get(*at));
        tracks.flat_map(|track| track.streams.iter().flatten()).map(|stream| count(&stream.stats)).sum()
    }

    /// Of the streams that are being sent now.
    fn worst_jitter_ms(&self, peer: &Transport, now: Time) -> f64 {
        let tracks = peer.tracks.iter().filter_map(|at| self.tracks.get(*at));
        let jitters = tracks.flat_map(|track| {
            let clock_hz = track.codecs.first().map_or(90_000, |codec| codec.spec.clock_hz.max(1));
            let live = track.streams.iter().flatten().filter(|stream| stream.is_live(now, 2_000));
            live.map(move |stream| f64::from(stream.stats.jitter()) * 1_000.0 / f64::from(clock_hz))
                .collect::<Vec<f64>>()
        });
        jitters.fold(0.0, f64::max)
    }

    pub fn dump(&self, now: Time) -> Value {
        let transports = self.transports.iter().map(|peer| self.dump_transport(peer, now)).collect();
        let tracks = self.tracks.iter().map(|track| self.dump_track(track, now)).collect();
        let slots = self.slots.iter().map(|slot| self.dump_slot(slot)).collect();
        let taps = self.taps.iter().map(dump_tap).collect();
        Value::Map(vec![
            ("transports", Value::List(transports)),
            ("tracks", Value::List(tracks)),
            ("slots", Value::List(slots)),
            ("taps", Value::List(taps)),
            ("grants", int(self.grants.len() as u64)),
            ("next_deadline_ms", self.wake.map_or(Value::Null, |at| int(at.since_ms(now)))),
        ])
    }

    fn dump_transport(&self, peer: &Transport, now: Time) -> Value {
        let paths = peer.ice.paths().map(|path| Value::Text(path.remote.to_string())).collect();
        let selected = peer.ice.send_path().map_or(Value::Null, |path| Value::Text(path.remote.to_string()));
        let dropped = peer.counters.dropped.iter().map(|(name, count)| (name, int(count))).collect();
        Value::Map(vec![
            ("transport", int(peer.id.0)),
            ("participant", text(&peer.participant)),
            ("ice", text(peer.ice.state().map_or("new", |state| state.name()))),
            ("addresses", Value::List(paths)),
            ("selected", selected),
            ("on_probation", Value::Bool(peer.ice.on_probation())),
            ("has_keys", Value::Bool(peer.keys.is_some())),
            ("ssrcs_in", int(peer.bindings.len() as u64)),
            ("packets_in", int(peer.counters.packets_in)),
            ("packets_out", int(peer.counters.packets_out)),
            ("rtt_ms", peer.rtt_us.map_or(Value::Null, |us| Value::Float(us as f64 / 1_000.0))),
            ("cap_bps", peer.cap.bps.map_or(Value::Null, int)),
            ("feedback_acknowledged", int(peer.rate.acknowledged_packets)),
            ("feedback_lost", int(peer.rate.lost_packets)),
            ("estimate_bps", peer.rate.estimate_bps(now).map_or(Value::Null, int)),
            ("estimate_is_limit", Value::Bool(peer.rate.is_limit())),
            ("load_bps", int(peer.rate.load_bps())),
            ("paced_bps", peer.rate.paced_bps().map_or(Value::Null, int)),
            ("dropped_out", int(peer.counters.dropped_out)),
            ("dropped", Value::Map(dropped)),
        ])
    }

    fn dump_track(&self, track: &Track, now: Time) -> Value {
        let codec = track.codec_in_use.and_then(|at| track.codec_name(at)).map(|(name, _)| name);
        let streams = track.streams.iter().flatten().map(|stream| dump_stream(stream, now)).collect();
        Value::Map(vec![
            ("track", int(track.id.0)),
            ("transport", self.transports.get(track.transport).map_or(Value::Null, |peer| int(peer.id.0))),
            ("mid", text(&track.spec.mid)),
            ("muted", Value::Bool(track.muted)),
            ("private", text(track.privacy.as_ref().map_or("off", |privacy| privacy.mode.name()))),
            ("port", dump_port(track)),
            ("live", Value::Bool(track.live)),
            ("codec", codec.map_or(Value::Null, Value::Text)),
            ("red", Value::Bool(track.sends_red())),
            ("streams", Value::List(streams)),
            ("slots", int(track.slots.len() as u64)),
            ("taps", int(track.taps.len() as u64)),
        ])
    }

    fn dump_slot(&self, slot: &Slot) -> Value {
        let source = slot.source.and_then(|at| self.tracks.get(at));
        let attached = slot.timeline.stream_key();
        let layer = attached.and_then(|key| source.and_then(|track| track.layer_of_key(key)));
        Value::Map(vec![
            ("slot", int(slot.id.0)),
            ("mid", text(&slot.spec.mid)),
            ("ssrc", int(u64::from(slot.spec.ssrc))),
            ("open", Value::Bool(slot.open)),
            ("source", source.map_or(Value::Null, |track| int(track.id.0))),
            ("wanted_rid", slot.wanted_rid.as_deref().map_or(Value::Null, text)),
            ("share_bps", slot.share_bps.map_or(Value::Null, int)),
            ("layer", layer.map_or(Value::Null, |layer| int(layer as u64))),
            ("temporal", int(u64::from(slot.temporal.current))),
            ("next_seq", int(slot.timeline.next_seq())),
            ("packets", int(slot.packets_sent)),
            ("bytes", int(slot.bytes_sent)),
            ("queued", int(slot.queue.len() as u64)),
            ("remembered", int(slot.ring_len() as u64)),
            ("fraction_lost", Value::Float(slot.fraction_lost)),
        ])
    }
}

fn dump_stream(stream: &StreamIn, now: Time) -> Value {
    Value::Map(vec![
        ("ssrc", int(u64::from(stream.ssrc))),
        ("rtx_ssrc", stream.rtx_ssrc.map_or(Value::Null, |ssrc| int(u64::from(ssrc)))),
        ("newest_seq", stream.newest_seq().map_or(Value::Null, int)),
        ("jitter_ticks", int(u64::from(stream.stats.jitter()))),
        ("last_packet_ms_ago", age_ms(stream.last_packet_at, now)),
        ("sender_report_ms_ago", age_ms(stream.clock.map(|clock| clock.arrival), now)),
        ("cached_packets", int(stream.cache.len() as u64)),
        ("cache_bytes", int(stream.cache.capacity_bytes() as u64)),
    ])
}

fn dump_port(track: &Track) -> Value {
    let Some(privacy) = &track.privacy else { return Value::Null };
    privacy.port.as_ref().map_or(Value::Null, |port| {
        Value::Map(vec![
            ("layer", port.source.map_or(Value::Null, |(layer, _)| int(layer as u64))),
            ("given", int(port.given() as u64)),
            ("rate_bps", port.told_bps().map_or(Value::Null, int)),
            ("next_seq", int(privacy.next_seq)),
            ("cached_packets", int(privacy.blurred.cache.len() as u64)),
        ])
    })
}

fn dump_tap(tap: &Tap) -> Value {
    Value::Map(vec![("tap", int(tap.id.0)), ("track", int(tap.track_id.0)), ("next_seq", int(tap.timeline.next_seq()))])
}
