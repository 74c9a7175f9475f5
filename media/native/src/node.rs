//! Every call of `media/_forwarder.pyi` without Python: checked against the registry, then sent to its thread.
//!
//! The registry's lock is held from the check until the command is queued, so that commands of one room arrive in
//! the order in which they were allowed. No call waits for a runtime thread or the journal's, except `close`; what the
//! journal's full queue refuses has changed nothing.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdspace_engine::{
    Command, Event, ExtensionIds, PortEnd, SlotId, SlotSpec, TapId, TrackId, TrackSpec, TransportId,
};
use holdspace_journal::{JournalError, MAX_RECORD_BYTES};
use holdspace_wire::srtp::Profile;

use crate::errors::CoreError;
use crate::registry::{Limits, Registry, StreamPlace, TapRequest, Verdict};
use crate::runtime::command::{TapPlace, ThreadCommand};
use crate::runtime::counters::ThreadCounts;
use crate::runtime::events::Notice;
use crate::runtime::{BoundAddress, Runtime, RuntimeOptions};
use crate::sys::clock;
use crate::sys::worker_socket::WorkerSocket;

/// Longest DTLS datagram sent; the contract with media/dtls.py is 1,200 bytes per datagram.
const MAX_DTLS_BYTES: usize = 1_500;
const MAX_DTLS_DATAGRAMS: usize = 16;

/// What a transport and a room weigh against a packet per second when the least busy thread is sought: an ordinary
/// participant's packets, so that rooms made in one go spread before their media flows.
const TRANSPORT_WEIGHT: u64 = 200;
const ROOM_WEIGHT: u64 = 50;

pub struct Node {
    runtime: Runtime,
    registry: Arc<Mutex<Registry>>,
    is_closed: AtomicBool,
}

fn journal_error(error: JournalError) -> CoreError {
    match error {
        JournalError::UnknownJournal => CoreError::UnknownId(error.to_string()),
        JournalError::Duplicate => CoreError::DuplicateId(error.to_string()),
        JournalError::Refused(_) => CoreError::Refused(error.to_string()),
        JournalError::Io(ref cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            CoreError::Refused("the journal's file is there already".to_owned())
        }
        JournalError::Io(_) | JournalError::Gone => CoreError::Failed(error.to_string()),
    }
}

/// The thread with the least to do, by its (transports, rooms) and what it has counted.
fn lightest(load: &[(usize, usize)], counts: &[ThreadCounts], is_alive: impl Fn(usize) -> bool) -> usize {
    let weight = |thread: &usize| {
        let (transports, rooms) = load[*thread];
        let rate = counts.get(*thread).map_or(0, |counts| counts.packets_per_second);
        rate + TRANSPORT_WEIGHT * transports as u64 + ROOM_WEIGHT * rooms as u64
    };
    (0..load.len()).filter(|thread| is_alive(*thread)).min_by_key(weight).unwrap_or(0)
}

impl Node {
    pub fn start(options: RuntimeOptions) -> Result<Self, CoreError> {
        if options.threads == 0 || options.bind.is_empty() {
            return Err(CoreError::BadArgument("at least one thread and one address are needed".to_owned()));
        }
        let limits = Limits {
            transports_per_room: options.engine.max_transports,
            tracks_per_transport: options.engine.max_tracks_per_transport,
            slots_per_transport: options.engine.max_slots_per_transport,
            taps_per_room: options.engine.max_taps,
        };
        let registry = Arc::new(Mutex::new(Registry::new(limits)));
        let fragments = registry.clone();
        let find = move |ufrag: &str| fragments.lock().unwrap_or_else(PoisonError::into_inner).thread_of_ufrag(ufrag);
        Ok(Self { runtime: Runtime::start(options, Box::new(find))?, registry, is_closed: AtomicBool::new(false) })
    }

