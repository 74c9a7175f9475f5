//! Payload descriptors of the codecs we forward.

mod common;

use common::bytes;
use holdspace_wire::codec::{dependency, read_frame_mark, red, vp8, vp9, Codec, FrameMark};
use proptest::prelude::*;

const CODECS: [Codec; 6] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1, Codec::Opus, Codec::Red];

#[test]
fn vp8_keyframe_with_everything_in_its_descriptor_is_read() {
    let payload = bytes("90 f0 8123 45 60 10 02 00 9d012a 8002 e001 aa");
    let descriptor = vp8::parse_untrusted(&payload).unwrap();
    assert_eq!(descriptor.len, 6);
    assert_eq!(descriptor.picture_id, Some(vp8::PictureId { value: 0x123, long: true }));
    assert_eq!(descriptor.tl0_pic_idx, Some(0x45));
    assert_eq!((descriptor.temporal_id, descriptor.layer_sync), (Some(1), true));
    assert_eq!(descriptor.key_idx, Some(0));
    assert!(descriptor.starts_keyframe);
    assert_eq!(vp8::keyframe_size(&payload, &descriptor), Some((640, 480)));
}

#[test]
fn vp8_picture_ids_are_rewritten_in_the_width_they_have() {
    let mut long = bytes("90 c0 8123 45 10");
    vp8::rewrite(&mut long, 0x7fff, 9).unwrap();
    assert_eq!(long, bytes("90 c0 ffff 09 10"));
    let mut short = bytes("90 80 12 10");
    vp8::rewrite(&mut short, 0x7fff, 9).unwrap();
    assert_eq!(short, bytes("90 80 7f 10"));
    let mut none = bytes("10 00");
    vp8::rewrite(&mut none, 5, 9).unwrap();
    assert_eq!(none, bytes("10 00"));
}

#[test]
fn vp9_numbers_are_read_and_rewritten_in_both_modes() {
    // Not flexible: picture id of 15 bits, temporal layer 2 with the switching-up flag, TL0PICIDX.
    let mut fixed = bytes("ec 8123 52 45 aa");
    let descriptor = vp9::parse_untrusted(&fixed).unwrap();
    assert_eq!((descriptor.picture_id, descriptor.tl0_pic_idx), (Some(0x123), Some(0x45)));
    assert_eq!((descriptor.temporal_id, descriptor.spatial_id, descriptor.switching_up), (2, 1, true));
    vp9::rewrite(&mut fixed, 0xffff, 9).unwrap();
    assert_eq!(fixed, bytes("ec ffff 52 09 aa"));
    // Flexible: picture id of 7 bits, no TL0PICIDX, one reference.
    let mut flexible = bytes("fc 12 20 02 aa");
    let descriptor = vp9::parse_untrusted(&flexible).unwrap();
    assert_eq!((descriptor.picture_id, descriptor.tl0_pic_idx, descriptor.temporal_id), (Some(0x12), None, 1));
    vp9::rewrite(&mut flexible, 0xffff, 9).unwrap();
    assert_eq!(flexible, bytes("fc 7f 20 02 aa"));
}

/// Bits as they are written, spaces for the reader.
fn bits(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').map(|digit| digit - b'0').collect();
    digits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |value, (at, bit)| value | bit << (7 - at))).collect()
}

/// L1T3: templates of temporal layers 0 0 1 2 2, three decode targets, one chain, 640×480; numbered from template 3.
const L1T3: &str = "1 0 000011 0000000000000101 1 0 0 0 0 \
    000011 00010 00 01 01 00 11 \
    10 10 10  10 10 10  00 01 11  00 00 01  00 00 01 \
    0  1 0011 0  1 0001 0  1 0000 0  1 0000 1 0001 0 \
    01 0 0 0 0000 0100 0010 0001 0011 \
    1 0000001001111111 0000000111011111";

