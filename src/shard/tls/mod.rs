//! TLS (1.3 and 1.2, by rustls) as a machine without sockets: ciphertext in, plaintext out, and the other way
//! round. What moves the bytes is `shard::rt`, whose readers and writers are plain or secure, so that nothing above
//! them can tell which. Not here: files and their formats, which are the edge's.
//!
//! ```text
//!   socket ──ciphertext──► Session ──plaintext──► Reader ──► inbox, h2, upstream's answers
//!   socket ◄──ciphertext── Session ◄──plaintext── Writer ◄── outbox
//! ```
//!
//! - A session holds no buffer while it is quiet: ciphertext is read into the buffer that the plaintext is wanted in.
//! - A record that is none ends its own connection: the alert is sent, the reader fails, nobody else notices.
//! - 0-RTT is off and cannot be turned on: what a client sends in it can be played again by whoever saw it.

mod client;
mod names;
mod server;
mod session;
mod trouble;

pub use client::ClientTls;
pub use names::{CertificateNames, Facts, facts};
pub(super) use server::Certified;
pub use server::{CertifiedKeys, ClientAuth, People, ServerTls};
pub use session::{Alpn, Session};
pub use trouble::{Trouble, Troubles, failed, troubles};
pub(super) use trouble::{broke_off, last_told, nobody, tell_later, troubles_told};
