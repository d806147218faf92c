//! A policy of 10,000 rules of every form, and the calls that are judged by it.

use ringgate::gateway::policy::{Agent, Kind, Pattern, Policy, Rules, Side};

pub(crate) const KIND: Kind = Kind::Tool;
/// Calls and whether they are allowed: by an exact rule, by beginning, by ending, denied, and not named.
pub(crate) const CALLS: [(&str, bool); 5] = [
    ("create_report_of_customer_1234", true),
    ("get_customer_1233_by_email", true),
    ("nightly_export_of_table_1232", true),
    ("drop_table_1231_with_everything", false),
    ("something_that_no_rule_mentions", false),
];

/// One agent with 10,000 rules for the tools of one upstream: a fifth of them denies.
pub(crate) fn policy() -> Policy {
    let pattern = |text: String| Pattern::parse(&text).expect("a pattern");
    let mut side = [Side::default(), Side::default()];
    side[0].servers.push(pattern("db".to_owned()));
    for (number, side) in side.iter_mut().enumerate() {
        side.tools.push((pattern("db".to_owned()), Vec::new()));
        let list = &mut side.tools[0].1;
        for rule in 0..10_000 {
            let text = match (number, rule % 5) {
                (0, 4) => format!("create_report_of_customer_{rule}"),
                (0, 3) => format!("get_customer_{rule}_*"),
                (0, 2) => format!("*_of_table_{rule}"),
                (0, 0) => format!("list_{rule}_*_all"),
                (1, 1) => format!("drop_table_{rule}*"),
                _ => continue,
            };
            list.push(pattern(text));
        }
    }
    let [allow, deny] = side;
    let agents = vec![Agent { name: "backend".to_owned(), allow, deny }];
    Policy::compile(&Rules { deny_on_missing_agent: true, agents }, ["search", "db"])
}
