//! The four combinations of eras: whatever MCP can do works in each of them, in the client's words.

use serde_json::{Value, json};

use crate::server::Server;
use crate::stage::{ERAS, one};
use crate::world::World;

/// Runs a scene in each combination of a client's and a server's era.
fn in_each(caps: Value, scene: impl Fn(&mut World, usize, bool)) {
    for (client, server) in ERAS {
        let mut world = one(Server::new(server));
        let who = world.join(client, caps.clone());
        scene(&mut world, who, client);
        world.finish();
    }
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn a_call_is_answered_in_the_clients_era() {
    in_each(json!({}), |world, client, is_modern| {
        world.call(client, 7, "work", "");
        world.run_for_ms(50);
        let answer = world.answer_of(client, 7);
        assert_eq!(text(&answer), "tok-0-7.", "{answer}");
        assert_eq!(answer["result"]["resultType"] == "complete", is_modern);
    });
}

#[test]
fn progress_comes_under_the_clients_own_token_and_before_the_answer() {
    in_each(json!({}), |world, client, _| {
        world.call(client, 7, "work", "p p p");
        world.run_for_ms(100);
        let progress = world.heard(client, "notifications/progress");
        assert_eq!(progress.len(), 3);
        assert!(progress.iter().all(|it| it["params"]["progressToken"] == 7));
        assert_eq!(world.clients[client].heard.last(), Some(&world.answer_of(client, 7)));
    });
}

#[test]
fn a_cancelled_call_gets_no_answer_and_its_server_is_told() {
    in_each(json!({}), |world, client, _| {
        world.call(client, 7, "work", "late w w w");
        world.run_for_ms(100);
        world.cancel(client, 7);
        world.run_for_ms(5_000);
        assert!(world.answer_of(client, 7).is_null());
        let told = world.conns.iter().flat_map(|conn| conn.calls.values()).any(|call| call.is_told);
        assert!(told);
    });
}

/// A server asks a client: with a request, or with an answer and a retry.
fn asks(step: &str, method: &str, cap: &str) {
    in_each(json!({cap: {}}), |world, client, is_modern| {
        let params = world.call_params(client, 7, "work", step);
        world.call(client, 7, "work", step);
        world.run_for_ms(100);
        let answered = if is_modern {
            let answer = world.answer_of(client, 7);
            let asks = answer["result"]["inputRequests"].as_object().into_iter().flatten();
            assert!(
                asks.clone().count() > 0
                    && asks.into_iter().all(|(_, ask)| ask["method"] == method)
            );
            world.call_again(client, 7, 8, params);
            8
        } else {
            for question in world.heard(client, method) {
                world.reply(client, &question);
            }
            7
        };
        world.run_for_ms(100);
        let answer = world.answer_of(client, answered);
        assert_eq!(text(&answer), "tok-0-7.", "{answer}");
    });
}

#[test]
fn a_server_can_ask_the_clients_model() {
    asks("as", "sampling/createMessage", "sampling");
}

#[test]
fn a_server_can_ask_the_user() {
    asks("ae", "elicitation/create", "elicitation");
}

#[test]
fn a_server_can_ask_for_roots() {
    asks("ar", "roots/list", "roots");
}

#[test]
fn a_server_can_ask_several_times_in_one_call() {
    for (client, server) in ERAS {
        let mut world = one(Server::new(server));
        let who = world.join(client, json!({"roots": {}, "sampling": {}}));
        let params = world.call_params(who, 1, "work", "ar as ar");
        world.call(who, 1, "work", "ar as ar");
        let mut id = 1;
        for _ in 0..3 {
            world.run_for_ms(100);
            if client {
                world.call_again(who, id, id + 1, params.clone());
                id += 1;
                continue;
            }
            let mut questions = world.heard(who, "roots/list");
            questions.extend(world.heard(who, "sampling/createMessage"));
            world.clients[who].heard.clear();
            questions.iter().for_each(|question| world.reply(who, question));
        }
        world.run_for_ms(200);
        let answer = world.answer_of(who, id);
        assert_eq!(text(&answer), "tok-0-1.", "{client} {server} {answer}");
        world.finish();
    }
}

#[test]
fn logs_reach_who_asked_for_them_and_nobody_else() {
    for (client, server) in ERAS {
        let mut world = one(Server::new(server));
        let (hears, other) = (world.join(client, json!({})), world.join(client, json!({})));
        if client {
            world.clients[hears].level = Some("info");
        } else {
            world.ask_for(hears, 1, "logging/setLevel", json!({"level": "info"}));
            world.run_for_ms(20);
        }
        world.call(hears, 2, "work", "l w l");
        world.call(other, 2, "work", "l w l");
        world.run_for_ms(2_000);
        assert_eq!(world.heard(hears, "notifications/message").len(), 2, "{client} {server}");
        assert!(world.heard(other, "notifications/message").is_empty());
        world.finish();
    }
}

#[test]
fn a_change_of_a_list_is_told_in_the_clients_way() {
    in_each(json!({}), |world, client, is_modern| {
        if is_modern {
            let wants = json!({"notifications": {"toolsListChanged": true}});
            world.ask_for(client, 3, "subscriptions/listen", wants);
            world.run_for_ms(20);
            assert_eq!(world.heard(client, "notifications/subscriptions/acknowledged").len(), 1);
        }
        world.server_changes(0, "tools");
        world.server_changes(0, "prompts");
        world.run_for_ms(20);
        let tools = world.heard(client, "notifications/tools/list_changed");
        assert_eq!(tools.len(), 1);
        assert_eq!(
            world.heard(client, "notifications/prompts/list_changed").len(),
            usize::from(!is_modern)
        );
        let subscription = &tools[0]["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
        assert_eq!(*subscription == 3, is_modern);
    });
}

#[test]
fn an_update_of_a_resource_reaches_who_watches_it_while_it_does() {
    for (client, server) in ERAS {
        let mut world = one(Server::new(server));
        let (watches, other) = (world.join(client, json!({})), world.join(client, json!({})));
        let uri = "res://sub/1";
        if client {
            let wants = json!({"notifications": {"resourceSubscriptions": [uri]}});
            world.ask_for(watches, 3, "subscriptions/listen", wants);
        } else {
            world.ask_for(watches, 3, "resources/subscribe", json!({"uri": uri}));
        }
        world.run_for_ms(50);
        world.server_updates(0, uri);
        world.run_for_ms(50);
        let updates = world.heard(watches, "notifications/resources/updated");
        assert_eq!(updates.len(), 1, "{client} {server}");
        assert_eq!(updates[0]["params"]["uri"], uri);
        if client {
            world.cancel(watches, 3);
        } else {
            world.ask_for(watches, 4, "resources/unsubscribe", json!({"uri": uri}));
        }
        world.run_for_ms(50);
        world.server_updates(0, uri);
        world.run_for_ms(50);
        assert_eq!(world.heard(watches, "notifications/resources/updated").len(), 1);
        assert!(world.heard(other, "notifications/resources/updated").is_empty());
        world.finish();
    }
}

#[test]
fn an_argument_is_completed_by_the_server_that_has_the_prompt() {
    in_each(json!({}), |world, client, _| {
        let params = json!({
            "ref": {"type": "ref/prompt", "name": "ask"},
            "argument": {"name": "a", "value": crate::marks::token(client, 1)},
        });
        world.ask_for(client, 1, "completion/complete", params);
        world.run_for_ms(50);
        assert_eq!(world.answer_of(client, 1)["result"]["completion"]["values"][0], "tok-0-1.");
    });
}
