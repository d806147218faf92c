//! The `[http]` section: where HTTP is spoken, for which names, and which pages may ask.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::read::Reader;
use super::sections::{self, Listens};
use crate::shard::http::{Cors, Front};

pub(super) const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7421));

/// The `[http]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    pub front: Front,
    /// It is HTTPS.
    pub tls: bool,
    /// Where requests in clear are sent to it.
    pub redirect: Option<SocketAddr>,
}

/// `None` where HTTP is off. What it listens on is to be judged when it is known who may ask.
pub(super) fn read(mut reader: Reader<'_>) -> Option<(Http, Listens<'_>)> {
    let hosts = reader.field("hosts").and_then(|field| field.texts());
    let origins = reader.field("origins").and_then(|field| field.texts()).unwrap_or_default();
    let headers = reader.field("cors_headers").and_then(|field| field.texts()).unwrap_or_default();
    let credentials = reader.field("cors_credentials");
    let max_age = reader.field("cors_max_age").and_then(|field| field.integer(0..=86_400));
    let allows_all = origins.iter().any(|origin| origin == "*");
    let is_credentialed =
        credentials.as_ref().and_then(super::read::Field::boolean).unwrap_or(false);
    if let Some(field) = credentials.filter(|_| allows_all && is_credentialed) {
        field.fault(
            "every origin may ask, and with the user's credentials: any page could act for its reader",
            "name the origins in http.origins, or leave cors_credentials out",
        );
    }
    let metrics = reader.field("metrics").and_then(|field| field.boolean());
    let packs_answers = reader.field("compression").and_then(|field| field.boolean());
    let packs_messages = reader.field("websocket_compression").and_then(|field| field.boolean());
    let redirect = reader.field("redirect");
    let listens = sections::listen(reader, "http", DEFAULT)?;
    let (listen, tls) = (listens.address, listens.tls.is_some());
    let redirect = redirect.and_then(|field| {
        if !tls {
            field.fault(
                "there is no HTTPS to send requests to",
                "set http.tls = true, or remove it",
            );
        }
        let expected = "an address such as \"0.0.0.0:80\"";
        sections::socket_address(&field, field.text(expected)?, expected)
    });
    let mut front = Front { origins, ..Front::default() };
    match hosts {
        Some(hosts) if hosts.iter().any(|host| host == "*") => front.hosts = None,
        Some(hosts) => front.hosts = Some(hosts),
        None => {
            let own = match listen.ip() {
                std::net::IpAddr::V4(ip) => ip.to_string(),
                std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            };
            front.hosts.get_or_insert_default().push(own);
        }
    }
    // Counters are for the operator, who has a listener of their own; here they are told only where that was said.
    front.metrics = metrics.unwrap_or(false);
    front.packs_answers = packs_answers.unwrap_or(false);
    front.packs_messages = packs_messages.unwrap_or(false);
    front.cors = Cors {
        credentials: is_credentialed,
        headers,
        max_age: max_age.and_then(|age| u32::try_from(age).ok()).unwrap_or(front.cors.max_age),
    };
    Some((Http { listen, front, tls, redirect }, listens))
}
