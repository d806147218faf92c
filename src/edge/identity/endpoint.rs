//! A token endpoint (RFC 6749 section 3.2), and the gateway's own credentials there: one request, one answer. What
//! is asked for, and what becomes of it, is `grant` and `exchange`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::fetch::{Fetcher, encoded, form};
use crate::edge::config::Grant;
use crate::shard::AccessToken;

/// How long a token is taken to last that does not say.
const LASTS: Duration = Duration::from_mins(10);
/// It is renewed so long before its end, or a tenth of its time if that is less.
const AHEAD: Duration = Duration::from_mins(1);
/// Letters of an error that are repeated: those of the standards are shorter.
const ERROR_CHARS_MAX: usize = 64;

/// What an access token may be called in an answer (RFC 8693 section 3).
const ACCESS_TOKENS: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"];

/// See the module.
pub(super) struct Endpoint {
    pub(super) grant: Grant,
    fetcher: Fetcher,
}

/// What was given out: a token, and how long it lasts.
pub(super) type Token = (AccessToken, Duration);

/// Why nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server said no, with this error (RFC 6749 section 5.2).
    Error(String),
    /// It could not be asked, or is too busy to answer.
    Trouble(String),
    /// It did not answer as one does: perhaps this request only.
    Odd(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) | Self::Trouble(error) | Self::Odd(error) => f.write_str(error),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
    issued_token_type: Option<String>,
}

/// What else an error says may hold what was sent.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Endpoint {
    pub(super) fn new(grant: Grant) -> io::Result<Self> {
        let fetcher = Fetcher::new(grant.ca_file.as_deref())?;
        Ok(Self { grant, fetcher })
    }

    /// Asks for a token with these fields, and those that any grant has.
    pub(super) fn ask(&self, fields: &[(&str, &str)]) -> Result<Token, Refusal> {
        let Grant { client_id, client_secret, scopes, resource, .. } = &self.grant;
        let scope = scopes.join(" ");
        let mut fields = fields.to_vec();
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
        let form = Zeroizing::new(form(&fields));
        let answer = self.fetcher.post(&self.grant.token_url, authorization.as_deref(), &form);
        let (status, body) = answer.map_err(Refusal::Trouble)?;
        read(status, &body)
    }
}

/// What an answer says.
fn read(status: u16, body: &[u8]) -> Result<Token, Refusal> {
    if status != 200 {
        let refused = serde_json::from_slice::<Refused>(body).map(|refused| refused.error);
        let mut error = refused.unwrap_or_default();
        error.retain(|char| char.is_ascii_graphic());
        error.truncate(ERROR_CHARS_MAX);
        // Of one that is busy or broken the error says nothing of what was asked.
        return Err(if matches!(status, 400..=403) && !error.is_empty() {
            Refusal::Error(error)
        } else if matches!(status, 429 | 502..=504) {
            Refusal::Trouble(format!("HTTP {status} {error}"))
        } else {
            Refusal::Odd(format!("HTTP {status} {error}"))
        });
    }
    let odd = |what: &str| Refusal::Odd(what.to_owned());
    // What is wrong with it may be told with what it says.
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| odd("the answer is none of a token endpoint's"))?;
    let is_access = |kind: &String| ACCESS_TOKENS.contains(&kind.as_str());
    if !answer.token_type.eq_ignore_ascii_case("bearer")
        || !answer.issued_token_type.as_ref().is_none_or(is_access)
    {
        return Err(odd("the token is of a type that is not known here"));
    }
    // It goes into a header (RFC 6750 section 2.1).
    if answer.access_token.is_empty()
        || !answer.access_token.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(odd("the token has characters that no token can have"));
    }
    let lasts = answer.expires_in.map_or(LASTS, Duration::from_secs);
    let bearer: Arc<str> = format!("Bearer {}", answer.access_token).into();
    Ok((AccessToken(bearer), lasts))
}

/// How long a token that lasts so long is used before it is renewed.
pub(super) fn used_for(lasts: Duration) -> Duration {
    lasts.saturating_sub(AHEAD.min(lasts / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_token_or_says_why_not_without_what_was_asked() {
        let good = r#"{"access_token":"x.y","token_type":"bearer","expires_in":60}"#;
        let lasts = Duration::from_mins(1);
        assert_eq!(read(200, good.as_bytes()), Ok((AccessToken("Bearer x.y".into()), lasts)));
        let exchanged = r#"{"access_token":"x","token_type":"Bearer",
            "issued_token_type":"urn:ietf:params:oauth:token-type:jwt"}"#;
        assert_eq!(read(200, exchanged.as_bytes()).unwrap().1, LASTS);
        for bad in [
            "",
            r#"{"access_token":"x","token_type":"N_A"}"#,
            r#"{"access_token":"x\r\ny","token_type":"bearer"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":"x","token_type":"bearer","issued_token_type":"urn:ietf:params:oauth:token-type:saml2"}"#,
        ] {
            assert!(matches!(read(200, bad.as_bytes()), Err(Refusal::Odd(_))), "{bad}");
        }
        let refused = |status, body: &str| read(status, body.as_bytes()).unwrap_err();
        let said = r#"{"error":"invalid_target","error_description":"secret"}"#;
        assert_eq!(refused(400, said), Refusal::Error("invalid_target".to_owned()));
        assert_eq!(refused(503, said), Refusal::Trouble("HTTP 503 invalid_target".to_owned()));
        assert_eq!(refused(400, "no"), Refusal::Odd("HTTP 400 ".to_owned()));
        assert_eq!(refused(500, ""), Refusal::Odd("HTTP 500 ".to_owned()));
    }

    #[test]
    fn a_token_is_renewed_a_minute_before_its_end_or_a_tenth_of_its_time() {
        for (lasts, used) in [(600, 540), (3_600, 3_540), (100, 90), (0, 0)] {
            assert_eq!(used_for(Duration::from_secs(lasts)), Duration::from_secs(used));
        }
    }
}