    fn open(&self) -> Result<MutexGuard<'_, Registry>, CoreError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(CoreError::Failed("the node is closed".to_owned()));
        }
        Ok(self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, thread: usize, room: u64, command: Command) -> Result<(), CoreError> {
        self.runtime.send(thread, ThreadCommand::Room { room, command })
    }

    fn tell_if_new(&self, verdict: Verdict, room: u64, command: Command) -> Result<(), CoreError> {
        match verdict {
            Verdict::Go { thread } => self.tell(thread, room, command),
            Verdict::Same { .. } => Ok(()),
        }
    }

    pub fn event_fd(&self) -> std::os::fd::RawFd {
        self.runtime.event_fd()
    }

    pub fn addresses(&self) -> &[BoundAddress] {
        self.runtime.addresses()
    }

    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        self.runtime.tcp_addresses()
    }

    /// ICE-TCP connections, and how many were refused.
    pub fn tcp_counts(&self) -> (usize, u64) {
        self.runtime.tcp_counts()
    }

    pub fn counts(&self) -> Vec<ThreadCounts> {
        self.runtime.counts()
    }

    /// All waiting notices; what ended by itself leaves the registry here.
    pub fn drain(&self) -> Vec<Notice> {
        let notices = self.runtime.take_events();
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        for notice in &notices {
            match notice {
                Notice::RoomFailed { room, .. } => {
                    registry.remove_room(*room);
                }
                Notice::Room { room, event: Event::TapEnded { tap, .. } } => {
                    registry.remove_tap(*room, tap.0);
                }
                _ => {}
            }
        }
        notices
    }

    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.runtime.stop();
    }

    pub fn add_room(&self, room: u64) -> Result<usize, CoreError> {
        let mut registry = self.open()?;
        let thread = self.least_busy(&registry);
        match registry.add_room(room, thread) {
            Verdict::Same { thread } => Ok(thread),
            Verdict::Go { thread } => {
                let sent = self.runtime.send(thread, ThreadCommand::AddRoom { room });
                if sent.is_err() {
                    registry.remove_room(room);
                }
                sent.map(|()| thread)
            }
        }
    }

    fn least_busy(&self, registry: &Registry) -> usize {
        let load = registry.load(self.runtime.thread_count());
        lightest(&load, &self.runtime.counts(), |thread| self.runtime.is_alive(thread))
    }

    pub fn remove_room(&self, room: u64) -> Result<(), CoreError> {
        match self.open()?.remove_room(room) {
            Some(thread) => self.runtime.send(thread, ThreadCommand::RemoveRoom { room }),
            None => Ok(()),
        }
    }

    pub fn add_transport(
        &self,
        room: u64,
        transport: u64,
        participant: String,
        ice: (String, String),
    ) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let verdict = registry.add_transport(room, transport, &participant, (&ice.0, &ice.1))?;
        let command =
            Command::AddTransport { transport: TransportId(transport), participant, ice_ufrag: ice.0, ice_pwd: ice.1 };
        self.tell_if_new(verdict, room, command)
    }

    pub fn restart_ice(&self, room: u64, transport: u64, ice: (String, String)) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.restart_ice(room, transport, (&ice.0, &ice.1))?;
        let transport = TransportId(transport);
        self.tell(thread, room, Command::RestartIce { transport, ice_ufrag: ice.0, ice_pwd: ice.1 })
    }

    pub fn remove_transport(&self, room: u64, transport: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        match registry.remove_transport(room, transport) {
            Some(thread) => self.tell(thread, room, Command::RemoveTransport { transport: TransportId(transport) }),
            None => Ok(()),
        }
    }

    pub fn send_dtls(&self, room: u64, transport: u64, datagrams: Vec<Vec<u8>>, flight: bool) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_transport(room, transport)?;
        if datagrams.len() > MAX_DTLS_DATAGRAMS || datagrams.iter().any(|one| one.len() > MAX_DTLS_BYTES) {
            return Err(CoreError::Refused(format!(
                "a flight has at most {MAX_DTLS_DATAGRAMS} datagrams of {MAX_DTLS_BYTES} bytes"
            )));
        }
        self.tell(thread, room, Command::SendDtls { transport: TransportId(transport), datagrams, flight })
    }

    pub fn set_srtp(
        &self,
        room: u64,
        transport: u64,
        profile: Profile,
        keys: (Vec<u8>, Vec<u8>),
    ) -> Result<(), CoreError> {
        let wanted = profile.key_bytes() + profile.salt_bytes();
        if keys.0.len() != wanted || keys.1.len() != wanted {
            return Err(CoreError::BadArgument(format!("this profile has keys of {wanted} bytes, salt included")));
        }
        let mut registry = self.open()?;
        let verdict = registry.set_keys(room, transport, (profile.key_bytes(), profile.rtp_overhead(), &keys))?;
        let (inbound_key, outbound_key) = keys;
        let transport = TransportId(transport);
        self.tell_if_new(verdict, room, Command::SetSrtp { transport, profile, inbound_key, outbound_key })
    }

    pub fn set_extensions(&self, room: u64, transport: u64, ids: ExtensionIds) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_transport(room, transport)?;
        let transport = TransportId(transport);
        self.tell(thread, room, Command::SetExtensions { transport, extensions: ids })
    }

    pub fn set_track(&self, room: u64, transport: u64, track: u64, spec: TrackSpec) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let place = StreamPlace { room, transport, mid: &spec.mid, kind: spec.kind };
        let thread = registry.set_track(place, track)?;
        let (transport, track) = (TransportId(transport), TrackId(track));
        self.tell(thread, room, Command::SetTrack { transport, track, spec })
    }

    pub fn remove_track(&self, room: u64, track: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        match registry.remove_track(room, track) {
            Some(thread) => self.tell(thread, room, Command::RemoveTrack { track: TrackId(track) }),
            None => Ok(()),
        }
    }

    pub fn set_private(&self, room: u64, track: u64, private: bool) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_video(room, track)?;
        self.tell(thread, room, Command::SetPrivate { track: TrackId(track), private })
    }

    /// The socket is the core's, whatever the answer.
    pub fn open_frame_port(&self, room: u64, track: u64, socket: OwnedFd) -> Result<(), CoreError> {
        let socket =
            WorkerSocket::new(socket).map_err(|error| CoreError::Failed(format!("worker's socket: {error}")))?;
        let mut registry = self.open()?;
        let thread = registry.check_video(room, track)?;
        self.runtime.send(thread, ThreadCommand::OpenPort { room, track: TrackId(track), socket })
    }

    pub fn close_frame_port(&self, room: u64, track: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        match registry.check_video(room, track) {
            Ok(thread) => {
                self.tell(thread, room, Command::ClosePort { track: TrackId(track), reason: PortEnd::Closed })
            }
            Err(_) => Ok(()), // what is not there has no port
        }
    }

    pub fn set_slot(&self, room: u64, transport: u64, slot: u64, spec: SlotSpec) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let place = StreamPlace { room, transport, mid: &spec.mid, kind: spec.kind };
        let ssrcs: Vec<u32> = std::iter::once(spec.ssrc).chain(spec.rtx_ssrc).collect();
        let thread = registry.set_slot(place, slot, &ssrcs)?;
        let (transport, slot) = (TransportId(transport), SlotId(slot));
        self.tell(thread, room, Command::SetSlot { transport, slot, spec })
    }

    pub fn set_slot_source(&self, room: u64, slot: u64, track: Option<u64>) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_source(room, slot, track)?;
        let command = Command::SetSlotSource { slot: SlotId(slot), track: track.map(TrackId) };
        self.tell(thread, room, command)
    }

    pub fn set_layer(&self, room: u64, slot: u64, rid: Option<String>, temporal: Option<u8>) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_slot(room, slot)?;
        self.tell(thread, room, Command::SetLayer { slot: SlotId(slot), rid, temporal })
    }

    pub fn set_slot_share(&self, room: u64, slot: u64, bps: Option<u64>) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_slot(room, slot)?;
        self.tell(thread, room, Command::SetSlotShare { slot: SlotId(slot), bps })
    }

    pub fn set_track_muted(&self, room: u64, track: u64, muted: bool) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_track(room, track)?;
        self.tell(thread, room, Command::SetTrackMuted { track: TrackId(track), muted })
    }

    pub fn request_keyframe(&self, room: u64, track: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_track(room, track)?;
        self.tell(thread, room, Command::RequestKeyframe { track: TrackId(track) })
    }

    pub fn set_max_bitrate(&self, room: u64, transport: u64, bps: Option<u64>) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_transport(room, transport)?;
        self.tell(thread, room, Command::SetMaxBitrate { transport: TransportId(transport), bps })
    }

    pub fn request_stats(&self, room: u64, transport: u64, ticket: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_transport(room, transport)?;
        let transport = TransportId(transport);
        self.runtime.send(thread, ThreadCommand::ReportTransport { room, transport, ticket })
    }

    pub fn request_dump(&self, room: u64, ticket: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let thread = registry.check_room(room)?;
        self.runtime.send(thread, ThreadCommand::ReportRoom { room, ticket })
    }
}

