//! Proves that a shard carries HTTP/1.1 over real sockets: requests at any split and any number on a
//! connection, answers in order, streams as chunks, within their bounds and times, and nothing after the
//! peer has left. Each test runs on io_uring and on epoll.

mod transport;

use std::io::Read as _;
use std::net::Shutdown;
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::transport::Server;
use transport::web::*;
use transport::*;

#[test]
fn requests_are_answered_however_their_bytes_are_split() {
    let text = [
        post("/echo", b"by length"),
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
          3\r\nin \r\n6;x=y\r\nchunks\r\n0\r\nX-Trailer: 1\r\n\r\n"
            .to_vec(),
        get("/hello").into_bytes(),
    ]
    .concat();
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        for step in (1..40).chain([text.len()]) {
            let mut client = Client::connect(&server);
            for chunk in text.chunks(step) {
                client.write(chunk);
            }
            assert_eq!(client.answer().body, b"by length", "{driver:?}, {step} bytes a write");
            assert_eq!(client.answer().body, b"in chunks", "{driver:?}, {step} bytes a write");
            let last = client.answer();
            assert_eq!((last.status, last.text()), (200, "hello, this is the front\n"));
        }
        finish(server);
    }
}

#[test]
fn a_response_says_what_it_is() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = Client::connect(&server);
        let answer = client.get("/hello");
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-length"), Some("25"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
        assert_eq!(answer.header("connection"), None);
        assert_eq!(client.post("/tell", b"").header("content-length"), Some("0"));
        assert_eq!(client.get("/nothing").status, 404);
        finish(server);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_and_their_answers_written_together() {
    const REQUESTS: usize = 10_000;
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = Client::connect(&server);
        let mut writer = client.stream.try_clone().expect("a second handle");
        let sender = std::thread::Builder::new()
            .spawn(move || {
                let mut text = Vec::new();
                for n in 0..REQUESTS {
                    text.extend(post("/echo", n.to_string().as_bytes()));
                }
                std::io::Write::write_all(&mut writer, &text).expect("the server reads");
            })
            .expect("a thread");
        for n in 0..REQUESTS {
            assert_eq!(client.answer().text(), n.to_string(), "{driver:?}");
        }
        sender.join().expect("the sender ends");
        let (requests, writes) = (count(&server, "requests"), count(&server, "writes"));
        assert_eq!(requests, REQUESTS as u64);
        assert!(writes < requests / 4, "{driver:?}: answers are not batched: {writes} writes");
        finish(server);
    }
}

#[test]
fn what_is_pipelined_behind_an_exchange_waits_for_its_answer() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = Client::connect(&server);
        client.write([get("/wait"), get("/hello"), get("/stream")].concat());
        client.write(get("/hello"));
        let mut other = Client::connect(&server);
        // Until the one that waits has come; what is behind it does not count yet.
        while count(&server, "requests") < 1 {
            std::thread::yield_now();
        }
        assert_eq!(other.post("/tell", b"now").status, 202, "{driver:?}");
        assert_eq!(client.answer().text(), "now", "{driver:?}");
        assert_eq!(client.answer().text(), "hello, this is the front\n", "{driver:?}");
        assert_eq!(client.head().header("content-type"), Some("text/event-stream"));
        other.post("/end", b"");
        assert_eq!(client.chunk(), None, "{driver:?}");
        assert_eq!(client.answer().text(), "hello, this is the front\n", "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_stream_is_chunks_and_the_connection_goes_on_after_it() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = Client::connect(&server);
        client.write(get("/stream"));
        let head = client.head();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(head.header("x-accel-buffering"), Some("no"));
        assert_eq!(head.header("x-of"), Some("stream"));
        let mut other = Client::connect(&server);
        for text in [&b"data: one\n\n"[..], b"data: two\n\n"] {
            assert_eq!(other.post("/say", text).status, 202);
            assert_eq!(client.chunk().as_deref(), Some(text), "{driver:?}");
        }
        other.post("/end", b"");
        assert_eq!(client.chunk(), None, "{driver:?}");
        assert_eq!(client.get("/hello").status, 200, "{driver:?}");
        assert_eq!(other.get("/gone").text(), "1", "a stream that was closed is told as closed");
        finish(server);
    }
}

