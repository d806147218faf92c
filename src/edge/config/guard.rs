//! The `[guard]` section: what is looked for in the arguments of tools, and what becomes of calls in which it is
//! found. What patterns mean is `gateway::guard`'s business.

use std::sync::Arc;

use super::policy::lists;
use super::read::{Field, Reader};
use crate::gateway::guard::{BUILT_IN, Guard, Mode, Wish};
use crate::gateway::policy::Kind;
use crate::gateway::settings::Upstream;

/// `None` where nothing is looked for. `is_audited`: there is a place to which findings are written.
pub(super) fn read(
    mut reader: Reader<'_>,
    upstreams: &[Upstream],
    is_audited: bool,
) -> Option<Arc<Guard>> {
    let words = [("off", Mode::Off), ("log", Mode::Log), ("deny", Mode::Deny)];
    let mode = reader.field("mode");
    let by_tool = [reader.field("deny"), reader.field("log"), reader.field("off")];
    let patterns = reader.field("patterns");
    let own = reader.field("own");
    reader.finish();
    let chosen = mode.as_ref().and_then(|field| field.choice(&words)).unwrap_or_default();
    let [deny, log, off] = by_tool
        .clone()
        .map(|field| field.map(|it| lists(&it, Kind::Tool, upstreams, None)).unwrap_or_default());
    let built_in = patterns.as_ref().map_or_else(|| BUILT_IN.to_vec(), built_in);
    let own_field = own.clone();
    let own: Vec<(String, String)> = own
        .and_then(|field| field.text_table())
        .map(|table| table.into_iter().collect())
        .unwrap_or_default();
    let logs = if chosen == Mode::Log { mode } else { by_tool[1].clone() };
    if let Some(field) = logs.filter(|_| !is_audited) {
        field.warn(
            "what is found is written to the audit log, and there is none",
            "set audit.to, or let the guard deny",
        );
    }
    let is_off = chosen == Mode::Off && deny.is_empty() && log.is_empty();
    // What is wrong in it is told even where it is off.
    let guard = Guard::compile(Wish { mode: chosen, deny, log, off, built_in, own });
    match guard {
        Ok(guard) => (!is_off).then(|| Arc::new(guard)),
        Err((name, why)) => {
            if let Some(field) = own_field {
                field.fault(
                    format!("the pattern {name:?} cannot be used: {why}"),
                    "write a regular expression without look-around and back references, such as '(?i)\\.corp\\.example$'",
                );
            }
            None
        }
    }
}

fn built_in(field: &Field<'_>) -> Vec<&'static str> {
    let mut chosen = Vec::new();
    for name in field.texts().unwrap_or_default() {
        match BUILT_IN.iter().find(|known| **known == name) {
            Some(known) => chosen.push(*known),
            None => field.fault(
                format!("there is no pattern {name:?}"),
                format!(
                    "there are {}; patterns of your own stand under guard.own",
                    BUILT_IN.join(", ")
                ),
            ),
        }
    }
    chosen
}
