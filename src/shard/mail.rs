//! Mail between shards: a wait-free ring for each pair, and one wake a turn for a shard that sleeps.
//! In order; nothing is lost; a full ring blocks nobody, what does not fit waits at its sender.
//!
//! A wake across cores costs 25 to 50 microseconds in a virtual machine, a message 40 nanoseconds:
//! so senders push at once and ring at the end of their turn, and not at all while the receiver runs.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use super::meter::Meter;
use super::post::Bell;
use crate::base::ShardId;
use crate::gateway::Mail;

/// Places in all rings that lead to one shard: bounds their memory where there are many shards.
const PLACES_PER_SHARD: usize = 64 << 10;
const PLACES_MIN: usize = 64;
const PLACES_MAX: usize = 4_096;

struct Outgoing {
    ring: rtrb::Producer<Mail>,
    /// What found the ring full. While there is any, everything goes here: order is kept.
    waiting: VecDeque<Mail>,
    /// Tells the receiver that the sender wants a wake when there is room.
    starved: Arc<AtomicBool>,
    bell: Arc<Bell>,
    sent: bool,
}

struct Incoming {
    from: ShardId,
    ring: rtrb::Consumer<Mail>,
    starved: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

/// One shard's ends of all rings, and its bell.
pub(super) struct Mailbox {
    /// By the receiver's number; `None` at our own.
    outgoing: Vec<Option<Outgoing>>,
    incoming: Vec<Incoming>,
    pub(super) bell: Arc<Bell>,
}

/// Makes the mailboxes of `shards` shards, each with the socket that its bell is heard on.
pub(super) fn mailboxes(shards: u16) -> io::Result<Vec<(Mailbox, OwnedFd)>> {
    let shards = usize::from(shards);
    let places = (PLACES_PER_SHARD / shards.max(1)).clamp(PLACES_MIN, PLACES_MAX);
    mailboxes_with(shards, places)
}

fn mailboxes_with(shards: usize, places: usize) -> io::Result<Vec<(Mailbox, OwnedFd)>> {
    let mut boxes = Vec::with_capacity(shards);
    for _ in 0..shards {
        let (bell, heard) = Bell::new()?;
        let outgoing = (0..shards).map(|_| None).collect();
        boxes.push((Mailbox { outgoing, incoming: Vec::new(), bell }, heard));
    }
    for from in 0..shards {
        for to in 0..shards {
            if from == to {
                continue;
            }
            let (producer, consumer) = rtrb::RingBuffer::new(places);
            let starved = Arc::new(AtomicBool::new(false));
            let bells = (Arc::clone(&boxes[from].0.bell), Arc::clone(&boxes[to].0.bell));
            boxes[from].0.outgoing[to] = Some(Outgoing {
                ring: producer,
                waiting: VecDeque::new(),
                starved: Arc::clone(&starved),
                bell: bells.1,
                sent: false,
            });
            boxes[to].0.incoming.push(Incoming {
                from: ShardId(u16::try_from(from).unwrap_or(u16::MAX)),
                ring: consumer,
                starved,
                bell: bells.0,
            });
        }
    }
    Ok(boxes)
}

impl Mailbox {
    /// Hands `mail` to another shard; false if there is no such shard.
    pub(super) fn send(&mut self, to: ShardId, mail: Mail, meter: &Meter) -> bool {
        let Some(Some(out)) = self.outgoing.get_mut(usize::from(to.0)) else { return false };
        meter.mail_out.add(1);
        out.sent = true;
        if out.waiting.is_empty() {
            if let Err(rtrb::PushError::Full(mail)) = out.ring.push(mail) {
                meter.mail_waited.add(1);
                out.waiting.push_back(mail);
            }
        } else {
            meter.mail_waited.add(1);
            out.waiting.push_back(mail);
        }
        true
    }

    /// At the end of a turn: moves what waits into the rings and wakes receivers that sleep.
    pub(super) fn flush(&mut self, meter: &Meter) {
        for out in self.outgoing.iter_mut().flatten() {
            if !out.waiting.is_empty() {
                out.refill();
                if !out.waiting.is_empty() {
                    // Ask for a wake, then look again: the receiver may have made room in between
                    // and not have seen the request.
                    out.starved.store(true, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    out.refill();
                }
            }
            if out.sent {
                out.sent = false;
                if out.bell.ring_if_asleep() {
                    meter.wakes.add(1);
                }
            }
        }
    }

    /// How many other shards write to us.
    pub(super) fn senders(&self) -> usize {
        self.incoming.len()
    }

    /// What lies in the ring of sender `n` now; what comes during a turn belongs to the next.
    pub(super) fn waiting_from(&self, n: usize) -> usize {
        self.incoming.get(n).map_or(0, |incoming| incoming.ring.slots())
    }

    pub(super) fn take_from(&mut self, n: usize) -> Option<(ShardId, Mail)> {
        let incoming = self.incoming.get_mut(n)?;
        let mail = incoming.ring.pop().ok()?;
        Some((incoming.from, mail))
    }

    /// Sender `n` may have been waiting for the room we made.
    pub(super) fn room_from(&mut self, n: usize) {
        let Some(incoming) = self.incoming.get_mut(n) else { return };
        fence(Ordering::SeqCst);
        if incoming.starved.load(Ordering::Relaxed)
            && incoming.starved.swap(false, Ordering::AcqRel)
        {
            incoming.bell.ring();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.incoming.iter().all(|incoming| incoming.ring.is_empty())
    }
}

impl Outgoing {
    fn refill(&mut self) {
        while let Some(mail) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(mail)) = self.ring.push(mail) {
                self.waiting.push_front(mail);
                return;
            }
            self.sent = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::endpoint::Seat;

    fn letter(n: usize) -> Mail {
        Mail::ToUpstream { seat: Seat::first(n), frame: Box::from(&b""[..]) }
    }

    #[test]
    fn mail_that_finds_the_ring_full_waits_and_comes_in_order() {
        let mut boxes = mailboxes_with(2, 4).expect("socketpairs");
        let meter = Meter::default();
        let (mut b, _) = boxes.pop().expect("two");
        let (mut a, _) = boxes.pop().expect("two");
        let mut got = Vec::new();
        for n in 0..100 {
            assert!(a.send(ShardId(1), letter(n), &meter));
            if n % 7 == 0 {
                a.flush(&meter);
                for _ in 0..b.waiting_from(0) {
                    got.push(b.take_from(0).expect("counted"));
                }
                b.room_from(0);
            }
        }
        while got.len() < 100 {
            a.flush(&meter);
            assert!(!b.is_empty(), "mail was lost");
            while let Some(mail) = b.take_from(0) {
                got.push(mail);
            }
        }
        let expected: Vec<_> = (0..100).map(|n| (ShardId(0), letter(n))).collect();
        assert_eq!(got, expected);
        assert!(meter.mail_waited.get() > 0);
        assert!(!a.send(ShardId(7), letter(0), &meter), "there is no such shard");
    }
}
