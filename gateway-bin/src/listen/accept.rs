//! Taking connections and datagrams from a socket, within limits.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    time::sleep,
};

use super::{BindKind, BindState, Serve, Server, connection, drain::Counted};
use crate::telemetry::{StreamProtocol, StreamRecord};

/// The pause after the system could not give a connection, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Begins to serve a socket.
///
/// # Errors
/// If the runtime does not take it.
pub(crate) fn begin(serve: Serve, server: &Arc<Server>) -> io::Result<()> {
    let Serve { socket, bind, closed } = serve;
    let server = Arc::clone(server);
    if bind.kind == BindKind::Udp {
        let socket = UdpSocket::from_std(socket.into())?;
        tokio::spawn(take_datagrams(socket, bind, server, closed));
    } else {
        let listener = TcpListener::from_std(socket.into())?;
        tokio::spawn(accept(listener, bind, server, closed));
    }
    Ok(())
}

/// Takes datagrams until `closed` changes. Sessions end with the socket, since their answers leave
/// from it.
async fn take_datagrams(
    socket: UdpSocket,
    bind: Arc<BindState>,
    server: Arc<Server>,
    mut closed: watch::Receiver<bool>,
) {
    let until = async {
        // The program is gone if this fails.
        let _ = closed.wait_for(|closed| *closed).await;
    };
    let (proxy, label) = (Arc::clone(&server.proxy), Arc::clone(&bind.label));
    let port = bind.udp.clone().on_end(move |session| {
        // The others are counted only: a flood from forged sources would fill the log.
        if session.answered {
            proxy.telemetry().stream_ended(&StreamRecord {
                begun: session.begun,
                protocol: StreamProtocol::Udp,
                peer: session.client,
                bind: Arc::clone(&label),
                ended: session.ended,
            });
        }
    });
    server.streams.udp(socket, &port, &server.table, until).await;
}

/// Accepts until `closed` changes, then takes what has already arrived and closes the socket.
async fn accept(
    listener: TcpListener,
    bind: Arc<BindState>,
    server: Arc<Server>,
    mut closed: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => take(socket, peer, &bind, &server),
            Err(_) => {
                server.proxy.telemetry().accept_failed(&bind.label);
                sleep(PAUSE).await;
            }
        }
    }
    take_queued(listener, &bind, &server);
    // Whoever waits for the socket to be closed is told by the end of `closed`.
    drop(closed);
}

/// The kernel resets what it has queued for a socket that is closed, so that is taken before. It is
/// asked itself, since the runtime may not have heard of the last connections yet.
fn take_queued(listener: TcpListener, bind: &Arc<BindState>, server: &Arc<Server>) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((socket, peer)) = listener.accept() {
        if socket.set_nonblocking(true).is_ok()
            && let Ok(socket) = tokio::net::TcpStream::from_std(socket)
        {
            take(socket, peer, bind, server);
        }
    }
}

fn take(
    socket: tokio::net::TcpStream,
    peer: std::net::SocketAddr,
    bind: &Arc<BindState>,
    server: &Arc<Server>,
) {
    let limits = server.proxy.limits();
    let counted = Counted::try_new(&bind.connections, limits.connections_per_bind)
        .and_then(|here| Some((here, Counted::try_new(&server.connections, limits.connections)?)));
    let Some(place) = counted.map(Arc::new) else {
        server.proxy.telemetry().connection_refused(&bind.label);
        return;
    };
    let (bind, server) = (Arc::clone(bind), Arc::clone(server));
    let member = bind.drain.join();
    tokio::spawn(async move {
        connection::serve(socket, peer, bind, server, member, place).await;
    });
}
