//! Short bursts of padding that ask the path for more than the media at hand can show: when to send one, of what
//! size, and what its feedback says (after draft-ietf-rmcat-gcc-02 §4, the pacer's padding).

use super::history::Acknowledged;
use crate::time::Time;

/// A burst is as long as this, and at least so many packets: shorter ones measure the sender's timer.
const CLUSTER_US: u64 = 25_000;
const MIN_PACKETS: u32 = 6;
/// What a new subscriber is asked, one after the other while each finds the room it looked for.
const FIRST_BPS: [f64; 3] = [900_000.0, 1_800_000.0, 3_600_000.0];
/// Nobody here is sent more.
const ENOUGH_BPS: f64 = 6_000_000.0;
const STEP: f64 = 2.0;
/// Between asks while a limit stands: seconds of patience, doubled after each that found nothing.
const FIRST_WAIT_US: u64 = 3_000_000;
const MAX_WAIT_US: u64 = 5_000_000;
/// After one that found what it looked for.
const NEXT_WAIT_US: u64 = 300_000;
/// Feedback this late says nothing.
const ANSWER_US: u64 = 1_000_000;
/// Share of the packets that must be told of.
const MIN_TOLD: f64 = 0.8;
/// Arriving slower than this share of how it was sent: the burst met the limit.
const SATURATED: f64 = 0.9;
/// Share of the asked rate that counts as found.
const FOUND: f64 = 0.7;

/// A burst being sent.
#[derive(Debug, Clone, Copy)]
struct Sending {
    bps: f64,
    until: Time,
    next_at: Time,
}

/// Times and sizes of a burst, from feedback.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    packets: u32,
    bytes: f64,
    first_sent: u64,
    last_sent: u64,
    first_arrival: i64,
    last_arrival: i64,
    first_bytes: f64,
    last_bytes: f64,
}

#[derive(Default)]
pub(crate) struct Prober {
    cluster: u8,
    asked_bps: f64,
    sent_packets: u32,
    sent_at: Option<Time>,
    sending: Option<Sending>,
    seen: Seen,
    firsts: usize,
    next_at: Option<Time>,
    wait_us: u64,
}

impl Prober {
    /// Media may flow for the first time, or again after the path changed.
    pub(crate) fn start(&mut self, now: Time) {
        *self = Prober { cluster: self.cluster, next_at: Some(now), ..Prober::default() };
    }

    /// The rate was lowered: what is being asked is pointless, and recovery is looked for after a while.
    pub(crate) fn on_decrease(&mut self, now: Time) {
        self.sending = None;
        self.sent_at = None;
        self.firsts = FIRST_BPS.len();
        self.wait_us = self.wait_us.max(FIRST_WAIT_US);
        self.next_at = Some(now.plus_us(self.wait_us));
    }

