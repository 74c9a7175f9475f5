//! A fake browser: publishes frames shaped like a codec's and Opus-shaped packets, answers NACKs with RTX and PLIs with
//! keyframes, receives, asks for what is missing, and reports like Chromium (RR, transport-wide feedback).

use super::payload;
use holdspace_engine::*;
use holdspace_wire::codec::Codec;
use holdspace_wire::rtcp::{self, Arrivals, Packet, ReportBlock, SenderInfo, Writer};
use holdspace_wire::rtp::{self, Header, NewHeader};
use holdspace_wire::seq::{ExtSeq, Seq};
use holdspace_wire::srtp::{Inbound, Outbound, Profile};
use holdspace_wire::stun::{self, CheckToSend, IceRole, IntegrityKey};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Arrivals told already are told again with a late packet before them, so long.
const TOLD_KEPT_US: i64 = 500_000;
/// What is missing before a packet that came fits one feedback with it.
const MOST_MISSING: u64 = 400;

/// A packet as the browser's decoder would get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub ext_seq: u64,
    pub payload_type: u8,
    pub rtp_ts: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    pub at: Time,
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub by_rtx: bool,
}

/// One stream the browser publishes.
pub struct Sending {
    pub track: TrackId,
    pub kind: Kind,
    pub mid: String,
    pub rid: Option<String>,
    pub ssrc: u32,
    pub rtx_ssrc: u32,
    pub active: bool,
    pub every_ms: u64,
    pub packets_per_frame: usize,
    pub payload_bytes: usize,
    /// How many times the packets of a delta frame a keyframe has.
    pub keyframe_factor: usize,
    pub ext_seq: u64,
    pub rtx_seq: u64,
    pub rtp_ts: u32,
    pub picture_id: u16,
    pub tl0: u8,
    pub keyframe_wanted: bool,
    pub audio_level: u8,
    /// By MID instead of SSRC.
    pub unannounced: bool,
    pub answers_nacks: bool,
    /// The first packet of a keyframe is sent to nobody: only RTX can bring it.
    pub loses_keyframe_start: bool,
    /// 1 to 3 (AV1: 3): frames of layer 0, 0 1 or 0 2 1 2 by turns.
    pub temporal_layers: u64,
    pub packets: u32,
    pub frames: u64,
    pub keyframes: u64,
    pub turn: u64,
    /// Dependency descriptors (AV1) by sequence number.
    pub descriptors: BTreeMap<u64, Vec<u8>>,
    /// Everything sent: payloads by sequence number, for comparison and for RTX.
    pub history: BTreeMap<u64, (Vec<u8>, u32, bool)>,
}

#[derive(Default)]
pub struct Receiving {
    pub kind_is_video: bool,
    pub rtx_ssrc: Option<u32>,
    pub got: BTreeMap<u64, Got>,
    pub newest: Option<u64>,
    pub asked: HashMap<u64, (Time, u32)>,
    pub duplicates: u64,
    pub reports: Vec<SenderInfo>,
    pub last_report: Option<(u32, Time)>,
}

pub struct Browser {
    pub transport: TransportId,
    pub participant: String,
    pub address: SocketAddr,
    /// Of the server, where the browser's datagrams come in.
    pub socket: u32,
    pub server_ufrag: String,
    pub server_pwd: String,
    pub profile: Profile,
    pub key_up: Vec<u8>,
    pub key_down: Vec<u8>,
    pub extensions: ExtensionIds,
    pub sending: Vec<Sending>,
    pub receiving: HashMap<u32, Receiving>,
    pub cnames: HashMap<u32, String>,
    pub nacks: bool,
    pub checks: bool,
    pub reports: bool,
    /// What its receiver reports say of every stream, in 1/256.
    pub says_lost: u8,
    pub undecodable: u64,
    pub padding_got: u64,
    pub plis_got: Vec<(Time, u32)>,
    pub nacks_got: u64,
    pub rembs: Vec<u64>,
    pub blocks: Vec<ReportBlock>,
    /// Transport-wide numbers the server reported back: (seq, arrived).
    pub told: HashMap<u16, bool>,
    pub dtls_got: Vec<(Time, Vec<u8>)>,
    pub stun_answers: Vec<(Time, bool)>,
    pub transport_seq: u16,
    pub sent_numbers: u64,
    /// Offers RED (payload type 63 + n) before Opus.
    pub red: bool,
    /// What its camera sends and its screen decodes.
    pub video_codec: Codec,
    pub orientation: Option<u8>,
    outbound: Outbound,
    inbound: Inbound,
    arrivals: BTreeMap<u64, i64>,
    /// Where the next feedback begins.
    untold: u64,
    newest_transport_seq: Option<u64>,
    pub transport_seqs: Vec<u64>,
    feedback_count: u8,
    transactions: u8,
}

