//! What a certificate was worth that is worth nothing any more: a name that is taken away from `auth.certificates`, or
//! given to another agent, closes the connections that came by it. Keys and tokens need no such thing over HTTP, where
//! each request is judged by what it shows.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::core::Core;
use super::domain::Domain;
use super::links::Side;
use super::tls::Certified;
use crate::base::LinkId;

/// Why such a connection is closed.
pub(super) const REVOKED: &str =
    "its certificate's name is not known any more: see auth.certificates";

impl<D: Domain> Core<D> {
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
