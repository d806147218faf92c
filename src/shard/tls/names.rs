//! What a certificate says: whom it is for, and until when. Only certificates that an authority of ours has signed
//! are read here, and those of the operator's own files.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Whom a certificate is for, each name with its kind: `uri:`, `dns:`, `email:` of its alternative names, `cn:` of its
/// subject. In this order: what comes first is the most particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames(pub Vec<String>);

/// What is to be known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub names: CertificateNames,
    /// Seconds since 1970-01-01 UTC.
    pub not_before: i64,
    pub not_after: i64,
    /// The names of its subject and of its issuer, as they stand in it (DER).
    pub subject: Vec<u8>,
    pub issuer: Vec<u8>,
    pub is_authority: bool,
}

/// Reads a certificate (RFC 5280); `None` if it is none.
pub fn facts(der: &[u8]) -> Option<Facts> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let validity = certificate.validity();
    Some(Facts {
        names: names(&certificate),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        subject: certificate.subject().as_raw().to_vec(),
        issuer: certificate.issuer().as_raw().to_vec(),
        is_authority: certificate.is_ca(),
    })
}

fn names(certificate: &X509Certificate<'_>) -> CertificateNames {
    let (mut uris, mut hosts, mut emails) = (Vec::new(), Vec::new(), Vec::new());
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::URI(uri) => uris.push(format!("uri:{uri}")),
                // Hosts are the same in any case (RFC 4343), and so are the hosts of addresses by use.
                GeneralName::DNSName(name) => {
                    hosts.push(format!("dns:{}", name.to_ascii_lowercase()));
                }
                GeneralName::RFC822Name(email) => {
                    emails.push(format!("email:{}", email.to_ascii_lowercase()));
                }
                _ => {}
            }
        }
    }
    let common = certificate.subject().iter_common_name();
    let common = common.filter_map(|name| Some(format!("cn:{}", name.as_str().ok()?)));
    let mut names = uris;
    names.append(&mut hosts);
    names.append(&mut emails);
    names.extend(common);
    CertificateNames(names)
}
