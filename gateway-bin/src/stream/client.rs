//! A client's connection with what was read from it ahead of time.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::{
    client_hello::{ClientHello, HelloReader},
    proxy_protocol::{self, Proxied},
    relay::Side,
};

/// Bytes that are read at once ahead of time: most hellos are shorter.
const AHEAD: usize = 2048;

/// A client's connection.
///
/// Whoever reads it gets first what was read ahead.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    ahead: Vec<u8>,
    taken: usize,
    peer: SocketAddr,
    /// What a PROXY header told.
    proxied: Option<Proxied>,
}

impl Client {
    /// A connection that was just accepted from `peer`.
    #[must_use]
    pub fn new(socket: TcpStream, peer: SocketAddr) -> Self {
        Self { socket, ahead: Vec::new(), taken: 0, peer, proxied: None }
    }

    /// Where the connection comes from, as far as is known.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.proxied.map_or(self.peer, |proxied| proxied.source)
    }

    /// The client and what it connected to, as far as is known.
    #[must_use]
    pub fn addresses(&self) -> Proxied {
        self.proxied.unwrap_or_else(|| {
            // A connection that has ended already does not know where it ended.
            let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
            let destination = self.socket.local_addr().unwrap_or(unknown);
            Proxied { source: self.peer, destination }
        })
    }

    /// Reads a PROXY header; from then on [`Client::addresses`] are those that it tells.
    ///
    /// Call it for sources in [`proxy_protocol::TrustedSources`] only, and before anything else.
    ///
    /// # Errors
    /// If there is none, or not in time; the connection is then to be closed.
    pub async fn read_proxy_header(&mut self, limit: Duration) -> io::Result<()> {
        let read = timeout(limit, async {
            loop {
                match proxy_protocol::parse(&self.ahead).map_err(invalid)? {
                    Some(header) => return io::Result::Ok(header),
                    None => self.read_ahead(AHEAD).await?,
                }
            }
        });
        let header = read.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        self.ahead.drain(..header.length);
        self.proxied = header.proxied;
        Ok(())
    }

    /// Reads a ClientHello of at most `bytes`, which stays to be read.
    ///
    /// # Errors
    /// If there is none, or not in time. The client has not heard a thing.
    pub async fn read_hello(&mut self, bytes: usize, limit: Duration) -> io::Result<ClientHello> {
        let mut reader = HelloReader::new(bytes);
        let read = timeout(limit, async {
            loop {
                match reader.read(&self.ahead).map_err(invalid)? {
                    Some(hello) => return io::Result::Ok(hello),
                    // INVARIANT: the reader asks for more only below its limit.
                    None => self.read_ahead(bytes.saturating_sub(self.ahead.len())).await?,
                }
            }
        });
        read.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Closes the connection with a reset.
    pub fn reset(self) {
        // A socket that refuses this is closed already.
        let _ = self.socket.set_zero_linger();
    }

    /// The socket, and what was read from it and by nobody yet.
    #[must_use]
    pub fn into_parts(mut self) -> (TcpStream, Vec<u8>) {
        self.ahead.drain(..self.taken);
        (self.socket, self.ahead)
    }

    /// Reads some bytes, at most `most`.
    async fn read_ahead(&mut self, most: usize) -> io::Result<()> {
        loop {
            // A connection that says nothing gets no memory.
            self.socket.readable().await?;
            let begin = self.ahead.len();
            self.ahead.resize(begin + most.clamp(1, AHEAD), 0);
            let read = self.socket.try_read(&mut self.ahead[begin..]);
            self.ahead.truncate(begin + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Side for Client {
    fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn is_raw(&self) -> bool {
        self.ahead.is_empty()
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            return Pin::new(&mut this.socket).poll_read(cx, buffer);
        }
        let rest = &this.ahead[this.taken..];
        let taken = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..taken]);
        this.taken += taken;
        if this.taken == this.ahead.len() {
            (this.ahead, this.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