#[test]
fn a_peer_of_http_1_0_gets_no_chunks_and_keeps_its_connection_only_if_it_asks() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = Client::connect(&server);
        client.write("GET /hello HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{driver:?}");
        client.write("GET /stream HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
        let head = client.head();
        assert_eq!(head.header("transfer-encoding"), None, "{driver:?}");
        assert_eq!(head.header("connection"), Some("close"), "{driver:?}");
        let mut other = Client::connect(&server);
        other.post("/say", b"data: plain\n\n");
        other.post("/end", b"");
        assert_eq!(client.end(), b"data: plain\n\n", "{driver:?}");
        let mut client = Client::connect(&server);
        client.write("GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        assert_eq!(client.end(), b"", "{driver:?}: the connection ends with its answer");
        finish(server);
    }
}

#[test]
fn a_peer_that_leaves_gives_up_what_it_asked_for() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut waits = Client::connect(&server);
        waits.write(get("/wait"));
        let mut streams = Client::connect(&server);
        streams.write(get("/stream"));
        streams.head();
        while count(&server, "requests") < 2 {
            std::thread::yield_now();
        }
        drop((waits, streams));
        until(&server, "/gone", "2");
        let mut other = Client::connect(&server);
        assert_eq!(other.post("/tell", b"to nobody").status, 202, "{driver:?}");
        assert_eq!(other.post("/say", b"to nobody").status, 202, "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_peer_that_sends_no_more_still_gets_what_was_answered() {
    const BYTES: usize = 8 << 20;
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = Client::connect(&server);
        client.write([get("/hello"), get(&format!("/big/{BYTES}"))].concat());
        client.stream.shutdown(Shutdown::Write).expect("half-closed");
        assert_eq!(client.answer().text(), "hello, this is the front\n");
        assert_eq!(client.answer().body.len(), BYTES, "{driver:?}");
        assert_eq!(client.end(), b"");
        finish(server);
    }
}

#[test]
fn a_body_is_sent_on_after_one_hundred_continue() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut client = Client::connect(&server);
        let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n";
        client.write(format!("{head}Content-Length: 4\r\n\r\n"));
        assert_eq!(client.head().head, "HTTP/1.1 100 Continue\r\n\r\n", "{driver:?}");
        client.write("body");
        assert_eq!(client.answer().text(), "body", "{driver:?}");
        client.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
        assert_eq!(client.head().status, 100, "{driver:?}");
        client.write("2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n");
        assert_eq!(client.answer().text(), "body", "{driver:?}");
        client.write(format!("{head}Content-Length: 4\r\n\r\nbody"));
        assert_eq!(client.answer().text(), "body", "{driver:?}: nobody waits to be told");
        finish(server);
    }
}