impl Browser {
    pub fn new(index: usize, profile: Profile) -> Browser {
        let key_len = profile.key_bytes() + profile.salt_bytes();
        let key = |salt: u8| (0..key_len).map(|at| at as u8 ^ salt ^ (index as u8) << 3).collect::<Vec<u8>>();
        let (key_up, key_down) = (key(0x55), key(0xaa));
        let id = |base: u8| Some(base + (index % 3) as u8); // other numbers for everyone
        Browser {
            transport: TransportId(100 + index as u64),
            participant: format!("person{index}"),
            address: SocketAddr::from(([10, 0, 0, 1 + index as u8], 4_000)),
            socket: 0,
            server_ufrag: format!("ufrag{index:04}"),
            server_pwd: format!("password-of-participant-{index:04}"),
            profile,
            outbound: Outbound::new(profile, &key_up).expect("key"),
            inbound: Inbound::new(profile, &key_down).expect("key"),
            key_up,
            key_down,
            extensions: ExtensionIds {
                mid: id(1),
                audio_level: id(4),
                transport_cc: id(7),
                abs_send_time: id(10),
                ..ExtensionIds::default()
            },
            sending: Vec::new(),
            receiving: HashMap::new(),
            cnames: HashMap::new(),
            nacks: true,
            checks: true,
            reports: true,
            says_lost: 0,
            undecodable: 0,
            padding_got: 0,
            plis_got: Vec::new(),
            nacks_got: 0,
            rembs: Vec::new(),
            blocks: Vec::new(),
            told: HashMap::new(),
            dtls_got: Vec::new(),
            stun_answers: Vec::new(),
            transport_seq: 0,
            sent_numbers: 0,
            red: false,
            video_codec: Codec::Vp8,
            orientation: None,
            arrivals: BTreeMap::new(),
            untold: u64::MAX,
            newest_transport_seq: None,
            transport_seqs: Vec::new(),
            feedback_count: 0,
            transactions: 0,
        }
    }

    fn number(&self) -> u8 {
        (self.transport.0 - 100) as u8
    }

    pub fn vp8(&self) -> u8 {
        96 + self.number() % 8
    }

    pub fn vp8_rtx(&self) -> u8 {
        104 + self.number() % 4
    }

    pub fn opus(&self) -> u8 {
        111 + self.number() % 8
    }

    pub fn codecs(&self, kind: Kind) -> Vec<CodecSpec> {
        let video = kind == Kind::Video;
        let mut codecs = vec![CodecSpec {
            name: if video { self.video_codec.name() } else { "opus" }.into(),
            payload_type: if video { self.vp8() } else { self.opus() },
            clock_hz: if video { 90_000 } else { 48_000 },
            rtx_payload_type: video.then(|| self.vp8_rtx()),
            nack: video,
            pli: video,
            remb: video,
            twcc: true,
            fmtp: String::new(),
        }];
        if self.red && !video {
            let red = CodecSpec { name: "red".into(), payload_type: self.red_type(), ..codecs[0].clone() };
            codecs.insert(0, red);
        }
        codecs
    }

    pub fn red_type(&self) -> u8 {
        63 + self.number() % 8
    }

