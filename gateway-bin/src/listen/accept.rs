//! Taking connections from a socket, within limits.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, time::sleep};

use super::{BindState, connection, drain::Counted};
use crate::proxy::Proxy;

/// The pause after the system could not give a connection, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts until `closed` changes, then takes what has already arrived and closes the socket.
pub(crate) async fn accept(
    listener: TcpListener,
    bind: Arc<BindState>,
    proxy: Arc<Proxy>,
    all: Arc<AtomicUsize>,
    mut closed: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => begin(socket, peer, &bind, &proxy, &all),
            Err(_) => {
                proxy.telemetry().accept_failed(&bind.label);
                sleep(PAUSE).await;
            }
        }
    }
    // The kernel resets what it has queued for a socket that is closed.
    while let Some(Ok((socket, peer))) = now_or_never(listener.accept()).await {
        begin(socket, peer, &bind, &proxy, &all);
    }
}

fn begin(
    socket: tokio::net::TcpStream,
    peer: std::net::SocketAddr,
    bind: &Arc<BindState>,
    proxy: &Arc<Proxy>,
    all: &Arc<AtomicUsize>,
) {
    let limits = proxy.limits();
    let counted = Counted::try_new(&bind.connections, limits.connections_per_bind)
        .and_then(|here| Some((here, Counted::try_new(all, limits.connections)?)));
    let Some(counted) = counted else {
        proxy.telemetry().connection_refused(&bind.label);
        return;
    };
    let (bind, proxy) = (Arc::clone(bind), Arc::clone(proxy));
    let member = bind.drain.join();
    tokio::spawn(async move {
        connection::serve(socket, peer, bind, proxy, member).await;
        drop(counted);
    });
}

async fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}
