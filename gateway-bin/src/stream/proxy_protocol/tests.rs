use std::net::SocketAddr;

use proptest::prelude::*;

use super::{
    IpRange, Proxied, ProxyError, ProxyHeader, SIGNATURE, TrustedSources, Version, parse, write,
};

fn proxied(source: &str, destination: &str) -> Option<Proxied> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Some(Proxied { source: address(source), destination: address(destination) })
}

fn v2(version_and_command: u8, family: u8, length: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version_and_command, family]);
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

#[track_caller]
fn check(bytes: &[u8], expect: Option<Proxied>) {
    let expect = Ok(Some(ProxyHeader { proxied: expect, length: bytes.len() }));
    assert_eq!(parse(bytes), expect);
    let followed = [bytes, b"\r\nand more".as_slice()].concat();
    assert_eq!(parse(&followed), expect);
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(None), "{end} bytes of {bytes:?}");
    }
}

#[track_caller]
fn check_refused(bytes: &[u8], expect: ProxyError) {
    assert_eq!(parse(bytes), Err(expect));
}

#[test]
fn version_1() {
    check(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 65535\r\n", proxied("1.2.3.4:9", "5.6.7.8:65535"));
    check(b"PROXY TCP6 ::1 fd00::2 0 443\r\n", proxied("[::1]:0", "[fd00::2]:443"));
    check(b"PROXY UNKNOWN\r\n", None);
    check(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", None);
}

#[test]
fn version_1_that_is_malformed() {
    let malformed = ProxyError::Malformed;
    let unreadable = malformed("an address or port cannot be read");
    let fields = malformed("it has not two addresses and two ports");
    check_refused(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 65536\r\n", unreadable);
    check_refused(b"PROXY TCP4 1.2.3.4 5.6.7.8 +9 80\r\n", unreadable);
    check_refused(b"PROXY TCP4 1.2.3.4 5.6.7.8 09 80\r\n", unreadable);
    check_refused(b"PROXY TCP4 1.2.3.04 5.6.7.8 9 80\r\n", unreadable);
    check_refused(b"PROXY TCP4 ::1 ::2 9 80\r\n", unreadable);
    check_refused(b"PROXY TCP6 fe80::1%eth0 ::2 9 80\r\n", unreadable);
    check_refused(b"PROXY TCP4  1.2.3.4 5.6.7.8 9 80\r\n", fields);
    check_refused(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80 \r\n", fields);
    check_refused(b"PROXY TCP4\r\n", fields);
    check_refused(b"PROXY UDP4 1.2.3.4 5.6.7.8 9 80\r\n", malformed("its protocol is unknown"));
    check_refused(b"PROXY tcp4 1.2.3.4 5.6.7.8 9 80\r\n", malformed("its protocol is unknown"));
    check_refused(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80\n", malformed("its line ends without CR"));
    check_refused(b"PROXY \xff\r\n", malformed("it is no ASCII"));
    check_refused(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(), ProxyError::TooLong);
}

#[test]
fn version_2() {
    let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 1, 187];
    check(&v2(0x21, 0x11, 12, &v4), proxied("1.2.3.4:9", "5.6.7.8:443"));
    check(&v2(0x21, 0x12, 12, &v4), proxied("1.2.3.4:9", "5.6.7.8:443"));
    let mut v6 = [0; 36];
    (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
    check(&v2(0x21, 0x21, 36, &v6), proxied("[::1]:3", "[::2]:4"));
    let with_extension = [&v4[..], &[4, 0, 1, 0]].concat();
    check(&v2(0x21, 0x11, 16, &with_extension), proxied("1.2.3.4:9", "5.6.7.8:443"));
    check(&v2(0x20, 0, 0, &[]), None);
    check(&v2(0x20, 0x11, 12, &v4), None);
    check(&v2(0x21, 0, 3, &[1, 2, 3]), None);
    check(&v2(0x21, 0x31, 216, &[b'/'; 216]), None);
}

#[test]
fn version_2_that_is_malformed() {
    let malformed = ProxyError::Malformed;
    check_refused(&v2(0x11, 0x11, 12, &[0; 12]), malformed("its version is unknown"));
    check_refused(&v2(0x22, 0x11, 12, &[0; 12]), malformed("its command is unknown"));
    check_refused(&v2(0x21, 0x41, 12, &[0; 12]), malformed("its address family is unknown"));
    check_refused(&v2(0x21, 0x11, 11, &[0; 11]), malformed("it is too short for its addresses"));
    check_refused(&v2(0x21, 0x21, 35, &[0; 35]), malformed("it is too short for its addresses"));
    check_refused(&v2(0x21, 0x11, u16::MAX, &[]), ProxyError::TooLong);
}

#[test]
fn what_is_no_header() {
    check_refused(b"GET / HTTP/1.1\r\n", ProxyError::Missing);
    check_refused(b"PROXYv", ProxyError::Missing);
    check_refused(b"\r\n\r\n\0\r\nQUIT\r", ProxyError::Missing);
    check_refused(&[22, 3, 1], ProxyError::Missing);
}

#[test]
fn families_that_differ_are_mapped() {
    let mixed = proxied("1.2.3.4:5", "[::1]:6").expect("addresses");
    let mapped = proxied("[::ffff:1.2.3.4]:5", "[::1]:6");
    for version in [Version::V1, Version::V2] {
        let mut bytes = Vec::new();
        write(version, &mixed, &mut bytes);
        assert_eq!(parse(&bytes).map(|header| header.and_then(|h| h.proxied)), Ok(mapped));
    }
}

#[track_caller]
fn check_range(range: &str, inside: &[&str], outside: &[&str]) {
    let range: IpRange = range.parse().expect("a range");
    let sources = TrustedSources::from_iter([range]);
    for ip in inside {
        assert!(sources.contains(ip.parse().expect("an address")), "{ip} in {range}");
    }
    for ip in outside {
        assert!(!sources.contains(ip.parse().expect("an address")), "{ip} not in {range}");
    }
}

#[test]
fn ranges() {
    check_range("10.0.0.0/8", &["10.0.0.0", "10.255.1.2", "::ffff:10.1.1.1"], &["11.0.0.0", "::"]);
    check_range("0.0.0.0/0", &["1.2.3.4", "255.255.255.255"], &["::1"]);
    check_range("192.0.2.1", &["192.0.2.1"], &["192.0.2.0"]);
    check_range("fd00::/8", &["fd00::1", "fdff::"], &["fe00::", "1.2.3.4"]);
    check_range("::/0", &["::1", "ffff::"], &["1.2.3.4"]);
    for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "a/8", "10.0.0.0/8/8"] {
        assert!(bad.parse::<IpRange>().is_err(), "{bad}");
    }
    assert!(!TrustedSources::default().contains([127, 0, 0, 1].into()));
}

proptest! {
    #[test]
    fn what_is_written_is_read(source: SocketAddrs, v1: bool) {
        let version = if v1 { Version::V1 } else { Version::V2 };
        let mut bytes = Vec::new();
        write(version, &source.0, &mut bytes);
        let expect = ProxyHeader { proxied: Some(source.0), length: bytes.len() };
        prop_assert_eq!(parse(&bytes), Ok(Some(expect)));
    }

    #[test]
    fn nothing_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), how in 0..4) {
        let begin: &[u8] = match how {
            0 => b"PROXY TCP4 ",
            1 => b"PROXY TCP6 ",
            2 => SIGNATURE,
            _ => b"",
        };
        bytes.splice(..0, begin.iter().copied());
        if let Ok(Some(header)) = parse(&bytes) {
            prop_assert!(header.length <= bytes.len());
        }
    }
}

/// Two addresses of one family.
#[derive(Clone, Debug)]
struct SocketAddrs(Proxied);

impl Arbitrary for SocketAddrs {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let v4 = any::<[([u8; 4], u16); 2]>().prop_map(|pair| pair.map(SocketAddr::from));
        let v6 = any::<[([u8; 16], u16); 2]>().prop_map(|pair| pair.map(SocketAddr::from));
        let both = |[source, destination]: [SocketAddr; 2]| Self(Proxied { source, destination });
        prop_oneof![v4, v6].prop_map(both).boxed()
    }
}
