//! Settings in which the gateway decides about each call: what that costs is the difference to the same call without.

use std::sync::Arc;

use ringgate::gateway::Settings;
use ringgate::gateway::guard::{BUILT_IN, Guard, Mode, Wish};
use ringgate::gateway::policy::{Agent, Pattern, Policy, Rules, Side};
use ringgate::gateway::rate::Rates;

/// What it changes.
type Add = fn(&mut Settings);

/// What is added, by the name of its scene.
pub(crate) const ALL: [(&str, Add); 5] = [
    ("policy", with_policy),
    ("rates", with_rates),
    ("audit", with_audit),
    ("guard", with_guard),
    ("policy, rates, audit and guard", with_all),
];

fn with_policy(settings: &mut Settings) {
    let pattern = |text: &str| Pattern::parse(text).expect("a pattern");
    let names = ["get_*", "echo", "list_*", "*_user"].map(pattern);
    let side = |tools: Vec<Pattern>| Side {
        servers: vec![pattern("up")],
        tools: vec![(pattern("up"), tools)],
        ..Side::default()
    };
    let deny = Side { servers: Vec::new(), ..side(vec![pattern("drop_*")]) };
    let agents = vec![Agent { name: "default".to_owned(), allow: side(names.to_vec()), deny }];
    let rules = Rules { deny_on_missing_agent: false, agents };
    settings.policy = Some(Arc::new(Policy::compile(&rules, ["up"])));
}

/// Nobody is over them: what is refused costs less than what is let through.
fn with_rates(settings: &mut Settings) {
    let all = Rates::MAX;
    settings.rates = Some(Rates { messages: all, calls: all, all, ..Rates::DEFAULT });
}

fn with_audit(settings: &mut Settings) {
    settings.audits = true;
}

fn with_guard(settings: &mut Settings) {
    let wish = Wish { mode: Mode::Deny, built_in: BUILT_IN.to_vec(), ..Wish::default() };
    settings.guard = Some(Arc::new(Guard::compile(wish).expect("its own patterns")));
}

fn with_all(settings: &mut Settings) {
    for (_, add) in &ALL[..ALL.len() - 1] {
        add(settings);
    }
}
