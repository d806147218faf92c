//! Where the configuration has the server listen, and which of its keys says so.

use super::config::{Config, Fault, Place};
use crate::transport::{Listen, Unbound};

/// One listener that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) listen: Listen,
    key: &'static str,
    place: Place,
}

/// All that are.
pub(super) fn wanted(config: &Config) -> Vec<Wanted> {
    let places = &config.places;
    let mut all = Vec::new();
    let mut want = |listen, key, place: &Place| {
        all.push(Wanted { listen, key, place: place.clone() });
    };
    let lines = if config.tcp_tls { Listen::Tls } else { Listen::Tcp };
    if let Some(address) = config.tcp {
        want(lines(address), "tcp.listen", &places.tcp);
    }
    if let Some(http) = &config.http {
        let of = if http.tls { Listen::Https } else { Listen::Http };
        want(of(http.listen), "http.listen", &places.http);
        if let Some(from) = http.redirect {
            let to = http.listen.port();
            want(Listen::Redirect { from, to }, "http.redirect", &places.redirect);
        }
    }
    if let Some(unix) = &config.unix {
        let listen = Listen::Unix { path: unix.path.clone(), mode: unix.mode };
        want(listen, "unix.listen", &places.unix);
    }
    all
}

/// Why one of them cannot be had.
pub(super) fn fault(wanted: &[Wanted], unbound: &Unbound) -> Fault {
    let (key, place) = match wanted.get(unbound.index) {
        Some(one) => (one.key, one.place.clone()),
        None => ("listen", Place::Default),
    };
    let remedy = match unbound.error.kind() {
        std::io::ErrorKind::AddrInUse => "choose another, or end who listens there (ss -ltnp)",
        std::io::ErrorKind::AddrNotAvailable => "name an address of this machine (ip addr)",
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE, and a socket's folder must be writable"
        }
        _ => "",
    };
    Fault { place, key: key.to_owned(), what: unbound.to_string(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_bound_is_told_with_its_place_and_a_remedy() {
        let place = Place::Line { file: "a.toml".into(), line: 2 };
        let address = "127.0.0.1:7421".parse().expect("an address");
        let wanted = [Wanted { listen: Listen::Http(address), key: "http.listen", place }];
        let error = std::io::Error::new(std::io::ErrorKind::AddrInUse, "taken");
        assert_eq!(
            fault(&wanted, &Unbound { index: 0, error }).to_string(),
            "a.toml:2: http.listen: taken; choose another, or end who listens there (ss -ltnp)"
        );
    }
}
