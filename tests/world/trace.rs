//! Trace: what happened, as a hash always and as text where somebody will read it.

use std::fmt;

/// See the module.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    /// Lines are kept; for a replay.
    keeps: bool,
    /// Lines are printed at once.
    prints: bool,
    lines: Vec<String>,
}

impl Trace {
    pub const fn new(keeps: bool, prints: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, keeps, prints, lines: Vec::new() }
    }

    /// One thing that happened: when, what, and the bytes it was about.
    pub fn note(&mut self, at: u64, what: fmt::Arguments<'_>, bytes: &[u8]) {
        self.mix(&at.to_le_bytes());
        self.mix(bytes);
        if !self.keeps {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end();
        let mut cut = text.len().min(900);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let line = format!("{:>12.3} ms  {what} {}", to_ms(at), &text[..cut]);
        if self.prints {
            println!("{line}");
        }
        self.lines.push(line);
    }

    fn mix(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.hash = (self.hash ^ u64::from_le_bytes(word)).wrapping_mul(0x100_0000_01B3);
            self.hash ^= self.hash >> 29;
        }
    }

    pub const fn hash(&self) -> u64 {
        self.hash
    }

    pub fn tail(&self, lines: usize) -> &[String] {
        &self.lines[self.lines.len().saturating_sub(lines)..]
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn to_ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
