//! From numbers to datagrams: takes a slot's queue, writes its packets for this subscriber, encrypts them in place
//! and groups them into runs of equal size, one GSO send each. Here, and only here, a packet gets its transport-wide
//! number and its send time, and its index is spent.

use crate::arena::Arena;
use crate::cache::PacketMeta;
use crate::command::{ExtensionIds, Kind, TrackId, TransportId};
use crate::output::{Outputs, Path, Run, MAX_SEGMENTS, MAX_SEND_BYTES};
use crate::slot::{Form, OutCodec, Sent, Slot};
use crate::time::Time;
use crate::track::Track;
use crate::transport::Transport;
use holdspace_wire::codec::{dependency, red, vp8, vp9};
use holdspace_wire::rtp::{self, Header, NewHeader, Written};
use holdspace_wire::seq::{ExtSeq, Seq};
use holdspace_wire::srtp::{SrtpError, MAX_OVERHEAD};

/// libwebrtc cuts a frame into packets that differ by a byte or two; filling up to this much makes them one send.
const FILL_BYTES: usize = 8;
/// Above any packet that fits an Ethernet frame, with our extensions and the tag added.
pub(crate) const MAX_PACKET_BYTES: usize = 1_700;

/// A queued packet with everything it is made of.
struct Source<'a> {
    sent: Sent,
    meta: &'a PacketMeta,
    descriptor: &'a [u8],
    payload: &'a [u8],
    codec: OutCodec,
    video_orientation: Option<u8>,
    playout_delay: Option<[u8; 3]>,
}

fn find<'a>(slot: &Slot, tracks: &'a Arena<TrackId, Track>, sent: Sent) -> Option<Source<'a>> {
    let stream = tracks.get(sent.track as usize)?.stream(usize::from(sent.layer))?;
    if stream.key != sent.stream_key {
        return None;
    }
    if sent.empty {
        const BLANK: PacketMeta = PacketMeta::BLANK;
        let codec = slot.codec_map.iter().flatten().next()?;
        let codec = OutCodec { form: Form::AsIs, ..*codec };
        let (meta, descriptor, payload) = (&BLANK, &[][..], &[][..]);
        return Some(Source { sent, meta, descriptor, payload, codec, video_orientation: None, playout_delay: None });
    }
    let (meta, descriptor, payload) = stream.cache.get(sent.source_seq)?;
    debug_assert!(sent.source_seq >= stream.shown_from, "what is not shown is in no cache");
    let codec = (*slot.codec_map.get(usize::from(meta.codec))?)?;
    let payload = match codec.form {
        Form::Unpacked => red::parse_untrusted_primary(payload).ok()?.data,
        _ => payload,
    };
    let (video_orientation, playout_delay) = (stream.video_orientation, stream.playout_delay);
    Some(Source { sent, meta, descriptor, payload, codec, video_orientation, playout_delay })
}