    pub fn add_sending(&mut self, track: TrackId, kind: Kind) -> usize {
        let ssrc = 0x1000 * (1 + track.0 as u32);
        self.sending.push(Sending {
            track,
            kind,
            mid: format!("m{}", track.0),
            rid: None,
            ssrc,
            rtx_ssrc: ssrc + 1,
            active: true,
            every_ms: if kind == Kind::Video { 33 } else { 20 },
            packets_per_frame: if kind == Kind::Video { 4 } else { 1 },
            payload_bytes: if kind == Kind::Video { 1_100 } else { 80 },
            keyframe_factor: 1,
            ext_seq: 65_500 + track.0 % 7,
            rtx_seq: 300,
            rtp_ts: 0xffff_0000,
            picture_id: 0x7ff0,
            tl0: 250,
            keyframe_wanted: true,
            audio_level: 30,
            unannounced: false,
            answers_nacks: true,
            loses_keyframe_start: false,
            temporal_layers: 1,
            packets: 0,
            frames: 0,
            keyframes: 0,
            turn: 0,
            descriptors: BTreeMap::new(),
            history: BTreeMap::new(),
        });
        self.sending.len() - 1
    }

    pub fn track_spec(&self, at: usize) -> TrackSpec {
        let sending = &self.sending[at];
        let rtx = (sending.kind == Kind::Video).then_some(sending.rtx_ssrc);
        TrackSpec {
            mid: sending.mid.clone(),
            kind: sending.kind,
            codecs: self.codecs(sending.kind),
            ssrcs: if sending.unannounced { vec![] } else { vec![(sending.ssrc, rtx)] },
            rids: vec![],
            private: false,
        }
    }

    pub fn slot_spec(&self, slot: u64, kind: Kind, ssrc: u32, rtx_ssrc: Option<u32>) -> SlotSpec {
        let mut codecs = self.codecs(kind);
        if rtx_ssrc.is_none() {
            codecs.iter_mut().for_each(|codec| codec.rtx_payload_type = None);
        }
        SlotSpec { mid: format!("s{slot}"), kind, ssrc, rtx_ssrc, codecs, cname: format!("cname{slot}") }
    }

    pub fn expect_slot(&mut self, ssrc: u32, rtx_ssrc: Option<u32>, kind: Kind) {
        let receiving = Receiving { kind_is_video: kind == Kind::Video, rtx_ssrc, ..Receiving::default() };
        self.receiving.insert(ssrc, receiving);
    }

    pub fn binding_request(&mut self, use_candidate: bool) -> Vec<u8> {
        let key = IntegrityKey::new(&self.server_pwd);
        self.binding_request_with(use_candidate, &key)
    }

    pub fn binding_request_with(&mut self, use_candidate: bool, key: &IntegrityKey) -> Vec<u8> {
        self.transactions = self.transactions.wrapping_add(1);
        let mut out = vec![0; 300];
        let username = format!("{}:remote", self.server_ufrag);
        let check = CheckToSend {
            transaction_id: [self.transactions; 12],
            username: &username,
            priority: 1_000,
            use_candidate,
            role: IceRole::Controlling(7),
        };
        let len = stun::write_binding_request(&mut out, &check, key).expect("room");
        out.truncate(len);
        out
    }

    /// The next frame or audio packet, encrypted.
    pub fn next_packets(&mut self, at: usize) -> Vec<Vec<u8>> {
        let sending = &mut self.sending[at];
        let keyframe = sending.kind == Kind::Video && std::mem::take(&mut sending.keyframe_wanted);
        let step = if sending.kind == Kind::Video { 90 } else { 48 } * sending.every_ms as u32;
        sending.rtp_ts = sending.rtp_ts.wrapping_add(step);
        sending.picture_id = (sending.picture_id + 1) & 0x7fff;
        // A keyframe begins the pattern anew.
        sending.turn = if keyframe { 0 } else { sending.turn + 1 };
        sending.tl0 = sending.tl0.wrapping_add(u8::from(sending.is_base()));
        sending.frames += 1;
        sending.keyframes += u64::from(keyframe);
        let count = sending.packets_per_frame * if keyframe { sending.keyframe_factor } else { 1 };
        let skipped = usize::from(keyframe && sending.loses_keyframe_start);
        let packets = (0..count).map(|part| self.media_packet(at, part, part + 1 == count, keyframe));
        packets.collect::<Vec<_>>().split_off(skipped)
    }

