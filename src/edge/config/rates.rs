//! The `[rates]` section: how much may come in a second, of a principal and of all.

use super::read::Reader;
use crate::gateway::rate::Rates;

/// `None` where nothing is limited: so it is said, or nothing is said and only this machine can ask.
pub(super) fn read(mut reader: Reader<'_>, is_seen: bool) -> Option<Rates> {
    let mut rates = Rates::DEFAULT;
    let mut is_said = false;
    let is_enabled = reader.field("enabled").and_then(|field| field.boolean());
    for (key, rate) in [
        ("messages", &mut rates.messages),
        ("calls", &mut rates.calls),
        ("subscriptions", &mut rates.subscriptions),
        ("all", &mut rates.all),
    ] {
        if let Some(field) = reader.field(key) {
            is_said = true;
            let value = field.integer(0..=Rates::MAX.into());
            *rate = value.and_then(|value| u32::try_from(value).ok()).unwrap_or(*rate);
        }
    }
    reader.finish();
    is_enabled.unwrap_or(is_seen || is_said).then_some(rates)
}
