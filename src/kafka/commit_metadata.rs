//! What a group's committed offset holds beside the offset: who committed it, and how many streams have progress there.
//!
//! Input: the metadata of an offset commit, or a commit that is due. Output: JSON, or its fields. Pure.
//!
//! The broker refuses the commit of a member that was excluded from the group, but not its progress records. Therefore the metadata of each commit names
//! its writer, and the progress records of other writers are ignored. A writer is one assignment of a partition to one process.

use serde::{Deserialize, Serialize};

/// Header of a progress record with the writer of the commit that its entry `next` belongs to.
pub(super) const WRITER: &str = "affectd-writer";
/// Header of a progress record with the writer of the commit that its entry `acknowledged` belongs to.
pub(super) const ACKNOWLEDGED_WRITER: &str = "affectd-acknowledged-writer";

/// The metadata of an offset commit. Commits of administration tools and of older versions have none: then every field has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommitMetadata {
    /// The writer of the commit; `None` where the commit has no metadata.
    pub writer: Option<String>,
    /// Counts the commits of the writer for this partition.
    pub number: u64,
    /// Streams that have a progress record which belongs to the commit.
    pub streams: usize,
}

/// The committed offset of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to be read; `None` before the group's first commit.
    pub offset: Option<i64>,
    /// What the commit holds beside it.
    pub metadata: CommitMetadata,
}

/// The writers of the commits that the entries of a progress record belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordWriters {
    /// Of the entry `next`; `None` for records of older versions.
    pub next: Option<String>,
    /// Of the entry `acknowledged`.
    pub acknowledged: Option<String>,
}

impl CommitMetadata {
    /// Returns the metadata of a commit. Text that is not JSON comes from another program and counts as none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Returns the text that [`Self::parse`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("metadata holds nothing that JSON cannot represent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_the_broker_and_foreign_text_counts_as_none() {
        let metadata = CommitMetadata { writer: Some("5f3c-7".into()), number: 3, streams: 12 };
        let json = metadata.to_json();
        assert_eq!(json, r#"{"writer":"5f3c-7","number":3,"streams":12}"#);
        assert_eq!(CommitMetadata::parse(&json), metadata);
        for foreign in ["", "by hand", "{", "[1]", "{\"writer\":7}"] {
            assert_eq!(CommitMetadata::parse(foreign), CommitMetadata::default(), "{foreign}");
        }
    }
}
