//! The room: its objects, and the calls of the runtime.

use crate::command::{Command, TransportId};
use crate::config::EngineConfig;
use crate::output::{Outputs, Path};
use crate::stats::{RoomTotals, TransportStats, Value};
use crate::time::Time;
use crate::EngineError;

pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    pub fn new(config: EngineConfig) -> Engine {
        Engine { config }
    }

    /// Idempotent, or an error that changes nothing.
    pub fn apply(&mut self, command: Command, now: Time, out: &mut Outputs) -> Result<(), EngineError> {
        let _ = (command, now, out, &self.config);
        todo!()
    }

    /// One datagram, already resolved to a transport; decrypted in place. `now` is the kernel's receive time.
    pub fn receive(&mut self, transport: TransportId, path: Path, datagram: &mut [u8], now: Time, out: &mut Outputs) {
        let _ = (transport, path, datagram, now, out);
    }

    /// Timers: repeats, reports, feedback, liveness. Cheap when nothing is due.
    pub fn tick(&mut self, now: Time, out: &mut Outputs) {
        let _ = (now, out);
    }

    /// When `tick` should be called at the latest; asked after each batch.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Assembles what waits into `out`. True: more waits, send and clear the transmits and call again.
    #[must_use]
    pub fn flush(&mut self, now: Time, out: &mut Outputs) -> bool {
        let _ = (now, out);
        false
    }

    /// The address now belongs to a transport of another room.
    pub fn forget_path(&mut self, transport: TransportId, path: Path) {
        let _ = (transport, path);
    }

    /// A stream connection (ICE-TCP) ended: like `forget_path`, and [`crate::IceState::Closed`] if it was the last.
    pub fn path_lost(&mut self, transport: TransportId, path: Path, out: &mut Outputs) {
        let _ = (transport, path, out);
    }

    pub fn totals(&self) -> RoomTotals {
        RoomTotals::default()
    }

    pub fn transport_stats(&self, transport: TransportId, now: Time) -> Result<TransportStats, EngineError> {
        let _ = (transport, now);
        Err(EngineError::UnknownId)
    }

    pub fn dump(&self, now: Time) -> Value {
        let _ = now;
        Value::Null
    }
}
