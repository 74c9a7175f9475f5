//! Attacks on private tracks: whatever happens around them, nothing of the camera reaches a subscriber or a recording.

mod common;

use common::browser::Got;
use common::{worker, Faults, Line, World};
use holdspace_engine::*;
use holdspace_wire::rtp::Header;
use holdspace_wire::seq::ExtSeq;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};

const RIDS: [&str; 3] = ["q", "h", "f"];

struct Room {
    world: World,
    subscriber: usize,
    ssrc: u32,
}

/// A publisher with one camera, a subscriber that shows it, a recording of it.
fn room(seed: u64, private: bool) -> Room {
    let mut world = World::new(seed);
    let publisher = world.join();
    world.publish_as(publisher, 1, Kind::Video, private);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    record(&mut world, 1);
    Room { world, subscriber, ssrc }
}

fn record(world: &mut World, tap: u64) {
    let grant = "consent".to_owned();
    let _ = world.apply(Command::GrantRecording { grant: grant.clone(), participant: "person0".into() });
    world.apply(Command::AddTap { tap: TapId(tap), track: TrackId(1), grant }).unwrap();
}

impl Room {
    fn got(&self) -> Vec<&Got> {
        self.world.browsers[self.subscriber].got(self.ssrc).values().filter(|got| !got.payload.is_empty()).collect()
    }

    /// Every payload of the camera that ever was, behind the descriptor, and where it stood.
    fn camera(&self) -> HashMap<Vec<u8>, (u32, u64)> {
        let sendings = self.world.browsers.iter().flat_map(|browser| &browser.sending);
        let sent = sendings.flat_map(|sending| sending.history.iter().map(move |sent| (sending.ssrc, sent)));
        sent.map(|(ssrc, (seq, sent))| (sent.0[6..].to_vec(), (ssrc, *seq))).collect()
    }

    /// When each packet of the camera was shown or recorded, and which it was.
    fn raw(&self) -> Vec<(Time, (u32, u64))> {
        let camera = self.camera();
        let shown = self.got().into_iter().map(|got| (got.at, got.payload.clone()));
        let recorded = self.recorded().into_iter().map(|(at, _, payload)| (at, payload));
        shown.chain(recorded).filter_map(|(at, payload)| Some((at, *camera.get(payload.get(6..)?)?))).collect()
    }

    fn raw_after(&self, at: Time) -> usize {
        self.raw().iter().filter(|(shown, _)| *shown > at.plus_ms(1)).count() // a millisecond is the link's
    }

    fn recorded(&self) -> Vec<(Time, u32, Vec<u8>)> {
        let records = self.world.taped.iter().filter(|record| record.kind == TapKind::Rtp);
        let read = |record: &common::Taped| {
            let header = Header::parse_untrusted(&record.bytes).unwrap();
            (record.arrival, header.rtp_ts, record.bytes[header.payload_range(&record.bytes).unwrap()].to_vec())
        };
        records.map(read).collect()
    }

    fn blurred_after(&self, at: Time) -> usize {
        let is_blurred = |got: &&&Got| got.at > at && got.payload.ends_with(&[worker::BLURRED; 100]);
        self.got().iter().filter(is_blurred).count()
    }

    fn blurred_recorded_after(&self, at: Time) -> usize {
        let recorded = self.recorded();
        recorded.iter().filter(|record| record.0 > at && record.2.ends_with(&[worker::BLURRED; 100])).count()
    }

    /// Numbers that the subscriber asks for again, whether it has them or not.
    fn nack(&mut self, numbers: impl Iterator<Item = u64>) {
        let seqs: Vec<_> = numbers.map(|number| ExtSeq(number).seq()).collect();
        let ssrc = self.ssrc;
        for seqs in seqs.chunks(50) {
            let nack = self.world.browsers[self.subscriber].rtcp(|writer| writer.nack(2, ssrc, seqs).unwrap());
            self.world.send_up(self.subscriber, nack);
        }
    }
}

