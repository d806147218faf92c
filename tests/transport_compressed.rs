//! Proves that messages of a WebSocket and bodies of HTTP are compressed where both sides want it and nowhere
//! else, that what strangers compress is taken within its bounds, and that a bomb costs its sender one request.
//! On io_uring and epoll.

mod transport;

use ringgate::shard::rt::DriverChoice;
use ringgate::transport::{Server, ServerConfig};
use ringgate::wire::coding::{Coding, Encoder, decoded};
use ringgate::wire::ws::Event;
use ringgate::wire::ws::deflate::{Agreed, Deflater, Inflater};

use transport::h2::{DATA, END_STREAM, H2};
use transport::web::{Answer, Client, front, http, post, web};
use transport::ws::*;
use transport::*;

const RSV1: u8 = 0x40;
const ANSWERED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const MAX: usize = 64 << 10;

fn packing(driver: DriverChoice) -> ServerConfig {
    let config = with_limits(http(driver, 1), |limits| limits.frame_bytes_max = MAX);
    front(config, |front| (front.packs_messages, front.packs_answers) = (true, true))
}

fn text(size: usize) -> String {
    "the status of the repository is open, ".chars().cycle().take(size).collect()
}

/// A connection that offers this, and what was answered.
fn offering(server: &Server, offer: &str) -> (Ws, Option<String>) {
    let mut client = Client::connect(server);
    client.write(format!("{UPGRADE}{VERSION}Sec-WebSocket-Extensions: {offer}\r\n\r\n"));
    let head = client.head();
    assert_eq!(head.status, 101);
    let answer = head.header("sec-websocket-extensions").map(str::to_owned);
    (Ws(client), answer)
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    Deflater::default().message(Agreed::CLIENT, bytes).expect("it gets smaller").to_vec()
}

/// The frames of a compressed message of text, with fragments of so many bytes.
fn packed(payload: &[u8], step: usize) -> Vec<Vec<u8>> {
    let count = payload.chunks(step).count();
    let pieces = payload.chunks(step).enumerate().map(|(n, piece)| {
        let mut bytes = frame(if n == 0 { TEXT } else { CONTINUATION }, n + 1 == count, piece);
        bytes[0] |= if n == 0 { RSV1 } else { 0 };
        bytes
    });
    pieces.collect()
}