    /// The number packets carry in the history while a burst is being sent; 0: none is.
    pub(crate) fn cluster(&self) -> u8 {
        if self.sending.is_some() {
            self.cluster
        } else {
            0
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let burst = self.sending.map(|sending| sending.next_at);
        burst.or(self.sent_at.map(|at| at.plus_us(ANSWER_US))).or(self.next_at)
    }

    /// Bytes of padding to send now; `is_limited`: the present rate is a limit of the path.
    pub(crate) fn due(&mut self, present_bps: f64, is_limited: bool, is_calm: bool, now: Time) -> Option<usize> {
        if self.sent_at.is_some_and(|at| now.since_us(at) >= ANSWER_US) {
            self.sent_at = None;
            self.give_up(now);
        }
        if self.sending.is_none() && self.sent_at.is_none() && self.next_at.is_some_and(|at| at <= now) {
            self.begin(present_bps, is_limited, is_calm, now);
        }
        let sending = self.sending.as_mut().filter(|sending| sending.next_at <= now)?;
        let quantum_us = 5_000.0;
        sending.next_at = now.plus_us(quantum_us as u64);
        Some((sending.bps * quantum_us / 8e6).ceil() as usize)
    }

    fn begin(&mut self, present_bps: f64, is_limited: bool, is_calm: bool, now: Time) {
        let first = FIRST_BPS.get(self.firsts).copied().filter(|_| !is_limited);
        let bps = match first {
            Some(bps) => bps,
            None if is_limited && present_bps < ENOUGH_BPS => (present_bps * STEP).min(ENOUGH_BPS),
            None => {
                self.next_at = None;
                return;
            }
        };
        if !is_calm {
            self.next_at = Some(now.plus_us(NEXT_WAIT_US));
            return;
        }
        self.cluster = self.cluster % u8::MAX + 1;
        (self.asked_bps, self.sent_packets, self.seen, self.next_at) = (bps, 0, Seen::default(), None);
        self.sending = Some(Sending { bps, until: now.plus_us(CLUSTER_US), next_at: now });
    }

    /// Everything sent while a burst runs belongs to it.
    pub(crate) fn on_sent(&mut self, packets: u32, now: Time) {
        let Some(sending) = self.sending else { return };
        self.sent_packets += packets;
        if now >= sending.until && self.sent_packets >= MIN_PACKETS {
            self.sending = None;
            self.sent_at = Some(now);
        }
    }

    /// What the burst found, once enough of it was told; a smaller answer than asked is a limit of the path.
    pub(crate) fn on_feedback(&mut self, fates: &[Acknowledged], present_bps: f64, now: Time) -> Option<f64> {
        if self.cluster == 0 {
            return None;
        }
        for fate in fates.iter().filter(|fate| fate.cluster == self.cluster) {
            let Some(arrival) = fate.arrival_us else { continue };
            self.seen.add(fate, arrival);
        }
        self.sent_at?;
        if f64::from(self.seen.packets) < f64::from(self.sent_packets) * MIN_TOLD {
            return None;
        }
        self.sent_at = None;
        let found = self.seen.bps();
        match found {
            Some(bps) if bps >= self.asked_bps * FOUND => {
                self.firsts += 1;
                self.wait_us = FIRST_WAIT_US;
                self.next_at = Some(now.plus_us(NEXT_WAIT_US));
            }
            Some(bps) if bps > present_bps * 1.15 => {
                self.firsts = FIRST_BPS.len();
                self.next_at = Some(now.plus_us(FIRST_WAIT_US));
            }
            _ => self.give_up(now),
        }
        found
    }

    fn give_up(&mut self, now: Time) {
        self.firsts = FIRST_BPS.len();
        self.next_at = Some(now.plus_us(self.wait_us.max(FIRST_WAIT_US)));
        self.wait_us = (self.wait_us.max(FIRST_WAIT_US) * 2).min(MAX_WAIT_US);
    }
}

impl Seen {
    fn add(&mut self, fate: &Acknowledged, arrival: i64) {
        let bytes = f64::from(fate.bytes);
        if self.packets == 0 || fate.sent_at.0 < self.first_sent {
            (self.first_sent, self.first_bytes) = (fate.sent_at.0, bytes);
        }
        if self.packets == 0 || arrival < self.first_arrival {
            self.first_arrival = arrival;
        }
        if fate.sent_at.0 >= self.last_sent {
            (self.last_sent, self.last_bytes) = (fate.sent_at.0, bytes);
        }
        if self.packets == 0 || arrival > self.last_arrival {
            self.last_arrival = arrival;
        }
        self.packets += 1;
        self.bytes += bytes;
    }

