//! AV1 aggregation header (AOMedia "RTP Payload Format for AV1" §4.4).
//!
//! ```text
//! |Z|Y| W |N|-|-|-|
//! ```
//! Z: continues an element of the previous packet; N: first packet of a coded video sequence. Where a frame starts
//! inside a sequence only the dependency descriptor says exactly; a packet that continues nothing is taken as one.

use super::FrameMark;
use crate::Malformed;

pub(super) fn read_frame_mark(payload: &[u8]) -> Result<FrameMark, Malformed> {
    let [head, _, ..] = payload else {
        return Err(Malformed("av1 packet without data"));
    };
    let continues = head & 0x80 != 0;
    let new_sequence = head & 0x08 != 0;
    if continues && new_sequence {
        return Err(Malformed("av1 new sequence cannot continue a packet"));
    }
    Ok(FrameMark { starts_frame: !continues, starts_keyframe: new_sequence, temporal_id: 0, layer_sync: new_sequence })
}
