//! A token for an upstream (OAuth client credentials, RFC 6749 section 4.4; RFC 8707): asked for at once, and anew
//! shortly before it expires or when its server has refused it. While none can be had, the last one is used.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::fetch::{Fetcher, encoded, form};
use crate::edge::config::Grant;
use crate::shard::Post;

/// Between two requests for one token, however often it is refused or cannot be had.
const RENEW_MIN: Duration = Duration::from_secs(5);
/// How long a token is taken to last that does not say.
const LASTS: Duration = Duration::from_mins(10);
/// It is renewed so long before its end, or a tenth of its time if that is less.
const AHEAD: Duration = Duration::from_mins(1);

/// See the module.
pub(super) struct Granted {
    pub(super) upstream: usize,
    name: String,
    grant: Grant,
    fetcher: Fetcher,
    token: Option<Arc<str>>,
    /// From the last request to the next.
    wait: Duration,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

/// RFC 6749 section 5.2. What else an error says may hold what was sent.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Granted {
    pub(super) fn new(upstream: usize, name: String, grant: Grant) -> io::Result<Self> {
        let fetcher = Fetcher::new(grant.ca_file.as_deref())?;
        Ok(Self { upstream, name, grant, fetcher, token: None, wait: RENEW_MIN })
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
        match self.ask() {
            Ok((token, lasts)) => {
                tracing::info!(upstream, seconds = lasts.as_secs(), "a token was granted");
                self.wait = lasts.saturating_sub(AHEAD.min(lasts / 10)).max(RENEW_MIN);
                for post in posts {
                    post.token(self.upstream, Arc::clone(&token));
                }
                self.token = Some(token);
            }
            Err(why) => {
                tracing::warn!(upstream, why, "no token is granted for an upstream");
                self.wait = RENEW_MIN;
            }
        }
    }

    /// A token as `Authorization` has it, and how long it lasts.
    fn ask(&self) -> Result<(Arc<str>, Duration), String> {
        let Grant { client_id, client_secret, scopes, resource, .. } = &self.grant;
        let scope = scopes.join(" ");
        let mut fields = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            fields.push(("scope", &scope));
        }
        fields.extend(resource.as_deref().map(|resource| ("resource", resource)));
        let authorization = if self.grant.is_posted {
            fields.extend([("client_id", client_id.as_str()), ("client_secret", &client_secret.0)]);
            None
        } else {
            // Both are encoded as a form's before they are joined (RFC 6749 section 2.3.1).
            let pair = format!("{}:{}", encoded(client_id), encoded(&client_secret.0));
            Some(format!("Basic {}", STANDARD.encode(pair)))
        };
        let (status, body) =
            self.fetcher.post(&self.grant.token_url, authorization.as_deref(), &form(&fields))?;
        if status != 200 {
            let refused = serde_json::from_slice::<Refused>(&body).map(|refused| refused.error);
            let mut error = refused.unwrap_or_default();
            error.retain(|char| char.is_ascii_graphic());
            error.truncate(64);
            return Err(format!("HTTP {status} {error}"));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| format!("the answer is none of a token endpoint's: {error}"))?;
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err("the token is of a type that is not known here".to_owned());
        }
        // It goes into a header (RFC 6750 section 2.1).
        if answer.access_token.is_empty()
            || !answer.access_token.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err("the token has characters that no token can have".to_owned());
        }
        let lasts = answer.expires_in.map_or(LASTS, Duration::from_secs);
        Ok((format!("Bearer {}", answer.access_token).into(), lasts))
    }
}
