//! Lists that are merged from several upstreams: every page of each, in the order of the
//! configuration, names prefixed. One dead upstream never hides the others.

use std::sync::Arc;

use super::catalog::{Hint, Kept, Rendered};
use super::client::ClientKey;
use super::door::Effects;
use super::exchange::ExchangeKey;
use super::flight::Asker;
use super::inbound::Asked;
use super::lane::LaneKey;
use super::tools::{DESCRIPTORS, Expose, Offer, write_found};
use super::{Gateway, answer};
use crate::base::{Key, Now};
use crate::mcp::{Code, Era, Features, Method, Params};
use crate::wire::{Json, Splice, text};

pub type GatherKey = Key<Gather>;

/// One merged list under way.
#[derive(Debug)]
pub struct Gather {
    client: ClientKey,
    id: Box<str>,
    exchange: Option<ExchangeKey>,
    era: Era,
    method: Method,
    /// The client's `params`, for further pages.
    params: Box<str>,
    parts: Vec<Part>,
    /// Parts still to come; one more while they are being asked for.
    left: usize,
    bytes: usize,
    /// For how long and for whom the whole is good.
    hint: Hint,
    purpose: Purpose,
}

/// What becomes of what upstreams give.
#[derive(Debug)]
pub enum Purpose {
    /// It is merged into one list.
    List,
    /// `get_server_tools`: one upstream's tools, under their own names.
    Offer(Box<Offer>),
}

/// What one upstream gave.
#[derive(Debug)]
struct Part {
    upstream: usize,
    /// Entries, with commas between.
    entries: String,
    /// All of the upstream's, where nothing had to be taken out.
    kept: Option<Arc<Kept>>,
    pages: usize,
    failure: Option<String>,
}

impl Part {
    const fn of(upstream: usize) -> Self {
        Self { upstream, entries: String::new(), kept: None, pages: 0, failure: None }
    }

    fn text(&self) -> &str {
        let rendered = self.kept.as_ref().and_then(|kept| kept.rendered.get());
        rendered.map_or(&*self.entries, |rendered| &*rendered.text)
    }
}

impl Gather {
    /// Whether it has a part of this upstream's.
    pub(super) fn names(&self, upstream: usize) -> bool {
        self.parts.iter().any(|part| part.upstream == upstream)
    }
}

impl Gateway {
    /// A list request: passed on to an only upstream whose names are its own, merged from several.
    pub(super) fn list(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let has_own = asked.method == Method::ToolsList && self.settings.expose.has_tools();
        if has_own && !self.settings.expose.has_names() {
            return self.list_gateway_tools(asked, out);
        }
        if let &[only] = self.routes.order()
            && !has_own
            && self.routes.name_prefix(only).is_empty()
            && self.sees(asked.client, only)
        {
            if self.upstreams[only].is_builtin {
                return self.call_builtin(now, asked, only, "", out);
            }
            return self.launch_list(now, asked.asker(), only, asked, out);
        }
        if asked.parsed.cursor.is_some() {
            let message = "params.cursor is not one of ours: the merged list has a single page";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        }
        self.gather(now, asked, Purpose::List, out);
    }

    /// Asks all upstreams that the purpose is about.
    #[inline(never)]
    pub(super) fn gather(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        purpose: Purpose,
        out: &mut Effects,
    ) {
        let order = match &purpose {
            Purpose::List => self.routes.order().to_vec(),
            Purpose::Offer(offer) => vec![offer.upstream],
        };
        let gather = self.gathers.insert(Gather {
            client: asked.client,
            id: asked.id.into(),
            exchange: asked.exchange,
            era: asked.version.era(),
            method: asked.method,
            params: asked.params.text().into(),
            parts: order.iter().map(|&upstream| Part::of(upstream)).collect(),
            left: order.len() + 1,
            bytes: 0,
            hint: Hint::default(),
            purpose,
        });
        for (part, index) in order.into_iter().enumerate() {
            let upstream = &self.upstreams[index];
            if !self.sees(asked.client, index) {
                self.part_done(gather, out);
            } else if upstream.is_builtin {
                self.gather_builtin(now, gather, part, asked, out);
            } else if upstream.identity.is_some() && !offers(upstream.features(), asked.method) {
                self.part_done(gather, out);
            } else {
                let asker = Asker::Gather { gather, part, client: asked.client };
                self.launch_list(now, asker, index, asked, out);
            }
        }
        self.part_done(gather, out);
    }

