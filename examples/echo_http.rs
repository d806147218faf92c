//! An echo on the very connection code that serves MCP over HTTP, so that the field's suites can judge
//! it: `GET /` answers with a text, `POST /` sends the body back. `echo_http [--listen ADDRESS]
//! [--driver auto|io_uring|epoll] [--shards N]`; prints where it listens, and ends with its stdin.

use std::io::Read;
use std::sync::Arc;

use ringgate::base::limits::Limits;
use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::http::{HeaderPairs, Request, Verb};
use ringgate::gateway::{Effect, Effects, Event, Report};
use ringgate::shard::Domain;
use ringgate::shard::http::Front;
use ringgate::shard::rt::DriverChoice;
use ringgate::transport::{Listen, Server, ServerConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Largest body and message that comes back: the suites' largest are of 16 MiB.
const FRAME_BYTES_MAX: usize = 20 << 20;

struct Echo;

impl Domain for Echo {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Exchange { link, request } => answer(link, &request, out),
            Event::Frame { link, frame } => out.send_raw(link, frame),
            Event::Overlong { link } => out.push(Effect::Close { link, why: "frame_bytes_max" }),
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

fn answer(link: LinkId, request: &Request<'_>, out: &mut Effects) {
    let text = |kind: &str| vec![("content-type", kind.to_owned())];
    let (status, headers, body): (u16, HeaderPairs, &[u8]) = match (request.path, request.verb) {
        ("/", Verb::Get) => (200, text("text/plain"), b"This server sends back what it is sent.\n"),
        ("/", Verb::Post) => (200, text("application/octet-stream"), request.body),
        ("/" | "*", _) => (405, vec![("allow", "GET, HEAD, POST".to_owned())], b""),
        _ => (404, text("text/plain"), b"There is only / here.\n"),
    };
    let bytes = out.put(body);
    out.push(Effect::Respond { link, status, headers, bytes });
}

#[expect(clippy::print_stdout, reason = "an example talks to its user")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut listen = "127.0.0.1:0".to_owned();
    let mut config = ServerConfig {
        shards: Some(1),
        limits: Arc::new(Limits {
            frame_bytes_max: FRAME_BYTES_MAX,
            outbox_bytes_hard_max: 4 * FRAME_BYTES_MAX,
            ..Limits::DEFAULT
        }),
        // The suites' names for it are many.
        front: Arc::new(Front {
            hosts: None,
            takes_binary: true,
            packs_messages: true,
            ..Front::default()
        }),
        ..ServerConfig::default()
    };
    let mut arguments = std::env::args().skip(1);
    while let (Some(option), Some(value)) = (arguments.next(), arguments.next()) {
        match (option.as_str(), value.as_str()) {
            ("--listen", _) => listen = value,
            ("--shards", _) => config.shards = Some(value.parse()?),
            ("--driver", "io_uring") => config.driver = DriverChoice::IoUring,
            ("--driver", "epoll") => config.driver = DriverChoice::Epoll,
            ("--driver", "auto") => config.driver = DriverChoice::Auto,
            _ => return Err(format!("{option} {value} is no option of this").into()),
        }
    }
    config.listens = vec![Listen::Http(listen.parse()?)];
    let server = Server::start(&config, |_: ShardId| Echo)?;
    println!("listening {}", server.bound()[0]);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.drain();
    Ok(server.join()?)
}
