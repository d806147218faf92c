//! Proves that a shard carries HTTP/2 over real sockets: streams beside each other on one connection, each
//! with its own window, bound and end, on the port of HTTP/1.1. Each test runs on io_uring and on epoll.

mod transport;

use std::sync::Arc;
use std::time::Duration;

use ringgate::gateway::keys::{Digest, Keys};
use ringgate::gateway::principal::Principals;
use ringgate::gateway::settings::Settings;
use ringgate::shard::Renewal;
use transport::h2::*;
use transport::web::*;
use transport::*;

/// `SETTINGS_INITIAL_WINDOW_SIZE`
const INITIAL_WINDOW: u16 = 4;
/// `CANCEL`
const CANCEL: u32 = 8;

#[test]
fn a_connection_may_begin_with_either_version_at_any_split() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for at in 1..preface.len() {
            let mut client = H2::connect_bare(&server);
            client.write(&preface[..at]);
            // The answer shows that the first part was read by itself, most often.
            Client::connect(&server).get("/hello");
            client.write(&preface[at..]);
            client.settings(&[]);
            client.get(1, "/hello");
            assert_eq!(client.answer(1), (STATUS_200, b"hello, this is the front\n".to_vec()));
        }
        let mut other = Client::connect(&server);
        other.write("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
        assert_eq!(other.answer().status / 100, 5, "{driver:?}: no preface, no version of ours");
        finish(server);
    }
}

#[test]
fn streams_are_answered_when_their_answers_are_there() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = H2::connect(&server, &[]);
        client.get(1, "/wait");
        for n in 0..100_u32 {
            let body = format!("body {n}");
            client.post(3 + 2 * n, "/echo", body.as_bytes());
        }
        for n in 0..100_u32 {
            let body = format!("body {n}").into_bytes();
            assert_eq!(client.answer(3 + 2 * n), (STATUS_200, body), "{driver:?}");
        }
        client.post(203, "/tell", b"at last");
        assert_eq!(client.answer(1), (STATUS_200, b"at last".to_vec()), "{driver:?}");
        client.answer(203);
        client.head(205, "GET", "/headers", &[("x-one", "1"), ("x-one", "2")]);
        let (_, headers) = client.answer(205);
        assert_eq!(headers, b"x-one=1\nx-one=2\n", "{driver:?}");
        drop(client);
        finish(server);
    }
}

#[test]
fn a_stream_of_events_is_data_as_it_comes_and_ends_alone() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = H2::connect(&server, &[]);
        client.get(1, "/stream");
        assert_eq!(client.next(1).payload[0], STATUS_200);
        for (stream, text) in [(3, &b"data: one\n\n"[..]), (5, b"data: two\n\n")] {
            client.post(stream, "/say", text);
            client.answer(stream);
            assert_eq!(client.next(1).payload, text, "{driver:?}");
        }
        client.post(7, "/end", b"");
        client.answer(7);
        assert!(client.next(1).ends(), "{driver:?}");
        client.get(9, "/gone");
        assert_eq!(client.answer(9).1, b"1", "a stream that was closed is told as closed");
        drop(client);
        finish(server);
    }
}

#[test]
fn a_stream_that_is_reset_and_a_connection_that_ends_give_up_what_they_asked_for() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = H2::connect(&server, &[]);
        client.get(1, "/wait");
        client.get(3, "/stream");
        client.next(3);
        client.frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
        client.frame(RST_STREAM, 0, 3, &CANCEL.to_be_bytes());
        until(&server, "/gone", "2");
        client.get(5, "/wait");
        client.get(7, "/stream");
        client.next(7);
        drop(client);
        until(&server, "/gone", "4");
        finish(server);
    }
}

