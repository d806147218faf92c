//! Proves that a shard carries lines over real TCP sockets: whole, in order, at any split, to many
//! clients at once, within its bounds, and to the last word when a link ends. Each test runs on
//! io_uring and on epoll.
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

mod transport;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ringgate::transport::{Listen, ServerConfig};
use transport::*;

#[test]
fn lines_are_echoed_whole_and_in_order_however_their_bytes_are_split() {
    let text = b"{\"a\":1}\r\n\n{\"b\":\"\xc3\xa9\"}\nplain\n".to_vec();
    let expected = b"{\"a\":1}\n{\"b\":\"\xc3\xa9\"}\nplain\n";
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        for step in 1..=text.len() {
            let mut stream = connect(&server);
            for chunk in text.chunks(step) {
                write(&mut stream, chunk);
            }
            let mut got = vec![0; expected.len()];
            stream.read_exact(&mut got).expect("all of it comes back");
            assert_eq!(got, expected, "{driver:?}, {step} bytes a write");
        }
        finish(server);
    }
}

#[test]
fn a_hundred_thousand_pipelined_lines_come_back_in_order() {
    const LINES: usize = 100_000;
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        let stream = connect(&server);
        let mut writer = stream.try_clone().expect("a second handle");
        let sender = std::thread::Builder::new()
            .spawn(move || {
                let mut text = String::new();
                for n in 0..LINES {
                    text.extend(["{\"id\":", &n.to_string(), "}\n"]);
                }
                write(&mut writer, text.as_bytes());
                writer.shutdown(Shutdown::Write).expect("half-closed");
            })
            .expect("a thread");
        let mut n = 0;
        for line in lines(stream) {
            assert_eq!(line, format!("{{\"id\":{n}}}"), "{driver:?}");
            n += 1;
        }
        assert_eq!(n, LINES, "{driver:?}: the link ends after the last answer");
        sender.join().expect("the sender ends");
        let (frames, writes) = (count(&server, "frames_in"), count(&server, "writes"));
        assert_eq!(frames, LINES as u64);
        assert!(writes < frames / 4, "{driver:?}: answers are not batched: {writes} writes");
        finish(server);
    }
}

#[test]
fn a_line_of_four_mebibytes_passes_and_the_link_goes_on() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        let stream = connect(&server);
        let mut writer = stream.try_clone().expect("a second handle");
        let mut long = vec![b'a'; 4 << 20];
        long.push(b'\n');
        let sent = long.clone();
        let sender = std::thread::Builder::new()
            .spawn(move || {
                write(&mut writer, &sent);
                write(&mut writer, b"short\n");
                writer.shutdown(Shutdown::Write).expect("half-closed");
            })
            .expect("a thread");
        let got = read_all(&mut &stream);
        sender.join().expect("the sender ends");
        assert!(got[..long.len()] == long[..], "{driver:?}");
        assert_eq!(&got[long.len()..], b"short\n", "{driver:?}");
        finish(server);
    }
}

#[test]
fn two_hundred_connections_at_once_are_all_served() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 2));
        let mut streams: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
        for round in 0..20 {
            for (n, stream) in streams.iter_mut().enumerate() {
                write(stream, format!("{round}.{n}\n").as_bytes());
            }
            for (n, stream) in streams.iter_mut().enumerate() {
                let expected = format!("{round}.{n}\n");
                let mut got = vec![0; expected.len()];
                stream.read_exact(&mut got).expect("an answer");
                assert_eq!(got, expected.as_bytes(), "{driver:?}");
            }
        }
        assert_eq!(count(&server, "links_open"), 200);
        finish(server);
    }
}

#[test]
fn a_storm_of_a_thousand_new_connections_is_taken_in() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        let mut streams: Vec<TcpStream> = (0..1_000).map(|_| connect(&server)).collect();
        for stream in &mut streams {
            write(stream, b"x\n");
        }
        for stream in &mut streams {
            let mut got = [0; 2];
            stream.read_exact(&mut got).expect("an answer");
        }
        assert_eq!(count(&server, "accepted"), 1_000, "{driver:?}");
        finish(server);
    }
}