    /// The slower of how it was sent and how it arrived.
    fn bps(&self) -> Option<f64> {
        let sent_us = self.last_sent.saturating_sub(self.first_sent) as f64;
        let arrived_us = self.last_arrival.saturating_sub(self.first_arrival) as f64;
        if self.packets < MIN_PACKETS / 2 || sent_us < 1_000.0 {
            return None;
        }
        let sent = (self.bytes - self.last_bytes) * 8e6 / sent_us;
        let arrived = (self.bytes - self.first_bytes) * 8e6 / arrived_us.max(sent_us / 10.0);
        if arrived < sent * SATURATED {
            Some(arrived * 0.95)
        } else {
            Some(sent.min(arrived))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One burst over a link of `link_bps`; answers what was found.
    fn burst(prober: &mut Prober, now: &mut Time, present: f64, limited: bool, link_bps: f64) -> Option<f64> {
        let (mut number, mut free_at, mut fates) = (0, 0.0, Vec::new());
        for _ in 0..100 {
            if let Some(bytes) = prober.due(present, limited, true, *now) {
                let count = bytes.div_ceil(300);
                for _ in 0..count {
                    number += 1;
                    free_at = (now.0 as f64).max(free_at) + 300.0 * 8e6 / link_bps;
                    let (ext_seq, sent_at, cluster) = (number, *now, prober.cluster());
                    fates.push(Acknowledged {
                        ext_seq,
                        sent_at,
                        bytes: 300,
                        cluster,
                        arrival_us: Some(free_at as i64),
                    });
                }
                prober.on_sent(count as u32, *now);
            }
            *now = now.plus_ms(1);
        }
        prober.on_feedback(&fates, present, *now)
    }

    #[test]
    fn a_new_subscriber_is_asked_for_more_while_there_is_more() {
        let (mut prober, mut now) = (Prober::default(), Time(1_000_000));
        prober.start(now);
        let mut found = Vec::new();
        for _ in 0..3 {
            found.push(burst(&mut prober, &mut now, 300_000.0, false, 100e6).expect("an answer"));
            now = now.plus_ms(300);
        }
        assert!(found.iter().zip(FIRST_BPS).all(|(found, asked)| (found / asked - 1.0).abs() < 0.3), "{found:?}");
        assert_eq!(prober.deadline(), prober.next_at);
        assert_eq!(prober.due(3e6, false, true, now), None);
        assert_eq!(prober.deadline(), None, "nothing more to ask without a limit");
    }

    #[test]
    fn a_narrow_path_answers_with_its_own_rate() {
        let (mut prober, mut now) = (Prober::default(), Time(1_000_000));
        prober.start(now);
        let found = burst(&mut prober, &mut now, 300_000.0, false, 500_000.0).expect("an answer");
        assert!((430_000.0..520_000.0).contains(&found), "{found}");
    }

    #[test]
    fn recovery_is_asked_for_more_and_more_rarely_while_it_finds_nothing() {
        let (mut prober, mut now) = (Prober::default(), Time(1_000_000));
        prober.on_decrease(now);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let at = prober.deadline().expect("a limit stands");
            waits.push(at.since_ms(now) / 1_000);
            now = at;
            let found = burst(&mut prober, &mut now, 300_000.0, true, 300_000.0).expect("an answer");
            assert!(found < 330_000.0, "{found}");
        }
        assert_eq!(waits, [3, 3, 5, 5, 5], "{waits:?}");
        now = prober.deadline().expect("goes on");
        let found = burst(&mut prober, &mut now, 300_000.0, true, 100e6).expect("an answer");
        assert!(found > 500_000.0, "{found}");
        assert!(prober.deadline().expect("at once").since_ms(now) <= 300);
    }

    #[test]
    fn an_unanswered_burst_is_given_up() {
        let (mut prober, mut now) = (Prober::default(), Time(1_000_000));
        prober.start(now);
        while prober.sent_at.is_none() {
            let bytes = prober.due(300_000.0, false, true, now).unwrap_or(0);
            prober.on_sent(bytes.div_ceil(300) as u32, now);
            now = now.plus_ms(5);
        }
        now = now.plus_ms(1_100);
        assert_eq!(prober.due(300_000.0, false, true, now), None);
        assert!(prober.deadline().expect("later").since_ms(now) >= 2_900);
    }
}
