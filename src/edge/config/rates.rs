//! The `[rates]` section: how much may come in a second, of a principal, of an address and of all.

use std::time::Duration;

use super::read::{Field, Reader};
use crate::gateway::address::Network;
use crate::gateway::rate::Rates;

/// What is limited, and the addresses that are not limited as one. `None` where nothing is: so it is said, or
/// nothing is said and only this machine can ask.
pub(super) fn read(mut reader: Reader<'_>, is_seen: bool) -> (Option<Rates>, Vec<Network>) {
    let mut rates = Rates::DEFAULT;
    let mut is_said = false;
    let is_enabled = reader.field("enabled").and_then(|field| field.boolean());
    for (key, rate) in [
        ("messages", &mut rates.messages),
        ("calls", &mut rates.calls),
        ("subscriptions", &mut rates.subscriptions),
        ("all", &mut rates.all),
        ("connections", &mut rates.connections),
        ("violations", &mut rates.violations),
    ] {
        if let Some(field) = reader.field(key) {
            is_said = true;
            let value = field.integer(0..=Rates::MAX.into());
            *rate = value.and_then(|value| u32::try_from(value).ok()).unwrap_or(*rate);
        }
    }
    let day = Duration::from_hours(24);
    if let Some(block) =
        reader.field("block").and_then(|field| field.duration(Duration::from_secs(1)..=day))
    {
        rates.block = block;
    }
    let trusted = reader.field("trusted").map(|field| networks(&field)).unwrap_or_default();
    reader.finish();
    (is_enabled.unwrap_or(is_seen || is_said).then_some(rates), trusted)
}

fn networks(field: &Field<'_>) -> Vec<Network> {
    let mut networks = Vec::new();
    let texts = match field.as_text() {
        Some(one) if !one.starts_with('[') => vec![one.to_owned()],
        _ => field.texts().unwrap_or_default(),
    };
    for text in texts {
        match Network::parse(&text) {
            Some(network) => networks.push(network),
            None => field.fault(
                format!("{text:?} is no network"),
                "write an address, or a network such as \"10.0.0.0/8\" or \"fd00::/8\"",
            ),
        }
    }
    networks
}
