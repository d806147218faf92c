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
    let rules =
        config.front(&Principals::default()).unwrap().tokens.expect("the listener knows of it");
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
    let rules = config.front(&Principals::default()).unwrap().tokens.unwrap();
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
    let rules = config.front(&Principals::default()).unwrap().tokens.unwrap();
    let principals = config.settings(1).unwrap().principals;
    assert_eq!(principals.agent(rules.agents["reader"]), Some("reader"));
    let mapped = toml(&format!("{policy}{JWT}agents = {{ x = \"reader\" }}\n")).unwrap();
    let rules = mapped.front(&Principals::default()).unwrap().tokens.unwrap();
    assert!(!rules.agents.contains_key("reader"), "who is not in the map is nobody in particular");
}

const OAUTH: &str = "[upstreams.x]\nurl = \"http://127.0.0.1:9/mcp\"\n[upstreams.x.oauth]\n\
                     token_url = \"https://as.test/token\"\nclient_id = \"gw\"\n";
const SECRET: (&str, &str) = ("GATEWAY_SECRET", "s3cret");

#[test]
fn an_upstream_may_be_asked_with_a_token_that_is_granted() {
    assert!(toml("").unwrap().grants.is_empty());
    let text = format!(
        "{OAUTH}client_secret_env = \"GATEWAY_SECRET\"\nscopes = [\"a\", \"b\"]\nresource = \"https://x.test\"\nauth = \"post\"\n"
    );
    let (config, _) = load(&[("c.toml", &text)], &[SECRET]).unwrap();
    let grant = &config.grants["x"];
    assert_eq!((&*grant.token_url, &*grant.client_id), ("https://as.test/token", "gw"));
    assert_eq!((&*grant.client_secret.0, grant.is_posted), ("s3cret", true));
    assert_eq!(
        (&grant.scopes[..], grant.resource.as_deref()),
        (&["a".into(), "b".into()][..], Some("https://x.test"))
    );
    assert!(!format!("{config:?}").contains("s3cret"), "it stays out of every log");
    let folder = Folder::new();
    folder.write("secret", "from a file\n");
    let config = Some(folder.write("c.toml", &format!("{OAUTH}client_secret_file = \"secret\"\n")));
    let config = Config::load(&Sources { config, ..Sources::default() }).unwrap();
    assert_eq!(config.grants["x"].client_secret.0, "from a file");
}

#[test]
fn what_is_wrong_with_a_grant_is_told() {
    refused(
        &format!("{OAUTH}client_secret_env = \"NOWHERE\"\n"),
        "c.toml:6: upstreams.x.oauth.client_secret_env: the environment has no NOWHERE; set it to the secret",
    );
    refused(
        OAUTH,
        "c.toml:3: upstreams.x.oauth: needs one of client_secret_file and client_secret_env; the second names the \
         variable that holds it",
    );
    let wrong = |text: &str| load(&[("c.toml", text)], &[SECRET]).expect_err("is refused");
    assert!(wrong(&OAUTH.replace("https://as.test", "http://as.test")).contains("over HTTPS"));
    assert!(
        wrong(&OAUTH.replace("http://127.0.0.1:9/mcp", "tcp://127.0.0.1:9")).contains("no meaning")
    );
    let headers = OAUTH.replace("/mcp\"\n", "/mcp\"\nheaders = { Authorization = \"x\" }\n");
    assert!(wrong(&headers).contains("keep one of the two"));
}

const EXCHANGE: &str = "grant = \"token-exchange\"\nclient_secret_env = \"GATEWAY_SECRET\"\n";

#[test]
fn an_upstream_may_be_asked_with_tokens_in_exchange_for_those_of_its_callers() {
    let text = format!("{OAUTH}{EXCHANGE}audience = \"crm\"\nsubject_token_type = \"jwt\"\n{JWT}");
    let (config, _) = load(&[("c.toml", &text)], &[SECRET]).unwrap();
    let exchange = config.grants["x"].exchange.as_ref().expect("it is one");
    assert_eq!(exchange.audience.as_deref(), Some("crm"));
    assert!(exchange.subject_token_type.urn().ends_with(":jwt"));
    assert_eq!(config.upstreams[0].share, Share::Never, "each caller has connections of its own");
    let (config, _) = load(&[("c.toml", &format!("{OAUTH}{EXCHANGE}{JWT}"))], &[SECRET]).unwrap();
    let exchange = config.grants["x"].exchange.as_ref().expect("it is one");
    assert!(exchange.subject_token_type.urn().ends_with(":access_token"));
}

#[test]
fn what_is_wrong_with_an_exchange_is_told() {
    let wrong = |text: &str| load(&[("c.toml", text)], &[SECRET]).expect_err("is refused");
    let good = format!("{OAUTH}{EXCHANGE}{JWT}");
    let error = wrong(&format!("{OAUTH}{EXCHANGE}"));
    assert!(
        error.contains(
            "c.toml:3: upstreams.x.oauth: exchanges the tokens of callers, and no caller has one; write [auth.jwt]"
        ),
        "{error}"
    );
    for (url, what) in [
        (
            "ws://127.0.0.1:9/mcp",
            "would outlive the token that it was opened with; give the server's http://",
        ),
        ("tcp://127.0.0.1:9", "tokens go with an http:// or ws:// URL"),
    ] {
        let error = wrong(&good.replace("http://127.0.0.1:9/mcp", url));
        assert!(error.contains("c.toml:3: upstreams.x.oauth: ") && error.contains(what), "{error}");
    }
    let with = |more: &str| wrong(&good.replace("/mcp\"\n[", &format!("/mcp\"\n{more}\n[")));
    let error = with("headers = { Authorization = \"x\" }");
    assert!(error.contains("keep one of the two"), "{error}");
    let error = with("share = \"always\"");
    assert!(error.contains("c.toml:3: upstreams.x.share: has no meaning beside"), "{error}");
    let error = with("pool = { max = 2 }");
    assert!(error.contains("remove endpoints and pool"), "{error}");
    let error = wrong(&good.replace("grant = \"token-exchange\"", "audience = \"crm\""));
    assert!(error.contains("c.toml:6: upstreams.x.oauth.audience: has no meaning here"), "{error}");
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
