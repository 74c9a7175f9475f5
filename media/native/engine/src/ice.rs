//! The ICE-lite agent of one transport (RFC 8445 §2.5, §7.3): credentials, the addresses checks came from, which of
//! them we send to, and signs of life. Learns an address only from an authenticated check. Never asks anything.

use crate::event::IceState;
use crate::output::Path;
use crate::time::Time;
use holdspace_wire::stun::{self, BindingRequest, IceRole, IntegrityKey};

/// Addresses remembered per transport: a browser with Wi-Fi, mobile and VPN in v4 and v6 fits.
const MAX_PATHS: usize = 8;
/// Without a sign of life for so long media stops. Chrome checks every 2 s, Firefox every 4–6 s.
const DISCONNECTED_AFTER_MS: u64 = 8_000;
const FAILED_AFTER_MS: u64 = 30_000;
/// Of several nominated paths the one that carries media wins once the selected one has carried none for so long;
/// shorter flaps when packets of the old path arrive late.
const MEDIA_MOVES_AFTER_MS: u64 = 200;
/// What may be sent to an address nobody has acknowledged yet: a replayed check must not make us a flood.
const PROBATION_BYTES: u64 = 64 * 1024;

struct Credentials {
    ufrag: String,
    pwd: String,
    key: IntegrityKey,
    generation: u32,
}

impl Credentials {
    fn new(ufrag: String, pwd: String, generation: u32) -> Self {
        Credentials { key: IntegrityKey::new(&pwd), ufrag, pwd, generation }
    }
}

struct KnownPath {
    path: Path,
    /// Of the credentials its newest check was made with.
    generation: u32,
    nominated: bool,
    /// Feedback acknowledged packets sent here.
    verified: bool,
    checked_at: Time,
    media_at: Option<Time>,
}

/// What a datagram made the agent do; the caller writes routes and events from it.
#[derive(Default, Debug)]
pub(crate) struct Change {
    pub(crate) learned: Option<Path>,
    pub(crate) forgotten: Vec<Path>,
    pub(crate) dropped_ufrag: Option<String>,
    /// Media goes on by another address, be it one that was left before.
    pub(crate) moved: bool,
    pub(crate) state: Option<IceState>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unauthenticated,
    NoRoom,
}

pub(crate) struct Agent {
    current: Credentials,
    previous: Option<Credentials>,
    paths: Vec<KnownPath>,
    selected: Option<Path>,
    selected_at: Time,
    /// Bytes still allowed to an unacknowledged address; None without limit.
    allowance: Option<u64>,
    alive_at: Time,
    state: Option<IceState>,
}

impl Agent {
    pub(crate) fn new(ufrag: String, pwd: String, now: Time) -> Self {
        Agent {
            current: Credentials::new(ufrag, pwd, 0),
            previous: None,
            paths: Vec::new(),
            selected: None,
            selected_at: now,
            allowance: None,
            alive_at: now,
            state: None,
        }
    }

