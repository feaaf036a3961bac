//! A connection to a backend, byte for byte.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use gateway_core::{backend::Backend, compile::Found};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    select,
};

use super::{
    Client, Streams,
    ended::{Cause, Ended},
    proxy_protocol,
    relay::{Relay, Relayed, Side},
};
use crate::upstream::{BackendTlsUse, Opened};

/// The backend of the next connection or session of a rule.
///
/// It takes a turn of the rule's, so that shares are exact over all workers. Call it once for each
/// connection; afterwards the table is not needed any more.
///
/// # Errors
/// With the reason why the connection is to be refused: no rule, no weight, or the share of a
/// backend that cannot be used.
pub fn choose(found: Option<&Found<'_>>) -> Result<Arc<Backend>, Cause> {
    let rule = found.ok_or(Cause::NoRoute)?.rule;
    let chosen = rule.backends.pick(rule.turns.next()).ok_or(Cause::NoBackend)?;
    chosen.target.clone().map_err(|_| Cause::InvalidBackend)
}

impl Streams {
    /// Serves a connection of a TCP listener to its end, at the backend that [`choose`] found.
    ///
    /// A connection without backend is reset. When `until` is ready, so is one that is open, and
    /// when the future is dropped.
    pub async fn tcp(
        &self,
        client: Client,
        backend: Result<Arc<Backend>, Cause>,
        until: impl Future<Output = ()>,
    ) -> Ended {
        match backend {
            Ok(backend) => {
                let call = Call { backend, tls: BackendTlsUse::AsPolicy };
                self.forward_client(client, call, pin!(until)).await
            }
            Err(cause) => {
                client.reset();
                Ended::refused(cause)
            }
        }
    }

    /// Forwards a connection as it is, what was read ahead first.
    pub(super) async fn forward_client(
        &self,
        client: Client,
        call: Call,
        until: Pin<&mut impl Future<Output = ()>>,
    ) -> Ended {
        let mut first = announcement(&call.backend, &client);
        let (socket, ahead) = client.into_parts();
        if first.is_empty() {
            first = ahead;
        } else {
            first.extend_from_slice(&ahead);
        }
        self.forward(socket, first, call, until).await
    }

    /// Forwards `client`; the backend gets `first` before anything else.
    pub(super) async fn forward(
        &self,
        mut client: impl Side,
        first: Vec<u8>,
        call: Call,
        mut until: Pin<&mut impl Future<Output = ()>>,
    ) -> Ended {
        let mut ended = Ended::refused(Cause::Closed);
        let opened = select! {
            biased;
            () = &mut until => None,
            opened = self.upstream.connect(&call.backend, call.tls) => Some(opened),
        };
        ended.backend = Some(call.backend);
        let (mut backend, leased) = match opened {
            Some(Ok(opened)) => opened,
            failed => {
                if let Some(Err(error)) = failed {
                    ended.cause = Cause::from(&error);
                }
                // The client is dropped next; a socket that refuses this is closed already.
                let _ = client.socket().set_zero_linger();
                return ended;
            }
        };
        ended.endpoint = Some(leased.address());
        let options = &self.options;
        let relay = Relay::new(&mut client, &mut backend, first, options.way, options.idle);
        let mut relay = CutUnlessEnded { relay, ended: false };
        let outcome = select! {
            biased;
            outcome = self.count(&mut relay.relay) => Some(outcome),
            () = until => None,
        };
        if let Some(outcome) = outcome {
            relay.ended = true;
            ended.cause = outcome.into();
        }
        ended.relayed = relay.relay.relayed();
        ended
    }

    /// Runs `relay` and counts its bytes as they go.
    async fn count<C: Side, B: Side>(&self, relay: &mut Relay<'_, C, B>) -> super::relay::Outcome {
        let mut counted = Relayed::default();
        poll_fn(|cx| {
            let polled = Pin::new(&mut *relay).poll(cx);
            let now = relay.relayed();
            self.traffic.moved(std::mem::replace(&mut counted, now), now);
            polled
        })
        .await
    }
}

/// What a backend is told about a connection before its first byte.
pub(super) fn announcement(backend: &Backend, client: &Client) -> Vec<u8> {
    let mut first = Vec::new();
    if let Some(version) = backend.proxy_protocol {
        proxy_protocol::write(version, &client.addresses(), &mut first);
    }
    first
}

/// A relay that is given up resets its connections, so that nobody takes a part for the whole.
struct CutUnlessEnded<'a, C: Side, B: Side> {
    relay: Relay<'a, C, B>,
    ended: bool,
}

impl<C: Side, B: Side> Drop for CutUnlessEnded<'_, C, B> {
    fn drop(&mut self) {
        if !self.ended {
            self.relay.cut();
        }
    }
}

/// Whom a connection goes to and how.
pub(super) struct Call {
    pub(super) backend: Arc<Backend>,
    pub(super) tls: BackendTlsUse,
}

impl Side for Opened {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    fn is_raw(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Opened {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
