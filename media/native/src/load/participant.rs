//! One fake participant: its socket and keys, what it answers, what it measures.
//!
//! Like a browser it repeats its ICE check, reports on what it receives (RR) and acknowledges every packet
//! (transport-wide feedback); unlike one it repairs nothing, so that loss stays visible.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use holdspace_wire::demux::{classify, Datagram};
use holdspace_wire::rtcp::{self, Arrivals, Packet, ReportBlock, SenderInfo, Writer};
use holdspace_wire::rtp::{read_transport_seq, Header};
use holdspace_wire::seq::{ExtSeq, SeqUnwrapper};
use holdspace_wire::srtp::{Inbound, Outbound, Profile, MAX_OVERHEAD};
use holdspace_wire::stun::{write_binding_request, CheckToSend, IceRole, IntegrityKey};

use super::measure::{Burst, Report, Schedule, StreamMeter};
use super::publisher::{PublishSpec, Publisher, Sealing};
use crate::sys::send::{send_each, Route};

const CHECK_EVERY_NS: u64 = 2_500_000_000;
const REPORT_EVERY_NS: u64 = 1_000_000_000;
const FEEDBACK_EVERY_NS: u64 = 100_000_000;
const OWN_SSRC: u32 = 1;

/// What Python hands over after the handshake.
pub struct ParticipantSpec {
    pub socket: OwnedFd,
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

pub(super) struct Participant {
    socket: OwnedFd,
    server: SocketAddr,
    ice_username: String,
    ice_key: IntegrityKey,
    inbound: Inbound,
    outbound: Outbound,
    streams: HashMap<u32, (StreamMeter, bool)>,
    feedback: Feedback,
    pub(super) publisher: Option<Publisher>,
    last_sender_report: HashMap<u32, (u32, u64)>,
    next_check_ns: u64,
    next_report_ns: u64,
    next_feedback_ns: u64,
    checks: u32,
    scratch: Vec<u8>,
    lengths: Vec<usize>,
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
    /// `index` spreads the timers of many participants; the first also records. None: a key has a wrong length.
    pub(super) fn new(spec: ParticipantSpec, index: usize, now_ns: u64) -> Option<Self> {
        let phase_ns = index as u64 * 1_700_000 % FEEDBACK_EVERY_NS;
        let streams = spec.streams.iter().map(|(ssrc, is_video)| (*ssrc, (StreamMeter::new(), *is_video)));
        Some(Self {
            server: spec.server,
            ice_key: IntegrityKey::new(&spec.ice_password),
            ice_username: spec.ice_username,
            inbound: Inbound::new(spec.profile, &spec.receive_key).ok()?,
            outbound: Outbound::new(spec.profile, &spec.send_key).ok()?,
            records: spec.publish.is_none() && index <= 1,
            streams: streams.collect(),
            feedback: Feedback { extension: spec.transport_cc_extension, ..Feedback::default() },
            publisher: spec.publish.map(|publish| Publisher::new(publish, now_ns)),
            last_sender_report: HashMap::new(),
            next_check_ns: now_ns + phase_ns,
            next_report_ns: now_ns + phase_ns * 10,
            next_feedback_ns: now_ns + phase_ns,
            checks: 0,
            scratch: vec![0; 2_048],
            lengths: Vec::new(),
            socket: spec.socket,
        })
    }

    pub(super) fn fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }

    fn send(&self, bytes: &[u8]) {
        // A full buffer or an unreachable server shows as loss; a benchmark has nothing better to do about it.
        let _ = send_each(self.fd(), &Route { to: self.server, from: None }, bytes, bytes.len());
    }

    /// Sends what is due; returns how many packets were published.
    pub(super) fn publish_due(&mut self, now_ns: u64, schedules: &mut [Schedule; 2]) -> u64 {
        let Some(publisher) = &mut self.publisher else {
            return 0;
        };
        let (mut bytes, mut lengths) = (std::mem::take(&mut self.scratch), std::mem::take(&mut self.lengths));
        bytes.clear();
        lengths.clear();
        let outbound = &mut self.outbound;
        publisher.write_due(now_ns, &mut Sealing { outbound, schedules, bytes: &mut bytes, lengths: &mut lengths });
        let mut rest = bytes.as_slice();
        for length in &lengths {
            let (datagram, after) = rest.split_at(*length);
            self.send(datagram);
            rest = after;
        }
        let published = lengths.len() as u64;
        self.scratch = bytes;
        self.lengths = lengths;
        published
    }