#[test]
fn a_camera_that_is_private_from_the_start_is_never_seen_without_a_worker() {
    let mut room = room(401, true);
    room.world.run(2_000);
    assert!(room.world.saw(&Event::Private { track: TrackId(1), private: true }));
    assert!(room.world.browsers[0].sending[0].packets > 200, "it does send");
    assert!(room.got().is_empty() && room.recorded().is_empty());
}

#[test]
fn with_a_worker_its_pictures_alone_are_seen_and_recorded_as_one_stream() {
    let mut room = room(402, true);
    room.world.open_port(1);
    room.world.run(3_000);
    let start = Time(0);
    assert_eq!(room.raw_after(start), 0);
    assert!(room.blurred_after(start) > 200 && room.blurred_recorded_after(start) > 200);
    let got = room.got();
    assert!(got.windows(2).all(|pair| pair[1].ext_seq == pair[0].ext_seq + 1), "without gaps");
    let times: BTreeSet<u32> = got.iter().map(|got| got.rtp_ts).collect();
    let frames = room.world.workers[0].frames().count();
    assert!(times.len() + 3 > frames && frames > 80, "every picture arrives: {} of {frames}", times.len());
    let steps: BTreeSet<u32> = got.windows(2).map(|pair| pair[1].rtp_ts.wrapping_sub(pair[0].rtp_ts)).collect();
    assert_eq!(steps, BTreeSet::from([0, 2_970]), "at the camera's own times");
    assert_eq!(keyframes_of(&room), 1);
}

fn keyframes_of(room: &Room) -> usize {
    room.got().iter().filter(|got| got.payload[0] & 0x10 != 0 && got.payload[4] & 1 == 0).count()
}

#[test]
fn becoming_private_stops_the_camera_at_the_command() {
    let mut room = room(403, false);
    room.world.run(1_000);
    room.world.set_private(1, true);
    let at = room.world.now;
    room.world.run(1_000);
    assert!(room.raw().len() > 200, "it was seen before");
    assert_eq!(room.raw_after(at), 0);
    room.world.open_port(1);
    room.world.run(1_000);
    assert_eq!(room.raw_after(at), 0);
    assert!(room.blurred_after(at) > 50 && room.blurred_recorded_after(at) > 50);
    let got = room.got();
    assert!(got.windows(2).all(|pair| pair[1].ext_seq == pair[0].ext_seq + 1), "without gaps");
    assert!(got.windows(2).all(|pair| pair[1].rtp_ts.wrapping_sub(pair[0].rtp_ts) as i32 >= 0));
}

#[test]
fn becoming_private_asks_for_a_keyframe_at_once_though_one_was_asked_for_just_before() {
    let mut room = room(421, false);
    room.world.run(2_000);
    room.world.open_port(1);
    let pli = room.world.browsers[room.subscriber].rtcp(|writer| writer.pli(2, room.ssrc).unwrap());
    room.world.send_up(room.subscriber, pli);
    room.world.run(100);
    let asked = room.world.browsers[0].plis_got.len();
    room.world.set_private(1, true);
    let at = room.world.now;
    room.world.run(150);
    assert_eq!(room.world.browsers[0].plis_got.len(), asked + 1);
    let first = room.got().into_iter().find(|got| got.at > at.plus_ms(1)).expect("a picture within 150 ms");
    assert!(first.payload.ends_with(&[worker::BLURRED; 100]));
    for private in [false, true, true] {
        room.world.set_private(1, private);
    }
    room.world.run(150);
    assert_eq!(room.world.browsers[0].plis_got.len(), asked + 1, "pressing on changes nothing while it is private");
}

