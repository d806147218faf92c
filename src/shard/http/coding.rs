//! Bodies that are compressed on their way (RFC 9110 section 8.4): requests are decoded before the domain sees
//! them, within the bound that they would have had; answers are coded where their client takes it and the
//! operator wants it. Event streams are left as they are: what would be held back for a better ratio is what
//! their reader waits for.

use super::super::core::Core;
use super::super::domain::Domain;
use super::super::links::Face;
use super::front::Refused;
use crate::base::LinkId;
use crate::gateway::http::HeaderPairs;
use crate::wire::coding::{self, BODY_BYTES_MAX, BODY_BYTES_MIN, Coding, Wanted};

impl<D: Domain> Core<D> {
    /// What an answer may be coded in.
    #[inline]
    pub(in crate::shard) fn wants(&self, accepts: Option<&[u8]>) -> Wanted {
        match accepts {
            Some(accepts) if self.front.packs_answers => Wanted::read(accepts),
            _ => Wanted::default(),
        }
    }

    /// A request's body as it was before it was coded; `None` if it was not.
    pub(in crate::shard) fn unpacked(
        &mut self,
        encoding: &[u8],
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, Refused> {
        let unknown = |_| {
            let what = "bodies are taken in zstd and gzip, or as they are";
            let headers = vec![("accept-encoding", coding::TAKEN.to_owned())];
            Refused { headers, ..Refused::new(415, what) }
        };
        let Some(coding) = Coding::of_body(encoding).map_err(unknown)?.filter(|_| !body.is_empty())
        else {
            return Ok(None);
        };
        match coding::decoded(coding, body, self.limits.frame_bytes_max) {
            Ok(bytes) => {
                self.coders.ledger.came(coding.into(), bytes.len(), body.len());
                Ok(Some(bytes))
            }
            Err(coding::Fault::TooLarge) => {
                Err(Refused::new(413, "the body decodes to more than the limit frame_bytes_max"))
            }
            Err(coding::Fault::Corrupt) => {
                Err(Refused::new(400, "the body is not coded as Content-Encoding says"))
            }
        }
    }

    /// An answer's body in what its client wants; `None` where it stays as it is. That of a client which takes
    /// nothing else is left as it is too where it may not be coded: the call has been made, and an answer in place of
    /// a 406 is what section 12.5.1 leaves to the server.
    pub(in crate::shard) fn packed(
        &mut self,
        wants: Wanted,
        status: u16,
        headers: &HeaderPairs,
        body: &[u8],
    ) -> Option<(Coding, Vec<u8>)> {
        let coding = wants.coding?;
        let pays = body.len() >= BODY_BYTES_MIN || wants.only && !body.is_empty();
        if !pays || body.len() > BODY_BYTES_MAX || matches!(status, 100..=199 | 204 | 206 | 304) {
            return None;
        }
        // A strong validator is of the very bytes, and what is coded already is not coded again.
        if headers.iter().any(|(name, _)| matches!(*name, "etag" | "content-encoding")) {
            return None;
        }
        let coded = self.coders.encoder.body(coding, body, wants.only)?;
        let mut bytes = self.pool.take();
        bytes.extend_from_slice(coded);
        self.coders.ledger.left(coding.into(), body.len(), bytes.len());
        Some((coding, bytes))
    }

    /// Answers what is under way on a connection as a whole.
    pub(in crate::shard) fn answer(
        &mut self,
        id: LinkId,
        status: u16,
        headers: &HeaderPairs,
        body: &[u8],
    ) {
        let wants = match self.links.get(id).map(|link| &link.face) {
            Some(Face::Http(face)) => face.wants,
            _ => Wanted::default(),
        };
        let packed = self.packed(wants, status, headers, body);
        let (body, coding) = match &packed {
            Some((coding, bytes)) => (&bytes[..], Some(*coding)),
            None => (body, None),
        };
        self.note_answer(id, status, Some(body.len()));
        self.write(id, |face, (front, date), out| {
            face.respond(out, front, date, status, headers, (body, coding));
        });
        if let Some((_, bytes)) = packed {
            self.pool.give(bytes);
        }
        self.finish_exchange(id);
    }
}