    /// An upstream has answered with a page.
    pub(super) fn gather_answered(
        &mut self,
        now: Now,
        key: GatherKey,
        part: usize,
        _lane: LaneKey,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let result = match answer {
            Ok(result) => result,
            Err(error) => {
                let message = error.get("message").and_then(Json::as_str).unwrap_or_default();
                return self.gather_failed(key, part, &message, out);
            }
        };
        if let Err(message) = self.take_page(key, part, result) {
            return self.gather_failed(key, part, message, out);
        }
        let hint = Hint::read(result);
        let (ttl_ms, is_public) = (hint.ttl_ms.or(Some(0)), hint.is_public.or(Some(false)));
        self.hint(key, Hint { ttl_ms, is_public });
        let cursor = result.get("nextCursor").filter(|cursor| cursor.as_str().is_some());
        let Some(gather) = self.gathers.get_mut(key) else { return };
        let (Some(cursor), Some(found)) = (cursor, gather.parts.get_mut(part)) else {
            return self.part_done(key, out);
        };
        found.pages += 1;
        if found.pages >= self.settings.limits.list_pages_max {
            return self.part_done(key, out);
        }
        let upstream = found.upstream;
        let params = gather.params.clone();
        let Ok(json) = Json::parse(&params) else { return };
        let mut splice = Splice::of(json.text());
        splice.insert_member(json, format!("\"cursor\":{}", cursor.text()));
        let mut next = Vec::new();
        splice.write(&mut next);
        let (method, client) = (gather.method, gather.client);
        let Ok(json) = Json::from_bytes(&next) else { return };
        let asker = Asker::Gather { gather: key, part, client };
        self.launch(now, asker, upstream, method, json, &Params::read(json), out);
    }

    fn hint(&mut self, key: GatherKey, hint: Hint) {
        if let Some(gather) = self.gathers.get_mut(key) {
            gather.hint = gather.hint.and(hint);
        }
    }

    /// The whole list of an upstream is there.
    pub(super) fn gather_kept(
        &mut self,
        now: Now,
        key: GatherKey,
        part: usize,
        kept: &Arc<Kept>,
        out: &mut Effects,
    ) {
        let (ttl_ms, is_public) = (Some(kept.ttl_ms(now.at)), Some(kept.is_public));
        self.hint(key, Hint { ttl_ms, is_public });
        let Some(gather) = self.gathers.get(key) else { return };
        if matches!(gather.purpose, Purpose::Offer(_)) {
            for page in &kept.pages {
                if let Err(message) = self.take_page(key, part, Json::known(page)) {
                    return self.gather_failed(key, part, message, out);
                }
            }
            return self.part_done(key, out);
        }
        let (client, method) = (gather.client, gather.method);
        let Some(upstream) = gather.parts.get(part).map(|part| part.upstream) else { return };
        let rendered = kept.rendered.get_or_init(|| self.render(upstream, method, &kept.pages));
        let less = self.settings.policy.is_some().then(|| {
            let mut less = String::new();
            for (name, range) in &rendered.entries {
                if self.may_list_named(client, upstream, method, name.as_deref()) {
                    if !less.is_empty() {
                        less.push(',');
                    }
                    less.push_str(rendered.text.get(range.clone()).unwrap_or_default());
                }
            }
            less
        });
        let Some(gather) = self.gathers.get_mut(key) else { return };
        if let Some(found) = gather.parts.get_mut(part) {
            match less {
                Some(less) => found.entries = less,
                None => found.kept = Some(Arc::clone(kept)),
            }
            gather.bytes += found.text().len();
        }
        match Self::is_short(gather.bytes, self.settings.limits.list_bytes_max) {
            Ok(()) => self.part_done(key, out),
            Err(message) => self.gather_failed(key, part, message, out),
        }
    }

    /// An upstream's entries, called as clients call them here.
    fn render(&self, upstream: usize, method: Method, pages: &[Box<str>]) -> Rendered {
        let prefixes = Prefixes {
            name: self.routes.name_prefix(upstream),
            uri: self.routes.uri_prefix(upstream),
        };
        let (member, (_, key)) =
            (method.list_member().unwrap_or_default(), super::permit::named_by(method));
        let mut rendered = Rendered::default();
        let pages = pages.iter().filter_map(|page| Json::known(page).get(member));
        for entry in pages.flat_map(Json::elements) {
            if self.settings.expose.hides(method, prefixes.name, entry) {
                continue;
            }
            if !rendered.text.is_empty() {
                rendered.text.push(',');
            }
            let start = rendered.text.len();
            write_entry(&mut rendered.text, entry, method, &prefixes);
            let mut names = entry.members().filter(|member| member.is(key));
            let name = match (names.next(), names.next()) {
                (Some(only), None) => only.value.as_str().map(|name| (&*name).into()),
                _ => None,
            };
            rendered.entries.push((name, start..rendered.text.len()));
        }
        rendered
    }

