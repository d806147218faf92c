//! One connection's side of a load, without its socket: what to send next, what came back. A closed lane sends again
//! when it is answered; a paced lane sends when it is told to, or, with all slots in use, as soon as it can.

use std::collections::VecDeque;

use crate::check::{Checker, Step};
use crate::clock::Window;
use crate::fault::Fault;
use crate::framing::Framing;
use crate::slots::{Slots, Waiting};
use crate::tally::Tally;

/// What the lanes of a thread share.
#[derive(Debug)]
pub struct Desk {
    /// Builds requests and checks answers.
    pub checker: Checker,
    /// Counts.
    pub tally: Tally,
    /// One round of the mix.
    pub round: Vec<u8>,
    /// When to measure and when to stop.
    pub window: Window,
    /// Whether a pacer decides when to send.
    pub paced: bool,
}

/// One connection's requests and answers.
#[derive(Debug)]
pub struct Lane {
    number: u32,
    salt: u64,
    framing: Framing,
    /// The header of its session, where it has one.
    session: Vec<u8>,
    slots: Slots,
    /// Where in the round of the mix this lane is; the round's length is its start again.
    turn: usize,
    /// Bytes that wait to be written.
    pub out: Vec<u8>,
    /// Paced: intended times of requests that found no slot.
    late: VecDeque<u64>,
    answers: u64,
    /// The connection has ended; nothing is sent or awaited any more.
    ended: bool,
}

impl Lane {
    /// Lane `number` with room for `outstanding` requests of a round of `round` requests; tokens depend on `salt`.
    pub fn new(
        number: u32,
        salt: u64,
        framing: Framing,
        session: Vec<u8>,
        outstanding: u32,
        round: usize,
    ) -> Self {
        Self {
            number,
            salt,
            framing,
            session,
            slots: Slots::new(outstanding),
            turn: number as usize % round.max(1),
            out: Vec::new(),
            late: VecDeque::new(),
            answers: 0,
            ended: false,
        }
    }

    /// Fills every slot: how a closed lane begins.
    pub fn fill(&mut self, desk: &Desk, now_ns: u64) {
        while self.send(desk, now_ns) {}
    }

    /// Sends a request that was due at `at_ns`, now or when a slot is free.
    pub fn due(&mut self, desk: &Desk, at_ns: u64) {
        if !self.ended && (!self.late.is_empty() || !self.send(desk, at_ns)) {
            self.late.push_back(at_ns);
        }
    }

    /// Judges the lines that `bytes` begin with and sends what follows from them; returns how many bytes were used.
    pub fn receive(&mut self, desk: &mut Desk, bytes: &[u8], now_ns: u64) -> usize {
        let mut used = 0;
        let mut right = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let step = self.framing.step(
                rest,
                &mut desk.checker,
                &mut self.slots,
                self.salt,
                &mut self.out,
            );
            match step {
                Step::Partial => break,
                Step::Right(len, waiting) => {
                    used += len;
                    right += 1;
                    self.answers += u64::from(desk.tally.answer(waiting.at_ns, now_ns));
                    self.follow(desk, now_ns);
                }
                Step::Passed(len) => {
                    used += len;
                    desk.tally.notifications += 1;
                }
                Step::Wrong(len, fault, waiting) => {
                    used += len;
                    desk.tally.fault(fault, self.number, &rest[..len]);
                    if waiting.is_some() {
                        self.follow(desk, now_ns);
                    }
                }
            }
        }
        if right > 0 {
            desk.tally.slice(right, now_ns);
        }
        used
    }

    /// Whether nothing is left to do once sending has ended.
    pub fn is_idle(&self) -> bool {
        self.slots.outstanding() == 0 && self.late.is_empty() && self.out.is_empty()
    }

    /// The connection is over: counts what was never answered or sent. `cut` names why, when it was not the plan.
    pub fn end(&mut self, desk: &mut Desk, cut: Option<&str>, now_ns: u64) {
        if self.ended {
            return;
        }
        self.ended = true;
        if let Some(cause) = cut {
            desk.tally.fault(Fault::Closed, self.number, cause.as_bytes());
        }
        for _ in 0..self.slots.outstanding() {
            desk.tally.fault(Fault::Unanswered, self.number, b"");
        }
        for at_ns in self.late.drain(..) {
            desk.tally.unsent(at_ns, now_ns);
        }
        desk.tally.by_connection.push(self.answers);
    }

    /// A slot has become free.
    fn follow(&mut self, desk: &Desk, now_ns: u64) {
        if desk.paced {
            if let Some(at_ns) = self.late.pop_front() {
                self.send(desk, at_ns);
            }
        } else if now_ns < desk.window.close_ns {
            self.send(desk, now_ns);
        }
    }

    fn send(&mut self, desk: &Desk, at_ns: u64) -> bool {
        // A comparison, not a division: this is the hot path.
        if self.turn >= desk.round.len() {
            self.turn = 0;
        }
        let request = desk.round[self.turn];
        let Some(id) = self.slots.open(Waiting { at_ns, request }) else { return false };
        self.turn += 1;
        self.framing.asked(id);
        desk.checker.render(request, id, self.salt, &self.session, &mut self.out);
        true
    }
}
