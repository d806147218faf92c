//! The `[audit]` section: where each decision about a use of something is written down.

use std::path::PathBuf;

use super::read::Reader;

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub to: AuditTo,
    /// A file is begun anew before it is longer than this. Default 100 MiB.
    pub bytes_max: u64,
    /// Older files that are kept beside it. Default 5.
    pub keep: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTo {
    Stdout,
    File(PathBuf),
}

/// `None` where none is kept.
pub(super) fn read(mut reader: Reader<'_>) -> Option<Audit> {
    let to = reader.field("to");
    let bytes_max = reader.field("file_bytes_max").and_then(|field| field.size(1..=1 << 40));
    let keep = reader.field("keep").and_then(|field| field.integer(0..=1_000));
    reader.finish();
    let to = to?;
    let to = match to.text("a file, \"stdout\" or \"off\"")? {
        "off" => return None,
        "stdout" => AuditTo::Stdout,
        _ => AuditTo::File(to.path()?),
    };
    let keep = keep.and_then(|keep| u32::try_from(keep).ok());
    Some(Audit { to, bytes_max: bytes_max.unwrap_or(100 << 20), keep: keep.unwrap_or(5) })
}
