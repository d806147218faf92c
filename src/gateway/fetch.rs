//! Lists for clients: from the catalog if it has them, else fetched from the upstream, once for all who wait. A
//! fetch is the gateway's own request on the shared lane; who waits has a flight as for any other request, with a
//! time of its own, and may give up. A client that has a lane of its own at an upstream asks there itself: what a
//! server offers may depend on who it can ask.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::catalog::{Audience, Hint, Kept, Place, digest};
use super::door::Effects;
use super::flight::{Asker, Flight, FlightKey, Stage};
use super::forward::refused_by_breaker;
use super::greet;
use super::inbound::Asked;
use super::lane::LaneKey;
use super::principal::Principal;
use super::tally::End;
use super::timer::Alarm;
use super::{ClientKey, Gateway, answer, request};
use crate::base::{Key, Now};
use crate::mcp::{Code, Era, Method, Notice, Params};
use crate::wire::{Json, Splice};

pub type FetchKey = Key<Fetch>;

/// A list on its way.
#[derive(Debug)]
pub struct Fetch {
    place: Place,
    /// What the upstream is told that its client can.
    capabilities: Box<str>,
    /// Who asked first. What is private is for nobody else.
    principal: Principal,
    /// The request for a page.
    pub(super) flight: Option<FlightKey>,
    pages: Vec<Box<str>>,
    bytes: usize,
    hint: Hint,
    /// It changed meanwhile: who waits gets it, and nobody after them.
    is_stale: bool,
    /// Those that gave up are still here until there is no room.
    waiters: Vec<FlightKey>,
}

impl Fetch {
    pub(super) const fn upstream(&self) -> usize {
        self.place.upstream
    }
}

impl Gateway {
    /// Asks an upstream for a list, on behalf of a client.
    pub(super) fn launch_list(
        &mut self,
        now: Now,
        asker: Asker,
        upstream: usize,
        asked: &Asked<'_>,
        out: &mut Effects,
    ) {
        let (method, params, parsed) = (asked.method, asked.params, asked.parsed);
        let is_whole = matches!(asker, Asker::Gather { .. });
        if let Some((place, capabilities)) =
            self.place_of(asked.client, upstream, method, parsed, is_whole)
        {
            if let Some(kept) = self.kept(now, asked.client, place, &capabilities) {
                return self.give(now, asker, upstream, method, &kept, out);
            }
            if self.too_many(asked.client).is_none() {
                let key = self.open(now, asker, asked.client, upstream, method, parsed);
                self.pause_if_many(asked.client, out);
                return self.join(now, key, place, &capabilities, out);
            }
        }
        self.launch(now, asker, upstream, method, params, parsed, out);
    }

    /// A list that waited for its upstream: true if it waits for a fetch now, or has been given.
    pub(super) fn join_list(
        &mut self,
        now: Now,
        key: FlightKey,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) -> bool {
        let Some(flight) = self.flights.get(key) else { return false };
        let (upstream, method) = (flight.upstream, flight.method);
        let is_whole = matches!(flight.asker, Asker::Gather { .. });
        let Some(client) = flight.client() else { return false };
        let Some((place, capabilities)) = self.place_of(client, upstream, method, parsed, is_whole)
        else {
            return false;
        };
        match self.kept(now, client, place, &capabilities) {
            Some(kept) => {
                if let Some(mut flight) = self.close(key, out) {
                    self.settle_flight(&mut flight, End::Answered, out);
                    self.give(now, flight.asker, upstream, method, &kept, out);
                }
            }
            None => self.join(now, key, place, &capabilities, out),
        }
        true
    }

