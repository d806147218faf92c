//! Spans on their way to a collector: OTLP over HTTP in JSON, sent by a thread of its own behind a bounded queue. A
//! shard never waits for it: what does not fit into the queue is lost, and counted by the shard; what the collector
//! does not take is lost, and counted here.
//!
//! Written by hand, with what is a dependency already: `opentelemetry-otlp` brings a runtime, a second HTTP client and
//! some sixty crates for a document of one shape (OTLP 1.x "OTLP/HTTP", "JSON Protobuf Encoding").

#![expect(clippy::disallowed_types, reason = "a thread of the edge times how long it gathers")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::config::Traces;
use super::identity::Fetcher;
use crate::gateway::tally::End;
use crate::gateway::trace::Span;
use crate::shard::{Count, TraceSink};

/// Spans that may wait: some seconds of a busy gateway that traces everything, 4 MiB at most.
const QUEUE_MAX: usize = 8_192;
/// Requests that are told of at once, and how long they are gathered for that.
const BATCH_MAX: usize = 512;
const GATHER: Duration = Duration::from_millis(500);

/// The thread that sends them.
pub(super) struct Exporter {
    thread: JoinHandle<()>,
    is_ending: Arc<AtomicBool>,
    queue: SyncSender<Item>,
}

/// What waits in the queue: a span, or the end of it.
type Item = Option<Box<Span>>;

/// What became of spans behind the queue.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub(super) taken: Count,
    pub(super) lost: Count,
}

impl Exporter {
    /// Starts it, with what shards hand their spans to.
    pub(super) fn start(traces: &Traces) -> io::Result<(TraceSink, Arc<Exported>, Self)> {
        let (queue, items) = sync_channel::<Item>(QUEUE_MAX);
        let sender = queue.clone();
        let sink = TraceSink::new(move |span| sender.try_send(Some(span)).is_ok());
        let (is_ending, exported) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let courier = Courier {
            fetcher: Fetcher::new(traces.ca_file.as_deref())?,
            traces: traces.clone(),
            exported: Arc::clone(&exported),
            is_ending: Arc::clone(&is_ending),
            is_refused: false,
        };
        let thread = std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || courier.run(&items))?;
        Ok((sink, exported, Self { thread, is_ending, queue }))
    }

    /// Waits until all is sent that was left before, or the collector takes no more; nothing that comes behind it is,
    /// for a shard that had to stop may hold its sink for ever.
    pub(super) fn end(self) {
        self.is_ending.store(true, Ordering::Relaxed);
        // One that has ended already wants to hear nothing.
        drop(self.queue.send(None));
        if self.thread.join().is_err() {
            tracing::error!("the thread that sends spans panicked");
        }
    }
}

struct Courier {
    fetcher: Fetcher,
    traces: Traces,
    exported: Arc<Exported>,
    is_ending: Arc<AtomicBool>,
    /// The collector did not take the last ones, which was told.
    is_refused: bool,
}

impl Courier {
    /// Until the end of the queue, or until nobody is left who could leave anything in it.
    fn run(mut self, items: &Receiver<Item>) {
        while let Ok(Some(first)) = items.recv() {
            let mut batch = vec![first];
            let until = Instant::now() + GATHER;
            let mut is_last = false;
            while batch.len() < BATCH_MAX && !is_last {
                match items.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(Some(span)) => batch.push(span),
                    Ok(None) => is_last = true,
                    Err(_) => break,
                }
            }
            self.send(&batch);
            if is_last || self.is_refused && self.is_ending.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn send(&mut self, batch: &[Box<Span>]) {
        let body = document(&self.traces.service, batch).to_string();
        let headers = self.traces.headers.iter().map(|(name, value)| (&**name, &**value));
        let sent = self.fetcher.post_json(&self.traces.endpoint, headers, &body);
        let why = match sent {
            Ok(status) if (200..300).contains(&status) => None,
            Ok(status) => Some(format!("HTTP {status}")),
            Err(error) => Some(error),
        };
        let count = if why.is_none() { &self.exported.taken } else { &self.exported.lost };
        count.add(batch.len() as u64);
        let was_refused = std::mem::replace(&mut self.is_refused, why.is_some());
        match why {
            Some(why) if !was_refused => {
                let endpoint = &self.traces.endpoint;
                tracing::warn!(endpoint, why, "traces.endpoint takes no spans; they are lost");
            }
            None if was_refused => tracing::info!("traces.endpoint takes spans again"),
            _ => {}
        }
    }
}

/// `ExportTraceServiceRequest` in JSON: ids in hexadecimal, 64-bit integers as texts.
fn document(service: &str, batch: &[Box<Span>]) -> Value {
    let spans: Vec<Value> = batch.iter().flat_map(|span| both(span)).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            attribute("service.name", service),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ]},
        "scopeSpans": [{
            "scope": {"name": "ringgate", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans,
        }],
    }]})
}

