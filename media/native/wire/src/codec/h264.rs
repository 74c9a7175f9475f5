use super::FrameMark;
use crate::Malformed;

pub fn read_frame_mark(payload: &[u8]) -> Result<FrameMark, Malformed> {
    todo!()
}
