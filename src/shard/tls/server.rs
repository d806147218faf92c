//! What a listener needs to speak TLS: certificates, chosen by the name that is asked for, and whose certificates
//! are asked of clients. The same for every shard; replaced as a whole, for connections that are opened from then on.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::names::{CertificateNames, facts};
use super::session::{Alpn, Session};
use crate::gateway::principal::Principal;

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// One that is shown must be good.
    Optional,
    /// No handshake without.
    Required,
}

/// Who acts for whom by a certificate: by one of its names.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct People(BTreeMap<String, Principal>);

impl People {
    /// Each name as [`CertificateNames`] has it.
    pub fn new(entries: impl IntoIterator<Item = (String, Principal)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The first of the names that is known, and whose it is.
    pub fn find<'a>(&self, names: &'a CertificateNames) -> Option<(&'a str, Principal)> {
        names.0.iter().find_map(|name| Some((name.as_str(), *self.0.get(name)?)))
    }
}

/// Certificates with their keys, by the names that they are for.
#[derive(Debug)]
pub struct CertifiedKeys {
    first: Arc<CertifiedKey>,
    by_name: BTreeMap<String, Arc<CertifiedKey>>,
    expiries: Vec<(String, i64)>,
}

impl CertifiedKeys {
    /// From chains, the server's own certificate first, and keys. The error names no file.
    pub fn new(
        pairs: impl IntoIterator<Item = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, String> {
        let provider = ring::default_provider();
        let (mut first, mut by_name, mut expiries) = (None, BTreeMap::new(), Vec::new());
        for (chain, key) in pairs {
            let all: Vec<_> = chain.iter().filter_map(|der| facts(der)).collect();
            let names = all.first().map(|own| own.names.clone());
            let label = names.iter().flat_map(|names| &names.0).next().cloned();
            let until = all.iter().map(|facts| facts.not_after).min();
            expiries.push((label.unwrap_or_default(), until.unwrap_or_default()));
            let pair = CertifiedKey::from_der(chain, key, &provider);
            let pair = Arc::new(pair.map_err(|error| error.to_string())?);
            for name in names.unwrap_or_default().0 {
                if let Some(host) = name.strip_prefix("dns:") {
                    by_name.entry(host.to_owned()).or_insert_with(|| Arc::clone(&pair));
                }
            }
            first.get_or_insert(pair);
        }
        let first = first.ok_or("there is no certificate")?;
        Ok(Self { first, by_name, expiries })
    }

    /// The one for a name, or the first.
    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.by_name.get(&name);
        // RFC 6125 section 6.4.3: a star is one label, the leftmost.
        let star = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(star).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for CertifiedKeys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(hello.server_name().map_or(&self.first, |name| self.find(name))))
    }
}

/// Who a client is by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Certified {
    /// The name that it is known by.
    pub(in crate::shard) name: Box<str>,
    pub(in crate::shard) principal: Principal,
    /// The last second that it is good in, since 1970-01-01 UTC.
    pub(in crate::shard) until: u64,
}

/// See the module.
#[derive(Debug)]
pub struct ServerTls {
    http: Arc<ServerConfig>,
    lines: Arc<ServerConfig>,
    /// `None`: who shows a certificate is nobody in particular.
    people: Option<People>,
    /// What each certificate is for, and when the first of its chain expires, a second since 1970-01-01 UTC.
    expiries: Vec<(String, i64)>,
}

impl ServerTls {
    /// `authorities` sign the certificates of clients.
    pub fn new(
        keys: CertifiedKeys,
        auth: ClientAuth,
        authorities: Vec<CertificateDer<'static>>,
        people: Option<People>,
    ) -> Result<Self, String> {
        let expiries = keys.expiries.clone();
        let keys = Arc::new(keys);
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| told(&error))?;
        let builder = match auth {
            ClientAuth::Off => builder.with_no_client_auth(),
            ClientAuth::Optional | ClientAuth::Required => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority).map_err(|error| told(&error))?;
                }
                let verifier = verifier(roots, auth, provider)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut http = builder.with_cert_resolver(keys);
        http.ignore_client_order = true;
        http.session_storage = Arc::new(NoServerSessionStorage {});
        if auth == ClientAuth::Off {
            // Sealed by a key that changes every six hours; shards share it, and keep nothing themselves.
            http.ticketer = ring::Ticketer::new().map_err(|error| told(&error))?;
        } else {
            // A session that is resumed has its client's certificate not judged anew: one that has expired would
            // be good for as long as the ticket.
            http.send_tls13_tickets = 0;
        }
        let lines = Arc::new(http.clone());
        http.alpn_protocols = [Alpn::Http2, Alpn::Http1].map(|one| one.name().to_vec()).into();
        Ok(Self { http: Arc::new(http), lines, people, expiries })
    }

    /// A session for a connection that was accepted, for HTTP or for lines.
    pub(in crate::shard) fn session(&self, is_http: bool) -> Result<Session, rustls::Error> {
        Session::server(if is_http { &self.http } else { &self.lines })
    }

    /// Appends how many days each certificate is good for, in the text format of Prometheus.
    pub(in crate::shard) fn tell_days(&self, now_secs: u64, text: &mut String) {
        text.push_str("# TYPE ringgate_tls_certificate_days gauge\n");
        for (name, days) in self.days(now_secs) {
            let name = name.replace(['\\', '"', '\n'], "_");
            text.extend([
                "ringgate_tls_certificate_days{certificate=\"",
                &name,
                "\"} ",
                &days.to_string(),
                "\n",
            ]);
        }
    }

    /// What each certificate is for, and for how many days it is good: of those for the same, the one that expires first.
    pub(in crate::shard) fn days(&self, now_secs: u64) -> Vec<(String, i64)> {
        let now = i64::try_from(now_secs).unwrap_or(i64::MAX);
        let mut all: BTreeMap<&str, i64> = BTreeMap::new();
        for (name, until) in &self.expiries {
            let days = until.saturating_sub(now).div_euclid(86_400);
            all.entry(name).and_modify(|least| *least = days.min(*least)).or_insert(days);
        }
        all.into_iter().map(|(name, days)| (name.to_owned(), days)).collect()
    }

    /// Whether this name is still whose it was.
    pub(in crate::shard) fn knows(&self, certified: &Certified) -> bool {
        let of = |people: &People| people.0.get(&*certified.name).copied();
        self.people.as_ref().and_then(of) == Some(certified.principal)
    }

    /// Who shows this certificate. `Err` where certificates name
    /// people and this one, or none, names nobody.
    pub(in crate::shard) fn identify(
        &self,
        certificate: Option<&[u8]>,
    ) -> Result<Option<Certified>, &'static str> {
        let Some(people) = &self.people else { return Ok(None) };
        let Some(certificate) = certificate else { return Err("no certificate was shown") };
        let Some(facts) = facts(certificate) else { return Err("the certificate cannot be read") };
        let until = u64::try_from(facts.not_after).unwrap_or_default();
        let found = people.find(&facts.names);
        found
            .map(|(name, principal)| Some(Certified { name: name.into(), principal, until }))
            .ok_or("the certificate is good, but none of its names is known: see auth.certificates")
    }
}

fn verifier(
    roots: RootCertStore,
    auth: ClientAuth,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Off | ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| error.to_string())
}
