//! One fake participant: its socket and keys, what it answers, what it measures.
//!
//! Like a browser it repeats its ICE check, reports on what it receives (RR) and acknowledges every packet
//! (transport-wide feedback); unlike one it repairs nothing, so that loss stays visible.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use holdspace_wire::demux::{classify, Datagram};
use holdspace_wire::rtcp::{self, Arrivals, Packet, ReportBlock, SenderInfo, Writer};
use holdspace_wire::rtp::{read_transport_seq, Header};
use holdspace_wire::seq::{ExtSeq, SeqUnwrapper};
use holdspace_wire::srtp::{Inbound, Outbound, Profile, MAX_OVERHEAD};
use holdspace_wire::stun::{write_binding_request, CheckToSend, IceRole, IntegrityKey};

use super::measure::{Burst, Report, Schedule, Schedules, StreamMeter};
use super::publisher::{PublishSpec, Publisher, Sealed, Sealing, Sending};
use crate::sys::send::{send_segmented, Route, MAX_SEGMENTS, MAX_SEND_BYTES};

const CHECK_EVERY_NS: u64 = 2_500_000_000;
const REPORT_EVERY_NS: u64 = 1_000_000_000;
const FEEDBACK_EVERY_NS: u64 = 100_000_000;
const OWN_SSRC: u32 = 1;

/// What Python hands over after the handshake.
pub struct ParticipantSpec {
    /// As `Generator::add_socket` numbered it.
    pub socket: usize,
    /// The participant's own address, on a socket that many share.
    pub source: IpAddr,
    pub server: SocketAddr,
    /// `server's fragment:ours`
    pub ice_username: String,
    pub ice_password: String,
    pub profile: Profile,
    pub send_key: Vec<u8>,
    pub receive_key: Vec<u8>,
    /// Slot streams: (ssrc, is video).
    pub streams: Vec<(u32, bool)>,
    pub transport_cc_extension: u8,
    pub publish: Option<PublishSpec>,
}

/// Where a participant sits in the generator.
pub(super) struct Seat {
    pub(super) index: usize,
    pub(super) socket: RawFd,
    /// Others send from the same socket: the source address tells them apart.
    pub(super) is_shared: bool,
    pub(super) sending: Sending,
}

pub(super) struct Participant {
    socket: RawFd,
    route: Route,
    ice_username: String,
    ice_key: IntegrityKey,
    inbound: Inbound,
    outbound: Outbound,
    streams: HashMap<u32, StreamMeter>,
    feedback: Feedback,
    pub(super) publisher: Option<Publisher>,
    last_sender_report: HashMap<u32, (u32, u64)>,
    next_check_ns: u64,
    next_report_ns: u64,
    next_feedback_ns: u64,
    checks: u32,
    sending: Sending,
    scratch: Vec<u8>,
    packets: Vec<Sealed>,
    /// Sealed and not yet due: (when, datagram).
    waiting: VecDeque<(u64, Vec<u8>)>,
    /// Keeps bursts for the limit loop.
    records: bool,
}

#[derive(Default)]
struct Feedback {
    extension: u8,
    unwrapper: Option<SeqUnwrapper>,
    arrivals: Vec<(ExtSeq, i64)>,
    next: Option<ExtSeq>,
    count: u8,
}

