//! Tasks: calls whose answer is a handle, and whose result is fetched later. There are two kinds of them: those of
//! 2025-11-25 ("Tasks", an experiment in the core) and those of the extension `io.modelcontextprotocol/tasks` of
//! 2026-07-28. Clients of either use those of upstreams of either.
//!
//! **Ids.** A task lives in one server process, often in one connection to it. The id that a client gets is sealed: it
//! says which upstream, endpoint and connection, and what the task is called there, and opens for the principal alone
//! that made it (`id`). So routing needs no table, and a gateway that starts again with the same `state_key` goes on.
//! To anybody else the task is unknown (-32602).
//!
//! **What a client wants and what is asked upstream for it** is a [`chore::Chore`], which its flight carries from step to step:
//!
//! | client wants | legacy upstream | modern upstream |
//! |---|---|---|
//! | a call as a task (legacy: `params.task`) | the same | the call with the extension declared; what is answered at once becomes a task that has ended, kept here |
//! | a call (modern, the extension declared) | with `params.task`, if the tool has `taskSupport` | the same |
//! | a call (neither) | as a task, if the tool has `taskSupport: required`; then `tasks/result` | as it is; a legacy client's with the extension after -32021, then `tasks/get` until it has ended |
//! | `tasks/get` (modern) | `tasks/get`, and `tasks/result` once it has ended | the same |
//! | `tasks/get` (legacy) | the same | the same, in the old shape |
//! | `tasks/result` (legacy) | the same | `tasks/get` until it has ended; what it asks, the client is asked, and answered by `tasks/update` |
//! | `tasks/cancel` (modern) | the same, and `tasks/get` where that is refused | the same |
//! | `tasks/cancel` (legacy) | the same | `tasks/get`, then `tasks/cancel` |
//! | `tasks/update` (modern) | the answers of the questions that the server asked about the task | the same |
//! | `tasks/list` (legacy) | `tasks/get` of each that the client began on this shard | the same |
//! | news (legacy: `notifications/tasks/status`) | passed on | none: a modern server tells who listens |
//! | news (modern: `notifications/tasks`) | what `tasks/get` says then | passed on |
//!
//! Questions about a legacy server's task come while `tasks/result` is under way. So for a modern client the gateway
//! asks for the result itself from the beginning, keeps the questions, and keeps the connection (`table`).
//!
//! Not here: whether a client may make the call (`permit`); a task is a call that was allowed, and its id is the proof.

pub mod chore;
mod create;
pub mod id;
mod list;
mod news;
mod request;
pub mod shape;
mod steps;
pub mod table;

pub(super) use news::watched_tasks;
pub(super) use steps::Extras;
