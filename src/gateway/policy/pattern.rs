//! A pattern: a name, or one with a `*` that stands for anything, also for nothing: `get_*`, `*_user`,
//! `get_*_user`, `*`. Everything else in it means itself.

use std::fmt;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands before the `*`, or the whole.
    head: Box<str>,
    /// What stands after the `*`.
    tail: Option<Box<str>>,
}

impl Pattern {
    /// `Err` says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("an empty pattern matches nothing");
        }
        match text.split_once('*') {
            None => Ok(Self { head: text.into(), tail: None }),
            Some((_, tail)) if tail.contains('*') => Err("a pattern has one * at most"),
            Some((head, tail)) => Ok(Self { head: head.into(), tail: Some(tail.into()) }),
        }
    }

    /// The name, if it is one and no more.
    pub fn exact(&self) -> Option<&str> {
        self.tail.is_none().then_some(&*self.head)
    }

    /// What stands before and after the `*`; the whole and nothing where there is none.
    pub(super) fn parts(&self) -> (&str, Option<&str>) {
        (&self.head, self.tail.as_deref())
    }

    pub fn matches(&self, name: &str) -> bool {
        match &self.tail {
            None => name == &*self.head,
            Some(tail) => {
                name.strip_prefix(&*self.head).is_some_and(|rest| rest.ends_with(&**tail))
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        if let Some(tail) = &self.tail {
            write!(f, "*{tail}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_for_nothing() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
        assert!(matches("get_*", "get_") && matches("get_*", "get_user"));
        assert!(!matches("get_*", "get") && !matches("get_*", "forget_user"));
        assert!(matches("*_user", "get_user") && !matches("*_user", "get_users"));
        assert!(matches("get_*_user", "get_a_user") && !matches("get_*_user", "get_user"));
        assert!(matches("*", "") && matches("*", "x") && matches("x", "x") && !matches("x", "X"));
    }

    #[test]
    fn two_stars_and_none_at_all_are_refused() {
        assert!(Pattern::parse("*a*").is_err() && Pattern::parse("**").is_err());
        assert!(Pattern::parse("").is_err());
        assert_eq!(Pattern::parse("a*b").unwrap().to_string(), "a*b");
    }
}
