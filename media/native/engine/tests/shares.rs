//! A slot's share of its subscriber's estimate: 0 pauses it, anything else lets it go on at a keyframe.

mod common;

use common::World;
use holdspace_engine::{Command, EngineError, Kind, SlotId};

fn share(world: &mut World, slot: u64, bps: Option<u64>) -> Result<(), EngineError> {
    world.apply(Command::SetSlotShare { slot: SlotId(slot), bps })
}

#[test]
fn a_paused_slot_sends_nothing_and_comes_back_with_a_keyframe_and_no_gap() {
    let mut world = World::new(301);
    let publisher = world.join();
    world.publish(publisher, 1, Kind::Video);
    let subscriber = world.join();
    let ssrc = world.subscribe(subscriber, 10, 1, Kind::Video);
    world.run(1_000);
    share(&mut world, 10, Some(0)).unwrap();
    let before = world.browsers[subscriber].got(ssrc).len();
    let keyframes = world.browsers[publisher].sending[0].keyframes;
    world.run(2_000);
    assert_eq!(world.browsers[subscriber].got(ssrc).len(), before);
    assert_eq!(world.browsers[publisher].sending[0].keyframes, keyframes, "nobody to ask one for");
    share(&mut world, 10, Some(500_000)).unwrap();
    world.run(1_000);
    let got = world.browsers[subscriber].got(ssrc);
    assert!(got.len() > before + 100, "{} {before}", got.len());
    assert!(got.keys().zip(got.keys().skip(1)).all(|(a, b)| *b == a + 1), "without a gap");
    assert_eq!(world.browsers[publisher].sending[0].keyframes, keyframes + 1);
}

#[test]
fn sound_has_no_share() {
    let mut world = World::new(302);
    let subscriber = world.join();
    world.add_slot(subscriber, 10, Kind::Audio, false);
    assert!(matches!(share(&mut world, 10, Some(0)), Err(EngineError::Refused(_))));
    assert_eq!(share(&mut world, 10, None), Ok(()));
    assert_eq!(share(&mut world, 11, None), Err(EngineError::UnknownId));
}
