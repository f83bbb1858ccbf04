//! A histogram as one word: HdrHistogram's encoding V2, deflated, in base64. The older encodings V0 and V1 are read as
//! well.
//!
//! The crate encodes, but decoding is done here. Its `Deserializer` computes `f64::log2` of bounds that
//! it has just read, which would make libm a dynamic dependency of the program and cost memory in every
//! server that `compare` weighs; and it reserves as much memory as a damaged header asks for.
//!
//! The format: two numbers (what this is, how many bytes follow), then deflated: 40 bytes of header
//! and the counts of all bins from the lowest value up, where -3 stands for three bins without any. In V0 and V1 each
//! count has a fixed number of bytes, which the first number of the header tells; V0 has a shorter header.

use anyhow::{Context, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use std::io::Read;

/// What the outer header begins with, without the bits of [`WIDTH`]: deflated, of V0, V1 and V2.
const DEFLATED: [u32; 3] = [0x1c84_9309, 0x1c84_9302, 0x1c84_9304];
/// What the inner header begins with, in the same way.
const COUNTS: [u32; 3] = [0x1c84_9308, 0x1c84_9301, 0x1c84_9303];
/// In V0 and V1 these bits of both tell how many bytes each count has.
const WIDTH: u32 = 0xf0;
/// The most bytes that one count takes.
const LONGEST_COUNT: usize = 9;
/// The most digits of precision that a histogram may have.
const MOST_DIGITS: u32 = 5;

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
    inflated(ZlibDecoder::new(bytes))
}

fn inflated(mut bytes: impl Read) -> anyhow::Result<Histogram<u64>> {
    let kind = u32::from_be_bytes(take(&mut bytes)?);
    let version = COUNTS.iter().position(|&known| known == kind & !WIDTH);
    let version = version.with_context(|| {
        format!("not an encoding that is known here: V0, V1 or V2 (the inner one begins with {kind:#x})")
    })?;
    let (length, offset) = match version {
        0 => (None, 0),
        _ => (Some(u32::from_be_bytes(take(&mut bytes)?)), u32::from_be_bytes(take(&mut bytes)?)),
    };
    let digits = u32::from_be_bytes(take(&mut bytes)?);
    let (low, high) = (u64::from_be_bytes(take(&mut bytes)?), u64::from_be_bytes(take(&mut bytes)?));
    // In the place of the ratio V0 has the number of all counts.
    let ratio = f64::from_be_bytes(take(&mut bytes)?);
    ensure!(
        offset == 0 && (version == 0 || ratio == 1.0),
        "it is shifted or of fractions, and only whole numbers are known here"
    );
    let bins = Bins::new(low, high, digits)?;
    let most = bins.number * LONGEST_COUNT;
    let mut counts = Vec::new();
    // A byte more than there can be, to see it.
    bytes
        .take(length.map_or(most as u64 + 1, u64::from).min(most as u64 + 1))
        .read_to_end(&mut counts)
        .context("its counts are cut off")?;
    ensure!(counts.len() <= most, "it has more counts than fit between its bounds");
    ensure!(length.is_none_or(|length| counts.len() == length as usize), "its counts are cut off");
    let counts = match version {
        2 => Counts::Packed(&counts),
        _ => Counts::Fixed(&counts, (kind & 0xe0) as usize >> 4),
    };
    filled(empty(high, digits), &bins, counts)
}

/// The counts of all bins, in the way of the version.
enum Counts<'a> {
    Packed(&'a [u8]),
    /// So many bytes each: 2, 4 or 8.
    Fixed(&'a [u8], usize),
}

impl Counts<'_> {
    /// The next count, or how many bins without any come, as a negative number; `None` at the end.
    fn next(&mut self) -> anyhow::Result<Option<i64>> {
        match self {
            Counts::Packed([]) | Counts::Fixed([], _) => Ok(None),
            Counts::Packed(bytes) => number(bytes).context("its last count is cut off").map(Some),
            Counts::Fixed(bytes, width) => {
                ensure!(matches!(width, 2 | 4 | 8), "its counts have {width} bytes each, which cannot be");
                let (word, rest) = bytes.split_at_checked(*width).context("its last count is cut off")?;
                *bytes = rest;
                let count = word.iter().fold(0, |count: u64, &byte| count << 8 | u64::from(byte));
                Ok(Some(i64::try_from(count).context("its counts are more than can be")?))
            }
        }
    }
}