const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// A request as its client sees it; and as its upstream does, if it was sent.
fn both(span: &Span) -> Vec<Value> {
    let start = u128::from(span.unix_ms) * 1_000_000;
    let at = |moment: crate::base::Moment| start + moment.since(span.begun).as_nanos();
    let parent = span.has_parent.then_some(span.context.parent);
    let mut all = vec![one(span, span.id, parent, SERVER, (start, at(span.ended)))];
    if let Some((id, sent)) = span.sent {
        all.push(one(span, id, Some(span.id), CLIENT, (at(sent), at(span.ended))));
    }
    all
}

fn one(span: &Span, id: u64, parent: Option<u64>, kind: u8, (start, end): (u128, u128)) -> Value {
    let method = span.method.as_str();
    let name =
        if span.name.is_empty() { method.to_owned() } else { format!("{method} {}", span.name) };
    let mut attributes = vec![
        attribute("mcp.method.name", method),
        attribute("ringgate.upstream", &span.upstream),
        attribute("ringgate.end", span.end.name()),
    ];
    if kind == SERVER {
        attributes.push(attribute("ringgate.transport", span.transport.name()));
    }
    if let Some(wire_id) = span.wire_id.filter(|_| kind == CLIENT) {
        attributes.push(attribute("jsonrpc.request.id", &wire_id.to_string()));
    }
    if span.method == crate::mcp::Method::ToolsCall {
        attributes.push(attribute("gen_ai.tool.name", &span.name));
    }
    let is_error = !matches!(span.end, End::Answered | End::Cancelled);
    if is_error {
        attributes.push(attribute("error.type", span.end.name()));
    }
    let mut object = json!({
        "traceId": format!("{:032x}", span.context.trace),
        "spanId": format!("{id:016x}"),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes,
        "status": {"code": if is_error { 2 } else { 0 }},
    });
    if let Some(parent) = parent {
        object["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(state) = &span.context.state {
        object["traceState"] = (&**state).into();
    }
    object
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::base::Moment;
    use crate::gateway::Transport;
    use crate::gateway::trace::Context;
    use crate::mcp::Method;

    /// A call that timed out, which another has begun.
    fn span() -> Box<Span> {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let at = |ms: u64| Moment::from_micros(ms * 1_000);
        Box::new(Span {
            context: Context::read(parent, Some("v=1")).expect("it is one"),
            has_parent: true,
            id: 0xAB,
            unix_ms: 1_700_000_000_000,
            begun: at(5),
            sent: Some((0xCD, at(7))),
            ended: at(10),
            end: End::TimedOut,
            transport: Transport::Http,
            method: Method::ToolsCall,
            name: "query".into(),
            upstream: "db".into(),
            wire_id: Some(42),
        })
    }

    /// Takes one document.
    fn collector(listener: &TcpListener) {
        let (mut stream, _) = listener.accept().expect("it is sent");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            reader.read_line(&mut head).expect("a line");
            let line = head[from..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        reader.read_exact(&mut vec![0; length]).expect("a document");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("read");
    }

    #[test]
    fn the_end_sends_what_was_left_before_and_waits_for_no_sink_that_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let traces = Traces {
            endpoint: format!("http://{}/v1/traces", listener.local_addr().expect("bound")),
            ratio: 1.0,
            service: "edge-1".to_owned(),
            headers: std::collections::BTreeMap::new(),
            ca_file: None,
        };
        let collector = std::thread::Builder::new()
            .spawn(move || collector(&listener))
            .expect("a thread starts");
        // A shard that had to stop never lets go of its sink.
        let (sink, exported, exporter) = Exporter::start(&traces).expect("it starts");
        exporter.queue.send(Some(span())).expect("it is taken");
        exporter.queue.send(Some(span())).expect("it is taken");
        exporter.end();
        collector.join().expect("the document came");
        assert_eq!((exported.taken.get(), exported.lost.get()), (2, 0));
        drop(sink);
    }

    #[test]
    fn a_request_is_two_spans_one_in_the_other() {
        let document = document("edge-1", &[span()]);
        let all = &document["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(all.as_array().map(Vec::len), Some(2));
        for one in [&all[0], &all[1]] {
            assert_eq!(one["traceId"], "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(
                (&one["traceState"], &one["name"]),
                (&"v=1".into(), &"tools/call query".into())
            );
            assert_eq!(one["status"]["code"], 2);
        }
        assert_eq!(
            (&all[0]["spanId"], &all[0]["parentSpanId"]),
            (&"00000000000000ab".into(), &"b7ad6b7169203331".into())
        );
        assert_eq!(
            (&all[1]["spanId"], &all[1]["parentSpanId"]),
            (&"00000000000000cd".into(), &"00000000000000ab".into())
        );
        assert_eq!((&all[0]["kind"], &all[1]["kind"]), (&SERVER.into(), &CLIENT.into()));
        assert_eq!(all[0]["startTimeUnixNano"], "1700000000000000000");
        assert_eq!(all[1]["startTimeUnixNano"], "1700000000002000000");
        assert_eq!(all[1]["endTimeUnixNano"], "1700000000005000000");
        let service = &document["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(service["value"]["stringValue"], "edge-1");
    }
}
