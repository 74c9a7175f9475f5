//! The parsers of the wire crate, one target each.

use holdspace_wire::codec::{read_frame_mark, red, vp8, vp9, Codec};
use holdspace_wire::framing::{Deframer, LENGTH_BYTES, MAX_FRAME_BYTES};
use holdspace_wire::rtcp::{self, Arrivals, Packet, TransportCc, Writer};
use holdspace_wire::rtp::{self, Header, NewHeader};
use holdspace_wire::seq::Seq;
use holdspace_wire::stun::{self, IntegrityKey, Message};

pub(crate) const STUN_PASSWORD: &str = "a-password-of-24-letters";

/// As it came; and once more under a length and a fingerprint that are right, as any stranger can make them.
pub fn stun(bytes: &[u8]) {
    read_stun(bytes);
    let mut message = bytes.to_vec();
    message.truncate(1_272);
    message.resize(message.len().next_multiple_of(4).max(20), 0);
    let counted = (message.len() - 20 + 8) as u16;
    message[2..4].copy_from_slice(&counted.to_be_bytes());
    message[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
    let checksum = crc32(&message) ^ 0x5354_554e;
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(checksum.to_be_bytes());
    read_stun(&message);
}

fn read_stun(message: &[u8]) {
    let Ok(Message::BindingRequest(request)) = stun::parse_untrusted_message(message) else { return };
    assert!(!request.local_ufrag.is_empty());
    if request.is_authentic(&IntegrityKey::new(STUN_PASSWORD)) {
        // Only the golden request is: nobody makes another HMAC by chance.
        assert!(message.windows(13).any(|text| text == b"localufr:remo"));
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Header, extensions, padding and RTX; written again, it reads the same.
pub fn rtp(packet: &[u8]) {
    let Ok(header) = Header::parse_untrusted(packet) else { return };
    assert!(header.header_len <= packet.len());
    let mut elements: Vec<(u8, &[u8])> = Vec::new();
    for element in header.extensions(packet) {
        assert_ne!(element.id, 0);
        let value = &packet[element.range];
        let _ = (rtp::read_audio_level(value), rtp::read_transport_seq(value));
        let _ = (rtp::read_abs_send_time(value), rtp::read_stream_id(value));
        if !elements.iter().any(|(id, _)| *id == element.id) {
            assert_eq!(header.extension(packet, element.id), Some(value), "the first of an id counts");
        }
        elements.push((element.id, value));
    }
    let Ok(payload) = header.payload_range(packet) else { return };
    let payload = &packet[payload];
    let _ = rtp::parse_untrusted_rtx(payload);
    let new = NewHeader {
        marker: header.marker,
        payload_type: header.payload_type,
        seq: header.seq,
        rtp_ts: header.rtp_ts,
        ssrc: header.ssrc,
        extensions: &elements,
    };
    // An element of the one-byte form may need two bytes of head beside one of no length.
    let mut out = vec![0; packet.len() + elements.len() + 300];
    let written = rtp::write(&mut out, &new, &[payload], packet.len()).expect("room for what was read");
    let out = &out[..written.len];
    let again = Header::parse_untrusted(out).expect("what we write");
    assert_eq!(&out[again.payload_range(out).expect("our padding")], payload);
    let read: Vec<(u8, &[u8])> = again.extensions(out).map(|element| (element.id, &out[element.range])).collect();
    assert_eq!(read, elements);
    assert_eq!(
        (again.marker, again.payload_type, again.seq, again.rtp_ts, again.ssrc),
        (header.marker, header.payload_type, header.seq, header.rtp_ts, header.ssrc)
    );
}

/// A whole compound, every list in it walked to its end.
pub fn rtcp(compound: &[u8]) {
    for packet in rtcp::parse_untrusted(compound).flatten() {
        let len = compound.len();
        match packet {
            Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                assert!(reports.count() <= 31);
            }
            Packet::Sdes(chunks) => assert!(chunks.map(|(_, cname)| cname.len()).sum::<usize>() <= len),
            Packet::Bye(ssrcs) | Packet::Remb { ssrcs, .. } => assert!(ssrcs.count() * 4 <= len),
            Packet::Nack { lost, .. } => nack(lost.collect()),
            Packet::Fir { requests, .. } => assert!(requests.count() * 8 <= len),
            Packet::TransportCc(feedback) => read_feedback(&feedback),
            Packet::Pli { .. } | Packet::Unknown { .. } => {}
        }
    }
}

/// What a NACK names, asked for again in order, is the same set.
fn nack(lost: Vec<Seq>) {
    let mut numbers: Vec<u16> = lost.iter().map(|seq| seq.0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let sorted: Vec<Seq> = numbers.iter().copied().map(Seq).collect();
    let mut out = vec![0; 12 + 4 * sorted.len()];
    let mut writer = Writer::new(&mut out);
    writer.nack(1, 2, &sorted).expect("room");
    let len = writer.len();
    match rtcp::parse_untrusted(&out[..len]).next() {
        Some(Ok(Packet::Nack { lost, .. })) => assert!(lost.eq(sorted)),
        other => panic!("{other:?}"),
    }
}

/// The body of one transport-wide feedback, framed here; what it says is written and read again.
pub fn transport_cc(body: &[u8]) {
    let body = &body[..body.len().min(1_400) & !3];
    let mut compound = vec![0x8f, 205];
    compound.extend(((body.len() / 4 + 2) as u16).to_be_bytes());
    compound.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    compound.extend(body);
    if let Some(Ok(Packet::TransportCc(feedback))) = rtcp::parse_untrusted(&compound).next() {
        read_feedback(&feedback);
    }
}

fn read_feedback(feedback: &TransportCc<'_>) {
    let read: Vec<(Seq, Option<i64>)> = feedback.statuses().collect();
    assert_eq!(read.len(), usize::from(feedback.status_count), "checked whole before it is walked");
    let mut expected = feedback.base_seq;
    for (seq, _) in &read {
        assert_eq!(*seq, expected);
        expected = expected.next();
    }
    let base_us = i64::from(feedback.reference_time).rem_euclid(1 << 16) * 64_000;
    let arrivals_us: Vec<Option<i64>> = read.iter().map(|(_, us)| us.map(|us| base_us + us)).collect();
    write_again(feedback.base_seq, &arrivals_us);
}

/// All of it, in as many packets as that takes.
fn write_again(base_seq: Seq, arrivals_us: &[Option<i64>]) {
    let (mut seq, mut rest) = (base_seq, arrivals_us);
    while !rest.is_empty() {
        let mut out = vec![0; 1_200];
        let mut writer = Writer::new(&mut out);
        let arrivals = Arrivals { sender_ssrc: 1, media_ssrc: 2, feedback_count: 3, base_seq: seq, arrivals_us: rest };
        let taken = writer.transport_cc(&arrivals).expect("room for some");
        let len = writer.len();
        let Some(Ok(Packet::TransportCc(again))) = rtcp::parse_untrusted(&out[..len]).next() else {
            panic!("what we write")
        };
        let reference_us = i64::from(again.reference_time) * 64_000;
        assert_eq!(usize::from(again.status_count), taken);
        for ((_, us), wanted) in again.statuses().zip(rest) {
            assert_eq!(us.map(|us| reference_us + us), wanted.map(|us| us.div_euclid(250) * 250));
        }
        rest = &rest[taken..];
        seq = Seq(seq.0.wrapping_add(taken as u16));
    }
}

/// Payload descriptors: the first byte chooses the codec.
pub fn payload(bytes: &[u8]) {
    let Some((choice, payload)) = bytes.split_first() else { return };
    let codec = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1][usize::from(choice & 3)];
    let mark = read_frame_mark(codec, payload);
    if let Ok(mark) = mark {
        assert!(!mark.starts_keyframe || mark.starts_frame, "{codec:?}");
        assert!(mark.temporal_id < 8);
    }
    match codec {
        Codec::Vp8 => rewrite_vp8(payload, u16::from(*choice) << 7),
        Codec::Vp9 => drop(vp9::parse_untrusted(payload)),
        _ => {}
    }
}

fn rewrite_vp8(payload: &[u8], picture_id: u16) {
    let Ok(before) = vp8::parse_untrusted(payload) else {
        assert!(vp8::rewrite(&mut payload.to_vec(), picture_id, 9).is_err());
        return;
    };
    let _ = vp8::keyframe_size(payload, &before);
    let mut rewritten = payload.to_vec();
    vp8::rewrite(&mut rewritten, picture_id, 9).expect("what was parsed can be rewritten");
    let after = vp8::parse_untrusted(&rewritten).expect("what we rewrote");
    assert_eq!((after.len, &rewritten[after.len..]), (before.len, &payload[before.len..]));
    let mask = |id: vp8::PictureId| if id.long { picture_id & 0x7fff } else { picture_id & 0x7f };
    assert_eq!(after.picture_id.map(|id| id.value), before.picture_id.map(mask));
    assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| 9));
}

