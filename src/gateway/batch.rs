//! Replies, and the batches some of them belong to (MCP 2025-03-26 only): a batch's answers leave
//! together, as one array, when the last of them is there.

use super::client::{Client, ClientKey};
use super::door::Effects;
use crate::base::{Key, Slab};

pub type BatchKey = Key<Batch>;

/// Answers of one batch, as far as they are there.
#[derive(Debug)]
pub struct Batch {
    pub client: ClientKey,
    /// Answers still to come; one more while the batch is being read, so that it cannot end early.
    pub left: usize,
    bytes: Vec<u8>,
}

impl Batch {
    /// A batch that is being read.
    pub const fn reading(client: ClientKey) -> Self {
        Self { client, left: 1, bytes: Vec::new() }
    }
}

/// Sends one answer, or puts it into its batch.
pub fn reply(
    clients: &Slab<Client>,
    batches: &mut Slab<Batch>,
    client: ClientKey,
    batch: Option<BatchKey>,
    out: &mut Effects,
    write: impl FnOnce(&mut Vec<u8>),
) {
    match batch.and_then(|key| batches.get_mut(key)) {
        None => {
            if let Some(client) = clients.get(client) {
                out.send(client.link, write);
            }
        }
        Some(gathered) => {
            gathered.bytes.push(if gathered.bytes.is_empty() { b'[' } else { b',' });
            write(&mut gathered.bytes);
            settle(clients, batches, batch, out);
        }
    }
}

/// One answer fewer is to come: it was given, or its request was cancelled, or reading has ended.
pub fn settle(
    clients: &Slab<Client>,
    batches: &mut Slab<Batch>,
    key: Option<BatchKey>,
    out: &mut Effects,
) {
    let Some(key) = key else { return };
    let Some(batch) = batches.get_mut(key) else { return };
    batch.left = batch.left.saturating_sub(1);
    if batch.left > 0 {
        return;
    }
    // A batch of notifications gets no answer at all (JSON-RPC 2.0 section 6).
    if let Some(batch) = batches.remove(key)
        && !batch.bytes.is_empty()
        && let Some(client) = clients.get(batch.client)
    {
        out.send(client.link, |out| {
            out.extend_from_slice(&batch.bytes);
            out.push(b']');
        });
    }
}
