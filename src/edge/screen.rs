//! What a person's terminal gets. A reader that went away (`ringgate tools … | head`) is no error, and
//! a server's text cannot move the cursor or change the title.

use std::io::{self, IsTerminal, Write};

/// Writes to stdout, all at once. `Ok` also when nobody reads any more.
pub fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    settled(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Writes a line to stderr. There is nowhere to tell that this failed.
pub fn err(line: &str) {
    let mut stderr = io::stderr().lock();
    let _unheard = writeln!(stderr, "{line}");
}

fn settled(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A stranger's text for stdout: as it is into a pipe or file, harmless on a terminal.
pub fn for_stdout(text: &str) -> String {
    if io::stdout().is_terminal() { harmless(text) } else { text.to_owned() }
}

/// The text without what a terminal obeys: escape sequences begin with a control character.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\n' | '\t' => char,
            char if char.is_control() || is_bidirectional(char) => '\u{fffd}',
            char => char,
        })
        .collect()
}

/// Characters that make a line read in another order than it has.
const fn is_bidirectional(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_keeps_lines_and_loses_escapes() {
        assert_eq!(harmless("a\tb\nc"), "a\tb\nc");
        assert_eq!(
            harmless("\x1b]0;title\x07x\u{9b}2J\u{202e}"),
            "\u{fffd}]0;title\u{fffd}x\u{fffd}2J\u{fffd}"
        );
        assert_eq!(harmless("ünï → 漢"), "ünï → 漢");
    }
}
