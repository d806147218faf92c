//! Proves that mail between shards comes in order, all of it, whether it floods a full ring or each
//! letter must wake a sleeping shard; and that a drain gathers all shards. On both drivers.
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

mod transport;

use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::endpoint::Seat;
use ringgate::gateway::{Effect, Effects, Event, Mail, Report};
use ringgate::shard::Domain;
use ringgate::transport::Server;

use transport::*;

/// `flood N` sends N letters to the other shard at once, `rally N` one at a time, each when the last
/// came back. The other shard sends each back. The asker is told `done` when all are home.
struct Postman {
    me: ShardId,
    asker: Option<LinkId>,
    next: usize,
    end: usize,
    rally: bool,
}

const ASKS: u8 = b'?';
const ANSWERS: u8 = b'!';

impl Postman {
    fn letter(&self, n: usize, kind: u8, out: &mut Effects) {
        let to = ShardId(1 - self.me.0);
        let mail = Mail::ToUpstream { seat: Seat::first(n), frame: Box::from([kind]) };
        out.push(Effect::Mail { to, mail });
    }
}

impl Domain for Postman {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Frame { link, frame } => {
                let text = std::str::from_utf8(frame).expect("an order");
                let (kind, n) = text.split_once(' ').expect("an order with a number");
                self.asker = Some(link);
                self.next = 0;
                self.end = n.parse().expect("a number");
                self.rally = kind == "rally";
                let first = if self.rally { 1 } else { self.end };
                for n in 0..first {
                    self.letter(n, ASKS, out);
                }
            }
            Event::Mail {
                mail: Mail::ToUpstream { seat: Seat { endpoint: n, .. }, frame },
                ..
            } => {
                if frame[0] == ASKS {
                    return self.letter(n, ANSWERS, out);
                }
                assert_eq!(n, self.next, "letters come home in order");
                self.next += 1;
                if self.next == self.end {
                    let asker = self.asker.expect("somebody asked");
                    out.send(asker, |bytes| bytes.extend_from_slice(b"done"));
                } else if self.rally {
                    self.letter(self.next, ASKS, out);
                }
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

fn ask(order: &str) {
    for driver in DRIVERS {
        let server = Server::start(&config(driver, 2), |me| Postman {
            me,
            asker: None,
            next: 0,
            end: 0,
            rally: false,
        })
        .expect("the server starts");
        let mut stream = connect(&server);
        write(&mut stream, order.as_bytes());
        assert_eq!(lines(stream).next().as_deref(), Some("done"), "{driver:?}");
        assert_eq!(count(&server, "panics"), 0, "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_million_letters_come_home_in_order() {
    ask("flood 1000000\n");
}

#[test]
fn each_letter_wakes_a_shard_that_sleeps() {
    ask("rally 5000\n");
}
