//! Proves that lines travel in blocks where both ends agree, in both directions and to upstreams: whole, in order, at
//! any split, within the same bounds as bare lines; that whoever asks for what there is not is told so; that what is no
//! block ends its own connection and no other; and that who speaks lines notices nothing. On both drivers.
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

mod transport;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ringgate::base::limits::BLOCK_BYTES_MAX;
use ringgate::base::{LinkId, Moment, Now};
use ringgate::gateway::lane::LaneKey;
use ringgate::gateway::settings::{EraPin, Peer, Share, Spread, Target, Upstream};
use ringgate::gateway::{Effect, Effects, Event, Report};
use ringgate::shard::rt::DriverChoice;
use ringgate::shard::{Compression, Domain};
use ringgate::transport::{Bound, Listen, Server, ServerConfig};
use ringgate::wire::block::{Codec, Codecs, offer};
use transport::blocks::{Client, line};
use transport::*;

/// A message as tools answer, so many bytes of it text.
fn message(id: usize, text: usize) -> Vec<u8> {
    let words = "the quick brown fox jumps over the lazy dog; ";
    let text: String = words.chars().cycle().skip(id % 40).take(text).collect();
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}\n")
        .into_bytes()
}

fn header(id: u8, long: usize, short: usize) -> Vec<u8> {
    let three = |n: usize| u32::try_from(n).expect("small").to_be_bytes()[1..].to_vec();
    [vec![id], three(long), three(short)].concat()
}

#[test]
fn blocks_are_echoed_whole_and_in_order_however_their_bytes_are_split() {
    let text: Vec<u8> = (0..6).flat_map(|id| message(id, id * 400)).collect();
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        for codec in Codec::ALL {
            // Compressed and plain ones in turn.
            let (front, back) = text.split_at(message(0, 0).len());
            let mixed = [
                Client::blocks(codec, usize::MAX, front),
                Client::blocks(codec, 0, back),
                Client::blocks(codec, usize::MAX, front),
            ]
            .concat();
            let expected = [front, back, front].concat();
            for step in [1, 2, 3, 5, 6, 7, 8, 13, 100, mixed.len() - 1, mixed.len()] {
                let mut client = Client::new(&server, codec);
                for chunk in mixed.chunks(step) {
                    client.raw(chunk);
                }
                let got = client.lines(expected.len());
                assert!(got == expected, "{driver:?}, {codec:?}, {step} bytes a write");
            }
        }
        finish(server);
    }
}

#[test]
fn a_hundred_thousand_pipelined_lines_come_back_in_order_in_few_blocks() {
    const LINES: usize = 100_000;
    for driver in DRIVERS {
        for codec in Codec::ALL {
            let server = echo(&config(driver, 1));
            let mut client = Client::new(&server, codec);
            let text: Vec<u8> =
                (0..LINES).flat_map(|n| format!("{{\"id\":{n}}}\n").into_bytes()).collect();
            let mut writer = client.stream.try_clone().expect("a second handle");
            let bytes = Client::blocks(codec, 1 << 10, &text);
            let sender = std::thread::Builder::new()
                .spawn(move || {
                    write(&mut writer, &bytes);
                    writer.shutdown(Shutdown::Write).expect("half-closed");
                })
                .expect("a thread");
            assert!(client.rest() == text, "{driver:?}, {codec:?}");
            sender.join().expect("the sender ends");
            assert_eq!(count(&server, "frames_in"), LINES as u64);
            assert_eq!(count(&server, "block_messages_out"), LINES as u64);
            let blocks = count(&server, "blocks_out");
            assert!(blocks < LINES as u64 / 10, "{driver:?}: {blocks} blocks are no batches");
            let (long, short) =
                (count(&server, "block_lines_bytes_out"), count(&server, "block_bytes_out"));
            assert_eq!(long, text.len() as u64);
            assert!(short * 2 < long, "{driver:?}, {codec:?}: {short} of {long} bytes");
            finish(server);
        }
    }
}

#[test]
fn a_line_of_four_mebibytes_passes_in_pieces_and_the_link_goes_on() {
    for driver in DRIVERS {
        for codec in Codec::ALL {
            let server = echo(&config(driver, 1));
            let mut client = Client::new(&server, codec);
            let mut text = vec![b'a'; 4 << 20];
            text.extend_from_slice(b"\nshort\n");
            let mut writer = client.stream.try_clone().expect("a second handle");
            let bytes = Client::blocks(codec, 1 << 10, &text);
            let sender = std::thread::Builder::new()
                .spawn(move || {
                    write(&mut writer, &bytes);
                    writer.shutdown(Shutdown::Write).expect("half-closed");
                })
                .expect("a thread");
            assert!(client.rest() == text, "{driver:?}, {codec:?}");
            sender.join().expect("the sender ends");
            finish(server);
        }
    }
}

