//! What a certificate was worth that is worth nothing any more: a name that is taken away from `auth.certificates`, or
//! given to another agent, closes the connections that came by it; a key that is taken away closes each WebSocket
//! that was opened with it. Over HTTP keys and tokens need no such thing, where each request is judged by what it shows.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::core::Core;
use super::domain::Domain;
use super::links::Side;
use super::tls::Certified;
use crate::base::LinkId;
use crate::gateway::keys::Digest;

/// The scheme before a key, whatever its case (RFC 6750 section 2.1).
const BEARER: &[u8] = b"bearer";

/// Why such a connection is closed.
pub(super) const REVOKED: &str =
    "its certificate's name is not known any more: see auth.certificates";

/// The same of a key.
pub(super) const KEY_REVOKED: &str =
    "the key that it began with is not known any more: see auth.keys";

impl<D: Domain> Core<D> {
    /// A WebSocket is opened by whom a request shows to be.
    pub(super) fn note_key(&mut self, id: LinkId, authorization: Option<&[u8]>) {
        let Some(keys) = &self.front.keys else { return };
        let shown = authorization.and_then(|value| value.get(BEARER.len()..));
        let digest = shown.map(|shown| Digest::of(shown.trim_ascii()));
        if let Some(digest) = digest
            && let Some(owner) = keys.owner(&digest)
        {
            self.keyed.insert(id, (digest, owner));
        }
    }

    /// Closes each WebSocket whose key is not the same agent's any more.
    pub(super) fn close_unkeyed(&mut self) {
        let keys = self.front.keys.clone();
        let owner = |digest| keys.as_ref().and_then(|keys| keys.owner(digest));
        let gone = self.keyed.iter().filter(|(_, (digest, of))| owner(digest) != Some(*of));
        let gone: Vec<LinkId> = gone.map(|(link, _)| *link).collect();
        for id in &gone {
            self.close(*id, Cow::Borrowed(KEY_REVOKED));
        }
        if !gone.is_empty() {
            self.settle();
        }
    }

    /// Closes what came by a certificate whose name is not the same agent's any more: what was taken away is to be
    /// worth nothing from now on, and a stream would outlast it for ever.
    pub(super) fn close_unknown(&mut self) {
        let is_known = |it: &Certified| self.tls.as_ref().is_some_and(|tls| tls.knows(it));
        let unknown = self.certified.iter().filter(|(_, certified)| !is_known(certified));
        let unknown: BTreeSet<LinkId> = unknown.map(|(link, _)| *link).collect();
        if unknown.is_empty() {
            return;
        }
        for id in self.links.ids() {
            let connection = match self.links.get(id).map(|link| link.side) {
                Some(Side::Stream(connection)) => connection,
                _ => id,
            };
            if unknown.contains(&connection) {
                self.close(id, Cow::Borrowed(REVOKED));
            }
        }
        self.on_phase.wake();
        self.settle();
    }
}