impl Participant {
    /// `socket` must outlive it; `index` spreads the timers of many participants. None: a key has a wrong length.
    pub(super) fn new(spec: ParticipantSpec, seat: &Seat, now_ns: u64) -> Option<Self> {
        let phase_ns = seat.index as u64 * 1_700_000 % FEEDBACK_EVERY_NS;
        let streams = spec.streams.iter().map(|(ssrc, is_video)| (*ssrc, StreamMeter::new(*is_video)));
        let publisher = |publish| Publisher::new(publish, seat.index as u32, seat.sending, now_ns);
        Some(Self {
            socket: seat.socket,
            route: Route { to: spec.server, from: seat.is_shared.then_some(spec.source) },
            ice_key: IntegrityKey::new(&spec.ice_password),
            ice_username: spec.ice_username,
            inbound: Inbound::new(spec.profile, &spec.receive_key).ok()?,
            outbound: Outbound::new(spec.profile, &spec.send_key).ok()?,
            records: spec.publish.is_none() && seat.index <= 1,
            streams: streams.collect(),
            feedback: Feedback { extension: spec.transport_cc_extension, ..Feedback::default() },
            publisher: spec.publish.map(publisher),
            last_sender_report: HashMap::new(),
            next_check_ns: now_ns + phase_ns,
            next_report_ns: now_ns + phase_ns * 10,
            next_feedback_ns: now_ns + phase_ns,
            checks: 0,
            sending: seat.sending,
            scratch: Vec::new(),
            packets: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    /// When something has to be sent next.
    pub(super) fn next_due_ns(&self, is_publishing: bool) -> u64 {
        let timers = self.next_check_ns.min(self.next_report_ns).min(self.next_feedback_ns);
        let waiting = self.waiting.front().map_or(u64::MAX, |(due_ns, _)| *due_ns);
        let published = self.publisher.as_ref().filter(|_| is_publishing).map_or(u64::MAX, Publisher::next_due_ns);
        timers.min(waiting).min(published)
    }

    fn send(&self, bytes: &[u8], segment_bytes: usize) {
        // A full buffer or an unreachable server shows as loss; a benchmark has nothing better to do about it.
        let _ = send_segmented(self.socket, &self.route, bytes, segment_bytes);
    }

    /// Sends what was published earlier and is due now.
    pub(super) fn send_waiting(&mut self, now_ns: u64) {
        while self.waiting.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns) {
            let (_, datagram) = self.waiting.pop_front().unwrap_or_default();
            self.send(&datagram, datagram.len());
        }
    }

    /// Publishes what is due; returns how many packets that were.
    pub(super) fn publish_due(&mut self, now_ns: u64, schedules: &mut [Schedule; 2]) -> u64 {
        let Some(publisher) = &mut self.publisher else {
            return 0;
        };
        let (mut bytes, mut packets) = (std::mem::take(&mut self.scratch), std::mem::take(&mut self.packets));
        bytes.clear();
        packets.clear();
        let outbound = &mut self.outbound;
        publisher.write_due(now_ns, &mut Sealing { outbound, schedules, bytes: &mut bytes, packets: &mut packets });
        self.send_sealed(&bytes, &packets, now_ns);
        let published = packets.len() as u64;
        self.scratch = bytes;
        self.packets = packets;
        published
    }

    fn send_sealed(&mut self, bytes: &[u8], packets: &[Sealed], now_ns: u64) {
        let (mut rest, mut at) = (bytes, 0);
        while at < packets.len() {
            let segment = packets[at].length;
            let count = if self.sending == Sending::Gso { run_length(&packets[at..]) } else { 1 };
            let length = packets[at..at + count].iter().map(|packet| packet.length).sum();
            let (run, after) = rest.split_at(length);
            match packets[at].due_ns {
                due_ns if due_ns > now_ns => self.waiting.push_back((due_ns, run.to_vec())),
                _ => self.send(run, segment),
            }
            (rest, at) = (after, at + count);
        }
    }

    pub(super) fn take_datagram(
        &mut self,
        datagram: &mut [u8],
        arrival_ns: u64,
        schedules: &Schedules,
        report: &mut Report,
    ) {
        match classify(datagram) {
            Datagram::Rtp => self.take_rtp(datagram, arrival_ns, schedules, report),
            Datagram::Rtcp => self.take_rtcp(datagram, arrival_ns, report),
            Datagram::Stun => report.stun_answers += 1,
            Datagram::Dtls | Datagram::Other => {}
        }
    }

    fn take_rtp(&mut self, packet: &mut [u8], arrival_ns: u64, schedules: &Schedules, report: &mut Report) {
        let Ok(header) = Header::parse_untrusted(packet) else {
            return;
        };
        let extension = header.extension(packet, self.feedback.extension);
        if let Some(seq) = extension.and_then(read_transport_seq) {
            let unwrapper = self.feedback.unwrapper.get_or_insert_with(SeqUnwrapper::new);
            self.feedback.arrivals.push((unwrapper.unwrap(seq), (arrival_ns / 1_000) as i64));
        }
        let Some(meter) = self.streams.get_mut(&header.ssrc) else {
            report.foreign += 1;
            return;
        };
        let datagram_bytes = packet.len();
        let seq = meter.count(&header);
        if meter.wants_check() {
            report.checked += 1;
            let is_right = meter.check(&mut self.inbound, packet, &header, seq);
            report.mismatched += u64::from(is_right != Some(true));
        }
        let Some(at_ns) = meter.due_ns(seq, schedules) else {
            return;
        };
        report.delays.record(arrival_ns.saturating_sub(at_ns));
        if self.records {
            match report.recorded.last_mut() {
                Some(burst) if burst.at_ns == at_ns => burst.datagram_bytes.push(datagram_bytes),
                _ => report.recorded.push(Burst { at_ns, datagram_bytes: vec![datagram_bytes] }),
            }
        }
    }

    fn take_rtcp(&mut self, compound: &mut [u8], arrival_ns: u64, report: &mut Report) {
        report.rtcp += 1;
        let Ok(len) = self.inbound.unprotect_rtcp(compound) else {
            report.mismatched += 1;
            return;
        };
        for packet in rtcp::parse_untrusted(&compound[..len]) {
            match packet {
                Ok(Packet::SenderReport { info, .. }) => {
                    self.last_sender_report.insert(info.ssrc, ((info.ntp_time >> 16) as u32, arrival_ns));
                }
                Ok(Packet::Pli { .. } | Packet::Fir { .. }) => {
                    report.keyframe_requests += 1;
                    if let Some(publisher) = &mut self.publisher {
                        publisher.wants_keyframe = true;
                    }
                }
                Ok(Packet::Nack { .. }) => report.nacks += 1,
                _ => {}
            }
        }
    }

    pub(super) fn run_timers(&mut self, now_ns: u64) {
        if now_ns >= self.next_check_ns {
            self.next_check_ns = now_ns + CHECK_EVERY_NS;
            self.send_check();
        }
        if now_ns >= self.next_feedback_ns {
            self.next_feedback_ns = now_ns + FEEDBACK_EVERY_NS;
            self.send_feedback();
        }
        if now_ns >= self.next_report_ns {
            self.next_report_ns = now_ns + REPORT_EVERY_NS;
            self.send_reports(now_ns);
        }
    }

    fn send_check(&mut self) {
        self.checks += 1;
        let mut transaction_id = [7; 12];
        transaction_id[..4].copy_from_slice(&self.checks.to_be_bytes());
        let check = CheckToSend {
            transaction_id,
            username: &self.ice_username,
            priority: 1,
            use_candidate: true,
            role: IceRole::Controlling(1),
        };
        let mut bytes = [0; 600];
        if let Ok(length) = write_binding_request(&mut bytes, &check, &self.ice_key) {
            self.send(&bytes[..length], length);
        }
    }

    fn send_compound(&mut self, write: impl FnOnce(&mut Self, &mut Writer<'_>)) {
        let mut bytes = [0; 1_200 + MAX_OVERHEAD];
        let mut writer = Writer::new(&mut bytes[..1_200]);
        write(self, &mut writer);
        let length = writer.len();
        if length > 0 {
            if let Ok(sealed) = self.outbound.protect_rtcp(&mut bytes, length) {
                self.send(&bytes[..sealed], sealed);
            }
        }
    }

    fn send_reports(&mut self, now_ns: u64) {
        self.send_compound(|me, writer| {
            let blocks: Vec<ReportBlock> =
                me.streams.iter().filter_map(|(ssrc, meter)| me.report_block(*ssrc, meter, now_ns)).collect();
            match &me.publisher {
                Some(publisher) => {
                    let ntp_time = ntp_of(now_ns);
                    let mut blocks = blocks.as_slice();
                    for (ssrc, rtp_ts, packets, bytes) in publisher.report_info(now_ns) {
                        let info = SenderInfo { ssrc, ntp_time, rtp_ts, packets, bytes };
                        let _ = writer.sender_report(&info, std::mem::take(&mut blocks));
                        // a few: they fit
                    }
                    let _ = writer.sdes_cname(publisher.video_ssrc(), "benchmark");
                }
                None => {
                    let _ = writer.receiver_report(OWN_SSRC, &blocks);
                    let _ = writer.sdes_cname(OWN_SSRC, "benchmark");
                }
            }
        });
    }

    fn report_block(&self, ssrc: u32, meter: &StreamMeter, now_ns: u64) -> Option<ReportBlock> {
        let highest = meter.highest?;
        let (last_sr, delay_since_last_sr) = match self.last_sender_report.get(&ssrc) {
            Some((middle, at_ns)) => (*middle, (now_ns.saturating_sub(*at_ns) * 65_536 / 1_000_000_000) as u32),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost: 0,
            total_lost: 0,
            highest_seq: highest.0 as u32,
            jitter: 0,
            last_sr,
            delay_since_last_sr,
        })
    }

    fn send_feedback(&mut self) {
        let mut arrivals = std::mem::take(&mut self.feedback.arrivals);
        arrivals.sort_unstable();
        let (Some((first, _)), Some((last, _))) = (arrivals.first().copied(), arrivals.last().copied()) else {
            return;
        };
        let first = self.feedback.next.unwrap_or(first).min(first);
        let mut table = vec![None; (last.0 - first.0 + 1) as usize];
        for (seq, at_us) in &arrivals {
            table[(seq.0 - first.0) as usize] = Some(*at_us);
        }
        let mut at = 0;
        while at < table.len() {
            let mut covered = 0;
            self.send_compound(|me, writer| {
                let arrivals = Arrivals {
                    sender_ssrc: OWN_SSRC,
                    media_ssrc: 0,
                    feedback_count: me.feedback.count,
                    base_seq: ExtSeq(first.0 + at as u64).seq(),
                    arrivals_us: &table[at..],
                };
                covered = writer.transport_cc(&arrivals).unwrap_or(0);
            });
            if covered == 0 {
                break;
            }
            self.feedback.count = self.feedback.count.wrapping_add(1);
            at += covered;
        }
        self.feedback.next = Some(last.next());
        arrivals.clear();
        self.feedback.arrivals = arrivals;
    }

    pub(super) fn take_counts(&mut self, report: &mut Report) {
        for meter in self.streams.values_mut() {
            meter.take(report);
        }
    }
}

/// As many equal packets as there are, and one shorter behind them: what one segmented send carries.
fn run_length(packets: &[Sealed]) -> usize {
    let segment = packets[0].length;
    let (mut count, mut bytes) = (0, 0);
    for packet in packets.iter().take(MAX_SEGMENTS) {
        bytes += packet.length;
        if packet.length > segment || bytes > MAX_SEND_BYTES {
            break;
        }
        count += 1;
        if packet.length < segment {
            break;
        }
    }
    count
}

/// The monotonic clock dressed as NTP time: receivers only compare.
fn ntp_of(now_ns: u64) -> u64 {
    let seconds = now_ns / 1_000_000_000;
    let fraction = (now_ns % 1_000_000_000) * (1 << 32) / 1_000_000_000;
    seconds << 32 | fraction
}