#[test]
fn what_was_sent_before_is_not_repeated_after() {
    for with_rtx in [true, false] {
        let mut room = room(404, false);
        room.ssrc = room.world.add_slot(room.subscriber, 11, Kind::Video, with_rtx);
        room.world.fill(11, Some(1));
        room.world.run(500);
        let numbers: Vec<u64> = room.got().iter().map(|got| got.ext_seq).collect();
        let newest = *numbers.last().unwrap();
        room.nack(newest - 20..=newest);
        room.world.run(20);
        let repeated = room.world.counts(room.subscriber).retransmitted_out;
        assert!(repeated > 10, "they would be repeated: {repeated}");
        room.world.set_private(1, true);
        for _ in 0..10 {
            room.nack(numbers.iter().copied());
            room.world.run(100);
        }
        assert_eq!(room.world.counts(room.subscriber).retransmitted_out, repeated, "rtx: {with_rtx}");
    }
}

#[test]
fn a_slot_that_showed_the_camera_once_repeats_nothing_of_it_either() {
    for with_rtx in [true, false] {
        let mut room = room(405, false);
        room.world.publish(0, 2, Kind::Video);
        room.ssrc = room.world.add_slot(room.subscriber, 11, Kind::Video, with_rtx);
        room.world.fill(11, Some(1));
        room.world.run(500);
        let numbers: Vec<u64> = room.got().iter().map(|got| got.ext_seq).collect();
        room.world.fill(11, Some(2));
        room.world.set_private(1, true);
        let repeated = room.world.counts(room.subscriber).retransmitted_out;
        room.nack(numbers.into_iter());
        room.world.run(100);
        assert_eq!(room.world.counts(room.subscriber).retransmitted_out, repeated, "rtx: {with_rtx}");
    }
}

#[test]
fn what_waits_for_a_slow_path_is_let_go() {
    let mut room = room(406, false);
    room.world.run(2_000);
    room.world.link.lines.insert(room.subscriber, Line::new(300_000, 400));
    let has_queue = |room: &Room| {
        let Value::Map(dump) = room.world.engine.dump(room.world.now) else { panic!("a map") };
        let text = format!("{:?}", dump.iter().find(|(name, _)| *name == "slots").unwrap().1);
        !text.contains("(\"queued\", Int(0))")
    };
    let waits = (0..5_000).any(|_| {
        room.world.step();
        has_queue(&room)
    });
    assert!(waits, "the pacer holds packets back");
    room.world.set_private(1, true);
    assert!(!has_queue(&room));
    let sent = room.world.counts(room.subscriber).packets_out;
    room.world.link.lines.clear();
    // Only probes and reports leave, no media: nothing new arrives in the stream.
    let newest = room.got().last().unwrap().ext_seq;
    room.world.browsers[room.subscriber].nacks = false;
    room.world.run(1_000);
    let later: Vec<u64> = room.got().iter().map(|got| got.ext_seq).filter(|seq| *seq > newest + 200).collect();
    assert!(later.is_empty() && room.world.counts(room.subscriber).packets_out < sent + 2_000);
}

#[test]
fn when_the_worker_dies_nothing_is_sent_until_another_is_there() {
    let mut room = room(407, true);
    room.world.open_port(1);
    room.world.run(1_000);
    let (track, reason) = (TrackId(1), PortEnd::WorkerGone);
    room.world.apply(Command::ClosePort { track, reason }).unwrap();
    assert!(room.world.saw(&Event::PortClosed { track, reason }));
    room.world.run(10);
    let (dead, before) = (room.world.now, room.got().len());
    room.world.run(3_000);
    assert_eq!((room.got().len(), room.raw_after(Time(0))), (before, 0));
    assert_eq!(room.world.engine.totals().port.bad_port_messages, 0);
    room.world.open_port(1);
    room.world.run(1_000);
    assert!(room.blurred_after(dead) > 50 && room.raw_after(Time(0)) == 0);
    let first = room.got().into_iter().find(|got| got.at > dead).unwrap();
    assert!(first.payload[0] & 0x10 != 0 && first.payload[4] & 1 == 0, "it begins at a keyframe");
}

