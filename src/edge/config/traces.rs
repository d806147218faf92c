//! The `[traces]` section: which requests are traced, and where their spans go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::read::{Field, Reader};
use super::tree::Value;

/// Where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Takes OTLP over HTTP in JSON; the whole URL, path included.
    pub endpoint: String,
    /// Of requests that bring no trace, this share is traced, between 0 and 1. Default 1.
    pub ratio: f64,
    /// What the gateway is called there.
    pub service: String,
    /// In every request to the collector.
    pub headers: BTreeMap<String, String>,
    /// Authorities to believe instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// `None` where nothing is traced.
pub(super) fn read(mut reader: Reader<'_>) -> Option<Traces> {
    let endpoint = reader.field("endpoint");
    let ratio = reader.field("ratio").and_then(|field| share(&field)).unwrap_or(1.0);
    let service = reader.field("service").and_then(|field| field.text("a name"));
    let headers = reader.field("headers").and_then(|field| field.text_table()).unwrap_or_default();
    let ca_file = reader.field("ca_file").and_then(|field| field.path());
    reader.finish();
    let endpoint = endpoint?;
    let expected = "a URL such as \"http://127.0.0.1:4318/v1/traces\", or \"off\"";
    let url = endpoint.text(expected)?;
    if url == "off" {
        return None;
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        endpoint.fault(format!("expected {expected}, found {url:?}"), "write http:// or https://");
        return None;
    }
    let service = service.unwrap_or("ringgate").to_owned();
    Some(Traces { endpoint: url.to_owned(), ratio, service, headers, ca_file })
}

/// A share between 0 and 1.
fn share(field: &Field<'_>) -> Option<f64> {
    let text = match field.value() {
        Value::Float(text) | Value::Loose(text) => Some(text.clone()),
        Value::Integer(whole) => Some(whole.to_string()),
        _ => None,
    };
    let share = text.and_then(|text| text.parse().ok()).filter(|it| (0.0..=1.0).contains(it));
    if share.is_none() {
        field.fault("expected a share between 0 and 1, such as 0.1", "0.1 is one in ten");
    }
    share
}
