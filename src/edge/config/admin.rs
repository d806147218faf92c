//! The `[admin]` section: where the operator looks, and who may.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::auth::{self, AgentKeys};
use super::fault::Findings;
use super::read::Reader;
use super::sections;

pub(super) const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7422));

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
    /// The operator has named the address: then the gateway does not start without it.
    pub is_named: bool,
    /// Names it may be asked for, beside the loopback's and its own; `None` for any.
    pub hosts: Option<Vec<String>>,
    /// Whose keys open it; `None` where none are asked for.
    pub keys: Option<AgentKeys>,
}

/// `None` where it is off.
pub(super) fn read(mut reader: Reader<'_>, findings: &Findings) -> Option<Admin> {
    let hosts = reader.field("hosts").and_then(|field| field.texts()).unwrap_or_default();
    let keys = reader.field("keys");
    let keys = keys.and_then(|field| auth::agent_keys(&field, None, findings));
    let is_named = reader.field("listen").is_some();
    let listens = sections::listen(reader, "admin", DEFAULT)?;
    if let Some(tls) = &listens.tls {
        tls.fault(
            "the admin listener speaks no TLS",
            "listen on 127.0.0.1, behind a proxy or ssh -L",
        );
    }
    listens.judge(true, keys.is_some());
    let listen = listens.address;
    let hosts = (!hosts.iter().any(|host| host == "*")).then_some(hosts);
    Some(Admin { listen, is_named, hosts, keys })
}
