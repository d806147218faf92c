//! The open loop: sends at a rate, whatever the answers do. A request's latency counts from the moment it was due, so
//! a server that stalls cannot make the load wait and hide the stall (coordinated omission).

#![allow(
    clippy::disallowed_types,
    reason = "the load generator has no shard::rt; the timer descriptor is watched as a stream"
)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use monoio::net::TcpStream;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::clock::Clock;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::lane::Desk;

/// Wakes are at least this far apart: below it the timer itself would be the load.
const WAKE_NS_MIN: u64 = 20_000;

/// Sends `rate` requests a second over `connections` in turn until the window closes.
pub async fn pace(
    connections: &[Rc<Connection>],
    desk: &Rc<RefCell<Desk>>,
    clock: Clock,
    rate: f64,
) -> Result<(), Failure> {
    let timer = Timer::new()?;
    let close_ns = desk.borrow().window.close_ns;
    let start_ns = clock.now_ns();
    let mut sent = 0_u64;
    loop {
        let now_ns = clock.now_ns().min(close_ns);
        let mut due_ns = due(start_ns, sent, rate);
        while due_ns <= now_ns && due_ns < close_ns {
            let at = usize::try_from(sent).unwrap_or(0) % connections.len();
            let connection = &connections[at];
            connection.lane.borrow_mut().due(&desk.borrow(), due_ns);
            connection.written.raise();
            sent += 1;
            due_ns = due(start_ns, sent, rate);
        }
        if now_ns >= close_ns {
            break;
        }
        timer.sleep(due_ns.min(close_ns).saturating_sub(clock.now_ns()).max(WAKE_NS_MIN)).await?;
    }
    for connection in connections {
        if connection.lane.borrow().is_idle() {
            connection.hang_up();
        }
    }
    Ok(())
}

/// When request number `sent` is due. Computed anew each time, so that rounding does not add up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "exact to a nanosecond for the first hundred days"
)]
fn due(start_ns: u64, sent: u64, rate: f64) -> u64 {
    start_ns + (sent as f64 * 1e9 / rate) as u64
}

/// A kernel timer of nanoseconds: the runtime's own have a grain of a millisecond, which would be most of a latency.
struct Timer {
    descriptor: std::net::TcpStream,
    watched: TcpStream,
}

impl Timer {
    fn new() -> Result<Self, Failure> {
        let failed = || Failure::io("timerfd");
        let descriptor = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .map_err(|error| failed()(error.into()))?;
        // The runtime polls streams only; of this one nothing but readiness is asked through it.
        let descriptor = std::net::TcpStream::from(descriptor);
        let watched = descriptor.try_clone().and_then(TcpStream::from_std).map_err(failed())?;
        Ok(Self { descriptor, watched })
    }

    async fn sleep(&self, ns: u64) -> Result<(), Failure> {
        let failed = || Failure::io("timerfd");
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec::try_from(Duration::from_nanos(ns)).unwrap_or(zero);
        // Setting the time also clears an expiry that nobody read.
        timerfd_settime(
            &self.descriptor,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value: value },
        )
        .map_err(|error| failed()(error.into()))?;
        self.watched.readable(false).await.map_err(failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::nanos;

    #[test]
    fn due_times_do_not_drift() {
        assert_eq!(due(5, 0, 3.0), 5);
        assert_eq!(due(0, 3_000_000, 3_000_000.0), nanos(Duration::from_secs(1)));
        assert_eq!(due(0, 7_000_000_000, 7.0), nanos(Duration::from_secs(1_000_000_000)));
    }
}
