//! RTCP in: reports, loss, keyframe requests and transport-wide feedback. A publisher's sender report feeds the
//! slots' clocks; a subscriber's requests are answered here or throttled and passed on to the publisher.

use crate::engine::Engine;
use crate::forward::slot_by_ssrc;
use crate::inbound::drop_reason;
use crate::output::{Outputs, Path};
use crate::stats::DropReason;
use crate::stream_in::SenderClock;
use crate::time::Time;
use holdspace_wire::rtcp::{self, Packet, ReportBlock, SenderInfo, TransportCc};
use holdspace_wire::seq::{ExtSeq, Seq};

impl Engine {
    pub(crate) fn rtcp_in(
        &mut self,
        index: usize,
        path: Path,
        packet: &mut [u8],
        now: Time,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let peer = self.transports.get_mut(index).ok_or(DropReason::Unauthenticated)?;
        let keys = peer.keys.as_mut().ok_or(DropReason::NoKeys)?;
        let len = keys.inbound.unprotect_rtcp(packet).map_err(drop_reason)?;
        peer.counters.packets_in += 1;
        peer.counters.bytes_in += packet.len() as u64;
        if !peer.intake.take(packet.len(), now) {
            return Err(DropReason::Bound);
        }
        self.media_from(index, path, now, out);
        let compound = packet.get(..len).ok_or(DropReason::Malformed)?;
        let from_selected = self.transports.get(index).is_some_and(|peer| peer.ice.send_path() == Some(path));
        let mut malformed = false;
        for part in rtcp::parse_untrusted(compound) {
            match part {
                Ok(part) => self.rtcp_part(index, part, from_selected, now, out),
                Err(_) => malformed = true,
            }
        }
        if malformed {
            Err(DropReason::Malformed)
        } else {
            Ok(())
        }
    }

    fn rtcp_part(&mut self, index: usize, part: Packet<'_>, from_selected: bool, now: Time, out: &mut Outputs) {
        match part {
            Packet::SenderReport { info, reports } => {
                self.sender_report(index, &info, now, out);
                reports.for_each(|block| self.report_block(index, &block, from_selected, now));
                self.after_rate(index, now, out);
            }
            Packet::ReceiverReport { reports, .. } => {
                reports.for_each(|block| self.report_block(index, &block, from_selected, now));
                self.after_rate(index, now, out);
            }
            Packet::Nack { media_ssrc, lost, .. } => self.nack(index, media_ssrc, lost, now),
            Packet::Pli { media_ssrc, .. } => self.keyframe_request(index, media_ssrc, now),
            Packet::Fir { requests, .. } => {
                requests.for_each(|(ssrc, _)| self.keyframe_request(index, ssrc, now));
            }
            Packet::TransportCc(feedback) => self.transport_feedback(index, &feedback, from_selected, now, out),
            Packet::Remb { bps, .. } => {
                if let Some(peer) = self.transports.get_mut(index) {
                    peer.rate.on_remb(bps, now);
                    self.after_rate(index, now, out);
                }
            }
            Packet::Sdes(_) | Packet::Bye(_) | Packet::Unknown { .. } => {}
        }
    }

    /// A publisher's clock: kept for the slots' sender reports, written to taps.
    fn sender_report(&mut self, index: usize, info: &SenderInfo, now: Time, out: &mut Outputs) {
        let Some(binding) = self.transports.get(index).and_then(|peer| peer.binding(info.ssrc)) else {
            return;
        };
        let Some(track) = self.tracks.get_mut(binding.track).filter(|_| !binding.is_rtx) else { return };
        let codec = track.codec_in_use.and_then(|at| track.codecs.get(usize::from(at))).or(track.codecs.first());
        let clock_hz = codec.map_or(90_000, |codec| codec.spec.clock_hz);
        let muted = track.muted;
        let Some(stream) = track.stream_mut(binding.layer) else { return };
        let was_unknown = stream.clock.is_none();
        stream.set_clock(info, now);
        let (key, clock) = (stream.key, SenderClock { ntp_time: info.ntp_time, rtp_ts: info.rtp_ts, arrival: now });
        let blurred_key = track.clock_of_blurred((binding.layer, key), clock);
        if was_unknown {
            self.wake_at(now); // slots of this stream may report now
        }
        let Some(track) = self.tracks.get(binding.track).filter(|_| !muted) else { return };
        for tap in &track.taps {
            if let Some(tap) = self.taps.get_mut(*tap) {
                [Some(key), blurred_key].into_iter().flatten().for_each(|key| {
                    tap.report(key, clock, clock_hz, now, out);
                });
            }
        }
    }

    fn report_block(&mut self, index: usize, block: &ReportBlock, from_selected: bool, now: Time) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        let Some(at) = slot_by_ssrc(&self.slots, &peer.slots, block.ssrc) else { return };
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.fraction_lost = f64::from(block.fraction_lost) / 256.0;
        let packets = slot.newly_reported(block.highest_seq);
        peer.rate.over_stream = peer.sends_over_stream();
        peer.rate.on_report(slot.fraction_lost, packets, now);
        if let Some(sample_us) = slot.round_trip_us(block.last_sr, block.delay_since_last_sr, now) {
            peer.measure_rtt(sample_us);
        }
        if from_selected && slot.packets_sent > 0 && block.highest_seq >= slot.proof_from as u32 {
            peer.ice.acknowledge();
        }
    }

    fn nack(&mut self, index: usize, media_ssrc: u32, lost: impl Iterator<Item = Seq>, now: Time) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        let Some(at) = slot_by_ssrc(&self.slots, &peer.slots, media_ssrc) else { return };
        peer.counters.nacks_in += 1;
        let rtt_us = peer.rtt_us;
        let Some(newest) = self.slots.get(at).map(|slot| ExtSeq(slot.timeline.next_seq().saturating_sub(1))) else {
            return;
        };
        for seq in lost {
            self.ask_resend(at, newest.nearest(seq).0, now, rtt_us);
        }
    }

    /// PLI or FIR of a subscriber, for what its slot shows now. The publisher is asked at most every 500 ms.
    fn keyframe_request(&mut self, index: usize, media_ssrc: u32, now: Time) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        let Some(at) = slot_by_ssrc(&self.slots, &peer.slots, media_ssrc) else { return };
        peer.counters.plis_in += 1;
        let Some(slot) = self.slots.get(at) else { return };
        let Some(track_at) = slot.source else { return };
        let Some(track) = self.tracks.get(track_at) else { return };
        let shown = slot.timeline.stream_key().and_then(|key| track.layer_of_key(key));
        let layer = shown.unwrap_or_else(|| track.layer_for(slot.wanted_layer, now));
        self.want_keyframes(track_at, 1 << layer.min(63), now);
    }

    fn transport_feedback(
        &mut self,
        index: usize,
        feedback: &TransportCc<'_>,
        from_selected: bool,
        now: Time,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        peer.rate.over_stream = peer.sends_over_stream();
        peer.rate.on_feedback(feedback, peer.rtt_us, now);
        let proven = |number: u64| number >= peer.proof_from;
        let acknowledged = peer.rate.fates.iter().any(|fate| fate.arrival_us.is_some() && proven(fate.ext_seq));
        if from_selected && acknowledged {
            peer.ice.acknowledge();
        }
        self.after_rate(index, now, out);
    }
}
