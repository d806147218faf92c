//! The `tls` table of an upstream: how its server proves who it is, beside what every server must, and what it is
//! shown of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{ServerName, UnixTime};

use super::fault::Findings;
use super::read::Field;
use super::tls;
use crate::base::calendar;
use crate::gateway::settings::{Pin, Trust};

/// For a server of this name; with no table at all, whom the system believes is believed.
pub(super) fn read(
    host: &str,
    table: Option<&Field<'_>>,
    url: &Field<'_>,
    findings: &Findings,
) -> Option<Trust> {
    let mut trust =
        Trust { name: host.to_owned(), authorities: None, identity: None, pins: Vec::new() };
    if let Some(table) = table {
        let mut reader = table.table();
        let name = reader.field("name");
        let ca = reader.field("ca");
        let (cert, key) = (reader.field("cert"), reader.field("key"));
        let pins = reader.field("pins");
        reader.finish();
        if let Some(name) = name.as_ref().and_then(|field| field.text("a host's name")) {
            name.clone_into(&mut trust.name);
        }
        if let Some(ca) = ca {
            trust.authorities = Some(tls::authorities(&ca, findings)?);
        }
        match (cert, key) {
            (Some(cert), key) => {
                trust.identity = Some(tls::identity(&cert, key.as_ref(), findings)?);
            }
            (None, Some(key)) => {
                key.fault("goes with a certificate, and there is none", "add cert = \"FILE\"");
            }
            (None, None) => {}
        }
        for field in pins.as_ref().and_then(Field::tables).unwrap_or_default() {
            trust.pins.extend(pin(&field));
        }
    }
    if ServerName::try_from(trust.name.as_str()).is_err() {
        url.fault(format!("{:?} is no host that a certificate could be for", trust.name), "");
        return None;
    }
    Some(trust)
}

/// What a pin is made with.
const HOW: &str = "make it with: openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin -outform der \
                   | openssl dgst -sha256 -binary | base64";

fn pin(field: &Field<'_>) -> Option<Pin> {
    let mut reader = field.table();
    let digest = reader.field("sha256");
    let until = reader.field("until");
    reader.finish();
    let (Some(digest), Some(until)) = (digest, until) else {
        field.fault(
            "needs sha256 and until",
            "without a date a key that is changed locks the gateway out for good",
        );
        return None;
    };
    let text = digest.text("the SHA-256 of the server's public key, in base64")?;
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let Some(decoded) = decoded else {
        digest.fault(format!("{text:?} is no SHA-256 in base64"), HOW);
        return None;
    };
    let day = until.text("a date such as \"2027-06-30\"")?;
    let Some(until_secs) = calendar::day(day).map(|day| day * 86_400) else {
        until.fault(format!("{day:?} is no date"), "write it as \"2027-06-30\"");
        return None;
    };
    if until_secs <= UnixTime::now().as_secs() {
        until.warn("has passed, so this pin holds nobody", "name the key of today, or remove it");
    }
    Some(Pin { digest: decoded, until: until_secs })
}
