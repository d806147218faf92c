//! Reaches upstreams: connects to sockets on the shard's own ring, has children spawned by the
//! nursery. Not here: when to dial and what to do with the answer, which the domain decides.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SendFlags;

use super::child::Spec;
use super::credential::{Credential, Own};
use super::exchanged::Callers;
use super::nursery::Nurse;
use super::reach::{self, Reach};
use super::websocket;
use crate::base::limits::Limits;
use crate::base::{Moment, ShardId};
use crate::gateway::settings::{
    self, Host, HttpTarget, Peer, Settings, Share, Target, Trust, Upstream,
};
use crate::shard::rt::{self, Address, Socket};
use crate::shard::tls::{Alpn, ClientTls};
use crate::shard::{Dialed, Dialer, Driver, Exchanged, IdentitySink, Post};
use crate::wire::block::{self, Codec};

/// Makes a link of a server and a first connection to it, and the way to others, for messages up to a size.
type Driving = fn(Arc<HttpTarget>, Socket, Reach, usize, Option<Credential>) -> Driver;

/// One shard's way to the upstreams.
pub struct Upstreams {
    shard: ShardId,
    upstreams: Arc<[Upstream]>,
    connect: Duration,
    bytes_max: usize,
    exchanged_max: usize,
    nurse: Option<Nurse>,
    /// Upstreams whose requests carry a token, and who is told when one was refused.
    granted: Option<(BTreeSet<usize>, IdentitySink)>,
    /// What is spoken to endpoints behind TLS, by their number.
    secure: BTreeMap<usize, ClientTls>,
    /// Requests say in headers, too, of which trace they are.
    is_traced: bool,
    /// Tickets of children that live.
    children: BTreeSet<u64>,
}

impl Upstreams {
    /// `upstreams` in the order of the settings; `connect` bounds a connect,
    /// `bytes_max` a message over HTTP.
    pub fn new(
        shard: ShardId,
        upstreams: Arc<[Upstream]>,
        connect: Duration,
        bytes_max: usize,
        nurse: Option<Nurse>,
        granted: Option<(BTreeSet<usize>, IdentitySink)>,
    ) -> Self {
        Self {
            shard,
            upstreams,
            connect,
            bytes_max,
            exchanged_max: Limits::DEFAULT.exchanged_max,
            nurse,
            granted,
            secure: BTreeMap::new(),
            is_traced: false,
            children: BTreeSet::new(),
        }
    }

    /// The limit of this name.
    #[must_use]
    pub const fn exchanged_max(mut self, exchanged_max: usize) -> Self {
        self.exchanged_max = exchanged_max;
        self
    }

    /// Whether requests over HTTP say in headers, too, of which trace they are.
    #[must_use]
    pub const fn traced(mut self, is_traced: bool) -> Self {
        self.is_traced = is_traced;
        self
    }
}

impl Dialer for Upstreams {
    fn renew(&mut self, settings: &Settings) {
        let next = settings.upstreams.iter().cloned().collect();
        let before = std::mem::replace(&mut self.upstreams, next);
        // Where there is another now, its sessions are not the other's, nor whom it trusts.
        let both = settings::endpoints(&before).zip(settings::endpoints(&self.upstreams));
        let others = both.enumerate().filter(|(_, (before, next))| before != next);
        for (number, _) in others {
            self.secure.remove(&number);
        }
        self.connect = settings.limits.connect;
        self.bytes_max = settings.limits.frame_bytes_max;
        self.exchanged_max = settings.limits.exchanged_max;
    }

    fn dial(&mut self, endpoint: usize, ticket: u64, post: &Post) {
        super::http::mirror_traces(self.is_traced);
        let found = settings::endpoints(&self.upstreams).nth(endpoint);
        let credential = found.and_then(|(index, _)| self.credential(index));
        let Some((upstream, target)) =
            found.map(|(index, target)| (&self.upstreams[index], target))
        else {
            return post.dialed(ticket, Err("there is no such endpoint".to_owned()));
        };
        match target {
            Target::Tcp { address } => {
                self.connect(Peer::Tcp(address.clone()), None, ticket, post);
            }
            Target::Unix { path } => self.connect(Peer::Unix(path.clone()), None, ticket, post),
            Target::Blocks { peer, codec } => {
                self.connect(peer.clone(), Some(*codec), ticket, post);
            }
            Target::Tls { address, trust } => {
                let (address, trust) = (address.clone(), Arc::clone(trust));
                let tls = self.tls(endpoint, &trust, None);
                Self::connect_secure(tls.map(|tls| self.way(address, Some(tls))), ticket, post);
            }
            Target::Http(target) => {
                let target = target.clone();
                let protocol = if target.is_http2 { Alpn::Http2 } else { Alpn::Http1 };
                let way = self.way_of(endpoint, &target, protocol);
                self.reach(target, way, super::http::driver, credential, (ticket, post));
            }
            Target::WebSocket(target) => {
                let target = target.clone();
                let way = self.way_of(endpoint, &target, Alpn::Http1);
                self.reach(target, way, websocket::driver, credential, (ticket, post));
            }
            Target::Stdio { command, args, env, cwd } => {
                let Some(nurse) = &self.nurse else {
                    return post.dialed(ticket, Err("there is no nursery".to_owned()));
                };
                let spec = Spec {
                    name: upstream.name.clone(),
                    command: command.clone(),
                    args: args.clone(),
                    env: env.clone(),
                    cwd: cwd.clone(),
                };
                self.children.insert(ticket);
                nurse.spawn(self.shard, ticket, spec, post.clone());
            }
            Target::Builtin { .. } => {
                post.dialed(ticket, Err("the built-in upstream is not dialled".to_owned()));
            }
        }
    }