    pub(super) fn take_datagram(
        &mut self,
        datagram: &mut [u8],
        arrival_ns: u64,
        schedules: &[Schedule; 2],
        report: &mut Report,
    ) {
        match classify(datagram) {
            Datagram::Rtp => self.take_rtp(datagram, arrival_ns, schedules, report),
            Datagram::Rtcp => self.take_rtcp(datagram, arrival_ns, report),
            Datagram::Stun => report.stun_answers += 1,
            Datagram::Dtls | Datagram::Other => {}
        }
    }

    fn take_rtp(&mut self, packet: &mut [u8], arrival_ns: u64, schedules: &[Schedule; 2], report: &mut Report) {
        let Ok(header) = Header::parse_untrusted(packet) else {
            return;
        };
        let extension = header.extension(packet, self.feedback.extension);
        if let Some(seq) = extension.and_then(read_transport_seq) {
            let unwrapper = self.feedback.unwrapper.get_or_insert_with(SeqUnwrapper::new);
            self.feedback.arrivals.push((unwrapper.unwrap(seq), (arrival_ns / 1_000) as i64));
        }
        let Some((meter, is_video)) = self.streams.get_mut(&header.ssrc) else {
            report.foreign += 1;
            return;
        };
        let datagram_bytes = packet.len();
        let (seq, number) = meter.count(&header);
        if meter.wants_check() {
            report.checked += 1;
            let is_right = meter.check(&mut self.inbound, packet, &header, seq);
            report.mismatched += u64::from(is_right != Some(true));
        }
        let schedule = &schedules[usize::from(*is_video)];
        let Some(at_ns) = number.and_then(|number| schedule.at_ns.get(number as usize)) else {
            return;
        };
        report.delays_ns.push(u32::try_from(arrival_ns.saturating_sub(*at_ns)).unwrap_or(u32::MAX));
        if self.records {
            match report.recorded.last_mut() {
                Some(burst) if burst.at_ns == *at_ns => burst.datagram_bytes.push(datagram_bytes),
                _ => report.recorded.push(Burst { at_ns: *at_ns, datagram_bytes: vec![datagram_bytes] }),
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
            self.send(&bytes[..length]);
        }
    }

    fn send_compound(&mut self, write: impl FnOnce(&mut Self, &mut Writer<'_>)) {
        let mut bytes = [0; 1_200 + MAX_OVERHEAD];
        let mut writer = Writer::new(&mut bytes[..1_200]);
        write(self, &mut writer);
        let length = writer.len();
        if length > 0 {
            if let Ok(sealed) = self.outbound.protect_rtcp(&mut bytes, length) {
                self.send(&bytes[..sealed]);
            }
        }
    }

    fn send_reports(&mut self, now_ns: u64) {
        self.send_compound(|me, writer| {
            let blocks: Vec<ReportBlock> =
                me.streams.iter().filter_map(|(ssrc, (meter, _))| me.report_block(*ssrc, meter, now_ns)).collect();
            match &me.publisher {
                Some(publisher) => {
                    let ntp_time = ntp_of(now_ns);
                    for (ssrc, rtp_ts, packets, bytes) in publisher.report_info(now_ns) {
                        let info = SenderInfo { ssrc, ntp_time, rtp_ts, packets, bytes };
                        let _ = writer.sender_report(&info, &[]); // 28 bytes each: they fit
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
        for (meter, _) in self.streams.values_mut() {
            meter.take(report);
        }
    }
}

/// The monotonic clock dressed as NTP time: receivers only compare.
fn ntp_of(now_ns: u64) -> u64 {
    let seconds = now_ns / 1_000_000_000;
    let fraction = (now_ns % 1_000_000_000) * (1 << 32) / 1_000_000_000;
    seconds << 32 | fraction
}
