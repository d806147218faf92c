//! An authority with certificates made as they are needed, and a client of TLS that blocks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use ringgate::gateway::principal::{Principal, Principals};
use ringgate::gateway::settings::{Identity, PrivateKey, Trust};
use ringgate::gateway::{Effects, Event, Report};
use ringgate::shard::Domain;
use ringgate::shard::tls::{CertifiedKeys, ClientAuth, People, ServerTls};
use ringgate::transport::{Bound, Server};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::PATIENCE;

/// A time as rcgen has it.
pub(crate) type Year = i32;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
}

/// A certificate, its key, and the SHA-256 of its public key.
pub(crate) struct Pair {
    pub certificate: CertificateDer<'static>,
    pub key: Vec<u8>,
    pub pin: [u8; 32],
}

impl Pair {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).expect("a key")
    }

    pub(crate) fn identity(&self) -> Identity {
        let chain = vec![self.certificate.to_vec()];
        Identity { chain, key: PrivateKey(self.key.clone()) }
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// For these hosts, good for ever.
    pub(crate) fn host(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self.sign(&CertificateParams::new(names).expect("names"))
    }

    /// For this URI, in these years.
    pub(crate) fn client(&self, uri: &str, years: [Year; 2]) -> Pair {
        let [from, to] = years;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI"))];
        params.distinguished_name.push(DnType::CommonName, "a client");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        use rcgen::PublicKeyData as _;
        use sha2::Digest as _;
        let key = KeyPair::generate().expect("a key");
        let pin = sha2::Sha256::digest(key.subject_public_key_info()).into();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { certificate: certificate.der().clone(), key: key.serialize_der(), pin }
    }

    /// What a server shows, and asks of its clients; `people` by names.
    pub(crate) fn server(
        &self,
        pairs: &[&Pair],
        auth: ClientAuth,
        people: Option<&[(&str, Principal)]>,
    ) -> Arc<ServerTls> {
        let pairs = pairs.iter().map(|pair| (vec![pair.certificate.clone()], pair.key()));
        let keys = CertifiedKeys::new(pairs).expect("keys that match");
        let people = people.map(|people| {
            People::new(people.iter().map(|(name, principal)| ((*name).to_owned(), *principal)))
        });
        let authorities = vec![self.certificate.clone()];
        Arc::new(ServerTls::new(keys, auth, authorities, people).expect("a configuration"))
    }

    /// What a client believes.
    pub(crate) fn trust(&self, name: &str) -> Trust {
        let authorities = Some(vec![self.certificate.to_vec()]);
        Trust { name: name.to_owned(), authorities, identity: None, pins: Vec::new() }
    }

    pub(crate) fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Pair>,
        protocols: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.certificate.clone()], own.key())
                .expect("a pair"),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(crate) const BOTH: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn address(server: &Server) -> SocketAddr {
    match server.bound()[0] {
        Bound::Tls(address) | Bound::Https(address) => address,
        ref other => panic!("the first listener is {other}"),
    }
}

pub(crate) fn bare(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(address(server)).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

pub(crate) fn open(server: &Server, config: &Arc<ClientConfig>, name: &str) -> Stream {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
    StreamOwned::new(connection, bare(server))
}

/// The next line, without its end; `None` where there is none any more.
pub(crate) fn line(stream: &mut impl Read) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) if byte[0] == b'\n' => return Some(String::from_utf8(line).expect("text")),
            Ok(1) => line.push(byte[0]),
            _ => return None,
        }
    }
}

pub(crate) fn ask(stream: &mut (impl Read + Write), text: &str) -> Option<String> {
    stream.write_all(format!("{text}\n").as_bytes()).ok()?;
    line(stream)
}

pub(crate) fn alice() -> Principal {
    Principals::default().acting_as("alice")
}

/// Answers each line, and each request, by the number of whom it is from; a line `big N` by N bytes.
#[derive(Default)]
pub(crate) struct Who {
    known: std::collections::BTreeMap<ringgate::base::LinkId, Principal>,
}

impl Domain for Who {
    fn handle(&mut self, _now: ringgate::base::Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::ClientOpened { link, principal, .. } => {
                self.known.insert(link, principal);
            }
            Event::Frame { link, frame } => {
                let big = frame.strip_prefix(b"big ").and_then(|n| std::str::from_utf8(n).ok());
                let text = match big.and_then(|n| n.parse().ok()) {
                    Some(n) => "x".repeat(n),
                    None => {
                        self.known.get(&link).map(|it| it.number()).unwrap_or_default().to_string()
                    }
                };
                out.send(link, |bytes| bytes.extend_from_slice(text.as_bytes()));
            }
            Event::Exchange { link, request } => {
                let text = request.principal.number().to_string();
                super::web::respond(out, link, 200, text.as_bytes());
            }
            Event::Closed { link, .. } => {
                self.known.remove(&link);
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<ringgate::base::Moment> {
        None
    }
}
