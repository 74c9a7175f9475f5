//! The load generator for benchmarks: `LoadGenerator` and `run_limit` of the contract's last section.

use std::net::SocketAddr;
use std::sync::Mutex;

use holdspace_wire::srtp::Profile;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::Fields;
use super::detached;
use crate::errors::{python, CoreError};
use crate::load::duplicate;
use crate::load::generator::{Generator, Options, ParticipantSpec, PublishSpec, Sending};
use crate::load::limit::{self, LimitOptions};
use crate::load::measure::{Burst, Report};
use crate::load::reflector::Reflector as Echo;

type PlainBurst = (u64, Vec<usize>);

fn profile_of(name: &str) -> PyResult<Profile> {
    Profile::from_name(name).ok_or_else(|| PyValueError::new_err(format!("{name:?} is no SRTP profile of ours")))
}

fn address_of((ip, port): (String, u16)) -> PyResult<SocketAddr> {
    let ip = ip.parse().map_err(|_| PyValueError::new_err(format!("{ip:?} is no IP address")))?;
    Ok(SocketAddr::new(ip, port))
}

fn publish_spec(dict: &Bound<'_, PyDict>) -> PyResult<PublishSpec> {
    let fields = Fields::of("LoadPublish", dict)?;
    let spec = PublishSpec {
        video_ssrc: fields.required("video_ssrc")?,
        video_payload_type: fields.required("video_payload_type")?,
        video_mid: fields.required("video_mid")?,
        audio_ssrc: fields.required("audio_ssrc")?,
        audio_payload_type: fields.required("audio_payload_type")?,
        audio_mid: fields.required("audio_mid")?,
        mid_extension: fields.required("mid_extension")?,
        audio_level_extension: fields.required("audio_level_extension")?,
        transport_cc_extension: fields.required("transport_cc_extension")?,
    };
    fields.end()?;
    Ok(spec)
}

fn participant_spec(dict: &Bound<'_, PyDict>) -> PyResult<ParticipantSpec> {
    let fields = Fields::of("LoadParticipant", dict)?;
    let publish: Option<Bound<'_, PyDict>> = fields.required_dict("publish")?;
    let source = address_of((fields.required("source")?, 0))?.ip();
    let spec = ParticipantSpec {
        socket: fields.required("socket")?,
        source,
        server: address_of(fields.required("server")?)?,
        ice_username: fields.required("ice_username")?,
        ice_password: fields.required("ice_password")?,
        profile: profile_of(&fields.required::<String>("profile")?)?,
        send_key: fields.required("send_key")?,
        receive_key: fields.required("receive_key")?,
        streams: fields.required("streams")?,
        transport_cc_extension: fields.required("transport_cc_extension")?,
        publish: publish.map(|dict| publish_spec(&dict)).transpose()?,
    };
    fields.end()?;
    Ok(spec)
}

fn report_dict<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, count) in [
        ("expected", report.expected),
        ("received", report.received),
        ("foreign", report.foreign),
        ("published", report.published),
        ("checked", report.checked),
        ("mismatched", report.mismatched),
        ("rtcp", report.rtcp),
        ("stun_answers", report.stun_answers),
        ("nacks", report.nacks),
        ("keyframe_requests", report.keyframe_requests),
    ] {
        dict.set_item(name, count)?;
    }
    let percentile_us = |percent| report.delays.percentile_ns(percent).map(|ns| ns as f64 / 1_000.0);
    dict.set_item("delay_us_p50", percentile_us(50))?;
    dict.set_item("delay_us_p99", percentile_us(99))?;
    dict.set_item("delay_us_max", percentile_us(100))?;
    let recorded = report.recorded.iter().map(|burst| (burst.at_ns, burst.datagram_bytes.clone()));
    dict.set_item("recorded", recorded.collect::<Vec<PlainBurst>>())?;
    dict.set_item("idle_share", report.idle_share)?;
    Ok(dict)
}

