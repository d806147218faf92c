//! Proves that a shard carries WebSocket over real sockets: messages are lines to the domain and lines are
//! messages, at any split, within their bounds and times, and each end has its code. On io_uring and epoll.

mod transport;

use std::time::Duration;

use transport::web::{Client, front, http, keyed};
use transport::ws::*;
use transport::*;

#[test]
fn a_handshake_is_answered_as_the_rfc_has_it() {
    for driver in DRIVERS {
        let server = echo(&http(driver, 1));
        let ask = |head: String| {
            let mut client = Client::connect(&server);
            client.write(head);
            client.head()
        };
        let answer = ask(format!("{UPGRADE}{VERSION}Sec-WebSocket-Protocol: x, mcp\r\n\r\n"));
        assert_eq!(answer.status, 101, "{driver:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.header("sec-websocket-protocol"), Some("mcp"));
        assert_eq!(answer.header("upgrade"), Some("websocket"));
        let plain = ask(format!("{UPGRADE}{VERSION}\r\n"));
        assert_eq!((plain.status, plain.header("sec-websocket-protocol")), (101, None));
        let old = ask(format!("{UPGRADE}Sec-WebSocket-Version: 8\r\n\r\n"));
        assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
        assert_eq!(
            ask(UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short") + VERSION + "\r\n").status,
            400
        );
        assert_eq!(ask(format!("{UPGRADE}{VERSION}Origin: https://evil.test\r\n\r\n")).status, 403);
        assert_eq!(ask(UPGRADE.replace("localhost", "evil.test") + VERSION + "\r\n").status, 421);
        finish(server);
    }
}

#[test]
fn messages_are_frames_and_frames_are_messages_at_any_split() {
    let mut text = format!("{UPGRADE}{VERSION}\r\n").into_bytes();
    // Behind the request at once; whole, many lines in one, in fragments with a ping between.
    text.extend(frame(TEXT, true, b"{\"a\":1}"));
    text.extend(frame(TEXT, true, b"{\"b\":2}\n\r\n{\"c\":3}\r\n"));
    text.extend(frame(TEXT, false, b"{\"d\":"));
    text.extend(frame(PING, true, b"there?"));
    text.extend(frame(CONTINUATION, false, b""));
    text.extend(frame(CONTINUATION, true, "\"é\"}".as_bytes()));
    text.extend(frame(TEXT, true, b"{\n  \"e\": 5\n}"));
    for driver in DRIVERS {
        let server = echo(&http(driver, 1));
        for step in (1..30).chain([text.len()]) {
            let mut client = Client::connect(&server);
            for chunk in text.chunks(step) {
                client.write(chunk);
            }
            assert_eq!(client.head().status, 101);
            let mut ws = Ws(client);
            for wanted in ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"] {
                assert_eq!(ws.text(), wanted, "{driver:?}, {step} bytes a write");
            }
            assert_eq!(ws.next(), (PONG, b"there?".to_vec()), "{driver:?}");
            assert_eq!(ws.text(), "{\"d\":\"é\"}", "{driver:?}");
            let last = ws.text();
            assert!(!last.contains('\n') && last.contains("\"e\""), "{driver:?}: {last}");
        }
        finish(server);
    }
}

#[test]
fn a_hundred_thousand_pipelined_messages_come_back_in_order() {
    const MESSAGES: usize = 100_000;
    for driver in DRIVERS {
        let server = echo(&http(driver, 1));
        let mut ws = Ws::connect(&server);
        let mut writer = ws.0.stream.try_clone().expect("a second handle");
        let sender = std::thread::Builder::new()
            .spawn(move || {
                let mut all = Vec::new();
                for n in 0..MESSAGES {
                    all.extend(frame(TEXT, true, n.to_string().as_bytes()));
                }
                write(&mut writer, &all);
            })
            .expect("a thread");
        for n in 0..MESSAGES {
            assert_eq!(ws.text(), n.to_string(), "{driver:?}");
        }
        sender.join().expect("the sender ends");
        let (frames, writes) = (count(&server, "frames_in"), count(&server, "writes"));
        assert_eq!(frames, MESSAGES as u64);
        assert!(writes < frames / 4, "{driver:?}: messages are not batched: {writes} writes");
        finish(server);
    }
}

#[test]
fn what_must_not_come_ends_the_link_with_its_code() {
    for driver in DRIVERS {
        let limited = with_limits(http(driver, 1), |limits| limits.frame_bytes_max = 1_000);
        let server = echo(&limited);
        for (code, bytes) in [
            (1003, frame(BINARY, true, b"x")),
            (1007, frame(TEXT, true, b"\xff")),
            (1007, frame(TEXT, false, b"begun \xff")),
            (1009, frame(TEXT, true, &[b'a'; 1_001])),
            (
                1009,
                [frame(TEXT, false, &[b'a'; 600]), frame(CONTINUATION, true, &[b'a'; 401])]
                    .concat(),
            ),
            (1002, frame(CONTINUATION, true, b"x")),
            (1002, frame(3, true, b"x")),
            (1002, vec![0x81, 0x01, b'x']),
            (1002, frame(PING, false, b"x")),
            (1002, frame(CLOSE, true, b"x")),
            (4321, frame(CLOSE, true, &4321_u16.to_be_bytes())),
            (1000, frame(CLOSE, true, b"")),
        ] {
            let mut ws = Ws::connect(&server);
            ws.0.write(&bytes);
            assert_eq!(ws.closed(), code, "{driver:?}: {:?}", &bytes[..bytes.len().min(20)]);
        }
        let mut ws = Ws::connect(&server);
        ws.send(TEXT, &[b'a'; 1_000]);
        assert_eq!(ws.text().len(), 1_000, "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_close_of_ours_comes_behind_the_last_message() {
    for driver in DRIVERS {
        let server = echo(&http(driver, 1));
        let mut ws = Ws::connect(&server);
        ws.send(TEXT, b"one\nclose\nnever\n");
        ws.send(TEXT, b"never");
        assert_eq!((ws.text(), ws.text()), ("one".to_owned(), "bye".to_owned()), "{driver:?}");
        assert_eq!(ws.closed(), 1000, "{driver:?}");
        let idle = Ws::connect(&server);
        server.drain();
        // This domain closes nobody; the server does when it stops.
        assert_eq!(idle.closed(), 1001, "{driver:?}");
        server.join().expect("the shards end well");
    }
}

#[test]
fn a_peer_is_asked_whether_it_is_there_and_given_up_when_it_is_not() {
    for driver in DRIVERS {
        let limited = with_limits(http(driver, 1), |limits| {
            limits.ws_ping = Duration::from_millis(50);
            limits.ws_idle = Duration::from_millis(400);
            limits.ws_fragments = Duration::from_millis(100);
        });
        let server = echo(&limited);
        let mut alive = Ws::connect(&server);
        for _ in 0..12 {
            assert_eq!(alive.next(), (PING, Vec::new()), "{driver:?}: also after the idle time");
            alive.send(PONG, b"");
        }
        let mut silent = Ws::connect(&server);
        let code = loop {
            match silent.next() {
                (PING, _) => {}
                (CLOSE, code) => break code,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, 1001_u16.to_be_bytes(), "{driver:?}");
        let mut slow = Ws::connect(&server);
        slow.0.write(frame(TEXT, false, b"begun and never ended"));
        let code = loop {
            match slow.next() {
                (PING, _) => slow.send(PONG, b""),
                (CLOSE, code) => break code,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, 1008_u16.to_be_bytes(), "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_reader_that_stops_is_not_read_from_and_is_closed_after_a_while() {
    for driver in DRIVERS {
        let limited = with_limits(http(driver, 1), |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = Duration::from_millis(300);
        });
        let server = echo(&limited);
        let mut slow = Ws::connect(&server);
        // Asks for much more than the sockets' buffers hold, and takes nothing.
        let ask = frame(TEXT, true, b"big 16000");
        for _ in 0..2_000 {
            if std::io::Write::write_all(&mut slow.0.stream, &ask).is_err() {
                break;
            }
        }
        let mut other = Ws::connect(&server);
        other.send(TEXT, b"still here");
        assert_eq!(other.text(), "still here", "{driver:?}: others go on");
        while count(&server, "links_open") > 1 {
            std::thread::yield_now();
        }
        assert!(slow.0.end().len() < 2_000 * 16_000, "{driver:?}: everything was buffered");
        assert_eq!(count(&server, "closed_slow"), 1, "{driver:?}");
        let frames = count(&server, "frames_in");
        assert!(frames < 2_000, "{driver:?}: reading did not stop: {frames} messages were taken");
        finish(server);
    }
}

#[test]
fn an_echo_for_suites_sends_messages_back_as_they_are() {
    for driver in DRIVERS {
        let config = front(http(driver, 1), |front| front.takes_binary = true);
        let server = mirror(&config);
        let mut ws = Ws::connect(&server);
        for (kind, bytes) in [(TEXT, &b"two\nlines\n"[..]), (BINARY, b"\0\xff\n"), (TEXT, b"")] {
            ws.send(kind, bytes);
            assert_eq!(ws.next(), (kind, bytes.to_vec()), "{driver:?}");
        }
        finish(server);
    }
}

#[test]
fn a_socket_is_opened_with_a_key_where_keys_are_asked_for() {
    let (key, front) = keyed();
    for driver in DRIVERS {
        let server = echo(&front(http(driver, 1)));
        for (extra, status) in
            [(format!("Authorization: Bearer {key}\r\n"), 101), (String::new(), 401)]
        {
            let mut client = Client::connect(&server);
            client.write(format!("{UPGRADE}{VERSION}{extra}\r\n"));
            assert_eq!(client.head().status, status, "{driver:?}");
        }
        finish(server);
    }
}

#[test]
fn a_message_of_many_lines_has_as_many_as_a_batch() {
    for driver in DRIVERS {
        let server = echo(&with_limits(http(driver, 1), |limits| limits.batch_messages_max = 3));
        let mut ws = Ws::connect(&server);
        ws.send(TEXT, b"\na\nb\n\nc\n");
        for wanted in ["a", "b", "c"] {
            assert_eq!(ws.text(), wanted, "{driver:?}");
        }
        ws.send(TEXT, b"a\nb\nc\nd");
        assert_eq!(ws.closed(), 1_009, "{driver:?}: none of them is taken");
        finish(server);
    }
}
