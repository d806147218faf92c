//! What a certificate was worth that is worth nothing any more: a name that is taken away from `auth.certificates`, or
//! given to another agent, closes the connections that came by it; a key that is taken away closes each WebSocket, and
//! ends each event stream, that was opened with it. Other answers need no such thing: each request is judged by what it
//! shows.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::core::Core;
use super::domain::Domain;
use super::links::{Face, Side};
use super::tls::Certified;
use crate::base::LinkId;
use crate::gateway::keys::Digest;
use crate::gateway::principal::Principal;

/// A key, by what is kept of it, and as whose it was shown.
pub(super) type Keyed = (Digest, Principal);

/// Why such a connection is closed.
pub(super) const REVOKED: &str =
    "its certificate's name is not known any more: see auth.certificates";

/// The same of a key.
pub(super) const KEY_REVOKED: &str =
    "the key that it began with is not known any more: see auth.keys";

impl<D: Domain> Core<D> {
    /// A link goes on for as long as its peer likes, and was opened with this key, if with one: a WebSocket, an event
    /// stream, or the connection that one is under way on. False if the key was taken away while its request waited.
    #[must_use]
    pub(super) fn note_key(&mut self, id: LinkId, key: Option<Keyed>) -> bool {
        let Some((digest, of)) = key else { return true };
        let owner = self.front.keys.as_ref().and_then(|keys| keys.owner(&digest));
        if owner == Some(of) {
            self.keyed.insert(id, (digest, of));
        }
        owner == Some(of)
    }

    /// An event stream begins to answer an exchange that was asked for with this key, on a link; it ends at once where
    /// that is worth nothing any more.
    pub(super) fn note_stream(&mut self, id: LinkId, key: Option<Keyed>) {
        if !self.note_key(id, key) {
            self.end_unkeyed(id);
        }
    }

    /// The event stream on a connection has ended.
    pub(super) fn forget_key(&mut self, id: LinkId) {
        if !self.keyed.is_empty() {
            self.keyed.remove(&id);
        }
    }

    /// Ends each WebSocket and each event stream whose key is not the same agent's any more.
    pub(super) fn close_unkeyed(&mut self) {
        let keys = self.front.keys.clone();
        let owner = |digest| keys.as_ref().and_then(|keys| keys.owner(digest));
        let gone = self.keyed.iter().filter(|(_, (digest, of))| owner(digest) != Some(*of));
        let gone: Vec<LinkId> = gone.map(|(link, _)| *link).collect();
        for id in &gone {
            self.end_unkeyed(*id);
        }
        if !gone.is_empty() {
            self.settle();
        }
    }

    fn end_unkeyed(&mut self, id: LinkId) {
        match self.links.get(id).map(|link| &link.face) {
            // The connection goes on: its next request has to show a key again.
            Some(Face::Http(face)) => {
                if let Some(exchange) = face.exchange {
                    self.end_stream(exchange, KEY_REVOKED);
                }
            }
            _ => self.close(id, Cow::Borrowed(KEY_REVOKED)),
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
