//! Marks: texts that travel with a request or an answer and say whose it is, so that one that comes
//! out at the wrong place is seen. `tok-C-N.` is request N of client C; `who-C.` is an answer of its.

/// The mark of a request.
pub fn token(client: usize, serial: u64) -> String {
    format!("tok-{client}-{serial}.")
}

/// The mark of an answer to a question.
pub fn who(client: usize) -> String {
    format!("who-{client}.")
}

/// All tokens in a text: the client of each, and the whole mark.
pub fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("tok-").filter_map(move |(at, _)| {
        let rest = &text[at..];
        let end = rest.find('.')?;
        let (client, _) = rest[4..end].split_once('-')?;
        Some((client.parse().ok()?, &rest[..=end]))
    })
}

/// The clients whose answers a text holds.
pub fn answerers(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices("who-").filter_map(move |(at, _)| {
        let rest = &text[at + 4..];
        rest[..rest.find('.')?].parse().ok()
    })
}