#[test]
fn a_dependency_structure_tells_the_layers_of_the_frames_that_follow() {
    let keyframe = dependency::parse_untrusted(&bits(L1T3), None).unwrap();
    assert_eq!((keyframe.frame_number, keyframe.temporal_id, keyframe.spatial_id), (5, 0, 0));
    assert_eq!((keyframe.starts_frame, keyframe.ends_frame, keyframe.active_targets), (true, false, Some(0b111)));
    let structure = keyframe.structure.unwrap();
    let frames = [(3, 0, 2), (4, 0, 2), (5, 1, 0), (6, 2, 0), (7, 2, 0)];
    for (template, temporal_id, opens) in frames {
        let short = dependency::parse_untrusted(&[0xc0 | template, 0x12, 0x34], Some(&structure)).unwrap();
        assert_eq!((short.temporal_id, short.opens), (temporal_id, opens), "template {template}");
        assert_eq!((short.frame_number, short.active_targets), (0x1234, None));
    }
    assert!(dependency::parse_untrusted(&[0xc0 | 8, 0, 0], Some(&structure)).is_err(), "there is no such template");
    assert!(dependency::parse_untrusted(&[0xc3, 0, 0], None).is_err(), "nothing known");
    // Custom indications of template 4, and fewer active targets.
    let custom = bits("1 1 000100 0000000000000111 0 1 1 0 0 011 10 10 11");
    let custom = dependency::parse_untrusted(&custom, Some(&structure)).unwrap();
    assert_eq!((custom.opens, custom.active_targets), (1, Some(0b011)));
}

#[test]
fn a_frame_number_is_rewritten_in_place() {
    let mut value = bits(L1T3);
    assert!(dependency::rewrite_frame_number(&mut value, 0xfedc));
    assert_eq!(dependency::parse_untrusted(&value, None).unwrap().frame_number, 0xfedc);
    assert!(!dependency::rewrite_frame_number(&mut [1, 2], 5));
}

#[test]
fn frames_and_keyframes_are_told_apart_for_each_codec() {
    let cases = [
        (Codec::Vp8, "10 00", true, true),
        (Codec::Vp8, "10 01", true, false),
        (Codec::Vp8, "00 00", false, false),
        (Codec::Vp8, "11 00", false, false),
        (Codec::Vp9, "88 01 aa", true, true),
        (Codec::Vp9, "c8 01 aa", true, false),
        (Codec::Vp9, "a8 01 02 05", false, false),
        (Codec::H264, "67 42", true, true),
        (Codec::H264, "65 88", true, true),
        (Codec::H264, "65 48", false, false),
        (Codec::H264, "41 9a", true, false),
        (Codec::H264, "7c 85 88", true, true),
        (Codec::H264, "7c 05 88", false, false),
        (Codec::H264, "78 0002 6742 0002 68ce", true, true),
        (Codec::Av1, "18 0a", true, true),
        (Codec::Av1, "10 0a", true, false),
        (Codec::Av1, "90 0a", false, false),
        (Codec::Opus, "", true, true),
    ];
    for (codec, payload, starts_frame, starts_keyframe) in cases {
        let mark = read_frame_mark(codec, &bytes(payload)).unwrap();
        assert_eq!((mark.starts_frame, mark.starts_keyframe), (starts_frame, starts_keyframe), "{codec:?} {payload}");
    }
}

#[test]
fn red_blocks_come_oldest_first_and_the_primary_last() {
    // One redundant block of 2 bytes, 960 ticks old, then the primary.
    let payload = bytes("ef 0f00 02 6f aabb ccddee");
    let mut blocks = Vec::new();
    red::parse_untrusted(&payload, |block| blocks.push((block.timestamp_offset, block.data.to_vec()))).unwrap();
    assert_eq!(blocks, [(960, vec![0xaa, 0xbb]), (0, vec![0xcc, 0xdd, 0xee])]);
    assert_eq!(red::parse_untrusted_primary(&payload).unwrap().payload_type, 0x6f);
}