    fn media_packet(&mut self, at: usize, part: usize, last: bool, keyframe: bool) -> Vec<u8> {
        let (opus, video_codec) = (self.opus(), self.video_codec);
        let sending = &mut self.sending[at];
        sending.ext_seq += 1;
        let payload = match sending.kind {
            Kind::Video => payload::video(sending, video_codec, part, last, keyframe),
            Kind::Audio if self.red => payload::red(sending, opus),
            Kind::Audio => payload::filler(sending.ssrc, sending.ext_seq, sending.payload_bytes),
        };
        let marker = sending.kind == Kind::Video && last;
        let ext_seq = sending.ext_seq;
        sending.history.insert(ext_seq, (payload.clone(), sending.rtp_ts, marker));
        sending.packets += 1;
        self.raw_packet(at, ext_seq, &payload, 0)
    }

    /// A padding-only packet on the media SSRC, as old congestion probes are.
    pub fn padding_packet(&mut self, at: usize) -> Vec<u8> {
        self.sending[at].ext_seq += 1;
        let ext_seq = self.sending[at].ext_seq;
        self.raw_packet(at, ext_seq, &[], 100)
    }

    pub fn raw_packet(&mut self, at: usize, ext_seq: u64, payload: &[u8], padding: usize) -> Vec<u8> {
        let payload_type = match self.sending[at].kind {
            Kind::Video => self.vp8(),
            Kind::Audio if self.red => self.red_type(),
            Kind::Audio => self.opus(),
        };
        let sending = &self.sending[at];
        let (_, rtp_ts, marker) = sending.history.get(&ext_seq).cloned().unwrap_or((vec![], sending.rtp_ts, false));
        let (mid, ssrc) = (sending.mid.clone(), sending.ssrc);
        let numbers = Numbers { ssrc, payload_type, ext_seq, rtp_ts, marker, original: ext_seq };
        self.protect(at, numbers, &mid, payload, padding)
    }

    fn rtx_packet(&mut self, at: usize, original: u64) -> Option<Vec<u8>> {
        let payload_type = self.vp8_rtx();
        let sending = &mut self.sending[at];
        let (payload, rtp_ts, marker) = sending.history.get(&original)?.clone();
        sending.rtx_seq += 1;
        let (ssrc, ext_seq, mid) = (sending.rtx_ssrc, sending.rtx_seq, sending.mid.clone());
        let body = [&rtp::rtx_prefix(ExtSeq(original).seq())[..], &payload].concat();
        let numbers = Numbers { ssrc, payload_type, ext_seq, rtp_ts, marker, original };
        Some(self.protect(at, numbers, &mid, &body, 0))
    }

    /// RTX of a chosen packet, asked for or not.
    pub fn rtx_of(&mut self, at: usize, original: u64) -> Vec<u8> {
        self.rtx_packet(at, original).expect("sent before")
    }

