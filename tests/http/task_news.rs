//! Tasks beyond one request: who hears news of them, where they are found, and how many are remembered.

use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::settings::{EraPin, Target};
use ringgate::gateway::{Event, Settings};
use serde_json::{Value, json};

use crate::house::{House, upstream};
use crate::tasks::{
    NEW, OLD, TAKES, TAKES_AND_ASKED, TOOLS, about, answered, begun_across, begun_new, begun_old,
    new, new_house, old, old_house, parse, replies, times, two,
};

fn listen(house: &mut House, tokens: &[&str], caps: &str) -> LinkId {
    let ids = serde_json::to_string(tokens).unwrap();
    let params = format!(r#"{{"notifications":{{"taskIds":{ids}}}}}"#);
    new(house, 0, "subscriptions/listen", &params, caps)
}

#[test]
fn news_of_a_modern_task_reach_who_listens_for_it() {
    let (mut house, lane) = new_house(1);
    let token = begun_new(&mut house, lane, "t1");
    let refused = listen(&mut house, &[&token], "{}");
    assert_eq!(answered(&house, refused)["error"]["code"], -32021);
    let stream = listen(&mut house, &[&token, "unknown"], TAKES);
    let said = parse(&house.answer(stream).data()[0]);
    assert_eq!(said["params"]["notifications"], json!({"taskIds": [token]}));
    let (id, line) = house.heard(lane, "subscriptions/listen").unwrap();
    let params = parse(&line)["params"].clone();
    assert_eq!(params["notifications"]["taskIds"], json!(["t1"]));
    assert!(params["_meta"].to_string().contains("io.modelcontextprotocol/tasks"), "{params}");
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","method":"notifications/tasks","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"taskId":"t1","status":"completed","ttlMs":1,"result":{{"content":[]}}}}}}"#));
    house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t2","status":"working","ttlMs":1}}"#);
    let said: Vec<Value> = house.answer(stream).data().iter().map(|text| parse(text)).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    let news = &said[1]["params"];
    assert_eq!((&news["taskId"], &news["status"]), (&json!(token), &json!("completed")));
    assert_eq!(news["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);
}

#[test]
fn news_of_a_legacy_task_reach_a_modern_client_that_listens_with_all_that_they_must_say() {
    let (mut house, _) = old_house(1);
    let (token, lane) = begun_across(&mut house, "t1");
    let status = |status: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{{"taskId":"t1","status":"{status}","ttl":null}}}}"#
        )
    };
    house.says(lane, &status("working"));
    let stream = listen(&mut house, &[&token], TAKES);
    house.says(lane, &status("working"));
    house.says(lane, &status("completed"));
    replies(&mut house, lane, "tasks/result", r#"{"content":[]}"#);
    let said: Vec<Value> = house.answer(stream).data().iter().map(|text| parse(text)).collect();
    let statuses: Vec<&Value> = said[1..].iter().map(|news| &news["params"]["status"]).collect();
    assert_eq!(statuses, ["working", "completed"], "{said:?}");
    assert_eq!(said[2]["method"], "notifications/tasks");
    assert_eq!(said[2]["params"]["result"], json!({"content": []}));
    assert_eq!(said[2]["params"]["taskId"], *token);
}

#[test]
fn news_of_a_task_reach_nobody_who_listens_for_one_of_the_same_name_elsewhere() {
    let (mut house, _) = old_house(1);
    let (one, other) = two();
    house.principal = one;
    let (_, lane) = begun_across(&mut house, "t1");
    house.principal = other;
    let (token, own) = begun_across(&mut house, "t1");
    assert_ne!(lane, own);
    let stream = listen(&mut house, &[&token], TAKES);
    let ended = r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t1","status":"completed","ttl":null}}"#;
    let asked = times(&house, lane, "tasks/result");
    house.says(lane, ended);
    assert_eq!(times(&house, lane, "tasks/result"), asked, "nobody listens for that one");
    assert_eq!(house.answer(stream).data().len(), 1);
    let asked = times(&house, own, "tasks/result");
    house.says(own, ended);
    house.says(own, ended);
    assert_eq!(times(&house, own, "tasks/result"), asked + 1, "once, however often it says so");
    replies(&mut house, own, "tasks/result", r#"{"content":[]}"#);
    assert_eq!(house.answer(stream).data().len(), 2);
}

#[test]
fn what_is_asked_about_a_task_is_answered_whatever_becomes_of_its_connection() {
    let (mut house, _) = old_house(1);
    let (token, lane) = begun_across(&mut house, "t1");
    // Another call of the same client's has the connection meanwhile, and leaves.
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES_AND_ASKED);
    let call =
        new(&mut house, 0, "tools/call", r#"{"name":"may","arguments":{}}"#, TAKES_AND_ASKED);
    house.leave(call);
    replies(&mut house, lane, "tasks/get", r#"{"taskId":"t1","status":"working","ttl":null}"#);
    assert_eq!(answered(&house, link)["result"]["status"], "working");
    // It breaks.
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES_AND_ASKED);
    house.event(0, Event::Closed { link: lane, why: "it broke" });
    assert_eq!(answered(&house, link)["error"]["data"]["code"], "SERVER_UNAVAILABLE");
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES_AND_ASKED);
    assert_eq!(answered(&house, link)["error"]["code"], -32602);
}

