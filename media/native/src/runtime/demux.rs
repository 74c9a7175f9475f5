//! Which room and transport a datagram belongs to: by address once one is checked, by ICE user fragment before.
//!
//! Both tables are kept from the engines' `Route` outputs only, so a stranger's datagram adds nothing to them.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use holdspace_engine::{Path, Route, TransportId};
use holdspace_wire::demux::{classify, Datagram};
use holdspace_wire::stun::{parse_untrusted_message, Message};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub room: u64,
    pub transport: TransportId,
}

/// Why a datagram belongs to nobody; counted, never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unclaimed {
    Malformed,
    UnknownUfrag,
    UnknownAddress,
}

#[derive(Default)]
pub(super) struct Demux {
    addresses: HashMap<Path, Owner, RandomState>,
    ufrags: HashMap<String, Owner>,
}

impl Demux {
    pub(super) fn find(&self, path: &Path, untrusted: &[u8]) -> Result<Owner, Unclaimed> {
        match classify(untrusted) {
            Datagram::Stun => self.find_check(untrusted),
            Datagram::Dtls | Datagram::Rtp | Datagram::Rtcp => {
                self.addresses.get(path).copied().ok_or(Unclaimed::UnknownAddress)
            }
            Datagram::Other => Err(Unclaimed::Malformed),
        }
    }

    fn find_check(&self, untrusted: &[u8]) -> Result<Owner, Unclaimed> {
        match parse_untrusted_message(untrusted) {
            Ok(Message::BindingRequest(request)) => {
                self.ufrags.get(request.local_ufrag).copied().ok_or(Unclaimed::UnknownUfrag)
            }
            // Indications keep a NAT open and ask for nothing; an ICE-lite side never asks, so nothing answers it.
            Ok(_) => Err(Unclaimed::UnknownAddress),
            Err(_) => Err(Unclaimed::Malformed),
        }
    }

    pub(super) fn owner_of(&self, path: &Path) -> Option<Owner> {
        self.addresses.get(path).copied()
    }

    /// Applies one change; returns the owner in another room from whom the address was taken, to be told.
    pub(super) fn apply(&mut self, room: u64, route: Route) -> Option<(Owner, Path)> {
        match route {
            Route::UfragAdded { ufrag, transport } => {
                self.ufrags.insert(ufrag, Owner { room, transport });
                None
            }
            Route::UfragRemoved { ufrag } => {
                if self.ufrags.get(&ufrag).is_some_and(|owner| owner.room == room) {
                    self.ufrags.remove(&ufrag);
                }
                None
            }
            Route::AddressLearned { path, transport } => {
                let earlier = self.addresses.insert(path, Owner { room, transport });
                earlier.filter(|owner| owner.room != room).map(|owner| (owner, path))
            }
            Route::AddressForgotten { path, transport } => {
                if self.addresses.get(&path) == Some(&Owner { room, transport }) {
                    self.addresses.remove(&path);
                }
                None
            }
        }
    }

    /// Everything of a room that is gone, however it ended.
    pub(super) fn forget_room(&mut self, room: u64) {
        self.addresses.retain(|_, owner| owner.room != room);
        self.ufrags.retain(|_, owner| owner.room != room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdspace_engine::Local;

    fn path(port: u16) -> Path {
        let local = Local { socket: 0, ip: "0.0.0.0".parse().unwrap() };
        Path { local, remote: format!("192.0.2.1:{port}").parse().unwrap() }
    }

    fn learned(port: u16, transport: u64) -> Route {
        Route::AddressLearned { path: path(port), transport: TransportId(transport) }
    }

    #[test]
    fn an_address_claimed_by_another_room_is_reported_to_its_former_owner() {
        let mut demux = Demux::default();
        assert_eq!(demux.apply(1, learned(5000, 10)), None);
        let former = Owner { room: 1, transport: TransportId(10) };
        assert_eq!(demux.apply(2, learned(5000, 20)), Some((former, path(5000))));
        assert_eq!(demux.find(&path(5000), &[128, 96]), Ok(Owner { room: 2, transport: TransportId(20) }));
    }

    #[test]
    fn forgetting_an_address_that_moved_on_changes_nothing() {
        let mut demux = Demux::default();
        demux.apply(1, learned(5000, 10));
        demux.apply(2, learned(5000, 20));
        demux.apply(1, Route::AddressForgotten { path: path(5000), transport: TransportId(10) });
        assert!(demux.find(&path(5000), &[128, 96]).is_ok());
    }

    #[test]
    fn nothing_of_a_forgotten_room_is_found() {
        let mut demux = Demux::default();
        demux.apply(1, learned(5000, 10));
        demux.apply(1, Route::UfragAdded { ufrag: "fragment".to_owned(), transport: TransportId(10) });
        demux.forget_room(1);
        assert_eq!(demux.find(&path(5000), &[20, 0]), Err(Unclaimed::UnknownAddress));
        assert!(demux.ufrags.is_empty());
    }
}