#[test]
fn who_asks_for_what_there_is_not_is_told_so_and_closed() {
    let off = Compression { tcp: Codecs::NONE, ..Compression::default() };
    let lz4 = Compression { tcp: Codecs::NONE.with(Codec::Lz4), ..Compression::default() };
    let cases = [
        (off, "ringgate-blocks/1 lz4\n", "this listener's compression is off"),
        (lz4, "ringgate-blocks/1 zstd\n", "this listener's compression is lz4"),
        (lz4, "ringgate-blocks/2 lz4\n", "only version 1 is spoken here"),
        (
            Compression::default(),
            "ringgate-blocks/1 br\n",
            "this listener's compression is lz4, zstd",
        ),
    ];
    for driver in DRIVERS {
        for (compression, question, why) in cases {
            let server = echo(&ServerConfig { compression, ..config(driver, 1) });
            let mut stream = connect(&server);
            write(&mut stream, question.as_bytes());
            let answer = String::from_utf8(read_all(&mut stream)).expect("text");
            assert_eq!(answer, format!("ringgate-blocks/1 refused: {why}\n"), "{driver:?}");
            assert_eq!(count(&server, "faults"), 1);
            finish(server);
        }
    }
}

#[test]
fn who_speaks_lines_notices_nothing() {
    for driver in DRIVERS {
        let off = Compression { tcp: Codecs::NONE, ..Compression::default() };
        for compression in [off, Compression::default()] {
            let server = echo(&ServerConfig { compression, ..config(driver, 1) });
            for first in
                ["{\"id\":1}\n", "[]\n", "r\n", "ringgate\n", "ringgate-blocks\n", "\u{e9}\n"]
            {
                let mut stream = connect(&server);
                for byte in first.as_bytes().chunks(1) {
                    write(&mut stream, byte);
                }
                assert_eq!(line(&mut stream), first.trim_end(), "{driver:?}");
                // Only the first bytes are looked at.
                write(&mut stream, offer(Codec::Lz4).as_bytes());
                assert_eq!(line(&mut stream), "ringgate-blocks/1 lz4");
            }
            assert_eq!(count(&server, "blocks_in") + count(&server, "blocks_out"), 0);
            finish(server);
        }
    }
}

#[test]
fn what_is_no_block_ends_its_connection_with_the_reason_and_no_other() {
    let bomb = vec![b'0'; 1 << 20];
    let lz4 = lz4_flex::block::compress(&bomb);
    let zstd = zstd::bulk::compress(&bomb, 3).expect("it compresses");
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        let mut neighbour = Client::new(&server, Codec::Lz4);
        let mut faults = 0;
        for (codec, id, other, bomb) in [(Codec::Lz4, 1, 2, &lz4), (Codec::Zstd, 2, 1, &zstd)] {
            let bomb = &bomb[..bomb.len().min(60_000)];
            let mut corrupt = Client::blocks(codec, 0, &message(1, 20_000));
            let last = corrupt.len() - 1;
            corrupt[last - 40..].fill(0xFF);
            let cases = [
                (
                    [header(id, BLOCK_BYTES_MAX, bomb.len()), bomb.to_vec()].concat(),
                    "a corrupt block",
                ),
                (corrupt, "a corrupt block"),
                (header(id, BLOCK_BYTES_MAX + 1, 10), "block_bytes_max"),
                (header(id, 0xFF_FFFF, 10), "block_bytes_max"),
                (header(0, 0, 0), "an empty block"),
                (header(0, 10, 9), "lengths contradict"),
                (header(other, 10, 9), "not agreed on"),
                (b"{\"jsonrpc\":\"2.0\"}\n".to_vec(), "not agreed on"),
            ];
            for (bytes, why) in cases {
                let mut client = Client::new(&server, codec);
                client.send(b"before\n");
                assert_eq!(client.lines(7), b"before\n");
                client.raw(&bytes);
                let told = String::from_utf8(client.rest()).expect("text");
                let start = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,";
                assert!(
                    told.starts_with(start) && told.contains(why),
                    "{codec:?}: {told:?}, {why}"
                );
                assert!(told.ends_with("}}\n"), "{told:?}");
                faults += 1;
                assert_eq!(count(&server, "faults"), faults, "{driver:?}");
            }
        }
        neighbour.send(b"still here\n");
        assert_eq!(neighbour.lines(11), b"still here\n", "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_stream_that_is_cut_at_any_byte_answers_the_whole_blocks_and_ends() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        for codec in Codec::ALL {
            let first = Client::blocks(codec, 0, &message(1, 300));
            let second = Client::blocks(codec, 0, &message(2, 300));
            let both = [first.clone(), second].concat();
            for end in 0..=both.len() {
                let mut client = Client::new(&server, codec);
                client.raw(&both[..end]);
                client.stream.shutdown(Shutdown::Write).expect("half-closed");
                let mut expected = Vec::new();
                for (id, whole) in [(1, first.len()), (2, both.len())] {
                    if end >= whole {
                        expected.extend(message(id, 300));
                    }
                }
                assert!(client.rest() == expected, "{driver:?}, {codec:?}, cut at {end}");
            }
        }
        finish(server);
    }
}

