//! The keys of `[upstreams.NAME]` that say how calls are spread: `endpoints`, and how one of them is chosen.
//! What each endpoint leads to is read as an upstream's own keys are (`upstreams::Way`).

use std::collections::BTreeMap;

use super::fault::Findings;
use super::read::{Field, Reader};
use super::tree::Value;
use super::upstreams::Way;
use crate::gateway::policy::Pattern;
use crate::gateway::settings::{ENDPOINTS_MAX, Endpoint, Pool, Rank, Select, Spread, Target};

/// Priorities and weights go so far: enough to order and to shift a percent.
const RANK_MAX: u64 = 100;

/// More connections to one endpoint help nobody: a shard is one thread.
const POOL_MAX: u64 = 64;

/// The keys as they were written.
pub(super) struct Several<'a> {
    pub(super) endpoints: Option<Field<'a>>,
    select: Option<Field<'a>>,
    pool: Option<Field<'a>>,
    idempotent: Option<Field<'a>>,
    trust_annotations: Option<Field<'a>>,
    multiplex: Option<Field<'a>>,
}

impl<'a> Several<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Self {
        Self {
            endpoints: reader.field("endpoints"),
            select: reader.field("select"),
            pool: reader.field("pool"),
            idempotent: reader.field("idempotent"),
            trust_annotations: reader.field("trust_annotations"),
            multiplex: reader.field("multiplex"),
        }
    }

    /// The first endpoint, and all there is to say of it and the others. `only` is what the upstream's own keys
    /// lead to, where it has no `endpoints`.
    pub(super) fn settle(
        self,
        only: Option<Target>,
        variables: &BTreeMap<String, String>,
        findings: &Findings,
    ) -> Option<(Target, Spread)> {
        let (target, rank, others) = match (only, &self.endpoints) {
            (Some(target), _) => (target, Rank::default(), Vec::new()),
            (None, Some(field)) => {
                let mut endpoints = endpoints(field, variables, findings)?.into_iter();
                let first = endpoints.next()?;
                (first.target, first.rank, endpoints.collect())
            }
            (None, None) => return None,
        };
        let pool = self.pool.as_ref().and_then(pool).unwrap_or_default();
        if let (Some(field), Target::Builtin { .. }) = (&self.pool, &target) {
            field.fault("has no meaning beside builtin", "it has no connections; remove it");
        }
        if others.is_empty() && pool.max == 1 {
            let all = [&self.select, &self.idempotent, &self.trust_annotations];
            for field in all.into_iter().flatten() {
                field.warn(
                    "has no effect: there is one endpoint, and one connection to it",
                    "it goes with several [[upstreams.NAME.endpoints]], or with a pool",
                );
            }
        }
        if let (Some(field), true) = (&self.multiplex, others.is_empty()) {
            field.warn(
                "has no effect: there is one endpoint",
                "a call that goes to all of them needs several [[upstreams.NAME.endpoints]]",
            );
        }
        let idempotent = self.idempotent.as_ref().map(patterns).unwrap_or_default();
        let multiplex = self.multiplex.as_ref().map(|field| multiplexed(field, &idempotent));
        let spread = Spread {
            rank,
            others,
            pool,
            select: self.select.as_ref().and_then(select).unwrap_or_default(),
            idempotent,
            multiplex: multiplex.unwrap_or_default(),
            trusts_annotations: self
                .trust_annotations
                .as_ref()
                .and_then(Field::boolean)
                .unwrap_or(false),
        };
        Some((target, spread))
    }
}

fn select(field: &Field<'_>) -> Option<Select> {
    field.choice(&[
        ("round_robin", Select::RoundRobin),
        ("least_loaded", Select::LeastLoaded),
        ("least_latency", Select::LeastLatency),
        ("weighted", Select::Weighted),
        ("adaptive", Select::Adaptive),
    ])
}

/// How many connections clients share at each endpoint.
fn pool(field: &Field<'_>) -> Option<Pool> {
    let mut reader = field.table();
    let (min, max) = (reader.field("min"), reader.field("max"));
    reader.finish();
    let number = |field: Option<&Field<'_>>| match field {
        Some(field) => {
            let number = field.integer(1..=POOL_MAX)?;
            Some(Some(usize::try_from(number).unwrap_or(usize::MAX)))
        }
        None => Some(None),
    };
    let (least, most) = (number(min.as_ref())?, number(max.as_ref())?);
    let pool = Pool { min: least.unwrap_or(1), max: most.or(least).unwrap_or(1) };
    if pool.min > pool.max {
        let what = format!("min ({}) must not be above max ({})", pool.min, pool.max);
        field.fault(what, "a pool has min connections always, and max when there is much to do");
        return None;
    }
    Some(pool)
}

/// Names of tools, as the server itself calls them.
fn patterns(field: &Field<'_>) -> Vec<Pattern> {
    let texts = field.texts().unwrap_or_default();
    let parsed = texts.iter().filter_map(|text| match Pattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            field.fault(
                format!("{text:?}: {why}"),
                "write a tool's name, or one with a *: \"get_*\"",
            );
            None
        }
    });
    parsed.collect()
}

/// Tools whose calls go to all endpoints: each server does what they do.
fn multiplexed(field: &Field<'_>, idempotent: &[Pattern]) -> Vec<Pattern> {
    let all = patterns(field);
    for pattern in &all {
        let text = pattern.to_string();
        // A pattern that matches another one's text, whose star it can only match with its own, matches whatever
        // that one does.
        if !idempotent.iter().any(|idempotent| idempotent.matches(&text)) {
            field.fault(
                format!("{text:?} is not among the idempotent tools, and would be done by every endpoint"),
                "add it to idempotent if doing it several times does no more than once; else leave it out here",
            );
        }
    }
    all
}

/// All endpoints, or nothing if there is a fault in any.
fn endpoints(
    field: &Field<'_>,
    variables: &BTreeMap<String, String>,
    findings: &Findings,
) -> Option<Vec<Endpoint>> {
    let tables = field.tables()?;
    if tables.is_empty() {
        field
            .fault("names no endpoint", "add [[upstreams.NAME.endpoints]] with a url or a command");
        return None;
    }
    if tables.len() > ENDPOINTS_MAX {
        let what = format!("{} endpoints; an upstream has {ENDPOINTS_MAX} at most", tables.len());
        field.fault(what, "make two upstreams of them");
        return None;
    }
    let read: Vec<_> = tables.iter().map(|table| endpoint(table, variables, findings)).collect();
    read.into_iter().collect()
}

fn endpoint(
    section: &Field<'_>,
    variables: &BTreeMap<String, String>,
    findings: &Findings,
) -> Option<Endpoint> {
    let mut reader = section.table();
    if !matches!(section.value(), Value::Table(_) | Value::Nothing) {
        return None;
    }
    let way = Way::read(&mut reader);
    let priority = reader.field("priority");
    let weight = reader.field("weight");
    reader.finish();
    let number = |field: Option<Field<'_>>| match field {
        Some(field) => field.integer(1..=RANK_MAX).and_then(|number| u32::try_from(number).ok()),
        None => Some(1),
    };
    let kind = way.kind(section, [])?;
    let target = way.target(kind, variables, findings);
    let rank = Rank { priority: number(priority)?, weight: number(weight)? };
    Some(Endpoint { target: target?, rank })
}
