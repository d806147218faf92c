//! Every bound of the house, with its default and its reason. A limit's name stands in the error that
//! it causes. Operators change them in the configuration's `[limits]`.

use std::time::Duration;

/// Bytes of lines that a block holds at most (`block_bytes_max`). Not to be configured: both ends must mean the same.
/// What a longer one would save is little, and it is compressed in one go; below 65,535 LZ4 works in 8 KB of memory.
pub const BLOCK_BYTES_MAX: usize = 64_000;
/// Messages that a block has at most: who takes it handles them in one go.
pub const BLOCK_MESSAGES_MAX: usize = 100;

/// Bytes that a message must have to be compressed where nothing else waits with it: the first window of a TCP connection
/// (RFC 6928) takes fewer than ten segments at once, so what it shrinks to arrives no sooner, and packing takes time.
pub const BLOCK_LONE_BYTES_MIN: usize = 14_000;

/// One gateway's limits. Units are in the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line or body taken. All SDKs default to 4 MiB for HTTP; one bound for every transport.
    pub frame_bytes_max: usize,
    /// Bytes waiting on a client link above which its reading stops: about one socket buffer. It is slowed down before,
    /// and sooner if its peer is slow (`base::pressure`).
    pub outbox_bytes_max: usize,
    /// Bytes waiting on a client link above which it is closed: several answers as large as a frame
    /// may be, since those in flight when reading stopped still arrive.
    pub outbox_bytes_hard_max: usize,
    /// Bytes waiting on an upstream link above which new flights to it are refused; at twice as many it is given up.
    pub upstream_outbox_bytes_max: usize,
    /// Requests of one client link under way at once; beyond, its reading stops.
    pub flights_per_link_max: usize,
    /// Requests under way on a shard. Beyond, requests are refused; half of what a slab can hold.
    pub flights_max: usize,
    /// Client links a shard takes; beyond, a new one is closed. Where there are several principals, one has
    /// half of them at most, so that it does not lock the others out.
    pub clients_max: usize,
    /// Connections that the listener for TCP has open at once, on all shards together (`tcp.max_connections`); beyond,
    /// a new one is reset. Some 350 MB where each has a
    /// read pending into a buffer of its own.
    pub tcp_connections_max: usize,
    /// The same of the listener for HTTP (`http.max_connections`), with what became a WebSocket; beyond, 503.
    pub http_connections_max: usize,
    /// The same of the Unix socket (`unix.max_connections`); beyond, a new one is closed.
    pub unix_connections_max: usize,
    /// Connections or children that an upstream may have for clients that need one of their own. Where it is asked on
    /// behalf of its callers, one of them has half of these at most, so that it does not lock the others out.
    pub lanes_max: usize,
    /// Messages in a batch (MCP 2025-03-26); TypeScript's SDK has the same bound. Lines in a message over WebSocket, too.
    pub batch_messages_max: usize,
    /// Bytes of a block of lines (`wire::block`) from which on it is compressed, where that was agreed on: what fits in
    /// one packet arrives no sooner for being shorter.
    pub compress_bytes_min: usize,
    /// Resources a client may subscribe to.
    pub subscriptions_max: usize,
    /// Bytes of the URIs and tasks that a client watches, together: each is kept several times over, here and at its
    /// upstream, and an upstream of 2026-07-28 is told all of them with each change.
    pub subscription_bytes_max: usize,
    /// Longest URI that is subscribed to, since it is kept, several times over; and that is held against a
    /// policy, in all its spellings. More than the 8,000 bytes that RFC 9110 section 4.1 wants taken.
    pub uri_bytes_max: usize,
    /// Bytes of what a session remembers of its client (capabilities and clientInfo): thousands are open.
    pub session_bytes_max: usize,
    /// Pages followed in one upstream's list: a server whose cursor never ends must not hold us.
    pub list_pages_max: usize,
    /// Bytes of one merged list.
    pub list_bytes_max: usize,
    /// Bytes of upstreams' lists that a shard keeps: some hundred servers with hundreds of tools each.
    pub lists_bytes_max: usize,
    /// How long a list is kept of which its upstream does not say how long it is good: short enough that nobody
    /// waits long for what an old server does not tell of, long enough that a fleet of agents asks once. 0: no list
    /// is kept.
    pub list_ttl: Duration,
    /// Times one call may ask back before it is given up: a server that only ever asks.
    pub ask_rounds_max: u32,
    /// Tokens (JWTs) that a shard remembers as verified; beyond, those that were not used for the longest are
    /// verified anew. About 100 bytes each.
    pub tokens_max: usize,
    /// Callers' tokens that were exchanged for others, for upstreams that are asked on behalf of their callers: kept by
    /// each shard, and for each such upstream once for all of them. Beyond, some that nobody waits for are exchanged
    /// anew; while somebody waits for each, no more are begun. Some 2 KiB each.
    pub exchanged_max: usize,
    /// Tasks that a shard remembers, for lists and news; beyond, it forgets the oldest. Some 500 bytes each, and none
    /// is needed to find a task by its id.
    pub tasks_max: usize,
    /// Bytes of results that a shard keeps of tasks that had ended before they began; beyond, it forgets the oldest.
    /// What else it remembers of a task, `tasks_max` bounds.
    pub task_bytes_max: usize,
    /// How long a client may take over its TLS handshake: three round trips of the slowest network, and some more for
    /// packets that are lost. Who takes longer holds a connection.
    pub tls_handshake: Duration,
    /// How long an upstream may take to be connected, probed and initialized.
    pub connect: Duration,
    /// How long a probe for the era may take before the upstream counts as legacy. Generous, because a
    /// server that starts slowly on a busy host must not be taken for an old one.
    pub probe: Duration,
    /// How long a request may take; progress starts it anew.
    pub request: Duration,
    /// How long `tasks/result` may wait for a task to end, and a shard remember one: longer than anybody looks on,
    /// shorter than what servers keep by default grows old.
    pub task: Duration,
    /// How long a person may take over a form before the call that asked is given up.
    pub form: Duration,
    /// How long a legacy server's first question waits for others of the same call, so that a modern
    /// client is asked once: longer than a burst takes to arrive, shorter than anybody notices.
    pub ask_gather: Duration,
    /// How long a verdict "legacy" is believed before a restart probes again.
    pub verdict: Duration,
    /// Calls of an upstream that fail in a row, by time or by a broken connection, before its breaker opens.
    pub breaker_failures: u32,
    /// How long callers are then refused at once, before one is let through to try.
    pub breaker_open: Duration,
    /// Answers in a row that close it again.
    pub breaker_successes: u32,
    /// How long an endpoint may be idle before it is asked whether it is there.
    pub health: Duration,
    /// How long it has to say so before its connection is reset: a busy host is slower than a dead one.
    pub health_wait: Duration,
    /// Calls that one connection of a pool holds: above 0.8 of that there is another. What a server of one process
    /// works on at a time is fewer; more than these it only keeps waiting.
    pub lane_flights: usize,
    /// How often a call that was lost on its way, and may be made again, is made again at another endpoint. Once: what
    /// is lost at two endpoints, one after the other, is likelier to be their end than they its.
    pub retries: u32,
    /// How long such a call waits for one endpoint where another could serve it; then it is made again there, in what
    /// is left of `request`. A third of that: so the other has the most of it.
    pub attempt: Duration,
    /// How long a link may stay blocked before it is closed. The time begins anew whenever its peer has taken an eighth
    /// of `outbox_bytes_max`.
    pub blocked: Duration,
    /// How long a link that is closing may take in all over what still waits for it, counted from the first of it that
    /// is taken; each piece has its own, shorter time. As much as an outbox may hold (`outbox_bytes_hard_max`) passes at
    /// half a megabit a second; who is slower keeps memory and a connection that are of no more use to anybody.
    pub closing: Duration,
    /// How long everything goes on, told to end, while `/ready` says 503 and each answer over HTTP that it is its
    /// connection's last: what a balancer takes to notice, so that no request meets a closing connection. 0: the drain
    /// begins at once, which suits who has none.
    pub notice: Duration,
    /// How long flights may go on once a drain has begun.
    pub drain: Duration,
    /// How long a connection that was a client's own waits for another that needs the same.
    pub lane_idle: Duration,
    /// How long a session over HTTP lives unused.
    pub session_idle: Duration,
    /// How often a quiet event stream says that it lives, and how long a POST waits before it becomes one:
    /// what all SDKs do, and less than proxies wait.
    pub sse_beat: Duration,
    /// How long the head of an HTTP request may take from its first byte on: who trickles it holds a
    /// connection.
    pub head: Duration,
    /// How long its body may take: 4 MiB in that time is a slow mobile link. A line of a client's over TCP or a Unix
    /// socket has as long from its first byte on, and up to twice that: the gateway holds what has come of it.
    pub body: Duration,
    /// How long an HTTP connection may be without a request.
    pub keep_alive: Duration,
    /// How often a WebSocket's peer is asked whether it is there.
    pub ws_ping: Duration,
    /// How long it may be silent, pongs included, before it is given up.
    pub ws_idle: Duration,
    /// How long a message in fragments may take.
    pub ws_fragments: Duration,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        frame_bytes_max: 4 << 20,
        outbox_bytes_max: 100 << 10,
        outbox_bytes_hard_max: 16 << 20,
        upstream_outbox_bytes_max: 16 << 20,
        flights_per_link_max: 1_024,
        flights_max: 1 << 20,
        clients_max: 10_000,
        tcp_connections_max: 10_000,
        http_connections_max: 10_000,
        unix_connections_max: 10_000,
        lanes_max: 256,
        batch_messages_max: 100,
        compress_bytes_min: 1 << 10,
        subscriptions_max: 1_000,
        subscription_bytes_max: 256 << 10,
        uri_bytes_max: 8 << 10,
        session_bytes_max: 16 << 10,
        list_pages_max: 100,
        list_bytes_max: 16 << 20,
        lists_bytes_max: 64 << 20,
        list_ttl: Duration::from_mins(1),
        ask_rounds_max: 32,
        tokens_max: 10_000,
        exchanged_max: 10_000,
        tasks_max: 10_000,
        task_bytes_max: 16 << 20,
        tls_handshake: Duration::from_secs(10),
        connect: Duration::from_secs(20),
        probe: Duration::from_secs(10),
        request: Duration::from_secs(30),
        task: Duration::from_hours(1),
        form: Duration::from_mins(10),
        ask_gather: Duration::from_millis(20),
        verdict: Duration::from_mins(10),
        breaker_failures: 5,
        breaker_open: Duration::from_secs(30),
        breaker_successes: 2,
        health: Duration::from_secs(30),
        health_wait: Duration::from_secs(5),
        lane_flights: 64,
        retries: 1,
        attempt: Duration::from_secs(10),
        blocked: Duration::from_secs(5),
        closing: Duration::from_mins(5),
        notice: Duration::ZERO,
        drain: Duration::from_secs(30),
        lane_idle: Duration::from_mins(5),
        session_idle: Duration::from_hours(1),
        sse_beat: Duration::from_secs(15),
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        keep_alive: Duration::from_secs(75),
        ws_ping: Duration::from_secs(30),
        ws_idle: Duration::from_mins(5),
        ws_fragments: Duration::from_secs(30),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

// How the limits lean on each other.
const _: () = {
    let limits = Limits::DEFAULT;
    assert!(limits.outbox_bytes_max < limits.outbox_bytes_hard_max);
    // One answer of the largest size must fit a link that is otherwise empty, with room for others.
    assert!(limits.outbox_bytes_hard_max >= 2 * limits.frame_bytes_max);
    assert!(limits.flights_per_link_max <= limits.flights_max);
    assert!(limits.flights_max <= super::slab::Key::<()>::SLOTS_MAX as usize / 2);
    assert!(limits.list_bytes_max <= limits.outbox_bytes_hard_max);
    assert!(limits.compress_bytes_min < BLOCK_BYTES_MAX);
    assert!(limits.uri_bytes_max < limits.subscription_bytes_max);
    // The longest list can be kept; it is there twice, as it came and as it goes.
    assert!(limits.list_bytes_max < limits.lists_bytes_max / 2);
    // A silent peer is asked before it is given up.
    assert!(limits.ws_ping.as_millis() < limits.ws_idle.as_millis());
    // A probe that fails must leave time for the initialize that follows.
    assert!(limits.probe.as_millis() < limits.connect.as_millis());
};