    fn protect(&mut self, at: usize, numbers: Numbers, mid: &str, payload: &[u8], padding: usize) -> Vec<u8> {
        let mut out = vec![0; 2_000];
        self.transport_seq = self.transport_seq.wrapping_add(1);
        self.sent_numbers += 1;
        let transport_seq = self.transport_seq.to_be_bytes();
        let level = [self.sending[at].audio_level];
        let rid = self.sending[at].rid.clone().unwrap_or_default();
        let descriptor = self.sending[at].descriptors.get(&numbers.original).cloned();
        let mut list: Vec<(u8, &[u8])> = Vec::new();
        let ids = self.extensions;
        ids.mid.into_iter().for_each(|id| list.push((id, mid.as_bytes())));
        ids.transport_cc.into_iter().for_each(|id| list.push((id, &transport_seq)));
        if self.sending[at].kind == Kind::Audio {
            ids.audio_level.into_iter().for_each(|id| list.push((id, &level)));
        }
        let orientation = [self.orientation.unwrap_or(0)];
        if self.orientation.is_some() && numbers.marker {
            ids.video_orientation.into_iter().for_each(|id| list.push((id, &orientation)));
        }
        let described = ids.dependency_descriptor.zip(descriptor.as_deref());
        described.into_iter().for_each(|element| list.push(element));
        let rid_id = if numbers.ssrc == self.sending[at].ssrc { ids.rid } else { ids.repaired_rid };
        rid_id.filter(|_| !rid.is_empty()).into_iter().for_each(|id| list.push((id, rid.as_bytes())));
        let header = NewHeader {
            marker: numbers.marker,
            payload_type: numbers.payload_type,
            seq: ExtSeq(numbers.ext_seq).seq(),
            rtp_ts: numbers.rtp_ts,
            ssrc: numbers.ssrc,
            extensions: &list,
        };
        let pad_to = if padding > 0 { 12 + 40 + padding } else { 0 };
        let written = rtp::write(&mut out, &header, &[payload], pad_to).expect("room");
        // The first packet starts rollover 0 at the receiver, wherever the counter here stands.
        let index = ExtSeq(numbers.ext_seq);
        let len = self.outbound.protect_rtp(&mut out, written.len, written.header_len, index).expect("fresh index");
        out.truncate(len);
        out
    }

    /// Encrypts a compound written by `write`.
    pub fn rtcp(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = vec![0; 1_500];
        let mut writer = Writer::new(&mut out[..1_400]);
        write(&mut writer);
        let len = writer.len();
        let len = self.outbound.protect_rtcp(&mut out, len).expect("room");
        out.truncate(len);
        out
    }

    pub fn sender_report(&mut self, at: usize, ntp_time: u64) -> Vec<u8> {
        let sending = &self.sending[at];
        let (ssrc, rtp_ts, packets) = (sending.ssrc, sending.rtp_ts, sending.packets);
        let info = SenderInfo { ssrc, ntp_time, rtp_ts, packets, bytes: 0 };
        self.rtcp(|writer| writer.sender_report(&info, &[]).expect("room"))
    }

    /// A datagram from the server; answers what the browser sends back at once.
    pub fn receive(&mut self, datagram: &[u8], now: Time) -> Vec<Vec<u8>> {
        match datagram[0] {
            0..=3 => {
                if let Ok(stun::Message::BindingResponse { success, .. }) = stun::parse_untrusted_message(datagram) {
                    self.stun_answers.push((now, success));
                }
                Vec::new()
            }
            20..=63 => {
                self.dtls_got.push((now, datagram.to_vec()));
                Vec::new()
            }
            _ if (192..224).contains(&datagram[1]) => self.receive_rtcp(datagram, now),
            _ => {
                self.receive_rtp(datagram, now);
                Vec::new()
            }
        }
    }

