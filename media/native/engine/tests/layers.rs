//! Encodings of a simulcast track: changes up and down on a good and a bad link, sender reports that are missing,
//! recordings.

mod common;

use common::browser::Got;
use common::payload::picture_of;
use common::{assert_one_stream, Faults, World};
use holdspace_engine::{Command, Kind, SlotId, TapId, TapKind, TrackId};
use holdspace_wire::rtp::Header;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

const RIDS: [&str; 3] = ["q", "h", "f"];

struct Room {
    world: World,
    sendings: Vec<usize>,
    subscriber: usize,
    ssrc: u32,
}

fn room(seed: u64) -> Room {
    let mut world = World::new(seed);
    let publisher = world.join();
    let sendings = world.publish_simulcast(publisher, 1, &RIDS);
    let subscriber = world.join();
    world.run(100);
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    Room { world, sendings, subscriber, ssrc }
}

impl Room {
    fn report_all(&mut self) {
        self.sendings.iter().for_each(|at| self.world.report(0, *at));
    }

    fn want(&mut self, rid: &str, temporal: Option<u8>) {
        self.world.apply(Command::SetLayer { slot: SlotId(10), rid: Some(rid.into()), temporal }).unwrap();
    }

    fn got(&self) -> &BTreeMap<u64, Got> {
        self.world.browsers[self.subscriber].got(self.ssrc)
    }

    /// Position of the encoding each packet is of.
    fn encodings(&self) -> Vec<usize> {
        let mut of_payload = HashMap::new();
        for (layer, at) in self.sendings.iter().enumerate() {
            let history = self.world.browsers[0].sending[*at].history.values();
            of_payload.extend(history.map(|sent| (sent.0[6..].to_vec(), layer)));
        }
        self.got().values().map(|got| of_payload[&got.payload[6..]]).collect()
    }
}

#[test]
fn encodings_change_up_and_down_and_the_stream_is_one() {
    let mut room = room(201);
    room.world.run(500);
    room.report_all();
    for rid in ["f", "q", "h", "f", "h", "q"] {
        room.want(rid, None);
        room.world.run(800);
    }
    assert_one_stream(room.got());
    let mut changes = room.encodings();
    changes.dedup();
    assert_eq!(changes, [0, 2, 0, 1, 2, 1, 0]);
    let got: Vec<&Got> = room.got().values().collect();
    let pause = got.windows(2).map(|pair| pair[1].at.since_ms(pair[0].at)).max();
    assert!(pause < Some(80), "the old encoding goes on until the new one's keyframe: {pause:?} ms");
    let asked = room.world.browsers[0].plis_got.len();
    assert!(asked <= 6 + RIDS.len(), "one request per change: {asked}");
}

#[test]
fn timestamps_of_two_encodings_are_laid_together_by_their_sender_reports() {
    let mut room = room(202);
    room.world.run(500);
    room.report_all();
    // The next encoding's packets come late: by arrival its frames would be placed 200 ms too far ahead.
    room.want("f", None);
    room.world.link.up.delay_ms = 200;
    room.world.run(1_500);
    let encodings = room.encodings();
    let got: Vec<&Got> = room.got().values().collect();
    let sent_at = |got: &Got, layer: usize| {
        let sending = &room.world.browsers[0].sending[room.sendings[layer]];
        let ts = sending.history.values().find(|sent| sent.0[6..] == got.payload[6..]).unwrap().1;
        ts.wrapping_sub(77_777 * layer as u32)
    };
    let offsets: Vec<u32> =
        got.iter().zip(&encodings).map(|(got, layer)| got.rtp_ts.wrapping_sub(sent_at(got, *layer))).collect();
    let change = encodings.iter().position(|layer| *layer == 2).expect("changed");
    let apart = offsets[change].wrapping_sub(offsets[change - 1]) as i32;
    assert!((0..=1).contains(&apart), "the same moment has the same timestamp, or one tick more: {apart}");
}

#[test]
fn without_a_sender_report_of_both_there_is_no_change_and_no_keyframe_is_asked_for() {
    let mut room = room(203);
    room.world.run(500);
    room.world.report(0, room.sendings[0]);
    room.world.run(10);
    let asked = room.world.browsers[0].plis_got.len();
    room.want("f", None);
    room.world.run(1_500);
    assert!(room.encodings().iter().all(|layer| *layer == 0));
    assert_eq!(room.world.browsers[0].plis_got.len(), asked);
    room.world.report(0, room.sendings[2]);
    room.world.run(300);
    assert_eq!(room.encodings().last(), Some(&2));
    assert_one_stream(room.got());
}

