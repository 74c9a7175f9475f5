//! The room the engine target plays in, and what is checked of everything that leaves it: sends the kernel can cut,
//! no (SSRC, index) used twice for different bytes, every packet readable by the peer it is for.

use crate::engine::picked;
use holdspace_engine::{
    Command, Engine, EngineConfig, ExtensionIds, Local, Outputs, Path, SlotId, Time, TrackId, TransportId,
};
use holdspace_wire::rtcp::{Arrivals, ReportBlock, Writer};
use holdspace_wire::rtp::{self, Header, NewHeader};
use holdspace_wire::seq::{ExtSeq, Seq};
use holdspace_wire::srtp::{Inbound, Outbound, Profile, MAX_OVERHEAD};
use holdspace_wire::stun::{self, CheckToSend, IceRole, IntegrityKey};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) const PEERS: usize = 3;
const TRANSPORT_CC_ID: u8 = 6;

/// One participant's side of its connection; a new one after every leave, under new keys.
pub(crate) struct Peer {
    joined: bool,
    generation: u8,
    pub(crate) rtp_ts: u32,
    outbound: Outbound,
    inbound: Inbound,
    /// Newest index sent per SSRC of ours.
    sent: BTreeMap<u32, u64>,
    /// Newest index got per SSRC of the server's, and a digest of each packet.
    got: BTreeMap<u32, u64>,
    digests: HashMap<(u32, u64), u64>,
    newest_transport_seq: u64,
}

impl Peer {
    fn new(number: usize, generation: u8) -> Peer {
        let key = Peer::key(number, generation);
        Peer {
            joined: false,
            generation,
            rtp_ts: 0xffff_f000,
            outbound: Outbound::new(Profile::AeadAes128Gcm, &key).expect("a key"),
            inbound: Inbound::new(Profile::AeadAes128Gcm, &key).expect("a key"),
            sent: BTreeMap::new(),
            got: BTreeMap::new(),
            digests: HashMap::new(),
            newest_transport_seq: 0,
        }
    }

    fn key(number: usize, generation: u8) -> Vec<u8> {
        (0..28).map(|at| at ^ (number as u8) << 5 ^ generation).collect()
    }

    pub(crate) fn name(number: usize) -> String {
        format!("person{number}")
    }

    pub(crate) fn mid(number: usize, track: usize) -> String {
        format!("m{number}{track}")
    }

    /// The first of a track's up to six: (media, RTX) per layer.
    pub(crate) fn ssrc(number: usize, track: usize) -> u32 {
        0x1000 * (1 + number as u32) + 0x100 * track as u32
    }
}

pub(crate) struct Room {
    engine: Engine,
    out: Outputs,
    now: Time,
    pub(crate) peers: Vec<Peer>,
    slots: BTreeMap<SlotId, u32>,
    next_slot_ssrc: u32,
    /// What nobody may read.
    forbidden: Option<&'static [u8]>,
    /// Times of pictures handed to workers, newest last.
    given: Vec<u32>,
}

fn path(number: usize, address: usize) -> Path {
    let remote = SocketAddr::from(([10, 0, number as u8, address as u8], 4_000));
    Path { local: Local { socket: 0, ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }, remote }
}

fn credentials(number: usize, generation: u8) -> (String, String) {
    (format!("ufrag{number}{generation:03}"), format!("password-of-participant{number}{generation:03}"))
}

impl Room {
    pub(crate) fn new(seed: u64) -> Room {
        Room {
            engine: Engine::new(EngineConfig { seed, ..EngineConfig::default() }),
            out: Outputs::new(),
            now: Time(1_000_000),
            peers: (0..PEERS).map(|number| Peer::new(number, 0)).collect(),
            slots: BTreeMap::new(),
            next_slot_ssrc: 0x5000_0000,
            forbidden: None,
            given: Vec::new(),
        }
    }

    pub(crate) fn transport(number: usize) -> TransportId {
        TransportId(100 + number as u64)
    }

    /// What the room refuses it says; it must only never break.
    pub(crate) fn apply(&mut self, command: Command) {
        let _ = self.engine.apply(command, self.now, &mut self.out);
    }