    fn receive_rtp(&mut self, datagram: &[u8], now: Time) {
        let mut packet = datagram.to_vec();
        let header = Header::parse_untrusted(&packet).expect("the server writes RTP");
        let opened = match self.inbound.unprotect_rtp(&mut packet, &header) {
            Ok(opened) => opened,
            Err(holdspace_wire::srtp::SrtpError::Replayed) => return,
            Err(_) => {
                self.undecodable += 1;
                return;
            }
        };
        packet.truncate(opened.len);
        let payload = packet[header.payload_range(&packet).expect("padding")].to_vec();
        let extensions: Vec<(u8, Vec<u8>)> =
            header.extensions(&packet).map(|e| (e.id, packet[e.range].to_vec())).collect();
        if let Some(seq) = self.extensions.transport_cc.and_then(|id| header.extension(&packet, id)) {
            self.note_transport_seq(rtp::read_transport_seq(seq).expect("two bytes"), now);
        }
        let mut got = Got {
            ext_seq: opened.ext_seq.0,
            payload_type: header.payload_type,
            rtp_ts: header.rtp_ts,
            marker: header.marker,
            payload,
            at: now,
            extensions,
            by_rtx: false,
        };
        if let Some(receiving) = self.receiving.get_mut(&header.ssrc) {
            receiving.newest = receiving.newest.max(Some(got.ext_seq));
            receiving.duplicates += u64::from(receiving.got.insert(got.ext_seq, got).is_some());
            return;
        }
        let receiving = self.receiving.values_mut().find(|r| r.rtx_ssrc == Some(header.ssrc));
        let receiving = receiving.expect("an SSRC announced to this browser");
        if got.payload.is_empty() {
            self.padding_got += 1; // a probe
            return;
        }
        let (original, rest) = rtp::parse_untrusted_rtx(&got.payload).expect("OSN");
        let newest = ExtSeq(receiving.newest.expect("media before its repair"));
        got.ext_seq = newest.nearest(original).0;
        got.payload = rest.to_vec();
        got.by_rtx = true;
        match receiving.got.entry(got.ext_seq) {
            Entry::Vacant(entry) => {
                entry.insert(got);
            }
            Entry::Occupied(_) => receiving.duplicates += 1,
        }
    }

    fn note_transport_seq(&mut self, seq: Seq, now: Time) {
        let ext = match self.newest_transport_seq {
            Some(newest) => ExtSeq(newest).nearest(seq).0,
            None => 0x1_0000 + u64::from(seq.0),
        };
        self.newest_transport_seq = self.newest_transport_seq.max(Some(ext));
        self.transport_seqs.push(ext);
        self.untold = self.untold.min(ext);
        self.arrivals.insert(ext, now.0 as i64);
    }

