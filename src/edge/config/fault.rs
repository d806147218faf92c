//! What is wrong with a configuration, and where: a fault names its place, its key, what was found
//! and the remedy. Faults are collected, so that an operator mends a file once. Not here: what is right.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Place {
    /// A line of a file, counted from 1.
    Line { file: Arc<str>, line: usize },
    /// An environment variable.
    Variable { name: Arc<str> },
    /// Nowhere: a default, or something that is missing altogether.
    #[default]
    Default,
}

impl Place {
    /// The folder that relative paths written here start from: that of the file, or the working
    /// directory.
    pub(super) fn folder(&self) -> PathBuf {
        match self {
            Self::Line { file, .. } => {
                PathBuf::from(&**file).parent().map(PathBuf::from).unwrap_or_default()
            }
            Self::Variable { .. } | Self::Default => PathBuf::new(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Variable { name } => f.write_str(name),
            Self::Default => f.write_str("configuration"),
        }
    }
}

/// One thing that is wrong. Displayed as `place: key: what; remedy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// Dotted, as `limits.request`. Empty when the file as a whole is meant.
    pub key: String,
    /// What was expected and what was found.
    pub what: String,
    /// What to do about it. Empty when `what` says it already.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All that is wrong, in the order of the file. Never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Collects faults and warnings while sections are read. Shared by readers that look at different
/// parts of one tree at once, hence the cells.
#[derive(Debug, Default)]
pub(super) struct Findings {
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    files: RefCell<Vec<PathBuf>>,
}

impl Findings {
    pub(super) fn fault(
        &self,
        place: &Place,
        key: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.faults.borrow_mut().push(Fault {
            place: place.clone(),
            key: key.into(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn warn(
        &self,
        place: &Place,
        key: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.warnings.borrow_mut().push(Fault {
            place: place.clone(),
            key: key.into(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// A file is read.
    pub(super) fn reads(&self, path: &Path) {
        self.files.borrow_mut().push(path.to_owned());
    }

    /// All that were.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// The warnings, or all the faults if there is one.
    pub(super) fn settle(self) -> Result<Vec<Fault>, Faults> {
        let faults = self.faults.into_inner();
        if faults.is_empty() { Ok(self.warnings.into_inner()) } else { Err(Faults(faults)) }
    }
}

/// The known word that `found` was most likely meant to be, if one is near enough.
pub(super) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let found = found.to_lowercase();
    known
        .into_iter()
        .map(|word| {
            let distance = strsim::damerau_levenshtein(&found, &word.to_lowercase());
            (distance, word)
        })
        // A third of the word may be wrong; beyond, a guess misleads more than it helps.
        .filter(|(distance, word)| *distance <= (word.len().max(found.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_nearly_known_is_found_and_a_strange_one_is_not() {
        let known = ["listen", "mode", "frame_bytes_max"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("LISTEN", known), Some("listen"));
        assert_eq!(nearest("frame_byte_max", known), Some("frame_bytes_max"));
        assert_eq!(nearest("elephant", known), None);
    }

    #[test]
    fn a_fault_reads_place_key_what_and_remedy() {
        let fault = Fault {
            place: Place::Line { file: "a.toml".into(), line: 3 },
            key: "tcp.listen".into(),
            what: "expected x, found y".into(),
            remedy: "write z".into(),
        };
        assert_eq!(fault.to_string(), "a.toml:3: tcp.listen: expected x, found y; write z");
    }
}
