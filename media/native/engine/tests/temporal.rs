//! Temporal layers of VP8, VP9 and AV1: left out without a gap, taken up again where the codec says so, and the numbers
//! that decoders follow.

mod common;

use common::browser::Got;
use common::payload::{picture_of, VP9_DESCRIPTOR_BYTES};
use common::{assert_one_stream, Faults, World};
use holdspace_engine::{Command, Kind, SlotId};
use holdspace_wire::codec::dependency::{self, Structure};
use holdspace_wire::codec::{read_frame_mark, vp8, vp9, Codec, FrameMark};
use std::collections::{BTreeMap, HashMap};

/// Beyond 14: with headers of two bytes, as Chromium sends dependency descriptors.
const DESCRIPTOR_ID: u8 = 15;

fn join(world: &mut World, codec: Codec) -> usize {
    let index = world.join();
    let browser = &mut world.browsers[index];
    browser.video_codec = codec;
    browser.extensions.dependency_descriptor = Some(DESCRIPTOR_ID + index as u8);
    let (transport, extensions) = (browser.transport, browser.extensions);
    world.apply(Command::SetExtensions { transport, extensions }).unwrap();
    index
}

fn room(seed: u64, codec: Codec) -> (World, usize, u32) {
    let mut world = World::new(seed);
    let publisher = join(&mut world, codec);
    world.publish(publisher, 1, Kind::Video);
    world.browsers[publisher].sending[0].temporal_layers = 3;
    let subscriber = join(&mut world, codec);
    world.run(100);
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    (world, subscriber, ssrc)
}

fn want(world: &mut World, temporal: Option<u8>) {
    world.apply(Command::SetLayer { slot: SlotId(10), rid: None, temporal }).unwrap();
}

/// What a decoder reads in one packet: the picture's or frame's number is its codec's.
struct Read {
    mark: FrameMark,
    number: u16,
    marker: bool,
}

fn read_all(codec: Codec, got: &BTreeMap<u64, Got>) -> Vec<Read> {
    let mut structure: Option<Structure> = None;
    let read = |got: &Got| {
        let mut mark = read_frame_mark(codec, &got.payload).unwrap();
        let number = match codec {
            Codec::Vp8 => picture_of(&got.payload).0,
            Codec::Vp9 => vp9::parse_untrusted(&got.payload).unwrap().picture_id.unwrap(),
            _ => {
                let (_, value) = got.extensions.iter().find(|(id, _)| *id == DESCRIPTOR_ID + 1).expect("a descriptor");
                let descriptor = dependency::parse_untrusted(value, structure.as_ref()).expect("readable");
                mark.temporal_id = descriptor.temporal_id;
                assert_eq!((descriptor.starts_frame, descriptor.ends_frame), (mark.starts_frame, got.marker));
                structure = descriptor.structure.or(structure.take());
                descriptor.frame_number
            }
        };
        Read { mark, number, marker: got.marker }
    };
    got.values().map(read).collect()
}