    /// Which list a client would share with others, and the capabilities that its upstream is told; `None` where
    /// it shares none.
    fn place_of(
        &self,
        client: ClientKey,
        upstream: usize,
        method: Method,
        parsed: &Params<'_>,
        is_whole: bool,
    ) -> Option<(Place, Box<str>)> {
        let found = self.upstreams.get(upstream)?;
        let is_shared = method.list_member().is_some()
            && !self.settings.limits.list_ttl.is_zero()
            // A page of a list that somebody else may not have begun.
            && parsed.cursor.is_none()
            && !found.is_builtin
            && !self.is_for_callers(upstream);
        let endpoint = self.endpoint_for(client, upstream);
        let era = self.endpoints[endpoint].era().filter(|_| is_shared)?;
        if self.needs_own(client, upstream, era, method, parsed).is_some() {
            return None;
        }
        let found = self.clients.get(client)?;
        // A legacy upstream is told nothing of single clients.
        let capabilities: &str = match (era, parsed.meta.capabilities, &found.session) {
            (Era::Legacy, ..) => "",
            (Era::Modern, Some(own), _) if parsed.meta.is_modern() => own.text(),
            (Era::Modern, _, Some(session)) => &session.capabilities,
            (Era::Modern, _, None) => "{}",
        };
        let audience = self.catalog.audience(upstream, method, found.who.principal);
        let place =
            Place { upstream, method, is_whole, capabilities: digest(capabilities), audience };
        Some((place, capabilities.into()))
    }

    fn kept(
        &self,
        now: Now,
        client: ClientKey,
        place: Place,
        capabilities: &str,
    ) -> Option<Arc<Kept>> {
        let principal = self.clients.get(client)?.who.principal;
        self.catalog.find(now.at, place, principal, capabilities).map(Arc::clone)
    }

    /// Waits for a list with others, or begins to fetch it.
    fn join(
        &mut self,
        now: Now,
        key: FlightKey,
        place: Place,
        capabilities: &str,
        out: &mut Effects,
    ) {
        let flights = &self.flights;
        let under_way = self.fetching.get(&place).copied();
        let fetch = under_way.and_then(|fetch| self.fetches.get_mut(fetch)).filter(|fetch| {
            *fetch.capabilities == *capabilities
                && fetch.flight.is_some_and(|flight| flights.contains(flight))
        });
        if let Some(fetch) = fetch {
            if fetch.waiters.len() == fetch.waiters.capacity() {
                fetch.waiters.retain(|&waiter| flights.contains(waiter));
            }
            fetch.waiters.push(key);
            return;
        }
        let principal = self.principal_of(key).unwrap_or_default();
        let fetch = self.fetches.insert(Fetch {
            place,
            capabilities: capabilities.into(),
            principal,
            flight: None,
            pages: Vec::new(),
            bytes: 0,
            hint: Hint::default(),
            is_stale: false,
            waiters: vec![key],
        });
        self.fetching.insert(place, fetch);
        // Where there is a choice of endpoints, each is asked when one is picked.
        if self.upstreams[place.upstream].balance.is_none()
            && let Err(wait) = self.only_endpoint(place.upstream).breaker.admit(now.at)
        {
            let message = refused_by_breaker(&self.upstreams[place.upstream].name, wait);
            return self.fetch_failed(fetch, Code::ServerUnavailable, &message, out);
        }
        self.ask_page(now, fetch, None, out);
    }

    fn principal_of(&self, key: FlightKey) -> Option<Principal> {
        Some(self.clients.get(self.flights.get(key)?.client()?)?.who.principal)
    }

    fn ask_page(&mut self, now: Now, key: FetchKey, cursor: Option<&str>, out: &mut Effects) {
        let Some(fetch) = self.fetches.get(key) else { return };
        let Place { upstream, method, .. } = fetch.place;
        // For an endpoint of the old era it is left out again; which of several it will be is not known yet.
        let first = &self.endpoints[self.upstreams[upstream].endpoints.start];
        let is_modern =
            self.upstreams[upstream].balance.is_some() || first.era() == Some(Era::Modern);
        let meta = is_modern.then(|| {
            let capabilities = &*fetch.capabilities;
            let of_us = request::Remembered { capabilities, info: greet::SERVER_INFO, level: None };
            format!("\"_meta\":{{{}}}", request::of_the_connection(&of_us))
        });
        let cursor = cursor.map(|cursor| format!("\"cursor\":{cursor}"));
        let params =
            format!("{{{}}}", meta.into_iter().chain(cursor).collect::<Vec<_>>().join(","));
        let (wheel, wait) = (&mut self.wheel, self.settings.limits.request);
        let flight = self.flights.insert_with(|key_of_flight| Flight {
            alarm: Some(wheel.set(now.at, wait, Alarm::Flight(key_of_flight))),
            ..Flight::new(Asker::Fetch(key), upstream, method, Stage::Waiting)
        });
        if let Some(fetch) = self.fetches.get_mut(key) {
            fetch.flight = Some(flight);
        }
        if let Ok(json) = Json::parse(&params) {
            self.place(now, flight, None, json, &Params::read(json), out);
        }
    }

