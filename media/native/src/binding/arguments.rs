//! The typed dicts of the contract as plain Rust values; strict, because a misspelt key would otherwise be silence.

use std::net::IpAddr;

use holdspace_engine::{CodecSpec, EngineConfig, ExtensionIds, Kind, SlotSpec, TrackSpec};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::runtime::RuntimeOptions;

/// Names of known audio and video encodings are short; longer ones are mistakes.
const MAX_NAME_BYTES: usize = 32;
/// RFC 8285 leaves one byte for a mid's length, RFC 8852 the same for rids; browsers use one to three characters.
const MAX_MID_BYTES: usize = 32;

/// A dict being taken apart: every key once, nothing left over.
pub(super) struct Fields<'py> {
    what: &'static str,
    left: Bound<'py, PyDict>,
}

impl<'py> Fields<'py> {
    pub(super) fn of(what: &'static str, dict: &Bound<'py, PyDict>) -> PyResult<Self> {
        Ok(Self { what, left: dict.copy()? })
    }

    fn optional<T: for<'a> FromPyObject<'a>>(&self, key: &str) -> PyResult<Option<T>> {
        let Some(value) = self.left.get_item(key)? else {
            return Ok(None);
        };
        self.left.del_item(key)?;
        let wrong = |error: PyErr| PyValueError::new_err(format!("{}[{key:?}]: {error}", self.what));
        value.extract::<T>().map(Some).map_err(wrong)
    }

    pub(super) fn required<T: for<'a> FromPyObject<'a>>(&self, key: &str) -> PyResult<T> {
        let missing = || PyValueError::new_err(format!("{} lacks {key:?}", self.what));
        self.optional(key)?.ok_or_else(missing)
    }

    /// A dict or None.
    pub(super) fn required_dict(&self, key: &str) -> PyResult<Option<Bound<'py, PyDict>>> {
        let missing = || PyValueError::new_err(format!("{} lacks {key:?}", self.what));
        let value = self.left.get_item(key)?.ok_or_else(missing)?;
        self.left.del_item(key)?;
        Ok(if value.is_none() { None } else { Some(value.downcast_into::<PyDict>()?) })
    }

    fn text(&self, key: &str, most_bytes: usize) -> PyResult<String> {
        let text: String = self.required(key)?;
        if text.len() > most_bytes {
            return Err(PyValueError::new_err(format!("{}[{key:?}] is longer than {most_bytes}", self.what)));
        }
        Ok(text)
    }

    fn kind(&self) -> PyResult<Kind> {
        match self.required::<String>("kind")?.as_str() {
            "audio" => Ok(Kind::Audio),
            "video" => Ok(Kind::Video),
            other => Err(PyValueError::new_err(format!("{}[\"kind\"] is {other:?}", self.what))),
        }
    }

    fn codecs(&self) -> PyResult<Vec<CodecSpec>> {
        let dicts: Vec<Bound<'_, PyDict>> = {
            let Some(value) = self.left.get_item("codecs")? else {
                return Err(PyValueError::new_err(format!("{} lacks \"codecs\"", self.what)));
            };
            self.left.del_item("codecs")?;
            let wrong = |error| PyValueError::new_err(format!("{}[\"codecs\"]: {error}", self.what));
            value
                .try_iter()?
                .map(|item| Ok(item?.downcast_into::<PyDict>()?))
                .collect::<PyResult<_>>()
                .map_err(wrong)?
        };
        dicts.iter().map(codec).collect()
    }

    pub(super) fn end(self) -> PyResult<()> {
        match self.left.keys().iter().next() {
            Some(unknown) => Err(PyValueError::new_err(format!("{} has no {}", self.what, unknown.repr()?))),
            None => Ok(()),
        }
    }
}

fn payload_type(value: u8) -> PyResult<u8> {
    if value < 128 {
        return Ok(value);
    }
    Err(PyValueError::new_err(format!("{value} is no RTP payload type")))
}

