//! User data: a text file with one row for each clip: path, label, and optionally speaker. Paths are relative to the file.
//!
//! Input: the file, with columns separated by commas, semicolons or tabs, with or without a header. Output: clips with their
//! splits. Invariants: labels are not mapped to canonical names; every row is a clip, an excluded file or an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::exclusion;
use super::protocol::hash;
use super::{Clip, DatasetError, ExcludedFile, Listing, Member, Split};

/// The rows that a manifest is expected to have.
pub(super) const EXPECTED: &str = "rows of path,label[,speaker]";

/// One in this number of speakers is used for validation, and as many for the test.
const SPLIT_DIVISOR: usize = 7;

/// The separators of columns. Where several would do, the first one is used.
const SEPARATORS: [u8; 3] = *b",\t;";

/// The names of the columns in a header, in lower case.
const PATH: [&str; 8] = ["path", "file", "filename", "file_name", "filepath", "file_path", "audio", "wav"];
const LABEL: [&str; 4] = ["label", "emotion", "class", "target"];
const SPEAKER: [&str; 4] = ["speaker", "speaker_id", "actor", "actor_id"];

/// The indexes of the columns.
struct Columns {
    path: usize,
    label: usize,
    speaker: Option<usize>,
    /// The largest number of columns; `None` where there is a header, which may name columns that are not used.
    most: Option<usize>,
}

/// The columns of a manifest without a header.
const WITHOUT_HEADER: Columns = Columns { path: 0, label: 1, speaker: Some(2), most: Some(3) };

pub(super) fn find(file: &Path) -> Result<Listing, DatasetError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| DatasetError::Unreadable { path: file.to_owned(), source })?;
    let text = text.trim_start_matches('\u{feff}');
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let (separator, header) = form(text, folder);
    let columns = header.as_ref().unwrap_or(&WITHOUT_HEADER);
    let (mut clips, mut excluded) = (Vec::new(), Vec::new());
    for row in reader(text, separator).records().skip(usize::from(header.is_some())) {
        let row = row.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            bad_row(file, line, error.to_string())
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        let clip = clip(&row, columns, folder).map_err(|reason| bad_row(file, line, reason))?;
        match exclusion(&clip.path) {
            Some(reason) => excluded.push(ExcludedFile { path: clip.path, reason }),
            None => clips.push(clip),
        }
    }
    Ok(Listing { members: split(clips), excluded })
}

fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .delimiter(separator)
        .from_reader(text.as_bytes())
}

/// Returns the separator of the columns, and the columns where the first row is a header.
///
/// The first row decides: the separator is the one that makes it a header, else the one that makes its first column the
/// path of a file, else the first one that gives it two columns. Counting separators was rejected, because paths and
/// labels may contain commas and semicolons too.
fn form(text: &str, folder: &Path) -> (u8, Option<Columns>) {
    let first_row = |separator: u8| reader(text, separator).records().next().and_then(Result::ok);
    let rows: Vec<_> = SEPARATORS.into_iter().filter_map(|it| Some((it, first_row(it)?))).collect();
    if let Some(found) = rows.iter().find_map(|(separator, row)| Some((*separator, Some(header(row)?)))) {
        return found;
    }
    let two = rows.iter().filter(|(_, row)| row.len() >= 2);
    let file = two.clone().find(|(_, row)| resolve(folder, &row[0]).is_some());
    (file.or(two.clone().next()).map_or(SEPARATORS[0], |(separator, _)| *separator), None)
}

/// Returns the columns where the row names a path and a label.
fn header(row: &csv::StringRecord) -> Option<Columns> {
    let at = |names: &[&str]| row.iter().position(|cell| names.contains(&cell.to_lowercase().as_str()));
    Some(Columns { path: at(&PATH)?, label: at(&LABEL)?, speaker: at(&SPEAKER), most: None })
}

fn bad_row(file: &Path, line: u64, reason: String) -> DatasetError {
    DatasetError::Row { path: file.to_owned(), line, reason }
}

fn clip(row: &csv::StringRecord, columns: &Columns, folder: &Path) -> Result<Clip, String> {
    let most = columns.most.unwrap_or(usize::MAX);
    if row.len() <= columns.path.max(columns.label) || row.len() > most {
        return Err(format!("{} columns, and path,label[,speaker] is expected", row.len()));
    }
    let (path, label) = (&row[columns.path], &row[columns.label]);
    if path.is_empty() || label.is_empty() {
        return Err("path and label must not be empty".into());
    }
    let resolved = resolve(folder, path).ok_or_else(|| match folder.join(path) {
        link if link.is_symlink() => format!("{} is a link to a file that does not exist", link.display()),
        missing => format!("no file {}", missing.display()),
    })?;
    let speaker = columns.speaker.and_then(|at| row.get(at)).filter(|it| !it.is_empty()).map(str::to_owned);
    Ok(Clip { id: path.to_owned(), path: resolved, emotion: label.to_owned(), speaker })
}

/// Returns the file that a path names, if it exists. A path that was written on Windows has backslashes.
fn resolve(folder: &Path, path: &str) -> Option<PathBuf> {
    [path.to_owned(), path.replace('\\', "/")]
        .iter()
        .map(|path| folder.join(path))
        .find(|path| path.is_file())
}

/// Splits the clips by speaker, in an order that depends only on the speakers' names. A clip without a speaker counts as
/// a speaker of its own. With fewer than three speakers all clips are training clips.
pub(super) fn split(clips: Vec<Clip>) -> Vec<Member> {
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
