//! Which names this server answers to: the `Host` of a request (RFC 9110 section 7.2) against a list.
//! A page of a stranger's that made its own name point at this machine (DNS rebinding) ends here, with
//! 421. Not here: the syntax of the field, which is the codec's.

/// The names that are answered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<Name>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Any,
    /// `localhost`, names under it, and the addresses 127.0.0.0/8 and `[::1]`, on any port.
    Loopback,
    /// In small letters, with its port if only that one is meant.
    Exact {
        host: Box<str>,
        port: Option<Box<str>>,
    },
    /// `*.example.com` holds `.example.com`.
    Under {
        suffix: Box<str>,
        port: Option<Box<str>>,
    },
}

impl Hosts {
    /// Every name.
    pub fn any() -> Self {
        Self(vec![Name::Any])
    }

    /// The names of this machine to itself.
    pub fn loopback() -> Self {
        Self(vec![Name::Loopback])
    }

    /// Reads a list: `name`, `name:port`, `*.name`, `*`. The error names the entry and what would be
    /// right.
    pub fn parse(entries: &[String]) -> Result<Self, String> {
        entries.iter().map(|entry| Name::parse(entry)).collect::<Result<_, _>>().map(Self)
    }

    /// As this, and the loopback names.
    #[must_use]
    pub fn and_loopback(mut self) -> Self {
        self.0.push(Name::Loopback);
        self
    }

    /// Whether a request for `authority` (`host` or `host:port`, well-formed) is for us.
    pub fn has(&self, authority: &str) -> bool {
        let (host, port) = split(authority);
        self.0.iter().any(|name| name.is(host, port))
    }
}

impl Name {
    fn parse(entry: &str) -> Result<Self, String> {
        if entry == "*" {
            return Ok(Self::Any);
        }
        let wrong = || {
            format!(
                "{entry:?} is no host; write a name such as \"gateway.example.com\", with \":PORT\" \
                 for one port only, \"*.example.com\" for all names under one, or \"*\""
            )
        };
        let (host, port) = split(entry);
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        if port.is_some_and(|port| !is_port(port)) {
            return Err(wrong());
        }
        let port = port.map(Box::from);
        let fits = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        };
        let small = host.to_ascii_lowercase();
        match small.strip_prefix('*') {
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') && fits(suffix) => {
                Ok(Self::Under { suffix: suffix.into(), port })
            }
            None if fits(&small) => Ok(Self::Exact { host: small.into(), port }),
            _ => Err(wrong()),
        }
    }

    fn is(&self, host: &str, port: Option<&str>) -> bool {
        let on = |wanted: &Option<Box<str>>| {
            wanted.as_deref().is_none_or(|wanted| port.is_some_and(|port| port == wanted))
        };
        match self {
            Self::Any => true,
            Self::Loopback => is_loopback(host),
            Self::Exact { host: name, port } => on(port) && host.eq_ignore_ascii_case(name),
            Self::Under { suffix, port } => on(port) && ends_with(host, suffix),
        }
    }
}

/// Whether a host is this machine to itself. `localhost` and what is under it resolve to loopback
/// everywhere (RFC 6761 section 6.3).
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse().is_ok_and(|ip: std::net::Ipv6Addr| ip.is_loopback());
    }
    host.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback())
        || host.eq_ignore_ascii_case("localhost")
        || ends_with(host, ".localhost")
}

/// Whether `host` is a name under `suffix`, which is in small letters and begins with a dot.
pub(super) fn ends_with(host: &str, suffix: &str) -> bool {
    let at = host.len().checked_sub(suffix.len()).filter(|at| *at > 0);
    at.and_then(|at| host.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Host and port; the colons of an IPv6 address stand between brackets.
pub(super) fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_are_this_machine_and_no_others() {
        let hosts = Hosts::loopback();
        for name in [
            "localhost",
            "LocalHost:7421",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:7421",
            "app.localhost",
        ] {
            assert!(hosts.has(name), "{name}");
        }
        for name in [
            "",
            "localhost.evil.example",
            "evil-localhost",
            ".localhost",
            "127.0.0.1.evil.example",
            "128.0.0.1",
            "[::2]:7421",
            "example.com",
        ] {
            assert!(!hosts.has(name), "{name}");
        }
    }

    #[test]
    fn a_list_names_hosts_ports_and_all_that_is_under_a_name() {
        let list: Vec<String> = ["Gate.Example.com", "other.example:8443", "*.inside.example"]
            .map(str::to_owned)
            .into();
        let hosts = Hosts::parse(&list).expect("all well-formed");
        for name in
            ["gate.example.com", "GATE.example.com:99", "other.example:8443", "a.inside.example:1"]
        {
            assert!(hosts.has(name), "{name}");
        }
        for name in [
            "other.example",
            "other.example:443",
            "inside.example",
            "x-inside.example",
            "localhost",
        ] {
            assert!(!hosts.has(name), "{name}");
        }
        assert!(hosts.and_loopback().has("localhost"));
        assert!(Hosts::any().has("whatever"));
        for wrong in ["", "http://x", "a b", "x:99999", "*x", "*."] {
            let error = Hosts::parse(&[wrong.to_owned()]).expect_err(wrong);
            assert!(error.contains("is no host"), "{error}");
        }
    }
}
