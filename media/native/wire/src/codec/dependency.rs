//! The dependency descriptor header extension (AV1 RTP specification, appendix A): which frame a packet belongs to, its
//! layer, and where a receiver may change layers. Encoders send a table of templates with each keyframe; every packet
//! names one of them. [`Structure`] is that table, kept per stream by the caller.
//!
//! ```text
//! |S|E| template id |      frame number (16)       |   mandatory: S first, E last packet of the frame
//! |T|A|D|F|C|  structure if T, targets if A, custom values if D F C
//! ```

use crate::Malformed;

/// Five bits count them.
pub const MAX_DECODE_TARGETS: usize = 32;
/// Six bits name them.
const MAX_TEMPLATES: usize = 64;
const MAX_CHAINS: usize = 32;

/// What a frame means to a decode target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indication {
    NotPresent,
    Discardable,
    /// A receiver that can decode the frame may change to the target here.
    Switch,
    Required,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    spatial_id: u8,
    temporal_id: u8,
    /// By decode target; beyond their number: not present.
    indications: [Indication; MAX_DECODE_TARGETS],
}

/// The templates of a stream since its last keyframe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    first_template: u8,
    decode_targets: usize,
    templates: Vec<Template>,
    /// (spatial, temporal) of each decode target: the highest layer in it.
    targets: Vec<(u8, u8)>,
}

/// One packet's descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub starts_frame: bool,
    pub ends_frame: bool,
    pub frame_number: u16,
    pub spatial_id: u8,
    pub temporal_id: u8,
    /// Who can decode this frame needs nothing older of the temporal layers up to this one; its own spatial layer's.
    pub opens: u8,
    /// Bit n: decode target n is being produced. None: as last said.
    pub active_targets: Option<u32>,
    /// To be kept for the packets that follow.
    pub structure: Option<Structure>,
}

/// Reads a descriptor by its own structure, else by the one known.
pub fn parse_untrusted(value: &[u8], known: Option<&Structure>) -> Result<Descriptor, Malformed> {
    let mut bits = Bits { bytes: value, at: 0 };
    let (starts_frame, ends_frame) = (bits.flag()?, bits.flag()?);
    let template_id = bits.take(6)? as u8;
    let frame_number = bits.take(16)? as u16;
    let extended = value.len() > 3;
    let mut flag = || if extended { bits.flag() } else { Ok(false) };
    let (has_structure, has_targets, custom_indications) = (flag()?, flag()?, flag()?);
    let (_custom_diffs, _custom_chains) = (flag()?, flag()?);
    let fresh = if has_structure { Some(read_structure(&mut bits)?) } else { None };
    let structure = fresh.as_ref().or(known).ok_or(Malformed("dependency descriptor before its structure"))?;
    let all = u32::MAX >> (MAX_DECODE_TARGETS - structure.decode_targets);
    let active_targets = match (has_targets, has_structure) {
        (true, _) => Some(bits.take(structure.decode_targets)?),
        (false, true) => Some(all),
        (false, false) => None,
    };
    let index = usize::from((template_id + 64 - structure.first_template) % 64);
    let template = structure.templates.get(index).ok_or(Malformed("dependency template that is not there"))?;
    let layer = (template.spatial_id, template.temporal_id);
    let mut opens = 0;
    for target in 0..structure.decode_targets {
        let custom = if custom_indications { Some(read_indication(&mut bits)?) } else { None };
        let indication = custom.unwrap_or(template.indications[target]);
        let (spatial, temporal) = structure.targets[target];
        if spatial == layer.0 && indication == Indication::Switch {
            opens = opens.max(temporal);
        }
    }
    let (spatial_id, temporal_id) = layer;
    Ok(Descriptor {
        starts_frame,
        ends_frame,
        frame_number,
        spatial_id,
        temporal_id,
        opens,
        active_targets,
        structure: fresh,
    })
}

/// Puts another frame number in place; false: too short to hold one.
pub fn rewrite_frame_number(value: &mut [u8], frame_number: u16) -> bool {
    let Some(place) = value.get_mut(1..3) else { return false };
    place.copy_from_slice(&frame_number.to_be_bytes());
    true
}

fn read_structure(bits: &mut Bits<'_>) -> Result<Structure, Malformed> {
    let first_template = bits.take(6)? as u8;
    let decode_targets = bits.take(5)? as usize + 1;
    let mut templates = read_layers(bits)?;
    for template in &mut templates {
        for indication in &mut template.indications[..decode_targets] {
            *indication = read_indication(bits)?;
        }
    }
    for _ in &templates {
        while bits.flag()? {
            bits.take(4)?; // frames back, less one
        }
    }
    let chains = bits.take_below(decode_targets + 1)?;
    if chains > MAX_CHAINS {
        return Err(Malformed("too many dependency chains"));
    }
    if chains > 0 {
        for _ in 0..decode_targets {
            bits.take_below(chains)?;
        }
        for _ in 0..templates.len() * chains {
            bits.take(4)?;
        }
    }
    let spatial_layers = templates.iter().map(|template| template.spatial_id).max().unwrap_or(0) + 1;
    if bits.flag()? {
        for _ in 0..spatial_layers {
            bits.take(32)?; // width and height, less one
        }
    }
    let targets = (0..decode_targets).map(|target| layer_of(&templates, target)).collect();
    Ok(Structure { first_template, decode_targets, templates, targets })
}

fn read_layers(bits: &mut Bits<'_>) -> Result<Vec<Template>, Malformed> {
    let mut templates = Vec::new();
    let (mut spatial_id, mut temporal_id) = (0, 0);
    loop {
        let indications = [Indication::NotPresent; MAX_DECODE_TARGETS];
        templates.push(Template { spatial_id, temporal_id, indications });
        match bits.take(2)? {
            0 => {}
            1 => temporal_id += 1,
            2 => (spatial_id, temporal_id) = (spatial_id + 1, 0),
            _ => return Ok(templates),
        }
        if templates.len() >= MAX_TEMPLATES || temporal_id > 7 || spatial_id > 3 {
            return Err(Malformed("too many dependency templates"));
        }
    }
}

/// The highest layer that is present in a decode target.
fn layer_of(templates: &[Template], target: usize) -> (u8, u8) {
    let present = templates.iter().filter(|template| template.indications[target] != Indication::NotPresent);
    present.fold((0, 0), |(spatial, temporal), template| {
        (spatial.max(template.spatial_id), temporal.max(template.temporal_id))
    })
}

fn read_indication(bits: &mut Bits<'_>) -> Result<Indication, Malformed> {
    Ok(match bits.take(2)? {
        0 => Indication::NotPresent,
        1 => Indication::Discardable,
        2 => Indication::Switch,
        _ => Indication::Required,
    })
}

/// Bits from the highest on; running out is one error.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Result<bool, Malformed> {
        let byte = self.bytes.get(self.at / 8).ok_or(Malformed("dependency descriptor cut short"))?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// At most 32 bits.
    fn take(&mut self, count: usize) -> Result<u32, Malformed> {
        (0..count).try_fold(0, |value, _| Ok(value << 1 | u32::from(self.flag()?)))
    }

    /// A value below `bound` in as few bits as it needs (`ns(n)` of the AV1 specification, 4.10.7).
    fn take_below(&mut self, bound: usize) -> Result<usize, Malformed> {
        let bits = bound.ilog2() as usize + 1;
        let short = (1 << bits) - bound;
        let value = self.take(bits - 1)? as usize;
        if value < short {
            return Ok(value);
        }
        Ok((value << 1) - short + usize::from(self.flag()?))
    }
}
