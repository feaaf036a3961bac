//! Connections that changed their protocol: bytes both ways until either side ends, nothing moves for
//! too long, or it is time to end.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use gateway_tower::GatewayBody;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes},
    time::{Instant, sleep_until},
};

use super::body::Exchange;
use crate::{
    listen::{Member, Place},
    upstream::AnswerBody,
};

/// Bytes that are held for each direction.
const BUFFER: usize = 16 * 1024;

/// What a tunnel keeps for as long as it lasts.
pub(super) struct Hold {
    /// Its place among the connections that are told to end.
    pub(super) member: Member,
    /// Its place within the limits.
    pub(super) _place: Place,
    /// The backend's connection.
    pub(super) _backend: GatewayBody<AnswerBody>,
    /// How long no byte may move.
    pub(super) idle: Duration,
}

/// Copies bytes once both sides have changed.
pub(super) fn open(client: OnUpgrade, backend: OnUpgrade, exchange: Exchange, hold: Hold) {
    let tunnel = Tunnel { exchange, hold, moved: Arc::new(Moved::new()) };
    tokio::spawn(tunnel.run(client, backend));
}

/// A tunnel. However it ends, and be it with its worker, its bytes are accounted for.
struct Tunnel {
    exchange: Exchange,
    hold: Hold,
    moved: Arc<Moved>,
}

impl Tunnel {
    async fn run(mut self, client: OnUpgrade, backend: OnUpgrade) {
        let (client, backend) = match tokio::try_join!(client, backend) {
            Ok(both) => both,
            Err(error) => return self.broke(&error.to_string()),
        };
        // What the change took is not the tunnel's idleness.
        self.moved.touch();
        let moved = Arc::clone(&self.moved);
        let side =
            |io, to_client| Side { io: TokioIo::new(io), moved: Arc::clone(&moved), to_client };
        let (mut client, mut backend) = (side(client, true), side(backend, false));
        let copying = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER);
        tokio::select! {
            // Bytes that have come are passed on before it is asked how long none did.
            biased;
            copied = copying => match copied {
                Ok(_) => self.exchange.record().complete = true,
                Err(error) => self.broke(&error.to_string()),
            },
            () = moved.idle(self.hold.idle) => self.broke("nothing was sent for too long"),
            () = self.hold.member.time_over() => self.broke("the gateway ended it"),
        }
    }

    fn broke(&mut self, detail: &str) {
        self.exchange.record().detail = Some(detail.into());
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.exchange.record().bytes = self.moved.to_client.load(Relaxed);
    }
}

/// What has got through, and when.
#[derive(Debug)]
struct Moved {
    begun: Instant,
    to_client: AtomicU64,
    /// Milliseconds from `begun` to the last byte either way.
    last: AtomicU64,
}

impl Moved {
    fn new() -> Self {
        Self { begun: Instant::now(), to_client: AtomicU64::new(0), last: AtomicU64::new(0) }
    }

    fn add(&self, bytes: usize, to_client: bool) {
        if to_client {
            self.to_client.fetch_add(bytes as u64, Relaxed);
        }
        self.touch();
    }

    fn touch(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Relaxed);
    }

    /// Ready when nothing has moved for the time `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let end = self.begun + Duration::from_millis(self.last.load(Relaxed)) + limit;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// One side, which counts what is written to it.
struct Side {
    io: TokioIo<Upgraded>,
    moved: Arc<Moved>,
    to_client: bool,
}

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Side {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.moved.add(written, self.to_client);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