/// The next message, and whether it came compressed.
fn message(ws: &mut Ws) -> (String, bool) {
    let head = ws.0.take(2);
    let length = match head[1] {
        126 => usize::from(u16::from_be_bytes(ws.0.take(2).try_into().expect("two bytes"))),
        127 => panic!("none is so long"),
        short => short.into(),
    };
    let payload = ws.0.take(length);
    if head[0] == 0x80 | TEXT {
        return (String::from_utf8(payload).expect("text"), false);
    }
    assert_eq!(head[0], 0x80 | RSV1 | TEXT);
    let mut inflater = Inflater::default();
    match inflater.message(true, &payload, MAX) {
        Ok(Event::Text(text)) => (text.to_owned(), true),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_are_compressed_from_their_size_on_and_taken_in_any_fragments() {
    let large = text(5_000);
    let payload = deflated(large.as_bytes());
    for driver in DRIVERS {
        let server = echo(&packing(driver));
        let (mut ws, answer) = offering(&server, "permessage-deflate; client_max_window_bits");
        assert_eq!(answer.as_deref(), Some(ANSWERED), "{driver:?}");
        for step in [payload.len(), 1, 7, 100] {
            for piece in packed(&payload, step) {
                ws.0.write(piece);
            }
            assert_eq!(message(&mut ws), (large.clone(), true), "{driver:?}, {step}");
        }
        ws.send(TEXT, b"small");
        assert_eq!(message(&mut ws), ("small".to_owned(), false), "{driver:?}");
        // Of all connections of a shard one machine inflates: what is under way on one is not in it.
        let (mut other, _) = offering(&server, "permessage-deflate");
        let pieces = packed(&payload, payload.len() / 2 + 1);
        ws.0.write(&pieces[0]);
        other.0.write(packed(&deflated(text(3_000).as_bytes()), 9_999).concat());
        assert_eq!(message(&mut other).0.len(), 3_000, "{driver:?}");
        ws.0.write(&pieces[1]);
        assert_eq!(message(&mut ws), (large.clone(), true), "{driver:?}");
        finish(server);
    }
}

#[test]
fn what_is_not_agreed_on_is_not_done() {
    for driver in DRIVERS {
        let server = echo(&packing(driver));
        for (offer, answer) in [
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; unknown, x-webkit-deflate-frame", None),
            (
                "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9",
                Some(format!("{ANSWERED}; server_max_window_bits=9")),
            ),
        ] {
            assert_eq!(offering(&server, offer).1, answer, "{driver:?}");
        }
        let (mut ws, _) = offering(&server, "x");
        ws.send(TEXT, text(5_000).as_bytes());
        assert_eq!(message(&mut ws), (text(5_000), false), "{driver:?}");
        ws.0.write(packed(&deflated(text(5_000).as_bytes()), 9_999).concat());
        assert_eq!(ws.closed(), 1002, "{driver:?}");
        finish(server);
        let off = echo(&http(driver, 1));
        assert_eq!(offering(&off, "permessage-deflate").1, None, "{driver:?}: not by default");
        finish(off);
    }
}

#[test]
fn a_compressed_message_that_is_wrong_or_a_bomb_ends_its_connection_alone() {
    let bomb = deflated(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < MAX);
    let cut = deflated(text(5_000).as_bytes());
    let mut continued = frame(CONTINUATION, true, b"x");
    continued[0] |= RSV1;
    let mut ping = frame(PING, true, b"");
    ping[0] |= RSV1;
    for driver in DRIVERS {
        let server = echo(&packing(driver));
        let (mut neighbour, _) = offering(&server, "permessage-deflate");
        for (code, bytes) in [
            (1009, packed(&bomb, 9_999).concat()),
            (1009, packed(&deflated(text(MAX + 1).as_bytes()), MAX).concat()),
            (1007, packed(&[0xff; 20], 99).concat()),
            (1007, packed(&cut[..cut.len() / 2], MAX).concat()),
            (1002, [packed(b"abc", 9).remove(0)[..1].to_vec(), vec![0x01, 0x00]].concat()),
            (1002, [frame(TEXT, false, b"{"), continued.clone()].concat()),
            (1002, ping.clone()),
        ] {
            let (mut ws, _) = offering(&server, "permessage-deflate");
            ws.0.write(&bytes);
            assert_eq!(ws.closed(), code, "{driver:?}");
            neighbour.send(TEXT, b"there?");
            assert_eq!(message(&mut neighbour).0, "there?", "{driver:?}");
        }
        let (mut ws, _) = offering(&server, "permessage-deflate");
        ws.0.write(packed(&deflated(text(MAX).as_bytes()), 9_999).concat());
        assert_eq!(message(&mut ws).0.len(), MAX, "{driver:?}: the bound itself is taken");
        finish(server);
    }
}

fn asked(client: &mut Client, path: &str, accept: &str) -> Answer {
    client.write(format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accept}\r\n\r\n"
    ));
    client.answer()
}