fn take<const N: usize>(bytes: &mut impl Read) -> anyhow::Result<[u8; N]> {
    let mut taken = [0; N];
    bytes.read_exact(&mut taken).context("its header is cut off")?;
    Ok(taken)
}

/// A histogram without counts, that grows.
///
/// A call for each precision, all with constants: the crate takes logarithms of the lowest value and of
/// the precision, and only of constants can the compiler take them, so that libm is not needed.
fn empty(high: u64, digits: u32) -> Histogram<u64> {
    let mut empty = match digits {
        0 => Histogram::new_with_bounds(1, high, 0),
        1 => Histogram::new_with_bounds(1, high, 1),
        2 => Histogram::new_with_bounds(1, high, 2),
        3 => Histogram::new_with_bounds(1, high, 3),
        4 => Histogram::new_with_bounds(1, high, 4),
        _ => Histogram::new_with_bounds(1, high, 5),
    }
    .expect("bounds that were checked");
    empty.auto(true);
    empty
}

fn filled(
    mut histogram: Histogram<u64>,
    bins: &Bins,
    mut counts: Counts<'_>,
) -> anyhow::Result<Histogram<u64>> {
    let (mut bin, mut all) = (0_usize, 0_i64);
    while let Some(count) = counts.next()? {
        let bins_taken = if count < 0 { count.unsigned_abs() } else { 1 };
        if count > 0 {
            all = all.checked_add(count).context("its counts are more than can be")?;
            let value = bins.highest(bin).context("it has counts beyond its bounds")?;
            histogram.record_n(value, count.cast_unsigned()).map_err(|error| anyhow!("{error}"))?;
        }
        bin = usize::try_from(bins_taken).ok().and_then(|taken| bin.checked_add(taken)).unwrap_or(usize::MAX);
        ensure!(bin <= bins.number, "it has counts beyond its bounds");
    }
    Ok(histogram)
}

/// The next number: seven bits a byte, the lowest first, as long as the eighth bit says that more
/// follow; all eight of the ninth byte. The lowest bit is the sign.
fn number(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0;
    for place in 0..LONGEST_COUNT {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let is_last = place == LONGEST_COUNT - 1;
        let bits = if is_last { byte } else { byte & 0x7f };
        number |= u64::from(bits) << (7 * place);
        if is_last || byte & 0x80 == 0 {
            break;
        }
    }
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Which values the bins of an encoded histogram stand for.
struct Bins {
    /// Values below 2 to this power are not told apart.
    unit: u32,
    /// The lowest bucket has 2 to this power bins, each other one half of that.
    in_bucket: u32,
    number: usize,
}

impl Bins {
    fn new(low: u64, high: u64, digits: u32) -> anyhow::Result<Bins> {
        let bounds_are_right = low >= 1 && low.checked_mul(2).is_some_and(|least| high >= least);
        if digits > MOST_DIGITS || !bounds_are_right {
            bail!("its bounds cannot be: from {low} to {high} with {digits} digits");
        }
        let unit = low.ilog2();
        // Steps of one up to 2 * 10^digits, and a power of two.
        let in_bucket = (2 * 10_u32.pow(digits)).next_power_of_two().ilog2();
        let buckets = (u64::BITS - high.leading_zeros()).saturating_sub(unit + in_bucket) + 1;
        Ok(Bins { unit, in_bucket, number: (buckets as usize + 1) << (in_bucket - 1) })
    }

    /// The highest value that is counted in this bin.
    fn highest(&self, bin: usize) -> Option<u64> {
        let half = 1 << (self.in_bucket - 1);
        // The lowest bucket has both halves, the others only the upper one.
        let bucket = (bin / half).saturating_sub(1);
        let place = bin - bucket * half;
        let shift = u32::try_from(bucket).ok()?.checked_add(self.unit)?;
        // The last bin may end where u64 does.
        u64::try_from((place as u128 + 1).checked_shl(shift)? - 1).ok()
    }
}
