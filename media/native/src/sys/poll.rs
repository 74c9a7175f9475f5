//! Waiting for sockets and a wake-up, with a deadline in nanoseconds.
//!
//! A thread watches a handful of descriptors, so `ppoll` is enough: nothing to register or forget.

use std::os::fd::RawFd;

pub struct Poller {
    entries: Vec<libc::pollfd>,
}

impl Poller {
    pub fn new(descriptors: impl IntoIterator<Item = RawFd>) -> Self {
        let entries = descriptors.into_iter().map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        Self { entries }
    }

    /// Also wait until entry `index` can be written (a send met a full socket buffer), or stop doing so.
    pub fn watch_writable(&mut self, index: usize, wanted: bool) {
        self.entries[index].events = if wanted { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
    }

    /// Wait until entry `index` can be read, or leave it alone until then.
    pub fn watch_readable(&mut self, index: usize, wanted: bool) {
        self.entries[index].events = if wanted { libc::POLLIN } else { 0 };
    }

    /// Returns when something is ready or `timeout_ns` has passed (None: without end). Interruptions by signals
    /// count as an empty return: the caller's loop comes back by itself.
    pub fn wait(&mut self, timeout_ns: Option<u64>) {
        let limit = timeout_ns.map(|ns| libc::timespec {
            tv_sec: (ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (ns % 1_000_000_000) as libc::c_long,
        });
        let limit_pointer = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the entries and the timespec live through the call.
        let result = unsafe {
            libc::ppoll(self.entries.as_mut_ptr(), self.entries.len() as libc::nfds_t, limit_pointer, std::ptr::null())
        };
        if result < 0 {
            for entry in &mut self.entries {
                entry.revents = 0;
            }
        }
    }

    /// Whether entry `index` has input or an error to collect.
    pub fn is_readable(&self, index: usize) -> bool {
        self.entries[index].revents & (libc::POLLIN | libc::POLLERR | libc::POLLHUP) != 0
    }

    pub fn is_writable(&self, index: usize) -> bool {
        self.entries[index].revents & libc::POLLOUT != 0
    }
}
