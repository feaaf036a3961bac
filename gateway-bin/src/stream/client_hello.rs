//! The server name that a TLS client asks for, before anything is answered.
//!
//! In: the first bytes of a connection, in whatever pieces they come. Out: the server name, or why
//! there is none to be had. Not here: any answer. A refused client hears nothing, not even an alert,
//! and a backend gets the very bytes that the client sent.
//!
//! This reads the message itself rather than by `rustls::server::Acceptor`, because passthrough is
//! wider than what rustls speaks: the Acceptor refuses hellos without `signature_algorithms`, such
//! as those of TLS 1.0, which a backend may well understand. A test holds both to the same names.

use rustls::pki_types::DnsName;

/// A record of TLS 1.3 or older carries at most this much plain text (RFC 8446 section 5.1).
const LONGEST_RECORD: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME_EXTENSION: u16 = 0;
const HOST_NAME: u8 = 0;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name without trailing dot, in the client's letter case.
    pub sni: Option<Box<str>>,
}

/// Why bytes are no hello that could be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// They are no TLS.
    #[error("the client does not speak TLS")]
    NotTls,
    /// They begin as TLS and break its rules.
    #[error("the client's hello is malformed: {0}")]
    Malformed(&'static str),
    /// They are more than a hello may have.
    #[error("the client's hello is too long")]
    TooLong,
}

/// Puts a hello together from records, each looked at once.
#[derive(Debug)]
pub struct HelloReader {
    /// The most bytes of the hello with its record headers.
    limit: usize,
    /// Where the next record begins.
    next: usize,
    message: Vec<u8>,
}

impl HelloReader {
    /// A reader that refuses hellos of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, next: 0, message: Vec::new() }
    }

    /// Looks at all that has come so far; each call has the bytes of the one before and more.
    /// `None` asks for more.
    ///
    /// ```
    /// use gateway_bin::stream::client_hello::{HelloError, HelloReader};
    ///
    /// let mut reader = HelloReader::new(64 * 1024);
    /// assert_eq!(reader.read(&[22, 3, 1]), Ok(None));
    /// assert_eq!(HelloReader::new(64).read(b"GET / HTTP/1.1\r\n"), Err(HelloError::NotTls));
    /// ```
    ///
    /// # Errors
    /// If no further byte could make it a hello.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        while let Some(record) = self.record(bytes)? {
            self.next += RECORD_HEADER + record.len();
            self.message.extend_from_slice(record);
            if let Some(message) = self.whole_message()? {
                let hello = parse(message).ok_or(HelloError::Malformed("its lengths disagree"))?;
                return hello.map(Some);
            }
        }
        if bytes.len() >= self.limit { Err(HelloError::TooLong) } else { Ok(None) }
    }

    /// The content of the next record, if all of it is there.
    fn record<'b>(&self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, HelloError> {
        let rest = bytes.get(self.next..).unwrap_or(&[]);
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE_RECORD)
            || rest.get(1).is_some_and(|major| *major != 3)
        {
            let first = self.next == 0;
            return Err(if first {
                HelloError::NotTls
            } else {
                HelloError::Malformed("another record comes in its middle")
            });
        }
        let Some(&[_, _, _, high, low]) = rest.get(..RECORD_HEADER) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > LONGEST_RECORD {
            return Err(HelloError::Malformed("a record is empty or too long"));
        }
        if self.next + RECORD_HEADER + length > self.limit {
            return Err(HelloError::TooLong);
        }
        Ok(rest.get(RECORD_HEADER..RECORD_HEADER + length))
    }

    /// The body of the hello, if all of it is there.
    fn whole_message(&self) -> Result<Option<&[u8]>, HelloError> {
        if self.message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloError::Malformed("the first message is another"));
        }
        let Some(&[_, high, middle, low]) = self.message.get(..MESSAGE_HEADER) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > self.limit {
            return Err(HelloError::TooLong);
        }
        Ok(self.message.get(MESSAGE_HEADER..MESSAGE_HEADER + length))
    }
}