/// Of some packets: the layers among them.
fn layers_of(reads: &[Read]) -> Vec<u8> {
    let mut ids: Vec<u8> = reads.iter().map(|read| read.mark.temporal_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Every frame whole, and there is all it refers to: the base layer; the second of layer 2 also those between.
fn assert_decodable(reads: &[Read]) {
    let (mut since_base, mut in_frame) = (None, false);
    for Read { mark, marker, .. } in reads {
        assert_eq!(mark.starts_frame, !in_frame, "frames are whole");
        in_frame = !marker;
        if !mark.starts_frame {
            continue;
        }
        if mark.starts_keyframe || mark.temporal_id == 0 {
            assert!(mark.starts_keyframe || since_base.is_some());
            since_base = Some(Vec::new());
            continue;
        }
        let since_base = since_base.as_mut().expect("a keyframe comes first");
        let is_whole = !since_base.contains(&1) || *since_base == [2, 1];
        assert!(mark.temporal_id == 1 || is_whole, "layer 2 after {since_base:?}");
        since_base.push(mark.temporal_id);
    }
}

/// Of VP8: layers that were left out begin one above the other, each at a frame that needs nothing older of it.
fn assert_taken_up_at_sync_points(reads: &[Read], before: &[u8], wanted: &[u8]) {
    let mut since = 0;
    for layer in wanted.iter().filter(|layer| !before.contains(layer)) {
        let first = reads.iter().position(|read| read.mark.temporal_id == *layer).expect("it came");
        assert!(reads[first].mark.starts_frame && reads[first].mark.layer_sync, "layer {layer}");
        assert!(first >= since, "layer {layer} before the one under it");
        since = first;
    }
}

/// A subscriber is given fewer and more layers by turns; answers the room at the end.
fn layers_come_and_go(seed: u64, codec: Codec) -> (World, usize, u32) {
    let (mut world, subscriber, ssrc) = room(seed, codec);
    world.run(1_000);
    let got_by = |world: &World| read_all(codec, world.browsers[subscriber].got(ssrc));
    let mut before = layers_of(&got_by(&world));
    assert_eq!(before, [0, 1, 2], "all, if nothing else is wanted");
    for (wanted, expected) in [
        (Some(0), vec![0]),
        (Some(1), vec![0, 1]),
        (None, vec![0, 1, 2]),
        (Some(1), vec![0, 1]),
        (Some(0), vec![0]),
        (None, vec![0, 1, 2]),
    ] {
        let changed = got_by(&world).len();
        want(&mut world, wanted);
        world.run(150);
        let settled = got_by(&world).len();
        world.run(600);
        let reads = got_by(&world);
        assert_eq!(layers_of(&reads[settled..]), expected, "{codec:?}");
        if codec == Codec::Vp8 {
            assert_taken_up_at_sync_points(&reads[changed..], &before, &expected);
        }
        assert_decodable(&reads);
        before = expected;
    }
    let reads = got_by(&world);
    let keyframes = reads.iter().filter(|read| read.mark.starts_keyframe).count();
    assert_eq!(keyframes, 1, "no keyframe is needed for temporal layers");
    let got: Vec<&Got> = world.browsers[subscriber].got(ssrc).values().collect();
    for pair in got.windows(2) {
        assert_eq!(pair[1].ext_seq, pair[0].ext_seq + 1);
        assert!(pair[1].rtp_ts.wrapping_sub(pair[0].rtp_ts) as i32 >= 0, "time runs forward");
    }
    (world, subscriber, ssrc)
}

/// How far the subscriber's numbers stand from those of the publishers, packet by packet.
fn number_offsets(world: &World, codec: Codec, got: &BTreeMap<u64, Got>) -> Vec<u16> {
    let (head, most) = if codec == Codec::Vp9 { (VP9_DESCRIPTOR_BYTES, 0x7fff) } else { (1, 0xffff) };
    let mut sent_as = HashMap::new();
    for sending in world.browsers.iter().flat_map(|browser| &browser.sending) {
        for (seq, (payload, _, _)) in &sending.history {
            let number = match sending.descriptors.get(seq) {
                Some(descriptor) => u16::from_be_bytes([descriptor[1], descriptor[2]]),
                None => vp9::parse_untrusted(payload).unwrap().picture_id.unwrap(),
            };
            sent_as.insert(&payload[head..], number);
        }
    }
    let reads = read_all(codec, got);
    let offset = |(got, read): (&Got, &Read)| read.number.wrapping_sub(sent_as[&got.payload[head..]]) & most;
    got.values().zip(&reads).map(offset).collect()
}

/// Decoders of VP9 and AV1 find what a frame refers to by counting back: gaps of left out frames must stay, and another
/// source goes on where the last one ended.
fn numbers_keep_their_gaps_and_go_on_with_another_source(seed: u64, codec: Codec) {
    let (mut world, subscriber, ssrc) = layers_come_and_go(seed, codec);
    let before = world.browsers[subscriber].got(ssrc).len();
    let second = join(&mut world, codec);
    world.publish(second, 2, Kind::Video);
    world.browsers[second].sending[0].temporal_layers = 3;
    world.browsers[second].sending[0].picture_id = 0x1234;
    world.run(500);
    world.browsers[0].sending[0].active = false;
    world.run(50);
    world.fill(10, Some(2));
    world.run(500);
    let got = world.browsers[subscriber].got(ssrc);
    let reads = read_all(codec, got);
    let change = (before..reads.len()).find(|at| reads[*at].mark.starts_keyframe).expect("the second's keyframe");
    assert_eq!(reads[change].number.wrapping_sub(reads[change - 1].number), 1);
    let mut offsets = number_offsets(&world, codec, got);
    assert!(offsets[..change].iter().all(|offset| *offset == offsets[0] && *offset != 0), "rewritten all alike");
    let of_second = offsets.split_off(change);
    assert!(of_second.len() > 20 && of_second.iter().all(|offset| *offset == of_second[0]));
    assert_ne!(of_second[0], offsets[0]);
    assert_decodable(&reads);
}

#[test]
fn upper_layers_of_vp8_leave_no_gap_in_its_pictures_and_come_back_at_sync_points() {
    let (world, subscriber, ssrc) = layers_come_and_go(211, Codec::Vp8);
    assert_one_stream(world.browsers[subscriber].got(ssrc));
}

#[test]
fn upper_layers_of_vp9_come_back_where_it_may_be_switched_up_and_picture_ids_tell_what_is_missing() {
    numbers_keep_their_gaps_and_go_on_with_another_source(215, Codec::Vp9);
}

#[test]
fn upper_layers_of_av1_come_back_at_switch_indications_and_frame_numbers_tell_what_is_missing() {
    numbers_keep_their_gaps_and_go_on_with_another_source(216, Codec::Av1);
}

#[test]
fn lost_packets_around_dropped_layers_are_repaired() {
    let (mut world, subscriber, ssrc) = room(212, Codec::Vp8);
    world.run(500);
    want(&mut world, Some(0));
    world.run(200);
    let start = *world.browsers[subscriber].got(ssrc).keys().next_back().unwrap();
    world.link.both(Faults { loss: 50, delay_ms: 10, jitter_ms: 3, duplicate: 10 });
    world.run(5_000);
    world.link.both(Faults::default());
    world.run(1_500);
    let got = world.browsers[subscriber].got(ssrc);
    let newest = *got.keys().next_back().unwrap();
    let missing = (start..newest).filter(|seq| !got.contains_key(seq)).count();
    assert!(missing * 200 < (newest - start) as usize, "{missing} of {}", newest - start);
    let base = got.range(start..).filter(|(_, got)| !got.payload.is_empty());
    let base = base.filter(|(_, got)| vp8::parse_untrusted(&got.payload).unwrap().temporal_id == Some(0)).count();
    assert!(base as u64 > 5_000 / 33 / 4 * 4, "the base layer is whole: {base}");
}

#[test]
fn picture_numbers_wrap_while_layers_come_and_go() {
    let (mut world, subscriber, ssrc) = room(213, Codec::Vp8);
    world.browsers[0].sending[0].picture_id = 0x7fd0;
    for round in 0..60_u8 {
        want(&mut world, if round % 2 == 0 { Some(round / 2 % 3) } else { None });
        world.run(130);
    }
    let got = world.browsers[subscriber].got(ssrc);
    assert_one_stream(got);
    let wraps = got.values().collect::<Vec<_>>().windows(2).filter(|w| w[1].ext_seq >> 16 > w[0].ext_seq >> 16).count();
    let pictures: Vec<u16> = got.values().map(|got| picture_of(&got.payload).0).collect();
    assert!(wraps <= 1 && pictures.len() > 300);
}
