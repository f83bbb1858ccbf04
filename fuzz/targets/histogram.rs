//! An encoded histogram, from the outside and below the layers of base64 and deflate.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use io_models::lab::load::hgrm;
use io_models::lab::load::hlog::{decoded, encoded, read};
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let text = match kind % 4 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        1 => STANDARD.encode(rest),
        _ => STANDARD.encode(deflated(kind % 3, rest)),
    };
    read(format!("0,1,1,{text}\n").as_bytes()).ok();
    let Ok(histogram) = decoded(&text) else { return };
    let again = decoded(&encoded(&histogram)).expect("our own encoding");
    assert_eq!(again, histogram);
    assert!(hgrm::text(&histogram, 1e6).contains("#[Mean"));
});

/// In the outer layer of V0, V1 or V2.
fn deflated(version: u8, counts: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(counts).expect("memory takes everything");
    let deflated = encoder.finish().expect("memory takes everything");
    let kind: u32 = [0x1c84_9309, 0x1c84_9302, 0x1c84_9314][usize::from(version)];
    let length = u32::try_from(deflated.len()).expect("the fuzzer makes no such long input");
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), &deflated].concat()
}
