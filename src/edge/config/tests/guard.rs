//! What is looked for in the arguments of tools, as it is configured.

use super::*;
use crate::gateway::guard::Mode;
use crate::wire::Json;

const AUDIT: &str = "[audit]\nto = \"stdout\"\n";

#[test]
fn nothing_is_looked_for_unless_somebody_says_so() {
    for text in
        ["", "[guard]\n", "[guard]\nmode = \"off\"\n", "[guard]\noff = { \"*\" = [\"*\"] }\n"]
    {
        assert_eq!(toml(text).unwrap().guard, None, "{text}");
    }
}

#[test]
fn modes_patterns_and_tools_are_read() {
    let config = toml(&format!(
        "{AUDIT}[guard]\nmode = \"log\"\ndeny = {{ builtin = [\"write_*\"] }}\noff = {{ \"*\" = [\"*_raw\"] }}\n\
         patterns = [\"script_tag\"]\n[guard.own]\ninside = '(?i)\\.corp$'\n"
    ))
    .unwrap();
    assert_eq!(config.warnings, []);
    let guard = config.settings(1).unwrap().guard.expect("there is one");
    assert_eq!(guard.mode("builtin", "write_x"), Mode::Deny);
    assert_eq!(guard.mode("builtin", "x_raw"), Mode::Off);
    assert_eq!(guard.mode("builtin", "x"), Mode::Log);
    let finds = |json: &str| {
        let found = guard.inspect("builtin", "x", Json::parse(json).unwrap());
        found.map(|found| found.pattern.into_string())
    };
    assert_eq!(finds(r#"["<script>"]"#).as_deref(), Some("script_tag"));
    assert_eq!(finds(r#"["db.CORP"]"#).as_deref(), Some("inside"));
    assert_eq!(finds(r#"["' OR '1'='1"]"#), None);
    let by_variable = load(&[], &[("RINGGATE_GUARD__MODE", "deny")]).unwrap().0;
    assert!(by_variable.guard.is_some());
}

#[test]
fn what_is_wrong_in_it_is_told_with_its_place() {
    refused(
        "[guard]\nmode = \"warn\"\n",
        "c.toml:2: guard.mode: expected \"off\" or \"log\" or \"deny\", found the text \"warn\"",
    );
    refused(
        "[guard]\npatterns = [\"sql\"]\n",
        "c.toml:2: guard.patterns: there is no pattern \"sql\"; there are sql_injection, path_traversal, script_tag; \
         patterns of your own stand under guard.own",
    );
    refused(
        "[guard]\nown = { x = \"a(b\" }\n",
        "c.toml:2: guard.own: the pattern \"x\" cannot be used: unclosed group; write a regular expression without \
         look-around and back references, such as '(?i)\\.corp\\.example$'",
    );
    refused(
        "[guard]\npattern = 1\n",
        "c.toml:2: guard.pattern: unknown key; did you mean \"patterns\"?",
    );
    let (_, warnings) = load(&[("c.toml", "[guard]\nmode = \"log\"\n")], &[]).unwrap();
    assert_eq!(
        warnings,
        "c.toml:2: guard.mode: what is found is written to the audit log, and there is none; set audit.to, or let the guard deny"
    );
}
