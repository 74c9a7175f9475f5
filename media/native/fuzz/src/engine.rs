//! A whole room under any sequence of datagrams, commands and time steps. The first byte of each step chooses what
//! happens ([`STEPS`]), the bytes after it say how; what leaves the room is held to the rules of the packet path.

use crate::room::{Peer, Room, PEERS};
use crate::steps::{play_steps, Input, Step};
use holdspace_engine::{CodecSpec, Command, ExtensionIds, Kind, SlotId, SlotSpec, TapId, TrackId, TrackSpec};
use holdspace_wire::rtp;
use holdspace_wire::seq::{ExtSeq, Seq};

/// Enough for every pair of steps to meet; more only makes an input slower.
const MAX_STEPS: usize = 300;

pub fn engine(bytes: &[u8]) {
    play(bytes);
}

fn play(bytes: &[u8]) -> Room {
    let mut input = Input::new(bytes);
    let mut room = Room::new(u64::from(input.byte()));
    for number in 0..PEERS {
        join(&mut room, number);
    }
    for number in 0..PEERS as u8 {
        for kind in [0, 0x80] {
            publish(&mut room, &mut Input::new(&[number, kind]));
        }
    }
    for number in 0..PEERS as u8 {
        for kind in [0, 0x80] {
            subscribe(&mut room, &mut Input::new(&[number, (number + 1) % PEERS as u8, kind]));
        }
    }
    play_steps(room, input, &STEPS, MAX_STEPS)
}

const STEPS: [Step; 16] = [
    frame,
    frame,
    any_rtp,
    shaped_rtp,
    any_rtcp,
    any_datagram,
    reply,
    check,
    nap,
    sleep,
    publish,
    subscribe,
    steer,
    record,
    leave_or_join,
    renegotiate,
];

pub(crate) fn join(room: &mut Room, number: usize) {
    if room.add(number) {
        room.check(number, 0, true);
        room.set_keys(number);
    }
}

/// An honest frame (or audio packet) of one of a peer's tracks.
fn frame(room: &mut Room, input: &mut Input<'_>) {
    let (number, shape) = (input.below(PEERS), input.byte());
    let (track, keyframe, packets) = (usize::from(shape & 1), shape & 2 != 0, 1 + (shape >> 2 & 3));
    let layer = u32::from(shape >> 4 & 3) % 3;
    let peer = &mut room.peers[number];
    peer.rtp_ts = peer.rtp_ts.wrapping_add(3_000);
    let ssrc = Peer::ssrc(number, track) + 2 * layer;
    for part in 0..packets {
        let head = [0x80 | u8::from(part == 0) << 4, 0xe0, 0x80, shape, shape, 0x20, u8::from(!keyframe), 0, 0];
        let payload = [&head[..], &[shape; 40]].concat();
        let payload_type = if track == 0 { 96 } else { 111 };
        room.send_rtp(number, ssrc, payload_type, 1, part + 1 == packets, &payload, &[]);
    }
    room.advance_ms(1);
}

/// An authenticated packet of known numbers, whose payload and extensions say anything.
fn shaped_rtp(room: &mut Room, input: &mut Input<'_>) {
    let number = input.below(PEERS);
    let choice = input.byte();
    let ssrc = Peer::ssrc(number, usize::from(choice & 1)) + u32::from(choice >> 1 & 7);
    let payload_type = [96, 97, 98, 99, 100, 101, 102, 103, 111, 63][input.below(10)];
    let ahead = input.byte() as i8;
    let listed = input.byte();
    let value = input.slice();
    let rid = [b"h".as_slice(), b"m", b"l", value][usize::from(listed & 3)];
    let mid = if listed & 4 == 0 { Peer::mid(number, usize::from(choice & 1)).into_bytes() } else { value.to_vec() };
    let all: [(u8, &[u8]); 9] =
        [(1, &mid), (2, rid), (3, rid), (4, value), (5, value), (6, value), (7, value), (8, value), (9, value)];
    let skip = usize::from(listed >> 3 & 7);
    let marker = listed & 0x80 != 0;
    room.peers[number].rtp_ts = room.peers[number].rtp_ts.wrapping_add(u32::from(choice) << 4);
    let payload = input.slice();
    room.send_rtp(number, ssrc, payload_type, i64::from(ahead), marker, payload, &all[skip..]);
}

/// An authenticated packet of any bytes at all behind the fixed header's numbers.
fn any_rtp(room: &mut Room, input: &mut Input<'_>) {
    let (number, choice, seq) = (input.below(PEERS), input.byte(), input.word());
    let mut packet = vec![0x80 | choice & 0x3f, input.byte()];
    packet.extend(seq.to_be_bytes());
    packet.extend(input.word().to_be_bytes());
    packet.extend([0, 0]);
    let ssrc = Peer::ssrc(number, usize::from(choice >> 7)) + u32::from(choice >> 6 & 1);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(input.slice());
    if let Ok(header) = rtp::Header::parse_untrusted(&packet) {
        room.send_signed(number, packet, header.header_len, ssrc, ExtSeq(u64::from(seq)));
    }
}

