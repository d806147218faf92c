//! Where the events of a fan-out come from: an upstream that the gateway dials, in this very process, so that whoever
//! hears the events also makes them. It answers what a gateway asks on a thread of its own; that is over when events
//! begin.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a blocking server beside the load, whose thread sleeps while the load runs"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::failure::Failure;
use crate::target::Target;
use crate::upstream::{Said, answer};

/// The upstream.
#[derive(Debug, Clone)]
pub struct News {
    /// Where it is dialled; of a floor, where it was.
    pub target: Target,
    /// The connection on which events go out: the last on which somebody subscribed.
    heard_on: Arc<Mutex<Option<TcpStream>>>,
}

impl News {
    /// An upstream on a port of its own, for as long as the process lives.
    pub fn listen() -> Result<Self, Failure> {
        let failed = || Failure::io("listen for the gateway");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed())?;
        let news = Self {
            target: Target::Tcp(listener.local_addr().map_err(failed())?),
            heard_on: Arc::default(),
        };
        let heard_on = Arc::clone(&news.heard_on);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heard_on = Arc::clone(&heard_on);
                // A gateway that goes away ends its thread; the next one gets another.
                thread::spawn(move || converse(stream, &heard_on));
            }
        });
        Ok(news)
    }

    /// The source of `raw --mode events` at `floor`.
    pub fn of_floor(floor: &Target) -> Result<Self, Failure> {
        let socket = floor.open()?.socket;
        Ok(Self { target: floor.clone(), heard_on: Arc::new(Mutex::new(Some(socket))) })
    }

    /// Sends `line`, which ends with its newline.
    pub fn tell(&self, line: &[u8]) -> Result<(), Failure> {
        let mut heard_on = self.heard_on.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *heard_on {
            Some(socket) => socket.write_all(line).map_err(Failure::io("send an event")),
            None => Err(Failure::Server("the gateway has not subscribed upstream".to_owned())),
        }
    }
}

fn converse(mut stream: TcpStream, heard_on: &Mutex<Option<TcpStream>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let (mut line, mut out) = (Vec::new(), Vec::new());
    while lines.read_until(b'\n', &mut line).ok()? > 0 {
        if answer(&line, &mut out) == Said::Answer {
            out.push(b'\n');
            stream.write_all(&out).ok()?;
        }
        if memchr::memmem::find(&line, b"\"resources/subscribe\"").is_some() {
            let mut heard_on = heard_on.lock().unwrap_or_else(PoisonError::into_inner);
            *heard_on = stream.try_clone().ok();
        }
        line.clear();
        out.clear();
    }
    None
}
