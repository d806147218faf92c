//! Lines that travel in blocks (`wire::block`), on a link whose ends have agreed on it. They wait in the outbox as
//! lines, as everywhere; what waits becomes blocks when the writer comes for it. So a block grows with what gathers
//! while the one before is written, and a lone message leaves at once: nothing waits for a clock.

use std::borrow::Cow;

use super::acceptor::Door;
use super::carrier::Burst;
use super::core::{Core, Outgoing, Verdict};
use super::domain::Domain;
use super::http::Reading;
use super::inbox::Inbox;
use super::links::{Face, Life, Side};
use crate::base::LinkId;
use crate::gateway::Transport;
use crate::wire::block::{Codec, Codecs, Coder, Fault, Hello, hello, refusal};

/// Bytes of lines that become blocks in one go: others wait meanwhile, about a millisecond where a link is compressed
/// most slowly. A write of them is large enough for any link.
const TURN_BYTES: usize = 256 << 10;

/// What a link knows whose lines travel in blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    pub(super) codec: Codec,
    /// Bytes at the front of the outbox that leave as they are: the agreement, and what was sent before it.
    bare: u32,
}

impl Blocks {
    /// For a link that blocks were agreed on before it was one.
    pub(super) const fn new(codec: Codec) -> Self {
        Self { codec, bare: 0 }
    }
}

/// What came in blocks.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    lines: Inbox,
    /// Counted as they are unpacked: a few bytes may hold very many.
    burst: Burst,
}

impl Unpacked {
    /// Whether a line has come that has not ended yet.
    pub(super) fn is_begun(&self) -> bool {
        self.lines.is_begun()
    }
}

/// What listeners take where blocks are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    pub tcp: Codecs,
    pub unix: Codecs,
}

impl Default for Compression {
    fn default() -> Self {
        Self { tcp: Codecs::ALL, unix: Codecs::ALL }
    }
}

/// What a shard needs for them.
#[derive(Debug)]
pub(super) struct Packing {
    /// What connections get that come from now on.
    pub(super) compression: Compression,
    coder: Coder,
}

impl Packing {
    pub(super) fn new(compression: Compression) -> Self {
        Self { compression, coder: Coder::default() }
    }
}

impl<D: Domain> Core<D> {
    /// The first bytes of a connection: lines, or the question for blocks.
    pub(super) fn deliver_hello(&mut self, id: LinkId, inbox: &mut Inbox) -> Verdict {
        let Some(link) = self.links.get_mut(id).filter(|link| link.life < Life::Closing) else {
            return self.discard(inbox);
        };
        let codecs = match link.side {
            Side::Client(Transport::Tcp) => self.packing.compression.tcp,
            Side::Client(Transport::Unix) => self.packing.compression.unix,
            _ => Codecs::NONE,
        };
        let (bytes, codec, answer) = match hello(inbox.rest(), codecs) {
            Hello::More => return Verdict::Read,
            Hello::Lines => {
                link.face = Face::Lines;
                return self.deliver_all(id, inbox);
            }
            // How long answers are tells what else stands in their block to who listens, if he can write some of it.
            Hello::Agreed { bytes, .. } if link.door == Door::Tls => {
                (bytes, None, refusal("not over TLS, where lengths would tell what is in a block"))
            }
            Hello::Refused { bytes, answer } => (bytes, None, answer),
            Hello::Agreed { bytes, codec, answer } => (bytes, Some(codec), answer),
        };
        inbox.consume(bytes);
        link.outbox.extend_from_slice(answer.as_bytes());
        let bare = u32::try_from(link.outbox.len()).unwrap_or(u32::MAX);
        link.face = codec.map_or(Face::Lines, |codec| Face::Blocks(Blocks { codec, bare }));
        self.filled(id);
        if let Some(codec) = codec {
            return self.deliver_blocks(id, codec, inbox);
        }
        self.meter.faults.add(1);
        self.close(id, Cow::Borrowed("it asked for compression that it cannot have"));
        self.discard(inbox)
    }

