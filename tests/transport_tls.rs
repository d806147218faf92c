//! Proves that TLS changes nothing of what a listener carries (lines, HTTP/1.1, HTTP/2, WebSocket), that a client is
//! known by its certificate and refused without a good one, and that who breaks the protocol, or never finishes a
//! handshake, costs nobody else anything. On both drivers, with both versions, against rustls as the client.
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

mod transport;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::gateway::settings::Settings;
use ringgate::shard::Renewal;
use ringgate::shard::rt::DriverChoice;
use ringgate::shard::tls::{Alpn, ClientAuth, ClientTls, ServerTls};
use ringgate::transport::{Listen, Server, ServerConfig};
use transport::tls::{Authority, BOTH, Pair, Who, alice, ask, bare, line, open};
use transport::*;

fn lines_over(driver: DriverChoice, tls: Arc<ServerTls>) -> ServerConfig {
    let listens = vec![Listen::Tls("127.0.0.1:0".parse().expect("an address"))];
    ServerConfig { listens, tls: Some(tls), ..config(driver, 1) }
}

fn http_over(driver: DriverChoice, tls: Arc<ServerTls>) -> ServerConfig {
    let listens = vec![Listen::Https("127.0.0.1:0".parse().expect("an address"))];
    ServerConfig { listens, tls: Some(tls), ..config(driver, 1) }
}

fn who(config: &ServerConfig) -> Server {
    Server::start(config, |_| Who::default()).expect("the server starts")
}

/// An authority and a server's certificate of it.
fn house() -> (Authority, Pair) {
    let authority = Authority::new();
    let pair = authority.host(&["localhost"]);
    (authority, pair)
}

