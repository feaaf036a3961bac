//! The socket of a listener, which knows at which of its addresses a datagram came in.
//!
//! Out: datagrams with their [`Flow`]. In: answers, which leave from the address that the client has
//! sent to, also where the socket listens at all addresses of the host. Outside of Linux the system
//! chooses the address of such answers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{io::Interest, net::UdpSocket};

/// Whose datagrams these are: one client at one address of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    /// The address that the client sends to; none if the socket has no other.
    local: Option<IpAddr>,
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UdpSocket,
    /// Whether the socket listens at several addresses and tells which one it was.
    tells_local: bool,
}

impl Listener {
    pub(super) fn new(socket: UdpSocket) -> Self {
        let everywhere = socket.local_addr().is_ok_and(|local| local.ip().is_unspecified());
        let tells_local = everywhere && system::tell_local(&socket).is_ok();
        Self { socket, tells_local }
    }

    /// Ready when there may be a datagram. An error of the socket is about a datagram before.
    pub(super) async fn readable(&self) {
        let _ = self.socket.readable().await;
    }

    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Flow)> {
        if self.tells_local {
            return self
                .socket
                .try_io(Interest::READABLE, || system::receive(&self.socket, buffer));
        }
        let (length, client) = self.socket.try_recv_from(buffer)?;
        Ok((length, Flow { client, local: None }))
    }

    pub(super) fn try_send(&self, datagram: &[u8], flow: Flow) -> io::Result<usize> {
        match flow.local {
            None => self.socket.try_send_to(datagram, flow.client),
            Some(local) => self.socket.try_io(Interest::WRITABLE, || {
                system::send(&self.socket, datagram, flow.client, local)
            }),
        }
    }

    pub(super) async fn send(&self, datagram: &[u8], flow: Flow) -> io::Result<usize> {
        loop {
            self.socket.writable().await?;
            match self.try_send(datagram, flow) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{
        io::{self, IoSlice, IoSliceMut},
        net::{IpAddr, Ipv4Addr, SocketAddr},
        os::fd::AsRawFd,
    };

    use nix::{
        libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
        sys::socket::{
            ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
            setsockopt, sockopt,
        },
    };
    use tokio::net::UdpSocket;

    use super::Flow;

    pub(super) fn tell_local(socket: &UdpSocket) -> io::Result<()> {
        match socket.local_addr()? {
            SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        Ok(())
    }

    pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Flow)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut control = [0; SPACE];
        let flags = MsgFlags::empty();
        let message = recvmsg(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let client = message.address.as_ref().and_then(address);
        let client = client.ok_or(io::ErrorKind::InvalidData)?;
        // Other messages of the system are of no interest.
        let local = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
            _ => None,
        });
        Ok((message.bytes, Flow { client, local }))
    }

    pub(super) fn send(
        socket: &UdpSocket,
        datagram: &[u8],
        client: SocketAddr,
        local: IpAddr,
    ) -> io::Result<usize> {
        let parts = [IoSlice::new(datagram)];
        let to = SockaddrStorage::from(client);
        let send =
            |message| sendmsg(socket.as_raw_fd(), &parts, &[message], MsgFlags::empty(), Some(&to));
        let sent = match local {
            IpAddr::V4(local) => send(ControlMessage::Ipv4PacketInfo(&in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(local.octets()) },
                ipi_addr: in_addr { s_addr: u32::from(Ipv4Addr::UNSPECIFIED) },
            })),
            IpAddr::V6(local) => send(ControlMessage::Ipv6PacketInfo(&in6_pktinfo {
                ipi6_addr: in6_addr { s6_addr: local.octets() },
                ipi6_ifindex: 0,
            })),
        };
        Ok(sent?)
    }

    /// Room for what is told of either family.
    const SPACE: usize = 128;

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::{
        io,
        net::{IpAddr, SocketAddr},
    };

    use tokio::net::UdpSocket;

    use super::Flow;

    pub(super) fn tell_local(_socket: &UdpSocket) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn receive(_socket: &UdpSocket, _buffer: &mut [u8]) -> io::Result<(usize, Flow)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn send(
        _socket: &UdpSocket,
        _datagram: &[u8],
        _client: SocketAddr,
        _local: IpAddr,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
