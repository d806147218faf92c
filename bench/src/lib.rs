//! The load generator, its floors and its records. A library so that its tests can load servers of their own making;
//! not part of the gateway: none of its dependencies reaches it. How to run it: `bench/README.md`.
//!
//! From the command line (`args`) comes a plan; `load` opens connections and gives them to threads (`worker`), each
//! with its own ring. A `connection` is a socket and a `lane`; the lane keeps its requests in `slots`, `framing` finds the
//! messages in what comes back (lines, HTTP, WebSocket), and `check` judges them. A `tally` becomes a `report`.

pub mod answer;
pub mod args;
pub mod blocks;
pub mod ceiling;
pub mod check;
pub mod chunked;
pub mod clock;
pub mod connection;
pub mod digits;
pub mod events;
pub mod failure;
pub mod fanout;
pub mod fault;
pub mod framing;
pub mod handshake;
pub mod head;
pub mod html;
pub mod http1;
pub mod http2;
pub mod idle;
pub mod lane;
pub mod load;
pub mod news;
pub mod pacer;
pub mod pipe;
pub mod plan;
pub mod plot;
pub mod process;
pub mod raw;
pub mod record;
pub mod report;
pub mod request;
pub mod ring;
pub mod server;
pub mod signal;
pub mod slots;
pub mod streams;
pub mod suite;
pub mod table;
pub mod tally;
pub mod target;
pub mod terminal;
pub mod upstream;
pub mod verdict;
pub mod websocket;
pub mod worker;
