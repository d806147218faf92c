//! TLS as it is configured: what a right section means, and what is wrong with a certificate, a key, a listener or a
//! pin, each with its file and its remedy.

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair};

use super::*;
use crate::gateway::settings::Trust;

struct Files {
    folder: Folder,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = Folder::new();
        folder.write("ca.pem", &issuer.pem());
        Self { folder, issuer }
    }

    /// A pair of files, NAME.pem and NAME.key, good in these years.
    fn pair(&self, name: &str, years: std::ops::Range<i32>) -> String {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        let pem = params.signed_by(&key, issuer).unwrap().pem();
        self.folder.write(&format!("{name}.pem"), &pem);
        let path = self.folder.write(&format!("{name}.key"), &key.serialize_pem());
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, private).unwrap();
        pem
    }

    fn load(&self, text: &str) -> Result<Config, String> {
        let config = Some(self.folder.write("c.toml", text));
        Config::load(&Sources { config, ..Sources::default() })
            .map_err(|faults| self.folder.short(&faults))
    }
}

const OWN: &str = "[tls]\ncert = \"own.pem\"\nkey = \"own.key\"\n";

#[test]
fn a_listener_with_tls_and_authentication_may_be_seen_from_other_machines() {
    let files = Files::new();
    files.pair("own", 2020..4000);
    let digest = Digest::of(b"x");
    let http = format!(
        "{OWN}[http]\nlisten = \"0.0.0.0:7421\"\ntls = true\nredirect = \"0.0.0.0:7480\"\n\
         [auth.keys]\na = \"{digest}\"\n"
    );
    let config = files.load(&http).unwrap();
    let read = config.http.clone().unwrap();
    assert!(read.tls && read.redirect.is_some() && !config.tcp_tls);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(config.server_tls(&Principals::default()).unwrap().is_some());
    let mutual = format!(
        "{OWN}client_ca = \"ca.pem\"\nclient_auth = \"required\"\n\
         [tcp]\nlisten = \"0.0.0.0:7420\"\ntls = true\n[http]\nlisten = \"0.0.0.0:7421\"\ntls = true\n\
         [auth.certificates]\na = [\"uri:spiffe://x/a\", \"dns:A.test\"]\nb = \"cn:Bob\"\n"
    );
    let config = files.load(&mutual).unwrap();
    let names = [("a", "uri:spiffe://x/a"), ("a", "dns:a.test"), ("b", "cn:Bob")];
    let names = names.map(|(agent, name)| (agent.to_owned(), name.to_owned()));
    assert_eq!(config.certificates.as_deref(), Some(&names[..]));
    assert!(config.front(&Principals::default()).unwrap().certificates);
    // In clear nobody can show one, so nobody is asked for it.
    let clear = mutual.replace("listen = \"0.0.0.0:7421\"\ntls = true\n", "");
    let front = files.load(&clear).unwrap().front(&Principals::default()).unwrap();
    assert!(!front.certificates);
    for (text, says) in [
        (http.replace("tls = true\n", ""), "keys and answers travel in clear"),
        (http.replace("[auth.keys]", "[stdio]"), "there is no authentication"),
        (mutual.replace("required", "optional"), "tcp.listen: 0.0.0.0:7420 can be reached"),
    ] {
        let error = files.load(&text).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_with_its_file_and_a_remedy() {
    let files = Files::new();
    let own = files.pair("own", 2020..4000);
    files.pair("other", 2020..4000);
    files.pair("old", 2019..2020);
    files.pair("new", 3000..4000);
    let ca = std::fs::read_to_string(files.folder.0.join("ca.pem")).unwrap();
    files.folder.write("reversed.pem", &format!("{ca}{own}"));
    files.folder.write("chain.pem", &format!("{own}{ca}"));
    files.folder.write("rubbish.pem", "rubbish");
    let tls = |cert: &str, key: &str| format!("[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    assert!(files.load(&tls("chain.pem", "own.key")).is_ok());
    for (text, says) in [
        (tls("own.pem", "other.key"), "c.toml:3: tls.key: other.key is not the key of own.pem"),
        (tls("nothing.pem", "own.key"), "c.toml:2: tls.cert: nothing.pem: cannot be read"),
        (tls("rubbish.pem", "own.key"), "rubbish.pem: holds no certificate; it is a PEM file"),
        (tls("own.pem", "rubbish.pem"), "rubbish.pem: holds no private key"),
        (tls("old.pem", "old.key"), "old.pem: expired "),
        (tls("new.pem", "new.key"), "new.pem: is not valid yet; wait"),
        (
            tls("reversed.pem", "own.key"),
            "reversed.pem: certificate 2 has not signed the one before",
        ),
        ("[tls]\ncert = \"own.pem\"\n".to_owned(), "tls.cert: goes with a key"),
        ("[tcp]\ntls = true\n".to_owned(), "c.toml:2: tcp.tls: there is no certificate to show"),
        (format!("{OWN}client_auth = \"required\"\n"), "add tls.client_ca"),
        (format!("{OWN}[auth.certificates]\na = \"cn:a\"\n"), "clients are not asked"),
        (
            "[tls]\nclient_auth = \"required\"\nclient_ca = \"ca.pem\"\n".to_owned(),
            "c.toml:2: tls.client_auth: there is no certificate to show, so nobody can be asked for theirs; \
             add tls.cert",
        ),
        (
            format!(
                "{OWN}client_ca = \"ca.pem\"\nclient_auth = \"optional\"\n\
                 [auth]\ncertificates = {{ a = \"cn:a\" }}\n"
            ),
            "c.toml:7: auth.certificates: no listener speaks TLS, so nobody can show a certificate; set http.tls",
        ),
        (format!("{OWN}[http]\nredirect = \"127.0.0.1:80\"\n"), "there is no HTTPS to send"),
        (
            format!(
                "{OWN}client_ca = \"ca.pem\"\nclient_auth = \"optional\"\n\
                 [auth.certificates]\na = [\"cn:a\", \"alice\"]\nb = \"cn:a\"\n"
            ),
            "\"alice\" does not say which kind",
        ),
    ] {
        let error = files.load(&text).unwrap_err();
        assert!(error.contains(says), "{says:?}: {error}");
    }
    let all = format!("{OWN}certificates = [{{ cert = \"other.pem\", key = \"other.key\" }}]\n");
    assert_eq!(files.load(&all).unwrap().tls.unwrap().certificates.len(), 2);
}

#[test]
fn a_key_that_everybody_may_read_and_a_date_that_is_near_are_worth_a_word() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = Files::new();
    files.pair("own", 2020..4000);
    let key = files.folder.0.join("own.key");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = files.load(OWN).unwrap();
    let said: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|said| said.contains("everybody on this machine")), "{said:?}");
    let unused = "c.toml:1: tls: has no effect: no listener speaks TLS; set http.tls";
    assert!(said.iter().any(|said| said.contains(unused)), "{said:?}");
}

