//! The `[tls]` section: the certificates that listeners show, and whose they ask of clients. Files are read and judged
//! here, so that what is wrong with one is told before anybody connects: a key of another certificate, a chain in
//! disorder, a date that has passed.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::fault::Findings;
use super::read::{Field, Reader};
use crate::gateway::settings::{Identity, PrivateKey};
use crate::shard::tls::{CertifiedKeys, ClientAuth, Facts, facts};

/// The `[tls]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first is for names that none is for.
    pub certificates: Vec<Certificate>,
    pub client_auth: ClientAuth,
    /// Who signs the certificates of clients, DER.
    pub authorities: Vec<Vec<u8>>,
}

/// A certificate that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub file: PathBuf,
    pub identity: Identity,
    /// When the first of its chain expires, a second since 1970-01-01 UTC.
    pub not_after: i64,
}

/// `None` where nothing speaks TLS.
pub(super) fn read(mut reader: Reader<'_>, findings: &Findings) -> Option<Tls> {
    let list = reader.field("certificates");
    let own = pair_fields(&mut reader);
    let auth = reader.field("client_auth");
    let client_ca = reader.field("client_ca");
    reader.finish();
    let mut certificates = Vec::new();
    if let (Some(cert), key) = &own {
        certificates.extend(certificate(cert, key.as_ref(), findings));
    } else if let (None, Some(key)) = &own {
        key.fault("goes with a certificate, and there is none", "add cert = \"FILE\"");
    }
    for field in list.as_ref().and_then(Field::tables).unwrap_or_default() {
        let mut table = field.table();
        let pair = pair_fields(&mut table);
        table.finish();
        match pair {
            (Some(cert), key) => {
                certificates.extend(certificate(&cert, key.as_ref(), findings));
            }
            (None, _) => field.fault("names no certificate", "add cert = \"FILE\""),
        }
    }
    if let Some(auth) = auth.as_ref().filter(|_| list.is_none() && own.0.is_none()) {
        auth.fault(
            "there is no certificate to show, so nobody can be asked for theirs",
            "add tls.cert = \"FILE\" and tls.key = \"FILE\"",
        );
    }
    let words = [
        ("off", ClientAuth::Off),
        ("optional", ClientAuth::Optional),
        ("required", ClientAuth::Required),
    ];
    let client_auth = auth.as_ref().and_then(|field| field.choice(&words)).unwrap_or_default();
    let authorities = client_ca.as_ref().and_then(|field| authorities(field, findings));
    match (client_auth, &auth, &client_ca) {
        (ClientAuth::Off, _, Some(ca)) => ca.warn(
            "has no effect: clients are not asked for certificates",
            "set tls.client_auth = \"optional\" or \"required\"",
        ),
        (ClientAuth::Optional | ClientAuth::Required, Some(auth), None) => auth.fault(
            "says nowhere who signs the certificates of clients",
            "add tls.client_ca = \"FILE\"",
        ),
        _ => {}
    }
    if certificates.is_empty() {
        return None;
    }
    Some(Tls { certificates, client_auth, authorities: authorities.unwrap_or_default() })
}

type PairFields<'a> = (Option<Field<'a>>, Option<Field<'a>>);

fn pair_fields<'a>(reader: &mut Reader<'a>) -> PairFields<'a> {
    (reader.field("cert"), reader.field("key"))
}

/// A listener's certificate; `None` after why not was told.
fn certificate(
    cert: &Field<'_>,
    key: Option<&Field<'_>>,
    findings: &Findings,
) -> Option<Certificate> {
    let (file, identity, facts) = pair(cert, key, findings)?;
    if !facts.iter().any(|facts| facts.names.0.iter().any(|name| !name.starts_with("cn:"))) {
        cert.warn(
            format!("{}: is for no host (it has no subject alternative name)", file.display()),
            "clients compare no other name; have it made anew with one",
        );
    }
    let not_after = facts.iter().map(|facts| facts.not_after).min()?;
    let days = days_left(not_after);
    if days < DAYS_WARNED {
        cert.warn(format!("{}: expires in {days} days", file.display()), "renew it");
    }
    Some(Certificate { file, identity, not_after })
}

/// A certificate that expires sooner is worth a word each day; sooner than the second, an error in the log.
pub(in crate::edge) const DAYS_WARNED: i64 = 30;
pub(in crate::edge) const DAYS_ALERTED: i64 = 7;