/// Redundant audio: blocks lie in the packet one after the other, and types are rewritten all or none.
pub fn red(payload: &[u8]) {
    let mut blocks = Vec::new();
    let parsed = red::parse_untrusted(payload, |block| blocks.push(block));
    assert_eq!(parsed.is_ok(), red::parse_untrusted_primary(payload).is_ok());
    if parsed.is_err() {
        assert!(blocks.is_empty(), "nothing is visited if any block does not fit");
        return;
    }
    let data: usize = blocks.iter().map(|block| block.data.len()).sum();
    assert_eq!(4 * blocks.len() - 3 + data, payload.len());
    assert_eq!(red::parse_untrusted_primary(payload).ok(), blocks.last().copied());
    let types: Vec<u8> = blocks.iter().map(|block| block.payload_type).collect();
    let mut rewritten = payload.to_vec();
    red::rewrite_payload_types(&mut rewritten, |old| Some(old ^ 1)).expect("every type is known");
    let mut seen = Vec::new();
    red::parse_untrusted(&rewritten, |block| seen.push(block.payload_type)).expect("as long as before");
    assert!(seen.iter().eq(types.iter().map(|old| old ^ 1).collect::<Vec<u8>>().iter()));
    let last = types[types.len() - 1];
    let known = |old: u8| (old != last).then_some(old);
    assert!(red::rewrite_payload_types(&mut rewritten.clone(), |old| known(old ^ 1)).is_err());
}

/// The first byte says into which pieces the stream is cut: what comes out must be what comes out of the whole.
pub fn framing(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let (whole, whole_ends) = deframe(stream, stream.len().max(1));
    let (pieces, pieces_end) = deframe(stream, usize::from(*cut).max(1));
    assert_eq!((whole, whole_ends), (pieces, pieces_end));
}

/// The frames, and whether the stream is lost.
fn deframe(stream: &[u8], piece_bytes: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut deframer, mut frames) = (Deframer::default(), Vec::new());
    for piece in stream.chunks(piece_bytes) {
        deframer.push(piece);
        loop {
            match deframer.next_untrusted_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        assert!(deframer.waiting_bytes() < LENGTH_BYTES + MAX_FRAME_BYTES);
    }
    assert!(frames.iter().all(|frame| !frame.is_empty() && frame.len() <= MAX_FRAME_BYTES));
    (frames, false)
}
