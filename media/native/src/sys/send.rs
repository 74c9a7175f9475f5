//! One run of equal datagrams to one address as one system call (`UDP_SEGMENT`), and the plain way beside it.
//!
//! The caller owns the bytes and keeps them until a send succeeded: a send that failed is repeated with the same
//! bytes, never with newly sealed ones (DESIGN.md §2, "one index, one packet").

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use super::address;

/// Segments of one send: the kernel's own limit is 64 (UDP_MAX_SEGMENTS of the oldest kernels that have GSO).
pub const MAX_SEGMENTS: usize = 64;

/// Bytes of one send (DESIGN.md §2): larger ones gain nothing measurable and make one receiver's burst longer.
pub const MAX_SEND_BYTES: usize = 16_384;

const CONTROL_BYTES: usize = 64;

#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// So many datagrams left, counted from the first.
    Sent(usize),
    /// The socket's buffer is full; the rest waits until the socket can be written.
    Full(usize),
    /// The path refuses segmented sends; nothing left.
    GsoRefused,
    /// The address cannot be reached just now, or a filter refuses it. Nothing of it will leave by waiting.
    Unreachable,
}

/// Where a send goes: to whom, and from which of the machine's addresses (None on sockets bound to one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
}

/// `bytes` as datagrams of `segment_bytes` each, the last possibly shorter, in one system call.
/// One datagram (`segment_bytes >= bytes.len()`) is an ordinary send.
pub fn send_segmented(fd: RawFd, route: &Route, bytes: &[u8], segment_bytes: usize) -> SendResult {
    let count = bytes.len().div_ceil(segment_bytes.max(1));
    debug_assert!(count <= MAX_SEGMENTS && bytes.len() <= MAX_SEND_BYTES.max(segment_bytes));
    // SAFETY: all-zero bytes are valid for these C structures.
    let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut control = Control([0; CONTROL_BYTES]);
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let segment = (count > 1).then_some(segment_bytes as u16);
    fill_header(&mut header, &mut name, &mut control, route, segment);
    header.msg_iov = &mut vector;
    header.msg_iovlen = 1;
    // SAFETY: the header points at locals and at `bytes`, all alive through the call; the kernel only reads.
    let sent = unsafe { libc::sendmsg(fd, &header, libc::MSG_DONTWAIT) };
    if sent >= 0 {
        return SendResult::Sent(count);
    }
    classify(&io::Error::last_os_error(), 0, count > 1)
}

/// The same datagrams without segmentation, by `sendmmsg`.
pub fn send_each(fd: RawFd, route: &Route, bytes: &[u8], segment_bytes: usize) -> SendResult {
    // SAFETY: all-zero bytes are valid for these C structures.
    let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut control = Control([0; CONTROL_BYTES]);
    fill_header(&mut header, &mut name, &mut control, route, None);
    let mut vectors: Vec<libc::iovec> = bytes
        .chunks(segment_bytes.max(1))
        .map(|chunk| libc::iovec { iov_base: chunk.as_ptr().cast_mut().cast(), iov_len: chunk.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .map(|vector| {
            let mut each = header;
            each.msg_iov = vector;
            each.msg_iovlen = 1;
            libc::mmsghdr { msg_hdr: each, msg_len: 0 }
        })
        .collect();
    let mut done = 0;
    while done < headers.len() {
        let rest = &mut headers[done..];
        // SAFETY: all headers point at locals and at `bytes`, alive through the call.
        let sent = unsafe { libc::sendmmsg(fd, rest.as_mut_ptr(), rest.len() as libc::c_uint, libc::MSG_DONTWAIT) };
        match usize::try_from(sent) {
            Ok(count) => done += count,
            Err(_) => return classify(&io::Error::last_os_error(), done, false),
        }
    }
    SendResult::Sent(done)
}

fn classify(error: &io::Error, done: usize, segmented: bool) -> SendResult {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR | libc::ENOMEM) => SendResult::Full(done),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE) if segmented => SendResult::GsoRefused,
        _ => SendResult::Unreachable,
    }
}

fn fill_header(
    header: &mut libc::msghdr,
    name: &mut libc::sockaddr_storage,
    control: &mut Control,
    route: &Route,
    segment_bytes: Option<u16>,
) {
    header.msg_namelen = address::write(&route.to, name);
    header.msg_name = std::ptr::from_mut(name).cast();
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES;
    let mut used = 0;
    // SAFETY: `header` describes `control`, whose 64 bytes hold the segment size (24) and one packet info (≤ 40);
    // CMSG_NXTHDR never leaves it.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        if let Some(size) = segment_bytes {
            used += put(message, libc::IPPROTO_UDP, libc::UDP_SEGMENT, size);
            message = libc::CMSG_NXTHDR(header, message);
        }
        match route.from {
            Some(IpAddr::V4(ip)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                used += put(message, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            Some(IpAddr::V6(ip)) => {
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
                used += put(message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
            None => {}
        }
    }
    header.msg_controllen = used;
    if used == 0 {
        header.msg_control = std::ptr::null_mut();
    }
}

/// Writes one control message; returns the space that it takes.
///
/// # Safety
/// `message` must point at CMSG_SPACE(size of T) writable bytes.
unsafe fn put<T>(message: *mut libc::cmsghdr, level: libc::c_int, kind: libc::c_int, value: T) -> usize {
    let size = mem::size_of::<T>() as libc::c_uint;
    unsafe {
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(size) as usize;
        std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), value);
        libc::CMSG_SPACE(size) as usize
    }
}