#[test]
fn nothing_is_sent_beyond_a_streams_window_and_the_others_go_on() {
    const BYTES: usize = 1_000_000;
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = H2::connect(&server, &[(INITIAL_WINDOW, 0)]);
        client.get(1, &format!("/big/{BYTES}"));
        assert_eq!(client.next(1).payload[0], STATUS_200);
        client.widen(1, 10);
        let first = client.next(1);
        assert_eq!((first.kind, first.payload.len()), (DATA, 10), "{driver:?}");
        client.get(3, "/hello");
        assert_eq!(client.next(3).kind, HEADERS);
        client.widen(3, 1_000);
        assert_eq!(client.next(3).payload, b"hello, this is the front\n", "{driver:?}");
        client.widen(0, 1 << 21);
        client.widen(1, 1 << 21);
        let mut got = first.payload.len();
        loop {
            let frame = client.next(1);
            got += frame.payload.len();
            if frame.ends() {
                break;
            }
        }
        assert_eq!(got, BYTES, "{driver:?}");
        drop(client);
        finish(server);
    }
}

#[test]
fn a_stream_that_nobody_reads_costs_its_bound_and_is_reset_and_the_others_go_on() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = Duration::from_millis(300);
        });
        let mut client = H2::connect(&server, &[(INITIAL_WINDOW, 1_000)]);
        client.get(1, "/flood");
        client.next(1);
        client.next(1);
        let reset = client.next(1);
        assert_eq!(reset.kind, RST_STREAM, "{driver:?}");
        assert_eq!(count(&server, "closed_slow"), 1, "{driver:?}");
        client.get(3, "/gone");
        assert_eq!(client.answer(3), (STATUS_200, b"1".to_vec()), "{driver:?}");
        drop(client);
        finish(server);
    }
}

#[test]
fn a_body_over_its_bound_or_its_time_ends_its_stream_alone() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| {
            limits.frame_bytes_max = 1_000;
            limits.body = Duration::from_millis(200);
        });
        let mut client = H2::connect(&server, &[]);
        client.post(1, "/echo", &[b'a'; 1_001]);
        assert_ne!(client.next(1).payload[0], STATUS_200, "{driver:?}");
        client.head(3, "POST", "/echo", &[("content-length", "1001")]);
        let refused = client.next(3);
        assert_eq!(refused.kind, HEADERS, "{driver:?}: before its body comes");
        assert_ne!(refused.payload[0], STATUS_200, "{driver:?}");
        client.head(5, "POST", "/echo", &[]);
        client.frame(DATA, 0, 5, b"begun and never ended");
        let late = client.next(5);
        assert_eq!(late.kind, HEADERS, "{driver:?}");
        assert_ne!(late.payload[0], STATUS_200, "{driver:?}");
        client.post(7, "/echo", &[b'a'; 1_000]);
        assert_eq!(client.answer(7).1.len(), 1_000, "{driver:?}");
        drop(client);
        finish(server);
    }
}

#[test]
fn only_hosts_and_pages_that_may_ask_are_answered() {
    for driver in DRIVERS {
        let config =
            front(http(driver, 1), |front| front.origins = vec!["https://app.test".into()]);
        let server = web(&config);
        let mut client = H2::connect(&server, &[]);
        let allowed = [("origin", "https://app.test")];
        for (stream, more, passes) in [
            (1, &[(":authority", "evil.test")][..], false),
            (3, &[(":authority", "localhost:1")], true),
            (5, &[("origin", "https://evil.test")], false),
            (7, &allowed, true),
        ] {
            client.head(stream, "GET", "/hello", more);
            assert_eq!(client.answer(stream).0 == STATUS_200, passes, "{driver:?}: {more:?}");
        }
        client.head(9, "GET", "/hello", &[(":authority", "user@localhost")]);
        let head = client.next(9);
        assert!(head.kind == RST_STREAM || head.payload[0] == STATUS_400, "{driver:?}");
        let preflight = [allowed[0], ("access-control-request-method", "POST")];
        client.head(11, "OPTIONS", "/mcp", &preflight);
        assert_eq!(client.answer(11), (STATUS_204, Vec::new()), "{driver:?}");
        drop(client);
        finish(server);
    }
}

#[test]
fn effects_on_a_stream_of_another_shard_find_it_by_mail() {
    for driver in DRIVERS {
        let server = web(&http(driver, 2));
        let mut client = H2::connect(&server, &[]);
        for n in 0..100_u32 {
            let path = if n % 2 == 0 { "/elsewhere" } else { "/elsewhere/stream" };
            client.post(1 + 2 * n, path, b"a letter");
        }
        for n in 0..100_u32 {
            assert_eq!(client.answer(1 + 2 * n), (STATUS_200, b"a letter".to_vec()), "{driver:?}");
        }
        drop(client);
        finish(server);
    }
}

