//! An upstream behind a WebSocket: the handshake as its client, then a message for each frame of the link's,
//! masked as clients must. Pings, so that a server that is gone is found. Not here: how messages are coded
//! (`wire::ws`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::credential::{Credential, Own};
use super::http::request;
use super::reach::Reach;
use crate::gateway::settings::HttpTarget;
use crate::shard::rt::{self, Reader, Socket, Writer};
use crate::shard::{Breath, Driver, Pack, Port};
use crate::wire::http1::{head, response};
use crate::wire::ws::deflate::{self, Agreed};
use crate::wire::ws::{self, Decoder, Event, Role, handshake, write};

/// A server is asked whether it is there after this long without a word of it, and given up after the same
/// time again: what `limits.ws_ping` is by default for clients.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// Room for a read.
const READ_BYTES: usize = 16 << 10;
/// Control frames that may wait for a server that does not read: more than any answers it needs.
const CONTROL_BYTES_MAX: usize = 4 << 10;
/// Keys of masks drawn at once: a system call for each message would cost more than the message.
const KEYS: usize = 64;

/// What drives the link to a server. `first` is a connection to it; the handshake on it may take `within`.
pub(super) fn driver(
    target: Arc<HttpTarget>,
    first: Socket,
    Reach { within, .. }: Reach,
    bytes_max: usize,
    credential: Option<Credential>,
) -> Driver {
    Box::new(move |port| {
        Box::pin(async move {
            // One that is made on behalf of a caller is not configured: it would outlive the caller's token.
            let credential = credential.and_then(|credential| match credential {
                Credential::Own(own) => Some(own),
                Credential::Callers(_) => None,
            });
            let talk = talk(&target, &port, first, within, bytes_max, credential);
            let why = match talk.await {
                Ok(why) => why.to_owned(),
                Err(error) => error.to_string(),
            };
            port.end(&why);
        })
    })
}

/// Until the server or the link ends; why it did.
async fn talk(
    target: &HttpTarget,
    port: &Port,
    first: Socket,
    within: Duration,
    bytes_max: usize,
    credential: Option<Own>,
) -> io::Result<&'static str> {
    let (mut reader, mut writer) = rt::adopt(first)?;
    let (rest, packs) = {
        let credential = credential.as_ref().map(|credential| (credential, within));
        let mut greeting = pin!(greet(target, credential, &mut reader, &mut writer));
        let mut late = pin!(rt::sleep(within));
        poll_fn(|cx| {
            if let Poll::Ready(done) = greeting.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            let late = late.as_mut().poll(cx);
            late.map(|()| Err(io::Error::other("the server did not answer the handshake in time")))
        })
        .await?
    };
    let talk = RefCell::new(Talk { packs, ..Talk::default() });
    let decoder = Decoder::new(Role::Client, bytes_max).unpacking(packs.is_some());
    let mut reading = pin!(read(&talk, port, &mut reader, (decoder, rest), bytes_max));
    let mut writing = pin!(write_on(&talk, port, &mut writer));
    let mut quiet = pin!(rt::sleep(QUIET_MAX));
    poll_fn(|cx| {
        if let Poll::Ready(why) = reading.as_mut().poll(cx) {
            talk.borrow_mut().end(why);
        }
        if quiet.as_mut().poll(cx).is_ready() {
            quiet.set(rt::sleep(QUIET_MAX));
            talk.borrow_mut().ask();
            // So that the new time is waited for.
            if quiet.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        // After the others: it takes along what they want to say.
        writing.as_mut().poll(cx)
    })
    .await
}

/// What reading and writing know of each other.
#[derive(Default)]
struct Talk {
    /// Control frames that wait to be written.
    out: Vec<u8>,
    keys: Keys,
    /// Messages may be compressed, and how.
    packs: Option<Agreed>,
    /// Nothing has come since the last look.
    is_quiet: bool,
    /// Nothing more is said after what waits.
    ended: Option<io::Result<&'static str>>,
    /// The one whom it serves does not read, so nothing is read from it.
    is_held: bool,
}

impl Talk {
    fn end(&mut self, why: io::Result<&'static str>) {
        if self.ended.is_none() {
            self.ended = Some(why);
        }
    }

    /// Answers a ping. Not each, if the server sends them and reads none (RFC 6455 section 5.5.3 lets some go
    /// unanswered): they would fill the memory.
    fn pong(&mut self, payload: &[u8]) {
        if self.out.len() < CONTROL_BYTES_MAX {
            let key = self.keys.next();
            write::masked_pong(&mut self.out, payload, key);
        }
    }

