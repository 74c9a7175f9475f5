//! Waiting for many TCP connections at once. Level-triggered; a closed descriptor leaves by itself.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const EVENTS: usize = 64;

pub struct Epoll {
    fd: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub token: u32,
    /// Also for an end or an error: reading tells which.
    pub readable: bool,
    pub writable: bool,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the new descriptor is owned from here on.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, nobody else has it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub fn add(&self, fd: RawFd, token: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    pub fn watch_writable(&self, fd: RawFd, token: u32, wanted: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, wanted)
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, token: u32, writable: bool) -> io::Result<()> {
        let events = libc::EPOLLIN | if writable { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: events as u32, u64: u64::from(token) };
        // SAFETY: `event` lives through the call.
        match unsafe { libc::epoll_ctl(self.raw(), operation, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// What is ready now; at most 64, the rest with the next call.
    pub fn ready(&self) -> Vec<Ready> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: the array lives through the call and has the length given.
        let count = unsafe { libc::epoll_wait(self.raw(), events.as_mut_ptr(), EVENTS as libc::c_int, 0) };
        let found = events.iter().take(usize::try_from(count).unwrap_or(0));
        found
            .map(|event| {
                let flags = event.events as libc::c_int;
                Ready {
                    token: event.u64 as u32,
                    readable: flags & (libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP) != 0,
                    writable: flags & libc::EPOLLOUT != 0,
                }
            })
            .collect()
    }
}
