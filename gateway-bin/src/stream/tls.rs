//! A port with TLS listeners: passed through, ended here, or HTTPS, as the server name says.
//!
//! In: an accepted connection. Out: its end, or for HTTPS the connection with its hello still to be
//! read. A client that no listener or route serves hears nothing: its connection is closed, without
//! an alert. Not here: certificates and the rest of HTTPS.

use std::{future::Future, io, pin::pin, sync::Arc};

use gateway_core::resolve::topology::{BindKey, Listener, ListenerProtocol};
use gateway_tower::{OwnedMatch, TableHandle};
use rustls::ServerConfig;
use tokio::{net::TcpStream, select, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Client, Streams,
    ended::{Cause, Ended},
    relay::Side,
    tcp::{Call, announcement, choose},
};
use crate::upstream::BackendTlsUse;

/// Where the certificates of listeners come from.
pub trait TlsConfigs {
    /// How TLS is ended for `listener`; none if it has no usable certificate. For listeners of
    /// [`ListenerProtocol::TlsTerminate`] without ALPN.
    fn server_config(&self, listener: &Listener) -> Option<Arc<ServerConfig>>;
}

/// What became of a TLS connection.
#[derive(Debug)]
pub enum TlsOutcome {
    /// It has ended.
    Ended(Ended),
    /// It belongs to an HTTPS listener.
    Https(Box<HttpsClient>),
}

/// A connection of an HTTPS listener, before its handshake.
#[derive(Debug)]
pub struct HttpsClient {
    /// The connection; whoever reads it gets the ClientHello first.
    pub client: Client,
    /// The listener that the server name has chosen.
    pub listener: Arc<Listener>,
    /// The server name.
    pub sni: Option<Box<str>>,
}

impl Streams {
    /// Serves a connection of a socket with TLS listeners, up to the point where it is clear that
    /// it is HTTPS.
    ///
    /// When `until` is ready, a connection that is open is reset.
    pub async fn tls(
        &self,
        mut client: Client,
        bind: &BindKey,
        table: &TableHandle,
        configs: &impl TlsConfigs,
        until: impl Future<Output = ()>,
    ) -> TlsOutcome {
        let mut until = pin!(until);
        let hello = select! {
            biased;
            () = &mut until => return TlsOutcome::Ended(Ended::refused(Cause::Closed)),
            hello = client.read_hello(self.options.hello_bytes, self.options.hello_time) => hello,
        };
        let Ok(hello) = hello else { return TlsOutcome::Ended(Ended::refused(Cause::BadHello)) };
        let sni = hello.sni;
        let mut matched = None;
        let mut ended = match dispatch(bind, table, sni.as_deref(), &mut matched) {
            Ok(Dispatch::Https(listener)) => {
                return TlsOutcome::Https(Box::new(HttpsClient { client, listener, sni }));
            }
            Ok(Dispatch::Passthrough(call)) => self.forward_client(client, call, until).await,
            Ok(Dispatch::Terminate(listener, call)) => {
                let first = announcement(&call.backend, &client);
                let config = configs.server_config(&listener);
                let shaken = select! {
                    biased;
                    () = &mut until => Err(Cause::Closed),
                    shaken = self.shake_hands(client, config, sni.as_deref()) => shaken,
                };
                match shaken {
                    Ok(stream) => self.forward(stream, first, call, until).await,
                    Err(cause) => Ended::refused(cause),
                }
            }
            Err(cause) => Ended::refused(cause),
        };
        (ended.matched, ended.sni) = (matched, sni);
        TlsOutcome::Ended(ended)
    }

    async fn shake_hands(
        &self,
        client: Client,
        config: Option<Arc<ServerConfig>>,
        sni: Option<&str>,
    ) -> Result<TlsStream<Client>, Cause> {
        let config = config.ok_or(Cause::Handshake)?;
        let shaken = timeout(self.options.handshake_time, TlsAcceptor::from(config).accept(client));
        let stream = shaken.await.map_err(io::Error::from).flatten();
        let stream = stream.map_err(|_| Cause::Handshake)?;
        // INVARIANT: route and certificate were chosen by one name. The two readers of the hello
        // agree; should they ever not, nobody is served.
        let theirs = stream.get_ref().1.server_name();
        let theirs = theirs.map(|name| name.strip_suffix('.').unwrap_or(name));
        let agree = match (sni, theirs) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (None, None) => true,
            _ => false,
        };
        agree.then_some(stream).ok_or(Cause::Handshake)
    }
}

/// What a server name leads to.
enum Dispatch {
    Https(Arc<Listener>),
    Passthrough(Call),
    Terminate(Arc<Listener>, Call),
}

// SPEC: a share without usable backend is refused before anything is answered, so a turn is taken
// before the handshake.
fn dispatch(
    bind: &BindKey,
    table: &TableHandle,
    sni: Option<&str>,
    matched: &mut Option<OwnedMatch>,
) -> Result<Dispatch, Cause> {
    let table = table.load();
    let bind = table.bind(bind).ok_or(Cause::NoListener)?;
    let listener = table.listener_for_sni(bind, sni).ok_or(Cause::NoListener)?;
    let mut call = |tls| {
        let found = table.find_stream(bind, sni);
        let backend = choose(found.as_ref());
        *matched = found.map(|found| OwnedMatch::of(&found, backend.as_ref().ok()));
        Ok(Call { backend: backend?, tls })
    };
    match &listener.protocol {
        ListenerProtocol::Https(_) => Ok(Dispatch::Https(Arc::clone(listener))),
        ListenerProtocol::TlsPassthrough => {
            call(BackendTlsUse::Passthrough).map(Dispatch::Passthrough)
        }
        ListenerProtocol::TlsTerminate(_) => {
            let call = call(BackendTlsUse::AsPolicy)?;
            Ok(Dispatch::Terminate(Arc::clone(listener), call))
        }
        ListenerProtocol::Http | ListenerProtocol::Tcp | ListenerProtocol::Udp => {
            Err(Cause::NoListener)
        }
    }
}

impl Side for TlsStream<Client> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.socket()
    }

    fn is_raw(&self) -> bool {
        false
    }
}