/// Recording: who may be recorded, and where it goes.
impl Node {
    pub fn open_journal(&self, journal: u64, path: &Path, key: &[u8], header: &[u8]) -> Result<(), CoreError> {
        if !self.open()?.open_journal(journal, (path, key, header))? {
            return Ok(());
        }
        // The file is made without the lock: a slow disk must not hold up calls about other rooms.
        let opened = self.runtime.journals.open(journal, path, key, header).map_err(journal_error);
        if opened.is_err() {
            self.open()?.forget_journal(journal);
        }
        opened
    }

    pub fn journal_event(&self, journal: u64, event: &[u8]) -> Result<(), CoreError> {
        self.open()?.check_journal(journal)?;
        if event.len() > MAX_RECORD_BYTES {
            return Err(CoreError::BadArgument(format!("an event has at most {MAX_RECORD_BYTES} bytes")));
        }
        self.runtime.journals.event(journal, clock::monotonic_ns() / 1_000, event).map_err(journal_error)
    }

    pub fn close_journal(&self, journal: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        if registry.check_journal(journal).is_err() {
            return Ok(());
        }
        // First, because it may be refused: then the journal and its taps go on as if nobody had asked.
        let closed = self.runtime.journals.close(journal);
        if let Err(error @ JournalError::Refused(_)) = closed {
            return Err(journal_error(error));
        }
        for (thread, room, tap) in registry.forget_journal(journal).unwrap_or_default() {
            self.tell(thread, room, Command::RemoveTap { tap: TapId(tap) })?;
        }
        closed.map_err(journal_error)
    }

