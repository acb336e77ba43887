//! Files that users reported to other projects. The folder `shared/cases/audio` holds one of each kind where it is present; the
//! other tests make the same kinds themselves.

use std::path::{Path, PathBuf};

use affectd::audio::FileProblem;

use crate::both_ways::decode_file;

/// What a file is read as.
enum Right {
    /// Samples per channel at a rate.
    Frames(usize, u32),
    /// As many samples, give or take the delay of an encoder.
    About(usize, u32),
    /// A refusal whose message contains a text.
    Refused(&'static str),
}
use Right::{About, Frames, Refused};

/// The right reading of every file.
const CASES: [(&str, Right); 56] = [
    ("vbr_pipe_16k.mp3", About(417_600, 16_000)),
    ("vbr_no_xing.mp3", About(55_872, 16_000)),
    ("concat_first_tag.mp3", About(96_239, 16_000)),
    ("concat_tags.mp3", About(96_815, 16_000)),
    ("crc_xing_frames_less.mp3", Frames(54_400, 16_000)),
    ("vbri_half.mp3", Frames(55_872, 16_000)),
    ("opus_granule_0.opus", About(163_000, 48_000)),
    ("opus_granule_16k.opus", About(163_000, 48_000)),
    ("opus_no_granule_mid.opus", About(163_000, 48_000)),
    ("pcm24_align4.wav", Frames(32_000, 16_000)),
    ("id3v1_end_total_0.flac", Frames(54_400, 16_000)),
    ("len_2e9.wav", Frames(54_400, 16_000)),
    ("len_arecord.wav", Frames(54_400, 16_000)),
    ("len_ffdb.wav", Frames(54_400, 16_000)),
    ("len_u8_2e9.wav", Frames(54_400, 16_000)),
    ("len_data_0.wav", Frames(54_400, 16_000)),
    ("len_data_0_riff36.wav", Frames(54_400, 16_000)),
    ("len_u8_data_0.wav", Frames(54_400, 16_000)),
    ("len_header_off_by_44.wav", Frames(54_400, 16_000)),
    ("len_ffmpeg_pipe_u8.wav", Frames(24_000, 16_000)),
    ("len_ffmpeg_pipe_f64.wav", Frames(24_000, 16_000)),
    ("len_ffmpeg_pipe_ima.wav", Frames(24_492, 16_000)),
    ("len_ffmpeg_pipe_ms.wav", Frames(24_432, 16_000)),
    ("len_riff_0_u8.wav", Frames(54_400, 16_000)),
    ("len_riff_short8_u8.wav", Frames(54_400, 16_000)),
    ("vorbis_no_eos.ogg", Frames(54_784, 16_000)),
    ("id3v1_end.flac", Frames(54_400, 16_000)),
    ("total_more_1.flac", Frames(54_400, 16_000)),
    ("minblock_0.flac", Frames(54_400, 16_000)),
    ("minblock_16.flac", Frames(54_400, 16_000)),
    ("crc_xing_frames_0.mp3", Frames(54_767, 16_000)),
    ("head_zeros.mp3", Frames(55_872, 16_000)),
    ("head_text.mp3", Frames(55_872, 16_000)),
    ("head_half_frame.mp3", Frames(50_112, 16_000)),
    ("pcm12_align2.wav", Frames(54_400, 16_000)),
    ("pcm20_align3.wav", Frames(32_000, 16_000)),
    ("rf64.wav", Frames(54_400, 16_000)),
    ("rifx.wav", Frames(54_400, 16_000)),
    ("w64.wav", Frames(54_400, 16_000)),
    ("caf_named.wav", Frames(54_400, 16_000)),
    ("nist_sphere.wav", Frames(54_400, 16_000)),
    ("browser.webm", About(163_000, 48_000)),
    ("voice_memo.m4a", Frames(55_296, 16_000)),
    ("adts.aac", Frames(56_320, 16_000)),
    ("chained_opus.opus", About(326_000, 48_000)),
    ("codec_mp3.wav", Frames(55_872, 16_000)),
    ("layer2.mp3", Frames(110_592, 44_100)),
    ("codec_gsm.wav", Refused("GSM 6.10 in WAV")),
    ("codec_g722.wav", Refused("G.722 in WAV")),
    ("codec_g726.wav", Refused("G.726 ADPCM in WAV")),
    ("speex.ogg", Refused("Speex in Ogg")),
    ("free_format.mp3", Refused("free bit rate")),
    ("mono_then_stereo.mp3", Refused("changes within the file")),
    ("lfs_pointer.wav", Refused("git lfs pull")),
    ("call_busy.wav", Frames(64_000, 8_000)),
    ("call_dtmf.wav", Frames(38_400, 8_000)),
];

/// The folder of the files; `AFFECTD_CASES` overrides it.
fn folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/audio");
    std::env::var_os("AFFECTD_CASES").map_or_else(default, PathBuf::from)
}

#[test]
fn every_case_is_read_right_or_refused_by_name() {
    let folder = folder();
    if !folder.exists() {
        println!("did not run: {} is not there", folder.display());
        return;
    }
    let mut wrong = Vec::new();
    for (name, right) in CASES {
        let read = decode_file(folder.join(name));
        let found = match &read {
            Ok(recording) => format!("{} at {}", recording.channels[0].len(), recording.sample_rate_hz),
            Err(error) => error.problem.to_string(),
        };
        println!("{name}: {found}");
        let is_right = match (right, &read) {
            (Frames(frames, rate), Ok(read)) => {
                (read.channels[0].len(), read.sample_rate_hz) == (frames, rate)
            }
            // Two frames of MP3, or as long a part of another rate.
            (About(frames, rate), Ok(read)) => {
                read.sample_rate_hz == rate
                    && read.channels[0].len().abs_diff(frames) <= 2 * 576 * rate as usize / 16_000
            }
            (Refused(text), Err(error)) => error.problem.to_string().contains(text),
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let problem = decode_file(folder.join("lfs_pointer.wav")).unwrap_err().problem;
    assert_eq!(problem, FileProblem::LfsPointer);
}
