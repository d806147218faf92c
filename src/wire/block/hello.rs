//! How two ends agree on blocks. The end that has connected asks with its first line, which no JSON-RPC message can
//! be mistaken for; the other answers with a line; blocks follow in both directions. Whoever does not know the
//! question answers as to any line that is no JSON, which the asker can tell from an agreement.
//!
//! ```text
//! asker: ringgate-blocks/1 zstd,lz4      the codecs that it would like, the best first
//! other: ringgate-blocks/1 lz4           the first of them that it takes; or
//!        ringgate-blocks/1 refused: why  and the end of the connection
//! ```

use super::{Codec, Codecs};

/// What an agreement begins with.
const NAME: &str = "ringgate-blocks/";
/// The version that is spoken here, and what ends it.
const VERSION: &str = "1 ";
const REFUSED: &str = "refused: ";
/// Longest line of an agreement: the names of more codecs than there are.
pub const HELLO_BYTES_MAX: usize = 256;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Lines like any others.
    Lines,
    /// Too little has come to tell.
    More,
    /// A question, with its line break so many bytes long; blocks of this codec follow, once `answer` was sent.
    Agreed { bytes: usize, codec: Codec, answer: String },
    /// A question that has no answer but this line.
    Refused { bytes: usize, answer: String },
}

/// Judges the first bytes of a connection whose acceptor takes `codecs`.
pub fn hello(bytes: &[u8], codecs: Codecs) -> Hello {
    let common = bytes.iter().zip(NAME.as_bytes()).take_while(|(came, name)| came == name).count();
    if common < NAME.len().min(bytes.len()) {
        return Hello::Lines;
    }
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() < HELLO_BYTES_MAX { Hello::More } else { Hello::Lines };
    };
    let line = bytes.get(NAME.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let Some(line) = line else { return Hello::Lines };
    let bytes = end.saturating_add(1);
    let Some(names) = line.trim_end().strip_prefix(VERSION) else {
        return Hello::Refused { bytes, answer: refusal("only version 1 is spoken here") };
    };
    let mut wanted = names.split(',').filter_map(|name| Codec::named(name.trim()));
    match wanted.find(|codec| codecs.has(*codec)) {
        Some(codec) => {
            Hello::Agreed { bytes, codec, answer: format!("{NAME}{VERSION}{}\n", codec.name()) }
        }
        None if codecs == Codecs::NONE => {
            Hello::Refused { bytes, answer: refusal("this listener's compression is off") }
        }
        None => {
            let taken = Codec::ALL.into_iter().filter(|codec| codecs.has(*codec));
            let taken: Vec<_> = taken.map(Codec::name).collect();
            let why = format!("this listener's compression is {}", taken.join(", "));
            Hello::Refused { bytes, answer: refusal(&why) }
        }
    }
}

/// The question, a line.
pub fn offer(codec: Codec) -> String {
    format!("{NAME}{VERSION}{}\n", codec.name())
}

/// An answer that says no, a line.
pub fn refusal(why: &str) -> String {
    format!("{NAME}{VERSION}{REFUSED}{why}\n")
}

/// Reads the answer to the question for a codec, without its line break. The error says what to do.
pub fn read_answer(line: &[u8], codec: Codec) -> Result<(), String> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let name = codec.name();
    match text.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(VERSION)) {
        Some(answer) if answer == name => Ok(()),
        Some(answer) => {
            let why = answer.strip_prefix(REFUSED).unwrap_or("it answered with another codec");
            Err(format!("compression by {name} is refused: {why}"))
        }
        None => {
            let shown: String = text.chars().filter(|char| !char.is_control()).take(120).collect();
            Err(format!(
                "it does not know compression, or is too old for it: go without; it answered {shown:?}"
            ))
        }
    }
}
