//! Packets sent together as one group, and how much further apart two groups arrived than they were sent
//! (draft-ietf-rmcat-gcc-02 §5.2, §5.3).

use crate::time::Time;

/// What is sent within this span is one group: a frame leaves in one batch.
const GROUP_US: i64 = 5_000;
/// A burst that a link gave out at once counts as one group, but no longer than this.
const MAX_BURST_US: i64 = 100_000;
/// Arrivals that run backwards for so many groups are another clock.
const MAX_BACKWARDS: u8 = 3;

#[derive(Clone, Copy)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrival: i64,
    last_arrival: i64,
}

/// Between the ends of two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) sent_us: i64,
    pub(crate) arrival_us: i64,
    /// When the later one had arrived, on the peer's clock.
    pub(crate) arrived_at_us: i64,
}

#[derive(Default)]
pub(crate) struct ArrivalGroups {
    previous: Option<Group>,
    current: Option<Group>,
    backwards: u8,
}

impl ArrivalGroups {
    /// In order of numbers. Answers when the packet begins a new group and two earlier ones are complete.
    pub(crate) fn on_packet(&mut self, sent_at: Time, arrival_us: i64) -> Option<Delta> {
        let sent = sent_at.0 as i64;
        let fresh = Group { first_sent: sent, last_sent: sent, first_arrival: arrival_us, last_arrival: arrival_us };
        let Some(group) = &mut self.current else {
            self.current = Some(fresh);
            return None;
        };
        if sent < group.first_sent {
            return None;
        }
        if belongs(group, sent, arrival_us) {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival_us);
            return None;
        }
        let complete = std::mem::replace(group, fresh);
        let previous = self.previous.replace(complete)?;
        let arrival_us = complete.last_arrival.saturating_sub(previous.last_arrival);
        if arrival_us < 0 {
            self.backwards += 1;
            if self.backwards >= MAX_BACKWARDS {
                *self = ArrivalGroups::default();
            }
            return None;
        }
        self.backwards = 0;
        Some(Delta {
            sent_us: complete.last_sent - previous.last_sent,
            arrival_us,
            arrived_at_us: complete.last_arrival,
        })
    }
}

fn belongs(group: &Group, sent: i64, arrival: i64) -> bool {
    if sent - group.first_sent <= GROUP_US {
        return true;
    }
    let gap = arrival.saturating_sub(group.last_arrival);
    let caught_up = gap.saturating_sub(sent - group.last_sent) < 0;
    caught_up && gap <= GROUP_US && arrival.saturating_sub(group.first_arrival) < MAX_BURST_US
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(packets: &[(u64, i64)]) -> Vec<(i64, i64)> {
        let mut groups = ArrivalGroups::default();
        packets
            .iter()
            .filter_map(|(sent, arrival)| groups.on_packet(Time(*sent), *arrival))
            .map(|delta| (delta.sent_us, delta.arrival_us))
            .collect()
    }

    #[test]
    fn a_frame_is_one_group_and_counts_by_its_last_packet() {
        let frame = |at: u64, arrival: i64| [(at, arrival), (at, arrival + 1_000), (at + 1_000, arrival + 3_000)];
        let packets = [frame(0, 50_000), frame(33_000, 90_000), frame(66_000, 130_000)].concat();
        assert_eq!(run(&packets), [(33_000, 40_000)]);
    }

    #[test]
    fn what_a_link_gave_out_in_one_burst_is_one_group() {
        let packets =
            [(0, 0), (20_000, 100_000), (40_000, 100_500), (60_000, 101_000), (90_000, 130_000), (120_000, 160_000)];
        assert_eq!(run(&packets), [(60_000, 101_000), (30_000, 29_000)]);
    }

    #[test]
    fn a_clock_that_runs_backwards_starts_afresh_and_nothing_overflows() {
        let backwards: Vec<(u64, i64)> = (0..8).map(|at| (at * 20_000, -(at as i64) * 50_000)).collect();
        assert!(run(&backwards).is_empty());
        run(&[(0, i64::MAX), (20_000, i64::MIN), (40_000, i64::MAX), (60_000, i64::MIN), (80_000, 0)]);
    }
}