#[test]
fn what_is_over_its_bound_is_refused_and_the_connection_ends() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| limits.frame_bytes_max = 1_000);
        let long = "a".repeat(20_000);
        let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", &long[..1_001]);
        let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\n";
        for (status, request) in [
            (413, format!("{head}Content-Length: 1001\r\n\r\n")),
            (413, format!("{head}Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n")),
            (413, format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")),
            (431, format!("{head}X: {long}\r\n\r\n")),
            (414, format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n")),
            (400, format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n")),
            (417, format!("{head}Expect: tea\r\n\r\n")),
        ] {
            let mut client = Client::connect(&server);
            client.write(&request);
            let answer = client.answer();
            assert_eq!(answer.status, status, "{driver:?}: {}", &request[..80.min(request.len())]);
            assert_eq!(answer.header("connection"), Some("close"));
            assert_eq!(client.end(), b"", "{driver:?}: {status}");
        }
        let mut client = Client::connect(&server);
        assert_eq!(client.post("/echo", &long.as_bytes()[..1_000]).status, 200);
        finish(server);
    }
}

#[test]
fn a_large_body_passes_and_the_connection_goes_on() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let body = vec![b'b'; 4 << 20];
        let mut client = Client::connect(&server);
        let mut writer = client.stream.try_clone().expect("a second handle");
        let text = post("/echo", &body);
        let sender = std::thread::Builder::new()
            .spawn(move || std::io::Write::write_all(&mut writer, &text).expect("it reads"))
            .expect("a thread");
        assert!(client.answer().body == body, "{driver:?}");
        sender.join().expect("the sender ends");
        assert_eq!(client.get("/hello").status, 200, "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_request_that_does_not_come_in_time_is_given_up() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| {
            limits.head = Duration::from_millis(100);
            limits.body = Duration::from_millis(100);
            limits.keep_alive = Duration::from_millis(300);
        });
        for begun in
            ["GET / HT", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbo"]
        {
            let mut client = Client::connect(&server);
            client.write(begun);
            assert_eq!(client.answer().status, 408, "{driver:?}: {begun}");
            assert_eq!(client.end(), b"", "{driver:?}");
        }
        let idle = Client::connect(&server);
        assert_eq!(idle.end(), b"", "{driver:?}: no request, no answer");
        let mut client = Client::connect(&server);
        assert_eq!(client.get("/hello").status, 200);
        assert_eq!(client.end(), b"", "{driver:?}: idle after a request");
        let mut waits = Client::connect(&server);
        waits.write(get("/wait"));
        // Longer than all three: the others' time runs out meanwhile, the exchange's does not.
        let mut other = Client::connect(&server);
        other.write("GET / HT");
        assert_eq!(other.answer().status, 408);
        assert_eq!(Client::connect(&server).end(), b"");
        assert_eq!(Client::connect(&server).post("/tell", b"late, but in time").status, 202);
        assert_eq!(waits.answer().text(), "late, but in time", "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_stream_that_nobody_reads_costs_its_bound_and_is_closed_after_a_while() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = Duration::from_millis(300);
        });
        let mut slow = Client::connect(&server);
        slow.write(get("/flood"));
        slow.head();
        until(&server, "/gone", "1");
        assert_eq!(count(&server, "closed_slow"), 1, "{driver:?}");
        let mut other = Client::connect(&server);
        assert!(other.get("/blocked").text().parse::<u64>().expect("a number") > 0, "{driver:?}");
        assert!(slow.end().len() < 64 << 20, "{driver:?}: what was buffered is bounded");
        finish(server);
    }
}

#[test]
fn a_last_answer_that_is_read_drop_by_drop_ends_in_time() {
    const BYTES: usize = 64 << 20;
    for driver in DRIVERS {
        // Longer than any kernel's buffers.
        let large = |limits: &mut Limits| limits.outbox_bytes_hard_max = 4 * BYTES;
        let slow = web_with(driver, |limits| {
            large(limits);
            limits.closing = Duration::from_millis(300);
        });
        let ask = |server: &Server| {
            let mut client = Client::connect(server);
            client.write(format!(
                "GET /big/{BYTES} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            ));
            assert_eq!(client.head().status, 200, "{driver:?}");
            client
        };
        let mut drops = ask(&slow);
        // Something is taken all the time, so that only the bound of the whole can end it: at this pace it would be
        // ten times as long.
        let (_never, tick) = std::sync::mpsc::channel::<()>();
        let mut taken = 0;
        let mut piece = vec![0; 1 << 20];
        while let Ok(n @ 1..) = drops.stream.read(&mut piece) {
            taken += n;
            let _is_time = tick.recv_timeout(Duration::from_millis(20));
        }
        assert!(taken < BYTES, "{driver:?}: all of it came");
        assert_eq!(count(&slow, "closed_slow"), 1, "{driver:?}");
        finish(slow);
        let patient = web_with(driver, large);
        assert!(ask(&patient).end().len() == BYTES, "{driver:?}");
        assert_eq!(count_after(patient, "closed_slow"), 0, "{driver:?}");
    }
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_read_from() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = PATIENCE;
        });
        let mut client = Client::connect(&server);
        let mut writer = client.stream.try_clone().expect("a second handle");
        let sender = std::thread::Builder::new()
            .spawn(move || {
                let text = get("/big/16000").repeat(2_000);
                std::io::Write::write_all(&mut writer, text.as_bytes()).expect("it reads again");
            })
            .expect("a thread");
        // All of them are taken only because we read.
        for n in 0..2_000 {
            assert_eq!(client.answer().body.len(), 16_000, "{driver:?}: {n}");
        }
        sender.join().expect("the sender ends");
        finish(server);
    }
}

