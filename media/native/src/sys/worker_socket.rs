//! One end of a socket pair to a worker process: datagrams in order, none of them ever waited for.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, SockRef, Socket, Type};

/// A keyframe is one datagram: the kernel takes none larger than this (and gives no more than net.core.wmem_max).
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub struct WorkerSocket(Socket);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Message(usize),
    Nothing,
    /// The other end is closed.
    End,
}

impl WorkerSocket {
    /// Takes the descriptor over if it is an AF_UNIX SOCK_SEQPACKET socket; None: it stays whose it was.
    pub fn adopt(fd: RawFd) -> Option<OwnedFd> {
        // SAFETY: it is open, and the caller gives it away.
        Self::is_one(fd).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn is_one(fd: RawFd) -> bool {
        if fd < 0 {
            return false;
        }
        // SAFETY: only borrowed for two calls that answer an error for any number that is no socket.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let socket = SockRef::from(&borrowed);
        matches!((socket.domain(), socket.r#type()), (Ok(Domain::UNIX), Ok(Type::SEQPACKET)))
    }

    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        Ok(Self(socket))
    }

    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// False: the socket is full, the message too large for it, or nobody is there.
    pub fn send(&self, message: &[u8]) -> bool {
        self.0.send_with_flags(message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).is_ok()
    }

    /// A message longer than `space` fills it.
    pub fn receive(&self, space: &mut [u8]) -> Taken {
        match (&self.0).read(space) {
            Ok(0) => Taken::End,
            Ok(len) => Taken::Message(len),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Taken::Nothing,
            Err(_) => Taken::End,
        }
    }
}