    /// Puts a page's entries to those that are there.
    fn take_page(
        &mut self,
        key: GatherKey,
        part: usize,
        result: Json<'_>,
    ) -> Result<(), &'static str> {
        let Some(gather) = self.gathers.get(key) else { return Ok(()) };
        let (client, method) = (gather.client, gather.method);
        let Some(upstream) = gather.parts.get(part).map(|part| part.upstream) else {
            return Ok(());
        };
        let member = method.list_member().unwrap_or_default();
        let acting = match &gather.purpose {
            Purpose::Offer(offer) => offer.acting.clone(),
            Purpose::List => None,
        };
        let before = std::mem::replace(&mut self.acting, acting);
        let entries: Vec<Json<'_>> = result
            .get(member)
            .into_iter()
            .flat_map(Json::elements)
            .filter(|&entry| self.may_list(client, upstream, method, entry))
            .collect();
        self.acting = before;
        let Some(gather) = self.gathers.get_mut(key) else { return Ok(()) };
        if let Purpose::Offer(offer) = &mut gather.purpose {
            for entry in entries {
                offer.take(entry);
            }
            gather.bytes += result.text().len();
            return Self::is_short(gather.bytes, self.settings.limits.list_bytes_max);
        }
        let prefixes = Prefixes {
            name: self.routes.name_prefix(upstream),
            uri: self.routes.uri_prefix(upstream),
        };
        let Some(found) = gather.parts.get_mut(part) else { return Ok(()) };
        let before = found.entries.len();
        for entry in entries {
            if self.settings.expose.hides(method, prefixes.name, entry) {
                continue;
            }
            if !found.entries.is_empty() {
                found.entries.push(',');
            }
            write_entry(&mut found.entries, entry, method, &prefixes);
        }
        gather.bytes += found.entries.len() - before;
        Self::is_short(gather.bytes, self.settings.limits.list_bytes_max)
    }

    const fn is_short(bytes: usize, bytes_max: usize) -> Result<(), &'static str> {
        if bytes > bytes_max {
            return Err("the merged list is longer than the limit list_bytes_max");
        }
        Ok(())
    }

    fn gather_builtin(
        &mut self,
        now: Now,
        key: GatherKey,
        part: usize,
        asked: &Asked<'_>,
        out: &mut Effects,
    ) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let outcome = self.serve_builtin(
            now,
            asked.method,
            asked.params,
            &super::local::Step::first(asked.parsed),
            &mut text,
        );
        if outcome == super::builtin::Outcome::Done
            && let Ok(result) = Json::from_bytes(&text)
        {
            // Its lists are far below any limit.
            let _ = self.take_page(key, part, result);
        }
        text.clear();
        self.scratch = text;
        self.part_done(key, out);
    }

    /// An upstream has nothing to give: it is left out, unless all are.
    pub(super) fn gather_failed(
        &mut self,
        key: GatherKey,
        part: usize,
        message: &str,
        out: &mut Effects,
    ) {
        if let Some(part) = self.gathers.get_mut(key).and_then(|gather| gather.parts.get_mut(part))
        {
            part.failure = Some(message.to_owned());
        }
        // It may be back at any time.
        self.hint(key, Hint { ttl_ms: Some(0), is_public: None });
        self.part_done(key, out);
    }

    fn part_done(&mut self, key: GatherKey, out: &mut Effects) {
        let Some(gather) = self.gathers.get_mut(key) else { return };
        gather.left = gather.left.saturating_sub(1);
        if gather.left > 0 {
            return;
        }
        let Some(gather) = self.gathers.remove(key) else { return };
        if let Purpose::Offer(offer) = &gather.purpose {
            return self.offer_done(&gather, offer, out);
        }
        let failures: Vec<&str> =
            gather.parts.iter().filter_map(|part| part.failure.as_deref()).collect();
        if failures.len() == gather.parts.len()
            && let Some(first) = failures.first()
        {
            let message = format!("no upstream gave its list: {first}");
            let code = Code::ServerUnavailable.number_in(gather.era);
            let data = "{\"code\":\"SERVER_UNAVAILABLE\"}";
            return self.reply_error(
                gather.client,
                &gather.id,
                gather.exchange,
                code,
                &message,
                Some(data),
                out,
            );
        }
        let expose = self.settings.expose;
        // The built-in upstream says nothing, and never changes.
        let unsaid = u64::try_from(self.settings.limits.list_ttl.as_millis()).unwrap_or(u64::MAX);
        let ttl = gather.hint.ttl_ms.unwrap_or(unsaid);
        // One agent's list must not be kept for another.
        let is_public = gather.hint.is_public != Some(false) && self.settings.policy.is_none();
        let scope = if is_public { "public" } else { "private" };
        self.exchanges.reply(&self.clients, gather.client, gather.exchange, out, |out| {
            answer::open(out, &gather.id);
            out.push(b'{');
            if gather.era == Era::Modern {
                let members = format!(
                    "\"resultType\":\"complete\",\"ttlMs\":{ttl},\"cacheScope\":\"{scope}\","
                );
                out.extend_from_slice(members.as_bytes());
            }
            out.extend_from_slice(
                format!("\"{}\":[", gather.method.list_member().unwrap_or_default()).as_bytes(),
            );
            let mut first = true;
            if gather.method == Method::ToolsList && expose == Expose::Both {
                out.extend_from_slice(DESCRIPTORS.as_bytes());
                first = false;
            }
            for part in gather.parts.iter().map(Part::text).filter(|text| !text.is_empty()) {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                let from = out.len();
                out.extend_from_slice(part.as_bytes());
                super::request::one_line(out, from);
            }
            out.extend_from_slice(b"]}}");
        });
    }

    /// All that can be said of one upstream's tools is there.
    fn offer_done(&mut self, gather: &Gather, offer: &Offer, out: &mut Effects) {
        let server = self.upstreams.get(offer.upstream).map_or("", |upstream| &*upstream.name);
        let (client, exchange) = (gather.client, gather.exchange);
        if let Some(why) = gather.parts.iter().find_map(|part| part.failure.as_deref()) {
            let message = format!("{server} did not give its tools: {why}");
            let data =
                format!("{{\"code\":\"SERVER_UNAVAILABLE\",\"server\":{}}}", text::quoted(server));
            let code = Code::ServerUnavailable.number_in(gather.era);
            let data = Some(&*data);
            return self.reply_error(client, &gather.id, exchange, code, &message, data, out);
        }
        let json = offer.json(server);
        self.exchanges.reply(&self.clients, client, exchange, out, |out| {
            write_found(out, &gather.id, offer.version, &json);
        });
    }

    /// Whether a gather answers the client's request of this id.
    pub(super) fn gather_is(&self, key: GatherKey, id: &str) -> bool {
        self.gathers.get(key).is_some_and(|gather| &*gather.id == id)
    }

    /// The client wants the list no more.
    pub(super) fn cancel_gather(&mut self, key: GatherKey, out: &mut Effects) {
        let Some(gather) = self.gathers.remove(key) else { return };
        let flights = self
            .clients
            .get(gather.client)
            .map(|client| client.flights.clone())
            .unwrap_or_default();
        for flight in flights {
            let is_part = self.flights.get(flight).is_some_and(
                |flight| matches!(flight.asker, Asker::Gather { gather, .. } if gather == key),
            );
            if is_part {
                self.cancel(flight, "the client cancelled", out);
            }
        }
        self.exchanges.settle(&self.clients, gather.exchange, out);
    }

    pub(super) fn drop_gathers(&mut self, client: ClientKey) {
        for key in self.gathers.keys() {
            if self.gathers.get(key).is_some_and(|gather| gather.client == client) {
                self.gathers.remove(key);
            }
        }
    }
}

