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
}

/// What became of spans behind the queue.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub(super) taken: Count,
    pub(super) lost: Count,
}

impl Exporter {
    /// Starts it, with what shards hand their spans to.
    pub(super) fn start(traces: &Traces) -> io::Result<(TraceSink, Arc<Exported>, Self)> {
        let (sender, spans): (SyncSender<Box<Span>>, _) = sync_channel(QUEUE_MAX);
        let sink = TraceSink::new(move |span| sender.try_send(span).is_ok());
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
            .spawn(move || courier.run(&spans))?;
        Ok((sink, exported, Self { thread, is_ending }))
    }

    /// Waits until all is sent, or the collector takes no more; all sinks must be gone.
    pub(super) fn end(self) {
        self.is_ending.store(true, Ordering::Relaxed);
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
    fn run(mut self, spans: &Receiver<Box<Span>>) {
        while let Ok(first) = spans.recv() {
            let mut batch = vec![first];
            let until = Instant::now() + GATHER;
            while batch.len() < BATCH_MAX
                && let Ok(span) =
                    spans.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                batch.push(span);
            }
            self.send(&batch);
            if self.is_refused && self.is_ending.load(Ordering::Relaxed) {
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
    use super::*;
    use crate::base::Moment;
    use crate::gateway::Transport;
    use crate::gateway::trace::Context;
    use crate::mcp::Method;

    #[test]
    fn a_request_is_two_spans_one_in_the_other() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let at = |ms: u64| Moment::from_micros(ms * 1_000);
        let span = Span {
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
        };
        let document = document("edge-1", &[Box::new(span)]);
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
