//! The PROXY protocol, versions 1 and 2: who a connection comes from when another proxy opened it.
//!
//! In: the first bytes of a connection from a source that is trusted to tell. Out: its addresses,
//! and how many bytes told them. And the other way round, what to tell a backend. Not here: sockets,
//! and whether a source is to be asked: without [`TrustedSources`] nobody is believed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 1 begins with.
const PREFIX: &[u8; 6] = b"PROXY ";
/// The longest header of version 1, line end included, as its specification counts it.
const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is read, with room for any common extension field.
const LONGEST_V2: usize = 4096;
const HEADER_V2: usize = 16;

pub use gateway_core::backend::ProxyProtocol as Version;

/// The addresses of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// None if the proxy speaks for itself or does not know: the socket's own addresses count.
    pub proxied: Option<Proxied>,
    /// Bytes of the header; the connection's own begin after them.
    pub length: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// They begin in another way.
    #[error("there is no PROXY header")]
    Missing,
    /// They break the protocol's rules.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    /// They are more than a header may have.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Reads the header that `bytes` begin with. `None` asks for more bytes.
///
/// ```
/// use gateway_bin::stream::proxy_protocol::parse;
///
/// let header = parse(b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\nhello")?;
/// let header = header.expect("a whole header");
/// assert_eq!(header.length, 44);
/// assert_eq!(header.proxied.map(|proxied| proxied.source), "192.0.2.1:5000".parse().ok());
/// # Ok::<(), gateway_bin::stream::proxy_protocol::ProxyError>(())
/// ```
///
/// # Errors
/// If no further byte could make it a header.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let begins = |with: &[u8]| {
        let length = bytes.len().min(with.len());
        bytes[..length] == with[..length]
    };
    match bytes {
        [] => Ok(None),
        _ if begins(SIGNATURE) => parse_v2(bytes),
        _ if begins(PREFIX) => parse_v1(bytes),
        _ => Err(ProxyError::Missing),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let line = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if line.len() == LONGEST_V1 { Err(ProxyError::TooLong) } else { Ok(None) };
    };
    let malformed = ProxyError::Malformed;
    let text =
        line[..end].strip_suffix(b"\r").ok_or_else(|| malformed("its line ends without CR"))?;
    let text = std::str::from_utf8(text).map_err(|_| malformed("it is no ASCII"))?;
    let length = end + 1;
    let mut words = text.split(' ').skip(1);
    let family = words.next().unwrap_or("");
    // SPEC: whatever follows UNKNOWN is to be passed over.
    if family == "UNKNOWN" {
        return Ok(Some(ProxyHeader { proxied: None, length }));
    }
    let words: Vec<&str> = words.collect();
    let &[source, destination, source_port, destination_port] = &*words else {
        return Err(malformed("it has not two addresses and two ports"));
    };
    let proxied = match family {
        "TCP4" => proxied::<Ipv4Addr>([source, destination], [source_port, destination_port]),
        "TCP6" => proxied::<Ipv6Addr>([source, destination], [source_port, destination_port]),
        _ => return Err(malformed("its protocol is unknown")),
    };
    let proxied = proxied.ok_or_else(|| malformed("an address or port cannot be read"))?;
    Ok(Some(ProxyHeader { proxied: Some(proxied), length }))
}

fn proxied<A: FromStr + Into<IpAddr>>(addresses: [&str; 2], ports: [&str; 2]) -> Option<Proxied> {
    let address = |text: &str, port: &str| {
        let is_canonical = port.bytes().all(|byte| byte.is_ascii_digit())
            && (port == "0" || !port.starts_with('0'));
        let port = port.parse().ok().filter(|_| is_canonical)?;
        Some(SocketAddr::new(text.parse::<A>().ok()?.into(), port))
    };
    let [source, destination] = addresses;
    let [source_port, destination_port] = ports;
    let source = address(source, source_port)?;
    Some(Proxied { source, destination: address(destination, destination_port)? })
}

