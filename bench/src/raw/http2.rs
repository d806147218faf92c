//! HTTP/2 with nothing around it: the h2 crate on this runtime, each request answered by its own body.

#![allow(clippy::disallowed_methods, reason = "the floor has no shard::rt to stand on")]

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, server};
use http::{Request, Response};
use monoio::io::{AsyncReadRent, AsyncWriteRent, Split};

use crate::pipe::Pipe;

/// Serves one connection to its end.
pub(super) async fn respond<S>(stream: S)
where
    S: AsyncReadRent + AsyncWriteRent + Split + 'static,
{
    let Ok(mut connection) = server::handshake(Pipe::on(stream)).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        monoio::spawn(answer(request, respond));
    }
}

/// What cannot be answered any more belongs to a client that is gone.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Option<()> {
    let mut body = request.into_body();
    let mut bytes = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part.ok()?;
        body.flow_control().release_capacity(part.len()).ok()?;
        bytes.extend_from_slice(&part);
    }
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("content-length", bytes.len())
        .header("x-content-type-options", "nosniff")
        .header("date", "Sat, 21 Nov 2026 05:51:19 GMT");
    let mut stream = respond.send_response(response.body(()).ok()?, false).ok()?;
    stream.send_data(bytes.freeze(), true).ok()
}