#[test]
fn only_hosts_and_pages_that_may_ask_are_answered_and_before_their_body_comes() {
    for driver in DRIVERS {
        let config =
            front(http(driver, 1), |front| front.origins = vec!["https://app.test".into()]);
        let server = web(&config);
        let ask = |host: &str, more: &str| {
            let mut client = Client::connect(&server);
            client.write(format!("POST /echo HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
            let answer = client.answer();
            (answer.status, answer.head)
        };
        let body = "Content-Length: 5\r\nExpect: 100-continue\r\n";
        assert_eq!(ask("evil.test", "Content-Length: 0\r\n").0, 421);
        assert_eq!(ask("evil.test", body).0, 421);
        assert_eq!(ask("localhost", &format!("Origin: https://evil.test\r\n{body}")).0, 403);
        assert_eq!(ask("localhost", body).0, 100);
        let (status, head) = ask("localhost", "Origin: https://app.test\r\nContent-Length: 0\r\n");
        assert_eq!(status, 200);
        assert!(head.contains("access-control-allow-origin: https://app.test\r\n"), "{head}");
        assert!(head.contains("vary: origin\r\n"), "{head}");
        let mut client = Client::connect(&server);
        client.write(
            "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.test\r\n\
             Access-Control-Request-Method: POST\r\n\r\n",
        );
        let answer = client.answer();
        assert_eq!(answer.status, 204);
        assert!(
            answer.header("access-control-allow-methods").is_some_and(|it| it.contains("POST"))
        );
        assert_eq!(client.get("/hello").status, 200, "{driver:?}: the connection goes on");
        finish(server);
    }
}

#[test]
fn clients_over_the_limit_are_told_and_the_others_stay() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| limits.clients_max = 2);
        let mut served = [Client::connect(&server), Client::connect(&server)];
        for client in &mut served {
            assert_eq!(client.get("/hello").status, 200);
        }
        let refused = Client::connect(&server).answer();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{driver:?}");
        assert_eq!(served[1].get("/hello").status, 200, "{driver:?}");
        finish(server);
    }
}

#[test]
fn connections_beyond_max_connections_are_told_to_come_back_and_the_others_stay() {
    for driver in DRIVERS {
        let limited = with_limits(http(driver, 2), |limits| limits.http_connections_max = 3);
        let server = web(&limited);
        let mut served: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
        for client in &mut served {
            assert_eq!(client.get("/hello").status, 200);
        }
        let refused = Client::connect(&server).answer();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{driver:?}");
        assert_eq!(count(&server, "http_turned_away"), 1);
        assert_eq!(served[2].get("/hello").status, 200, "{driver:?}");
        finish(server);
    }
}

