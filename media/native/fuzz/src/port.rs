//! A private camera whose worker writes any bytes: nothing breaks, and nobody ever reads what the camera sent.
//! Each step is one byte that chooses it ([`STEPS`]) and bytes that say how.

use crate::engine::{codecs, join, reply_from};
use crate::room::{Peer, Room, PEERS};
use crate::steps::{play_steps, Input, Step};
use holdspace_engine::{Command, Kind, PortEnd, SlotId, SlotSpec, TapId, TrackId, TrackSpec};

const MAX_STEPS: usize = 200;
const TRACK: TrackId = TrackId(1);
/// What the camera's pictures are filled with.
const CAMERA: [u8; 24] = *b"nobody is to see a face!";

pub fn frame_port(bytes: &[u8]) {
    play(bytes);
}

fn play(bytes: &[u8]) -> Room {
    let mut room = Room::new(7);
    room.forbid(&CAMERA);
    (0..PEERS).for_each(|number| join(&mut room, number));
    let ssrcs = (0..3).map(|layer| (Peer::ssrc(0, 0) + 2 * layer, Some(Peer::ssrc(0, 0) + 2 * layer + 1))).collect();
    let rids = ["h", "m", "l"].map(String::from).to_vec();
    let spec = TrackSpec { mid: Peer::mid(0, 0), kind: Kind::Video, codecs: codecs(0), ssrcs, rids, private: true };
    room.apply(Command::SetTrack { transport: Room::transport(0), track: TRACK, spec });
    room.apply(Command::GrantRecording { grant: "grant".into(), participant: Peer::name(0) });
    room.apply(Command::AddTap { tap: TapId(1), track: TRACK, grant: "grant".into() });
    room.apply(Command::OpenPort { track: TRACK });
    (1..PEERS).for_each(|number| watch(&mut room, number));
    play_steps(room, Input::new(bytes), &STEPS, MAX_STEPS)
}

fn watch(room: &mut Room, number: usize) {
    let slot = SlotId(4 * number as u64);
    let ssrc = room.fresh_ssrc(number, slot);
    let rtx_ssrc = (number == 1).then_some(ssrc + 1);
    let (mid, cname) = (format!("s{}", slot.0), "c".to_owned());
    let spec = SlotSpec { mid, kind: Kind::Video, ssrc, rtx_ssrc, codecs: codecs(0), cname };
    room.apply(Command::SetSlot { transport: Room::transport(number), slot, spec });
    room.apply(Command::SetSlotSource { slot, track: Some(TRACK) });
}

const STEPS: [Step; 8] = [camera, camera, answer, answer, say, reply, steer, nap];

/// A frame of the camera, whole or with a hole.
fn camera(room: &mut Room, input: &mut Input<'_>) {
    let shape = input.byte();
    let (keyframe, packets, hole) = (shape & 1 != 0, 1 + (shape >> 1 & 3), shape >> 3 & 7);
    let ssrc = Peer::ssrc(0, 0) + 2 * (u32::from(shape >> 6) % 3);
    room.peers[0].rtp_ts = room.peers[0].rtp_ts.wrapping_add(3_000);
    for part in 0..packets {
        let head = [0x80 | u8::from(part == 0) << 4, 0xe0, 0x80, shape, shape, 0x20, u8::from(!keyframe), 0, 0];
        let ahead = if part + 1 == hole { 2 } else { 1 };
        room.send_rtp(0, ssrc, 96, ahead, part + 1 == packets, &[&head[..], &CAMERA].concat(), &[]);
    }
    room.advance_ms(1);
}

/// The worker's picture for one that it was given, keyframe or not, filled as the input says.
fn answer(room: &mut Room, input: &mut Input<'_>) {
    let (choice, repeat) = (input.byte(), usize::from(input.byte()));
    let Some(time) = room.given(usize::from(choice >> 1)) else { return };
    let mut message = vec![1, choice & 1, 0, 0];
    message.extend(time.to_be_bytes());
    message.extend(if choice & 1 == 1 { &[0x10, 0, 0, 0x9d, 1, 0x2a, 0, 1, 0, 1][..] } else { &[0x11, 0, 0][..] });
    message.extend(input.slice().repeat(1 + repeat));
    room.worker_says(TRACK, &message);
}

/// Any bytes at all.
fn say(room: &mut Room, input: &mut Input<'_>) {
    let message = input.slice().to_vec();
    room.worker_says(TRACK, &message);
}

/// What one of the subscribers answers.
fn reply(room: &mut Room, input: &mut Input<'_>) {
    let number = 1 + input.below(PEERS - 1);
    reply_from(room, number, input);
}

/// Everything that is commanded around a private track, short of its end.
fn steer(room: &mut Room, input: &mut Input<'_>) {
    let choice = input.byte();
    let slot = SlotId(4 * (1 + u64::from(choice >> 4 & 1)));
    let rid = [Some("h"), Some("m"), Some("l"), None][usize::from(choice >> 5 & 3)].map(String::from);
    room.apply(match choice % 12 {
        0 => Command::OpenPort { track: TRACK },
        1 => Command::ClosePort { track: TRACK, reason: PortEnd::WorkerGone },
        2 => Command::SetPrivate { track: TRACK, private: true },
        3 => Command::SetTrackMuted { track: TRACK, muted: choice & 0x80 != 0 },
        4 => Command::SetLayer { slot, rid, temporal: None },
        5 => Command::SetSlotSource { slot, track: None },
        6 => Command::SetSlotSource { slot, track: Some(TRACK) },
        7 => Command::SetSlotShare { slot, bps: Some(u64::from(choice >> 4) * 100_000) },
        8 => Command::RequestKeyframe { track: TRACK },
        9 => Command::RemoveTap { tap: TapId(1) },
        10 => Command::AddTap { tap: TapId(1), track: TRACK, grant: "grant".into() },
        _ => return room.refuse_worker(TRACK, choice >> 4),
    });
}

fn nap(room: &mut Room, input: &mut Input<'_>) {
    room.sleep_ms(u64::from(input.byte()) * 4);
}

#[cfg(test)]
mod tests {
    use super::play;

    #[test]
    fn the_workers_pictures_really_arrive() {
        let room = play(&std::fs::read("seeds/frame_port/honest_worker").expect("a seed"));
        assert!(room.packets_got() > 10, "{}", room.packets_got());
    }
}
