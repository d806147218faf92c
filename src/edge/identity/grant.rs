//! A token for an upstream (OAuth client credentials, RFC 6749 section 4.4; RFC 8707): asked for at once, and anew
//! shortly before it expires or when its server has refused it. While none can be had, the last one is used.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
use std::time::Instant;

use super::endpoint::{Endpoint, used_for};
use crate::edge::config::Grant;
use crate::shard::{AccessToken, Post};

/// Between two requests for one token, however often it is refused or cannot be had.
const RENEW_MIN: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Granted {
    pub(super) upstream: usize,
    name: String,
    endpoint: Endpoint,
    token: Option<Arc<str>>,
    /// From the last request to the next.
    wait: Duration,
}

impl Granted {
    pub(super) fn new(upstream: usize, name: String, grant: Grant) -> io::Result<Self> {
        let endpoint = Endpoint::new(grant)?;
        Ok(Self { upstream, name, endpoint, token: None, wait: RENEW_MIN })
    }

    /// Renews the token until nobody can refuse one any more.
    #[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
    pub(super) fn run(&mut self, refused: &Receiver<Arc<str>>, posts: &[Post]) {
        loop {
            let begun = Instant::now();
            self.renew(posts);
            loop {
                let left = self.wait.checked_sub(begun.elapsed());
                let Some(left) = left.filter(|left| !left.is_zero()) else { break };
                match refused.recv_timeout(left) {
                    // One that was refused after it was renewed is not in use any more.
                    Ok(token) if self.token.as_ref() == Some(&token) => {
                        self.wait = self.wait.min(RENEW_MIN);
                    }
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    fn renew(&mut self, posts: &[Post]) {
        let upstream = self.name.as_str();
        match self.endpoint.ask(&[("grant_type", "client_credentials")]) {
            Ok((AccessToken(token), lasts)) => {
                tracing::info!(upstream, seconds = lasts.as_secs(), "a token was granted");
                self.wait = used_for(lasts).max(RENEW_MIN);
                for post in posts {
                    post.token(self.upstream, Arc::clone(&token));
                }
                self.token = Some(token);
            }
            Err(why) => {
                tracing::warn!(upstream, %why, "no token is granted for an upstream");
                self.wait = RENEW_MIN;
            }
        }
    }
}