    /// Time to ask the server whether it is there, or to give it up.
    fn ask(&mut self) {
        // It is not heard while nothing is read from it.
        if self.is_held {
            return;
        }
        if std::mem::replace(&mut self.is_quiet, true) {
            self.end(Err(io::Error::other("the server did not answer a ping")));
        } else {
            let key = self.keys.next();
            write::masked_ping(&mut self.out, key);
        }
    }
}

/// Sends the request, reads the answer; what came behind it, and whether messages may be compressed.
async fn greet(
    target: &HttpTarget,
    credential: Option<(&Own, Duration)>,
    reader: &mut Reader,
    writer: &mut Writer,
) -> io::Result<(Vec<u8>, Option<Agreed>)> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let key = handshake::key(random);
    let mut headers = vec![
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", handshake::SUBPROTOCOL),
        ("sec-websocket-key", &key),
    ];
    headers.extend(target.packs.then_some(("sec-websocket-extensions", deflate::OFFER)));
    headers.extend(target.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut token = None;
    if let Some((credential, within)) = credential {
        token = Some((credential, credential.token(within).await?));
    }
    headers.extend(token.as_ref().map(|(_, token)| ("authorization", &**token)));
    writer.write_all(request("GET", &target.path, &target.host, &headers, None)).await?;
    let mut buffer = Vec::new();
    loop {
        let judged = judge(&buffer, &key, target.packs);
        // The next handshake brings another.
        if let (Err(_), Some((credential, token))) = (&judged, &token) {
            credential.refuse(token);
        }
        if let Some((length, packs)) = judged? {
            buffer.drain(..length);
            return Ok((buffer, packs));
        }
        buffer.reserve(READ_BYTES);
        let (read, back) = reader.read(buffer).await;
        buffer = back;
        if read? == 0 {
            return Err(io::Error::other("the server closed the connection in the handshake"));
        }
    }
}

/// The length of the answer's head, once it is whole, and what it says of compressed messages.
fn judge(buffer: &[u8], key: &str, offers: bool) -> io::Result<Option<(usize, Option<Agreed>)>> {
    let mut slots = head::slots();
    let found = response::read(buffer, false, &mut slots)
        .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.what))?;
    let Some((head, length)) = found else { return Ok(None) };
    match handshake::answered(head.status, head.headers(), key, offers) {
        Ok(packs) => Ok(Some((length, packs))),
        Err(what) => Err(io::Error::other(format!("{what} (status {})", head.status))),
    }
}

/// Hands on what the server says, until it says no more.
async fn read(
    talk: &RefCell<Talk>,
    port: &Port,
    reader: &mut Reader,
    (mut decoder, mut buffer): (Decoder, Vec<u8>),
    bytes_max: usize,
) -> io::Result<&'static str> {
    let mut breath = Breath::default();
    loop {
        let mut taken = 0;
        loop {
            let rest = buffer.get(taken..).unwrap_or_default();
            let step = match decoder.next(rest) {
                Ok(step) => step,
                Err(fault) => {
                    close(talk, fault.code);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, fault.what));
                }
            };
            let (consumed, came) = (step.consumed, step.event);
            let is_dry = consumed == 0 && came.is_none();
            taken += consumed;
            match came {
                Some(Event::Text(text)) => hand_on(port, text),
                Some(Event::Packed { is_text: true, payload }) => {
                    if let Err(fault) = unpack(port, payload, bytes_max) {
                        close(talk, fault.code);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, fault.what));
                    }
                }
                Some(Event::Binary(_) | Event::Packed { .. }) => {
                    close(talk, ws::UNSUPPORTED);
                    return Err(io::Error::other("the server sent a binary message: MCP is text"));
                }
                Some(Event::Ping(payload)) => talk.borrow_mut().pong(payload),
                Some(Event::Pong) | None => {}
                Some(Event::Close(code)) => {
                    close(talk, code.unwrap_or(ws::NORMAL));
                    return Ok("the server closed the WebSocket");
                }
            }
            if is_dry {
                break;
            }
        }
        buffer.drain(..taken);
        talk.borrow_mut().is_held = true;
        port.flows(&mut breath, taken).await;
        {
            let talk = &mut *talk.borrow_mut();
            (talk.is_held, talk.is_quiet) = (false, false);
        }
        buffer.reserve(READ_BYTES);
        let (read, back) = reader.read(buffer).await;
        buffer = back;
        match read {
            Ok(0) => return Ok("the server closed the connection"),
            Ok(_) => talk.borrow_mut().is_quiet = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn close(talk: &RefCell<Talk>, code: u16) {
    let Talk { out, keys, .. } = &mut *talk.borrow_mut();
    write::masked_close(out, code, keys.next());
}

/// A compressed message of text.
fn unpack(port: &Port, payload: &[u8], bytes_max: usize) -> Result<(), ws::Fault> {
    // A copy: the domain may compress something else before it is done with this.
    let text = port.coders(|coders| -> Result<String, ws::Fault> {
        match coders.inflater.message(true, payload, bytes_max)? {
            Event::Text(text) => {
                coders.ledger.came(Pack::WebSocket, text.len(), payload.len());
                Ok(text.to_owned())
            }
            _ => Ok(String::new()),
        }
    })?;
    hand_on(port, &text);
    Ok(())
}

/// A message is one frame, whatever lines it is written in.
fn hand_on(port: &Port, text: &str) {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return port.deliver(text.as_bytes());
    }
    let mut bytes = text.as_bytes().to_vec();
    crate::gateway::one_line(&mut bytes);
    port.deliver(&bytes);
}