#[test]
fn clients_over_the_limit_are_closed_and_the_others_stay() {
    for driver in DRIVERS {
        let limited = with_limits(config(driver, 1), |limits| limits.clients_max = 2);
        let server = echo(&limited);
        let mut served = [connect(&server), connect(&server)];
        for stream in &mut served {
            write(stream, b"x\n");
            stream.read_exact(&mut [0; 2]).expect("an answer");
        }
        let mut refused = connect(&server);
        let end = refused.read(&mut [0; 1]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{driver:?}: {end:?}");
        write(&mut served[1], b"y\n");
        served[1].read_exact(&mut [0; 2]).expect("an answer");
        finish(server);
    }
}

#[test]
fn max_connections_are_those_of_all_shards_together_and_one_beyond_is_reset() {
    for driver in DRIVERS {
        for shards in [1, 3] {
            let limited =
                with_limits(config(driver, shards), |limits| limits.tcp_connections_max = 6);
            let server = echo(&limited);
            let served = |server| {
                let mut stream = connect(server);
                write(&mut stream, b"x\n");
                stream.read_exact(&mut [0; 2]).expect("an answer");
                stream
            };
            let mut all: Vec<TcpStream> = (0..6).map(|_| served(&server)).collect();
            let end = connect(&server).read(&mut [0; 1]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{driver:?}, {shards}");
            assert_eq!(
                (count(&server, "tcp_connections"), count(&server, "tcp_turned_away")),
                (6, 1)
            );
            // Whose place is free is another's, at whichever shard.
            drop(all.pop());
            while count(&server, "tcp_connections") > 5 {
                std::thread::yield_now();
            }
            all.push(served(&server));
            drop(all);
            while count(&server, "tcp_connections") > 0 {
                std::thread::yield_now();
            }
            finish(server);
        }
    }
}

#[test]
fn a_unix_socket_has_max_connections_too_and_one_beyond_is_closed() {
    for driver in DRIVERS {
        let path = std::env::temp_dir().join(format!("ringgate-{driver:?}-{}", std::process::id()));
        let unix = ServerConfig {
            listens: vec![Listen::Unix { path: path.clone(), mode: 0o600 }],
            ..config(driver, 2)
        };
        let server = echo(&with_limits(unix, |limits| limits.unix_connections_max = 2));
        let connect = || {
            let stream = UnixStream::connect(&path).expect("the server listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream
        };
        let mut served = [connect(), connect()];
        for stream in &mut served {
            stream.write_all(b"x\n").expect("the server reads");
            stream.read_exact(&mut [0; 2]).expect("an answer");
        }
        assert!(matches!(connect().read(&mut [0; 1]), Ok(0)), "{driver:?}");
        assert_eq!(
            (count(&server, "unix_connections"), count(&server, "unix_turned_away")),
            (2, 1)
        );
        served[1].write_all(b"y\n").expect("the server reads");
        served[1].read_exact(&mut [0; 2]).expect("an answer");
        finish(server);
    }
}

#[test]
fn a_reader_that_stops_is_not_read_from_and_is_closed_after_a_while() {
    for driver in DRIVERS {
        let limited = with_limits(config(driver, 1), |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = Duration::from_millis(300);
        });
        let server = echo(&limited);
        let mut slow = connect(&server);
        // Asks for much more than the sockets' buffers hold, and takes nothing.
        for _ in 0..2_000 {
            if slow.write_all(b"big 16000\n").is_err() {
                break;
            }
        }
        let mut other = connect(&server);
        write(&mut other, b"still here\n");
        other.read_exact(&mut [0; 11]).expect("others go on");
        let mut got = 0;
        let mut buffer = vec![0; 1 << 16];
        // Only now it reads: what the sockets held, and then the end.
        while count(&server, "links_open") > 1 {
            std::thread::yield_now();
        }
        while let Ok(n @ 1..) = slow.read(&mut buffer) {
            got += n;
        }
        assert!(got < 2_000 * 16_000, "{driver:?}: everything was buffered");
        assert_eq!(count(&server, "closed_slow"), 1, "{driver:?}");
        let frames = count(&server, "frames_in");
        assert!(frames < 2_000, "{driver:?}: reading did not stop: {frames} lines were taken");
        finish(server);
    }
}

#[test]
fn a_reader_that_catches_up_is_served_on() {
    for driver in DRIVERS {
        let limited = with_limits(config(driver, 1), |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = PATIENCE;
        });
        let server = echo(&limited);
        let stream = connect(&server);
        let mut writer = stream.try_clone().expect("a second handle");
        let sender = std::thread::Builder::new()
            .spawn(move || {
                for _ in 0..1_000 {
                    write(&mut writer, b"big 15999\n");
                }
                writer.shutdown(Shutdown::Write).expect("half-closed");
            })
            .expect("a thread");
        let got = read_all(&mut &stream).len();
        sender.join().expect("the sender ends");
        assert_eq!(got, 1_000 * 16_000, "{driver:?}");
        assert_eq!(count(&server, "closed_slow"), 0, "{driver:?}");
        finish(server);
    }
}

#[test]
fn an_overlong_line_gets_its_error_before_the_link_closes() {
    for driver in DRIVERS {
        let limited = with_limits(config(driver, 1), |limits| limits.frame_bytes_max = 10_000);
        let server = echo(&limited);
        let stream = connect(&server);
        let mut writer = stream.try_clone().expect("a second handle");
        write(&mut writer, b"before\n");
        write(&mut writer, &vec![b'a'; 200_000]);
        writer.shutdown(Shutdown::Write).expect("half-closed");
        let got = read_all(&mut &stream);
        assert_eq!(got, b"before\nframe_bytes_max\n", "{driver:?}");
        finish(server);
    }
}

#[test]
fn the_last_word_is_out_before_a_link_that_we_close_ends() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        let mut stream = connect(&server);
        write(&mut stream, b"one\nclose\nnever seen\n");
        assert_eq!(read_all(&mut stream), b"one\nbye\n", "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_shard_that_spins_serves_keeps_its_times_and_ends() {
    for driver in DRIVERS {
        let mut spinning = with_limits(config(driver, 2), |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = Duration::from_millis(20);
        });
        spinning.spin = Duration::from_micros(200);
        let server = echo(&spinning);
        let mut streams: Vec<TcpStream> = (0..8).map(|_| connect(&server)).collect();
        for _ in 0..50 {
            for stream in &mut streams {
                write(stream, b"{}\n");
                let mut got = [0; 3];
                stream.read_exact(&mut got).expect("an echo");
                assert_eq!(&got, b"{}\n", "{driver:?}");
            }
        }
        assert!(count(&server, "spins") > 0, "{driver:?}");
        // Its timers are seen to while it spins: who does not read is closed in time.
        let mut stuck = connect(&server);
        while stuck.write_all(b"big 15999\n").is_ok() && count(&server, "closed_slow") == 0 {}
        finish(server);
    }
}

