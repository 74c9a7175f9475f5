//! Up to 64 datagrams per system call, each with its kernel receive time and the address it was sent to; or, on sockets
//! with `UDP_GRO`, as many runs of datagrams that came together.
//!
//! The buffers belong to the batch and are reused: a datagram is good until the next `receive`. A datagram longer
//! than its buffer is reported as truncated and must be dropped: no packet of a browser is that long.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use super::address;

/// Datagrams per batch (DESIGN.md §2, Sending): one batch is worked through and flushed before the next is read.
/// More would let one busy room hold up its neighbours for longer, fewer would cost more system calls.
pub const BATCH_DATAGRAMS: usize = 64;

/// Longest datagram taken: an Ethernet frame and room for tunnels.
pub const DATAGRAM_BYTES: usize = 2_048;

/// Buffer of one run on sockets with `UDP_GRO`: the longest that the kernel makes, and as much more as keeps the
/// beginnings of neighbouring buffers, which are all that small runs touch, from sharing the same lines of the cache.
pub const RUN_BYTES: usize = 65 * 1_024;

const CONTROL_BYTES: usize = 128;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

pub struct ReceiveBatch {
    buffer_bytes: usize,
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    filled: usize,
}

// SAFETY: the raw pointers inside point into the boxes next to them and move with their owner.
unsafe impl Send for ReceiveBatch {}

/// What the kernel said about one datagram besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub source: SocketAddr,
    /// The local address it was sent to; known on wildcard sockets only.
    pub destination: Option<IpAddr>,
    pub realtime_ns: Option<u64>,
    pub truncated: bool,
    /// Length of each joined datagram but the last, when the kernel joined several (`UDP_GRO`).
    pub segment_bytes: Option<u16>,
    /// What this socket has dropped since it was opened, as counted when this one was queued. A run counts once.
    pub overflow: Option<u32>,
}

impl Arrival {
    /// The length by which what came is to be cut into datagrams.
    pub fn cut_bytes(&self, bytes: usize) -> usize {
        self.segment_bytes.filter(|each| *each > 0).map_or(bytes, usize::from).max(1)
    }
}

impl ReceiveBatch {
    /// `buffer_bytes` each: `DATAGRAM_BYTES`, or `RUN_BYTES` on sockets with `UDP_GRO`. Pages that no datagram has
    /// touched take no memory.
    pub fn new(buffer_bytes: usize, datagrams: usize) -> Self {
        // SAFETY: all-zero bytes are valid for these C structures.
        let (name, vector, header): (libc::sockaddr_storage, libc::iovec, libc::mmsghdr) =
            unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut batch = Self {
            buffer_bytes,
            buffers: vec![0; buffer_bytes * datagrams].into_boxed_slice(),
            names: vec![name; datagrams].into_boxed_slice(),
            controls: vec![Control([0; CONTROL_BYTES]); datagrams].into_boxed_slice(),
            vectors: vec![vector; datagrams].into_boxed_slice(),
            headers: vec![header; datagrams].into_boxed_slice(),
            filled: 0,
        };
        for index in 0..datagrams {
            batch.vectors[index].iov_base = batch.buffers[index * buffer_bytes..].as_mut_ptr().cast();
            batch.vectors[index].iov_len = buffer_bytes;
            let header = &mut batch.headers[index].msg_hdr;
            header.msg_iov = &mut batch.vectors[index];
            header.msg_iovlen = 1;
            header.msg_name = std::ptr::from_mut(&mut batch.names[index]).cast();
            header.msg_control = batch.controls[index].0.as_mut_ptr().cast();
        }
        batch
    }

    /// What one `receive` brings at most.
    pub fn size(&self) -> usize {
        self.headers.len()
    }

    /// Fills the batch with what waits on the socket; 0 when nothing does.
    pub fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        // The kernel shortened these two in the headers that it filled last time.
        for header in &mut self.headers[..] {
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        // SAFETY: every header points at buffers owned by `self`, with their true lengths.
        let result = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(result).unwrap_or(0);
        if result >= 0 {
            return Ok(self.filled);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        }
    }

    /// Datagram `index` of the last `receive`; None when its address family is not ours.
    pub fn datagram(&mut self, index: usize) -> Option<(Arrival, &mut [u8])> {
        assert!(index < self.filled, "datagram {index} of {}", self.filled);
        let header = &self.headers[index];
        let length = (header.msg_len as usize).min(self.buffer_bytes);
        let mut arrival = Arrival {
            source: address::read(&self.names[index])?,
            destination: None,
            realtime_ns: None,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            segment_bytes: None,
            overflow: None,
        };
        read_control(&header.msg_hdr, &mut arrival);
        let start = index * self.buffer_bytes;
        Some((arrival, &mut self.buffers[start..start + length]))
    }
}

fn read_control(header: &libc::msghdr, arrival: &mut Arrival) {
    // SAFETY: the header and its control buffer were filled by the kernel; the CMSG functions stay inside
    // msg_controllen, and each payload is read unaligned with the length that its type has in the kernel's ABI.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time: libc::timespec = std::ptr::read_unaligned(data.cast());
                    arrival.realtime_ns = Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    arrival.overflow = Some(std::ptr::read_unaligned(data.cast()));
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = std::ptr::read_unaligned(data.cast());
                    let ip = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    arrival.destination = Some(IpAddr::V4(ip));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = std::ptr::read_unaligned(data.cast());
                    arrival.destination = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                }
                (libc::IPPROTO_UDP, libc::UDP_GRO) => {
                    let size: libc::c_int = std::ptr::read_unaligned(data.cast());
                    arrival.segment_bytes = u16::try_from(size).ok();
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
}
