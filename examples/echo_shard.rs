//! A server whose domain sends every line back: what the shard costs by itself, to be measured
//! against a bare ring. `echo_shard ADDRESS [auto|io_uring|epoll] [SHARDS]`; ends with its stdin.

use std::io::Read;

use ringgate::base::{Moment, Now, ShardId};
use ringgate::gateway::{Effects, Event};
use ringgate::shard::Domain;
use ringgate::shard::rt::DriverChoice;
use ringgate::transport::{Listen, Server, ServerConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Echo;

impl Domain for Echo {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Frame { link, frame } => out.send(link, |bytes| bytes.extend_from_slice(frame)),
            Event::Drain => out.report(ringgate::gateway::Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to its user")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let driver = match arguments.next().as_deref() {
        Some("io_uring") => DriverChoice::IoUring,
        Some("epoll") => DriverChoice::Epoll,
        _ => DriverChoice::Auto,
    };
    let shards = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let config = ServerConfig {
        listens: vec![Listen::Tcp(address)],
        shards: Some(shards),
        driver,
        ..ServerConfig::default()
    };
    let server = Server::start(&config, |_: ShardId| Echo)?;
    println!("{} on {}", server.bound()[0], server.drivers()[0]);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for (name, count) in server.meters()[0].read() {
        println!("{name} {count}");
    }
    server.drain();
    Ok(server.join()?)
}