#[test]
fn an_agreement_that_is_cut_anywhere_or_never_ends_costs_only_its_connection() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        let question = offer(Codec::Zstd);
        for end in 0..question.len() {
            let mut stream = connect(&server);
            write(&mut stream, &question.as_bytes()[..end]);
            stream.shutdown(Shutdown::Write).expect("half-closed");
            assert_eq!(read_all(&mut stream), b"", "{driver:?}, cut at {end}");
        }
        // One without an end is a line like any other, and as long as one may be.
        let mut stream = connect(&server);
        let endless = [question.trim_end().as_bytes(), &[b'x'; 1_000], b"\n"].concat();
        write(&mut stream, &endless);
        assert_eq!(line(&mut stream).as_bytes(), &endless[..endless.len() - 1], "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_line_over_frame_bytes_max_gets_its_error_however_many_blocks_it_has() {
    for driver in DRIVERS {
        for codec in Codec::ALL {
            let limited = with_limits(config(driver, 1), |limits| limits.frame_bytes_max = 100_000);
            let server = echo(&limited);
            let mut client = Client::new(&server, codec);
            client.send(b"before\n");
            client.send(&vec![b'a'; 1 << 20]);
            client.stream.shutdown(Shutdown::Write).expect("half-closed");
            assert_eq!(client.rest(), b"before\nframe_bytes_max\n", "{driver:?}");
            finish(server);
        }
    }
}

/// Counts what it is given in one turn, whose events have one time; a line `most` is answered by the most.
#[derive(Default)]
struct Turns {
    at: Moment,
    bytes: usize,
    most: usize,
}

