//! Connections that changed their protocol: bytes both ways until either side ends.

use gateway_tower::GatewayBody;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use super::body::Exchange;
use crate::upstream::AnswerBody;

/// Bytes that are held for each direction.
const BUFFER: usize = 16 * 1024;

/// Copies bytes once both sides have changed. `backend_body` holds the backend's connection.
pub(super) fn open(
    client: OnUpgrade,
    backend: OnUpgrade,
    backend_body: GatewayBody<AnswerBody>,
    mut exchange: Exchange,
) {
    tokio::spawn(async move {
        let (client, backend) = tokio::join!(client, backend);
        let (Ok(client), Ok(backend)) = (client, backend) else { return };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        let copied = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER).await;
        if let Ok((_, to_client)) = copied {
            exchange.record().bytes = to_client;
            exchange.record().complete = true;
        }
        drop(backend_body);
    });
}