    pub(crate) fn has_credentials(&self, ufrag: &str, pwd: &str) -> bool {
        self.current.ufrag == ufrag && self.current.pwd == pwd
    }

    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        let previous = self.previous.as_ref().map(|c| c.ufrag.as_str());
        std::iter::once(self.current.ufrag.as_str()).chain(previous)
    }

    /// New credentials beside the old, which count until the new pair carries media. A third set replaces the
    /// middle one; its ufrag is answered.
    pub(crate) fn restart(&mut self, ufrag: String, pwd: String, now: Time) -> Option<String> {
        let generation = self.current.generation + 1;
        let old = std::mem::replace(&mut self.current, Credentials::new(ufrag, pwd, generation));
        if self.state == Some(IceState::Failed) {
            self.state = None;
            self.alive_at = now;
        }
        let keep_middle = self.previous.is_some() && !self.paths.iter().any(|known| known.generation == old.generation);
        if keep_middle {
            return Some(old.ufrag);
        }
        self.previous.replace(old).map(|c| c.ufrag)
    }

    pub(crate) fn state(&self) -> Option<IceState> {
        self.state
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.paths.iter().map(|known| known.path)
    }

    pub(crate) fn knows(&self, path: Path) -> bool {
        self.paths.iter().any(|known| known.path == path)
    }

    /// Where to send: the nominated path, before any nomination the newest checked one.
    pub(crate) fn send_path(&self) -> Option<Path> {
        self.selected.or_else(|| self.paths.iter().max_by_key(|k| k.checked_at).map(|k| k.path))
    }

    pub(crate) fn may_send_media(&self) -> bool {
        self.state == Some(IceState::Connected)
    }

    /// Takes `bytes` from the allowance of an unacknowledged address; false: not to be sent.
    pub(crate) fn spend(&mut self, bytes: usize) -> bool {
        match &mut self.allowance {
            None => true,
            Some(left) if *left >= bytes as u64 => {
                *left -= bytes as u64;
                true
            }
            Some(_) => false,
        }
    }

    pub(crate) fn on_probation(&self) -> bool {
        self.allowance.is_some()
    }

    /// Feedback acknowledged packets sent to the selected address.
    pub(crate) fn acknowledge(&mut self) {
        self.allowance = None;
        if let Some(selected) = self.selected {
            if let Some(known) = self.paths.iter_mut().find(|k| k.path == selected) {
                known.verified = true;
            }
        }
    }

    /// Checks a binding request and writes its answer; returns the answer's length.
    pub(crate) fn check(
        &mut self,
        path: Path,
        request: &BindingRequest<'_>,
        now: Time,
        answer: &mut [u8],
        change: &mut Change,
    ) -> Result<usize, Refusal> {
        let credentials = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|c| c.ufrag == request.local_ufrag)
            .ok_or(Refusal::Unauthenticated)?;
        if !request.is_authentic(&credentials.key) {
            return Err(Refusal::Unauthenticated);
        }
        let generation = credentials.generation;
        let id = &request.transaction_id;
        let key = &credentials.key;
        if let Some(attribute) = request.unknown_required {
            let written = stun::write_binding_error(answer, id, 420, Some(attribute), Some(key));
            return written.map_err(|_| Refusal::NoRoom);
        }
        if matches!(request.role, Some(IceRole::Controlled(_))) {
            let written = stun::write_binding_error(answer, id, 487, None, Some(key));
            return written.map_err(|_| Refusal::NoRoom);
        }
        let written = stun::write_binding_success(answer, id, path.remote, key).map_err(|_| Refusal::NoRoom)?;
        if self.state != Some(IceState::Failed) {
            self.remember(path, generation, request.use_candidate, now, change);
            self.revive(now, change);
        }
        Ok(written)
    }

    fn remember(&mut self, path: Path, generation: u32, nominates: bool, now: Time, change: &mut Change) {
        let known = match self.paths.iter().position(|k| k.path == path) {
            Some(at) => &mut self.paths[at],
            None => {
                if self.paths.len() == MAX_PATHS {
                    self.evict(change);
                }
                change.learned = Some(path);
                self.paths.push(KnownPath {
                    path,
                    generation,
                    nominated: false,
                    verified: false,
                    checked_at: now,
                    media_at: None,
                });
                self.paths.last_mut().expect("just pushed")
            }
        };
        known.checked_at = now;
        let renewed = generation > known.generation;
        known.generation = generation.max(known.generation);
        let newly_nominated = nominates && (!known.nominated || renewed);
        known.nominated |= nominates;
        if newly_nominated {
            self.select(path, now, change);
        }
    }

    /// Makes room by forgetting the address that has been quiet longest, never the selected one.
    fn evict(&mut self, change: &mut Change) {
        let selected = self.selected;
        let oldest = (0..self.paths.len())
            .filter(|at| Some(self.paths[*at].path) != selected)
            .min_by_key(|at| self.paths[*at].media_at.unwrap_or_default().max(self.paths[*at].checked_at));
        if let Some(at) = oldest {
            change.forgotten.push(self.paths.swap_remove(at).path);
        }
    }

    fn select(&mut self, path: Path, now: Time, change: &mut Change) {
        if self.selected == Some(path) {
            return;
        }
        let first = self.selected.is_none() && self.state.is_none();
        self.selected = Some(path);
        self.selected_at = now;
        let Some(known) = self.paths.iter_mut().find(|k| k.path == path) else { return };
        // The first address has shown itself by the DTLS handshake that must follow before any media.
        known.verified |= first;
        self.allowance = (!known.verified).then_some(PROBATION_BYTES);
        change.moved = !first;
    }

    fn revive(&mut self, now: Time, change: &mut Change) {
        self.alive_at = self.alive_at.max(now);
        let up = match self.state {
            None => self.selected.is_some(),
            Some(IceState::Disconnected) => true,
            Some(_) => false,
        };
        if up {
            self.state = Some(IceState::Connected);
            change.state = self.state;
        }
    }

    /// A DTLS record from a known path: enough to know where to answer, no sign of life (it is not authenticated).
    pub(crate) fn dtls_from(&mut self, path: Path, now: Time, change: &mut Change) {
        if self.state.is_none() && self.selected.is_none() {
            self.select(path, now, change);
            self.state = Some(IceState::Connected);
            change.state = self.state;
        }
    }

    /// Authenticated SRTP or SRTCP arrived from a known path. Called for every packet: the common case is first.
    pub(crate) fn media_from(&mut self, path: Path, now: Time, change: &mut Change) {
        let Some(at) = self.paths.iter().position(|k| k.path == path) else { return };
        if self.state == Some(IceState::Failed) {
            return;
        }
        let known = &mut self.paths[at];
        known.media_at = Some(now);
        let (generation, nominated) = (known.generation, known.nominated);
        self.revive(now, change);
        if self.previous.is_some() && generation == self.current.generation {
            self.drop_previous(change);
        }
        if self.selected != Some(path) && nominated && self.selected_is_quiet(now) {
            self.select(path, now, change);
        }
    }

    fn selected_is_quiet(&self, now: Time) -> bool {
        let selected = self.paths.iter().find(|k| Some(k.path) == self.selected);
        let media_at = selected.and_then(|k| k.media_at).unwrap_or_default();
        now.since_ms(media_at.max(self.selected_at)) >= MEDIA_MOVES_AFTER_MS
    }

    fn drop_previous(&mut self, change: &mut Change) {
        change.dropped_ufrag = self.previous.take().map(|c| c.ufrag);
        let generation = self.current.generation;
        let selected = self.selected;
        let gone = |k: &KnownPath| k.generation < generation && Some(k.path) != selected;
        change.forgotten.extend(self.paths.iter().filter(|k| gone(k)).map(|k| k.path));
        self.paths.retain(|k| !gone(k));
    }

    pub(crate) fn forget(&mut self, path: Path, now: Time, change: &mut Change) {
        self.paths.retain(|k| k.path != path);
        if self.selected == Some(path) {
            self.selected = None;
            let next = self.paths.iter().max_by_key(|k| (k.nominated, k.checked_at)).map(|k| k.path);
            next.into_iter().for_each(|next| self.select(next, now, change));
        }
    }

    pub(crate) fn set_closed(&mut self) {
        self.state = Some(IceState::Closed);
    }

    /// Silence: disconnected, then failed.
    pub(crate) fn tick(&mut self, now: Time) -> Option<IceState> {
        let silent_ms = now.since_ms(self.alive_at);
        let next = match self.state {
            Some(IceState::Failed | IceState::Closed) => return None,
            _ if silent_ms >= FAILED_AFTER_MS => IceState::Failed,
            Some(IceState::Connected) if silent_ms >= DISCONNECTED_AFTER_MS => IceState::Disconnected,
            _ => return None,
        };
        self.state = Some(next);
        self.state
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.state {
            Some(IceState::Failed | IceState::Closed) => None,
            Some(IceState::Connected) => Some(self.alive_at.plus_ms(DISCONNECTED_AFTER_MS)),
            _ => Some(self.alive_at.plus_ms(FAILED_AFTER_MS)),
        }
    }
}
