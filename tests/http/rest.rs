//! REST for people and scripts: the tools, without an envelope.

use ringgate::gateway::http::Verb;
use ringgate::gateway::settings::{EraPin, Settings, Target};

use crate::house::{House, upstream};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[test]
fn tools_are_listed_and_called_without_an_envelope() {
    let mut house = House::builtin(1);
    let before = house.footprint();
    let link = house.send(0, Verb::Get, "/tools", &[], "");
    assert_eq!(house.answer(link).status, Some(200));
    assert!(
        house.answer(link).body.starts_with('{') && house.answer(link).body.contains("\"tools\":[")
    );
    let link = house.send(0, Verb::Post, "/tools/echo", &JSON, "{\n\"message\": \"hi\"}");
    assert_eq!(house.answer(link).status, Some(200));
    assert!(house.answer(link).body.contains("\"text\":\"hi\""), "{:?}", house.answer(link));
    let link = house.send(0, Verb::Post, "/tools/%65cho", &JSON, "{\"message\": \"hi\"}");
    assert_eq!(house.answer(link).status, Some(200), "names may be encoded");
    assert_eq!(house.footprint(), before);
}

#[test]
fn an_only_upstream_is_listed_by_the_names_it_is_called_by() {
    let upstreams = vec![upstream("up", "x", Target::Builtin { folder: None }, EraPin::Auto)];
    let mut house = House::with(1, Settings { upstreams, ..Settings::default() });
    let link = house.send(0, Verb::Get, "/tools", &[], "");
    let body = &house.answer(link).body;
    assert!(body.contains("\"x__echo\"") && !body.contains("\"echo\""), "{body}");
    let link = house.send(0, Verb::Post, "/tools/x__echo", &JSON, "{\"message\": \"hi\"}");
    assert_eq!(house.answer(link).status, Some(200));
}

#[test]
fn what_is_wrong_has_a_status() {
    let mut house = House::builtin(1);
    for (verb, path, headers, body, status) in [
        (Verb::Post, "/tools/no-such", &JSON[..], "{}", 404),
        (Verb::Post, "/tools/echo", &JSON[..], "[]", 400),
        (Verb::Post, "/tools/echo", &JSON[..], "{", 400),
        (Verb::Post, "/tools/echo", &[][..], "{}", 415),
        (Verb::Get, "/tools/echo", &JSON[..], "", 405),
        (Verb::Post, "/tools", &JSON[..], "", 405),
    ] {
        let link = house.send(0, verb, path, headers, body);
        assert_eq!(
            house.answer(link).status,
            Some(status),
            "{path} {body}: {:?}",
            house.answer(link)
        );
    }
}

#[test]
fn an_upstream_that_takes_long_makes_no_stream() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let link = house.send(0, Verb::Post, "/tools/slow", &JSON, "{}");
    house.wait(std::time::Duration::from_secs(20));
    assert_eq!(house.answer(link).status, None);
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert_eq!(house.answer(link).status, Some(200));
    let link = house.send(0, Verb::Post, "/tools/slow", &JSON, "{}");
    house.wait(std::time::Duration::from_secs(31));
    assert_eq!(house.answer(link).status, Some(504));
}
