//! Opening sockets: which address and port, and one for each worker.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};

use gateway_core::{
    api::ObjectKey,
    resolve::topology::{BindAddress, BindKey, Transport},
    snapshot::Placement,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::lookup_host;

const NO_PORT: &str = "with the port offset there is no such port";

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Where the program listens for the addresses and ports of Gateways.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The address of Gateways that name none.
    pub default: IpAddr,
    /// Added to every port that `ports` does not name; a sum beyond 65535 cannot be bound.
    pub port_offset: u16,
    /// The port of the socket for a port of listeners. 0 lets the system choose.
    pub ports: BTreeMap<u16, u16>,
    /// Where the sockets of Gateways are that have some of their own.
    pub own: BTreeMap<ObjectKey, Placement>,
    /// The addresses that Gateways may name; none: any that the system has.
    pub usable: Vec<RangeInclusive<IpAddr>>,
}

impl Default for Addresses {
    fn default() -> Self {
        let default = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            default,
            port_offset: 0,
            ports: BTreeMap::new(),
            own: BTreeMap::new(),
            usable: Vec::new(),
        }
    }
}

impl Addresses {
    /// The port of the socket for `port` of a Gateway; none if there is no such port.
    #[must_use]
    pub fn port(&self, port: u16) -> Option<u16> {
        match self.ports.get(&port) {
            Some(mapped) => Some(*mapped),
            None => port.checked_add(self.port_offset),
        }
    }

    /// Where the socket of `key` is; none if that is not known yet.
    ///
    /// # Errors
    /// If there is no such place.
    pub(super) fn own(
        &self,
        gateway: &ObjectKey,
        key: &BindKey,
    ) -> Result<Option<SocketAddr>, &'static str> {
        match self.own.get(gateway) {
            None => Err("the Gateway was given no address"),
            Some(Placement::Address(own)) => {
                let port = self.port(key.port).ok_or(NO_PORT)?;
                Ok(Some(SocketAddr::new(*own, port)))
            }
            Some(Placement::Ports(ports)) => {
                let port = ports.get(&(key.port, key.transport));
                Ok(port.map(|port| SocketAddr::new(self.default, *port)))
            }
        }
    }

    /// Whether a Gateway may name the address.
    #[must_use]
    pub fn is_usable(&self, address: IpAddr) -> bool {
        self.usable.is_empty() || self.usable.iter().any(|range| range.contains(&address))
    }
}

/// The sockets of one bind: for each address one for each worker.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) addresses: Vec<SocketAddr>,
    /// For each worker its sockets.
    pub(crate) sockets: Vec<Vec<Socket>>,
}

/// Opens the sockets of `key` for `workers` threads. `taken` are the addresses of other binds of
/// the same transport.
///
/// # Errors
/// With the reason, for the status of the Gateway.
pub(crate) async fn open(
    key: &BindKey,
    addresses: &Addresses,
    workers: usize,
    taken: &[SocketAddr],
) -> Result<Opened, String> {
    let port = addresses.port(key.port).ok_or(NO_PORT)?;
    let fallback = SocketAddr::new(addresses.default, port);
    if let BindAddress::Hostname(name) = &key.address
        && !addresses.usable.is_empty()
        && !is_usable(&look_up(name, port).await.unwrap_or_default(), addresses)
    {
        return Err(format!("{name} leads to no address of this gateway"));
    }
    let wanted = match &key.address {
        BindAddress::Default => vec![fallback],
        BindAddress::Own(gateway) => addresses.own(gateway, key)?.into_iter().collect(),
        BindAddress::Ip(ip) if !addresses.is_usable(*ip) => {
            return Err(format!("{ip} is not among the addresses of this gateway"));
        }
        BindAddress::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        BindAddress::Hostname(name) => match look_up(name, port).await {
            Ok(found) if is_usable(&found, addresses) => {
                match open_all(key.transport, &found, workers, taken) {
                    // The name is that of a load balancer or Service in front of this program.
                    Err(Refusal { kind: ErrorKind::AddrNotAvailable, .. }) => vec![fallback],
                    opened => return opened.map_err(|refusal| refusal.message),
                }
            }
            _ => vec![fallback],
        },
    };
    open_all(key.transport, &wanted, workers, taken).map_err(|refusal| refusal.message)
}

/// Why a socket is not open.
#[derive(Debug)]
struct Refusal {
    kind: ErrorKind,
    message: String,
}

impl Refusal {
    /// What the system says, and what can be done about it.
    fn new(address: SocketAddr, error: &io::Error) -> Self {
        let kind = error.kind();
        let advice = match kind {
            ErrorKind::AddrInUse => {
                "; another program has it: end that one, or let the listener or --port name another \
                 port"
            }
            ErrorKind::PermissionDenied => {
                "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE), or --port-offset or \
                 --port to serve them on a higher one"
            }
            ErrorKind::AddrNotAvailable => {
                "; this machine does not have the address: let spec.addresses or --bind name one \
                 that it has"
            }
            _ => "",
        };
        Self { kind, message: format!("{address}: {error}{advice}") }
    }
}

fn is_usable(found: &[SocketAddr], addresses: &Addresses) -> bool {
    !found.is_empty() && found.iter().all(|address| addresses.is_usable(address.ip()))
}

async fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = lookup_host((name, port)).await?.collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn open_all(
    transport: Transport,
    wanted: &[SocketAddr],
    workers: usize,
    taken: &[SocketAddr],
) -> Result<Opened, Refusal> {
    let mut opened =
        Opened { addresses: Vec::new(), sockets: (0..workers).map(|_| Vec::new()).collect() };
    for address in wanted {
        // The kernel would let two binds of one program share an address and mix their requests.
        if taken.iter().any(|other| overlap(other, address)) {
            let message = format!("{address} is in use by another Gateway");
            return Err(Refusal { kind: ErrorKind::AddrInUse, message });
        }
        let mut address = *address;
        for of_worker in &mut opened.sockets {
            let refused = |error: io::Error| Refusal::new(address, &error);
            let socket = open_one(transport, address).map_err(refused)?;
            address = local_addr(&socket).map_err(refused)?;
            of_worker.push(socket);
        }
        opened.addresses.push(address);
    }
    Ok(opened)
}

/// The address that others reach a socket by: for a socket at all addresses the one that the system
/// would send from, or else loopback.
pub(crate) fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // Nothing is sent; the address is one for documentation (RFC 5737, RFC 3849).
    let (local, remote): (SocketAddr, SocketAddr) = match ip {
        IpAddr::V4(_) => ((ip, 0).into(), ([192, 0, 2, 1], 9).into()),
        IpAddr::V6(_) => ((ip, 0).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into()),
    };
    let from = std::net::UdpSocket::bind(local).and_then(|socket| {
        socket.connect(remote)?;
        socket.local_addr()
    });
    let loopback = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };
    from.map_or(loopback, |from| from.ip())
}

fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    one == other && one.port() != 0
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| ErrorKind::Unsupported.into())
}

fn open_one(transport: Transport, address: SocketAddr) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if transport == Transport::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if transport == Transport::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::Refusal;

    #[track_caller]
    fn check(kind: ErrorKind, advice: &str) {
        let refusal = Refusal::new(([192, 0, 2, 1], 80).into(), &Error::from(kind));
        assert_eq!(refusal.message, format!("192.0.2.1:80: {kind}{advice}"));
    }

    #[test]
    fn each_refusal_of_the_system_has_its_advice() {
        check(
            ErrorKind::AddrInUse,
            "; another program has it: end that one, or let the listener or --port name another port",
        );
        check(
            ErrorKind::PermissionDenied,
            "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE), or --port-offset or --port \
             to serve them on a higher one",
        );
        check(
            ErrorKind::AddrNotAvailable,
            "; this machine does not have the address: let spec.addresses or --bind name one that it \
             has",
        );
        check(ErrorKind::OutOfMemory, "");
    }
}

#[cfg(test)]
mod placements {
    use std::{collections::BTreeMap, net::SocketAddr};

    use gateway_core::{
        api::{Kind, ObjectKey},
        resolve::topology::{BindAddress, BindKey, Transport},
        snapshot::Placement,
    };

    use super::{Addresses, open};

    fn addresses(placement: Placement) -> Addresses {
        let gateway = ObjectKey::new(Kind::Gateway, "infra", "public");
        let default = [127, 0, 0, 1].into();
        Addresses { default, own: BTreeMap::from([(gateway, placement)]), ..Addresses::default() }
    }

    fn key(gateway: &str, port: u16, transport: Transport) -> BindKey {
        let gateway = ObjectKey::new(Kind::Gateway, "infra", gateway);
        BindKey { address: BindAddress::Own(gateway), port, transport }
    }

    #[track_caller]
    fn check(placement: Placement, key: &BindKey, expect: Result<Option<&str>, &str>) {
        let BindAddress::Own(gateway) = &key.address else { panic!("it is a Gateway's own") };
        let address = |text: &str| text.parse::<SocketAddr>().expect("it is an address");
        let expect = expect.map(|text| text.map(address));
        assert_eq!(addresses(placement).own(gateway, key), expect, "{key:?}");
    }

    #[test]
    fn sockets_of_a_gateway_are_where_it_was_put() {
        let at = || Placement::Address([127, 0, 0, 9].into());
        check(at(), &key("public", 80, Transport::Tcp), Ok(Some("127.0.0.9:80")));
        check(at(), &key("other", 80, Transport::Tcp), Err("the Gateway was given no address"));
        let ports = || Placement::Ports(BTreeMap::from([((80, Transport::Tcp), 20_001)]));
        check(ports(), &key("public", 80, Transport::Tcp), Ok(Some("127.0.0.1:20001")));
        check(ports(), &key("public", 80, Transport::Udp), Ok(None));
        check(ports(), &key("public", 81, Transport::Tcp), Ok(None));
    }

    #[tokio::test]
    async fn the_port_that_stands_for_a_listeners_is_opened() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let number = free.local_addr().expect("it is bound").port();
        drop(free);
        let ports = Placement::Ports(BTreeMap::from([((80, Transport::Tcp), number)]));
        let key = key("public", 80, Transport::Tcp);
        let opened = open(&key, &addresses(ports), 1, &[]).await.expect("it can be opened");
        assert_eq!(opened.addresses, [SocketAddr::from(([127, 0, 0, 1], number))]);
    }
}
