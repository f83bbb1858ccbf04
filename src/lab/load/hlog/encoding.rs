//! A histogram as one word: HdrHistogram's encoding V2, deflated, in base64. The older encodings V0 and V1 are read as
//! well.
//!
//! The format: two numbers (what this is, how many bytes follow), then deflated: 40 bytes of header and the counts of all
//! bins from the lowest value up. In V0 and V1 each count has a fixed number of bytes, which the first number of the header
//! tells; V0 has a shorter header.
//!
//! The crate decodes V2. It trusts its input, so the sizes are checked here before it reads them: it reserves as many bytes
//! as the header says, up to 4 GiB, and it ignores what follows the counts.

use anyhow::{Context, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{DeserializeError, Deserializer, Serializer, V2DeflateSerializer};
use std::io::Read;

/// What the outer header begins with, without the bits of [`WIDTH`]: deflated, of V0, V1 and V2.
const DEFLATED: [u32; 3] = [0x1c84_9309, 0x1c84_9302, 0x1c84_9304];
/// What the inner header begins with, in the same way.
const COUNTS: [u32; 3] = [0x1c84_9308, 0x1c84_9301, 0x1c84_9303];
/// In V0 and V1 these bits of both tell how many bytes each count has.
const WIDTH: u32 = 0xf0;
/// They are always so in what the crate reads.
const WIDTH_IN_V2: u32 = 0x10;
/// The inner header of V1 and V2.
const HEADER_BYTES: usize = 40;
/// The most bytes that one count takes.
const COUNT_BYTES: usize = 9;
/// The most bins that a histogram can have, with five digits and values up to 2^64.
const MOST_BINS: usize = 48 << 17;
/// Nine bytes of a count, the lowest of 64-bit numbers. It would stand for 2^63 bins without counts.
const LOWEST: [u8; COUNT_BYTES] = [0xff; COUNT_BYTES];

/// Encode a histogram for a log or a report.
///
/// # Panics
///
/// With more than 2^63 counts of one value.
#[must_use]
pub fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("memory takes everything, and nobody counts to 2^63");
    STANDARD.encode(bytes)
}

/// Decode a histogram, of this program or of another. It grows when others are added to it.
///
/// A histogram that cannot tell values below some unit apart becomes one that can; its values are then
/// the highest of their unit, as all figures of HdrHistogram are.
///
/// # Errors
///
/// When the text is no such encoding, or damaged, or cut off.
pub fn decoded(text: &str) -> anyhow::Result<Histogram<u64>> {
    let bytes = STANDARD.decode(text.trim()).map_err(|error| anyhow!("not base64: {error}"))?;
    let mut bytes = bytes.as_slice();
    let kind = u32::from_be_bytes(take(&mut bytes)?);
    ensure!(
        DEFLATED.contains(&(kind & !WIDTH)),
        "not an encoding that is known here: V0, V1 or V2 with deflate (it begins with {kind:#x})"
    );
    let length = u32::from_be_bytes(take(&mut bytes)?);
    ensure!(
        usize::try_from(length).is_ok_and(|length| length == bytes.len()),
        "{length} bytes should follow its header, and {} do",
        bytes.len()
    );
    let most = HEADER_BYTES + MOST_BINS * COUNT_BYTES;
    let mut inflated = Vec::new();
    // A byte more than there can be, to see it.
    ZlibDecoder::new(bytes)
        .take(most as u64 + 1)
        .read_to_end(&mut inflated)
        .context("its counts are cut off")?;
    ensure!(inflated.len() <= most, "it has more counts than fit between its bounds");
    let histogram = of_counts(&inflated)?;
    // More could not be encoded again.
    ensure!(histogram.len() <= i64::MAX.cast_unsigned(), "its counts are more than can be");
    Ok(histogram)
}

fn of_counts(inflated: &[u8]) -> anyhow::Result<Histogram<u64>> {
    let mut rest = inflated;
    let kind = u32::from_be_bytes(take(&mut rest)?);
    let version = COUNTS.iter().position(|&known| known == kind & !WIDTH);
    let version = version.with_context(|| {
        format!("not an encoding that is known here: V0, V1 or V2 (the inner one begins with {kind:#x})")
    })?;
    let (length, offset) = match version {
        0 => (None, 0),
        _ => (Some(u32::from_be_bytes(take(&mut rest)?)), u32::from_be_bytes(take(&mut rest)?)),
    };
    let digits = u32::from_be_bytes(take(&mut rest)?);
    let (low, high) = (u64::from_be_bytes(take(&mut rest)?), u64::from_be_bytes(take(&mut rest)?));
    // In the place of the ratio V0 has the number of all counts.
    let ratio = f64::from_be_bytes(take(&mut rest)?);
    ensure!(
        offset == 0 && (version == 0 || ratio == 1.0),
        "it is shifted or of fractions, and only whole numbers are known here"
    );
    ensure!(length.is_none_or(|length| rest.len() == length as usize), "its counts are cut off");
    let with_bounds = |low| {
        let digits = u8::try_from(digits).unwrap_or(u8::MAX);
        let empty = Histogram::new_with_bounds(low, high, digits);
        empty.map_err(|error| {
            anyhow!("its bounds cannot be: from {low} to {high} with {digits} digits: {error}")
        })
    };
    let empty = with_bounds(low)?;
    let read = match version {
        2 => packed(inflated, rest)?,
        _ => fixed(empty, rest, (kind & 0xe0) as usize >> 4)?,
    };
    let mut histogram = with_bounds(1)?;
    histogram.auto(true);
    for bin in read.iter_recorded() {
        histogram.record_n(bin.value_iterated_to(), bin.count_at_value())?;
    }
    Ok(histogram)
}

/// As the crate decodes V2.
fn packed(inflated: &[u8], counts: &[u8]) -> anyhow::Result<Histogram<u64>> {
    // The crate negates it, which overflows.
    let is_absurd = counts.windows(LOWEST.len()).any(|bytes| bytes == LOWEST);
    ensure!(!is_absurd, "it has counts beyond its bounds");
    let kind = (COUNTS[2] | WIDTH_IN_V2).to_be_bytes();
    let decoded = Deserializer::new().deserialize(&mut kind.chain(&inflated[kind.len()..]));
    decoded.map_err(|error| match error {
        DeserializeError::IoError(_) => anyhow!("its last count is cut off"),
        _ => anyhow!("it has counts beyond its bounds"),
    })
}

/// As V0 and V1 lay them out: `width` bytes for each count.
fn fixed(mut empty: Histogram<u64>, counts: &[u8], width: usize) -> anyhow::Result<Histogram<u64>> {
    ensure!(matches!(width, 2 | 4 | 8), "its counts have {width} bytes each, which cannot be");
    ensure!(counts.len().is_multiple_of(width), "its last count is cut off");
    ensure!(counts.len() / width <= empty.distinct_values(), "it has counts beyond its bounds");
    let bins: Vec<_> = empty.iter_all().map(|bin| bin.value_iterated_to()).collect();
    for (value, word) in bins.into_iter().zip(counts.chunks(width)) {
        let count = word.iter().fold(0, |count: u64, &byte| count << 8 | u64::from(byte));
        empty.record_n(value, count)?;
    }
    Ok(empty)
}

fn take<const N: usize>(bytes: &mut impl Read) -> anyhow::Result<[u8; N]> {
    let mut taken = [0; N];
    bytes.read_exact(&mut taken).context("its header is cut off")?;
    Ok(taken)
}
