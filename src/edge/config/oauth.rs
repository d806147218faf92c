//! The `oauth` table of an upstream: how a token is asked for that its requests carry, one of our own (RFC 6749
//! section 4.4) or one in exchange for each caller's (RFC 8693).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::jwt::{is_trusted, one_or_more};
use super::read::{Field, Reader};

/// The gateway's own credentials at an authorization server, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub token_url: String,
    pub client_id: String,
    pub client_secret: Secret,
    /// The secret goes into the body instead of `Authorization` (RFC 6749 section 2.3.1).
    pub is_posted: bool,
    pub scopes: Vec<String>,
    /// For whom the token is to be (RFC 8707).
    pub resource: Option<String>,
    /// Whom to believe who the server is, instead of whom the system does.
    pub ca_file: Option<PathBuf>,
    /// It is one in exchange for each caller's token; `None`: one of our own.
    pub exchange: Option<Exchange>,
}

/// What a token is asked for in exchange for a caller's (RFC 8693 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// For whom it is to be, by the name that the authorization server knows.
    pub audience: Option<String>,
    pub subject_token_type: SubjectTokenType,
}

/// What a caller's token is called (RFC 8693 section 3). It is a JWT either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SubjectTokenType {
    #[default]
    AccessToken,
    Jwt,
}

impl SubjectTokenType {
    pub const fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// A text that stays out of every log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `None` after why not was told.
pub(super) fn read(field: &Field<'_>, variables: &BTreeMap<String, String>) -> Option<Grant> {
    let mut reader = field.table();
    let token_url = reader.field("token_url");
    let client_id = reader.field("client_id");
    let secret = secret(&mut reader, field, variables);
    let scopes = reader.field("scopes").and_then(|field| one_or_more(&field)).unwrap_or_default();
    let resource = reader.field("resource").and_then(|field| field.text("a URL"));
    let is_posted =
        reader.field("auth").and_then(|field| field.choice(&[("basic", false), ("post", true)]));
    let ca_file = reader.field("ca_file").and_then(|field| field.path());
    let exchange = exchange(&mut reader);
    reader.finish();
    let (Some(token_url), Some(client_id)) = (token_url, client_id) else {
        field.fault("needs token_url and client_id", "they are those of the authorization server");
        return None;
    };
    let url = token_url.text("a URL such as \"https://as.example.com/token\"")?;
    if !is_trusted(url) {
        let what = "the secret must travel over HTTPS";
        token_url.fault(what, "write https://…; http:// only for this machine");
        return None;
    }
    Some(Grant {
        token_url: url.to_owned(),
        client_id: client_id.text("the gateway's name at the authorization server")?.to_owned(),
        client_secret: secret?,
        is_posted: is_posted.unwrap_or(false),
        scopes,
        resource: resource.map(str::to_owned),
        ca_file,
        exchange,
    })
}

/// What goes with `grant = "token-exchange"`, and with nothing else.
fn exchange(reader: &mut Reader<'_>) -> Option<Exchange> {
    let kinds = [("client-credentials", false), ("token-exchange", true)];
    let is_exchange = reader.field("grant").and_then(|field| field.choice(&kinds)).unwrap_or(false);
    let audience = reader.field("audience");
    let kind = reader.field("subject_token_type");
    if !is_exchange {
        for field in audience.iter().chain(&kind) {
            field.fault("has no meaning here", "it goes with grant = \"token-exchange\"");
        }
        return None;
    }
    let kinds = [("access_token", SubjectTokenType::AccessToken), ("jwt", SubjectTokenType::Jwt)];
    let audience =
        audience.and_then(|field| Some(field.text("a name such as \"crm\"")?.to_owned()));
    let kind = kind.and_then(|field| field.choice(&kinds));
    Some(Exchange { audience, subject_token_type: kind.unwrap_or_default() })
}

/// From the environment, or from a file of its own: whoever reads the configuration does not have it.
fn secret(
    reader: &mut Reader<'_>,
    section: &Field<'_>,
    variables: &BTreeMap<String, String>,
) -> Option<Secret> {
    let variable = reader.field("client_secret_env");
    let file = reader.field("client_secret_file");
    match (variable, file) {
        (Some(variable), None) => {
            let name = variable.text("the name of a variable of the environment")?;
            let Some(secret) = variables.get(name).filter(|secret| !secret.is_empty()) else {
                variable.fault(format!("the environment has no {name}"), "set it to the secret");
                return None;
            };
            Some(Secret(secret.clone()))
        }
        (None, Some(file)) => {
            let path = file.path()?;
            match std::fs::read_to_string(&path) {
                Ok(text) => Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => {
                    file.fault(format!("{} cannot be read: {error}", path.display()), "");
                    None
                }
            }
        }
        _ => {
            let what = "needs one of client_secret_file and client_secret_env";
            section.fault(what, "the second names the variable that holds it");
            None
        }
    }
}