/// An authenticated compound of any bytes behind one right header.
fn any_rtcp(room: &mut Room, input: &mut Input<'_>) {
    let (number, count, kind) = (input.below(PEERS), input.byte(), input.byte());
    let named = room.ssrc_of_slot(number, usize::from(count >> 5));
    let mut body = input.slice().to_vec();
    body.resize(body.len().next_multiple_of(4).max(8), 0);
    if kind & 0x80 != 0 {
        body[4..8].copy_from_slice(&named.to_be_bytes());
    }
    let mut compound = vec![0x80 | count & 0x1f, 200 + kind % 8];
    compound.extend(((body.len() / 4) as u16).to_be_bytes());
    compound.extend(body);
    room.send_rtcp(number, compound);
}

/// Any bytes from anywhere, for a transport that is or is not there.
fn any_datagram(room: &mut Room, input: &mut Input<'_>) {
    let (number, address) = (input.below(PEERS + 1), input.below(12));
    room.deliver(number, address, input.slice().to_vec());
}

/// What an honest peer answers: NACKs, keyframe requests and transport-wide feedback about what it really got.
fn reply(room: &mut Room, input: &mut Input<'_>) {
    let number = input.below(PEERS);
    reply_from(room, number, input);
}

pub(crate) fn reply_from(room: &mut Room, number: usize, input: &mut Input<'_>) {
    let (choice, pattern) = (input.byte(), input.word());
    match choice % 4 {
        0 => room.ask_again(number, pattern),
        1 => room.report_arrivals(number, pattern),
        2 => room.ask_keyframe(number, usize::from(choice >> 2)),
        _ => room.report_reception(number, usize::from(choice >> 2), pattern),
    }
}

/// An authenticated ICE check, perhaps from another address.
fn check(room: &mut Room, input: &mut Input<'_>) {
    let (number, choice) = (input.below(PEERS), input.byte());
    let address = usize::from(choice & 0x1f) % 12;
    match choice >> 5 {
        0 => room.forget_address(number, address),
        1 => room.lose_address(number, address),
        2 => room.restart_ice(number),
        _ => room.check(number, address, choice & 0x40 != 0),
    }
}

fn nap(room: &mut Room, input: &mut Input<'_>) {
    room.advance_ms(u64::from(input.byte()));
}

/// To the deadlines the room names itself, one by one.
fn sleep(room: &mut Room, input: &mut Input<'_>) {
    room.sleep_ms(u64::from(input.word()));
}

pub(crate) fn codecs(choice: u8) -> Vec<CodecSpec> {
    let spec = |name: &str, payload_type: u8, rtx: Option<u8>| CodecSpec {
        name: name.into(),
        payload_type,
        clock_hz: if rtx.is_some() { 90_000 } else { 48_000 },
        rtx_payload_type: rtx.filter(|_| choice & 0x10 == 0),
        nack: choice & 0x08 == 0,
        pli: true,
        remb: true,
        twcc: choice & 0x20 == 0,
        fmtp: String::new(),
    };
    if choice & 0x80 != 0 {
        return vec![spec("red", 63, None), spec("opus", 111, None)];
    }
    let all = [("vp8", 96), ("vp9", 98), ("h264", 100), ("av1", 102)];
    all.into_iter().map(|(name, number)| spec(name, number, Some(number + 1))).collect()
}

/// A track, new or negotiated again: with one layer or three, announced SSRCs or none.
fn publish(room: &mut Room, input: &mut Input<'_>) {
    let (number, choice) = (input.below(PEERS), input.byte());
    let at = usize::from(choice >> 7);
    let rids: Vec<String> = if choice & 4 != 0 { ["h", "m", "l"].map(String::from).to_vec() } else { vec![] };
    let first = Peer::ssrc(number, at);
    let pair = |layer: u32| (first + 2 * layer, Some(first + 2 * layer + 1));
    let ssrcs = if choice & 0x40 != 0 { vec![] } else { (0..rids.len().max(1) as u32).map(pair).collect() };
    let kind = if at == 1 { Kind::Audio } else { Kind::Video };
    let spec = TrackSpec { mid: Peer::mid(number, at), kind, codecs: codecs(choice), ssrcs, rids, private: false };
    let transport = Room::transport(number);
    room.apply(Command::SetTrack { transport, track: track(number, at), spec });
}

fn track(number: usize, at: usize) -> TrackId {
    TrackId((2 * number + at) as u64)
}

