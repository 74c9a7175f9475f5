//! The class `Node`: one method per call of the contract, each a hand-over to `crate::node::Node`.

use std::path::PathBuf;
use std::sync::Arc;

use holdspace_wire::srtp::Profile;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::{answers, arguments, detached};
use crate::errors::CoreError;
use crate::node::Node as Core;
use crate::registry::TapRequest;
use crate::sys::worker_socket::WorkerSocket;

#[pyclass(frozen, module = "media._forwarder")]
pub(super) struct Node {
    core: Arc<Core>,
}

impl Node {
    fn call<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&Core) -> Result<T, CoreError> + Send) -> PyResult<T> {
        let core = self.core.clone();
        detached(py, move || work(&core))
    }
}

#[pymethods]
impl Node {
    #[new]
    fn new(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let options = arguments::options(options)?;
        let core = detached(py, || Core::start(options))?;
        Ok(Self { core: Arc::new(core) })
    }

    #[getter]
    fn event_fd(&self) -> i32 {
        self.core.event_fd()
    }

    fn local_addresses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for bound in self.core.addresses() {
            let dict = PyDict::new(py);
            dict.set_item("thread", bound.thread)?;
            dict.set_item("ip", bound.address.ip().to_string())?;
            dict.set_item("port", bound.address.port())?;
            dict.set_item("receive_buffer_bytes", bound.receive_buffer_bytes)?;
            list.append(dict)?;
        }
        Ok(list)
    }

    fn tcp_addresses(&self) -> Vec<(String, u16)> {
        self.core.tcp_addresses().iter().map(|address| (address.ip().to_string(), address.port())).collect()
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let notices = self.call(py, |core| Ok(core.drain()))?;
        let list = PyList::empty(py);
        for notice in &notices {
            list.append(answers::event(py, notice)?)?;
        }
        Ok(list)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, |core| {
            core.close();
            Ok(())
        })
    }

    fn add_room(&self, py: Python<'_>, room: u64) -> PyResult<usize> {
        self.call(py, |core| core.add_room(room))
    }

    fn remove_room(&self, py: Python<'_>, room: u64) -> PyResult<()> {
        self.call(py, |core| core.remove_room(room))
    }

    fn add_transport(
        &self,
        py: Python<'_>,
        room: u64,
        transport: u64,
        participant: String,
        ice_ufrag: String,
        ice_pwd: String,
    ) -> PyResult<()> {
        self.call(py, |core| core.add_transport(room, transport, participant, (ice_ufrag, ice_pwd)))
    }

    fn restart_ice(
        &self,
        py: Python<'_>,
        room: u64,
        transport: u64,
        ice_ufrag: String,
        ice_pwd: String,
    ) -> PyResult<()> {
        self.call(py, |core| core.restart_ice(room, transport, (ice_ufrag, ice_pwd)))
    }

    fn remove_transport(&self, py: Python<'_>, room: u64, transport: u64) -> PyResult<()> {
        self.call(py, |core| core.remove_transport(room, transport))
    }

    #[pyo3(signature = (room, transport, datagrams, *, flight))]
    fn send_dtls(
        &self,
        py: Python<'_>,
        room: u64,
        transport: u64,
        datagrams: Vec<Vec<u8>>,
        flight: bool,
    ) -> PyResult<()> {
        self.call(py, |core| core.send_dtls(room, transport, datagrams, flight))
    }

    fn set_srtp(
        &self,
        py: Python<'_>,
        room: u64,
        transport: u64,
        profile: &str,
        inbound_key: Vec<u8>,
        outbound_key: Vec<u8>,
    ) -> PyResult<()> {
        let profile = Profile::from_name(profile)
            .ok_or_else(|| PyValueError::new_err(format!("{profile:?} is no SRTP profile of ours")))?;
        self.call(py, |core| core.set_srtp(room, transport, profile, (inbound_key, outbound_key)))
    }

    fn set_extensions(
        &self,
        py: Python<'_>,
        room: u64,
        transport: u64,
        extensions: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let ids = arguments::extensions(extensions)?;
        self.call(py, |core| core.set_extensions(room, transport, ids))
    }

    fn set_track(
        &self,
        py: Python<'_>,
        room: u64,
        transport: u64,
        track: u64,
        spec: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let spec = arguments::track(spec)?;
        self.call(py, |core| core.set_track(room, transport, track, spec))
    }

    fn remove_track(&self, py: Python<'_>, room: u64, track: u64) -> PyResult<()> {
        self.call(py, |core| core.remove_track(room, track))
    }

    fn set_slot(&self, py: Python<'_>, room: u64, transport: u64, slot: u64, spec: &Bound<'_, PyDict>) -> PyResult<()> {
        let spec = arguments::slot(spec)?;
        self.call(py, |core| core.set_slot(room, transport, slot, spec))
    }

    #[pyo3(signature = (room, slot, track))]
    fn set_slot_source(&self, py: Python<'_>, room: u64, slot: u64, track: Option<u64>) -> PyResult<()> {
        self.call(py, |core| core.set_slot_source(room, slot, track))
    }

    #[pyo3(signature = (room, slot, rid, temporal=None))]
    fn set_layer(
        &self,
        py: Python<'_>,
        room: u64,
        slot: u64,
        rid: Option<String>,
        temporal: Option<u8>,
    ) -> PyResult<()> {
        self.call(py, |core| core.set_layer(room, slot, rid, temporal))
    }

    #[pyo3(signature = (room, slot, bps))]
    fn set_slot_share(&self, py: Python<'_>, room: u64, slot: u64, bps: Option<u64>) -> PyResult<()> {
        self.call(py, |core| core.set_slot_share(room, slot, bps))
    }

    fn set_track_muted(&self, py: Python<'_>, room: u64, track: u64, muted: bool) -> PyResult<()> {
        self.call(py, |core| core.set_track_muted(room, track, muted))
    }

    fn set_private(&self, py: Python<'_>, room: u64, track: u64, private: bool) -> PyResult<()> {
        self.call(py, |core| core.set_private(room, track, private))
    }

    fn open_frame_port(&self, py: Python<'_>, room: u64, track: u64, fd: i32) -> PyResult<()> {
        let socket = WorkerSocket::adopt(fd);
        let socket =
            socket.ok_or_else(|| PyValueError::new_err(format!("{fd} is no AF_UNIX SOCK_SEQPACKET socket")))?;
        self.call(py, |core| core.open_frame_port(room, track, socket))
    }

    fn close_frame_port(&self, py: Python<'_>, room: u64, track: u64) -> PyResult<()> {
        self.call(py, |core| core.close_frame_port(room, track))
    }

    fn request_keyframe(&self, py: Python<'_>, room: u64, track: u64) -> PyResult<()> {
        self.call(py, |core| core.request_keyframe(room, track))
    }

    #[pyo3(signature = (room, transport, bps))]
    fn set_max_bitrate(&self, py: Python<'_>, room: u64, transport: u64, bps: Option<u64>) -> PyResult<()> {
        self.call(py, |core| core.set_max_bitrate(room, transport, bps))
    }

    fn open_journal(&self, py: Python<'_>, journal: u64, path: PathBuf, key: Vec<u8>, header: Vec<u8>) -> PyResult<()> {
        self.call(py, |core| core.open_journal(journal, &path, &key, &header))
    }

    fn journal_event(&self, py: Python<'_>, journal: u64, event: Vec<u8>) -> PyResult<()> {
        self.call(py, |core| core.journal_event(journal, &event))
    }

    fn close_journal(&self, py: Python<'_>, journal: u64) -> PyResult<()> {
        self.call(py, |core| core.close_journal(journal))
    }

    fn grant_recording(&self, py: Python<'_>, room: u64, grant: String, participant: String) -> PyResult<()> {
        self.call(py, |core| core.grant_recording(room, grant, participant))
    }

    fn revoke_recording(&self, py: Python<'_>, room: u64, grant: String) -> PyResult<()> {
        self.call(py, |core| core.revoke_recording(room, grant))
    }

    #[expect(clippy::too_many_arguments, reason = "the contract's signature")]
    fn add_tap(
        &self,
        py: Python<'_>,
        room: u64,
        tap: u64,
        track: u64,
        grant: String,
        journal: u64,
        key_id: u32,
        key: Vec<u8>,
    ) -> PyResult<()> {
        self.call(py, |core| core.add_tap(room, tap, &TapRequest { track, grant: &grant, journal, key_id, key: &key }))
    }

    fn remove_tap(&self, py: Python<'_>, room: u64, tap: u64) -> PyResult<()> {
        self.call(py, |core| core.remove_tap(room, tap))
    }

    fn stats(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (counts, tcp) = self.call(py, |core| Ok((core.counts(), core.tcp_counts())))?;
        answers::node_stats(py, &counts, tcp)
    }

    fn request_stats(&self, py: Python<'_>, room: u64, transport: u64, ticket: u64) -> PyResult<()> {
        self.call(py, |core| core.request_stats(room, transport, ticket))
    }

    fn request_dump(&self, py: Python<'_>, room: u64, ticket: u64) -> PyResult<()> {
        self.call(py, |core| core.request_dump(room, ticket))
    }
}
