//! Where the operator looks, and where spans go, as they are configured.

use super::*;
use crate::gateway::trace::Tracing;

#[test]
fn the_admin_listener_is_on_the_loopback_unless_it_is_off_or_moved_in_words() {
    let admin = toml("").unwrap().admin.expect("there is one by default");
    assert_eq!((admin.listen.to_string().as_str(), admin.is_named), ("127.0.0.1:7422", false));
    assert_eq!((admin.hosts, admin.keys), (Some(Vec::new()), None));
    assert_eq!(toml("[admin]\nlisten = \"off\"\n").unwrap().admin, None);
    let seen = "[admin]\nlisten = \"0.0.0.0:9\"\n";
    assert!(toml(seen).is_err(), "other machines could stop the gateway");
    let told = format!("{seen}i_understand_there_is_no_authentication = true\nhosts = [\"*\"]\n");
    let admin = toml(&told).unwrap().admin.expect("it was said in words");
    assert!(admin.is_named && admin.hosts.is_none());
    let digest = format!("sha256:{}", "ab".repeat(32));
    let keyed = toml(&format!("[admin]\nkeys = {{ ops = \"{digest}\" }}\n")).unwrap();
    assert_eq!(keyed.admin.and_then(|admin| admin.keys).map(|keys| keys.len()), Some(1));
    assert_eq!(keyed.keys, None, "agents need none for that");
    let moved = load(&[], &[("RINGGATE_ADMIN__LISTEN", "127.0.0.1:1")]).unwrap().0;
    assert!(moved.admin.is_some_and(|admin| admin.is_named && admin.listen.port() == 1));
}

#[test]
fn agents_listeners_tell_no_counters_unless_it_is_said() {
    let metrics = |text: &str| toml(text).unwrap().http.is_some_and(|http| http.front.metrics);
    assert!(!metrics(""));
    assert!(metrics("[http]\nmetrics = true\n"));
}

#[test]
fn traces_go_where_a_url_says_and_by_a_share() {
    assert_eq!(toml("").unwrap().traces, None);
    assert_eq!(toml("[traces]\nendpoint = \"off\"\nratio = 0.5\n").unwrap().traces, None);
    let text =
        "[traces]\nendpoint = \"http://127.0.0.1:4318/v1/traces\"\nheaders = { a = \"b\" }\n";
    let config = toml(text).unwrap();
    let traces = config.traces.clone().expect("there are some");
    assert_eq!((traces.service.as_str(), traces.headers.len()), ("ringgate", 1));
    let of = |config: &Config| config.settings(1).unwrap().traces;
    assert_eq!(of(&config), Some(Tracing::of(1.0)));
    let quarter = text.replace("headers", "ratio = 0.25\nheaders");
    assert_eq!(of(&toml(&quarter).unwrap()), Some(Tracing::of(0.25)));
    for wrong in
        ["ratio = 1.5", "ratio = \"many\"", "endpoint = \"collector:4318\"", "ratio = -0.1"]
    {
        let endpoint =
            if wrong.starts_with("endpoint") { "" } else { "endpoint = \"http://x.test\"\n" };
        assert!(toml(&format!("[traces]\n{endpoint}{wrong}\n")).is_err(), "{wrong}");
    }
}
