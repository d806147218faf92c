//! What is seen of requests: how each ended and how long it took, whose part of a trace it was, and what is told of
//! one that failed.

use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::gateway::census::{Guarded, Standing};
use ringgate::gateway::settings::{EraPin, Target};
use ringgate::gateway::tally::{End, Traffic};
use ringgate::gateway::trace::Tracing;
use ringgate::gateway::{Report, Settings};

use crate::house::{House, upstream};

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CALL: &str = r#"{"name":"slow","arguments":{}}"#;

fn traced(shards: u16, target: Target, era: EraPin, share: f64) -> House {
    let upstreams = vec![upstream("up", "", target, era)];
    let traces = Some(Tracing::of(share));
    House::with(shards, Settings { upstreams, traces, ..Settings::default() })
}

fn tcp() -> Target {
    Target::Tcp { address: ([127, 0, 0, 1], 1).into() }
}

fn traffic(house: &House) -> Traffic {
    (*house.census(0).upstreams[0].traffic).clone()
}

/// A modern call whose `_meta` has more members, and whose POST has more headers.
fn call(house: &mut House, more: &str, headers: &[(&str, &str)]) -> LinkId {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{{"name":"slow","arguments":{{}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}{more}}}}}}}"#
    );
    let mut all = vec![
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "slow"),
    ];
    all.extend_from_slice(headers);
    house.post(0, &all, &body)
}

fn answer(house: &mut House, lane: LinkId, what: &str) -> String {
    let (id, line) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},{what}}}"#));
    line
}