#[pyclass(frozen, module = "media._forwarder")]
pub(super) struct LoadGenerator {
    core: Mutex<Generator>,
}

impl LoadGenerator {
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Generator) -> Result<T, CoreError> + Send,
    ) -> PyResult<T> {
        detached(py, || match self.core.lock() {
            Ok(mut core) => work(&mut core),
            Err(_) => Err(CoreError::Failed("the generator broke".to_owned())),
        })
    }
}

#[pymethods]
impl LoadGenerator {
    #[new]
    #[pyo3(signature = (*, cpu, gro, sending))]
    fn new(cpu: Option<usize>, gro: bool, sending: &str) -> PyResult<Self> {
        let sending = match sending {
            "single" => Sending::Single,
            "gso" => Sending::Gso,
            "paced" => Sending::Paced,
            other => return Err(PyValueError::new_err(format!("sending = {other:?}: wanted single, gso or paced"))),
        };
        Ok(Self { core: Mutex::new(Generator::new(Options { cpu, gro, sending })) })
    }

    fn add_socket(&self, py: Python<'_>, fd: i32) -> PyResult<usize> {
        let socket = duplicate(fd).map_err(|error| python::raise(py, &CoreError::Failed(error.to_string())))?;
        self.call(py, |core| core.add_socket(socket))
    }

    fn add(&self, py: Python<'_>, participant: &Bound<'_, PyDict>) -> PyResult<()> {
        let spec = participant_spec(participant)?;
        self.call(py, |core| core.add(spec))
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, |core| core.start())
    }

    fn publish(&self, py: Python<'_>, wanted: bool) -> PyResult<()> {
        self.call(py, |core| core.publish(wanted))
    }

    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = self.call(py, |core| core.report())?;
        report_dict(py, &report)
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, |core| {
            core.stop();
            Ok(())
        })
    }
}

#[pyfunction]
#[pyo3(signature = (*, receivers, bursts, profile, cpu, paced))]
pub(super) fn run_limit<'py>(
    py: Python<'py>,
    receivers: Vec<(String, u16)>,
    bursts: Vec<PlainBurst>,
    profile: &str,
    cpu: Option<usize>,
    paced: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let receivers: Vec<SocketAddr> = receivers.into_iter().map(address_of).collect::<PyResult<_>>()?;
    let bursts: Vec<Burst> =
        bursts.into_iter().map(|(at_ns, datagram_bytes)| Burst { at_ns, datagram_bytes }).collect();
    let options = LimitOptions { receivers: &receivers, bursts: &bursts, profile: profile_of(profile)?, cpu, paced };
    let result = detached(py, || limit::run(&options))?;
    let dict = PyDict::new(py);
    dict.set_item("cpu_ns", result.cpu_ns)?;
    dict.set_item("packets", result.packets)?;
    dict.set_item("sends", result.sends)?;
    dict.set_item("failed", result.failed)?;
    Ok(dict)
}

#[pyclass(frozen, module = "media._forwarder")]
pub(super) struct Reflector {
    core: Mutex<Echo>,
    address: (String, u16),
}

#[pymethods]
impl Reflector {
    #[new]
    #[pyo3(signature = (*, cpu))]
    fn new(py: Python<'_>, cpu: Option<usize>) -> PyResult<Self> {
        let core = detached(py, || Echo::start(cpu))?;
        let address = (core.address().ip().to_string(), core.address().port());
        Ok(Self { core: Mutex::new(core), address })
    }

    #[getter]
    fn address(&self) -> (String, u16) {
        self.address.clone()
    }

    fn stop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let result = detached(py, || match self.core.lock() {
            Ok(mut core) => Ok(core.stop()),
            Err(_) => Err(CoreError::Failed("the reflector broke".to_owned())),
        })?;
        let dict = PyDict::new(py);
        dict.set_item("datagrams", result.datagrams)?;
        dict.set_item("failed", result.failed)?;
        dict.set_item("cpu_ns", result.cpu_ns)?;
        Ok(dict)
    }
}
