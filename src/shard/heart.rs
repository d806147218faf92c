//! The end of each turn of a shard's loop: mail and commands are taken, due timers fire, receivers of
//! mail are woken, the turn is timed. One task and one timer for all deadlines of the shard.
//!
//! monoio does not let us into its loop. But the first thing that happens in a turn wakes this task,
//! and the queue is first in, first out: so it runs after everything that was awake with it.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use std::task::Poll;
use std::time::Duration;

use super::Shard;
use super::acceptor::Door;
use super::core::{Core, Phase};
use super::domain::Domain;
use super::post::Command;
use super::rt::{self, Alarm, Reader};
use super::tls::{self, Trouble};
use super::ways::{Way, WayId};

/// A turn longer than this keeps every other link of the shard waiting too long, and is told.
const TURN_MICROS_MAX: u64 = 25_000;
/// A stranger must not fill the log.
const TROUBLES_TOLD_EVERY: Duration = Duration::from_secs(1);
/// How long a stopping shard waits for its tasks.
const STOP_MAX: Duration = Duration::from_secs(4);
/// How long those that it kills then have.
const KILL_MAX: Duration = Duration::from_millis(250);
/// How long a read may wait for a write where no turn comes by itself.
const READ_HOLD_MAX: Duration = Duration::from_millis(1);
/// How often it looks.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// Beats until the shard has stopped.
pub(super) async fn beat<D: Domain>(shard: Rc<Shard<D>>, commands: Receiver<Command>) {
    let mut alarm = Alarm::new();
    let mut met = false;
    let mut stopping_since = None;
    let mut is_killed = false;
    poll_fn(|cx| {
        let core = &mut *shard.core.borrow_mut();
        if !met {
            met = true;
            core.heart = Some(cx.waker().clone());
        }
        // Whether it was the alarm, the bell or a link that woke us makes no difference.
        let _ = alarm.poll(cx);
        core.begin_turn();
        core.end_turn(&commands);
        if core.release_reads() {
            alarm.set_no_later(READ_HOLD_MAX);
        }
        core.meter.panics.set(rt::panics());
        core.note_troubles();
        if let Some(deadline) = core.next_deadline() {
            alarm.set_no_later(deadline.since(core.now.at));
        }
        if core.phase == Phase::Stopping {
            let since = *stopping_since.get_or_insert(core.now.at);
            let waited = core.now.at.since(since);
            // This task itself is the last.
            if core.links.len() == 0 && rt::tasks() <= 1 || waited > STOP_MAX + KILL_MAX {
                return Poll::Ready(());
            }
            if waited > STOP_MAX && !is_killed {
                // So that the domain hears of them, and what was decided for them is written down.
                is_killed = true;
                for id in core.links.ids() {
                    core.kill(id, "the gateway stops".into());
                }
            }
            alarm.set_no_later(STOP_LOOK);
        }
        // Polled until it is set: an alarm that nobody polls wakes nobody.
        while alarm.poll(cx).is_ready() {
            alarm.set_no_later(STOP_LOOK);
        }
        Poll::Pending
    })
    .await;
}

/// Hears the bell: the byte itself says nothing, the wake does. Ends with the shard.
pub(super) async fn hear<D: Domain>(shard: Rc<Shard<D>>, mut bell: Reader) {
    let mut buffer = Vec::with_capacity(64);
    loop {
        let (heard, back) = bell.read(buffer).await;
        buffer = back;
        buffer.clear();
        let core = &mut *shard.core.borrow_mut();
        core.open_turn();
        core.rung = true;
        if heard.is_err() || core.phase == Phase::Stopping {
            return;
        }
    }
}

