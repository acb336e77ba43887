//! User data: a CSV file with rows `path,label[,speaker]`; paths are relative to the CSV file.
//!
//! Input: the CSV file, with or without a header. Output: clips with their splits. Invariants: labels are not mapped to
//! canonical names.

use std::collections::BTreeMap;
use std::path::Path;

use super::protocol::hash;
use super::{Clip, DatasetError, Listing, Member, Split};

/// One in this number of speakers is used for validation, and as many for the test.
const SPLIT_DIVISOR: usize = 7;

pub(super) fn find(file: &Path) -> Result<Listing, DatasetError> {
    let source = std::fs::File::open(file)
        .map_err(|source| DatasetError::Unreadable { path: file.to_owned(), source })?;
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(source);
    let mut clips = Vec::new();
    for row in rows.records() {
        let row = row.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            bad_row(file, line, error.to_string())
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        if is_header(&row) && clips.is_empty() {
            continue;
        }
        clips.push(clip(&row, folder).map_err(|reason| bad_row(file, line, reason))?);
    }
    Ok(Listing { members: split(clips), ..Listing::default() })
}

fn bad_row(file: &Path, line: u64, reason: String) -> DatasetError {
    DatasetError::Row { path: file.to_owned(), line, reason }
}

fn is_header(row: &csv::StringRecord) -> bool {
    row.get(0) == Some("path") && row.get(1) == Some("label")
}

fn clip(row: &csv::StringRecord, folder: &Path) -> Result<Clip, String> {
    if !(2..=3).contains(&row.len()) {
        return Err(format!("{} columns, and path,label[,speaker] is expected", row.len()));
    }
    let (path, label) = (&row[0], &row[1]);
    if path.is_empty() || label.is_empty() {
        return Err("path and label must not be empty".into());
    }
    let resolved = folder.join(path);
    if !resolved.is_file() {
        return Err(format!("no file {}", resolved.display()));
    }
    let speaker = row.get(2).filter(|it| !it.is_empty()).map(str::to_owned);
    Ok(Clip { id: path.to_owned(), path: resolved, emotion: label.to_owned(), speaker })
}

/// Splits the clips by speaker, in an order that depends only on the speakers' names. A clip without a speaker counts as
/// a speaker of its own. With fewer than three speakers all clips are training clips.
fn split(clips: Vec<Clip>) -> Vec<Member> {
    let group = |clip: &Clip| clip.speaker.clone().unwrap_or_else(|| clip.id.clone());
    let mut groups: Vec<String> = clips.iter().map(group).collect();
    groups.sort_by_key(|name| (hash(0, name), name.clone()));
    groups.dedup();
    let share = if groups.len() < 3 { 0 } else { groups.len().div_ceil(SPLIT_DIVISOR) };
    let ranks: BTreeMap<String, usize> = groups.into_iter().zip(0..).collect();
    let part = |clip: &Clip| match ranks[&group(clip)] {
        rank if rank < share => Split::Test,
        rank if rank < 2 * share => Split::Validation,
        _ => Split::Train,
    };
    clips.iter().map(|clip| (clip.clone(), part(clip))).collect()
}