    /// The upstream has answered a fetch with a page, or refused it.
    pub(super) fn fetch_answered(
        &mut self,
        now: Now,
        key: FetchKey,
        lane: LaneKey,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let era = self.lanes.get(lane).map_or(Era::Legacy, super::lane::Lane::era);
        let limits = &self.settings.limits;
        let (bytes_max, pages_max) = (limits.list_bytes_max, limits.list_pages_max);
        let result = match answer {
            Ok(result) => result,
            Err(error) => return self.fetch_refused(key, era, error, out),
        };
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        fetch.bytes += result.text().len();
        if fetch.bytes > bytes_max {
            let message = "the upstream's list is longer than the limit list_bytes_max";
            return self.fetch_failed(key, Code::Internal, message, out);
        }
        fetch.pages.push(result.text().into());
        fetch.hint = fetch.hint.and(Hint::read(result));
        let cursor = result.get("nextCursor").filter(|cursor| cursor.as_str().is_some());
        if let Some(cursor) = cursor
            && fetch.place.is_whole
            && fetch.pages.len() < pages_max
        {
            return self.ask_page(now, key, Some(cursor.text()), out);
        }
        self.fetched(now, key, era, out);
    }

    /// All of it is there.
    fn fetched(&mut self, now: Now, key: FetchKey, era: Era, out: &mut Effects) {
        let Some(fetch) = self.end_fetch(key) else { return };
        let Place { upstream, method, .. } = fetch.place;
        let ttl = fetch.hint.ttl(self.settings.limits.list_ttl);
        let is_private = fetch.hint.is_public == Some(false);
        self.catalog.learn(upstream, method, is_private);
        let kept = Arc::new(Kept {
            era,
            pages: fetch.pages,
            capabilities: fetch.capabilities,
            // Of a server that does not say it is not known.
            is_public: fetch.hint.is_public == Some(true),
            expires: now.at.after(ttl),
            rendered: OnceLock::new(),
        });
        let audience = if is_private { Audience::Only(fetch.principal) } else { Audience::All };
        if !fetch.is_stale && !ttl.is_zero() {
            let place = Place { audience, ..fetch.place };
            self.catalog.keep(place, Arc::clone(&kept), self.settings.limits.lists_bytes_max);
        }
        for waiter in fetch.waiters {
            let Some(principal) = self.principal_of(waiter) else { continue };
            if is_private && principal != fetch.principal {
                let place = Place { audience: Audience::Only(principal), ..fetch.place };
                self.join(now, waiter, place, &kept.capabilities, out);
            } else if let Some(mut flight) = self.close(waiter, out) {
                self.settle_flight(&mut flight, End::Answered, out);
                self.give(now, flight.asker, upstream, method, &kept, out);
            }
        }
    }

    fn end_fetch(&mut self, key: FetchKey) -> Option<Fetch> {
        let fetch = self.fetches.remove(key)?;
        if self.fetching.get(&fetch.place) == Some(&key) {
            self.fetching.remove(&fetch.place);
        }
        Some(fetch)
    }

    /// There will be no list: each who waits is told so.
    pub(super) fn fetch_failed(
        &mut self,
        key: FetchKey,
        code: Code,
        message: &str,
        out: &mut Effects,
    ) {
        let Some(fetch) = self.end_fetch(key) else { return };
        for waiter in fetch.waiters {
            self.fail(waiter, code, message, out);
        }
    }

