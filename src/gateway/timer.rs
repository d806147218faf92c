//! What the gateway waits for by time.

use super::flight::FlightKey;
use super::greet::GreetKey;
use super::lane::LaneKey;
use crate::base::wheel::TimerKey;

/// What is due when its moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The flight has taken too long, or its next step is due.
    Flight(FlightKey),
    /// The lane has not become ready in time.
    Lane(LaneKey),
    /// The upstream's shared lane may be dialled again.
    Redial(usize),
    /// A greeting that waits for upstreams waits no longer.
    Greet(GreetKey),
    /// A modern upstream ended our listen stream; another may be opened.
    Listen(LaneKey),
    /// The drain ends, whatever is in flight.
    Drained,
}

pub type AlarmKey = TimerKey<Alarm>;