impl Domain for Turns {
    fn handle(&mut self, now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Frame { link, frame: b"most" } => {
                out.send(link, |bytes| bytes.extend(format!("{:09}", self.most).as_bytes()));
            }
            Event::Frame { frame, .. } => {
                let before = if now.at == self.at { self.bytes } else { 0 };
                (self.at, self.bytes) = (now.at, before + frame.len() + 1);
                self.most = self.most.max(self.bytes);
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

#[test]
fn a_few_bytes_that_hold_very_much_are_many_turns() {
    // Some thousand times what it takes on the wire.
    let lines = [[b'x'; 999].as_slice(), b"\n"].concat().repeat(8 << 10);
    for driver in DRIVERS {
        for codec in Codec::ALL {
            let server = Server::start(&config(driver, 1), |_| Turns::default());
            let server = server.expect("the server starts");
            let mut client = Client::new(&server, codec);
            client.raw(&Client::blocks(codec, 0, &lines));
            client.send(b"most\n");
            let most = String::from_utf8(client.lines(10)).expect("text");
            let most: usize = most.trim_end().parse().expect("a number");
            // The bound of a turn, and the block that went over it.
            assert!(most <= (256 << 10) + 2 * BLOCK_BYTES_MAX, "{driver:?} {codec:?}: {most}");
            finish(server);
        }
    }
}

#[test]
fn a_reader_of_blocks_that_stops_is_not_read_from_and_is_closed_after_a_while() {
    for driver in DRIVERS {
        let limited = with_limits(config(driver, 1), |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = Duration::from_millis(300);
            // What waits would shrink to nothing.
            limits.compress_bytes_min = usize::MAX;
        });
        let server = echo(&limited);
        let mut slow = Client::new(&server, Codec::Lz4);
        for _ in 0..2_000 {
            let ask = Client::blocks(Codec::Lz4, 1 << 10, b"big 16000\n");
            if slow.stream.write_all(&ask).is_err() {
                break;
            }
        }
        while count(&server, "links_open") > 0 {
            std::thread::yield_now();
        }
        assert_eq!(count(&server, "closed_slow"), 1, "{driver:?}");
        let frames = count(&server, "frames_in");
        assert!(frames < 2_000, "{driver:?}: reading did not stop: {frames} lines were taken");
        finish(server);
    }
}

#[test]
fn what_waits_is_out_before_a_link_that_we_close_ends() {
    for driver in DRIVERS {
        for codec in Codec::ALL {
            let server = echo(&config(driver, 1));
            let mut client = Client::new(&server, codec);
            client.send(b"big 300000\nclose\nnever seen\n");
            let got = client.rest();
            assert_eq!(got.len(), 300_001 + 4, "{driver:?}");
            assert!(got.ends_with(b"x\nbye\n"));
            // And where the server ends.
            let mut client = Client::new(&server, codec);
            client.send(b"big 300000\n");
            assert_eq!(client.lines(1), b"x");
            server.drain();
            assert_eq!(client.rest().len(), 300_000, "{driver:?}");
            server.join().expect("the shards end well");
        }
    }
}

#[test]
fn a_unix_socket_takes_what_its_own_setting_says() {
    for driver in DRIVERS {
        let path =
            std::env::temp_dir().join(format!("ringgate-b{driver:?}-{}", std::process::id()));
        let server = echo(&ServerConfig {
            listens: vec![Listen::Unix { path: path.clone(), mode: 0o600 }],
            compression: Compression { tcp: Codecs::NONE, unix: Codecs::NONE.with(Codec::Zstd) },
            ..config(driver, 1)
        });
        let ask = |codec| {
            let mut stream = UnixStream::connect(&path).expect("the server listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.write_all(offer(codec).as_bytes()).expect("the server reads");
            (line(&mut stream), stream)
        };
        assert!(ask(Codec::Lz4).0.contains("refused"));
        let (answer, mut stream) = ask(Codec::Zstd);
        assert_eq!(answer, "ringgate-blocks/1 zstd");
        let block = Client::blocks(Codec::Zstd, usize::MAX, b"{}\n");
        stream.write_all(&block).expect("the server reads");
        let mut got = vec![0; block.len()];
        stream.read_exact(&mut got).expect("an answer");
        assert_eq!(got, block, "{driver:?}");
        finish(server);
    }
}

/// One client, one upstream: see `transport_upstream`, of which this has what is needed here.
#[derive(Default)]
struct Relay {
    client: Option<LinkId>,
    upstream: Option<LinkId>,
}

impl Domain for Relay {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        let tell = |client: Option<LinkId>, text: String, out: &mut Effects| {
            out.send(client.expect("a client asked"), |bytes| {
                bytes.extend_from_slice(text.as_bytes());
            });
        };
        match event {
            Event::ClientOpened { link, .. } => self.client = Some(link),
            Event::Frame { frame: b"dial", .. } => {
                out.push(Effect::Dial { lane: LaneKey::from_bits(7), endpoint: 0 });
            }
            Event::Frame { link, frame } => {
                let to = if Some(link) == self.upstream { self.client } else { self.upstream };
                let to = to.expect("both are there");
                out.send(to, |bytes| bytes.extend_from_slice(frame));
            }
            Event::Dialed { link, .. } => {
                self.upstream = Some(link);
                tell(self.client, "dialed".to_owned(), out);
            }
            Event::DialFailed { why, .. } => tell(self.client, format!("failed: {why}"), out),
            Event::Closed { link, why } if Some(link) == self.upstream => {
                tell(self.client, format!("closed: {why}"), out);
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

fn relay(driver: DriverChoice, peer: Peer, codec: Codec) -> Server {
    let upstream = Upstream {
        name: "there".to_owned(),
        prefix: String::new(),
        target: Target::Blocks { peer, codec },
        era: EraPin::Auto,
        share: Share::Auto,
        warm: false,
        spread: Spread::default(),
    };
    let limited = with_limits(config(driver, 1), |limits| limits.connect = Duration::from_secs(1));
    let config = ServerConfig { upstreams: Arc::from([upstream]), ..limited };
    Server::start(&config, |_| Relay::default()).expect("the server starts")
}

#[test]
fn gateways_speak_blocks_to_each_other() {
    for driver in DRIVERS {
        for codec in Codec::ALL {
            let far = echo(&config(driver, 1));
            let Bound::Tcp(address) = far.bound()[0] else { panic!("it listens on TCP") };
            let near = relay(driver, Peer::Tcp(address.into()), codec);
            let mut stream = connect(&near);
            write(&mut stream, b"dial\n");
            assert_eq!(line(&mut stream), "dialed", "{driver:?}");
            let text: Vec<u8> = (0..500).flat_map(|id| message(id, 1_000)).collect();
            let mut writer = stream.try_clone().expect("a second handle");
            let sent = text.clone();
            let sender = std::thread::Builder::new()
                .spawn(move || write(&mut writer, &sent))
                .expect("a thread");
            let mut got = vec![0; text.len()];
            stream.read_exact(&mut got).expect("all of it comes back");
            sender.join().expect("the sender ends");
            assert!(got == text, "{driver:?}, {codec:?}");
            for server in [&near, &far] {
                let (long, short) =
                    (count(server, "block_lines_bytes_out"), count(server, "block_bytes_out"));
                assert_eq!(long, text.len() as u64);
                assert!(short * 2 < long, "{driver:?}, {codec:?}: {short} of {long} bytes");
            }
            finish(near);
            finish(far);
        }
    }
}

/// A server that answers the question with these bytes.
fn answering(answer: &'static [u8]) -> (std::net::SocketAddr, std::thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let server = std::thread::Builder::new()
        .spawn(move || {
            let (mut stream, _) = listener.accept().expect("dialled");
            assert_eq!(line(&mut stream), "ringgate-blocks/1 lz4");
            stream.write_all(answer).expect("read");
            stream
        })
        .expect("a thread");
    (address, server)
}

#[test]
fn a_server_that_knows_no_blocks_is_a_dial_that_failed_and_says_why() {
    let cases: [(&[u8], &str); 5] = [
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700}}\n",
            "failed: it does not know compression, or is too old for it: go without; it answered \"{\\\"jsonrpc",
        ),
        (
            b"ringgate-blocks/1 refused: this listener's compression is off\n",
            "failed: compression by lz4 is refused: this listener's compression is off",
        ),
        (
            b"ringgate-blocks/1 zstd\n",
            "failed: compression by lz4 is refused: it answered with another",
        ),
        (
            &[b'x'; 600],
            "failed: asked for compression, it gave no answer: its first line is too long",
        ),
        (b"half", "failed: asked for compression, it gave no answer: timed out"),
    ];
    for driver in DRIVERS {
        for (answer, expected) in cases {
            let (address, server) = answering(answer);
            let near = relay(driver, Peer::Tcp(address.into()), Codec::Lz4);
            let mut stream = connect(&near);
            write(&mut stream, b"dial\n");
            let told = line(&mut stream);
            assert!(told.starts_with(expected), "{driver:?}: {told:?}");
            drop(server.join().expect("the server ends"));
            finish(near);
        }
    }
}

#[test]
fn an_upstream_that_sends_what_is_no_block_is_closed_and_what_it_said_before_counts() {
    for driver in DRIVERS {
        // What follows the agreement at once is not lost.
        let (address, server) =
            answering(b"ringgate-blocks/1 lz4\n\0\0\0\x05\0\0\x05last\n\x07garbage");
        let near = relay(driver, Peer::Tcp(address.into()), Codec::Lz4);
        let mut stream = connect(&near);
        write(&mut stream, b"dial\n");
        assert_eq!(line(&mut stream), "dialed", "{driver:?}");
        assert_eq!(line(&mut stream), "last", "{driver:?}");
        let told = line(&mut stream);
        assert_eq!(told, "closed: a block of a codec that was not agreed on", "{driver:?}");
        drop(server.join().expect("the server ends"));
        finish(near);
    }
}

#[test]
fn a_line_in_blocks_or_a_block_that_does_not_end_is_given_up_in_time() {
    for driver in DRIVERS {
        for codec in Codec::ALL {
            let quick = Duration::from_millis(100);
            let server = echo(&with_limits(config(driver, 1), |limits| limits.body = quick));
            let line = vec![b'a'; 100_000];
            let whole = Client::blocks(codec, 0, &line);
            for bytes in [&whole[..], &whole[..whole.len() - 1], &whole[..1]] {
                let mut client = Client::new(&server, codec);
                client.raw(bytes);
                let got = String::from_utf8(client.rest()).expect("text");
                assert!(got.contains("limits.body"), "{driver:?} {codec:?}: {got}");
            }
            assert_eq!(count(&server, "faults"), 3, "{driver:?} {codec:?}");
            finish(server);
        }
    }
}