#[test]
fn lines_pass_whole_and_in_order_in_both_versions_however_they_are_split() {
    let (authority, pair) = house();
    for driver in DRIVERS {
        let server = echo(&lines_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        for version in BOTH {
            let config = authority.client_config(&[version], None, &[]);
            for step in [1, 2, 7, 100] {
                let mut stream = open(&server, &config, "localhost");
                let text = "one\ntwo\nthree and more\n".repeat(20);
                for piece in text.as_bytes().chunks(step) {
                    stream.write_all(piece).expect("taken");
                }
                let mut got = vec![0; text.len()];
                stream.read_exact(&mut got).expect("all of it");
                assert_eq!(got, text.as_bytes(), "{driver:?} {version:?} {step}");
            }
        }
        assert_eq!(count_after(server, "tls_handshakes"), 8, "{driver:?}");
    }
}

#[test]
fn four_mebibytes_pass_both_ways_and_the_link_goes_on() {
    let (authority, pair) = house();
    let config = authority.client_config(&BOTH, None, &[]);
    for driver in DRIVERS {
        let server = echo(&lines_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let mut stream = open(&server, &config, "localhost");
        // Echoed when it is whole, so nobody waits for who reads.
        let long = "a".repeat((4 << 20) - 1);
        assert!(ask(&mut stream, &long).is_some_and(|line| line == long), "{driver:?}");
        let big = ask(&mut stream, "big 4000000").expect("an answer");
        assert_eq!(big.len(), 4_000_000, "{driver:?}");
        assert_eq!(ask(&mut stream, "short").as_deref(), Some("short"));
        finish(server);
    }
}

#[test]
fn an_end_is_said_on_both_sides() {
    let (authority, pair) = house();
    let config = authority.client_config(&BOTH, None, &[]);
    for driver in DRIVERS {
        let server = echo(&lines_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let mut ours = open(&server, &config, "localhost");
        ours.write_all(b"a\n").expect("taken");
        ours.conn.send_close_notify();
        ours.flush().expect("sent");
        // An end that nobody said would be an error here.
        assert_eq!(read_all(&mut ours), b"a\n", "{driver:?}");
        let mut theirs = open(&server, &config, "localhost");
        theirs.write_all(b"close\n").expect("taken");
        assert_eq!(read_all(&mut theirs), b"bye\n", "{driver:?}");
        finish(server);
    }
}

#[test]
fn http_is_spoken_in_the_version_that_was_agreed_on_and_says_to_come_by_tls_again() {
    let (authority, pair) = house();
    for driver in DRIVERS {
        let server = who(&http_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let config = authority.client_config(&BOTH, None, &["http/1.1"]);
        let mut one = open(&server, &config, "localhost");
        one.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("taken");
        let answer = String::from_utf8(read_all(&mut one)).expect("text");
        assert_eq!(one.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains("strict-transport-security: max-age=31536000; includeSubDomains\r\n"),
            "{answer}"
        );
        let config = authority.client_config(&BOTH, None, &["h2", "http/1.1"]);
        let mut two = open(&server, &config, "localhost");
        two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("taken");
        let mut head = [0; 9];
        two.read_exact(&mut head).expect("the server's settings");
        assert_eq!(two.conn.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(head[3], h2::SETTINGS);
        drop(two);
        // Who speaks neither is told so, and is let go.
        let config = authority.client_config(&BOTH, None, &["smtp"]);
        let refused = open(&server, &config, "localhost").write_all(b"x");
        assert!(refused.is_err(), "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_connection_speaks_what_its_handshake_chose_and_nothing_else() {
    const GET: &[u8] = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (authority, pair) = house();
    for driver in DRIVERS {
        let server = who(&http_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let say = |protocols: &[&str], bytes: &[u8]| {
            let config = authority.client_config(&BOTH, None, protocols);
            let mut stream = open(&server, &config, "localhost");
            stream.write_all(bytes).expect("taken");
            stream
        };
        // h2, and no preface: what is no HTTP/2 is not answered in HTTP/1.1 either, however it is split.
        for bytes in [GET, b"P", b"PRI * HTTP/1.1\r\n\r\n"] {
            let mut stream = say(&["h2"], bytes);
            if bytes.len() == 1 {
                stream.write_all(b"OST /mcp HTTP/1.1\r\n").expect("taken");
            }
            assert_eq!(read_all(&mut stream), b"", "{driver:?}");
        }
        // http/1.1, and a preface: a request of a version that is not spoken there.
        let answer = read_all(&mut say(&["http/1.1"], PREFACE));
        assert!(answer.starts_with(b"HTTP/1.1 505 "), "{driver:?}: {}", answer.escape_ascii());
        // Who does not choose may speak either.
        let answer = read_all(&mut say(&[], GET));
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{driver:?}: {}", answer.escape_ascii());
        let mut head = [0; 9];
        say(&[], PREFACE).read_exact(&mut head).expect("the server's settings");
        assert_eq!(head[3], h2::SETTINGS, "{driver:?}");
        assert_eq!(count_after(server, "tls_failed_protocol"), 4, "{driver:?}");
    }
}

#[test]
fn who_has_chosen_http2_and_begins_with_half_of_it_is_not_told_so_in_http1() {
    let (authority, pair) = house();
    for driver in DRIVERS {
        let tls = authority.server(&[&pair], ClientAuth::Off, None);
        let config = with_limits(http_over(driver, tls), |limits: &mut Limits| {
            limits.head = Duration::from_millis(100);
        });
        let server = who(&config);
        let client = authority.client_config(&BOTH, None, &["h2"]);
        let mut stream = open(&server, &client, "localhost");
        stream.write_all(b"PRI * HTTP/2.0\r\n").expect("taken");
        assert_eq!(read_all(&mut stream), b"", "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_server_that_chooses_what_was_not_offered_is_refused() {
    // A ServerHello of TLS 1.2 with ALPN (RFC 5246 section 7.4.1.3, RFC 7301 section 3.1): it is in clear, so nobody
    // needs a key to say it.
    let hello = |protocol: &[u8]| {
        let counted = |bytes: &[u8], width: usize| {
            let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
            [&length[4 - width..], bytes].concat()
        };
        let alpn = counted(&counted(protocol, 1), 2);
        let extensions = counted(&[&[0_u8, 16][..], &counted(&alpn, 2)].concat(), 2);
        let body = [&[3_u8, 3][..], &[7; 32], &[0], &[0xc0, 0x2b], &[0], &extensions].concat();
        let message = [&[2_u8][..], &counted(&body, 3)].concat();
        [&[22_u8, 3, 3][..], &counted(&message, 2)].concat()
    };
    let trust = Authority::new().trust("localhost");
    for (offered, chosen, is_good) in [
        (Some(Alpn::Http1), &b"h2"[..], false),
        (Some(Alpn::Http2), b"http/1.1", false),
        (None, b"h2", false),
        (Some(Alpn::Http1), b"http/1.1", true),
        (Some(Alpn::Http2), b"h2", true),
    ] {
        let mut session = ClientTls::new(&trust, offered)
            .and_then(|tls| tls.session().map_err(|it| it.to_string()))
            .expect("a session");
        session.pending(&mut Vec::new()).expect("said");
        let fed = session.feed(&hello(chosen));
        assert_eq!(fed.is_ok(), is_good, "{offered:?} {chosen:?}: {fed:?}");
    }
}

#[test]
fn a_websocket_is_opened_over_tls() {
    let (authority, pair) = house();
    let config = authority.client_config(&BOTH, None, &["http/1.1"]);
    for driver in DRIVERS {
        let server = echo(&http_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let mut stream = open(&server, &config, "localhost");
        let upgrade = format!("{}{}\r\n", ws::UPGRADE, ws::VERSION);
        stream.write_all(upgrade.as_bytes()).expect("taken");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(char::from(byte[0]));
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let frame = ws::frame(ws::TEXT, true, b"hello");
        stream.write_all(&frame).expect("taken");
        let mut echoed = [0; 7];
        stream.read_exact(&mut echoed).expect("a frame");
        assert_eq!(&echoed[2..], b"hello", "{driver:?}");
        finish(server);
    }
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let pairs = [
        authority.host(&["localhost"]),
        authority.host(&["*.a.test"]),
        authority.host(&["b.test"]),
    ];
    let all: Vec<&Pair> = pairs.iter().collect();
    let config = authority.client_config(&BOTH, None, &[]);
    let tls = authority.server(&all, ClientAuth::Off, None);
    let server = echo(&lines_over(DriverChoice::Epoll, tls));
    for (name, shown) in [("localhost", 0), ("x.a.test", 1), ("b.test", 2), ("B.TEST", 2)] {
        let mut stream = open(&server, &config, name);
        assert_eq!(ask(&mut stream, "x").as_deref(), Some("x"), "{name}");
        let own = stream.conn.peer_certificates().expect("shown").first().cloned();
        assert_eq!(own, Some(pairs[shown].certificate.clone()), "{name}");
    }
    // A star is one label, and a name that nobody has gets the first.
    for name in ["a.test", "y.x.a.test", "c.test"] {
        assert_eq!(ask(&mut open(&server, &config, name), "x"), None, "{name}");
    }
    finish(server);
}

#[test]
fn who_shows_a_certificate_is_who_it_names_and_others_are_refused() {
    let (authority, pair) = house();
    let stranger = Authority::new();
    let uri = "spiffe://house.test/alice";
    let people = [("uri:spiffe://house.test/alice", alice())];
    let named = Some(&people[..]);
    let good = authority.client(uri, [2020, 4000]);
    for driver in DRIVERS {
        let server =
            who(&lines_over(driver, authority.server(&[&pair], ClientAuth::Required, named)));
        for version in BOTH {
            let config = authority.client_config(&[version], Some(&good), &[]);
            let mut stream = open(&server, &config, "localhost");
            let number = alice().number().to_string();
            assert_eq!(ask(&mut stream, "who"), Some(number), "{driver:?} {version:?}");
        }
        let others = [
            ("none", None),
            ("of another authority", Some(stranger.client(uri, [2020, 4000]))),
            ("expired", Some(authority.client(uri, [2019, 2020]))),
            ("not yet valid", Some(authority.client(uri, [3000, 4000]))),
            ("of nobody known", Some(authority.client("spiffe://house.test/bob", [2020, 4000]))),
        ];
        for (what, own) in &others {
            let config = authority.client_config(&BOTH, own.as_ref(), &[]);
            let answer = ask(&mut open(&server, &config, "localhost"), "who");
            assert_eq!(answer, None, "{driver:?} {what}");
        }
        assert_eq!(count_after(server, "tls_failed_certificate"), 5, "{driver:?}");
    }
}

#[test]
fn over_http_who_shows_no_certificate_must_show_a_key() {
    let (authority, pair) = house();
    let people = [("uri:spiffe://house.test/alice", alice())];
    let own = authority.client("spiffe://house.test/alice", [2020, 4000]);
    for driver in DRIVERS {
        let tls = authority.server(&[&pair], ClientAuth::Optional, Some(&people[..]));
        let server = who(&web::front(http_over(driver, tls), |front| front.certificates = true));
        for (own, status) in [(Some(&own), "200"), (None, "401")] {
            let config = authority.client_config(&BOTH, own, &["http/1.1"]);
            let mut stream = open(&server, &config, "localhost");
            stream
                .write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .expect("taken");
            let answer = String::from_utf8(read_all(&mut stream)).expect("text");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{driver:?}: {answer}");
            if own.is_some() {
                assert!(answer.ends_with(&format!("\r\n\r\n{}", alice().number())), "{answer}");
            }
        }
        finish(server);
    }
}

#[test]
fn a_record_that_is_none_ends_its_connection_and_nobody_elses() {
    let (authority, pair) = house();
    let config = authority.client_config(&BOTH, None, &[]);
    for driver in DRIVERS {
        let server = echo(&lines_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let mut other = open(&server, &config, "localhost");
        assert_eq!(ask(&mut other, "a").as_deref(), Some("a"));
        for garbage in [
            &b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..],
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            let mut stream = open(&server, &config, "localhost");
            // While the server writes: half of the answer lies in the sockets.
            stream.write_all(b"big 8000000\n").expect("taken");
            let mut some = [0; 1000];
            stream.read_exact(&mut some).expect("its beginning");
            stream.sock.write_all(garbage).expect("taken");
            let mut rest = Vec::new();
            let end = stream.read_to_end(&mut rest);
            assert!(end.is_err() || rest.len() < 8_000_000, "{driver:?}: it went on");
            assert_eq!(ask(&mut other, "b").as_deref(), Some("b"), "{driver:?}");
        }
        // With nothing to write, the alert says why.
        let mut stream = open(&server, &config, "localhost");
        assert_eq!(ask(&mut stream, "a").as_deref(), Some("a"));
        stream.sock.write_all(&[0x17, 3, 3, 0, 17].repeat(5)).expect("taken");
        let error = stream.read(&mut [0]).expect_err("an alert");
        assert!(error.to_string().contains("alert"), "{driver:?}: {error}");
        assert_eq!(ask(&mut other, "c").as_deref(), Some("c"), "{driver:?}");
        assert_eq!(count(&server, "panics"), 0);
        assert_eq!(count_after(server, "tls_violations"), 3, "{driver:?}");
    }
}

#[test]
fn what_is_no_handshake_is_answered_by_an_alert_and_counted() {
    let (authority, pair) = house();
    for driver in DRIVERS {
        let server = echo(&lines_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let mut stream = bare(&server);
        stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").expect("taken");
        let answer = read_all(&mut stream);
        assert_eq!(answer.first(), Some(&21), "{driver:?}: an alert, not {answer:?}");
        assert_eq!(count_after(server, "tls_failed_handshake"), 1, "{driver:?}");
    }
}

#[test]
fn a_thousand_handshakes_that_never_end_cost_a_connection_each_and_end_in_time() {
    const SLOW: usize = 1_000;
    let (authority, pair) = house();
    let client = authority.client_config(&BOTH, None, &[]);
    for driver in DRIVERS {
        let tls = authority.server(&[&pair], ClientAuth::Off, None);
        let config = with_limits(lines_over(driver, tls), |limits: &mut Limits| {
            limits.tls_handshake = Duration::from_secs(3);
            limits.clients_max = SLOW + 1;
        });
        let server = echo(&config);
        let mut one = open(&server, &client, "localhost");
        assert_eq!(ask(&mut one, "first").as_deref(), Some("first"));
        let mut slow: Vec<_> = (0..SLOW).map(|_| bare(&server)).collect();
        for stream in slow.iter_mut().step_by(2) {
            // A record that promises more than ever comes.
            stream.write_all(b"\x16\x03\x01\x02").expect("taken");
        }
        // They count as clients; and who is there is served as before.
        let refused = bare(&server).read(&mut [0]).expect_err("one too many");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset, "{driver:?}");
        assert_eq!(ask(&mut one, "second").as_deref(), Some("second"));
        for stream in &mut slow {
            assert_eq!(read_all(stream), b"", "{driver:?}");
        }
        assert_eq!(ask(&mut one, "third").as_deref(), Some("third"));
        assert_eq!(ask(&mut open(&server, &client, "localhost"), "new").as_deref(), Some("new"));
        assert_eq!(count_after(server, "tls_failed_late"), SLOW as u64, "{driver:?}");
    }
}

#[test]
fn another_certificate_is_shown_from_then_on_and_nobody_is_dropped() {
    let (authority, first) = house();
    let second = authority.host(&["localhost"]);
    let client = authority.client_config(&BOTH, None, &[]);
    for driver in DRIVERS {
        let config = lines_over(driver, authority.server(&[&first], ClientAuth::Off, None));
        let server = echo(&config);
        let mut before = open(&server, &client, "localhost");
        assert_eq!(ask(&mut before, "a").as_deref(), Some("a"));
        server.ends().renew(&Renewal {
            settings: Arc::new(Settings::default()),
            front: Arc::clone(&config.front),
            tls: Some(authority.server(&[&second], ClientAuth::Off, None)),
            compression: config.compression,
        });
        let mut after = open(&server, &client, "localhost");
        assert_eq!(ask(&mut after, "b").as_deref(), Some("b"));
        let shown =
            |stream: &tls::Stream| stream.conn.peer_certificates().expect("shown").first().cloned();
        assert_eq!(shown(&after), Some(second.certificate.clone()), "{driver:?}");
        assert_eq!(shown(&before), Some(first.certificate.clone()), "{driver:?}");
        assert_eq!(ask(&mut before, "c").as_deref(), Some("c"), "{driver:?}");
        finish(server);
    }
}

#[test]
fn records_without_content_do_not_keep_a_shard_busy() {
    let (authority, pair) = house();
    let config = authority.client_config(&BOTH, None, &[]);
    for driver in DRIVERS {
        let server = echo(&lines_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let mut stream = open(&server, &config, "localhost");
        assert_eq!(ask(&mut stream, "a").as_deref(), Some("a"));
        // A change of keys says nothing to anybody, and is as good a record as any.
        let end = (0..100_000).try_for_each(|_| {
            stream.conn.refresh_traffic_keys().map_err(std::io::Error::other)?;
            stream.flush()
        });
        assert!(end.is_err() || stream.read(&mut [0]).is_err(), "{driver:?}");
        let mut other = open(&server, &config, "localhost");
        assert_eq!(ask(&mut other, "b").as_deref(), Some("b"), "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_session_is_resumed_by_a_ticket_but_not_where_certificates_are_asked_for() {
    let (authority, pair) = house();
    let own = authority.client("spiffe://house.test/alice", [2020, 4000]);
    for (auth, resumes) in [(ClientAuth::Off, true), (ClientAuth::Optional, false)] {
        let server = echo(&lines_over(DriverChoice::Epoll, authority.server(&[&pair], auth, None)));
        for version in BOTH {
            let config = authority.client_config(&[version], Some(&own), &[]);
            for again in [false, true] {
                let mut stream = open(&server, &config, "localhost");
                assert_eq!(ask(&mut stream, "x").as_deref(), Some("x"));
                let kind = stream.conn.handshake_kind();
                let is_resumed = kind == Some(rustls::HandshakeKind::Resumed);
                assert_eq!(is_resumed, again && resumes, "{version:?} {kind:?}");
            }
        }
        finish(server);
    }
}

#[test]
fn a_drain_does_not_wait_for_handshakes() {
    let (authority, pair) = house();
    for driver in DRIVERS {
        let server = echo(&lines_over(driver, authority.server(&[&pair], ClientAuth::Off, None)));
        let client = authority.client_config(&BOTH, None, &[]);
        let mut slow = bare(&server);
        // Accepted after it: so the other one shakes hands by now.
        assert_eq!(ask(&mut open(&server, &client, "localhost"), "x").as_deref(), Some("x"));
        finish(server);
        assert_eq!(line(&mut slow), None, "{driver:?}");
    }
}