#[test]
fn effects_on_an_exchange_of_another_shard_find_it_by_mail() {
    for driver in DRIVERS {
        let server = web(&http(driver, 2));
        for n in 0..50 {
            let mut client = Client::connect(&server);
            let body = format!("letter {n}");
            assert_eq!(client.post("/elsewhere", body.as_bytes()).text(), body, "{driver:?}");
            assert_eq!(client.post("/elsewhere/stream", body.as_bytes()).text(), body);
            assert_eq!(client.get("/hello").status, 200, "{driver:?}");
        }
        assert!(count(&server, "mail_in") >= 300, "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_drain_closes_idle_connections_and_lets_exchanges_finish() {
    for driver in DRIVERS {
        let server = web(&http(driver, 1));
        let mut idle = Client::connect(&server);
        assert_eq!(idle.get("/hello").status, 200);
        let mut streams = Client::connect(&server);
        streams.write(get("/stream"));
        streams.head();
        let mut waits = Client::connect(&server);
        waits.write(get("/wait"));
        while count(&server, "requests") < 3 {
            std::thread::yield_now();
        }
        server.drain();
        assert_eq!(idle.end(), b"", "{driver:?}: an idle connection is closed");
        assert_eq!(streams.chunk(), None, "{driver:?}: a stream is ended");
        assert_eq!(streams.end(), b"");
        let last = waits.answer();
        assert_eq!(last.text(), "the last answer", "{driver:?}");
        assert_eq!(last.header("connection"), Some("close"), "{driver:?}");
        assert_eq!(waits.end(), b"");
        server.join().expect("the shards end well");
    }
}

#[test]
fn while_notice_is_given_connections_end_with_their_next_answer() {
    for driver in DRIVERS {
        let server = web_with(driver, |limits| limits.notice = Duration::from_hours(1));
        let mut idle = Client::connect(&server);
        assert_eq!(idle.get("/hello").header("connection"), None, "{driver:?}");
        let mut waits = Client::connect(&server);
        waits.write(get("/wait"));
        while count(&server, "requests") < 2 {
            std::thread::yield_now();
        }
        server.leave();
        for mut client in [idle, Client::connect(&server)] {
            // Told to the shard before this is read: its mail and its sockets have an order of their own.
            while client.get("/hello").header("connection") != Some("close") {}
            assert_eq!(client.end(), b"", "{driver:?}");
        }
        server.drain();
        assert_eq!(waits.answer().text(), "the last answer", "{driver:?}");
        server.join().expect("the shards end well");
    }
}

#[test]
fn where_keys_are_asked_for_a_request_without_a_good_one_is_401_before_its_body() {
    let (key, front) = keyed();
    for driver in DRIVERS {
        let server = web(&front(http(driver, 1)));
        let ask = |extra: &str| {
            let mut client = Client::connect(&server);
            client.write(format!("GET /hello HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n"));
            client.answer()
        };
        assert_eq!(ask(&format!("Authorization: Bearer {key}\r\n")).status, 200, "{driver:?}");
        for wrong in ["", "Authorization: Bearer rgk_x\r\n", "Authorization: Basic eA==\r\n"] {
            let answer = ask(wrong);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
            assert!(!answer.text().contains("such"), "the reason stays here: {}", answer.text());
        }
        assert_eq!(ask(&format!("Authorization: Bearer {key}\r\n").repeat(2)).status, 401);
        let mut client = Client::connect(&server);
        // No byte of the body is sent, and none is waited for.
        client.write("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n");
        assert_eq!(client.answer().status, 401);
        assert_eq!(Client::connect(&server).get("/metrics").status, 401);
        assert_ne!(Client::connect(&server).get("/health").status, 401);
        let preflight = "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:1\r\n\
                         Access-Control-Request-Method: POST\r\n\r\n";
        let mut client = Client::connect(&server);
        client.write(preflight);
        assert_eq!(client.answer().status, 204, "a browser asks before it shows a key");
        assert_eq!(count(&server, "unauthorized"), 6);
        finish(server);
    }
}
