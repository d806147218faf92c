//! The floor of a proxied call: a connection of its own to the upstream for each client's, and bytes carried both ways.
//! Whoever takes calls in and passes them on reads and writes at least this often.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the floor has no shard::rt to stand on; this file is where it meets the runtime"
)]

use std::net::SocketAddr;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Split, Splitable};
use monoio::net::TcpStream;

use super::READ_BYTES;

/// Carries one connection to its end.
pub(super) async fn carry<S>(client: S, to: SocketAddr)
where
    S: AsyncReadRent + AsyncWriteRent + Split + 'static,
{
    let Ok(upstream) = TcpStream::connect(to).await else { return };
    if upstream.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    monoio::spawn(copy(from_upstream, to_client));
    copy(from_client, to_upstream).await;
}

async fn copy(mut from: impl AsyncReadRent, mut to: impl AsyncWriteRent) {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        let (result, slice) = from.read(bytes.slice_mut(0..READ_BYTES)).await;
        bytes = slice.into_inner();
        let Ok(len @ 1..) = result else { break };
        bytes.truncate(len);
        let (result, back) = to.write_all(bytes).await;
        bytes = back;
        if result.is_err() {
            break;
        }
    }
    // The other side is told; it can fail only where it has gone already.
    let _gone = to.shutdown().await;
}
