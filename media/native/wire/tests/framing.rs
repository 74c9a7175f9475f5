//! RFC 4571 frames: what was framed comes out again however the stream was cut, and no bytes do harm.

use holdspace_wire::framing::{length_prefix, Deframer, LENGTH_BYTES, MAX_FRAME_BYTES};
use proptest::prelude::*;

fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().flat_map(|frame| [&length_prefix(frame.len()).unwrap()[..], &frame[..]].concat()).collect()
}

fn take_all(deframer: &mut Deframer) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| deframer.next_untrusted_frame().unwrap().map(|frame| frame.to_vec())).collect()
}

#[test]
fn a_frame_is_its_length_and_its_bytes() {
    let mut deframer = Deframer::default();
    deframer.push(&[0, 3, 7, 8, 9, 0]);
    assert_eq!(take_all(&mut deframer), [[7, 8, 9]]);
    assert_eq!(deframer.waiting_bytes(), 1);
    assert_eq!(length_prefix(65_535), Some([255, 255]));
    assert_eq!(length_prefix(65_536), None);
}

#[test]
fn a_frame_longer_than_a_datagram_ends_the_stream() {
    let mut deframer = Deframer::default();
    deframer.push(&length_prefix(MAX_FRAME_BYTES).unwrap());
    assert_eq!(deframer.next_untrusted_frame(), Ok(None));
    let mut deframer = Deframer::default();
    deframer.push(&length_prefix(MAX_FRAME_BYTES + 1).unwrap());
    assert!(deframer.next_untrusted_frame().is_err());
}

#[test]
fn empty_frames_are_left_out() {
    let mut deframer = Deframer::default();
    deframer.push(&[0, 0, 0, 0, 0, 1, 5, 0, 0]);
    assert_eq!(take_all(&mut deframer), [[5]]);
}

proptest! {
    #[test]
    fn frames_survive_any_cutting(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        cuts in prop::collection::vec(1usize..64, 1..40),
    ) {
        let stream = framed(&frames);
        let mut deframer = Deframer::default();
        let (mut found, mut at) = (Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            if at >= stream.len() {
                break;
            }
            let end = (at + cut).min(stream.len());
            deframer.push(&stream[at..end]);
            found.extend(take_all(&mut deframer));
            at = end;
        }
        let expected: Vec<Vec<u8>> = frames.into_iter().filter(|frame| !frame.is_empty()).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(deframer.waiting_bytes(), 0);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error_and_little_is_held(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20),
    ) {
        let mut deframer = Deframer::default();
        for piece in pieces {
            deframer.push(&piece);
            loop {
                match deframer.next_untrusted_frame() {
                    Ok(Some(frame)) => prop_assert!(frame.len() <= MAX_FRAME_BYTES),
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            prop_assert!(deframer.waiting_bytes() < LENGTH_BYTES + MAX_FRAME_BYTES);
        }
    }
}