/// Extension elements of one packet, at most one of each kind we know.
struct Elements<'a> {
    list: [(u8, &'a [u8]); 7],
    len: usize,
}

impl<'a> Elements<'a> {
    fn push(&mut self, id: Option<u8>, value: &'a [u8]) {
        if let Some(id) = id {
            self.list[self.len] = (id, value);
            self.len += 1;
        }
    }

    fn as_slice(&self) -> &[(u8, &'a [u8])] {
        &self.list[..self.len]
    }

    /// Header bytes with these elements, as `rtp::write` will make it.
    fn header_bytes(&self) -> usize {
        let elements = self.as_slice();
        if elements.is_empty() {
            return rtp::FIXED_HEADER_BYTES;
        }
        let one_byte = elements.iter().all(|(id, value)| *id <= 14 && (1..=16).contains(&value.len()));
        let head = if one_byte { 1 } else { 2 };
        let block: usize = elements.iter().map(|(_, value)| head + value.len()).sum();
        rtp::FIXED_HEADER_BYTES + 4 + block.next_multiple_of(4)
    }
}

/// Values that change with every packet or must outlive the element list.
struct Stamps {
    transport_seq: [u8; 2],
    send_time: [u8; 3],
    audio_level: [u8; 1],
    orientation: [u8; 1],
    playout_delay: [u8; 3],
}

impl Stamps {
    fn new(source: &Source<'_>, transport_seq: Seq, now: Time) -> Self {
        Stamps {
            transport_seq: transport_seq.0.to_be_bytes(),
            send_time: rtp::abs_send_time(now.0),
            audio_level: [source.meta.audio_level.unwrap_or(0)],
            orientation: [source.video_orientation.unwrap_or(0)],
            playout_delay: source.playout_delay.unwrap_or_default(),
        }
    }
}

fn elements<'a>(ids: &ExtensionIds, mid: &'a str, source: &Source<'a>, stamps: &'a Stamps) -> Elements<'a> {
    let mut elements = Elements { list: [(0, &[]); 7], len: 0 };
    elements.push(ids.mid, mid.as_bytes());
    elements.push(ids.transport_cc, &stamps.transport_seq);
    elements.push(ids.abs_send_time, &stamps.send_time);
    if source.meta.audio_level.is_some() {
        elements.push(ids.audio_level, &stamps.audio_level);
    }
    if source.video_orientation.is_some() {
        elements.push(ids.video_orientation, &stamps.orientation);
    }
    if source.playout_delay.is_some() {
        elements.push(ids.playout_delay, &stamps.playout_delay);
    }
    if !source.descriptor.is_empty() {
        elements.push(ids.dependency_descriptor, source.descriptor);
    }
    elements
}

/// Plain length before filling.
fn plain_bytes(ids: &ExtensionIds, slot: &Slot, source: &Source<'_>) -> usize {
    let stamps = Stamps::new(source, Seq(0), Time(0));
    let header = elements(ids, &slot.spec.mid, source, &stamps).header_bytes();
    // An empty packet carries one byte of padding.
    header + source.payload.len().max(usize::from(source.sent.empty))
}

/// How the packet is numbered: in its own stream or as a retransmission.
#[derive(Clone, Copy)]
struct Numbering {
    ssrc: u32,
    payload_type: u8,
    ext_seq: u64,
    is_rtx: bool,
}

/// Writes and encrypts one packet at the start of `space`; returns its length on the wire.
fn write_packet(
    space: &mut [u8],
    slot: &Slot,
    transport: &mut Transport,
    source: &Source<'_>,
    numbering: Numbering,
    pad_to: usize,
    now: Time,
) -> Option<usize> {
    let keys = transport.keys.as_mut()?;
    let wire_bytes = pad_to + keys.profile.rtp_overhead();
    let ids = &transport.extensions;
    let transport_seq = match ids.transport_cc {
        Some(_) => transport.rate.history.record(now, wire_bytes, transport.rate.prober.cluster()),
        None => Seq(0),
    };
    let stamps = Stamps::new(source, transport_seq, now);
    let elements = elements(ids, &slot.spec.mid, source, &stamps);
    let header = NewHeader {
        marker: source.meta.marker,
        payload_type: numbering.payload_type,
        seq: ExtSeq(numbering.ext_seq).seq(),
        rtp_ts: source.sent.rtp_ts,
        ssrc: numbering.ssrc,
        extensions: elements.as_slice(),
    };
    let prefix = rtp::rtx_prefix(ExtSeq(source.sent.ext_seq).seq());
    let prefix = if numbering.is_rtx { &prefix[..] } else { &[] };
    let written = rtp::write(space, &header, &[prefix, source.payload], pad_to).ok()?;
    let payload = written.header_len + prefix.len()..written.header_len + prefix.len() + source.payload.len();
    rewrite_payload(&mut space[payload], source);
    if source.meta.frame_number.is_some() {
        rewrite_descriptor(space, ids, source.sent.frame_number);
    }
    let Written { header_len, len } = written;
    match keys.outbound.protect_rtp(space, len, header_len, ExtSeq(numbering.ext_seq)) {
        Ok(len) => Some(len),
        Err(error) => {
            transport.counters.repeat_refused += u64::from(error == SrtpError::IndexUsed);
            let number = transport.rate.history.next_number() - 1;
            transport.rate.history.mark_unsent(number, 1);
            None
        }
    }
}

