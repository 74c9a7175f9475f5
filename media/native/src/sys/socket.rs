//! Opening one UDP socket the way the runtime needs it.
//!
//! v4 and v6 never share a socket, ports are never shared (two servers on one port would steal each other's packets;
//! a socket's own second one for RTCP is made once the first has the port for itself), and the kernel is asked for
//! receive stamps, overflow counts and destination addresses.

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
        Self::open_as(address, buffer_bytes, false)
    }

    /// Another socket on the same address, to which the kernel gives RTCP from now on: it can wait until somebody looks,
    /// where RTP has to wake its reader.
    pub fn split_rtcp(&self, buffer_bytes: usize) -> io::Result<Self> {
        set_flag(self.raw(), libc::SOL_SOCKET, libc::SO_REUSEPORT)?;
        let second = Self::open_as(self.local, buffer_bytes, true)?;
        sort_rtcp(self.raw())?;
        Ok(second)
    }

    fn open_as(address: SocketAddr, buffer_bytes: usize, is_second: bool) -> io::Result<Self> {
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
        if is_second {
            set_flag(raw, libc::SOL_SOCKET, libc::SO_REUSEPORT)?;
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

/// A classic BPF program over the UDP payload, run by the kernel for each datagram: 1 for what
/// `holdspace_wire::demux` calls RTCP, 0 for the rest, too short ones included. The numbers are the group's sockets in
/// the order in which they joined.
fn sort_rtcp(fd: RawFd) -> io::Result<()> {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const IF_LESS_SKIP: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const IF_MORE_SKIP: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD_BYTE, 0, 0, 0),
        step(IF_LESS_SKIP, 0, 5, 128),
        step(IF_MORE_SKIP, 4, 0, 191),
        step(LOAD_BYTE, 0, 0, 1),
        step(IF_LESS_SKIP, 0, 2, 192),
        step(IF_MORE_SKIP, 1, 0, 223),
        step(ANSWER, 0, 0, 1),
        step(ANSWER, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

fn set_flag(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    set_option(fd, level, name, &on)
}

fn set_option<T>(fd: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is readable for the length given; the kernel copies it, and what it points at, before it returns.
    let result = unsafe {
        libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), mem::size_of::<T>() as libc::socklen_t)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::Poller;
    use crate::sys::receive::{ReceiveBatch, DATAGRAM_BYTES};
    use holdspace_wire::demux::{classify, Datagram};

    #[test]
    fn the_kernel_sorts_datagrams_as_we_do_and_nobody_else_gets_the_port() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(first) = UdpSocket::open(ip.parse().unwrap(), 1 << 20) else { continue }; // a machine without IPv6
            let second = first.split_rtcp(1 << 20).unwrap();
            assert!(UdpSocket::open(first.local(), 1 << 20).is_err());
            let sender = std::net::UdpSocket::bind(ip).unwrap();
            let head = |at: usize| [[0, 127, 128, 191, 192, 255][at / 6], [0, 96, 191, 192, 223, 224][at % 6]];
            let datagrams: Vec<Vec<u8>> = (0..36).map(|at| head(at).to_vec()).chain([vec![128], vec![]]).collect();
            datagrams.iter().for_each(|datagram| _ = sender.send_to(datagram, first.local()).unwrap());
            for (socket, takes_rtcp) in [(&first, false), (&second, true)] {
                let mut wanted = datagrams.clone();
                wanted.retain(|datagram| (classify(datagram) == Datagram::Rtcp) == takes_rtcp);
                Poller::new([socket.raw()]).wait(Some(60_000_000_000));
                let mut batch = ReceiveBatch::new(DATAGRAM_BYTES, 64);
                let count = batch.receive(socket.raw()).unwrap();
                let got: Vec<Vec<u8>> = (0..count).map(|at| batch.datagram(at).unwrap().1.to_vec()).collect();
                assert_eq!(got, wanted, "RTCP: {takes_rtcp}");
            }
        }
    }
}
