//! A connection of the stream's server, and how long it may stay.
//!
//! In: a connection, and its place among the strangers. Out: the same connection, which fails when it
//! is to end: before its peer has a stream when that takes too long or the place is needed, and after
//! that when the stream has ended by itself. Not here: who gets a stream (`service`).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};
use tonic::transport::server::Connected;

use super::{share::Peer, strangers::Place};

/// How long one may take from the handshake until it has a stream.
const INTRODUCTION: Duration = Duration::from_secs(15);

/// How long a connection lasts: somewhat longer than the stream that it is for.
const LONGEST: Duration = Duration::from_secs(3600 + 60);

/// What a request can tell of its connection.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    peer: Peer,
    place: Arc<Place>,
}

impl Arrival {
    pub(super) fn new(peer: Peer, place: Place) -> Self {
        Self { peer, place: Arc::new(place) }
    }

    /// Who is at the other end, as far as its address tells.
    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// It has a stream.
    pub(super) fn welcome(&self) {
        self.place.welcome();
    }
}

/// A connection. `Kept` is given back when it ends.
pub(super) struct Connection<S, Kept> {
    stream: S,
    arrival: Arrival,
    /// None once its peer is known.
    fate: Option<oneshot::Receiver<()>>,
    end: Pin<Box<Sleep>>,
    _kept: Kept,
}

impl<S, Kept> Connection<S, Kept> {
    pub(super) fn new(
        stream: S,
        arrival: Arrival,
        fate: oneshot::Receiver<()>,
        kept: Kept,
    ) -> Self {
        let end = Box::pin(sleep(INTRODUCTION));
        Self { stream, arrival, fate: Some(fate), end, _kept: kept }
    }

    /// # Errors
    /// If it is to end.
    fn stay(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(fate) = &mut self.fate
            && let Poll::Ready(fate) = Pin::new(fate).poll(context)
        {
            // The channel is not asked again.
            self.fate = None;
            let lasts = fate.map_or(Duration::ZERO, |()| LONGEST);
            self.end.as_mut().reset(Instant::now() + lasts);
        }
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S, Kept> Connected for Connection<S, Kept> {
    type ConnectInfo = Arrival;

    fn connect_info(&self) -> Arrival {
        self.arrival.clone()
    }
}

impl<S: AsyncRead + Unpin, Kept: Unpin> AsyncRead for Connection<S, Kept> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stay(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

// A peer that takes nothing is not read from, so writing has to end as well.
impl<S: AsyncWrite + Unpin, Kept: Unpin> AsyncWrite for Connection<S, Kept> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stay(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stay(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stay(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, net::Ipv4Addr};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{Instant, timeout},
    };

    use super::{Arrival, Connection, INTRODUCTION, LONGEST};
    use crate::config_stream::{share::Peer, strangers::Strangers};

    fn connect(strangers: &Strangers) -> (Connection<DuplexStream, ()>, Arrival, DuplexStream) {
        let peer = Peer::of(Ipv4Addr::LOCALHOST.into());
        let (place, fate) = strangers.admit(peer);
        let arrival = Arrival::new(peer, place);
        let (near, far) = duplex(16);
        (Connection::new(near, arrival.clone(), fate, ()), arrival, far)
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_who_it_is_has_to_go() {
        let (mut connection, _arrival, _far) = connect(&Strangers::default());
        let begun = Instant::now();
        let read = connection.read_u8().await;
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), INTRODUCTION.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn neither_does_it_help_to_take_nothing() {
        let (mut connection, _arrival, _far) = connect(&Strangers::default());
        let written = connection.write_all(&[0; 64]).await;
        assert_eq!(written.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_known_may_stay_for_a_stream() {
        let (mut connection, arrival, mut far) = connect(&Strangers::default());
        let begun = Instant::now();
        arrival.welcome();
        assert!(timeout(2 * INTRODUCTION, connection.read_u8()).await.is_err());
        far.write_u8(7).await.expect("it is open");
        assert_eq!(connection.read_u8().await.ok(), Some(7));
        let read = connection.read_u8().await;
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), LONGEST.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_stranger_goes_when_its_place_is_needed() {
        let strangers = Strangers::default();
        let (mut first, _arrival, _far) = connect(&strangers);
        let more: Vec<_> = (0..64).map(|_| connect(&strangers)).collect();
        let begun = Instant::now();
        let read = first.read_u8().await;
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
        assert_eq!((begun.elapsed().as_secs(), more.len()), (0, 64));
    }
}
