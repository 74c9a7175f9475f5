//! A room in memory: the real engine, fake browsers that speak STUN, SRTP, RTX and RTCP through the wire crate, and
//! a seeded link between them. Time moves in milliseconds by `run`. Must not reach into the engine.
#![allow(dead_code, unreachable_pub, unused_imports)] // each test file uses another part

pub mod browser;
pub mod call;
mod forget;
pub mod link;
pub mod payload;
pub mod worker;

pub use browser::Browser;
use browser::Got;
pub use call::Call;
use holdspace_engine::*;
use holdspace_wire::srtp::Profile;
pub use link::{Faults, Line, Link};
use payload::picture_of;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
pub use worker::Worker;

/// What the engine handed to a tap.
#[derive(Debug, Clone)]
pub struct Taped {
    pub tap: TapId,
    pub kind: TapKind,
    pub arrival: Time,
    pub bytes: Vec<u8>,
}

/// One datagram the engine sent, as it left.
#[derive(Debug, Clone)]
pub struct Left {
    pub to: SocketAddr,
    pub at: Time,
    pub bytes: Vec<u8>,
    /// Datagrams in the same system call.
    pub segments: usize,
}

pub struct World {
    pub engine: Engine,
    pub out: Outputs,
    pub now: Time,
    pub browsers: Vec<Browser>,
    pub link: Link,
    pub events: Vec<Event>,
    pub routes: Vec<Route>,
    pub taped: Vec<Taped>,
    /// Everything sent, when `keep_sent`.
    pub left: Vec<Left>,
    pub keep_sent: bool,
    pub sends: u64,
    pub datagrams: u64,
    /// Behind frame ports, by track.
    pub workers: Vec<Worker>,
    next_slot_ssrc: u32,
    used: HashMap<(SocketAddr, u32, u64), u64>,
    newest: HashMap<(SocketAddr, u32), u64>,
}

pub fn path_of(remote: SocketAddr) -> Path {
    path_by(0, remote)
}