/// Payload headers were read when the packet came in, so rewriting cannot fail but for a codec gone wrong since.
fn rewrite_payload(payload: &mut [u8], source: &Source<'_>) {
    let _ = match source.codec.form {
        Form::Vp8 if source.meta.picture_id.is_some() => {
            vp8::rewrite(payload, source.sent.picture_id, source.sent.tl0_pic_idx)
        }
        Form::Vp9 if source.meta.picture_id.is_some() => {
            vp9::rewrite(payload, source.sent.picture_id, source.sent.tl0_pic_idx)
        }
        Form::Red { inner } => red::rewrite_payload_types(payload, |_| Some(inner)),
        _ => Ok(()),
    };
}

/// The frame number of the dependency descriptor, where the subscriber gets one.
fn rewrite_descriptor(packet: &mut [u8], ids: &ExtensionIds, frame_number: u16) {
    let Some(id) = ids.dependency_descriptor else { return };
    let range = Header::parse_untrusted(packet).ok().and_then(|header| header.extension_range(packet, id));
    if let Some(value) = range.and_then(|range| packet.get_mut(range)) {
        dependency::rewrite_frame_number(value, frame_number);
    }
}

/// How a slot's turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing more waits.
    Done,
    More,
    /// The subscriber's path takes no more until then; `had_turn`: something was sent.
    Wait {
        until: Time,
        had_turn: bool,
    },
    /// It was held, and the path has emptied.
    Drained,
}

/// A held slot's path is looked at so often.
const HELD_LOOK_US: u64 = 20_000;

/// Sends what one slot has waiting, at most one run of it, as far as the subscriber's path allows.
pub(crate) fn send_slot(
    slot: &mut Slot,
    transport: &mut Transport,
    tracks: &Arena<TrackId, Track>,
    plan: &mut Vec<(Sent, usize)>,
    now: Time,
    out: &mut Outputs,
) -> Turn {
    let path = transport.ice.send_path().filter(|_| slot.open && transport.can_send_media());
    let Some(path) = path else {
        slot.drop_queue();
        slot.resend.clear();
        slot.held = false;
        return Turn::Done;
    };
    let mut budget = match video_budget(slot, transport, now) {
        Ok(budget) => budget,
        Err(turn) => return turn,
    };
    while budget > 0 {
        let Some(ext_seq) = slot.resend.pop_front() else { break };
        let sent = resend(slot, transport, tracks, ext_seq, path, now, out);
        budget = budget.saturating_sub(sent);
    }
    if budget > 0 {
        let gone = plan_run(slot, transport, tracks, plan, budget);
        send_run(slot, transport, tracks, plan, path, now, out);
        if gone > 0 && !slot.is_audio() {
            transport.counters.dropped_out += gone + slot.hold() as u64;
            return Turn::Wait { until: now.plus_us(HELD_LOOK_US), had_turn: true };
        }
    }
    if slot.is_idle() {
        return Turn::Done;
    }
    match transport.rate.budget(now, transport.rtt_us) {
        Err(until) if !slot.is_audio() => Turn::Wait { until, had_turn: true },
        _ => Turn::More,
    }
}

/// Bytes the slot may send now; an error ends its turn.
fn video_budget(slot: &mut Slot, transport: &mut Transport, now: Time) -> Result<usize, Turn> {
    if slot.is_audio() || (!transport.rate.is_paced() && !slot.held) {
        return Ok(usize::MAX);
    }
    if slot.held {
        let drained = transport.rate.is_drained(transport.rtt_us);
        return Err(if drained {
            Turn::Drained
        } else {
            Turn::Wait { until: now.plus_us(HELD_LOOK_US), had_turn: true }
        });
    }
    if slot.is_stale(now) {
        transport.counters.dropped_out += slot.hold() as u64;
        return Err(Turn::Wait { until: now.plus_us(HELD_LOOK_US), had_turn: true });
    }
    transport.rate.budget(now, transport.rtt_us).map_err(|until| Turn::Wait { until, had_turn: false })
}