    /// The upstream's own error goes to each who waits.
    fn fetch_refused(&mut self, key: FetchKey, era: Era, error: Json<'_>, out: &mut Effects) {
        let Some(fetch) = self.end_fetch(key) else { return };
        for waiter in fetch.waiters {
            match self.flights.get(waiter).map(|flight| &flight.asker) {
                Some(Asker::Client { .. }) => self.finish(waiter, era, Err(error), out),
                Some(&Asker::Gather { gather, part, .. }) => {
                    let message = error.get("message").and_then(Json::as_str).unwrap_or_default();
                    self.close(waiter, out);
                    self.gather_failed(gather, part, &message, out);
                }
                _ => {}
            }
        }
    }

    /// Gives a client the list, as far as it may see it.
    fn give(
        &mut self,
        now: Now,
        asker: Asker,
        upstream: usize,
        method: Method,
        kept: &Arc<Kept>,
        out: &mut Effects,
    ) {
        match asker {
            Asker::Gather { gather, part, .. } => self.gather_kept(now, gather, part, kept, out),
            Asker::Client { client, id, era, exchange } => {
                let Some(page) = kept.pages.first() else { return };
                let page = aged(Json::known(page), kept, now, era);
                let page = Json::known(&page);
                let less = self.permitted(client, upstream, method, page);
                let page = less.as_deref().map_or(page, Json::known);
                let translation = answer::Translation {
                    method,
                    from: kept.era,
                    to: era,
                    upstream,
                    routes: &self.routes,
                };
                self.exchanges.reply(&self.clients, client, exchange, out, |out| {
                    answer::write_result(out, &id, page, &translation);
                });
            }
            Asker::Own(_) | Asker::Fetch(_) | Asker::Quorum { .. } => {}
        }
    }

    /// An upstream has said that lists of it are no longer what they were.
    pub(super) fn lists_stale(&mut self, upstream: usize, notice: Notice) {
        let methods: &[Method] = match notice {
            Notice::ToolsChanged => &[Method::ToolsList],
            Notice::PromptsChanged => &[Method::PromptsList],
            Notice::ResourcesChanged => &[Method::ResourcesList, Method::TemplatesList],
            _ => &[],
        };
        for &method in methods {
            self.forget_lists(upstream, Some(method));
        }
    }

    /// Lists of an upstream are asked for anew; without a method, all of them. Who asks from now on does not wait
    /// for what was asked before.
    pub(super) fn forget_lists(&mut self, upstream: usize, method: Option<Method>) {
        self.catalog.forget(upstream, method);
        let fetches = &mut self.fetches;
        self.fetching.retain(|place, key| {
            let is_it =
                place.upstream == upstream && method.is_none_or(|method| place.method == method);
            if is_it && let Some(fetch) = fetches.get_mut(*key) {
                fetch.is_stale = true;
            }
            !is_it
        });
    }
}

/// A page that was kept for a while says for how long it is good now, to who reads that.
fn aged<'k>(page: Json<'k>, kept: &Kept, now: Now, to: Era) -> Cow<'k, str> {
    let left = kept.ttl_ms(now.at);
    let mut splice = Splice::of(page.text());
    match (kept.era, to) {
        (_, Era::Legacy) => return Cow::Borrowed(page.text()),
        (Era::Legacy, Era::Modern) if Hint::read(page) == Hint::default() => {
            // Whether all may have it its server did not say.
            splice.insert_member(page, format!("\"ttlMs\":{left},\"cacheScope\":\"private\""));
        }
        (_, Era::Modern) => match page.get("ttlMs") {
            Some(said) if Hint::read(page).ttl_ms.is_some_and(|ttl| ttl > left) => {
                splice.replace(said.text(), left.to_string());
            }
            _ => return Cow::Borrowed(page.text()),
        },
    }
    let mut bytes = Vec::with_capacity(page.text().len() + 64);
    splice.write(&mut bytes);
    String::from_utf8(bytes).map_or(Cow::Borrowed(page.text()), Cow::Owned)
}
