//! What goes wrong between two ends of TLS, by kind: counted for each shard, and told to the log by the shard's own
//! clock, so that whoever fails on purpose cannot fill it.

use std::cell::{Cell, RefCell};
use std::io;

use rustls::CertificateError;

use super::client::PinMismatch;

/// Why a connection came to nothing, or to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// No handshake, or none that we speak: a version, a suite, no TLS at all.
    Handshake,
    /// The peer's certificate: none, or not good, or not known.
    Certificate,
    /// The handshake took longer than `limits.tls_handshake`.
    Late,
    /// The peer left in the middle of it.
    Left,
    /// After the handshake, the first bytes: not what was agreed on in it (ALPN).
    Protocol,
    /// After the handshake: a record that is none.
    Violation,
    /// Towards a server: its key is none of those that are pinned.
    Pin,
    /// Towards a server: anything else.
    Upstream,
}

const KINDS: usize = 8;
/// In the order of [`Trouble`].
const NAMES: [&str; KINDS] =
    ["handshake", "certificate", "late", "left", "protocol", "violation", "pin", "upstream"];

/// How often each has come to pass on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles([u64; KINDS]);

impl Troubles {
    pub fn of(&self, trouble: Trouble) -> u64 {
        self.0.get(trouble as usize).copied().unwrap_or_default()
    }

    /// Each kind with its name, as metrics have it.
    pub fn read(&self) -> [(&'static str, u64); KINDS] {
        let mut named = NAMES.map(|name| (name, 0));
        named.iter_mut().zip(self.0).for_each(|((_, to), count)| *to = count);
        named
    }
}

thread_local! {
    static ALL: Cell<u64> = const { Cell::new(0) };
    static TROUBLES: Cell<Troubles> = const { Cell::new(Troubles([0; KINDS])) };
    static LAST: RefCell<Option<(Trouble, String)>> = const { RefCell::new(None) };
}

/// What has come to pass on this thread.
pub fn troubles() -> Troubles {
    TROUBLES.get()
}

/// How many in all: to look whether there is another costs one load.
pub(in crate::shard) fn troubles_told() -> u64 {
    ALL.get()
}

/// Counts one, and remembers it for the log.
pub(in crate::shard) fn tell_later(trouble: Trouble, what: &dyn std::fmt::Display) {
    let mut troubles = TROUBLES.get();
    if let Some(count) = troubles.0.get_mut(trouble as usize) {
        *count = count.wrapping_add(1);
    }
    TROUBLES.set(troubles);
    ALL.set(ALL.get().wrapping_add(1));
    LAST.replace(Some((trouble, what.to_string())));
}

/// The last one that nobody was told of.
pub(in crate::shard) fn last_told() -> Option<(Trouble, String)> {
    LAST.take()
}

/// A certificate that is good and names nobody who is known here.
pub(in crate::shard) fn nobody(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Counts what ended a connection after its handshake, unless the peer itself has called it off.
pub(in crate::shard) fn broke_off(error: &io::Error) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if !matches!(inner, Some(rustls::Error::AlertReceived(_))) {
        tell_later(Trouble::Violation, error);
    }
}

/// Counts a handshake with a server that failed; the error as it is.
pub fn failed(error: io::Error, name: &str) -> io::Error {
    let kind = match Trouble::of(&error) {
        Trouble::Pin => Trouble::Pin,
        _ => Trouble::Upstream,
    };
    tell_later(kind, &format_args!("{name}: {error}"));
    error
}

impl Trouble {
    /// What an error of a handshake was about.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => return Self::Late,
            io::ErrorKind::PermissionDenied => return Self::Certificate,
            _ => {}
        }
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
                if other.0.is::<PinMismatch>() =>
            {
                Self::Pin
            }
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Self::Certificate
            }
            Some(_) => Self::Handshake,
            None if error.kind() == io::ErrorKind::InvalidData => Self::Handshake,
            None => Self::Left,
        }
    }
}