/// Takes from the queue as many packets as make one send: all of one size after filling, the last may be shorter.
/// Answers how many had left the cache.
fn plan_run(
    slot: &mut Slot,
    transport: &Transport,
    tracks: &Arena<TrackId, Track>,
    plan: &mut Vec<(Sent, usize)>,
    budget: usize,
) -> u64 {
    let (mut gone, mut planned_bytes) = (0, 0);
    plan.clear();
    let overhead = transport.keys.as_ref().map_or(MAX_OVERHEAD, |keys| keys.profile.rtp_overhead());
    let (mut shortest, mut longest) = (usize::MAX, 0);
    while let Some(ext_seq) = slot.queue.front().copied() {
        let source = slot.sent(ext_seq).and_then(|sent| find(slot, tracks, sent));
        let Some(source) = source else {
            slot.queue.pop_front(); // left the cache while it waited
            gone += 1;
            continue;
        };
        let bytes = plain_bytes(&transport.extensions, slot, &source);
        let (low, high) = (shortest.min(bytes), longest.max(bytes));
        let fits = planned_bytes < budget
            && plan.len() < MAX_SEGMENTS
            && (plan.len() + 1) * (high + overhead) <= MAX_SEND_BYTES;
        let is_equal = high - low <= FILL_BYTES;
        if !plan.is_empty() && !(fits && (is_equal || bytes < longest)) {
            break;
        }
        slot.queue.pop_front();
        planned_bytes += bytes + overhead;
        plan.push((source.sent, bytes));
        if !is_equal {
            break;
        }
        (shortest, longest) = (low, high);
    }
    gone
}

fn send_run(
    slot: &mut Slot,
    transport: &mut Transport,
    tracks: &Arena<TrackId, Track>,
    plan: &[(Sent, usize)],
    path: Path,
    now: Time,
    out: &mut Outputs,
) {
    let Some(longest) = plan.iter().map(|(_, bytes)| *bytes).max() else { return };
    let segment_bytes = longest + transport.keys.as_ref().map_or(0, |keys| keys.profile.rtp_overhead());
    if transport.ice.on_probation() && !transport.ice.spend(segment_bytes * plan.len()) {
        return;
    }
    let space = out.space(plan.len() * (longest + MAX_OVERHEAD) + MAX_PACKET_BYTES);
    let numbers = numbers_from(transport);
    let (mut len, mut segments, mut arrival) = (0, 0, now);
    for (at, (sent, bytes)) in plan.iter().enumerate() {
        let Some(source) = find(slot, tracks, *sent) else { continue };
        let pad_to = if at + 1 < plan.len() { longest } else { *bytes };
        let (ssrc, payload_type) = (slot.spec.ssrc, source.codec.payload_type);
        let numbering = Numbering { ssrc, payload_type, ext_seq: sent.ext_seq, is_rtx: false };
        let written = write_packet(&mut space[len..], slot, transport, &source, numbering, pad_to, now);
        let Some(written) = written else { continue };
        if slot.keeps_ciphertext() {
            slot.keep(sent.ext_seq, &space[len..len + written]);
        }
        if !sent.empty {
            arrival = arrival.min(source.meta.arrival);
        }
        slot.sent_end = slot.sent_end.max(sent.ext_seq + 1);
        slot.packets_sent += 1;
        slot.bytes_sent += source.payload.len() as u64;
        len += written;
        segments += 1;
    }
    if segments == 0 {
        return;
    }
    transport.counters.packets_out += segments as u64;
    transport.counters.bytes_out += len as u64;
    let segment_bytes = if segments == 1 { len } else { segment_bytes };
    let media_packets = segments as u32;
    transport.rate.on_sent(len, media_packets, now);
    let is_video = slot.spec.kind == Kind::Video;
    out.commit(Run { path, segment_bytes, segments, arrival: Some(arrival), media_packets, is_video, numbers }, len);
}