#[test]
fn a_connection_without_streams_ends_after_its_time() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| limits.keep_alive = Duration::from_millis(200));
        let mut client = H2::connect(&server, &[]);
        client.get(1, "/hello");
        client.answer(1);
        assert_eq!(client.end(), Some(0), "{driver:?}: GOAWAY, without an error");
        finish(server);
    }
}

#[test]
fn a_drain_says_so_and_lets_streams_finish() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut idle = H2::connect(&server, &[]);
        idle.get(1, "/hello");
        idle.answer(1);
        let mut client = H2::connect(&server, &[]);
        client.get(1, "/wait");
        client.get(3, "/stream");
        client.next(3);
        server.drain();
        assert!(client.next(3).ends(), "{driver:?}");
        assert_eq!(client.answer(1), (STATUS_200, b"the last answer".to_vec()), "{driver:?}");
        assert_eq!(idle.end(), Some(0), "{driver:?}");
        drop(client);
        server.join().expect("the shards end well");
    }
}

#[test]
fn an_event_stream_ends_with_its_key_in_both_versions_and_its_connection_goes_on() {
    let [kept, lost] = [7, 8].map(|byte| ringgate::gateway::keys::key(&[byte; 32]));
    let alice = Principals::default().acting_as("alice");
    let keys = |of: &[&String]| {
        let all = of.iter().map(|key| (Digest::of(key.as_bytes()), alice)).collect();
        Some(Arc::new(Keys::new(all)))
    };
    for driver in DRIVERS {
        let before = front(http(driver, 1), |front| front.keys = keys(&[&kept, &lost]));
        let after = front(http(driver, 1), |front| front.keys = keys(&[&kept]));
        let server = web(&before);
        let shown = |key: &str| format!("Bearer {key}");
        let ask = |path: &str, key: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n")
        };
        let [mut stays, mut goes] = [&kept, &lost].map(|key| {
            let mut client = Client::connect(&server);
            client.write(ask("/stream", key));
            assert_eq!(client.head().status, 200, "{driver:?}");
            client
        });
        let mut two = H2::connect(&server, &[]);
        for (stream, key) in [(1, &kept), (3, &lost)] {
            two.head(stream, "GET", "/stream", &[("authorization", &shown(key))]);
            assert_eq!(two.next(stream).kind, HEADERS, "{driver:?}");
        }
        server.ends().renew(&Renewal {
            settings: Arc::new(Settings::default()),
            front: Arc::clone(&after.front),
            tls: None,
            compression: after.compression,
        });
        assert_eq!(goes.chunk(), None, "{driver:?}: the end of a stream, said as usual");
        assert!(two.next(3).ends(), "{driver:?}");
        goes.write(ask("/hello", &lost));
        assert_eq!(goes.answer().status, 401, "{driver:?}");
        goes.write(ask("/gone", &kept));
        assert_eq!(goes.answer().text(), "2", "{driver:?}: the domain is told of both");
        let mut other = Client::connect(&server);
        other.write(format!(
            "POST /say HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {kept}\r\nContent-Length: 9\r\n\r\ndata: x\n\n"
        ));
        assert_eq!(other.answer().status, 202, "{driver:?}");
        assert_eq!(stays.chunk().as_deref(), Some(&b"data: x\n\n"[..]), "{driver:?}");
        assert_eq!(two.next(1).payload, b"data: x\n\n", "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_stream_shows_a_key_where_keys_are_asked_for() {
    let (key, front) = keyed();
    for driver in DRIVERS {
        let server = web(&front(http(driver, 1)));
        let mut client = H2::connect(&server, &[]);
        client.head(1, "GET", "/hello", &[("authorization", &format!("Bearer {key}"))]);
        assert_eq!(client.answer(1).0, STATUS_200, "{driver:?}");
        client.head(3, "GET", "/hello", &[("authorization", "Bearer x")]);
        let (head, body) = client.answer(3);
        assert_ne!(head, STATUS_200);
        assert!(String::from_utf8_lossy(&body).contains("Authorization: Bearer"));
        finish(server);
    }
}
