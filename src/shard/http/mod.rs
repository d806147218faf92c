//! HTTP/1.1 on a link: requests come in as exchanges, one at a time and in order; their answers go out as
//! responses. One connection is one link with one task; each exchange on it has an id of its own, which is
//! worth nothing once the exchange is over. Not here: syntax (`wire::http1`), what a request means (the
//! domain).

mod bearer;
mod coding;
mod face;
mod figures;
mod front;
mod intake;
mod resource;
mod websocket;

pub(super) use bearer::{Gate, Shown};
pub(super) use face::HttpFace;
pub use figures::Figures;
pub(super) use figures::Mark;
pub(super) use front::{Asking, Guarded, HSTS, Refused};
pub use front::{Cors, Front};
pub(super) use intake::{Reading, error_body, verb};
pub(super) use resource::headers as document_headers;
pub(super) use websocket::WsFace;