#[test]
fn an_answer_is_coded_as_its_client_wants_it_and_no_other_is() {
    for driver in DRIVERS {
        let server = web(&packing(driver));
        let mut client = Client::connect(&server);
        for (accept, path, coding) in [
            ("gzip, deflate, br", "/big/5000", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", "/big/5000", Some(Coding::Zstd)),
            ("zstd;q=0.1, gzip;q=0.2", "/big/1024", Some(Coding::Gzip)),
            ("identity;q=0, zstd", "/big/100", Some(Coding::Zstd)),
            ("gzip", "/big/1023", None),
            ("gzip", "/big/1048577", None),
            // However much it wants to be: the others of its shard would wait.
            ("gzip, identity;q=0", "/big/1048577", None),
            ("zstd, *;q=0", "/big/1048577", None),
            ("zstd, *;q=0", "/big/1048576", Some(Coding::Zstd)),
            ("br", "/big/5000", None),
            ("gzip;q=0", "/big/5000", None),
            ("identity", "/big/5000", None),
            ("gzip", "/hello", None),
        ] {
            let answer = asked(&mut client, path, accept);
            let name = coding.map(Coding::name);
            assert_eq!(answer.header("content-encoding"), name, "{driver:?}: {accept} {path}");
            let size: usize =
                path.strip_prefix("/big/").map_or(25, |size| size.parse().expect("a size"));
            let is_large = size >= 1_024 || coding.is_some();
            assert_eq!(answer.header("vary"), is_large.then_some("accept-encoding"), "{path}");
            let body = match coding {
                Some(coding) => decoded(coding, &answer.body, size).expect("it is coded so"),
                None => answer.body,
            };
            assert_eq!(body.len(), size, "{driver:?}: {accept} {path}");
        }
        let stream = asked(&mut Client::connect(&server), "/none", "zstd");
        assert_eq!((stream.status, stream.header("content-encoding")), (404, None));
        let mut listener = Client::connect(&server);
        listener.write("GET /stream HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: zstd\r\n\r\n");
        let head = listener.head();
        assert_eq!((head.status, head.header("content-encoding")), (200, None), "{driver:?}");
        finish(server);
        let off = web(&http(driver, 1));
        let answer = asked(&mut Client::connect(&off), "/big/5000", "gzip");
        assert_eq!((answer.body.len(), answer.header("content-encoding")), (5_000, None));
        assert_eq!(answer.header("vary"), None, "{driver:?}: not by default");
        finish(off);
    }
}

fn sent(encoding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("localhost\r\nContent-Encoding: {encoding}\r\n");
    let whole = post("/echo", body);
    let at = whole.windows(11).position(|it| it == b"localhost\r\n").expect("a host");
    [&whole[..at], head.as_bytes(), &whole[at + 11..]].concat()
}

fn coded(coding: Coding, body: &[u8]) -> Vec<u8> {
    Encoder::default().body(coding, body, true).expect("it can be coded").to_vec()
}

#[test]
fn a_request_is_decoded_within_the_bound_of_any_other() {
    for driver in DRIVERS {
        // Without a setting: who sends it so has no other way to find out.
        let config = with_limits(http(driver, 1), |limits| limits.frame_bytes_max = MAX);
        let server = web(&config);
        let mut client = Client::connect(&server);
        let mut ask = |encoding: &str, body: &[u8]| {
            client.write(sent(encoding, body));
            client.answer()
        };
        for coding in [Coding::Gzip, Coding::Zstd] {
            let answer = ask(coding.name(), &coded(coding, text(MAX).as_bytes()));
            assert_eq!((answer.status, answer.text()), (200, &*text(MAX)), "{driver:?}");
            let bomb = coded(coding, &vec![b' '; 16 << 20]);
            assert!(bomb.len() < MAX);
            let refused = ask(coding.name(), &bomb);
            assert_eq!(refused.status, 413, "{driver:?}");
            assert!(refused.text().contains("frame_bytes_max"), "{}", refused.text());
            assert_eq!(ask(coding.name(), b"{}").status, 400, "{driver:?}");
            let cut = coded(coding, text(5_000).as_bytes());
            assert_eq!(ask(coding.name(), &cut[..cut.len() - 3]).status, 400, "{driver:?}");
        }
        for unknown in ["br", "gzip, gzip", "deflate"] {
            let answer = ask(unknown, b"{}");
            let header = answer.header("accept-encoding");
            assert_eq!((answer.status, header), (415, Some("zstd, gzip")), "{driver:?}: {unknown}");
        }
        assert_eq!(ask("identity", b"{}").text(), "{}", "{driver:?}");
        finish(server);
    }
}

#[test]
fn over_http2_it_is_the_same() {
    for driver in DRIVERS {
        let server = web(&packing(driver));
        let mut client = H2::connect(&server, &[]);
        for (stream, accept, coding) in [
            (1, "gzip", Some(Coding::Gzip)),
            (3, "gzip, zstd", Some(Coding::Zstd)),
            (5, "br", None),
        ] {
            client.head(stream, "GET", "/big/5000", &[("accept-encoding", accept)]);
            let (_, body) = client.answer(stream);
            let body = match coding {
                Some(coding) => decoded(coding, &body, MAX).expect("it is coded so"),
                None => body,
            };
            assert_eq!(body.len(), 5_000, "{driver:?}: {accept}");
        }
        let mut stream = 5;
        let mut ask = |encoding: &str, body: &[u8]| {
            stream += 2;
            client.head(stream, "POST", "/echo", &[("content-encoding", encoding)]);
            client.frame(DATA, END_STREAM, stream, body);
            client.answer(stream)
        };
        let body = coded(Coding::Gzip, text(900).as_bytes());
        assert_eq!(ask("gzip", &body).1, text(900).as_bytes(), "{driver:?}");
        let bomb = coded(Coding::Zstd, &vec![b' '; 16 << 20]);
        let refused = ask("zstd", &bomb).1;
        assert!(String::from_utf8_lossy(&refused).contains("frame_bytes_max"), "{driver:?}");
        let refused = ask("br", b"{}").1;
        assert!(String::from_utf8_lossy(&refused).contains("zstd and gzip"), "{driver:?}");
        finish(server);
    }
}