/// Whole days until a second since 1970-01-01 UTC.
pub(in crate::edge) fn days_left(not_after: i64) -> i64 {
    (not_after - now()).div_euclid(86_400)
}

fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// A chain and its key, judged.
fn pair(
    cert: &Field<'_>,
    key: Option<&Field<'_>>,
    findings: &Findings,
) -> Option<(PathBuf, Identity, Vec<Facts>)> {
    let Some(key) = key else {
        cert.fault("goes with a key, and there is none", "add key = \"FILE\"");
        return None;
    };
    let (file, key_file) = (cert.path()?, key.path()?);
    findings.reads(&file);
    findings.reads(&key_file);
    let chain = certificates(cert, &file)?;
    let private = match PrivateKeyDer::from_pem_file(&key_file) {
        Ok(private) => private,
        Err(error) => {
            let what = format!("{}: holds no private key: {error}", key_file.display());
            key.fault(
                what,
                "it is a PEM file with PRIVATE KEY in its first line, without a passphrase",
            );
            return None;
        }
    };
    if is_open(&key_file) {
        let what = format!("{}: everybody on this machine may read the key", key_file.display());
        key.warn(what, format!("chmod 640 {}", key_file.display()));
    }
    let facts = judge(cert, &file, &chain)?;
    let identity = Identity {
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        key: PrivateKey(private.secret_der().to_vec()),
    };
    if let Err(error) = CertifiedKeys::new([(chain, private)]) {
        key.fault(
            format!("{} is not the key of {}: {error}", key_file.display(), file.display()),
            "name the key that the certificate was made with",
        );
        return None;
    }
    Some((file, identity, facts))
}

/// Order and dates of a chain.
fn judge(cert: &Field<'_>, file: &Path, chain: &[CertificateDer<'_>]) -> Option<Vec<Facts>> {
    let file = file.display();
    let mut all: Vec<Facts> = Vec::new();
    for (n, der) in chain.iter().enumerate() {
        let Some(facts) = facts(der) else {
            cert.fault(format!("{file}: certificate {} cannot be read", n + 1), "");
            return None;
        };
        if let Some(before) = all.last()
            && before.issuer != facts.subject
        {
            let what = format!("{file}: certificate {} has not signed the one before it", n + 1);
            let remedy = "the server's own comes first, then who signed it, and so on";
            cert.fault(what, remedy);
            return None;
        }
        let now = now();
        if facts.not_after < now {
            let days = (now - facts.not_after) / 86_400;
            cert.fault(format!("{file}: expired {days} days ago"), "renew it");
            return None;
        }
        if facts.not_before > now {
            let what = format!("{file}: is not valid yet");
            cert.fault(what, "wait, or look at this machine's clock: date");
            return None;
        }
        all.push(facts);
    }
    Some(all)
}

fn certificates(field: &Field<'_>, file: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let what = match read {
        Ok(all) if !all.is_empty() => return Some(all),
        Ok(_) => "holds no certificate".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    let remedy = "it is a PEM file with BEGIN CERTIFICATE in its first line";
    field.fault(format!("{}: {what}", file.display()), remedy);
    None
}

/// Whom to believe: all certificates of a file, DER.
pub(super) fn authorities(field: &Field<'_>, findings: &Findings) -> Option<Vec<Vec<u8>>> {
    let file = field.path()?;
    findings.reads(&file);
    let all = certificates(field, &file)?;
    for der in &all {
        match facts(der) {
            None => {
                field.fault(format!("{}: a certificate cannot be read", file.display()), "");
                return None;
            }
            Some(facts) if facts.not_after < now() => {
                field.warn(format!("{}: an authority has expired", file.display()), "renew it");
            }
            Some(facts) if !facts.is_authority => {
                let what = format!("{}: a certificate is of no authority", file.display());
                field.warn(what, "name the file of who signs, not of who is signed");
            }
            Some(_) => {}
        }
    }
    Some(all.into_iter().map(|der| der.to_vec()).collect())
}

/// What we show a server.
pub(super) fn identity(
    cert: &Field<'_>,
    key: Option<&Field<'_>>,
    findings: &Findings,
) -> Option<Identity> {
    pair(cert, key, findings).map(|(_, identity, _)| identity)
}

fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|data| data.permissions().mode() & 0o004 != 0)
}