fn codec(dict: &Bound<'_, PyDict>) -> PyResult<CodecSpec> {
    let fields = Fields::of("Codec", dict)?;
    let spec = CodecSpec {
        name: fields.text("name", MAX_NAME_BYTES)?,
        payload_type: payload_type(fields.required("payload_type")?)?,
        clock_hz: fields.required("clock_hz")?,
        rtx_payload_type: fields.required::<Option<u8>>("rtx_payload_type")?.map(payload_type).transpose()?,
        nack: fields.required("nack")?,
        pli: fields.required("pli")?,
        remb: fields.required("remb")?,
        twcc: fields.required("twcc")?,
        fmtp: fields.text("fmtp", 1_024)?,
    };
    fields.end()?;
    if spec.clock_hz == 0 {
        return Err(PyValueError::new_err("Codec[\"clock_hz\"] is 0"));
    }
    Ok(spec)
}

pub(super) fn extensions(dict: &Bound<'_, PyDict>) -> PyResult<ExtensionIds> {
    let fields = Fields::of("Extensions", dict)?;
    let id = |key: &str| match fields.optional::<u8>(key)? {
        Some(0) => Err(PyValueError::new_err(format!("Extensions[{key:?}] is 0"))),
        id => Ok(id),
    };
    let ids = ExtensionIds {
        mid: id("mid")?,
        rid: id("rid")?,
        repaired_rid: id("repaired_rid")?,
        audio_level: id("audio_level")?,
        abs_send_time: id("abs_send_time")?,
        transport_cc: id("transport_cc")?,
        video_orientation: id("video_orientation")?,
        dependency_descriptor: id("dependency_descriptor")?,
        playout_delay: id("playout_delay")?,
    };
    fields.end()?;
    Ok(ids)
}

pub(super) fn track(dict: &Bound<'_, PyDict>) -> PyResult<TrackSpec> {
    let fields = Fields::of("TrackSpec", dict)?;
    let spec = TrackSpec {
        mid: fields.text("mid", MAX_MID_BYTES)?,
        kind: fields.kind()?,
        codecs: fields.codecs()?,
        ssrcs: fields.required("ssrcs")?,
        rids: fields.required("rids")?,
        private: fields.optional("private")?.unwrap_or(false),
    };
    if spec.private && spec.kind != Kind::Video {
        return Err(PyValueError::new_err("TrackSpec[\"private\"]: only video can be private"));
    }
    fields.end()?;
    Ok(spec)
}

pub(super) fn slot(dict: &Bound<'_, PyDict>) -> PyResult<SlotSpec> {
    let fields = Fields::of("SlotSpec", dict)?;
    let spec = SlotSpec {
        mid: fields.text("mid", MAX_MID_BYTES)?,
        kind: fields.kind()?,
        ssrc: fields.required("ssrc")?,
        rtx_ssrc: fields.required("rtx_ssrc")?,
        codecs: fields.codecs()?,
        cname: fields.text("cname", 255)?, // RFC 3550 §6.5: one byte of length
    };
    fields.end()?;
    Ok(spec)
}

pub(super) fn options(dict: &Bound<'_, PyDict>) -> PyResult<RuntimeOptions> {
    let fields = Fields::of("NodeOptions", dict)?;
    let bind: Vec<String> = fields.required("bind")?;
    let addresses = bind.iter().map(|text| {
        text.parse::<IpAddr>().map_err(|_| PyValueError::new_err(format!("NodeOptions[\"bind\"]: {text:?}")))
    });
    let made = RuntimeOptions {
        threads: fields.required("threads")?,
        bind: addresses.collect::<PyResult<_>>()?,
        udp_port: fields.required("udp_port")?,
        tcp_port: fields.required("tcp_port")?,
        gso: fields.required("gso")?,
        socket_buffer_bytes: fields.required("socket_buffer_bytes")?,
        engine: EngineConfig {
            cache_ms: fields.required("cache_ms")?,
            max_transports: fields.required("max_transports_per_room")?,
            max_tracks_per_transport: fields.required("max_tracks_per_transport")?,
            seed: rand_seed(),
            ..EngineConfig::default()
        },
    };
    fields.end()?;
    Ok(made)
}

/// Differs from process to process; not secret (see `EngineConfig::seed`).
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