    /// False: it is here already.
    pub(crate) fn add(&mut self, number: usize) -> bool {
        if self.peers[number].joined {
            return false;
        }
        let generation = self.peers[number].generation.wrapping_add(1);
        self.peers[number] = Peer { joined: true, ..Peer::new(number, generation) };
        let (ice_ufrag, ice_pwd) = credentials(number, generation);
        let participant = Peer::name(number);
        self.apply(Command::AddTransport { transport: Room::transport(number), participant, ice_ufrag, ice_pwd });
        true
    }

    pub(crate) fn forbid(&mut self, content: &'static [u8]) {
        self.forbidden = Some(content);
    }

    fn is_allowed(&self, bytes: &[u8]) -> bool {
        self.forbidden.is_none_or(|content| !bytes.windows(content.len()).any(|window| window == content))
    }

    pub(crate) fn given(&self, back: usize) -> Option<u32> {
        self.given.iter().rev().nth(back).copied()
    }

    pub(crate) fn worker_says(&mut self, track: TrackId, message: &[u8]) {
        if self.is_allowed(message) {
            self.engine.worker_says(track, message, self.now, &mut self.out);
        }
    }

    pub(crate) fn refuse_worker(&mut self, track: TrackId, kind: u8) {
        self.engine.worker_refused(track, kind, self.now);
    }

    pub(crate) fn remove(&mut self, number: usize) {
        self.apply(Command::RemoveTransport { transport: Room::transport(number) });
        self.peers[number].joined = false;
    }

    pub(crate) fn set_keys(&mut self, number: usize) {
        let transport = Room::transport(number);
        let key = Peer::key(number, self.peers[number].generation);
        let profile = Profile::AeadAes128Gcm;
        self.apply(Command::SetSrtp { transport, profile, inbound_key: key.clone(), outbound_key: key });
        let extensions = ExtensionIds {
            mid: Some(1),
            rid: Some(2),
            repaired_rid: Some(3),
            audio_level: Some(4),
            abs_send_time: Some(5),
            transport_cc: Some(TRANSPORT_CC_ID),
            video_orientation: Some(7),
            dependency_descriptor: Some(8),
            playout_delay: Some(9),
        };
        self.apply(Command::SetExtensions { transport, extensions });
    }

    pub(crate) fn restart_ice(&mut self, number: usize) {
        let (ice_ufrag, ice_pwd) = credentials(number, self.peers[number].generation ^ 0x80);
        self.apply(Command::RestartIce { transport: Room::transport(number), ice_ufrag, ice_pwd });
    }

    pub(crate) fn check(&mut self, number: usize, address: usize, use_candidate: bool) {
        let (ufrag, pwd) = credentials(number, self.peers[number].generation);
        let username = format!("{ufrag}:remote");
        let role = IceRole::Controlling(7);
        let check = CheckToSend { transaction_id: [7; 12], username: &username, priority: 9, use_candidate, role };
        let mut request = vec![0; 300];
        let len = stun::write_binding_request(&mut request, &check, &IntegrityKey::new(&pwd)).expect("room");
        request.truncate(len);
        self.deliver(number, address, request);
    }

    pub(crate) fn forget_address(&mut self, number: usize, address: usize) {
        self.engine.forget_path(Room::transport(number), path(number, address), self.now);
    }

    pub(crate) fn lose_address(&mut self, number: usize, address: usize) {
        self.engine.path_lost(Room::transport(number), path(number, address), self.now, &mut self.out);
    }

    pub(crate) fn deliver(&mut self, number: usize, address: usize, mut datagram: Vec<u8>) {
        let (transport, path) = (Room::transport(number), path(number, address));
        self.engine.receive(transport, path, &mut datagram, self.now, &mut self.out);
    }

    /// Authenticated media, `ahead` of the newest of its stream (0 and less: again or late, as far as keys allow).
    #[allow(clippy::too_many_arguments)] // the fields of one packet
    pub(crate) fn send_rtp(
        &mut self,
        number: usize,
        ssrc: u32,
        payload_type: u8,
        ahead: i64,
        marker: bool,
        payload: &[u8],
        extensions: &[(u8, &[u8])],
    ) {
        let peer = &self.peers[number];
        let newest = peer.sent.get(&ssrc).copied().unwrap_or(65_500);
        let index = ExtSeq(newest.saturating_add_signed(ahead));
        let header = NewHeader { marker, payload_type, seq: index.seq(), rtp_ts: peer.rtp_ts, ssrc, extensions };
        let mut packet = vec![0; 2_000];
        let Ok(written) = rtp::write(&mut packet, &header, &[payload], 0) else { return };
        packet.truncate(written.len);
        self.send_signed(number, packet, written.header_len, ssrc, index);
    }

