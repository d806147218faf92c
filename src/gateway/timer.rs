//! What the gateway waits for by time.

use super::client::ClientKey;
use super::endpoint::Seat;
use super::exchange::ExchangeKey;
use super::flight::FlightKey;
use super::greet::GreetKey;
use super::lane::LaneKey;
use crate::base::wheel::TimerKey;
use crate::mcp::Notice;

/// What is due when its moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The flight has taken too long, or its next step is due.
    Flight(FlightKey),
    /// The lane has not become ready in time.
    Lane(LaneKey),
    /// The shared lane of this seat may be dialled again.
    Redial(Seat),
    /// A greeting that waits for upstreams waits no longer.
    Greet(GreetKey),
    /// A modern upstream ended our listen stream; another may be opened.
    Listen(LaneKey),
    /// A stream has been quiet, or an exchange has been waiting, for one beat.
    Beat(ExchangeKey),
    /// A session over HTTP may have been idle for too long.
    Session(ClientKey),
    /// An own lane that nobody has wanted for a while.
    Parked(LaneKey),
    /// An endpoint may have more shared lanes than it needs.
    Pool(usize),
    /// An endpoint may have been idle for so long that it is asked whether it is there, or not have said so.
    Health(usize),
    /// The drain ends, whatever is in flight.
    Drained,
    /// A task has been remembered for long enough.
    Task(super::task::table::TaskKey),
    /// A list of an upstream's that changed often is told of again.
    List(usize, Notice),
    /// Upstreams that are used no more may have nothing under way any more.
    Retired,
}

pub type AlarmKey = TimerKey<Alarm>;
