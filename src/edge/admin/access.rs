//! Who may look, and who may tell: names that requests are for, pages that may send any, keys. A page that some
//! browser on this machine shows must not reach through it, neither by a name that leads here nor by a form.

use crate::edge::config::Admin;
use crate::gateway::keys::Keys;
use crate::gateway::principal::Principal;
use crate::wire::http1::{Head, host_name};

/// See the module.
pub(super) struct Access {
    /// Names without port; `None` for any.
    hosts: Option<Vec<String>>,
    keys: Option<Keys>,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// May know everything: has shown a key, where any is asked for.
    Operator,
    Anybody,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Host,
    Origin,
    Key,
}

impl Access {
    pub(super) fn new(admin: &Admin) -> Self {
        let own = match admin.listen.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let loopback = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let hosts = admin.hosts.as_ref();
        let keys = admin.keys.as_ref().map(|keys| {
            Keys::new(keys.iter().map(|(_, digest)| (*digest, Principal::ANONYMOUS)).collect())
        });
        let hosts =
            hosts.map(|more| loopback.into_iter().chain([own]).chain(more.clone()).collect());
        Self { hosts, keys }
    }

    /// Whether a request is let in, and how much it is told.
    pub(super) fn judge(&self, head: &Head<'_, '_>) -> Result<Admitted, Refused> {
        let host = head.host.unwrap_or_default();
        if let Some(hosts) = &self.hosts
            && !hosts.iter().any(|known| known.eq_ignore_ascii_case(host_name(host)))
        {
            return Err(Refused::Host);
        }
        // Only a page of ours tells anything; what has no origin is no page.
        let is_look = matches!(head.method, "GET" | "HEAD");
        if !is_look
            && let Some(origin) = head.get("origin")
            && !is_own(origin, host)
        {
            return Err(Refused::Origin);
        }
        let Some(keys) = &self.keys else { return Ok(Admitted::Operator) };
        let mut shown =
            head.headers().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        match (shown.next(), shown.next()) {
            (Some((_, value)), None) if opens(keys, value) => Ok(Admitted::Operator),
            // Who balances load has no key, and is told how it goes, and no names.
            _ if matches!(head.path, "/health" | "/ready") => Ok(Admitted::Anybody),
            _ => Err(Refused::Key),
        }
    }
}

/// A key, as `Bearer`; or as the password of `Basic`, which is what a browser can ask its user for (RFC 7617).
fn opens(keys: &Keys, value: &[u8]) -> bool {
    let at = value.iter().position(|&byte| byte == b' ').unwrap_or(value.len());
    let (scheme, shown) = value.split_at(at);
    let shown = shown.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return keys.find(shown).is_some();
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let engine = &base64::engine::general_purpose::STANDARD;
    let Ok(pair) = base64::Engine::decode(engine, shown) else { return false };
    let colon = pair.iter().position(|&byte| byte == b':');
    colon.and_then(|colon| pair.get(colon + 1..)).is_some_and(|key| keys.find(key).is_some())
}

fn is_own(origin: &[u8], host: &str) -> bool {
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    named.is_some_and(|named| !named.is_empty() && named.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::keys::{Digest, key};
    use crate::wire::http1::head;

    fn judge(access: &Access, request: &str) -> Result<Admitted, Refused> {
        let text = format!("{request}\r\n\r\n");
        let mut slots = head::slots();
        let (head, _) = head::read(text.as_bytes(), &mut slots).unwrap().unwrap();
        access.judge(&head)
    }

    fn access(hosts: &[&str], keys: Option<Vec<(String, Digest)>>) -> Access {
        let listen = "127.0.0.1:7422".parse().unwrap();
        let hosts = Some(hosts.iter().map(|&host| host.to_owned()).collect());
        Access::new(&Admin { listen, is_named: false, hosts, keys })
    }

    #[test]
    fn pages_of_others_reach_nothing() {
        let access = access(&["ops.test"], None);
        for host in ["127.0.0.1:7422", "localhost", "[::1]:7422", "ops.test:80"] {
            assert_eq!(
                judge(&access, &format!("GET / HTTP/1.1\r\nHost: {host}")),
                Ok(Admitted::Operator),
                "{host}"
            );
        }
        let rebound = "GET /metrics HTTP/1.1\r\nHost: evil.test";
        assert_eq!(judge(&access, rebound), Err(Refused::Host));
        let post = "POST /drain HTTP/1.1\r\nContent-Length: 0\r\nHost: localhost:7422";
        assert_eq!(judge(&access, post), Ok(Admitted::Operator), "curl has no origin");
        for origin in ["https://evil.test", "null", "http://localhost", "http://"] {
            let forged = format!("{post}\r\nOrigin: {origin}");
            assert_eq!(judge(&access, &forged), Err(Refused::Origin), "{origin}");
        }
        let own = format!("{post}\r\nOrigin: http://localhost:7422");
        assert_eq!(judge(&access, &own), Ok(Admitted::Operator));
    }

    #[test]
    fn a_key_opens_it_as_bearer_and_as_password() {
        let key = key(&[9; 32]);
        let access = access(&[], Some(vec![("ops".to_owned(), Digest::of(key.as_bytes()))]));
        let engine = &base64::engine::general_purpose::STANDARD;
        let basic = |pair: &str| format!("Basic {}", base64::Engine::encode(engine, pair));
        let ask = |path: &str, shown: &str| {
            let shown = if shown.is_empty() {
                String::new()
            } else {
                format!("\r\nAuthorization: {shown}")
            };
            judge(&access, &format!("GET {path} HTTP/1.1\r\nHost: localhost{shown}"))
        };
        for good in
            [format!("Bearer {key}"), basic(&format!("me:{key}")), basic(&format!(":{key}"))]
        {
            for path in ["/metrics", "/health"] {
                assert_eq!(ask(path, &good), Ok(Admitted::Operator), "{path} {good}");
            }
        }
        for wrong in
            [String::new(), "Bearer x".to_owned(), basic(&key), basic("me:x"), "Basic !".to_owned()]
        {
            assert_eq!(ask("/metrics", &wrong), Err(Refused::Key), "{wrong}");
            for path in ["/ready", "/health"] {
                assert_eq!(ask(path, &wrong), Ok(Admitted::Anybody), "{path} {wrong}");
            }
        }
    }
}