#[test]
fn red_payload_types_are_rewritten_or_left_alone() {
    let mut payload = bytes("ef 0f00 02 6f aabb cc");
    red::rewrite_payload_types(&mut payload, |old| (old == 0x6f).then_some(0x70)).unwrap();
    assert_eq!(payload, bytes("f0 0f00 02 70 aabb cc"));
    assert!(red::rewrite_payload_types(&mut payload, |_| None).is_err());
    assert_eq!(payload, bytes("f0 0f00 02 70 aabb cc"));
}

#[test]
fn red_that_claims_more_than_it_has_is_malformed() {
    assert!(red::parse_untrusted_primary(&bytes("ef 0f03 ff 6f aabb")).is_err());
    assert!(red::parse_untrusted_primary(&[0xef; 80]).is_err());
    assert!(red::parse_untrusted_primary(&[]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_mark_or_malformed(payload in prop::collection::vec(any::<u8>(), 0..60)) {
        for codec in CODECS {
            let mark = read_frame_mark(codec, &payload);
            let consistent = mark.is_err()
                || matches!(mark, Ok(FrameMark { starts_frame, starts_keyframe, .. })
                    if starts_frame || !starts_keyframe);
            prop_assert!(consistent);
        }
        let _ = red::parse_untrusted(&payload, |_| {});
        let _ = red::rewrite_payload_types(&mut payload.clone(), |old| Some(old ^ 1));
        if let Ok(descriptor) = vp8::parse_untrusted(&payload) {
            let _ = vp8::keyframe_size(&payload, &descriptor);
        }
        let known = dependency::parse_untrusted(&bits(L1T3), None).unwrap().structure;
        let _ = dependency::parse_untrusted(&payload, known.as_ref());
        let _ = dependency::parse_untrusted(&payload, None);
    }

    #[test]
    fn a_structure_with_any_bits_changed_is_read_or_malformed(flips in prop::collection::vec(any::<usize>(), 1..8)) {
        let mut value = bits(L1T3);
        let len = value.len();
        flips.iter().for_each(|flip| value[flip / 8 % len] ^= 1 << (flip % 8));
        if let Ok(descriptor) = dependency::parse_untrusted(&value, None) {
            let _ = dependency::parse_untrusted(&value, descriptor.structure.as_ref());
        }
    }

    #[test]
    fn rewriting_vp9_changes_only_the_numbers(
        payload in prop::collection::vec(any::<u8>(), 1..40), picture_id in any::<u16>(), tl0 in any::<u8>(),
    ) {
        let Ok(before) = vp9::parse_untrusted(&payload) else { return Ok(()) };
        let mut rewritten = payload.clone();
        vp9::rewrite(&mut rewritten, picture_id, tl0).unwrap();
        let after = vp9::parse_untrusted(&rewritten).unwrap();
        prop_assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| tl0));
        prop_assert_eq!(after.picture_id.is_some(), before.picture_id.is_some());
        prop_assert_eq!((after.temporal_id, after.spatial_id), (before.temporal_id, before.spatial_id));
        let changed = payload.iter().zip(&rewritten).filter(|(old, new)| old != new).count();
        prop_assert!(changed <= 3 && payload.len() == rewritten.len());
    }

    #[test]
    fn rewriting_vp8_changes_only_the_numbers(
        payload in prop::collection::vec(any::<u8>(), 1..40), picture_id in any::<u16>(), tl0 in any::<u8>(),
    ) {
        let Ok(before) = vp8::parse_untrusted(&payload) else { return Ok(()) };
        let mut rewritten = payload.clone();
        vp8::rewrite(&mut rewritten, picture_id, tl0).unwrap();
        let after = vp8::parse_untrusted(&rewritten).unwrap();
        prop_assert_eq!(&payload[before.len..], &rewritten[after.len..]);
        prop_assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| tl0));
        let mask = |id: vp8::PictureId| if id.long { picture_id & 0x7fff } else { picture_id & 0x7f };
        prop_assert_eq!(after.picture_id.map(|id| id.value), before.picture_id.map(mask));
        prop_assert_eq!((after.temporal_id, after.key_idx), (before.temporal_id, before.key_idx));
    }
}
