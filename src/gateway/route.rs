//! Names: which upstream a tool, prompt, resource or completion belongs to, and what the upstream
//! itself calls it. One upstream: names pass unchanged. Several: `<prefix><separator><name>` and
//! `<scheme>+<uri>` (a URI must stay a URI, and `+` is legal in a scheme: RFC 3986 section 3.1).

use super::settings::Settings;

#[derive(Debug)]
struct Entry {
    /// With its separator; empty for an only upstream.
    name: String,
    /// With its plus; empty for an only upstream.
    uri: String,
}

/// See the module. Fixed for a configuration.
#[derive(Debug)]
pub struct Routes {
    /// By place, also of those that are used no more: what is under way still has their names.
    entries: Vec<Entry>,
    /// Where new requests may go, see [`Routes::order`].
    order: Vec<usize>,
}

impl Routes {
    pub fn new(settings: &Settings) -> Self {
        let entries = settings
            .upstreams
            .iter()
            .map(|upstream| {
                if upstream.prefix.is_empty() {
                    Entry { name: String::new(), uri: String::new() }
                } else {
                    Entry {
                        name: format!("{}{}", upstream.prefix, settings.separator),
                        uri: format!("{}+", scheme(&upstream.prefix)),
                    }
                }
            })
            .collect();
        Self { entries, order: settings.order() }
    }

    /// The places of the upstreams that are used, in the order in which lists are merged.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The upstream's own name for a tool or prompt that clients call so.
    pub fn own_name<'n>(&self, upstream: usize, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.name_prefix(upstream))
    }

    /// The upstream's own URI of a resource or template that clients call so.
    pub fn own_uri<'n>(&self, upstream: usize, uri: &'n str) -> Option<&'n str> {
        uri.strip_prefix(self.uri_prefix(upstream))
    }

    /// Whether names of this upstream differ from what clients call them.
    pub fn renames(&self, upstream: usize) -> bool {
        self.entries.get(upstream).is_some_and(|entry| !entry.name.is_empty())
    }

    /// The upstream of a tool or prompt, and its own name for it.
    pub fn by_name<'n>(&self, name: &'n str) -> Option<(usize, &'n str)> {
        self.longest(name, |entry| &entry.name)
    }

    /// The upstream of a resource or template, and its own URI for it.
    pub fn by_uri<'n>(&self, uri: &'n str) -> Option<(usize, &'n str)> {
        self.longest(uri, |entry| &entry.uri)
    }

    /// What to put before a name of this upstream.
    pub fn name_prefix(&self, upstream: usize) -> &str {
        self.entries.get(upstream).map_or("", |entry| &entry.name)
    }

    /// What to put before a URI of this upstream.
    pub fn uri_prefix(&self, upstream: usize) -> &str {
        self.entries.get(upstream).map_or("", |entry| &entry.uri)
    }

    /// `a` and `a__b` may both be upstreams: the longest prefix is meant.
    fn longest<'n>(
        &self,
        name: &'n str,
        prefix: impl Fn(&Entry) -> &String,
    ) -> Option<(usize, &'n str)> {
        let of = |&index: &usize| {
            let entry = self.entries.get(index)?;
            Some((index, name.strip_prefix(prefix(entry).as_str())?))
        };
        if let [only] = &*self.order {
            return of(only);
        }
        self.order.iter().filter_map(of).min_by_key(|(_, rest)| rest.len())
    }
}

/// A prefix as a URI scheme: lower case, `-` for what a scheme cannot hold.
pub fn scheme(prefix: &str) -> String {
    prefix
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::settings::{EraPin, Share, Spread, Target, Upstream};

    fn routes(prefixes: &[&str]) -> Routes {
        routes_of(prefixes, None)
    }

    fn routes_of(prefixes: &[&str], order: Option<Box<[usize]>>) -> Routes {
        let upstreams = prefixes
            .iter()
            .map(|prefix| Upstream {
                name: (*prefix).to_owned(),
                prefix: (*prefix).to_owned(),
                target: Target::Builtin { folder: None },
                era: EraPin::Auto,
                share: Share::Auto,
                warm: false,
                spread: Spread::default(),
            })
            .collect();
        let separator = "__".to_owned();
        Routes::new(&Settings { upstreams, order, separator, ..Settings::default() })
    }

    #[test]
    fn an_only_upstream_keeps_its_names() {
        let routes = routes(&[""]);
        assert_eq!(routes.by_name("a__b"), Some((0, "a__b")));
        assert_eq!(routes.by_uri("file:///x"), Some((0, "file:///x")));
    }

    #[test]
    fn what_is_used_no_more_keeps_its_names_and_is_not_found_by_them() {
        let routes = routes_of(&["git", "time", "git"], Some([2, 1].into()));
        assert_eq!(routes.by_name("git__log"), Some((2, "log")));
        assert_eq!(routes.name_prefix(0), "git__");
        assert_eq!(routes.own_name(0, "git__log"), Some("log"));
        assert_eq!(routes.own_uri(1, "time+clock://now"), Some("clock://now"));
        assert_eq!(routes_of(&["git", "time"], Some([1].into())).by_name("git__log"), None);
    }

    #[test]
    fn several_are_told_apart_by_the_longest_prefix() {
        let routes = routes(&["git", "git__hub", "My_Time"]);
        assert_eq!(routes.by_name("git__log"), Some((0, "log")));
        assert_eq!(routes.by_name("git__hub__log"), Some((1, "log")));
        assert_eq!(routes.by_name("log"), None);
        assert_eq!(routes.by_uri("my-time+clock://now"), Some((2, "clock://now")));
        assert_eq!(routes.uri_prefix(2), "my-time+");
    }
}