/// A slot of one peer, filled by a track of another or emptied.
fn subscribe(room: &mut Room, input: &mut Input<'_>) {
    let (number, publisher, choice) = (input.below(PEERS), input.below(PEERS), input.byte());
    let at = usize::from(choice >> 7);
    let slot = SlotId((4 * number + usize::from(choice & 1) + 2 * at) as u64);
    let kind = if at == 1 { Kind::Audio } else { Kind::Video };
    let ssrc = room.fresh_ssrc(number, slot);
    let spec = SlotSpec {
        mid: format!("s{}", slot.0),
        kind,
        ssrc,
        rtx_ssrc: (choice & 2 == 0).then_some(ssrc + 1),
        codecs: codecs(choice),
        cname: format!("c{publisher}"),
    };
    room.apply(Command::SetSlot { transport: Room::transport(number), slot, spec });
    let track = (choice & 0x20 == 0).then_some(track(publisher, at));
    room.apply(Command::SetSlotSource { slot, track });
}

/// Layers, muting, caps, keyframes.
fn steer(room: &mut Room, input: &mut Input<'_>) {
    let (number, choice) = (input.below(PEERS), input.byte());
    let (track, slot) = (track(number, usize::from(choice >> 7)), SlotId(input.byte() as u64 % (4 * PEERS as u64)));
    room.apply(match choice % 4 {
        0 => {
            let rids = [Some("h"), Some("m"), Some("l"), None];
            Command::SetLayer {
                slot,
                rid: rids[usize::from(choice >> 2 & 3)].map(String::from),
                temporal: (choice & 64 != 0).then_some(choice >> 4 & 3),
            }
        }
        1 => Command::SetTrackMuted { track, muted: choice & 4 != 0 },
        2 => Command::RequestKeyframe { track },
        _ => {
            let bps = (choice & 4 != 0).then_some(u64::from(choice) * 10_000);
            Command::SetMaxBitrate { transport: Room::transport(number), bps }
        }
    });
}

/// Grants, taps, and their end.
fn record(room: &mut Room, input: &mut Input<'_>) {
    let (number, choice) = (input.below(PEERS), input.byte());
    let grant = format!("grant{}", choice >> 6);
    let (tap, track) = (TapId(u64::from(choice >> 4 & 3)), track(number, usize::from(choice >> 3 & 1)));
    room.apply(match choice % 6 {
        0 => Command::GrantRecording { grant, participant: Peer::name(number) },
        1 | 2 => Command::AddTap { tap, track, grant },
        3 => Command::RevokeRecording { grant },
        4 => Command::RemoveTap { tap },
        _ => Command::FailTap { tap },
    });
}

fn leave_or_join(room: &mut Room, input: &mut Input<'_>) {
    let (number, choice) = (input.below(PEERS), input.byte());
    match choice % 4 {
        0 => room.remove(number),
        1 => room.apply(Command::RemoveTrack { track: track(number, usize::from(choice >> 7)) }),
        2 => {
            let (transport, flight) = (Room::transport(number), choice & 4 != 0);
            room.apply(Command::SendDtls { transport, datagrams: vec![vec![22; 900]; 3], flight });
        }
        _ => join(room, number),
    }
}

/// Other extension ids for a peer from now on.
fn renegotiate(room: &mut Room, input: &mut Input<'_>) {
    let (number, shift) = (input.below(PEERS), input.byte());
    let id = |base: u8| Some(base).filter(|base| shift >> (base % 8) & 1 == 0);
    let extensions = ExtensionIds {
        mid: id(1),
        rid: id(2),
        repaired_rid: id(3),
        audio_level: id(4),
        abs_send_time: id(5),
        transport_cc: id(6),
        video_orientation: id(7),
        dependency_descriptor: id(8),
        playout_delay: id(9),
    };
    room.apply(Command::SetExtensions { transport: Room::transport(number), extensions });
}

/// Numbers a NACK or a feedback is about: those of the newest sixteen whose bit is set.
pub(crate) fn picked(newest: u64, pattern: u16) -> Vec<Seq> {
    let ago = (0..16_u64).rev().filter(|bit| pattern >> bit & 1 == 1);
    ago.filter_map(|ago| newest.checked_sub(ago)).map(|number| ExtSeq(number).seq()).collect()
}

#[cfg(test)]
mod tests {
    use super::play;

    #[test]
    fn the_room_really_forwards_and_repairs() {
        let seed = |name: &str| std::fs::read(format!("seeds/engine/{name}")).expect("a seed");
        let talking = play(&seed("three_people_talking"));
        assert!(talking.packets_got() > 100, "{}", talking.packets_got());
        let repaired = play(&seed("loss_repair_and_feedback"));
        assert!(repaired.retransmitted() > 10, "{}", repaired.retransmitted());
    }
}
