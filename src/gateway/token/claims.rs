//! What a token says: the members of its payload (RFC 7519 section 4), read leniently where issuers differ and
//! strictly where it matters. Whether it is true is not here.

use serde_json::{Map, Value};

use super::Refusal;

/// See the module.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(payload)
            .map(Self)
            .map_err(|_| Refusal::Invalid("the payload is no JSON object"))
    }

    pub(super) fn has(&self, claim: &str) -> bool {
        self.0.contains_key(claim)
    }

    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str()
    }

    /// One text, or a list of them.
    pub(super) fn texts(&self, claim: &str) -> impl Iterator<Item = &str> {
        let (one, list) = match self.0.get(claim) {
            Some(Value::String(one)) => (Some(one.as_str()), &[][..]),
            Some(Value::Array(list)) => (None, list.as_slice()),
            _ => (None, &[][..]),
        };
        one.into_iter().chain(list.iter().filter_map(Value::as_str))
    }

    /// A `NumericDate`: a whole second, or a fraction of one, which is cut off. None before 1970.
    pub(super) fn second(&self, claim: &str) -> Option<u64> {
        let number = self.0.get(claim)?.as_number()?;
        number.as_u64().or_else(|| {
            let time = std::time::Duration::try_from_secs_f64(number.as_f64()?);
            time.ok().map(|time| time.as_secs())
        })
    }

    /// Whether it grants a scope: `scope` as RFC 8693 section 4.2 has it, or as a list; `scp` as some issuers
    /// call it.
    pub(super) fn grants(&self, scope: &str) -> bool {
        let claim = if self.has("scope") { "scope" } else { "scp" };
        self.texts(claim).any(|texts| texts.split(' ').any(|granted| granted == scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        Claims::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn dates_are_whole_or_broken_seconds_and_nothing_else() {
        for (text, second) in [
            ("1700000000", Some(1_700_000_000)),
            ("1700000000.9", Some(1_700_000_000)),
            ("1.7e9", Some(1_700_000_000)),
            ("-1", None),
            ("1e300", None),
            ("\"1700000000\"", None),
            ("null", None),
        ] {
            assert_eq!(claims(&format!("{{\"exp\":{text}}}")).second("exp"), second, "{text}");
        }
    }

    #[test]
    fn scopes_are_read_however_issuers_write_them() {
        for text in [
            r#"{"scope":"a mcp:use b"}"#,
            r#"{"scope":["a","mcp:use"]}"#,
            r#"{"scp":"mcp:use"}"#,
            r#"{"scp":["mcp:use"]}"#,
        ] {
            assert!(claims(text).grants("mcp:use"), "{text}");
            assert!(!claims(text).grants("mcp") && !claims(text).grants("mcp:us"), "{text}");
        }
        assert!(!claims(r#"{"scope":"","scp":"mcp:use"}"#).grants("mcp:use"));
        assert!(!claims("{}").grants("mcp:use"));
    }
}