#[test]
fn a_stopped_server_closes_every_link_and_ends() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 2));
        let mut streams: Vec<TcpStream> = (0..20).map(|_| connect(&server)).collect();
        for stream in &mut streams {
            write(stream, b"x\n");
            stream.read_exact(&mut [0; 2]).expect("an answer");
        }
        server.stop();
        for stream in &mut streams {
            assert_eq!(read_all(stream), b"", "{driver:?}");
        }
        server.join().expect("the shards end well");
    }
}

#[test]
fn a_panic_in_a_task_is_counted_and_costs_only_its_link() {
    for driver in DRIVERS {
        let server = echo(&config(driver, 1));
        let mut bystander = connect(&server);
        let mut stream = connect(&server);
        write(&mut stream, b"panic\n");
        assert_eq!(read_all(&mut stream), b"", "{driver:?}");
        write(&mut bystander, b"alive\n");
        bystander.read_exact(&mut [0; 6]).expect("others go on");
        assert_eq!(count(&server, "links_open"), 1, "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_line_that_does_not_end_is_given_up_in_time_and_who_says_nothing_is_not() {
    for driver in DRIVERS {
        let quick = Duration::from_millis(100);
        let server = echo(&with_limits(config(driver, 1), |limits| limits.body = quick));
        let mut quiet = connect(&server);
        write(&mut quiet, b"x\n");
        quiet.read_exact(&mut [0; 2]).expect("an answer");
        // Behind a whole line, as the first, and within what may become a question for blocks.
        for (begun, answer) in [("before\n{\"a\":", "before\n"), ("{", ""), ("ringgate-bl", "")] {
            let mut stream = connect(&server);
            write(&mut stream, begun.as_bytes());
            let got = String::from_utf8(read_all(&mut stream)).expect("text");
            let error = got.strip_prefix(answer).unwrap_or_else(|| panic!("{driver:?}: {got}"));
            assert!(error.contains("\"code\":-32700"), "{driver:?}: {got}");
            assert!(error.contains("limits.body"), "{driver:?}: {got}");
        }
        assert_eq!(count(&server, "faults"), 3, "{driver:?}");
        write(&mut quiet, b"y\n");
        quiet.read_exact(&mut [0; 2]).expect("who is quiet between lines is served on");
        finish(server);
    }
}
