//! What a peer without a good token is told: where it gets one (OAuth 2.0 Protected Resource Metadata,
//! RFC 9728), and the challenge that leads there (its section 5.1, RFC 6750 section 3).

use crate::gateway::http::HeaderPairs;
use crate::gateway::token::Rules;
use crate::wire::text;

/// Where the document lies; the path of a resource stands behind it (RFC 9728 section 3.1).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// Longest path that is repeated in a document.
const PATH_BYTES_MAX: usize = 1 << 10;

/// The document at this path, if one lies there. Each resource of ours has one: behind the well-known path
/// stands its own, and the name of the resource is what that was made of (RFC 9728 section 3.3).
pub(super) fn document(rules: &Rules, path: &str) -> Option<String> {
    let path = path.strip_prefix(WELL_KNOWN)?;
    if !(path.is_empty() || path.starts_with('/')) || path.len() > PATH_BYTES_MAX {
        return None;
    }
    let (origin, _) = split(&rules.resource);
    let resource = text::quoted(&format!("{origin}{path}"));
    let issuer = text::quoted(&rules.issuer);
    let mut document = format!(
        "{{\"resource\":{resource},\"authorization_servers\":[{issuer}],\"bearer_methods_supported\":[\"header\"]"
    );
    if !rules.scopes.is_empty() {
        let scopes: Vec<String> = rules.scopes.iter().map(|scope| text::quoted(scope)).collect();
        document.extend([",\"scopes_supported\":[", &scopes.join(","), "]"]);
    }
    document.push('}');
    Some(document)
}

/// The head of a document. It changes with the configuration only.
pub(in crate::shard) fn headers() -> HeaderPairs {
    vec![
        ("content-type", "application/json".to_owned()),
        ("cache-control", "public, max-age=300".to_owned()),
    ]
}

/// `WWW-Authenticate`; without rules for tokens nothing can be said but that a key is wanted.
pub(super) fn challenge(rules: Option<&Rules>, error: Option<&str>) -> String {
    let mut challenge = "Bearer".to_owned();
    let Some(rules) = rules else { return challenge };
    let (origin, path) = split(&rules.resource);
    challenge.extend([" resource_metadata=\"", origin, WELL_KNOWN, path, "\""]);
    if let Some(error) = error {
        challenge.extend([", error=\"", error, "\""]);
    }
    if !rules.scopes.is_empty() {
        challenge.extend([", scope=\"", &rules.scopes.join(" "), "\""]);
    }
    challenge
}

/// Scheme and authority of a URL, and its path.
fn split(url: &str) -> (&str, &str) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(authority..).and_then(|rest| rest.find('/'));
    url.split_at_checked(end.map_or(url.len(), |end| authority + end)).unwrap_or((url, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(resource: &str, scopes: &[&str]) -> Rules {
        Rules {
            issuer: "https://as.test".into(),
            audiences: vec![resource.into()],
            algorithms: Vec::new(),
            leeway_secs: 0,
            scopes: scopes.iter().map(|&scope| scope.into()).collect(),
            principal_claim: "sub".into(),
            agent_claims: Vec::new(),
            agents: std::collections::BTreeMap::new(),
            resource: resource.into(),
        }
    }

    #[test]
    fn each_path_has_a_document_that_names_its_resource() {
        let rules = rules("https://gw.test:8443/mcp", &["a", "b"]);
        let of = |path: &str| document(&rules, &format!("{WELL_KNOWN}{path}"));
        assert_eq!(
            of("/mcp").unwrap(),
            "{\"resource\":\"https://gw.test:8443/mcp\",\"authorization_servers\":[\"https://as.test\"],\
             \"bearer_methods_supported\":[\"header\"],\"scopes_supported\":[\"a\",\"b\"]}"
        );
        assert!(of("").unwrap().starts_with("{\"resource\":\"https://gw.test:8443\","));
        assert!(of("/sse").unwrap().starts_with("{\"resource\":\"https://gw.test:8443/sse\","));
        assert!(of("/\"x").unwrap().contains("/\\\"x"));
        assert_eq!(of("x"), None);
        assert_eq!(of(&format!("/{}", "x".repeat(PATH_BYTES_MAX))), None);
        assert_eq!(document(&rules, "/mcp"), None);
    }

    #[test]
    fn a_challenge_leads_to_the_document_of_the_resource() {
        let metadata =
            "Bearer resource_metadata=\"https://gw.test/.well-known/oauth-protected-resource";
        assert_eq!(challenge(Some(&rules("https://gw.test", &[])), None), format!("{metadata}\""));
        assert_eq!(
            challenge(Some(&rules("https://gw.test/mcp", &["a", "b"])), Some("invalid_token")),
            format!("{metadata}/mcp\", error=\"invalid_token\", scope=\"a b\"")
        );
        assert_eq!(challenge(None, Some("invalid_token")), "Bearer");
    }
}