    /// Hands on every line of the blocks that a link has read, so many bytes of them a turn.
    pub(super) fn deliver_blocks(
        &mut self,
        id: LinkId,
        codec: Codec,
        inbox: &mut Inbox,
    ) -> Verdict {
        let mut unpacked = match std::mem::take(&mut inbox.reading) {
            Reading::Blocks(unpacked) => unpacked,
            _ => Box::default(),
        };
        let mut is_over = false;
        loop {
            let lines = &mut unpacked.lines;
            match self.deliver_all(id, lines) {
                Verdict::Read if is_over => {
                    inbox.reading = Reading::Blocks(unpacked);
                    return Verdict::Breathe;
                }
                Verdict::Read => {}
                Verdict::Discard => return self.discard(inbox),
                wait => {
                    inbox.reading = Reading::Blocks(unpacked);
                    return wait;
                }
            }
            match self.packing.coder.unpack(codec, inbox.rest(), lines.gather()) {
                Ok(Some(block)) => {
                    inbox.consume(block.bytes);
                    is_over = unpacked.burst.is_over(block.lines, self.meter.turns.get());
                    self.meter.blocks_in.add(1);
                    self.meter.block_bytes_in.add(block.bytes as u64);
                    self.meter.block_lines_bytes_in.add(block.lines as u64);
                }
                Ok(None) => {
                    lines.release(&mut self.pool);
                    inbox.reading = Reading::Blocks(unpacked);
                    return Verdict::Read;
                }
                Err(fault) => {
                    lines.discard(&mut self.pool);
                    self.refuse_block(id, fault);
                    return self.discard(inbox);
                }
            }
        }
    }

    /// Ends a connection on which nothing means anything any more; a client is told why.
    fn refuse_block(&mut self, id: LinkId, fault: Fault) {
        tracing::info!(link = %id, "{fault}: the connection is closed");
        self.refuse_input(id, fault.what());
    }

    /// Closes a connection for what came on it. `what` has no character that JSON would have escaped.
    pub(super) fn refuse_input(&mut self, id: LinkId, what: &'static str) {
        self.meter.faults.add(1);
        let Some(link) = self.links.get_mut(id) else { return };
        if link.is_client() {
            link.outbox.extend_from_slice(
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{{\"code\":-32700,\"message\":\"{what}\"}}}}\n"
                )
                .as_bytes(),
            );
            self.filled(id);
        }
        self.close(id, Cow::Borrowed(what));
    }

    /// What to write next: some of the outbox, in blocks.
    pub(super) fn take_blocks(&mut self, id: LinkId) -> Outgoing {
        let Some(link) = self.links.get_mut(id) else { return Outgoing::End };
        let Face::Blocks(blocks) = &mut link.face else { return Outgoing::Nothing };
        let mut bytes = self.pool.take();
        let mut done = std::mem::take(&mut blocks.bare) as usize;
        bytes.extend_from_slice(link.outbox.get(..done).unwrap_or_default());
        let bytes_min = self.limits.compress_bytes_min;
        while done < TURN_BYTES
            && let Some(rest) = link.outbox.get(done..).filter(|rest| !rest.is_empty())
        {
            let packed = self.packing.coder.pack(blocks.codec, bytes_min, rest, &mut bytes);
            done += packed.lines;
            self.meter.blocks_out.add(1);
            self.meter.block_bytes_out.add(packed.bytes as u64);
            self.meter.block_lines_bytes_out.add(packed.lines as u64);
            self.meter.block_messages_out.add(packed.messages as u64);
        }
        if done >= link.outbox.len() {
            self.pool.give(std::mem::take(&mut link.outbox));
        } else {
            link.outbox.drain(..done);
        }
        link.in_flight = done;
        Outgoing::Bytes(bytes)
    }
}
