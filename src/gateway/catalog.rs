//! The catalog: lists of upstreams as they gave them last, each kept for as long as it said or, where it said
//! nothing, for the limit `list_ttl` (2026-07-28 "Caching"). A shard's own: shards share nothing, so each asks
//! once. How lists come in is `fetch`; what a client may see of them is judged anew each time they go out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::principal::Principal;
use crate::base::Moment;
use crate::mcp::{Era, Method};
use crate::wire::Json;

/// However long an upstream says: one that means it would tell of changes, and one that errs must not bind its
/// clients until the next restart.
const TTL_MAX: Duration = Duration::from_hours(1);
/// What an entry takes beside its texts, about.
const ENTRY_BYTES: usize = 256;

/// For whom a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    All,
    Only(Principal),
}

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub upstream: usize,
    pub method: Method,
    /// Every page of it, or the first alone.
    pub is_whole: bool,
    /// Digest of the capabilities that a modern upstream was told; it may offer more to who can more.
    pub capabilities: u64,
    pub audience: Audience,
}

/// One list.
#[derive(Debug)]
pub struct Kept {
    /// How its upstream speaks.
    pub era: Era,
    /// The results of its pages, as the upstream wrote them.
    pub pages: Vec<Box<str>>,
    pub capabilities: Box<str>,
    /// The upstream said that anybody may have it.
    pub is_public: bool,
    pub expires: Moment,
    /// As it stands in merged lists; made when it first does.
    pub rendered: OnceLock<Rendered>,
}

/// A list's entries as clients of a gateway with several upstreams see them.
#[derive(Debug, Default)]
pub struct Rendered {
    /// With commas between.
    pub text: String,
    /// Where each lies in the text, and what its upstream calls it. An entry without a name, or with two, has none.
    pub entries: Vec<(Option<Box<str>>, Range<usize>)>,
}

impl Kept {
    /// How long it is good from now on, in milliseconds, as `ttlMs` says it.
    pub fn ttl_ms(&self, now: Moment) -> u64 {
        u64::try_from(self.expires.since(now).as_millis()).unwrap_or(u64::MAX)
    }

    fn bytes(&self) -> usize {
        let pages: usize = self.pages.iter().map(|page| page.len()).sum();
        // Rendered it is there twice.
        pages * 2 + self.capabilities.len() + ENTRY_BYTES
    }
}

/// What a page says of how long and for whom it is good (2026-07-28 "Caching"), if it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    pub ttl_ms: Option<u64>,
    pub is_public: Option<bool>,
}

impl Hint {
    pub fn read(result: Json<'_>) -> Self {
        let ttl = result.get("ttlMs").and_then(Json::as_f64).filter(|ttl| *ttl >= 0.0);
        let scope = result.get("cacheScope").and_then(Json::as_str);
        Self {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative, and a float that is too large becomes the largest number"
            )]
            ttl_ms: ttl.map(|ttl| ttl as u64),
            is_public: scope.map(|scope| scope == "public"),
        }
    }

    /// What holds for two pages together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        let both = |a: Option<bool>, b: Option<bool>| match (a, b) {
            (Some(a), Some(b)) => Some(a && b),
            (one, other) => one.or(other),
        };
        Self {
            ttl_ms: least(self.ttl_ms, other.ttl_ms),
            is_public: both(self.is_public, other.is_public),
        }
    }

    /// How long it is kept.
    pub fn ttl(self, unsaid: Duration) -> Duration {
        self.ttl_ms.map_or(unsaid, Duration::from_millis).min(TTL_MAX)
    }
}

/// All that one shard keeps.
#[derive(Debug, Default)]
pub struct Catalog {
    kept: BTreeMap<Place, Arc<Kept>>,
    bytes: usize,
    /// Lists that were said to be private: who asks for them asks for itself.
    private: BTreeSet<(usize, Method)>,
}

impl Catalog {
    /// What is kept for this principal and is still good.
    pub fn find(
        &self,
        now: Moment,
        place: Place,
        principal: Principal,
        capabilities: &str,
    ) -> Option<&Arc<Kept>> {
        [Audience::All, Audience::Only(principal)].into_iter().find_map(|audience| {
            let kept = self.kept.get(&Place { audience, ..place })?;
            // Two that differ may have one digest.
            (kept.expires > now && *kept.capabilities == *capabilities).then_some(kept)
        })
    }

    /// For whom it will be, as far as is known.
    pub fn audience(&self, upstream: usize, method: Method, principal: Principal) -> Audience {
        if self.private.contains(&(upstream, method)) {
            Audience::Only(principal)
        } else {
            Audience::All
        }
    }

    /// It was said for whom a list is.
    pub fn learn(&mut self, upstream: usize, method: Method, is_private: bool) {
        if is_private {
            self.private.insert((upstream, method));
        } else {
            self.private.remove(&(upstream, method));
        }
    }