#[test]
fn another_resolution_or_encoding_shows_nothing_of_the_camera() {
    let mut room = room(408, true);
    room.world.open_port(1);
    room.world.run(1_000);
    for packets_per_frame in [1, 12, 3] {
        let sending = &mut room.world.browsers[0].sending[0];
        (sending.packets_per_frame, sending.keyframe_wanted) = (packets_per_frame, true);
        room.world.run(700);
    }
    assert_eq!(room.raw_after(Time(0)), 0);
    assert!(room.blurred_after(room.world.now.plus_ms(0)) == 0 && room.got().len() > 150);
}

fn simulcast(seed: u64) -> (Room, Vec<usize>) {
    let mut world = World::new(seed);
    let publisher = world.join();
    let sendings = world.publish_simulcast(publisher, 1, &RIDS);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    (Room { world, subscriber, ssrc }, sendings)
}

#[test]
fn no_other_simulcast_layer_is_a_way_round() {
    let (mut room, sendings) = simulcast(409);
    room.world.browsers[0].sending[sendings[1]].active = false;
    room.world.run(500);
    room.world.set_private(1, true);
    let at = room.world.now;
    room.world.open_port(1);
    for rid in ["f", "h", "q"] {
        room.world.apply(Command::SetLayer { slot: SlotId(10), rid: Some(rid.into()), temporal: None }).unwrap();
        sendings.iter().for_each(|sending| room.world.report(0, *sending));
        room.world.browsers[0].sending[sendings[1]].active = true; // comes when all is private already
        record_once(&mut room.world, rid);
        room.world.run(700);
    }
    assert_eq!(room.raw_after(at), 0);
    assert!(room.blurred_after(at) > 100 && room.blurred_recorded_after(at) > 50);
    // The best encoding ends: the worker gets the next one, and that is not seen either.
    let ended = room.world.now;
    room.world.browsers[0].sending[sendings[2]].active = false;
    room.world.run(2_500);
    assert_eq!(room.raw_after(at), 0);
    assert!(room.blurred_after(ended.plus_ms(1_500)) > 30, "pictures go on from the next encoding");
}

fn record_once(world: &mut World, rid: &str) {
    record(world, rid.as_bytes()[0].into());
}

#[test]
fn a_new_ssrc_of_the_camera_is_private_too() {
    let mut room = room(410, true);
    room.world.run(200);
    let sending = &mut room.world.browsers[0].sending[0];
    (sending.ssrc, sending.rtx_ssrc, sending.keyframe_wanted) = (0x7777_0000, 0x7777_0001, true);
    room.world.run(1_000);
    assert!(room.got().is_empty() && room.recorded().is_empty());
    room.world.open_port(1);
    room.world.run(1_000);
    assert!(room.raw().is_empty() && room.blurred_after(Time(0)) > 50);
}

#[test]
fn probes_carry_nothing_of_the_camera() {
    let mut room = room(411, true);
    room.world.run(5_000);
    let subscriber = &room.world.browsers[room.subscriber];
    assert!(subscriber.padding_got > 0, "the path was probed");
    assert!(room.got().is_empty());
}

#[test]
fn who_comes_back_is_private_from_the_first_packet() {
    let mut room = room(412, true);
    room.world.open_port(1);
    room.world.run(1_000);
    let transport = room.world.browsers[0].transport;
    room.world.apply(Command::RemoveTransport { transport }).unwrap();
    assert!(room.world.saw(&Event::PortClosed { track: TrackId(1), reason: PortEnd::TrackGone }));
    room.world.browsers[0].sending[0].active = false;
    let at = room.world.now;
    let back = room.world.join();
    room.world.publish_as(back, 2, Kind::Video, true);
    room.world.fill(10, Some(2));
    room.world.run(1_000);
    assert_eq!((room.raw_after(Time(0)), room.blurred_after(at.plus_ms(50))), (0, 0));
    room.world.open_port(2);
    room.world.run(1_000);
    assert!(room.raw_after(Time(0)) == 0 && room.blurred_after(at) > 50);
}