/// Takes fields off the front of a message; none if it is too short for them.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// What follows a length of so many bytes.
    fn vector(&mut self, length_bytes: usize) -> Option<Self> {
        let length = self.number(length_bytes)?;
        self.take(length).map(Self)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads a ClientHello (RFC 8446 section 4.1.2; the same since TLS 1.0). None if lengths disagree.
fn parse(message: &[u8]) -> Option<Result<ClientHello, HelloError>> {
    let mut fields = Fields(message);
    let _version = fields.take(2)?;
    let _random = fields.take(32)?;
    let _session = fields.vector(1)?;
    let _cipher_suites = fields.vector(2)?;
    let _compression_methods = fields.vector(1)?;
    if fields.is_empty() {
        return Some(Ok(ClientHello::default()));
    }
    let mut extensions = fields.vector(2)?;
    if !fields.is_empty() {
        return None;
    }
    let mut names = None;
    while !extensions.is_empty() {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        if kind == usize::from(SERVER_NAME_EXTENSION) && names.replace(content).is_some() {
            return Some(Err(HelloError::Malformed("it has two lists of server names")));
        }
    }
    let Some(names) = names else { return Some(Ok(ClientHello::default())) };
    server_name(names).map(|sni| sni.map(|sni| ClientHello { sni }))
}

// SPEC: RFC 6066 section 3: one name of type host_name, which is no address. With two names the
// listener could be chosen by one and the backend by the other.
fn server_name(mut extension: Fields<'_>) -> Option<Result<Option<Box<str>>, HelloError>> {
    let mut names = extension.vector(2)?;
    if names.number(1)? != usize::from(HOST_NAME) {
        return Some(Err(HelloError::Malformed("its server name is of an unknown type")));
    }
    let name = names.vector(2)?.0;
    if !names.is_empty() || !extension.is_empty() {
        return Some(Err(HelloError::Malformed("it has two server names")));
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    let text = std::str::from_utf8(name).unwrap_or_default();
    if text.parse::<std::net::IpAddr>().is_ok() {
        // Some clients do it nevertheless; like rustls, take it as if there was no name.
        return Some(Ok(None));
    }
    Some(match DnsName::try_from(text) {
        Ok(_) => Ok(Some(text.into())),
        Err(_) => Err(HelloError::Malformed("its server name is no DNS name")),
    })
}

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::Arc};

    use proptest::prelude::*;
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName, server::Acceptor,
    };

    use super::{ClientHello, HelloError, HelloReader};

    const LIMIT: usize = 64 * 1024;

    /// What rustls sends first when it asks for `name`.
    fn hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a vector takes all");
        bytes
    }

    /// A hello with nothing but these extensions.
    fn hello_with(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        let mut list = Vec::new();
        for (kind, content) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend(u16::try_from(content.len()).expect("short").to_be_bytes());
            list.extend_from_slice(content);
        }
        if !extensions.is_empty() {
            body.extend(u16::try_from(list.len()).expect("short").to_be_bytes());
            body.extend(list);
        }
        let mut message = vec![1, 0];
        message.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
        message.extend(body);
        message
    }

    fn names(names: &[(u8, &str)]) -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, name) in names {
            list.push(*kind);
            list.extend(u16::try_from(name.len()).expect("short").to_be_bytes());
            list.extend(name.as_bytes());
        }
        let mut extension = u16::try_from(list.len()).expect("short").to_be_bytes().to_vec();
        extension.extend(list);
        extension
    }

    /// `message` in records of at most `size` bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in message.chunks(size) {
            bytes.extend([22, 3, 1]);
            bytes.extend(u16::try_from(part.len()).expect("short").to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        HelloReader::new(LIMIT).read(bytes)
    }

    #[track_caller]
    fn check(extensions: &[(u16, &[u8])], expect: Result<Option<&str>, &'static str>) {
        let bytes = records(&hello_with(extensions), 16_384);
        let expect = match expect {
            Ok(sni) => Ok(Some(ClientHello { sni: sni.map(Into::into) })),
            Err(reason) => Err(HelloError::Malformed(reason)),
        };
        assert_eq!(read(&bytes), expect);
    }

    #[test]
    fn names_of_every_kind() {
        let one = |name| names(&[(0, name)]);
        check(&[], Ok(None));
        check(&[(10, &[0, 2, 0, 29])], Ok(None));
        check(&[(10, &[0, 2, 0, 29]), (0, &one("a.example"))], Ok(Some("a.example")));
        check(&[(0, &one("A.Example."))], Ok(Some("A.Example")));
        check(&[(0, &one("a_b.example"))], Ok(Some("a_b.example")));
        check(&[(0, &one("10.0.0.1"))], Ok(None));
        check(&[(0, &one("::1"))], Ok(None));
        check(&[(0, &one(""))], Err("its server name is no DNS name"));
        check(&[(0, &one("a\0.example"))], Err("its server name is no DNS name"));
        check(&[(0, &one("*.example"))], Err("its server name is no DNS name"));
        check(&[(0, &names(&[(7, "a")]))], Err("its server name is of an unknown type"));
        check(&[(0, &names(&[(0, "a"), (0, "b")]))], Err("it has two server names"));
        check(&[(0, &one("a")), (0, &one("b"))], Err("it has two lists of server names"));
        check(&[(0, &[])], Err("its lengths disagree"));
        check(&[(0, &[0, 9, 0, 0, 1, b'a'])], Err("its lengths disagree"));
    }

    #[test]
    fn records_may_be_as_small_as_they_like() {
        let message = hello_with(&[(0, &names(&[(0, "a.example")]))]);
        let expect = Ok(Some(ClientHello { sni: Some("a.example".into()) }));
        for size in 1..=message.len() {
            assert_eq!(read(&records(&message, size)), expect, "records of {size}");
        }
    }

    #[test]
    fn what_is_no_hello() {
        let malformed = |reason| Err(HelloError::Malformed(reason));
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(b"G"), Err(HelloError::NotTls));
        assert_eq!(read(&[22, 2]), Err(HelloError::NotTls));
        // SSL 2.0
        assert_eq!(read(&[0x80, 0x2e, 1, 3, 1]), Err(HelloError::NotTls));
        assert_eq!(read(&[22, 3, 1, 0, 0]), malformed("a record is empty or too long"));
        assert_eq!(read(&[22, 3, 1, 0x40, 1]), malformed("a record is empty or too long"));
        assert_eq!(read(&[22, 3, 1, 0, 1, 2]), malformed("the first message is another"));
        let mut cut = records(&hello_with(&[]), 10);
        cut[15] = 21;
        assert_eq!(read(&cut), malformed("another record comes in its middle"));
        assert_eq!(read(&[22, 3, 1, 0, 4, 1, 1, 0, 1]), Err(HelloError::TooLong));
    }

    #[test]
    fn the_limit_holds_whole_and_in_crumbs() {
        let padding = vec![0; 5000];
        let message = hello_with(&[(21, &padding), (0, &names(&[(0, "a.example")]))]);
        let whole = records(&message, 16_384);
        assert!(HelloReader::new(whole.len()).read(&whole).is_ok());
        assert_eq!(HelloReader::new(whole.len() - 1).read(&whole), Err(HelloError::TooLong));
        let crumbs = records(&message, 1);
        let mut reader = HelloReader::new(whole.len());
        let ended = (0..crumbs.len()).find_map(|end| reader.read(&crumbs[..end]).err());
        assert_eq!(ended, Some(HelloError::TooLong));
    }

    #[test]
    fn hellos_that_rustls_refuses_pass() {
        let bytes = records(&hello_with(&[(0, &names(&[(0, "old.example")]))]), 16_384);
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &*bytes).expect("bytes");
        assert!(acceptor.accept().is_err());
        assert_eq!(read(&bytes), Ok(Some(ClientHello { sni: Some("old.example".into()) })));
    }

    proptest! {
        #[test]
        fn rustls_finds_the_same_name(name in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){0,4}") {
            prop_assume!(ServerName::try_from(name.clone()).is_ok());
            let bytes = hello(&name);
            let mut acceptor = Acceptor::default();
            let mut rest = &*bytes;
            while !rest.is_empty() {
                acceptor.read_tls(&mut rest.by_ref().take(512)).expect("bytes");
            }
            let accepted = acceptor.accept().expect("a hello").expect("a whole hello");
            let theirs = accepted.client_hello().server_name().map(Into::into);
            prop_assert_eq!(read(&bytes), Ok(Some(ClientHello { sni: theirs })));
        }

        #[test]
        fn pieces_make_no_difference(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let bytes = records(&hello_with(&[(0, &names(&[(0, "a.example")]))]), 13);
            let mut reader = HelloReader::new(LIMIT);
            let mut end = 0;
            let mut found = Ok(None);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                end = (end + cut).min(bytes.len());
                found = reader.read(&bytes[..end]);
                if found != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(found, read(&bytes));
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read(&records(&bytes, 50));
            let mut message = hello_with(&[(0, &names(&[(0, "a.example")]))]);
            for (place, byte) in message.iter_mut().zip(&bytes) {
                *place ^= byte & (byte >> 4);
            }
            let _ = read(&records(&message, 16_384));
        }
    }
}