#[test]
fn a_task_is_found_from_every_shard_and_by_the_next_process() {
    // A legacy server behind connections of each shard's own.
    let (mut house, lane) = old_house(2);
    let session = house.session(0, "2025-11-25", "{}");
    let token = begun_old(&mut house, lane, &session, "t1");
    for shard in [0, 1] {
        let link = new(&mut house, shard, "tasks/get", &about(&token), TAKES);
        let params =
            replies(&mut house, lane, "tasks/get", r#"{"taskId":"t1","status":"working","ttl":1}"#);
        assert_eq!(params["taskId"], "t1");
        assert_eq!(answered(&house, link)["result"]["taskId"], *token, "{shard}");
    }
    // One behind a client's own connection: the request goes to where that is.
    let (token, own) = begun_across(&mut house, "t2");
    let link = new(&mut house, 1, "tasks/get", &about(&token), TAKES_AND_ASKED);
    replies(&mut house, own, "tasks/get", r#"{"taskId":"t2","status":"working","ttl":1}"#);
    assert_eq!(answered(&house, link)["result"]["taskId"], *token);
    // A modern one behind any.
    let (mut house, lane) = new_house(2);
    let token = begun_new(&mut house, lane, "t3");
    let (mut house, lane) = new_house(1);
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES);
    replies(&mut house, lane, "tasks/get", r#"{"taskId":"t3","status":"working","ttlMs":1}"#);
    assert_eq!(answered(&house, link)["result"]["taskId"], *token, "the key is the same");
}

#[test]
fn of_several_upstreams_each_gets_its_own_tasks() {
    let target = |port: u16| Target::Tcp { address: ([127, 0, 0, 1], port).into() };
    let upstreams = vec![
        upstream("a", "a", target(1), EraPin::Legacy),
        upstream("b", "b", target(2), EraPin::Modern),
    ];
    let mut house = House::with(1, Settings { upstreams, ..Settings::default() });
    let a = house.greet_with(OLD);
    replies(&mut house, a, "tools/list", TOOLS);
    let b = house.greet_modern_with(NEW);
    let begin = |house: &mut House, name: &str, lane: LinkId, made: &str| {
        let call = format!(r#"{{"name":"{name}","arguments":{{}}}}"#);
        let link = new(house, 0, "tools/call", &call, TAKES);
        replies(house, lane, "tools/call", made);
        answered(house, link)["result"]["taskId"].as_str().unwrap().to_owned()
    };
    let first =
        begin(&mut house, "a__may", a, r#"{"task":{"taskId":"1","status":"working","ttl":1}}"#);
    let second = begin(
        &mut house,
        "b__x",
        b,
        r#"{"resultType":"task","taskId":"1","status":"working","ttlMs":1}"#,
    );
    assert_ne!(first, second);
    let link = new(&mut house, 0, "tasks/get", &about(&second), TAKES);
    let done = r#"{"resultType":"complete","taskId":"1","status":"completed","ttlMs":1,"result":{"content":[{"type":"resource_link","uri":"u://1"}]}}"#;
    replies(&mut house, b, "tasks/get", done);
    let shown = answered(&house, link)["result"].clone();
    assert_eq!(shown["result"]["content"][0]["uri"], "b+u://1");
    let link = new(&mut house, 0, "tasks/get", &about(&first), TAKES);
    replies(&mut house, a, "tasks/get", r#"{"taskId":"1","status":"completed","ttl":1}"#);
    replies(
        &mut house,
        a,
        "tasks/result",
        r#"{"content":[{"type":"resource_link","uri":"u://1"}]}"#,
    );
    let shown = answered(&house, link)["result"].clone();
    assert_eq!(shown["result"]["content"][0]["uri"], "a+u://1");
}

#[test]
fn beyond_its_limits_a_shard_forgets_the_oldest_tasks_and_their_ids_hold_on() {
    let limits = Limits { tasks_max: 2, ..Limits::DEFAULT };
    let mut house = House::limited(limits);
    let lane = house.greet_with(OLD);
    replies(&mut house, lane, "tools/list", TOOLS);
    let session = house.session(0, "2025-11-25", "{}");
    let tokens: Vec<String> =
        (0..3).map(|n| begun_old(&mut house, lane, &session, &format!("t{n}"))).collect();
    let link = old(&mut house, &session, "tasks/list", "{}");
    for n in 1..3 {
        let task = format!(r#"{{"taskId":"t{n}","status":"working","ttl":1}}"#);
        replies(&mut house, lane, "tasks/get", &task);
    }
    assert_eq!(answered(&house, link)["result"]["tasks"].as_array().unwrap().len(), 2);
    let link = old(&mut house, &session, "tasks/get", &about(&tokens[0]));
    replies(&mut house, lane, "tasks/get", r#"{"taskId":"t0","status":"working","ttl":1}"#);
    assert_eq!(answered(&house, link)["result"]["taskId"], *tokens[0]);
}

#[test]
fn results_that_are_kept_take_no_more_than_the_limit() {
    let limits = Limits { task_bytes_max: 5_000, ..Limits::DEFAULT };
    let target = Target::Tcp { address: ([127, 0, 0, 1], 1).into() };
    let upstreams = vec![upstream("up", "", target, EraPin::Modern)];
    let mut house = House::with(1, Settings { upstreams, limits, ..Settings::default() });
    let lane = house.greet_modern_with(NEW);
    let session = house.session(0, "2025-11-25", "{}");
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let link = old(&mut house, &session, "tools/call", r#"{"name":"t","task":{}}"#);
        let result = format!(r#"{{"resultType":"complete","content":["{}"]}}"#, "x".repeat(2_000));
        replies(&mut house, lane, "tools/call", &result);
        tokens
            .push(answered(&house, link)["result"]["task"]["taskId"].as_str().unwrap().to_owned());
    }
    let codes: Vec<bool> = tokens
        .iter()
        .map(|token| {
            let link = old(&mut house, &session, "tasks/result", &about(token));
            answered(&house, link).get("result").is_some()
        })
        .collect();
    assert_eq!(codes, [false, true, true]);
}