fn offers(features: Features, method: Method) -> bool {
    match method {
        Method::ToolsList => features.tools,
        Method::PromptsList => features.prompts,
        _ => features.resources,
    }
}

struct Prefixes<'a> {
    name: &'a str,
    uri: &'a str,
}

/// Appends one entry, called as clients call it here.
fn write_entry(out: &mut String, entry: Json<'_>, method: Method, prefixes: &Prefixes<'_>) {
    let mut splice = Splice::of(entry.text());
    let (key, prefix) = match method {
        Method::ResourcesList => ("uri", prefixes.uri),
        Method::TemplatesList => ("uriTemplate", prefixes.uri),
        _ => ("name", prefixes.name),
    };
    if let Some(name) = entry.get(key) {
        answer::prefix_string(&mut splice, name, prefix);
    }
    // The Apps extension names a resource in a tool's `_meta`, in an older and a newer form.
    if let Some(tool_meta) = entry.get("_meta").filter(|_| method == Method::ToolsList) {
        let older = tool_meta.get("ui/resourceUri");
        let newer = tool_meta.get("ui").and_then(|ui| ui.get("resourceUri"));
        for uri in older.into_iter().chain(newer) {
            answer::prefix_string(&mut splice, uri, prefixes.uri);
        }
    }
    let mut bytes = Vec::with_capacity(entry.text().len() + prefix.len());
    splice.write(&mut bytes);
    out.push_str(&String::from_utf8(bytes).unwrap_or_default());
}
