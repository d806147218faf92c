//! Whose tokens are taken, as it is configured: `[auth.jwt]`, and what is wrong in it.

use super::*;
use crate::gateway::token::Algorithm;

const JWT: &str = "[auth.jwt]\nissuer = \"https://as.test\"\naudience = \"https://gw.test/mcp\"\n\
                   jwks_url = \"https://as.test/jwks\"\n";

#[test]
fn tokens_have_an_issuer_an_audience_and_keys_and_the_rest_by_default() {
    assert_eq!(toml("").unwrap().jwt, None);
    let config = toml(JWT).unwrap();
    let jwt = config.jwt.as_ref().expect("tokens are taken");
    assert_eq!(jwt.keys.place, KeyPlace::Url("https://as.test/jwks".to_owned()));
    assert_eq!(jwt.keys.refresh, Duration::from_mins(10));
    assert_eq!(jwt.keys.refetch_min, Duration::from_secs(30));
    assert!(config.settings(1).unwrap().principals.are_several());
    let rules = config.front().unwrap().tokens.expect("the listener knows of it");
    assert_eq!(&*rules.issuer, "https://as.test");
    assert_eq!(&*rules.resource, "https://gw.test/mcp", "the first audience that is a URL");
    assert_eq!(rules.leeway_secs, 30);
    assert_eq!(&*rules.principal_claim, "sub");
    assert_eq!(rules.algorithms, Algorithm::ALL.map(|(_, algorithm)| algorithm));
    assert!(rules.agents.is_empty() && rules.scopes.is_empty());
    let text = format!(
        "{JWT}algorithms = [\"ES256\"]\nscopes = [\"mcp:use\"]\nleeway = \"0s\"\nprincipal_claim = \"email\"\n\
         agent_claim = \"role\"\nresource = \"https://other.test\"\nagents = {{ r1 = \"reader\" }}\n"
    );
    let config = toml(&text).unwrap();
    let rules = config.front().unwrap().tokens.unwrap();
    assert_eq!((&*rules.resource, rules.leeway_secs), ("https://other.test", 0));
    assert_eq!(rules.algorithms, [Algorithm::Es256]);
    assert_eq!(rules.agent_claims, [Box::from("role")]);
    let principals = config.settings(1).unwrap().principals;
    assert_eq!(principals.agent(rules.agents["r1"]), Some("reader"));
}

#[test]
fn an_agent_goes_by_its_own_name_unless_names_are_mapped() {
    let policy = "[policy.agents.reader.allow]\nservers = [\"*\"]\n";
    let config = toml(&format!("{policy}{JWT}")).unwrap();
    let rules = config.front().unwrap().tokens.unwrap();
    let principals = config.settings(1).unwrap().principals;
    assert_eq!(principals.agent(rules.agents["reader"]), Some("reader"));
    let mapped = toml(&format!("{policy}{JWT}agents = {{ x = \"reader\" }}\n")).unwrap();
    let rules = mapped.front().unwrap().tokens.unwrap();
    assert!(!rules.agents.contains_key("reader"), "who is not in the map is nobody in particular");
}

#[test]
fn what_is_wrong_with_tokens_is_told_with_its_remedy() {
    refused(
        "[auth.jwt]\nissuer = \"https://as.test\"\njwks_file = \"keys.json\"\n",
        "c.toml:1: auth.jwt: says nowhere for whom the tokens must be; write audience = \"…\": without it a \
         token for any other service would do here",
    );
    refused(
        &format!("{JWT}algorithms = [\"HS256\"]\n"),
        "c.toml:5: auth.jwt.algorithms: \"HS256\" is no algorithm that proves an issuer with a public key; \
         known here: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
    );
    refused(
        &JWT.replace("https://as.test/jwks", "http://as.test/jwks"),
        "c.toml:4: auth.jwt.jwks_url: the keys must come over HTTPS: whoever could change them on their way \
         could sign tokens; write https://…; http:// only for this machine",
    );
    refused(
        &format!("{JWT}jwks_file = \"x\"\n"),
        "c.toml:5: auth.jwt.jwks_file: jwks_url and jwks_file exclude each other; keep one of them",
    );
    refused(
        &JWT.replace("https://gw.test/mcp", "gw"),
        "c.toml:1: auth.jwt: no audience is a URL, so clients cannot be told what to ask tokens for; \
         write resource = \"https://HOST/mcp\", the URL that clients use",
    );
    refused(
        &format!("{JWT}scopes = [\"a b\"]\n"),
        "c.toml:5: auth.jwt.scopes: \"a b\" is no scope; write each as a text of its own",
    );
    refused(
        &format!("{JWT}scope = \"a\"\n"),
        "c.toml:5: auth.jwt.scope: unknown key; did you mean \"scopes\"?",
    );
    for local in ["http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost:9"] {
        assert!(toml(&JWT.replace("https://as.test/jwks", local)).is_ok(), "{local}");
    }
    for far in
        ["http://127.0.0.1.evil.test/", "http://localhost:1@evil.test/", "ftp://x", "http://"]
    {
        assert!(toml(&JWT.replace("https://as.test/jwks", far)).is_err(), "{far}");
    }
}