    fn granted(&mut self, upstream: usize, token: Arc<str>) {
        super::credential::set(upstream, token);
    }

    fn exchanged(&mut self, now: Moment, exchanged: Exchanged) {
        super::exchanged::set(now, exchanged);
    }

    fn released(&mut self, ticket: u64) {
        if self.children.remove(&ticket)
            && let Some(nurse) = &self.nurse
        {
            nurse.release(self.shard, ticket);
        }
    }
}

impl Upstreams {
    /// What requests to an upstream carry, besides what the operator says.
    fn credential(&self, upstream: usize) -> Option<Credential> {
        let (granted, sink) = self.granted.as_ref()?;
        let (sink, shard, max) = (sink.clone(), self.shard, self.exchanged_max);
        if !granted.contains(&upstream) {
            return None;
        }
        let is_for_callers = self.upstreams.get(upstream)?.share == Share::Never;
        Some(if is_for_callers {
            Credential::Callers(Callers { shard, upstream, sink, max })
        } else {
            Credential::Own(Own::new(upstream, sink))
        })
    }

    /// A server behind a URL is there if it can be connected to; that connection carries the first request.
    fn reach(
        &self,
        target: HttpTarget,
        way: Result<Reach, String>,
        driver: Driving,
        credential: Option<Credential>,
        (ticket, post): (u64, &Post),
    ) {
        let way = match way {
            Ok(way) => way,
            Err(why) => return post.dialed(ticket, Err(why)),
        };
        let (post, bytes_max) = (post.clone(), self.bytes_max);
        let target = Arc::new(target);
        rt::spawn(async move {
            match way.connect().await {
                Ok(first) => {
                    post.driven(ticket, driver(target, first, way, bytes_max, credential));
                }
                Err(error) => post.dialed(ticket, Err(error.to_string())),
            }
        });
    }

    fn way(&self, host: Host, tls: Option<ClientTls>) -> Reach {
        Reach { host, tls, within: self.connect }
    }

    fn way_of(
        &mut self,
        endpoint: usize,
        target: &HttpTarget,
        protocol: Alpn,
    ) -> Result<Reach, String> {
        let tls = target.trust.as_ref().map(|trust| self.tls(endpoint, trust, Some(protocol)));
        Ok(self.way(target.address.clone(), tls.transpose()?))
    }

    /// What is spoken to an endpoint: made once, because it keeps the sessions that may be resumed.
    fn tls(
        &mut self,
        endpoint: usize,
        trust: &Trust,
        protocol: Option<Alpn>,
    ) -> Result<ClientTls, String> {
        if let Some(tls) = self.secure.get(&endpoint) {
            return Ok(tls.clone());
        }
        let tls = ClientTls::new(trust, protocol)?;
        self.secure.insert(endpoint, tls.clone());
        Ok(tls)
    }

    fn connect_secure(way: Result<Reach, String>, ticket: u64, post: &Post) {
        let way = match way {
            Ok(way) => way,
            Err(why) => return post.dialed(ticket, Err(why)),
        };
        let post = post.clone();
        rt::spawn(async move {
            let outcome = way.connect().await.map_err(|error| error.to_string());
            let dialed =
                |socket| Dialed { socket, input: None, blocks: None, tells_its_end: false };
            post.dialed(ticket, outcome.map(dialed));
        });
    }

    fn connect(&self, peer: Peer, blocks: Option<Codec>, ticket: u64, post: &Post) {
        let (post, within) = (post.clone(), self.connect);
        rt::spawn(async move {
            let connected = match peer {
                Peer::Tcp(host) => reach::connect(&host, within).await,
                Peer::Unix(path) => rt::connect(&Address::Unix(path), within).await,
            };
            let outcome = match connected {
                Ok(socket) => agree(&socket, blocks, within).await.map(|()| Dialed {
                    socket: socket.into(),
                    input: None,
                    blocks,
                    tells_its_end: false,
                }),
                Err(error) => Err(error.to_string()),
            };
            post.dialed(ticket, outcome);
        });
    }
}

/// Asks for blocks on a connection that has just been made, where they are wanted.
async fn agree(socket: &OwnedFd, blocks: Option<Codec>, within: Duration) -> Result<(), String> {
    let Some(codec) = blocks else { return Ok(()) };
    let question = block::offer(codec);
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    // It fits, for nothing was sent before.
    match rustix::net::send(socket, question.as_bytes(), flags) {
        Ok(n) if n == question.len() => {}
        Ok(_) => return Err("the question for compression could not be sent".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    match rt::first_line(socket, block::HELLO_BYTES_MAX, within).await {
        Ok(line) => block::read_answer(&line, codec),
        Err(error) => Err(format!("asked for compression, it gave no answer: {error}")),
    }
}