fn path_by(socket: u32, remote: SocketAddr) -> Path {
    Path { local: Local { socket, ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }, remote }
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with_config(EngineConfig { seed, ..EngineConfig::default() })
    }

    pub fn with_config(config: EngineConfig) -> World {
        World {
            link: Link::new(config.seed),
            engine: Engine::new(config),
            out: Outputs::new(),
            now: Time(1_000_000),
            browsers: Vec::new(),
            events: Vec::new(),
            routes: Vec::new(),
            taped: Vec::new(),
            left: Vec::new(),
            keep_sent: false,
            sends: 0,
            datagrams: 0,
            workers: Vec::new(),
            next_slot_ssrc: 0x5000_0000,
            used: HashMap::new(),
            newest: HashMap::new(),
        }
    }

    pub fn apply(&mut self, command: Command) -> Result<(), EngineError> {
        let done = self.engine.apply(command, self.now, &mut self.out);
        self.flush();
        done
    }

    /// A connected participant with keys; answers its index.
    pub fn join(&mut self) -> usize {
        let index = self.add_browser(Profile::AeadAes128Gcm);
        self.check(index, true);
        self.set_keys(index);
        index
    }

    pub fn add_browser(&mut self, profile: Profile) -> usize {
        let index = self.browsers.len();
        let browser = Browser::new(index, profile);
        self.apply(Command::AddTransport {
            transport: browser.transport,
            participant: browser.participant.clone(),
            ice_ufrag: browser.server_ufrag.clone(),
            ice_pwd: browser.server_pwd.clone(),
        })
        .expect("a new transport");
        self.browsers.push(browser);
        index
    }

    pub fn set_keys(&mut self, index: usize) {
        let browser = &self.browsers[index];
        let (transport, extensions) = (browser.transport, browser.extensions);
        let set = Command::SetSrtp {
            transport,
            profile: browser.profile,
            inbound_key: browser.key_up.clone(),
            outbound_key: browser.key_down.clone(),
        };
        self.apply(set).expect("keys");
        self.apply(Command::SetExtensions { transport, extensions }).expect("extensions");
    }

    /// One binding request, delivered at once.
    pub fn check(&mut self, index: usize, use_candidate: bool) {
        let datagram = self.browsers[index].binding_request(use_candidate);
        self.deliver_to_engine(index, datagram);
        self.flush();
    }

    /// Publishes a track; answers its position in `browsers[index].sending`.
    pub fn publish(&mut self, index: usize, track: u64, kind: Kind) -> usize {
        self.publish_as(index, track, kind, false)
    }

    pub fn publish_as(&mut self, index: usize, track: u64, kind: Kind, private: bool) -> usize {
        let at = self.browsers[index].add_sending(TrackId(track), kind);
        let browser = &self.browsers[index];
        let spec = TrackSpec { private, ..browser.track_spec(at) };
        let transport = browser.transport;
        self.apply(Command::SetTrack { transport, track: TrackId(track), spec }).expect("a track");
        at
    }

    pub fn add_slot(&mut self, index: usize, slot: u64, kind: Kind, with_rtx: bool) -> u32 {
        let ssrc = self.next_slot_ssrc;
        self.next_slot_ssrc += 2;
        let rtx_ssrc = with_rtx.then_some(ssrc + 1);
        let browser = &mut self.browsers[index];
        browser.expect_slot(ssrc, rtx_ssrc, kind);
        let spec = browser.slot_spec(slot, kind, ssrc, rtx_ssrc);
        let transport = browser.transport;
        self.apply(Command::SetSlot { transport, slot: SlotId(slot), spec }).expect("a slot");
        ssrc
    }

    /// A slot with RTX for video, filled by the track; answers its SSRC.
    pub fn subscribe(&mut self, index: usize, slot: u64, track: u64, kind: Kind) -> u32 {
        let ssrc = self.add_slot(index, slot, kind, kind == Kind::Video);
        self.fill(slot, Some(track));
        ssrc
    }

    pub fn fill(&mut self, slot: u64, track: Option<u64>) {
        let fill = Command::SetSlotSource { slot: SlotId(slot), track: track.map(TrackId) };
        self.apply(fill).expect("a source");
    }

    /// One video track of several encodings, bound by MID and RID; answers their positions in `sending`.
    pub fn publish_simulcast(&mut self, index: usize, track: u64, rids: &[&str]) -> Vec<usize> {
        let browser = &mut self.browsers[index];
        browser.extensions.rid = Some(13);
        browser.extensions.repaired_rid = Some(14);
        let mut sendings = Vec::new();
        for (layer, rid) in rids.iter().enumerate() {
            let at = browser.add_sending(TrackId(track), Kind::Video);
            let sending = &mut browser.sending[at];
            sending.rid = Some((*rid).into());
            sending.ssrc += 0x100 * layer as u32;
            sending.rtx_ssrc = sending.ssrc + 1;
            sending.rtp_ts = sending.rtp_ts.wrapping_add(77_777 * layer as u32);
            sending.picture_id = 0x100 * layer as u16;
            sendings.push(at);
        }
        let mut spec = browser.track_spec(sendings[0]);
        spec.ssrcs = vec![];
        spec.rids = rids.iter().map(|rid| (*rid).to_owned()).collect();
        let (transport, extensions) = (browser.transport, browser.extensions);
        self.apply(Command::SetExtensions { transport, extensions }).expect("extensions");
        self.apply(Command::SetTrack { transport, track: TrackId(track), spec }).expect("a track");
        sendings
    }

    /// A sender report of one sending, on a clock that all streams of the world share.
    pub fn report(&mut self, index: usize, sending: usize) {
        let ntp_time = ((u128::from(self.now.0) << 32) / 1_000_000) as u64;
        let report = self.browsers[index].sender_report(sending, ntp_time);
        self.send_up(index, report);
    }

    /// Sends a datagram from the browser into the link.
    pub fn send_up(&mut self, index: usize, datagram: Vec<u8>) {
        self.link.send(self.now, index, true, datagram);
    }

    pub fn deliver_to_engine(&mut self, index: usize, mut datagram: Vec<u8>) {
        let browser = &self.browsers[index];
        let (transport, path) = (browser.transport, path_by(browser.socket, browser.address));
        self.engine.receive(transport, path, &mut datagram, self.now, &mut self.out);
    }

    /// Puts packets of one frame (or one audio packet) of a sending into the link.
    pub fn send_media(&mut self, index: usize, sending: usize) {
        for datagram in self.browsers[index].next_packets(sending) {
            self.send_up(index, datagram);
        }
    }

    /// Everyone with media sends it at its pace, for `ms` milliseconds.
    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.now = self.now.plus_ms(1);
        let now_ms = self.now.0 / 1_000;
        for index in 0..self.browsers.len() {
            for sending in 0..self.browsers[index].sending.len() {
                let stream = &self.browsers[index].sending[sending];
                let due = stream.active && now_ms % stream.every_ms == 0;
                if due {
                    self.send_media(index, sending);
                }
            }
            for datagram in self.browsers[index].timers(self.now) {
                self.send_up(index, datagram);
            }
        }
        let mut received = 0;
        for (index, to_engine, datagram) in self.link.due(self.now) {
            if to_engine {
                self.deliver_to_engine(index, datagram);
                received += 1;
                if received % 64 == 0 {
                    self.flush();
                }
            } else {
                let answers = self.browsers[index].receive(&datagram, self.now);
                answers.into_iter().for_each(|answer| self.send_up(index, answer));
            }
        }
        for at in 0..self.workers.len() {
            let track = self.workers[at].track;
            for message in self.workers[at].due(self.now) {
                self.engine.worker_says(track, &message, self.now, &mut self.out);
            }
        }
        self.flush();
    }

    /// Hands the engine's output to link, events and taps, and holds it to "one index, one packet".
    pub fn flush(&mut self) {
        loop {
            let more = self.engine.flush(self.now, &mut self.out);
            let transmits: Vec<(Transmit, Vec<u8>)> =
                self.out.transmits().map(|(transmit, bytes)| (*transmit, bytes.to_vec())).collect();
            self.out.clear_transmits();
            self.tell_workers();
            for (transmit, bytes) in transmits {
                self.send_down(&transmit, &bytes);
            }
            if !more {
                break;
            }
        }
        self.events.append(&mut self.out.events);
        self.routes.append(&mut self.out.routes);
        let records = self.out.tap_records().map(|record| Taped {
            tap: record.tap,
            kind: record.kind,
            arrival: record.arrival,
            bytes: record.bytes.to_vec(),
        });
        self.taped.extend(records);
        self.out.clear_tap_records();
    }

    fn tell_workers(&mut self) {
        let messages: Vec<(TrackId, Vec<u8>)> =
            self.out.worker_messages().map(|(track, message)| (track, message.to_vec())).collect();
        self.out.clear_worker_messages();
        for (track, message) in messages {
            let worker = self.workers.iter_mut().find(|worker| worker.track == track);
            if !worker.is_some_and(|worker| worker.take(&message, self.now)) {
                self.engine.worker_refused(track, message[0], self.now);
            }
        }
    }

    /// A worker for the track, in place of one that is there.
    pub fn open_port(&mut self, track: u64) -> usize {
        self.workers.retain(|worker| worker.track != TrackId(track));
        self.workers.push(Worker::new(track));
        self.apply(Command::OpenPort { track: TrackId(track) }).expect("a video track");
        self.workers.len() - 1
    }

    pub fn set_private(&mut self, track: u64, private: bool) {
        self.apply(Command::SetPrivate { track: TrackId(track), private }).expect("a video track");
    }

    fn send_down(&mut self, transmit: &Transmit, bytes: &[u8]) {
        assert!(bytes.len() <= 16_000 && transmit.segments <= 64 && !bytes.is_empty());
        let datagrams: Vec<&[u8]> = bytes.chunks(transmit.segment_bytes).collect();
        assert_eq!(datagrams.len(), transmit.segments, "segments as the kernel would cut them");
        self.sends += 1;
        self.datagrams += datagrams.len() as u64;
        let to = transmit.path.remote;
        for datagram in datagrams {
            self.assert_index_is_fresh(to, datagram);
            if self.keep_sent {
                let left = Left { to, at: self.now, bytes: datagram.to_vec(), segments: transmit.segments };
                self.left.push(left);
            }
            if let Some(index) = self.browsers.iter().position(|browser| browser.address == to) {
                self.link.send(self.now, index, false, datagram.to_vec());
            }
        }
    }

    /// The same (SSRC, index) may leave twice only with the same bytes.
    fn assert_index_is_fresh(&mut self, to: SocketAddr, datagram: &[u8]) {
        let is_rtp = datagram.len() > 12 && (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1]);
        if !is_rtp {
            return;
        }
        let seq = u16::from_be_bytes([datagram[2], datagram[3]]);
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        let newest = self.newest.entry((to, ssrc)).or_insert(u64::from(seq));
        let index = newest.wrapping_add_signed(i64::from(seq.wrapping_sub(*newest as u16) as i16));
        *newest = (*newest).max(index);
        let digest = digest(datagram);
        let before = self.used.insert((to, ssrc, index), digest);
        assert!(before.is_none_or(|b| b == digest), "ssrc {ssrc:#x} index {index} left twice with different bytes");
    }

    pub fn counts(&self, index: usize) -> TransportStats {
        let transport = self.browsers[index].transport;
        self.engine.transport_stats(transport, self.now).expect("a transport")
    }

    pub fn saw(&self, event: &Event) -> bool {
        self.events.contains(event)
    }
}