    /// Keeps a list, and makes room for it: what will be good for the shortest time goes first. What is larger than
    /// all the room there is is not kept.
    pub fn keep(&mut self, place: Place, kept: Arc<Kept>, bytes_max: usize) {
        self.remove(place);
        let bytes = kept.bytes();
        if bytes > bytes_max {
            return;
        }
        while self.bytes + bytes > bytes_max {
            let first = self.kept.iter().min_by_key(|(_, kept)| kept.expires);
            let Some((&first, _)) = first else { break };
            self.remove(first);
        }
        self.bytes += bytes;
        self.kept.insert(place, kept);
    }

    /// Lists of an upstream are no longer what they were; without a method, none is.
    pub fn forget(&mut self, upstream: usize, method: Option<Method>) {
        let is_it = |place: &Place| {
            place.upstream == upstream && method.is_none_or(|method| place.method == method)
        };
        let gone: Vec<Place> = self.kept.keys().copied().filter(is_it).collect();
        for place in gone {
            self.remove(place);
        }
    }

    /// Bytes that are kept; never more than the limit `lists_bytes_max`.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, place: Place) {
        if let Some(kept) = self.kept.remove(&place) {
            self.bytes = self.bytes.saturating_sub(kept.bytes());
        }
    }
}

/// FNV-1a: few texts, and a clash costs a fetch and no more.
pub fn digest(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        upstream: 0,
        method: Method::ToolsList,
        is_whole: true,
        capabilities: 0,
        audience: Audience::All,
    };

    fn kept(bytes: usize, expires_ms: u64) -> Arc<Kept> {
        Arc::new(Kept {
            era: Era::Modern,
            pages: vec!["x".repeat(bytes).into()],
            capabilities: "".into(),
            is_public: true,
            expires: Moment::from_micros(expires_ms * 1_000),
            rendered: OnceLock::new(),
        })
    }

    #[test]
    fn what_is_kept_is_found_until_its_time_is_over_and_by_whom_it_is_for() {
        let mut principals = super::super::principal::Principals::default();
        let (a, b) = (principals.acting_as("a"), principals.acting_as("b"));
        let mut catalog = Catalog::default();
        catalog.keep(Place { audience: Audience::Only(a), ..PLACE }, kept(10, 60_000), 1 << 20);
        let at = |ms: u64| Moment::from_micros(ms * 1_000);
        assert!(catalog.find(at(59_999), PLACE, a, "").is_some());
        assert!(catalog.find(at(60_000), PLACE, a, "").is_none());
        assert!(catalog.find(at(0), PLACE, b, "").is_none());
        assert!(catalog.find(at(0), PLACE, a, "{}").is_none(), "others were told to the upstream");
        catalog.forget(0, Some(Method::PromptsList));
        catalog.forget(1, None);
        assert!(catalog.find(at(0), PLACE, a, "").is_some());
        catalog.forget(0, Some(Method::ToolsList));
        assert!(catalog.find(at(0), PLACE, a, "").is_none());
        assert_eq!(catalog.bytes(), 0);
    }

    #[test]
    fn room_is_made_by_what_would_go_first_and_never_exceeded() {
        let mut catalog = Catalog::default();
        let place = |upstream| Place { upstream, ..PLACE };
        let room = 3 * (2_000 + ENTRY_BYTES);
        for (upstream, expires) in [(0, 50), (1, 20), (2, 90), (3, 60)] {
            catalog.keep(place(upstream), kept(1_000, expires), room);
            assert!(catalog.bytes() <= room);
        }
        let has = |catalog: &Catalog, upstream| {
            catalog.find(Moment::START, place(upstream), Principal::ANONYMOUS, "").is_some()
        };
        assert!(has(&catalog, 0) && !has(&catalog, 1) && has(&catalog, 2) && has(&catalog, 3));
        catalog.keep(place(0), kept(10_000, 99), room);
        assert!(!has(&catalog, 0) && has(&catalog, 2), "it would have pushed out all others");
        assert!(catalog.bytes() <= room);
    }

    #[test]
    fn pages_are_good_for_the_shortest_time_and_the_fewest() {
        let hint = |text: &str| Hint::read(Json::parse(text).unwrap());
        let long = hint(r#"{"ttlMs":5000,"cacheScope":"public"}"#);
        let short = hint(r#"{"ttlMs":1e3,"cacheScope":"private"}"#);
        assert_eq!(long.and(short), Hint { ttl_ms: Some(1_000), is_public: Some(false) });
        assert_eq!(hint("{}").and(long), long);
        assert_eq!(hint("{}").ttl(Duration::from_mins(1)), Duration::from_mins(1));
        assert_eq!(hint(r#"{"ttlMs":1e300}"#).ttl(Duration::ZERO), TTL_MAX);
        for odd in [r#"{"ttlMs":-1}"#, r#"{"ttlMs":"5"}"#, r#"{"ttlMs":null}"#] {
            assert_eq!(hint(odd), Hint::default(), "{odd}");
        }
    }
}