#[test]
fn an_encoding_that_ends_is_left_without_waiting_for_reports() {
    let mut room = room(204);
    room.want("f", None);
    room.world.run(1_000);
    assert_eq!(room.encodings().last(), Some(&2), "from the start");
    room.world.browsers[0].sending[room.sendings[2]].active = false;
    room.world.run(1_500);
    assert_eq!(room.encodings().last(), Some(&1), "the nearest below");
    assert_one_stream(room.got());
    let got: Vec<&Got> = room.got().values().collect();
    let pause = got.windows(2).map(|pair| pair[1].at.since_ms(pair[0].at)).max();
    assert!(pause < Some(1_000), "{pause:?} ms");
}

#[test]
fn a_keyframe_whose_start_is_lost_still_carries_the_change() {
    let mut room = room(205);
    room.world.run(500);
    room.report_all();
    room.world.run(20);
    room.want("f", None);
    // Lose the first packet of every keyframe of the wanted encoding; RTX brings it back.
    for _ in 0..400 {
        room.world.browsers[0].sending[room.sendings[2]].loses_keyframe_start = true;
        room.world.step();
    }
    room.world.run(500);
    assert_eq!(room.encodings().last(), Some(&2));
    assert_one_stream(room.got());
}

#[test]
fn a_recording_takes_the_best_encoding_on_one_timeline() {
    let mut room = room(214);
    room.world.browsers[0].sending[room.sendings[2]].active = false;
    room.world.run(1_000);
    let (grant, participant) = ("consent".to_owned(), "person0".to_owned());
    room.world.apply(Command::GrantRecording { grant: grant.clone(), participant }).unwrap();
    room.world.apply(Command::AddTap { tap: TapId(1), track: TrackId(1), grant }).unwrap();
    room.world.run(500);
    room.world.browsers[0].sending[room.sendings[2]].active = true;
    room.world.run(100);
    room.report_all();
    room.world.run(500);
    let mut tapped: Vec<(u16, u32, Vec<u8>)> = Vec::new();
    for record in room.world.taped.iter().filter(|record| record.kind == TapKind::Rtp) {
        let header = Header::parse_untrusted(&record.bytes).unwrap();
        let payload = record.bytes[header.payload_range(&record.bytes).unwrap()].to_vec();
        tapped.push((header.seq.0, header.rtp_ts, payload));
    }
    assert!(tapped.windows(2).all(|pair| pair[1].0 == pair[0].0.wrapping_add(1)));
    assert!(tapped.windows(2).all(|pair| pair[1].1.wrapping_sub(pair[0].1) as i32 >= 0));
    let of = |at: usize| &room.world.browsers[0].sending[room.sendings[at]].history;
    let is_of = |payload: &[u8], at: usize| of(at).values().any(|sent| sent.0[6..] == payload[6..]);
    let takes = |at: usize| tapped.iter().filter(|packet| is_of(&packet.2, at)).count();
    assert!(is_of(&tapped[0].2, 1) && is_of(&tapped.last().unwrap().2, 2), "{} {} {}", takes(0), takes(1), takes(2));
}

proptest! {
    #![proptest_config(common::cases(24))]

    #[test]
    fn any_wishes_on_any_link_leave_one_timeline(
        seed in any::<u64>(),
        loss in 0..120_u64,
        jitter_ms in 0..25_u64,
        wishes in proptest::collection::vec((0..3_usize, proptest::option::of(0..3_u8), 20..700_u64, any::<bool>()), 1..20),
    ) {
        let mut room = room(seed);
        for at in room.sendings.clone() {
            room.world.browsers[0].sending[at].temporal_layers = 1 + at as u64 % 3;
        }
        room.world.run(300);
        room.world.link.both(Faults { loss, jitter_ms, delay_ms: 10, duplicate: 10 });
        for (layer, temporal, ms, reports) in wishes {
            room.want(RIDS[layer], temporal);
            if reports {
                room.report_all();
            }
            room.world.run(ms);
        }
        let got: Vec<&Got> = room.got().values().filter(|got| !got.payload.is_empty()).collect();
        for pair in got.windows(2) {
            let ts_step = pair[1].rtp_ts.wrapping_sub(pair[0].rtp_ts) as i32;
            prop_assert!(ts_step >= 0, "time runs forward: {}", ts_step);
            let picture_step = picture_of(&pair[1].payload).0.wrapping_sub(picture_of(&pair[0].payload).0) & 0x7fff;
            prop_assert!(picture_step < 0x4000, "pictures run forward: {}", picture_step);
        }
        prop_assert_eq!(room.world.engine.totals().repeat_refused, 0);
        prop_assert_eq!(room.world.browsers[room.subscriber].undecodable, 0);
    }
}