fn parse_v2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let malformed = |reason| Err(ProxyError::Malformed(reason));
    let Some(&[version_and_command, family, high, low]) = bytes.get(SIGNATURE.len()..HEADER_V2)
    else {
        return Ok(None);
    };
    let length = HEADER_V2 + usize::from(u16::from_be_bytes([high, low]));
    let command = match version_and_command {
        0x20 | 0x21 => version_and_command & 0xf,
        byte if byte >> 4 == 2 => return malformed("its command is unknown"),
        _ => return malformed("its version is unknown"),
    };
    if length > LONGEST_V2 {
        return Err(ProxyError::TooLong);
    }
    let Some(content) = bytes.get(HEADER_V2..length) else { return Ok(None) };
    // SPEC: LOCAL: the proxy's own connection, such as a health check; its addresses do not count.
    let proxied = match (command, family) {
        (0, _) | (_, 0x00 | 0x31 | 0x32) => None,
        (_, 0x11 | 0x12) => Some(addresses_v2::<4>(content)),
        (_, 0x21 | 0x22) => Some(addresses_v2::<16>(content)),
        _ => return malformed("its address family is unknown"),
    };
    match proxied {
        Some(None) => malformed("it is too short for its addresses"),
        Some(proxied) => Ok(Some(ProxyHeader { proxied, length })),
        None => Ok(Some(ProxyHeader { proxied: None, length })),
    }
}

fn addresses_v2<const N: usize>(content: &[u8]) -> Option<Proxied>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = content.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let &[source_high, source_low, high, low, ..] = rest else { return None };
    let address = |ip: [u8; N], port| SocketAddr::new(ip.into(), u16::from_be_bytes(port));
    let source = address(*source, [source_high, source_low]);
    Some(Proxied { source, destination: address(*destination, [high, low]) })
}

/// Adds the header of a connection to `out`.
///
/// Addresses of two families are both written as IPv6, an IPv4 one as mapped.
pub fn write(version: Version, proxied: &Proxied, out: &mut Vec<u8>) {
    let (source, destination) = same_family(proxied.source.ip(), proxied.destination.ip());
    let ports = [proxied.source.port(), proxied.destination.port()];
    match version {
        Version::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let [from, to] = ports;
            let line = format!("PROXY {family} {source} {destination} {from} {to}\r\n");
            out.extend_from_slice(line.as_bytes());
        }
        Version::V2 => {
            let (family, length) = if source.is_ipv4() { (0x11, 12u16) } else { (0x21, 36u16) };
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0x21, family]);
            out.extend_from_slice(&length.to_be_bytes());
            for ip in [source, destination] {
                match ip {
                    IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
                }
            }
            ports.iter().for_each(|port| out.extend_from_slice(&port.to_be_bytes()));
        }
    }
}

fn same_family(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(_) => ip,
    };
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    (mapped(source), mapped(destination))
}

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedSources {
    ranges: Vec<IpRange>,
    /// Empty: all.
    ports: Vec<u16>,
}

impl TrustedSources {
    /// Takes their word at these ports of listeners only; without any, at all.
    #[must_use]
    pub fn at_ports(self, ports: Vec<u16>) -> Self {
        Self { ports, ..self }
    }

    /// Whether a connection from `ip` to a listener's `port` begins with a header.
    #[must_use]
    pub fn announce(&self, ip: IpAddr, port: u16) -> bool {
        (self.ports.is_empty() || self.ports.contains(&port)) && self.contains(ip)
    }

    /// Whether `ip` is one of them. IPv4 addresses count also where they
    /// come mapped to IPv6.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.ranges.iter().any(|range| range.contains(ip))
    }
}

impl FromIterator<IpRange> for TrustedSources {
    fn from_iter<I: IntoIterator<Item = IpRange>>(ranges: I) -> Self {
        Self { ranges: ranges.into_iter().collect(), ports: Vec::new() }
    }
}

/// Addresses with a prefix in common, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    first: IpAddr,
    bits: u8,
}

impl IpRange {
    fn contains(&self, ip: IpAddr) -> bool {
        let outside = |bits: u8, width: u8| width - bits;
        match (self.first, ip) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => {
                let differ = u64::from(first.to_bits() ^ ip.to_bits());
                differ >> outside(self.bits, 32) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(ip)) => {
                let differ = first.to_bits() ^ ip.to_bits();
                differ.checked_shr(outside(self.bits, 128).into()).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for IpRange {
    type Err = IpRangeError;

    fn from_str(text: &str) -> Result<Self, IpRangeError> {
        let error = || IpRangeError(text.into());
        let (first, bits) = text.split_once('/').map_or((text, None), |(ip, n)| (ip, Some(n)));
        let first: IpAddr = first.parse().map_err(|_| error())?;
        let widest = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(widest), str::parse).map_err(|_| error())?;
        if bits > widest {
            return Err(error());
        }
        Ok(Self { first, bits })
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// A text that names no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of addresses, such as 10.0.0.0/8 or fd00::/8")]
pub struct IpRangeError(Box<str>);

#[cfg(test)]
mod tests;
