//! A fan-out: many event streams, one source, every event to every stream. Streams are opened one after another before
//! the clock runs; one thread then hears them all (`streams`) and makes the events (`news`).

#![allow(clippy::disallowed_methods, reason = "the load thread is made here")]
#![allow(clippy::disallowed_types, reason = "blocking sockets, before the clock runs")]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use serde_json::json;

use crate::clock::{Clock, Window};
use crate::failure::Failure;
use crate::handshake::{begin, http};
use crate::head::Length;
use crate::load::{Progress, watch};
use crate::news::News;
use crate::plan::Plan;
use crate::process::usage;
use crate::report::{Measured, Report};
use crate::request::Era;
use crate::streams::{self, Open, event};
use crate::target::{Target, Web};
use crate::upstream::NEWS;

/// Runs a fan-out of `plan`: its connections are streams, its outstanding are events under way, and its target is where
/// streams are opened. With `raw` the target is `raw --mode events`.
pub fn run(plan: &Plan, news: &News, tell: &mut dyn FnMut(Progress)) -> Result<Report, Failure> {
    plan.check()?;
    let Target::Web(web) = &plan.target else {
        return Err(Failure::Usage("a fan-out needs an http:// target".to_owned()));
    };
    let before = plan.server_pid.map(usage).transpose()?;
    let mut open = Vec::new();
    // Sessions are opened and subscribed over one connection.
    let has_sessions = plan.era == Era::Legacy && !plan.raw;
    let desk = if has_sessions { Some(plan.target.open()?.socket) } else { None };
    for number in 0..plan.connections {
        open.push(open_one(plan, web, number, desk.as_ref())?);
    }
    let clock = Clock::start();
    let window = Window::new(plan.warmup, plan.duration, plan.grace);
    let salt = RandomState::new().build_hasher().finish();
    let counter = Arc::new(AtomicU64::new(0));
    let thread = {
        let (outstanding, core) = (plan.outstanding, plan.cores.first().copied());
        let (counter, news) = (Arc::clone(&counter), news.clone());
        thread::spawn(move || {
            streams::hear(open, outstanding, news, core, salt, (clock, window), &counter)
        })
    };
    let threads = [thread];
    let (opened, closed) = watch(window, clock, plan.server_pid, &threads, &[counter], tell)?;
    let [thread] = threads;
    let tally =
        thread.join().map_err(|_| Failure::Server("the load thread panicked".to_owned()))??;
    let measured = Measured { before, open: opened, close: closed };
    Ok(Report {
        mix: "events".to_owned(),
        request_bytes: event(crate::digits::ID_MIN, 0).len(),
        ..Report::new(plan, &tally, window, &measured)
    })
}

/// Opens one stream that hears of the resource.
fn open_one(
    plan: &Plan,
    web: &Web,
    number: u32,
    desk: Option<&TcpStream>,
) -> Result<Open, Failure> {
    let socket = plan.target.open()?.socket;
    let head =
        format!("Host: {}\r\nAccept: application/json, text/event-stream\r\n", web.authority);
    let request = if plan.raw {
        format!("GET {} HTTP/1.1\r\n{head}\r\n", web.path)
    } else if let Some(desk) = desk {
        let session = begin(desk, &plan.target, true)?.session;
        let subscribe = json!({
            "jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": { "uri": NEWS },
        });
        let (_, said) = http::post(desk, web, &session, &subscribe.to_string())?;
        expect_result(&said)?;
        http::stream_of(web, &session)
    } else {
        let listen = json!({
            "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
            "params": {
                "notifications": { "resourceSubscriptions": [NEWS] },
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": plan.era.version(),
                    "io.modelcontextprotocol/clientCapabilities": {},
                },
            },
        })
        .to_string();
        format!(
            "POST {} HTTP/1.1\r\n{head}Content-Type: application/json\r\nMCP-Protocol-Version: {}\r\n\
             Mcp-Method: subscriptions/listen\r\nContent-Length: {}\r\n\r\n{listen}",
            web.path,
            plan.era.version(),
            listen.len()
        )
    };
    let (head, carry) = http::open_stream(&socket, request.as_bytes())?;
    if head.body != Length::Chunked {
        return Err(Failure::Server("a stream's body is not in chunks".to_owned()));
    }
    Ok(Open { number, socket, carry })
}

fn expect_result(said: &[Vec<u8>]) -> Result<(), Failure> {
    let is_result = said.iter().any(|message| {
        serde_json::from_slice(message)
            .is_ok_and(|message: serde_json::Value| message["result"].is_object())
    });
    if is_result {
        return Ok(());
    }
    let said = said.iter().map(|message| String::from_utf8_lossy(message)).collect::<Vec<_>>();
    Err(Failure::Server(format!("resources/subscribe was answered by {said:?}")))
}
