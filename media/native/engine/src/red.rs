//! Lost audio, made again from the redundancy of later packets (RFC 2198): for recordings, and for subscribers that
//! get RED unpacked. Subscribers with RED repair it themselves.

use crate::cache::PacketMeta;
use crate::engine::Engine;
use crate::forward::MediaIn;
use crate::output::Outputs;
use crate::time::Time;
use holdspace_wire::codec::{red, Codec};

/// Redundant blocks looked at per packet; browsers send one or two.
const MAX_RECOVERED: usize = 4;

impl Engine {
    /// Forwards the packets before this RED packet that never came and whose blocks it carries, oldest first.
    pub(crate) fn recover_audio(&mut self, media: &MediaIn<'_>, now: Time, out: &mut Outputs) {
        let Some(track) = self.tracks.get_mut(media.binding.track) else { return };
        let Some(opus) = track.codecs.iter().position(|codec| codec.codec == Codec::Opus) else { return };
        let unpacks = |slot: &usize| self.slots.get(*slot).is_some_and(|slot| slot.unpacks_red());
        if track.taps.is_empty() && !track.slots.iter().any(unpacks) {
            return;
        }
        let Some(stream) = track.stream_mut(media.binding.layer) else { return };
        let mut lost: [Option<(PacketMeta, &[u8])>; MAX_RECOVERED] = [None; MAX_RECOVERED];
        let mut blocks = 0;
        let counted = red::parse_untrusted(media.payload, |_| blocks += 1);
        if counted.is_err() || blocks < 2 || blocks - 1 > MAX_RECOVERED {
            return;
        }
        let (mut at, redundant) = (0, blocks - 1);
        let _ = red::parse_untrusted(media.payload, |block| {
            // Encoders repeat consecutive packets: the last but one block is of the packet just before.
            let back = (redundant - at) as u64;
            if at < redundant && !block.data.is_empty() && block.timestamp_offset > 0 && media.meta.ext_seq > back {
                let ext_seq = media.meta.ext_seq - back;
                let rtp_ts = media.meta.rtp_ts.wrapping_sub(u32::from(block.timestamp_offset));
                let meta =
                    PacketMeta { ext_seq, rtp_ts, codec: opus as u8, marker: false, is_recovered: true, ..media.meta };
                let is_ours = stream.first_seq().is_some_and(|first| first < ext_seq);
                lost[at] = (is_ours && stream.note(ext_seq)).then_some((meta, block.data));
            }
            at += 1;
        });
        for (meta, payload) in lost.into_iter().flatten() {
            let media =
                MediaIn { binding: media.binding, meta, descriptor: &[], payload, codec: Codec::Opus, ..*media };
            self.forward(&media, now, out);
        }
    }
}
