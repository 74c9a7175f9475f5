//! Commands on a runtime thread: rooms made and removed, the engine's commands applied, questions answered.

use std::sync::atomic::Ordering;

use holdspace_engine::{Command, Engine, Event, TapEnd, TapId, TrackId};

use super::command::{TapPlace, ThreadCommand};
use super::counters::retire_totals;
use super::events::{Answer, Notice};
use super::room::Room;
use super::thread::{guarded, now, Worker};
use crate::sys::clock;

impl Worker {
    /// Takes every waiting command; false when one of them was `Stop`.
    pub(super) fn take_commands(&mut self) -> bool {
        self.shared.is_signalled.store(false, Ordering::Release);
        self.is_dirty = true;
        while let Ok(command) = self.commands.try_recv() {
            match command {
                ThreadCommand::AddRoom { room } => self.add_room(room),
                ThreadCommand::RemoveRoom { room } => self.remove_room(room),
                ThreadCommand::Room { room, command } => {
                    self.apply(room, command);
                }
                ThreadCommand::AddTap { room, tap, track, grant, place } => {
                    self.add_tap(room, tap, track, grant, place)
                }
                ThreadCommand::OpenPort { room, track, socket } => self.open_port(room, track, socket),
                ThreadCommand::ReportTransport { room, transport, ticket } => {
                    let there = self.rooms.get(&room).map(|room| &room.engine);
                    let stats = guarded(|| there.and_then(|engine| engine.transport_stats(transport, now()).ok()));
                    self.answer(room, ticket, stats.map(|stats| stats.map_or(Answer::Gone, Answer::Transport)));
                }
                ThreadCommand::ReportRoom { room, ticket } => {
                    let there = self.rooms.get(&room).map(|room| &room.engine);
                    let dump = guarded(|| there.map(|engine| engine.dump(now())));
                    self.answer(room, ticket, dump.map(|dump| dump.map_or(Answer::Gone, Answer::Room)));
                }
                ThreadCommand::TakeStream(handed) => self.take_stream(handed),
                ThreadCommand::Stop => return false,
                #[cfg(test)]
                ThreadCommand::Stall { milliseconds } => {
                    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
                }
                #[cfg(test)]
                ThreadCommand::PanicInRoom { room } => {
                    if let Err(message) = guarded(|| panic!("asked to")) {
                        self.fail_room(room, message);
                    }
                }
            }
        }
        true
    }

    fn add_tap(&mut self, room: u64, tap: TapId, track: TrackId, grant: String, place: TapPlace) {
        if let Some(there) = self.rooms.get_mut(&room) {
            there.add_tap(tap, track, place);
            self.has_taps = true;
        }
        if !self.apply(room, Command::AddTap { tap, track, grant }) {
            self.outputs.events.push(Event::TapEnded { tap, reason: TapEnd::Removed });
            self.after_turn(room);
        }
    }

    fn answer(&mut self, room: u64, ticket: u64, answer: Result<Answer, String>) {
        match answer {
            Ok(answer) => self.shared.events.push(Notice::Answer { ticket, answer }),
            Err(message) => {
                self.fail_room(room, message);
                self.shared.events.push(Notice::Answer { ticket, answer: Answer::Gone });
            }
        }
    }

    fn add_room(&mut self, room: u64) {
        let mut config = self.config.clone();
        config.seed ^= room.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ clock::monotonic_ns();
        self.rooms.insert(room, Room::new(Engine::new(config)));
    }

    fn remove_room(&mut self, room: u64) {
        // What was said last (DTLS's goodbye) still leaves.
        if let Err(message) = self.flush_room(room) {
            return self.fail_room(room, message);
        }
        let Some(gone) = self.rooms.remove(&room) else {
            return;
        };
        self.demux.forget_room(room);
        self.ports.forget_room(room);
        let totals = &mut self.counts.totals;
        if guarded(|| retire_totals(totals, &gone.engine.totals())).is_ok() {
            drop(gone);
        }
    }

    /// Whether the engine carried it out. The registry has checked before, so Python believes that it did: a refusal
    /// is counted and told.
    pub(super) fn apply(&mut self, room: u64, command: Command) -> bool {
        let Some(there) = self.rooms.get_mut(&room) else {
            return false;
        };
        let outputs = &mut self.outputs;
        let (name, id) = command.name_and_id();
        // What ended by itself may be ended once more before Python has read of it: it is as was asked.
        let ends = matches!(command, Command::RemoveTap { .. } | Command::FailTap { .. } | Command::ClosePort { .. });
        match guarded(|| there.engine.apply(command, now(), outputs)) {
            Ok(result) => {
                if let Some(error) = result.err().filter(|_| !ends) {
                    self.counts.commands_refused += 1;
                    let what = id.map_or_else(|| name.to_owned(), |id| format!("{name} {id}"));
                    self.shared.events.push(Notice::CommandRefused { room, what, why: error.to_string() });
                }
                self.after_turn(room);
                result.is_ok()
            }
            Err(message) => {
                self.fail_room(room, message);
                false
            }
        }
    }
}