    pub(crate) fn send_signed(
        &mut self,
        number: usize,
        mut packet: Vec<u8>,
        header_len: usize,
        ssrc: u32,
        index: ExtSeq,
    ) {
        let len = packet.len();
        packet.resize(len + MAX_OVERHEAD, 0);
        let peer = &mut self.peers[number];
        let Ok(sealed) = peer.outbound.protect_rtp(&mut packet, len, header_len, index) else { return };
        let newest = peer.sent.entry(ssrc).or_insert(index.0);
        *newest = (*newest).max(index.0);
        packet.truncate(sealed);
        self.deliver(number, 0, packet);
    }

    pub(crate) fn send_rtcp(&mut self, number: usize, mut compound: Vec<u8>) {
        let len = compound.len();
        compound.resize(len + MAX_OVERHEAD, 0);
        let Ok(sealed) = self.peers[number].outbound.protect_rtcp(&mut compound, len) else { return };
        compound.truncate(sealed);
        self.deliver(number, 0, compound);
    }

    fn write_rtcp(&mut self, number: usize, write: impl FnOnce(&mut Writer<'_>)) {
        let mut compound = vec![0; 1_200];
        let mut writer = Writer::new(&mut compound);
        write(&mut writer);
        let len = writer.len();
        compound.truncate(len);
        self.send_rtcp(number, compound);
    }

    /// One of a peer's slots' SSRCs (or RTX, or none at all).
    pub(crate) fn ssrc_of_slot(&self, number: usize, choice: usize) -> u32 {
        let slot = SlotId((4 * number + choice % 4) as u64);
        self.slots.get(&slot).map_or(7, |ssrc| ssrc + (choice / 4) as u32)
    }

    /// A slot keeps its SSRC for as long as it lives; a new one has a fresh one.
    pub(crate) fn fresh_ssrc(&mut self, number: usize, slot: SlotId) -> u32 {
        let next = self.next_slot_ssrc + (number as u32) * 0x0100_0000;
        self.next_slot_ssrc += 2;
        *self.slots.entry(slot).or_insert(next)
    }

    pub(crate) fn ask_again(&mut self, number: usize, pattern: u16) {
        let got: Vec<(u32, u64)> = self.peers[number].got.iter().map(|(ssrc, newest)| (*ssrc, *newest)).collect();
        for (ssrc, newest) in got {
            let lost = picked(newest, pattern);
            self.write_rtcp(number, |writer| writer.nack(2, ssrc, &lost).expect("room"));
        }
    }

    pub(crate) fn report_arrivals(&mut self, number: usize, pattern: u16) {
        let newest = self.peers[number].newest_transport_seq;
        let base = newest.saturating_sub(15);
        let now_us = self.now.0 as i64;
        let arrivals_us: Vec<Option<i64>> =
            (0..16).map(|bit| (pattern >> bit & 1 == 1).then_some(now_us + 700 * bit)).collect();
        let arrivals = Arrivals {
            sender_ssrc: 2,
            media_ssrc: 3,
            feedback_count: pattern as u8,
            base_seq: ExtSeq(base).seq(),
            arrivals_us: &arrivals_us,
        };
        self.write_rtcp(number, |writer| {
            writer.transport_cc(&arrivals).expect("room");
        });
    }

    pub(crate) fn ask_keyframe(&mut self, number: usize, choice: usize) {
        let ssrc = self.ssrc_of_slot(number, choice);
        self.write_rtcp(number, |writer| writer.pli(2, ssrc).expect("room"));
    }

    pub(crate) fn report_reception(&mut self, number: usize, choice: usize, pattern: u16) {
        let ssrc = self.ssrc_of_slot(number, choice);
        let highest_seq = self.peers[number].got.get(&ssrc).copied().unwrap_or(0) as u32;
        let fraction_lost = pattern as u8;
        let block = ReportBlock { ssrc, fraction_lost, highest_seq, last_sr: u32::from(pattern), ..Default::default() };
        self.write_rtcp(number, |writer| writer.receiver_report(2, &[block]).expect("room"));
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.flush();
    }

    /// Wakes exactly when the room asks to be woken.
    pub(crate) fn sleep_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        let mut wakes = 0;
        while let Some(at) = self.engine.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.flush();
            wakes += 1;
            assert!(wakes < 20 * ms + 1_000, "{wakes} wakes in {ms} ms");
        }
        self.now = until;
        self.flush();
    }

    /// Statistics and dump of whatever state this is.
    pub(crate) fn look(&mut self) {
        let totals = self.engine.totals();
        assert!(totals.transports <= PEERS && totals.tracks <= 2 * PEERS);
        drop(self.engine.dump(self.now));
        for number in 0..=PEERS {
            drop(self.engine.transport_stats(Room::transport(number), self.now));
        }
        assert_eq!(totals.repeat_refused, 0, "the window had to stop a repeated index");
    }

    #[cfg(test)]
    pub(crate) fn packets_got(&self) -> usize {
        self.peers.iter().map(|peer| peer.digests.len()).sum()
    }

    #[cfg(test)]
    pub(crate) fn retransmitted(&self) -> u64 {
        let stats = |number| self.engine.transport_stats(Room::transport(number), self.now);
        (0..PEERS).filter_map(|number| stats(number).ok()).map(|stats| stats.retransmitted_out).sum()
    }

    pub(crate) fn flush(&mut self) {
        loop {
            let more = self.engine.flush(self.now, &mut self.out);
            let sends: Vec<(usize, usize, Vec<u8>)> =
                self.out.transmits().map(|(send, bytes)| (send.segment_bytes, send.segments, bytes.to_vec())).collect();
            self.out.clear_transmits();
            let given = self.out.worker_messages().filter(|(_, message)| message[0] == 1);
            self.given.extend(given.map(|(_, frame)| u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]])));
            self.out.clear_worker_messages();
            for (segment_bytes, segments, bytes) in sends {
                assert!(bytes.len() <= 16_000 && segments <= 64 && !bytes.is_empty());
                assert_eq!(bytes.chunks(segment_bytes).count(), segments, "segments as the kernel would cut them");
                bytes.chunks(segment_bytes).for_each(|datagram| self.read(datagram));
            }
            if !more {
                break;
            }
        }
        assert!(self.engine.next_deadline().is_none_or(|at| at > self.now), "what is due was done");
        self.out.events.clear();
        self.out.routes.clear();
        for record in self.out.tap_records() {
            assert!(Header::parse_untrusted(record.bytes).is_ok());
            assert!(self.is_allowed(record.bytes), "recorded");
        }
        self.out.clear_tap_records();
    }

    /// A datagram as its receiver sees it. Slots' SSRCs are unique in the room: they tell whose it is.
    fn read(&mut self, datagram: &[u8]) {
        let is_rtp = datagram.len() > 12 && (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1]);
        if !is_rtp {
            return;
        }
        let mut packet = datagram.to_vec();
        let header = Header::parse_untrusted(&packet).expect("the server writes RTP");
        let number = ((header.ssrc - 0x5000_0000) >> 24) as usize;
        let peer = &mut self.peers[number];
        let newest = peer.got.entry(header.ssrc).or_insert(u64::from(header.seq.0));
        let index = ExtSeq(*newest).nearest(header.seq).0;
        *newest = (*newest).max(index);
        let digest = datagram
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        if let Some(before) = peer.digests.insert((header.ssrc, index), digest) {
            assert_eq!(before, digest, "ssrc {:#x} index {index} left twice with different bytes", header.ssrc);
            return;
        }
        let opened = peer.inbound.unprotect_rtp(&mut packet, &header).expect("a packet its receiver can read");
        let packet = &packet[..opened.len];
        let content = self.forbidden.filter(|content| packet.windows(content.len()).any(|window| window == *content));
        assert!(content.is_none(), "shown");
        assert!(header.payload_range(packet).is_ok());
        let transport_seq = header.extension(packet, TRANSPORT_CC_ID).and_then(rtp::read_transport_seq);
        if let Some(seq) = transport_seq {
            self.note_transport_seq(number, seq);
        }
    }

    fn note_transport_seq(&mut self, number: usize, seq: Seq) {
        let newest = &mut self.peers[number].newest_transport_seq;
        *newest = (*newest).max(ExtSeq(*newest).nearest(seq).0);
    }
}
