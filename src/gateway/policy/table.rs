//! The patterns of one list, so laid out that a name is held against all of them in one pass over its
//! bytes, however many there are: a running hash of what was read so far is looked up after each byte
//! among the literal beginnings of patterns, and the same from the end among their endings.

use super::{Pattern, RuleId};

/// See the module. Of patterns that match the same name, an exact one is found first, then the one with
/// the longest beginning, then the one with the longest ending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    any: Option<RuleId>,
    exact: Index,
    /// `head*` and `head*tail`, by head.
    heads: Index,
    /// `*tail`, by tail.
    tails: Index,
}

impl Table {
    pub(super) fn insert(&mut self, pattern: &Pattern, rule: RuleId) {
        match pattern.parts() {
            (name, None) => self.exact.insert(name.bytes(), name, "", rule),
            ("", Some("")) => self.any = self.any.or(Some(rule)),
            ("", Some(tail)) => self.tails.insert(tail.bytes().rev(), tail, "", rule),
            (head, Some(tail)) => self.heads.insert(head.bytes(), head, tail, rule),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<RuleId> {
        let bytes = name.as_bytes();
        let mut hash = START;
        let mut best = None;
        for (at, &byte) in bytes.iter().enumerate() {
            hash = step(hash, byte);
            if at < self.heads.longest {
                let (head, rest) = bytes.split_at(at + 1);
                best = self.heads.find(hash, head, rest).or(best);
            }
        }
        if let Some(rule) = self.exact.find(hash, bytes, b"").or(best) {
            return Some(rule);
        }
        let mut hash = START;
        for (at, &byte) in bytes.iter().rev().enumerate().take(self.tails.longest) {
            hash = step(hash, byte);
            let (_, tail) = bytes.split_at(bytes.len() - at - 1);
            best = self.tails.find(hash, tail, b"").or(best);
        }
        best.or(self.any)
    }
}

/// Literals by their hash: open addressing, at most half full, so that most look-ups of what is not there
/// end at the first slot.
#[derive(Debug, Default, PartialEq, Eq)]
struct Index {
    /// Entry numbers from 1 on; 0 is free. A power of two, or none.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    /// Bytes of the longest literal.
    longest: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    hash: u32,
    literal: Box<str>,
    /// What the name must end with behind the literal.
    rest: Box<str>,
    rule: RuleId,
}

impl Index {
    fn insert(&mut self, bytes: impl Iterator<Item = u8>, literal: &str, rest: &str, rule: RuleId) {
        let hash = bytes.fold(START, step);
        self.longest = self.longest.max(literal.len());
        self.entries.push(Entry { hash, literal: literal.into(), rest: rest.into(), rule });
        if self.entries.len() * 2 > self.slots.len() {
            self.slots = vec![0; (self.entries.len() * 2).next_power_of_two().max(8)];
            for number in 0..self.entries.len() {
                self.place(number);
            }
        } else {
            self.place(self.entries.len() - 1);
        }
    }

    fn place(&mut self, number: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.entries[number].hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = super::count(number + 1);
    }

    #[inline]
    fn find(&self, hash: u32, literal: &[u8], rest: &[u8]) -> Option<RuleId> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.entries.get((*self.slots.get(slot)? as usize).checked_sub(1)?)?;
            if entry.hash == hash
                && entry.literal.as_bytes() == literal
                && rest.ends_with(entry.rest.as_bytes())
            {
                return Some(entry.rule);
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// FNV-1a. Who is judged cannot put anything into a table, so its collisions need not resist anybody.
const START: u32 = 0x811C_9DC5;

#[inline]
const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> Table {
        let mut table = Table::default();
        for (number, pattern) in patterns.iter().enumerate() {
            table.insert(&Pattern::parse(pattern).unwrap(), RuleId(u32::try_from(number).unwrap()));
        }
        table
    }

    #[test]
    fn the_most_particular_pattern_is_found() {
        let patterns = ["*", "get_*", "get_user", "get_u*", "*_user", "*r", "get_*_user", "x"];
        let table = table(&patterns);
        let found = |name| patterns[table.find(name).expect("something matches").0 as usize];
        assert_eq!(found("get_user"), "get_user");
        assert_eq!(found("get_users"), "get_u*");
        assert_eq!(found("get_"), "get_*");
        assert_eq!(found("set_user"), "*_user");
        assert_eq!(found("bar"), "*r");
        assert_eq!(found(""), "*");
        assert_eq!(found("x"), "x");
        assert_eq!(found("y"), "*");
    }

    #[test]
    fn a_table_finds_what_its_patterns_match_one_by_one() {
        // All words over two letters up to a length against all patterns of them, but "*".
        let mut words = vec![String::new()];
        for length in 0..5 {
            let longer: Vec<_> =
                words.iter().filter(|word| word.len() == length).cloned().collect();
            for word in longer {
                words.push(format!("{word}a"));
                words.push(format!("{word}b"));
            }
        }
        let mut patterns: Vec<String> = Vec::new();
        for word in words.iter().filter(|word| !word.is_empty() && word.len() < 4) {
            patterns.push(word.clone());
            for at in 0..=word.len() {
                patterns.push(format!("{}*{}", &word[..at], &word[at..]));
            }
        }
        for many in patterns.chunks(7) {
            let names: Vec<&str> = many.iter().map(String::as_str).collect();
            let table = table(&names);
            for word in &words {
                let any = many.iter().any(|pattern| Pattern::parse(pattern).unwrap().matches(word));
                assert_eq!(table.find(word).is_some(), any, "{word} against {many:?}");
                if let Some(RuleId(rule)) = table.find(word) {
                    assert!(Pattern::parse(&many[rule as usize]).unwrap().matches(word));
                }
            }
        }
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(Table::default().find("x"), None);
        assert_eq!(Table::default().find(""), None);
    }
}
