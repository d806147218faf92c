//! The revisions of the protocol and the two eras they fall into (2026-07-28, "Versioning").

/// A dated revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// Legacy: a handshake opens a session. Modern: every request stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Era {
    Legacy,
    Modern,
}

impl Version {
    pub const ALL: [Self; 5] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    pub const LATEST: Self = Self::V2026_07_28;

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    pub fn era(self) -> Era {
        if self < Self::V2026_07_28 { Era::Legacy } else { Era::Modern }
    }

    /// What `initialize` answers to the version a client asked for: that one if it is a legacy one we
    /// speak, else the newest legacy one. Never a modern one (2025-11-25 "Lifecycle"; all SDKs).
    pub fn negotiate(asked: &str) -> Self {
        Self::parse(asked)
            .filter(|version| version.era() == Era::Legacy)
            .unwrap_or(Self::LATEST_LEGACY)
    }

    /// Whether JSON-RPC batches are legal (2025-03-26 "Batching"; removed by 2025-06-18).
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_never_answers_a_modern_version() {
        assert_eq!(Version::negotiate("2025-03-26"), Version::V2025_03_26);
        assert_eq!(Version::negotiate("2026-07-28"), Version::V2025_11_25);
        assert_eq!(Version::negotiate("junk"), Version::V2025_11_25);
        assert!(Version::ALL.into_iter().filter(|v| v.era() == Era::Modern).eq([Version::LATEST]));
    }
}
