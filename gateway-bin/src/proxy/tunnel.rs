//! Connections that changed their protocol: bytes both ways until either side ends, or it is time to.

use gateway_tower::GatewayBody;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

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
}

/// Copies bytes once both sides have changed.
pub(super) fn open(client: OnUpgrade, backend: OnUpgrade, mut exchange: Exchange, hold: Hold) {
    tokio::spawn(async move {
        // All of it, not the fields that are named below.
        let mut hold = hold;
        let (client, backend) = tokio::join!(client, backend);
        let (Ok(client), Ok(backend)) = (client, backend) else { return };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        let copying = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER);
        tokio::select! {
            copied = copying => if let Ok((_, to_client)) = copied {
                exchange.record().bytes = to_client;
                exchange.record().complete = true;
            },
            () = hold.member.time_over() => {}
        }
    });
}
