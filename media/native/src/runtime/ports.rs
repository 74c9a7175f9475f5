//! Frame ports of one runtime thread: the sockets of the workers behind private tracks.
//!
//! The engine says what a message is; here it is written or read, never waited for. A worker that does not read loses
//! messages, one that is gone loses its port; either way nobody is shown anything instead.

use std::collections::HashMap;

use holdspace_engine::{Command, Event, PortEnd, TrackId, MAX_PORT_MESSAGE};

use super::thread::{guarded, now, Worker};
use crate::sys::epoll::Epoll;
use crate::sys::worker_socket::{Taken, WorkerSocket};

/// Messages read from one worker before the others, and the packets, have their turn.
const MESSAGES_PER_TURN: usize = 8;

type Place = (u64, TrackId);

pub(super) struct Ports {
    epoll: Epoll,
    sockets: HashMap<Place, (u32, WorkerSocket)>,
    places: HashMap<u32, Place>,
    next_token: u32,
    /// One byte more than the largest message, so that a larger one is told apart. Empty until there is a port.
    buffer: Vec<u8>,
}

impl Ports {
    pub(super) fn new() -> std::io::Result<Self> {
        let (sockets, places) = (HashMap::new(), HashMap::new());
        Ok(Self { epoll: Epoll::new()?, sockets, places, next_token: 0, buffer: Vec::new() })
    }

    pub(super) fn raw(&self) -> std::os::fd::RawFd {
        self.epoll.raw()
    }

    fn open(&mut self, place: Place, socket: WorkerSocket) -> std::io::Result<()> {
        self.close(place);
        self.next_token = self.next_token.wrapping_add(1);
        self.epoll.add(socket.raw(), self.next_token)?;
        self.buffer.resize(MAX_PORT_MESSAGE + 1, 0);
        self.places.insert(self.next_token, place);
        self.sockets.insert(place, (self.next_token, socket));
        Ok(())
    }

    fn close(&mut self, place: Place) {
        if let Some((token, _)) = self.sockets.remove(&place) {
            self.places.remove(&token);
        }
    }

    pub(super) fn forget_room(&mut self, room: u64) {
        self.sockets.retain(|place, _| place.0 != room);
        self.places.retain(|_, place| place.0 != room);
    }
}

impl Worker {
    /// What the engine's events change outside it.
    pub(super) fn heed_events(&mut self, room_id: u64) {
        for event in &self.outputs.events {
            match event {
                Event::PortClosed { track, .. } => self.ports.close((room_id, *track)),
                Event::Private { private: true, .. } => {
                    let demux = &self.demux;
                    self.streams.cut_video(|path| demux.owner_of(path).is_some_and(|owner| owner.room == room_id));
                }
                _ => {}
            }
        }
    }

    pub(super) fn open_port(&mut self, room: u64, track: TrackId, socket: WorkerSocket) {
        if !self.apply(room, Command::OpenPort { track }) {
            return;
        }
        if self.ports.open((room, track), socket).is_err() {
            self.apply(room, Command::ClosePort { track, reason: PortEnd::WorkerGone });
        }
    }

    /// Reads what workers have returned.
    pub(super) fn serve_ports(&mut self) {
        for ready in self.ports.epoll.ready() {
            let Some(place) = self.ports.places.get(&ready.token).copied() else { continue };
            for _ in 0..MESSAGES_PER_TURN {
                match self.take_message(place) {
                    Taken::Message(_) => {}
                    Taken::Nothing => break,
                    Taken::End => {
                        let reason = PortEnd::WorkerGone;
                        self.apply(place.0, Command::ClosePort { track: place.1, reason });
                        break;
                    }
                }
            }
            self.is_dirty = true;
        }
    }

    fn take_message(&mut self, place: Place) -> Taken {
        let Some((_, socket)) = self.ports.sockets.get(&place) else { return Taken::Nothing };
        let taken = socket.receive(&mut self.ports.buffer);
        let (Taken::Message(len), Some(room)) = (taken, self.rooms.get_mut(&place.0)) else { return taken };
        let (message, outputs) = (&self.ports.buffer[..len], &mut self.outputs);
        match guarded(|| room.engine.worker_says(place.1, message, now(), outputs)) {
            Ok(()) => self.after_turn(place.0),
            Err(message) => self.fail_room(place.0, message),
        }
        taken
    }

    /// Hands the engine's messages to the workers; what a socket does not take is told to the engine.
    pub(super) fn write_ports(&mut self, room_id: u64) -> Result<(), String> {
        if !self.outputs.has_worker_messages() {
            return Ok(());
        }
        let is_taken = |(track, message): &(TrackId, &[u8])| {
            self.ports.sockets.get(&(room_id, *track)).is_some_and(|(_, socket)| socket.send(message))
        };
        let refused = self.outputs.worker_messages().filter(|message| !is_taken(message));
        let refused: Vec<(TrackId, u8)> = refused.map(|(track, message)| (track, message[0])).collect();
        self.outputs.clear_worker_messages();
        let Some(room) = self.rooms.get_mut(&room_id) else { return Ok(()) };
        refused.into_iter().try_for_each(|(track, kind)| guarded(|| room.engine.worker_refused(track, kind, now())))
    }
}