/// For the runtime to name packets that it could not send.
fn numbers_from(transport: &Transport) -> Option<(TransportId, u64)> {
    transport.extensions.transport_cc.map(|_| (transport.id, transport.rate.history.next_number()))
}

/// RFC 3550 §5.1: the last byte counts the padding, itself included.
const PADDING_BYTES: usize = 255;
const MAX_PADDING_PACKETS: usize = 32;

/// Packets of padding alone on the slot's RTX stream, about `bytes` in all, as one send.
pub(crate) fn send_padding(slot: &mut Slot, transport: &mut Transport, bytes: usize, now: Time, out: &mut Outputs) {
    let (Some(path), Some(ssrc)) = (transport.ice.send_path(), slot.spec.rtx_ssrc) else { return };
    let Some(payload_type) = slot.rtx_payload_type().filter(|_| !transport.ice.on_probation()) else { return };
    let numbers = numbers_from(transport);
    let sent = Sent::padding(slot.timeline.last_ts());
    let codec = OutCodec { payload_type, rtx_payload_type: None, form: Form::AsIs };
    let (meta, descriptor, payload) = (&PacketMeta::BLANK, &[][..], &[][..]);
    let source = Source { sent, meta, descriptor, payload, codec, video_orientation: None, playout_delay: None };
    let plain = plain_bytes(&transport.extensions, slot, &source) - 1 + PADDING_BYTES;
    let count = bytes.div_ceil(plain).clamp(1, MAX_PADDING_PACKETS);
    let space = out.space(count * (plain + MAX_OVERHEAD) + MAX_PACKET_BYTES);
    let (mut len, mut segments) = (0, 0);
    for _ in 0..count {
        let numbering = Numbering { ssrc, payload_type, ext_seq: slot.rtx_next, is_rtx: false };
        slot.rtx_next += 1;
        let Some(written) = write_packet(&mut space[len..], slot, transport, &source, numbering, plain, now) else {
            break;
        };
        len += written;
        segments += 1;
    }
    if segments == 0 {
        return;
    }
    transport.counters.packets_out += segments as u64;
    transport.counters.bytes_out += len as u64;
    transport.rate.on_padding(len, segments as u32, now);
    let run =
        Run { path, segment_bytes: len / segments, segments, arrival: None, media_packets: 0, is_video: true, numbers };
    out.commit(run, len);
}

/// One repeat: as RTX, or as the identical ciphertext for a peer without RTX, or not at all. Answers its bytes.
fn resend(
    slot: &mut Slot,
    transport: &mut Transport,
    tracks: &Arena<TrackId, Track>,
    ext_seq: u64,
    path: Path,
    now: Time,
    out: &mut Outputs,
) -> usize {
    if !transport.ice.spend(MAX_PACKET_BYTES) {
        return 0;
    }
    let Some(ssrc) = slot.spec.rtx_ssrc else {
        let Some(ciphertext) = slot.kept(ext_seq) else { return 0 };
        out.send_one(path, ciphertext);
        count_resent(transport, ciphertext.len(), now);
        return ciphertext.len();
    };
    let Some(source) = slot.sent(ext_seq).and_then(|sent| find(slot, tracks, sent)) else { return 0 };
    let Some(payload_type) = source.codec.rtx_payload_type else { return 0 };
    let numbers = numbers_from(transport);
    let numbering = Numbering { ssrc, payload_type, ext_seq: slot.rtx_next, is_rtx: true };
    slot.rtx_next += 1;
    let bytes = plain_bytes(&transport.extensions, slot, &source) + 2;
    let space = out.space(bytes + MAX_OVERHEAD + MAX_PACKET_BYTES);
    let Some(len) = write_packet(space, slot, transport, &source, numbering, bytes, now) else { return 0 };
    out.commit_one(path, len, slot.spec.kind == Kind::Video, numbers);
    count_resent(transport, len, now);
    len
}

fn count_resent(transport: &mut Transport, bytes: usize, now: Time) {
    transport.rate.on_sent(bytes, 1, now);
    transport.counters.retransmitted_out += 1;
    transport.counters.packets_out += 1;
    transport.counters.bytes_out += bytes as u64;
}