#[test]
fn an_upstream_behind_tls_is_believed_as_it_is_told() {
    let files = Files::new();
    files.pair("own", 2020..4000);
    let pin = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [7; 32]);
    let text = format!(
        "[upstreams.a]\nurl = \"https://localhost:1/mcp\"\nhttp2 = true\n\
         tls = {{ ca = \"ca.pem\", cert = \"own.pem\", key = \"own.key\", \
         pins = [{{ sha256 = \"{pin}\", until = \"2999-01-01\" }}] }}\n\
         [upstreams.b]\nurl = \"tls://127.0.0.1:2\"\ntls = {{ name = \"b.test\" }}\n\
         [upstreams.c]\nurl = \"wss://localhost/ws\"\n"
    );
    let config = files.load(&text).unwrap();
    let trust = |n: usize| -> Trust {
        match &config.upstreams[n].target {
            Target::Http(to) | Target::WebSocket(to) => (**to.trust.as_ref().unwrap()).clone(),
            Target::Tls { trust, .. } => (**trust).clone(),
            other => panic!("{other:?}"),
        }
    };
    let a = trust(0);
    assert_eq!((&*a.name, a.pins[0].digest), ("localhost", [7; 32]));
    assert!(a.authorities.is_some() && a.identity.is_some());
    assert!(!format!("{a:?}").contains(&format!("{:?}", a.identity.as_ref().unwrap().key.0)));
    assert_eq!((trust(1).name, trust(2).name), ("b.test".into(), "localhost".into()));
    let with =
        |tls: &str| format!("[upstreams.a]\nurl = \"https://localhost/mcp\"\ntls = {{ {tls} }}\n");
    for (text, says) in [
        (with("pins = [{ sha256 = \"abc\", until = \"2999-01-01\" }]"), "is no SHA-256 in base64"),
        (with(&format!("pins = [{{ sha256 = \"{pin}\", until = \"soon\" }}]")), "is no date"),
        (with(&format!("pins = [{{ sha256 = \"{pin}\" }}]")), "locks the gateway out"),
        (with("ca = \"nothing.pem\""), "nothing.pem: cannot be read"),
        (with("key = \"own.key\""), "goes with a certificate"),
        (with("verify = false"), "unknown key"),
        (
            "[upstreams.a]\nurl = \"http://localhost/mcp\"\ntls = {}\n".to_owned(),
            "it goes with https://",
        ),
    ] {
        let error = files.load(&text).unwrap_err();
        assert!(error.contains(says), "{says:?}: {error}");
    }
}