#[test]
fn negotiating_again_ends_nothing() {
    let mut room = room(413, true);
    room.world.run(200);
    let browser = &room.world.browsers[0];
    let (transport, mut spec) = (browser.transport, browser.track_spec(0));
    spec.codecs[0].nack = false;
    room.world.apply(Command::SetTrack { transport, track: TrackId(1), spec: spec.clone() }).unwrap();
    room.world.run(500);
    assert!(room.got().is_empty());
    room.world.set_private(1, false);
    room.world.run(500);
    let private = TrackSpec { private: true, ..spec };
    assert!(!room.got().is_empty(), "seen after the command");
    room.world.apply(Command::SetTrack { transport, track: TrackId(1), spec: private }).unwrap();
    let at = room.world.now;
    room.world.run(500);
    assert_eq!(room.raw_after(at), 0);
}

#[test]
fn privacy_ends_at_the_cameras_next_keyframe_and_what_came_before_stays_unseen() {
    let mut room = room(414, false);
    room.world.run(500);
    room.world.set_private(1, true);
    let (at, first_hidden) = (room.world.now, room.world.browsers[0].sending[0].ext_seq + 1);
    room.world.open_port(1);
    room.world.run(1_000);
    // The camera hears no request for a while.
    room.world.set_private(1, false);
    for _ in 0..800 {
        room.world.browsers[0].sending[0].keyframe_wanted = false;
        room.world.step();
    }
    assert!(!room.world.saw(&Event::Private { track: TrackId(1), private: false }));
    assert_eq!(room.raw_after(at), 0, "not before the keyframe");
    assert!(
        room.blurred_after(room.world.now.plus_ms(0)) == 0
            && room.got().last().unwrap().at.plus_ms(60) > room.world.now
    );
    let last_hidden = room.world.browsers[0].sending[0].ext_seq;
    room.world.browsers[0].sending[0].keyframe_wanted = true;
    let asked = room.world.now;
    room.world.run(200);
    assert!(room.world.saw(&Event::Private { track: TrackId(1), private: false }));
    assert!(room.raw_after(asked) > 10);
    // Repeats of what was private arrive late, and are asked for.
    for seq in last_hidden - 100..=last_hidden {
        let rtx = room.world.browsers[0].rtx_of(0, seq);
        room.world.send_up(0, rtx);
    }
    let newest = room.got().last().unwrap().ext_seq;
    room.nack(newest - 250..=newest);
    room.world.run(500);
    let hidden = first_hidden..=last_hidden;
    let leaks: Vec<_> = room.raw().into_iter().filter(|(_, (_, seq))| hidden.contains(seq)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    let got = room.got();
    let pause = got.windows(2).map(|pair| pair[1].at.since_ms(pair[0].at)).max();
    assert!(pause < Some(300), "the pictures go on through both changes: {pause:?} ms");
    assert!(got.windows(2).all(|pair| pair[1].rtp_ts.wrapping_sub(pair[0].rtp_ts) as i32 >= 0));
}

#[test]
fn a_keyframe_whose_start_is_repaired_does_not_end_privacy_in_its_middle() {
    let mut room = room(415, true);
    room.world.open_port(1);
    room.world.run(500);
    room.world.set_private(1, false);
    for _ in 0..600 {
        room.world.browsers[0].sending[0].loses_keyframe_start = true;
        room.world.step();
    }
    assert_eq!(room.raw_after(Time(0)), 0);
    room.world.browsers[0].sending[0].loses_keyframe_start = false;
    room.world.run(1_200);
    let raw = room.raw();
    let first = raw.iter().map(|(_, at)| at.1).min().unwrap();
    assert_eq!(room.world.browsers[0].sending[0].history[&first].0[6] & 1, 0, "it begins where a keyframe begins");
    assert!(room.world.saw(&Event::Private { track: TrackId(1), private: false }));
}

#[test]
fn a_keyframe_of_the_private_time_that_is_repaired_after_its_end_shows_nothing() {
    let mut room = room(418, false);
    room.world.run(500);
    room.world.set_private(1, true);
    let sending = &mut room.world.browsers[0].sending[0];
    let first_hidden = sending.ext_seq + 1;
    (sending.answers_nacks, sending.keyframe_wanted, sending.loses_keyframe_start) = (false, true, true);
    room.world.run(200);
    room.world.browsers[0].sending[0].loses_keyframe_start = false;
    room.world.set_private(1, false);
    let last_hidden = room.world.browsers[0].sending[0].ext_seq;
    room.world.run(700); // the camera was asked when it became private: not again for half a second
    assert!(room.world.saw(&Event::Private { track: TrackId(1), private: false }));
    // Whoever begins now would take the first start of a keyframe that comes.
    room.world.fill(10, None);
    room.world.fill(10, Some(1));
    record(&mut room.world, 2);
    let hidden = first_hidden..=last_hidden;
    let history = room.world.browsers[0].sending[0].history.range(hidden.clone());
    let starts = history.filter(|(_, sent)| sent.0[0] & 0x10 != 0 && sent.0[6] & 1 == 0).map(|(seq, _)| *seq);
    let lost: Vec<u64> = starts.collect();
    assert!(!lost.is_empty());
    for seq in lost {
        let rtx = room.world.browsers[0].rtx_of(0, seq);
        room.world.send_up(0, rtx);
    }
    room.world.run(500);
    let leaks: Vec<_> = room.raw().into_iter().filter(|(_, (_, seq))| hidden.contains(seq)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    assert!(room.got().windows(2).all(|pair| pair[1].ext_seq == pair[0].ext_seq + 1), "without gaps");
}

#[test]
fn nobody_sees_what_the_worker_returns_while_the_camera_is_muted() {
    let mut room = room(416, true);
    let worker = room.world.open_port(1);
    room.world.workers[worker].delay_ms = 300;
    room.world.run(1_000);
    room.world.apply(Command::SetTrackMuted { track: TrackId(1), muted: true }).unwrap();
    let (muted, before) = (room.world.now, room.got().len());
    room.world.run(1_000);
    assert!(before > 50 && room.blurred_after(muted.plus_ms(1)) == 0);
    room.world.apply(Command::SetTrackMuted { track: TrackId(1), muted: false }).unwrap();
    room.world.run(1_000);
    assert!(room.blurred_after(muted.plus_ms(1)) > 50 && room.raw_after(Time(0)) == 0);
}

#[test]
fn only_video_can_be_private() {
    let mut world = World::new(417);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Audio);
    let track = TrackId(1);
    for command in [Command::SetPrivate { track, private: true }, Command::OpenPort { track }] {
        assert!(matches!(world.apply(command), Err(EngineError::Refused(_))));
    }
    let unknown = Command::SetPrivate { track: TrackId(9), private: true };
    assert_eq!(world.apply(unknown), Err(EngineError::UnknownId));
    let spec = TrackSpec { private: true, ..world.browsers[0].track_spec(0) };
    let (transport, track) = (world.browsers[0].transport, TrackId(2));
    assert!(matches!(world.apply(Command::SetTrack { transport, track, spec }), Err(EngineError::Refused(_))));
}

#[derive(Debug, Clone)]
enum Step {
    Private(bool),
    Open,
    Close,
    Mute(bool),
    Refill,
    Layer(usize),
    Full(bool),
    Nack(u64),
    Keyframe,
    Active(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(Step::Private),
        2 => Just(Step::Open),
        1 => Just(Step::Close),
        1 => any::<bool>().prop_map(Step::Mute),
        1 => Just(Step::Refill),
        1 => (0..3_usize).prop_map(Step::Layer),
        1 => any::<bool>().prop_map(Step::Full),
        2 => (0..300_u64).prop_map(Step::Nack),
        1 => Just(Step::Keyframe),
        1 => (0..3_usize, any::<bool>()).prop_map(|(at, active)| Step::Active(at, active)),
    ]
}

fn act(room: &mut Room, step: Step) {
    let track = TrackId(1);
    match step {
        Step::Private(private) => room.world.set_private(1, private),
        Step::Open => {
            room.world.open_port(1);
        }
        Step::Close => room.world.apply(Command::ClosePort { track, reason: PortEnd::WorkerGone }).unwrap(),
        Step::Mute(muted) => room.world.apply(Command::SetTrackMuted { track, muted }).unwrap(),
        Step::Refill => {
            room.world.fill(10, None);
            room.world.fill(10, Some(1));
        }
        Step::Layer(at) => {
            let rid = Some(RIDS[at].to_owned());
            room.world.apply(Command::SetLayer { slot: SlotId(10), rid, temporal: None }).unwrap();
        }
        Step::Full(is_full) => room.world.workers.iter_mut().for_each(|worker| worker.is_full = is_full),
        Step::Nack(back) => {
            let newest = room.got().last().map_or(0, |got| got.ext_seq);
            room.nack(newest.saturating_sub(back)..=newest);
        }
        Step::Keyframe => room.world.browsers[0].sending.iter_mut().for_each(|sending| sending.keyframe_wanted = true),
        Step::Active(at, active) => room.world.browsers[0].sending[at].active = active,
    }
}

/// When the camera was private last, as the engine told.
#[derive(Default)]
struct Watch {
    since: Option<Time>,
    /// Of the first encoding, the first packet that was sent in private.
    hidden_from: u64,
}

impl Watch {
    fn note(&mut self, world: &mut World) {
        for event in std::mem::take(&mut world.events) {
            match event {
                Event::Private { private: true, .. } => {
                    self.since = Some(world.now);
                    self.hidden_from = world.browsers[0].sending[0].ext_seq + 1;
                }
                Event::Private { private: false, .. } => self.since = None,
                _ => {}
            }
        }
    }

    fn leaks(&self, room: &Room) -> Vec<String> {
        let raw = room.raw();
        if let Some(since) = self.since {
            let leaks = raw.iter().filter(|(at, _)| *at > since.plus_ms(1));
            return leaks.map(|leak| format!("private since {since:?}: {leak:?}")).collect();
        }
        // What is seen of the camera since then begins with the keyframe that ended privacy.
        let first = &room.world.browsers[0].sending[0];
        let seqs = raw.iter().filter(|(_, of)| of.0 == first.ssrc && of.1 >= self.hidden_from).map(|(_, of)| of.1);
        let begins = |seq: &u64| first.history[seq].0[0] & 0x10 != 0 && first.history[seq].0[6] & 1 == 0;
        seqs.min().filter(|seq| !begins(seq)).map(|seq| format!("{seq} is no keyframe")).into_iter().collect()
    }
}

proptest! {
    #![proptest_config(common::cases(24))]

    /// Whatever is commanded in whatever order: while privacy holds no packet of the camera is shown, and what the
    /// camera sent in that time is not shown later.
    #[test]
    fn no_order_of_events_shows_a_private_camera(
        seed in any::<u64>(),
        loss in 0..100_u64,
        jitter_ms in 0..20_u64,
        steps in proptest::collection::vec((step(), 10..500_u64), 1..25),
    ) {
        let (mut room, _) = simulcast(seed);
        record(&mut room.world, 1);
        room.world.link.up = Faults { loss, jitter_ms, ..Faults::default() };
        let mut watch = Watch::default();
        for (step, ms) in steps {
            act(&mut room, step);
            watch.note(&mut room.world);
            for _ in 0..ms {
                room.world.step();
                watch.note(&mut room.world);
            }
            prop_assert_eq!(watch.leaks(&room), Vec::<String>::new());
        }
        prop_assert_eq!(room.world.engine.totals().repeat_refused, 0);
    }
}