    pub fn grant_recording(&self, room: u64, grant: String, participant: String) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let verdict = registry.grant(room, &grant, &participant)?;
        self.tell_if_new(verdict, room, Command::GrantRecording { grant, participant })
    }

    /// The keys are revoked at the journal before this returns, so nothing that a runtime thread still has in hand
    /// is written; the taps end when their thread reads the command.
    pub fn revoke_recording(&self, room: u64, grant: String) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let Some((thread, keys)) = registry.revoke(room, &grant) else {
            return Ok(());
        };
        let mut failed = None;
        for key in keys {
            match self.runtime.journals.revoke_key(key.journal, key.key_id) {
                Ok(()) | Err(JournalError::UnknownJournal) => {} // closed already: nothing more is written to it
                Err(error) => failed = Some(journal_error(error)),
            }
        }
        self.tell(thread, room, Command::RevokeRecording { grant })?;
        failed.map_or(Ok(()), Err)
    }

    pub fn add_tap(&self, room: u64, tap: u64, request: &TapRequest<'_>) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        let Verdict::Go { thread } = registry.add_tap(room, tap, request)? else {
            return Ok(());
        };
        let added = self.runtime.journals.add_key(request.journal, request.key_id, request.key);
        if let Err(error) = added {
            registry.remove_tap(room, tap);
            return Err(journal_error(error));
        }
        let place = TapPlace { journal: request.journal, key_id: request.key_id };
        let (tap, track, grant) = (TapId(tap), TrackId(request.track), request.grant.to_owned());
        self.runtime.send(thread, ThreadCommand::AddTap { room, tap, track, grant, place })
    }

    pub fn remove_tap(&self, room: u64, tap: u64) -> Result<(), CoreError> {
        let mut registry = self.open()?;
        match registry.remove_tap(room, tap) {
            Some(thread) => self.tell(thread, room, Command::RemoveTap { tap: TapId(tap) }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{channel, Receiver, Sender};
    use std::time::{Duration, Instant};

    use holdspace_engine::{EngineConfig, Kind};
    use holdspace_journal::JournalWriter;

    use super::*;

    /// A node whose journal thread does nothing from its first sync on until the sender is dropped; the receiver hears
    /// of that sync.
    fn node_with_a_stalled_disk() -> (Node, Sender<()>, Receiver<()>) {
        let mut node = Node::start(RuntimeOptions {
            threads: 1,
            bind: vec!["127.0.0.1".parse().unwrap()],
            udp_port: 0,
            tcp_port: None,
            gso: true,
            socket_buffer_bytes: 1 << 18,
            engine: EngineConfig::default(),
        })
        .unwrap();
        let (release, stalled) = channel::<()>();
        let (stall, has_stalled) = channel::<()>();
        node.runtime.journals = JournalWriter::start(move |_| {
            stall.send(()).unwrap_or_default();
            stalled.recv().unwrap_or_default();
        })
        .unwrap();
        (node, release, has_stalled)
    }

    fn is_refused(result: &Result<(), CoreError>) -> bool {
        matches!(result, Err(CoreError::Refused(text)) if text.contains("queue is full"))
    }

    fn until_it_fits(call: impl Fn() -> Result<(), CoreError>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let result = call();
            if !is_refused(&result) {
                return result.unwrap();
            }
            assert!(Instant::now() < deadline, "still refused");
            std::thread::yield_now();
        }
    }

    #[test]
    fn packets_under_way_weigh_with_people_and_rooms_when_a_thread_is_chosen() {
        let counts = |rates: [u64; 3]| {
            rates.map(|packets_per_second| ThreadCounts { packets_per_second, ..ThreadCounts::default() })
        };
        let choose = |load: [(usize, usize); 3], rates| lightest(&load, &counts(rates), |thread| thread != 2);
        assert_eq!(choose([(2, 1), (2, 1), (0, 0)], [900, 800, 0]), 1, "the third is gone");
        assert_eq!(choose([(2, 1), (2, 1), (0, 0)], [800, 900, 0]), 0);
        assert_eq!(choose([(2, 1), (10, 5), (0, 0)], [5_000, 100, 0]), 1, "quiet people weigh less than a call");
        assert_eq!(choose([(2, 1), (10, 5), (0, 0)], [400, 400, 0]), 0, "until their media flows");
    }

    #[test]
    fn a_stalled_disk_refuses_recording_calls_and_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (node, release, has_stalled) = node_with_a_stalled_disk();
        node.add_room(1).unwrap();
        node.add_transport(1, 1, "anna".to_owned(), ("anna-fragment".to_owned(), "x".repeat(24))).unwrap();
        let (mid, kind) = ("0".to_owned(), Kind::Audio);
        node.set_track(1, 1, 1, TrackSpec { mid, kind, codecs: vec![], ssrcs: vec![], rids: vec![], private: false })
            .unwrap();
        node.grant_recording(1, "consent".to_owned(), "anna".to_owned()).unwrap();
        node.open_journal(7, &folder.path().join("journal"), &[1; 32], b"header").unwrap();
        let request = TapRequest { track: 1, grant: "consent", journal: 7, key_id: 1, key: &[2; 32] };
        // Until then the thread empties the queue again and again.
        has_stalled.recv().unwrap();
        while !is_refused(&node.journal_event(7, b"event")) {}
        assert!(is_refused(&node.add_tap(1, 3, &request)));
        assert!(is_refused(&node.close_journal(7)));
        node.set_track_muted(1, 1, true).unwrap();
        drop(release);
        // Nothing was half done: the same calls again do the whole.
        until_it_fits(|| node.add_tap(1, 3, &request));
        assert_eq!(node.open().unwrap().remove_tap(1, 3), Some(0));
        until_it_fits(|| node.close_journal(7));
        assert!(matches!(node.journal_event(7, b"late"), Err(CoreError::UnknownId(_))));
    }
}
