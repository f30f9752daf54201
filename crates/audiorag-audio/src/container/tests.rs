//! What opening a recording costs, and its errors.

use super::*;
use std::io::Write as _;

#[test]
fn a_panic_becomes_an_error_of_the_file() {
    let name = FileName::new(Path::new("/x/talk.mp3"), Stage::Split);
    let error = guarded(&name, "decoding", || panic!("index out of range")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(error.stage(), Some(Stage::Split));
    assert_eq!(
        error.to_string(),
        "talk.mp3 broke the decoder while decoding (panic: index out of range)"
    );
}

#[test]
fn shapes_are_bounded() {
    let name = FileName::new(Path::new("a"), Stage::Probe);
    let limits = Limits::default();
    assert!(check_shape(16_000, 8, &name, &limits).is_ok());
    assert!(check_shape(1, 1, &name, &limits).is_err());
    assert!(check_shape(4_000_000_000, 1, &name, &limits).is_err());
    assert!(check_shape(48_000, 65, &name, &limits).is_err());
}

#[test]
fn seconds_read_well() {
    assert_eq!(seconds(61_400_000_000), "61");
    assert_eq!(seconds(1_250_000_000), "1.2");
}

#[test]
fn codecs_have_names() {
    assert_eq!(codec_name(codec::CODEC_ID_MP3), "mp3");
    assert_eq!(codec_name(codec::CODEC_ID_OPUS), "opus");
    assert_eq!(codec_name(AudioCodecId::default()), "unknown");
}

/// A stream of frames of silence, MPEG-2 layer III, 8 kbit/s at 16 kHz: 36 bytes for 36 ms. The first may count them.
fn half_a_day(is_counted: bool) -> tempfile::NamedTempFile {
    const FRAMES: u32 = 12 * 3600 * 1000 / 36;
    let mut frame = vec![0xff, 0xf3, 0x18, 0xc4];
    frame.resize(36, 0);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut first = frame.clone();
    if is_counted {
        // Behind nine bytes of side information: the number of frames is given, and what it is.
        first[13..17].copy_from_slice(b"Xing");
        first[17..21].copy_from_slice(&1_u32.to_be_bytes());
        first[21..25].copy_from_slice(&FRAMES.to_be_bytes());
    }
    file.write_all(&first).unwrap();
    let block = frame.repeat(10_000);
    for _ in 0..FRAMES / 10_000 {
        file.write_all(&block).unwrap();
    }
    file
}

#[test]
fn half_a_day_of_mp3_is_probed_by_its_beginning_and_its_end() {
    for is_counted in [true, false] {
        let file = half_a_day(is_counted);
        let opened = open(file.path(), &DecodeOptions::default(), Stage::Probe).unwrap();
        let seconds = opened.media.duration.unwrap().as_seconds_f64();
        assert!((seconds - 12.0 * 3600.0).abs() < 2.0, "{is_counted}: {seconds}");
        let read = opened.patience.bytes_read();
        assert!(read < 1 << 20, "{is_counted}: {read}");
    }
}
