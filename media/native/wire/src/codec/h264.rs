//! H.264 payloads (RFC 6184 §5): single NAL units, STAP-A and FU-A, as browsers send them (packetization-mode 1).

use super::FrameMark;
use crate::Malformed;

const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

pub(super) fn read_frame_mark(payload: &[u8]) -> Result<FrameMark, Malformed> {
    let mut mark = FrameMark::default();
    for_each_unit_start(payload, |kind, body| {
        // first_mb_in_slice is the slice header's first Exp-Golomb number: 0 is a single 1 bit.
        let first_slice = body.first().is_some_and(|byte| byte & 0x80 != 0);
        match kind {
            SPS | ACCESS_UNIT_DELIMITER => mark.starts_frame = true,
            SLICE | IDR_SLICE if first_slice => mark.starts_frame = true,
            _ => {}
        }
        // Encoders put the parameter sets before every IDR picture; either alone lets a decoder start in practice,
        // but a stream may only be joined where the SPS stands or is known, so both count as the beginning.
        mark.starts_keyframe |= kind == SPS || (kind == IDR_SLICE && first_slice);
    })?;
    mark.layer_sync = mark.starts_keyframe;
    Ok(mark)
}

/// Calls `visit(type, bytes after the NAL header)` for each NAL unit that begins in this packet.
fn for_each_unit_start(payload: &[u8], mut visit: impl FnMut(u8, &[u8])) -> Result<(), Malformed> {
    let (&head, body) = payload.split_first().ok_or(Malformed("h264 packet without data"))?;
    match head & 0x1f {
        STAP_A => {
            let mut rest = body;
            while !rest.is_empty() {
                let (size, after) = rest.split_first_chunk::<2>().ok_or(Malformed("stap-a size"))?;
                let size = usize::from(u16::from_be_bytes(*size));
                let unit = after.get(..size).ok_or(Malformed("stap-a unit"))?;
                let (unit_head, unit_body) = unit.split_first().ok_or(Malformed("stap-a empty unit"))?;
                visit(unit_head & 0x1f, unit_body);
                rest = &after[size..];
            }
        }
        FU_A => {
            let (&fragment, fragment_body) = body.split_first().ok_or(Malformed("fu-a header"))?;
            if fragment & 0x80 != 0 {
                visit(fragment & 0x1f, fragment_body);
            }
        }
        kind => visit(kind, body),
    }
    Ok(())
}
