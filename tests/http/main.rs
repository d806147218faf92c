//! Streamable HTTP and HTTP+SSE in the domain: what each exchange is answered, on one shard and on several,
//! in both eras. Sockets, heads and framing are judged elsewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod addresses;
mod behalf;
mod behind;
mod catalog;
mod endpoints;
mod errors;
mod floods;
mod house;
mod ladder;
mod modern;
mod policy;
mod principals;
mod reload;
mod rest;
mod seeing;
mod sessions;
mod strangers;
mod streams;
mod task_news;
mod tasks;
mod tools;
mod watching;
