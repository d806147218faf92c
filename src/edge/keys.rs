//! `ringgate keys`: makes keys and digests. Keeps neither; what the operator does with them is in README.

use std::io::BufRead as _;

use super::screen;
use crate::gateway::keys::{Digest, is_key, key};

/// A new key and, for the configuration, its digest under the agent's name.
pub fn new(agent: &str) -> Result<(), String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| format!("no random numbers: {error}"))?;
    let key = key(&random);
    let name = serde_json::to_string(agent).map_err(|error| error.to_string())?;
    let digest = Digest::of(key.as_bytes());
    screen::out(&format!("{key}\n{name} = [\"{digest}\"]\n")).map_err(|error| error.to_string())?;
    screen::err("the key is for the agent and is kept nowhere; the line goes under [auth.keys]");
    Ok(())
}

/// The digests of keys on stdin, a line each.
pub fn hash() -> Result<(), String> {
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let line = line.map_err(|error| error.to_string())?;
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        if !is_key(text) {
            return Err(format!(
                "line {number} is no key: rgk_ and 43 letters. What is shorter than 256 random bits can be \
                 guessed from its digest; make one with: ringgate keys new NAME"
            ));
        }
        screen::out(&format!("{}\n", Digest::of(text.as_bytes())))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