/// Writes what the link and the reading want to say, until one of them ends.
async fn write_on(
    talk: &RefCell<Talk>,
    port: &Port,
    writer: &mut Writer,
) -> io::Result<&'static str> {
    loop {
        let mut lines = pin!(port.take());
        let said = poll_fn(|cx| {
            let mut talk = talk.borrow_mut();
            if !talk.out.is_empty() {
                return Poll::Ready(Say::Bytes(std::mem::take(&mut talk.out)));
            }
            if let Some(why) = talk.ended.take() {
                return Poll::Ready(Say::End(why));
            }
            lines.as_mut().poll(cx).map(|lines| {
                if let Some(lines) = lines {
                    return Say::Bytes(messages(&mut talk, port, &lines));
                }
                let key = talk.keys.next();
                write::masked_close(&mut talk.out, ws::NORMAL, key);
                talk.end(Ok("the link was closed"));
                Say::Bytes(Vec::new())
            })
        })
        .await;
        match said {
            Say::Bytes(bytes) => writer.write_all(bytes).await?,
            Say::End(why) => return why,
        }
    }
}

enum Say {
    Bytes(Vec<u8>),
    End(io::Result<&'static str>),
}

/// Frames of the link's, a line each, as messages.
fn messages(talk: &mut Talk, port: &Port, lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + 64);
    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let key = talk.keys.next();
        if talk.packs.is_none_or(|agreed| !pack(&mut out, port, agreed, line, key)) {
            write::masked(&mut out, true, line, key);
        }
    }
    out
}

/// Appends a message that is compressed, if that makes it smaller.
fn pack(out: &mut Vec<u8>, port: &Port, agreed: Agreed, line: &[u8], key: [u8; 4]) -> bool {
    (deflate::MESSAGE_BYTES_MIN..=deflate::MESSAGE_BYTES_MAX).contains(&line.len())
        && port.coders(|coders| {
            let Some(packed) = coders.deflater.message(agreed, line) else { return false };
            coders.ledger.left(Pack::WebSocket, line.len(), packed.len());
            write::masked_packed(out, packed, key);
            true
        })
}

/// Keys for masks, from the kernel's generator.
#[derive(Default)]
struct Keys(Vec<[u8; 4]>);

impl Keys {
    fn next(&mut self) -> [u8; 4] {
        if self.0.is_empty() {
            let mut bytes = [0; 4 * KEYS];
            // A mask keeps proxies from being misled by what a page may choose (RFC 6455 section 10.3); it
            // keeps no secret. Without a generator nothing else of ours runs either.
            if getrandom::fill(&mut bytes).is_ok() {
                self.0.extend(bytes.as_chunks().0);
            }
        }
        self.0.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_pings_and_does_not_read_fills_no_memory() {
        let mut talk = Talk::default();
        for _ in 0..1_000 {
            talk.pong(&[0; 125]);
        }
        assert!(talk.out.len() < 2 * CONTROL_BYTES_MAX, "{}", talk.out.len());
        talk.out.clear();
        talk.pong(b"x");
        assert!(!talk.out.is_empty(), "once it reads it is answered again");
    }
}
