//! Decodes files at once, block by block, and from disk, and compares the three: the other tests of files check all with it.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use affectd::audio::{self, AudioFile, DecodeLimit, FileError, MAX_CLIENT_SAMPLES, Recording};

/// Decodes as [`audio::decode_bytes`] does.
pub fn decode_bytes(bytes: impl AsRef<[u8]>, name: Option<&str>) -> Result<Recording, FileError> {
    let bytes = bytes.as_ref();
    let limit = DecodeLimit::samples(MAX_CLIENT_SAMPLES);
    let file = AudioFile::new(bytes.to_vec().into(), name.unwrap_or("file"), &limit);
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(bytes).unwrap();
    let from_disk = AudioFile::open(on_disk.path());
    match (&file, from_disk) {
        (Ok(file), Ok(from_disk)) => assert_eq!(joined(file), joined(&from_disk)),
        (Err(error), Err(from_disk)) => assert_eq!(error.problem.to_string(), from_disk.problem.to_string()),
        (file, from_disk) => panic!("in memory {:?}, from disk {from_disk:?}", file.as_ref().err()),
    }
    compared(audio::decode_bytes(bytes.to_vec(), name), file)
}

/// Decodes as [`audio::decode_file`] does.
pub fn decode_file(path: impl AsRef<Path>) -> Result<Recording, FileError> {
    compared(audio::decode_file(&path), AudioFile::open(&path))
}

fn compared(
    at_once: Result<Recording, FileError>,
    in_blocks: Result<AudioFile, FileError>,
) -> Result<Recording, FileError> {
    match (&at_once, in_blocks) {
        (Ok(at_once), Ok(in_blocks)) => {
            assert_eq!(in_blocks.frames(), at_once.channels[0].len());
            assert_eq!(&joined(&in_blocks), at_once);
        }
        // A value that is no number is unlike itself.
        (Err(at_once), Err(in_blocks)) => assert_eq!(in_blocks.to_string(), at_once.to_string()),
        (at_once, in_blocks) => panic!("at once {:?}, in blocks {in_blocks:?}", at_once.as_ref().err()),
    }
    at_once
}

/// Joins the blocks of a file.
fn joined(file: &AudioFile) -> Recording {
    let mut channels = vec![Vec::new(); file.channels()];
    let decoded = file.decode(&mut |block| {
        assert_eq!(block.len(), channels.len());
        channels.iter_mut().zip(block).for_each(|(channel, block)| channel.extend_from_slice(block));
        ControlFlow::Continue(())
    });
    decoded.unwrap();
    Recording { sample_rate_hz: file.sample_rate_hz(), channels }
}
