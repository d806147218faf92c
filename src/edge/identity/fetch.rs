//! HTTP for the few things that the edge fetches: small documents, in bounded time, from servers whose
//! certificates the system believes or those of a file. No redirects: what is configured is where it lies.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig};

/// How long one fetch may take, connecting included.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// Bytes of one document: sets of keys and tokens are a few KiB.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 256 << 10;

/// See the module.
pub(in crate::edge) struct Fetcher(Agent);

impl Fetcher {
    /// With the authorities of a file instead of the system's, where one is named.
    pub(in crate::edge) fn new(ca_file: Option<&Path>) -> io::Result<Self> {
        let roots = match ca_file {
            Some(path) => authorities(path)?,
            None => RootCerts::PlatformVerifier,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(FETCH_MAX))
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("ringgate/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Ok(Self(config.into()))
    }

    /// A document, or why there is none.
    pub(super) fn get(&self, url: &str, accept: &str) -> Result<Vec<u8>, String> {
        let response = self.0.get(url).header("accept", accept).call();
        let mut response = response.map_err(|error| error.to_string())?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("HTTP {}", status.as_u16()));
        }
        let body = response.body_mut().with_config().limit(DOCUMENT_BYTES_MAX);
        body.read_to_vec().map_err(|error| error.to_string())
    }

    /// The answer to a form that is posted: its status and its body.
    pub(super) fn post(
        &self,
        url: &str,
        authorization: Option<&str>,
        form: &str,
    ) -> Result<(u16, Vec<u8>), String> {
        let mut request = self
            .0
            .post(url)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.send(form).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(DOCUMENT_BYTES_MAX);
        Ok((status, body.read_to_vec().map_err(|error| error.to_string())?))
    }

    /// The status of the answer to a JSON document that is posted.
    pub(in crate::edge) fn post_json<'a>(
        &self,
        url: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        document: &str,
    ) -> Result<u16, String> {
        let mut request = self.0.post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut response = request.send(document).map_err(|error| error.to_string())?;
        // Read, so that the connection can be used again.
        let body = response.body_mut().with_config().limit(DOCUMENT_BYTES_MAX);
        body.read_to_vec().map_err(|error| error.to_string())?;
        Ok(response.status().as_u16())
    }
}

/// Fields as `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    fields.join("&")
}

/// A value of such a field: all but what never needs it is encoded.
pub(super) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn authorities(path: &Path) -> io::Result<RootCerts> {
    let at =
        |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let pem = std::fs::read(path).map_err(|error| at(&error))?;
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| at(&error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(at(&"there is no certificate in this file"));
    }
    Ok(RootCerts::Specific(Arc::new(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_what_its_fields_say_and_nothing_more() {
        let fields = [("scope", "a b"), ("resource", "https://x.test/m?a=1&b=2"), ("s", "é+%")];
        assert_eq!(
            form(&fields),
            "scope=a%20b&resource=https%3A%2F%2Fx.test%2Fm%3Fa%3D1%26b%3D2&s=%C3%A9%2B%25"
        );
        assert_eq!(form(&[]), "");
    }
}