/// Sequence, time and VP8 picture numbers go on by single steps.
pub fn assert_one_stream(got: &BTreeMap<u64, Got>) {
    let got: Vec<&Got> = got.values().collect();
    for pair in got.windows(2) {
        assert_eq!(pair[1].ext_seq, pair[0].ext_seq + 1);
        let ts_step = pair[1].rtp_ts.wrapping_sub(pair[0].rtp_ts) as i32;
        assert!(ts_step >= 0, "time runs forward: {ts_step}");
        let picture_step = picture_of(&pair[1].payload).0.wrapping_sub(picture_of(&pair[0].payload).0) & 0x7fff;
        assert!(picture_step <= 1, "picture ids go on: {picture_step}");
        let tl0_step = picture_of(&pair[1].payload).1.wrapping_sub(picture_of(&pair[0].payload).1);
        assert!(tl0_step <= 1, "TL0PICIDX goes on: {tl0_step}");
    }
}

/// First packets of keyframes in the stream.
pub fn keyframes(got: &BTreeMap<u64, Got>) -> usize {
    got.values().filter(|got| got.payload[0] & 0x10 != 0 && got.payload[6] & 1 == 0).count()
}

pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Few in `make test`, as many as `PROPTEST_CASES` says in a long run.
pub fn cases(few: u32) -> proptest::test_runner::Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(few);
    proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() }
}