#[test]
fn each_call_is_counted_once_by_how_it_ended() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    house.modern(0, 1, "tools/call", CALL, "{}");
    house.wait(Duration::from_millis(5));
    answer(&mut house, lane, r#""result":{"content":[]}"#);
    house.modern(0, 2, "tools/call", CALL, "{}");
    answer(&mut house, lane, r#""error":{"code":-32000,"message":"no"}"#);
    house.modern(0, 3, "tools/call", CALL, "{}");
    answer(&mut house, lane, r#""error":{"code":-32602,"message":"Unknown tool: slow"}"#);
    let link = house.modern(0, 4, "tools/call", CALL, "{}");
    house.leave(link);
    house.modern(0, 5, "tools/call", CALL, "{}");
    house.wait(Duration::from_mins(1));
    let seen = traffic(&house);
    for (end, count) in [
        (End::Answered, 1),
        (End::Failed, 1),
        (End::NotFound, 1),
        (End::Cancelled, 1),
        (End::TimedOut, 1),
        (End::Refused, 0),
    ] {
        assert_eq!((seen.calls.of(end), seen.ends.of(end)), (count, count), "{end:?}");
    }
    assert_eq!(seen.call_time.count(), 5);
    // Lists that the gateway asked for are among the answers; this one took what it took.
    assert!(seen.answer_time.count() >= 3 && seen.answer_time.micros() >= 5_000);
    let census = house.census(0);
    assert_eq!((census.waiting, census.clients), (0, 0));
}

#[test]
fn what_the_builtin_upstream_answers_at_once_is_counted_too() {
    let mut house = House::builtin(1);
    house.modern(0, 1, "tools/call", r#"{"name":"echo","arguments":{"message":"hi"}}"#, "{}");
    house.modern(0, 2, "tools/call", r#"{"name":"nothing","arguments":{}}"#, "{}");
    house.modern(0, 3, "tools/call", r#"{"name":"sleep","arguments":{"ms":10}}"#, "{}");
    let census = house.census(0);
    assert_eq!((census.flights, census.clients), (1, 1));
    house.wait(Duration::from_secs(1));
    let seen = traffic(&house);
    assert_eq!((seen.calls.of(End::Answered), seen.calls.of(End::NotFound)), (2, 1));
    assert_eq!(seen.call_time.count(), 2);
}

#[test]
fn an_upstream_is_seen_as_it_stands() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let seen = |house: &House| {
        let one = house.census(0).upstreams.remove(0);
        (one.standing, one.endpoints[0].guarded, one.endpoints[0].standing)
    };
    assert_eq!(seen(&house), (Standing::Starting, Guarded::Closed, Standing::Starting));
    house.modern(0, 1, "tools/call", CALL, "{}");
    assert_eq!(house.census(0).waiting, 1);
    house.greet_legacy();
    house.session(0, "2025-11-25", "{}");
    assert_eq!((house.census(0).waiting, house.census(0).sessions), (0, 1));
    assert_eq!(seen(&house), (Standing::Ready, Guarded::Closed, Standing::Ready));
    for number in 0..5 {
        house.modern(0, number, "tools/call", CALL, "{}");
    }
    house.wait(Duration::from_mins(1));
    assert_eq!(seen(&house).1, Guarded::Open);
    house.wait(Duration::from_mins(1));
    assert_eq!(seen(&house).1, Guarded::HalfOpen, "one may be tried");
}

#[test]
fn a_failure_is_reported_with_what_it_can_be_found_by() {
    let mut house = traced(1, tcp(), EraPin::Legacy, 0.0);
    let lane = house.greet_legacy();
    let link = call(&mut house, &format!(r#","traceparent":"{PARENT}""#), &[]);
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.wait(Duration::from_mins(1));
    let failed = house.reports.iter().find_map(|report| match report {
        Report::CallFailed(failed) => Some(failed),
        _ => None,
    });
    let failed = failed.expect("it is reported");
    assert_eq!(
        (failed.link, failed.flight.to_string(), failed.trace),
        (Some(link), id, Some(TRACE))
    );
    assert_eq!((failed.upstream.as_str(), failed.code), ("up", -32004));
    assert!(failed.why.contains("limit request"), "{}", failed.why);
    assert_eq!(house.spans[0].end, End::TimedOut);
}

#[test]
fn a_trace_goes_on_with_a_span_of_ours_wherever_it_came_from() {
    for era in [EraPin::Legacy, EraPin::Modern] {
        let mut house = traced(1, tcp(), era, 0.0);
        let lane = if era == EraPin::Legacy { house.greet_legacy() } else { house.greet_modern() };
        let meta = format!(r#","traceparent":"{PARENT}","tracestate":"v=1""#);
        let other = "00-11111111111111111111111111111111-2222222222222222-01";
        for (more, headers) in [
            (meta.as_str(), vec![]),
            ("", vec![("traceparent", PARENT), ("tracestate", "v=1")]),
            (meta.as_str(), vec![("traceparent", other)]),
        ] {
            call(&mut house, more, &headers);
            house.wait(Duration::from_millis(3));
            let line = answer(&mut house, lane, r#""result":{"content":[]}"#);
            let span = house.spans.pop().expect("it is told");
            assert!(house.spans.is_empty(), "once");
            assert_eq!((span.context.trace, span.context.parent), (TRACE, 0xb7ad_6b71_6920_3331));
            assert_eq!((span.end, &*span.name, &*span.upstream), (End::Answered, "slow", "up"));
            let (sent, _) = span.sent.expect("it was sent");
            let told =
                format!(r#""traceparent":"00-{TRACE:032x}-{sent:016x}-01","tracestate":"v=1""#);
            assert!(line.contains(&told), "{told} is not in {line}");
            assert_eq!(line.matches("traceparent").count(), 1, "{line}");
            assert_eq!(span.ended.since(span.begun), Duration::from_millis(3));
        }
    }
}

#[test]
fn what_is_not_sampled_goes_on_as_such_and_is_told_nobody() {
    let mut house = traced(1, tcp(), EraPin::Legacy, 1.0);
    let lane = house.greet_legacy();
    let parent = PARENT.replace("-01", "-00");
    call(&mut house, &format!(r#","traceparent":"{parent}""#), &[]);
    let line = answer(&mut house, lane, r#""result":{"content":[]}"#);
    assert!(line.contains(&format!("00-{TRACE:032x}-")) && line.contains("-00\""), "{line}");
    assert!(house.spans.is_empty(), "its client decides, not the share of those that bring none");
}

#[test]
fn requests_without_a_trace_begin_one_by_their_share() {
    for (share, expected) in [(0.0, 0), (1.0, 20)] {
        let mut house = traced(1, Target::Builtin { folder: None }, EraPin::Auto, share);
        for number in 0..20 {
            house.modern(
                0,
                number,
                "tools/call",
                r#"{"name":"echo","arguments":{"message":"x"}}"#,
                "{}",
            );
        }
        assert_eq!(house.spans.len(), expected);
        let mut traces: Vec<u128> = house.spans.iter().map(|span| span.context.trace).collect();
        traces.sort_unstable();
        traces.dedup();
        assert_eq!(traces.len(), expected, "a trace each");
        assert!(house.spans.iter().all(|span| !span.has_parent && span.sent.is_none()));
    }
}

#[test]
fn where_nothing_is_traced_what_a_client_says_of_it_passes_as_it_is() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    call(&mut house, r#","traceparent":"as it is""#, &[("traceparent", PARENT)]);
    let line = answer(&mut house, lane, r#""result":{"content":[]}"#);
    assert!(line.contains(r#""traceparent":"as it is""#), "{line}");
    assert!(house.spans.is_empty());
}

#[test]
fn a_trace_in_headers_goes_along_to_the_shard_of_its_session() {
    let mut house = traced(2, Target::Builtin { folder: None }, EraPin::Auto, 0.0);
    let session = house.session(0, "2025-11-25", "{}");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"x"}}}"#;
    for shard in [0, 1] {
        let link =
            house.post(shard, &[("mcp-session-id", &session), ("traceparent", PARENT)], body);
        assert_eq!(house.answer(link).status, Some(200));
        let span = house.spans.pop().expect("it is told");
        assert_eq!(span.context.trace, TRACE);
    }
    // And the next that brings none has none.
    house.post(1, &[("mcp-session-id", &session)], body);
    assert!(house.spans.is_empty());
}
