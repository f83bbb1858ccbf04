//! The answer of the book's server: as many bytes as the client asks for.
//!
//! A client sends a decimal number and a newline, at most 1 MiB. What is no such number gets no answer, and a client that
//! waits for one gives up. A [piece](crate::echo::Reply::Own) is taken for a whole request: one that arrives in two pieces is
//! answered wrongly, which the client notices. A request of a few bytes that is sent at once arrives at once.

/// What is sent, again and again. The number of its bytes and 251, a prime, have no common divisor with the sizes in which
/// a stream is cut, so an answer that is shifted is noticed.
const BLOCK: [u8; 251 * 16] = {
    let mut block = [0; 251 * 16];
    let mut i = 0;
    while i < block.len() {
        block[i] = (i % 251) as u8;
        i += 1;
    }
    block
};

/// The largest answer.
const MOST: usize = 1 << 20;

/// Answer a request: for [`Reply::Own`](crate::echo::Reply::Own).
pub fn as_many_bytes(request: &[u8], answer: &mut Vec<u8>) {
    let wanted = number(request).unwrap_or_default();
    while answer.len() < wanted {
        let rest = wanted - answer.len();
        answer.extend_from_slice(&BLOCK[..rest.min(BLOCK.len())]);
    }
}

/// The number in a request, if it is one, and not too large.
fn number(request: &[u8]) -> Option<usize> {
    let digits = request.strip_suffix(b"\n")?;
    // "+1" is a number to Rust.
    let digits = digits.iter().all(u8::is_ascii_digit).then(|| str::from_utf8(digits))?;
    digits.ok()?.parse().ok().filter(|&wanted| wanted <= MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: &str) -> Vec<u8> {
        let mut answer = Vec::new();
        as_many_bytes(request.as_bytes(), &mut answer);
        answer
    }

    #[test]
    fn a_number_gets_as_many_bytes_and_no_two_neighbours_are_equal() {
        for wanted in [0, 1, 4000, 4016, 4017, 20_000, MOST] {
            let answer = answer(&format!("{wanted}\n"));
            assert_eq!(answer.len(), wanted);
            assert!(answer.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn what_is_no_number_or_too_large_gets_nothing() {
        for request in [
            "",
            "\n",
            "4000",
            "+4000\n",
            "-1\n",
            "4000 \n",
            "4000\r\n",
            "1048577\n",
            "99999999999999999999\n",
        ] {
            assert_eq!(answer(request), b"", "{request:?}");
        }
    }
}