    fn receive_rtcp(&mut self, datagram: &[u8], now: Time) -> Vec<Vec<u8>> {
        let mut packet = datagram.to_vec();
        let len = match self.inbound.unprotect_rtcp(&mut packet) {
            Ok(len) => len,
            Err(holdspace_wire::srtp::SrtpError::Replayed) => return Vec::new(),
            Err(error) => panic!("the server's RTCP: {error}"),
        };
        let mut answers = Vec::new();
        for part in rtcp::parse_untrusted(&packet[..len]) {
            match part.expect("the server writes RTCP") {
                Packet::SenderReport { info, reports } => {
                    if let Some(receiving) = self.receiving.get_mut(&info.ssrc) {
                        receiving.reports.push(info);
                        receiving.last_report = Some(((info.ntp_time >> 16) as u32, now));
                    }
                    self.blocks.extend(reports);
                }
                Packet::ReceiverReport { reports, .. } => self.blocks.extend(reports),
                Packet::Sdes(chunks) => {
                    self.cnames.extend(chunks.map(|(ssrc, cname)| (ssrc, String::from_utf8_lossy(cname).into_owned())))
                }
                Packet::Nack { media_ssrc, lost, .. } => {
                    self.nacks_got += 1;
                    let at = self.sending.iter().position(|sending| sending.ssrc == media_ssrc).expect("my SSRC");
                    for seq in lost.filter(|_| self.sending[at].answers_nacks).collect::<Vec<Seq>>() {
                        let original = ExtSeq(self.sending[at].ext_seq).nearest(seq).0;
                        answers.extend(self.rtx_packet(at, original));
                    }
                }
                Packet::Pli { media_ssrc, .. } => {
                    self.plis_got.push((now, media_ssrc));
                    let mine = self.sending.iter_mut().find(|sending| sending.ssrc == media_ssrc);
                    mine.expect("my SSRC").keyframe_wanted = true;
                }
                Packet::Remb { bps, .. } => self.rembs.push(bps),
                Packet::TransportCc(feedback) => {
                    for (seq, arrival) in feedback.statuses() {
                        *self.told.entry(seq.0).or_default() |= arrival.is_some();
                    }
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        answers
    }

    /// Consent checks every 2 s, NACKs every 20 ms, feedback every 50 ms, receiver reports every second.
    pub fn timers(&mut self, now: Time) -> Vec<Vec<u8>> {
        let now_ms = now.0 / 1_000;
        let mut datagrams = Vec::new();
        if self.checks && now_ms % 2_000 == 17 {
            datagrams.push(self.binding_request(true));
        }
        if self.nacks && now_ms % 10 == 3 {
            datagrams.extend(self.write_nacks(now));
        }
        if self.reports && now_ms % 50 == 7 {
            datagrams.extend(self.write_feedback(now));
        }
        if self.reports && now_ms % 1_000 == 11 {
            datagrams.extend(self.write_receiver_report(now));
        }
        datagrams
    }

    fn write_nacks(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut asks = Vec::new();
        for (ssrc, receiving) in self.receiving.iter_mut().filter(|(_, r)| r.kind_is_video) {
            let (Some(first), Some(newest)) = (receiving.got.keys().next(), receiving.newest) else { continue };
            let from = (*first).max(newest.saturating_sub(300));
            let mut lost = Vec::new();
            for seq in from..newest {
                if receiving.got.contains_key(&seq) || lost.len() >= 50 {
                    continue;
                }
                let asked = receiving.asked.entry(seq).or_insert((Time(0), 0));
                if asked.1 < 12 && now.since_ms(asked.0) >= 60 {
                    *asked = (now, asked.1 + 1);
                    lost.push(ExtSeq(seq).seq());
                }
            }
            if !lost.is_empty() {
                asks.push((*ssrc, lost));
            }
        }
        asks.into_iter().map(|(ssrc, lost)| self.rtcp(|writer| writer.nack(2, ssrc, &lost).expect("room"))).collect()
    }

    /// Like Chromium's: from where the last report ended, or from a packet that came after it was called missing, to the
    /// newest.
    fn write_feedback(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut reports = Vec::new();
        while let Some((first, _)) = self.arrivals.range(self.untold..).next() {
            let begins = self.untold.max(first.saturating_sub(MOST_MISSING));
            let newest = self.newest_transport_seq.expect("something arrived");
            let arrivals_us: Vec<Option<i64>> = (begins..=newest).map(|seq| self.arrivals.get(&seq).copied()).collect();
            self.feedback_count = self.feedback_count.wrapping_add(1);
            let arrivals = Arrivals {
                sender_ssrc: 2,
                media_ssrc: 3,
                feedback_count: self.feedback_count,
                base_seq: ExtSeq(begins).seq(),
                arrivals_us: &arrivals_us,
            };
            let mut told = 0;
            reports.push(self.rtcp(|writer| told = writer.transport_cc(&arrivals).expect("room")));
            self.untold = begins + told as u64;
        }
        self.arrivals.retain(|_, arrival_us| now.0 as i64 - *arrival_us < TOLD_KEPT_US);
        reports
    }

    fn write_receiver_report(&mut self, now: Time) -> Option<Vec<u8>> {
        let blocks: Vec<ReportBlock> = self
            .receiving
            .iter()
            .filter_map(|(ssrc, receiving)| {
                let (last_sr, at) = receiving.last_report.unwrap_or((0, now));
                Some(ReportBlock {
                    ssrc: *ssrc,
                    highest_seq: receiving.newest? as u32,
                    fraction_lost: self.says_lost,
                    last_sr,
                    delay_since_last_sr: (now.since_us(at) * 65_536 / 1_000_000) as u32,
                    ..ReportBlock::default()
                })
            })
            .collect();
        if blocks.is_empty() {
            return None;
        }
        Some(self.rtcp(|writer| writer.receiver_report(2, &blocks[..blocks.len().min(31)]).expect("room")))
    }

    pub fn got(&self, ssrc: u32) -> &BTreeMap<u64, Got> {
        &self.receiving[&ssrc].got
    }
}

struct Numbers {
    ssrc: u32,
    payload_type: u8,
    ext_seq: u64,
    rtp_ts: u32,
    marker: bool,
    /// Of the media, where this is its repeat.
    original: u64,
}