impl<D: Domain> Core<D> {
    fn end_turn(&mut self, commands: &Receiver<Command>) {
        self.mailbox.bell.is_awake();
        if std::mem::take(&mut self.rung) {
            while let Ok(command) = commands.try_recv() {
                self.obey(command);
            }
        }
        self.take_mail();
        self.tick();
        if self.drained && !self.drained_told {
            self.drained_told = true;
            self.muster.arrived();
        }
        let meter = std::sync::Arc::clone(&self.meter);
        self.mailbox.flush(&meter);
        self.hand_records();
        self.turn_open = false;
        let began = self.now.at;
        let took = self.clock.now().at.since(began);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.meter.turns.add(1);
        self.counted.turns.record(began, began.after(took));
        self.spinner.stir();
        if micros > self.meter.turn_micros_max.get() {
            self.meter.turn_micros_max.set(micros);
        }
        if micros > TURN_MICROS_MAX {
            self.meter.turns_slow.add(1);
            tracing::warn!(shard = self.id.0, micros, "a turn of the loop took too long");
        }
        // From here on senders ring; what they left before is seen now.
        self.mailbox.bell.falls_asleep();
        if !self.mailbox.is_empty() {
            self.mailbox.bell.is_awake();
            // A turn by way of the bell, so that links get theirs: a task that woke itself would not
            // let them.
            self.mailbox.bell.ring();
        }
    }

    /// Counts what went wrong with TLS, and tells the log of one of them, a second at the soonest after the last.
    fn note_troubles(&mut self) {
        let all = tls::troubles_told();
        if all == self.troubles {
            return;
        }
        self.troubles = all;
        let troubles = tls::troubles();
        for (count, trouble) in [
            (&self.meter.tls_failed_handshake, Trouble::Handshake),
            (&self.meter.tls_failed_certificate, Trouble::Certificate),
            (&self.meter.tls_failed_late, Trouble::Late),
            (&self.meter.tls_failed_left, Trouble::Left),
            (&self.meter.tls_failed_protocol, Trouble::Protocol),
            (&self.meter.tls_violations, Trouble::Violation),
            (&self.meter.tls_pin_mismatches, Trouble::Pin),
            (&self.meter.tls_upstream_failures, Trouble::Upstream),
        ] {
            count.set(troubles.of(trouble));
        }
        let is_time = |told| self.now.at.since(told) >= TROUBLES_TOLD_EVERY;
        if self.trouble_told.is_none_or(is_time)
            && let Some((trouble, what)) = tls::last_told()
        {
            self.trouble_told = Some(self.now.at);
            tracing::warn!(shard = self.id.0, ?trouble, what, so_far = all, "TLS came to nothing");
        }
    }

    fn take_mail(&mut self) {
        for n in 0..self.mailbox.senders() {
            let count = self.mailbox.waiting_from(n);
            if count == 0 {
                continue;
            }
            for _ in 0..count {
                let Some((from, mail)) = self.mailbox.take_from(n) else { break };
                self.letter(from, mail);
            }
            self.mailbox.room_from(n);
        }
        self.settle();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Dialed { ticket, outcome } => self.dialed(ticket, outcome),
            Command::Driven { ticket, driver } => self.driven(ticket, driver),
            Command::Ended { ticket, why } => self.epitaph(ticket, why),
            Command::TextRead { ticket, text } => self.text_read(ticket, &text),
            Command::Client { socket, transport } => {
                if let Some(shard) = self.me.upgrade() {
                    let way = Way { id: WayId::NONE, transport, door: Door::Plain };
                    super::acceptor::admit(&shard, self, socket, way);
                }
            }
            Command::Renew(renewal, done) => {
                self.renew(renewal);
                drop(done);
            }
            Command::Move(moves, done) => {
                self.move_to(moves);
                drop(done);
            }
            Command::Token { upstream, token } => self.dialer.granted(upstream, token),
            Command::Exchanged(exchanged) => {
                let is_granted = exchanged.outcome.is_ok();
                let meter = &self.meter;
                let count = if is_granted { &meter.exchanges } else { &meter.exchanges_refused };
                count.add(1);
                self.dialer.exchanged(self.now.at, exchanged);
            }
            Command::Keys(keys) => self.gate.learn(keys),
            // Whoever asked may have lost patience.
            Command::Census(sender) => drop(sender.send(self.census())),
            Command::Leave => self.give_notice(),
            Command::Drain => self.drain(),
            Command::Stop => self.stop(),
        }
    }

    fn next_deadline(&self) -> Option<crate::base::Moment> {
        match (self.domain.deadline(), self.wheel.next_deadline()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
