//! Opening one UDP socket the way the runtime needs it.
//!
//! v4 and v6 never share a socket, ports are never shared (no SO_REUSEADDR: two servers on one port would steal
//! each other's packets), and the kernel is asked for receive stamps, overflow counts and destination addresses.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    local: SocketAddr,
    receive_buffer_bytes: usize,
}

impl UdpSocket {
    /// Binds `address` (port 0: any free one) and asks for `buffer_bytes` in both directions.
    pub fn open(address: SocketAddr, buffer_bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel silently grants less than asked; what it granted is read back and reported.
        socket.set_recv_buffer_size(buffer_bytes)?;
        socket.set_send_buffer_size(buffer_bytes)?;
        let raw = socket.as_raw_fd();
        stamp_arrivals(raw)?;
        set_flag(raw, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)?;
        if address.ip().is_unspecified() {
            match address.ip() {
                IpAddr::V4(_) => tell_destinations(raw)?,
                IpAddr::V6(_) => set_flag(raw, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?,
            }
        }
        socket.bind(&address.into())?;
        let receive_buffer_bytes = socket.recv_buffer_size()? / 2; // the kernel reports twice what data may fill
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "no local address"))?;
        Ok(Self { fd: socket.into(), local, receive_buffer_bytes })
    }

    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Bound to all addresses: answers must then name the address that they leave from.
    pub fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }

    /// Stands for "the only address there is" on sockets bound to one.
    pub fn unspecified_ip(&self) -> IpAddr {
        match self.local.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    pub fn receive_buffer_bytes(&self) -> usize {
        self.receive_buffer_bytes
    }
}

/// Let the kernel say when each datagram arrived.
pub fn stamp_arrivals(fd: RawFd) -> io::Result<()> {
    set_flag(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)
}

/// Let the kernel say to which of our addresses each datagram went (IPv4).
pub fn tell_destinations(fd: RawFd) -> io::Result<()> {
    set_flag(fd, libc::IPPROTO_IP, libc::IP_PKTINFO)
}

/// Let the kernel hand over runs of equal datagrams as one.
pub fn enable_gro(fd: RawFd) -> io::Result<()> {
    set_flag(fd, libc::IPPROTO_UDP, libc::UDP_GRO)
}

fn set_flag(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` is readable for the length given.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            std::ptr::from_ref(&on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
