//! The packets of git's protocol (gitprotocol-common(5), "pkt-line Format"): four hexadecimal digits of
//! length, themselves included, and as many bytes. `0000` to `0003` have a meaning instead of content.

/// The longest packet, its length included.
pub const LONGEST: usize = 65_520;

/// A packet with `line`, as far as one takes it.
pub fn packet(line: &str) -> Vec<u8> {
    let fits = |end: &usize| line.is_char_boundary(*end);
    let end = (0..=line.len().min(LONGEST - 4)).rev().find(fits);
    let line = &line[..end.unwrap_or(0)];
    format!("{:04x}{line}", line.len() + 4).into_bytes()
}

/// The length that four digits say.
pub fn length(digits: [u8; 4]) -> Option<usize> {
    let digits = str::from_utf8(&digits).ok()?;
    // `from_str_radix` takes a sign too.
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    usize::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// The length and the content of the packet that `bytes` begin with, and what stands behind it; `None`
/// where it is not whole, or no packet.
pub fn split(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<4>()?;
    let length = length(*digits)?;
    let (content, rest) = rest.split_at_checked(length.saturating_sub(4))?;
    Some((length, content, rest))
}

/// Where a reader of a server's answer is in its packets, as the bytes come.
#[derive(Debug, Default)]
pub struct Packets {
    /// The length of the next packet, as far as its four digits have come.
    head: Vec<u8>,
    /// Bytes of the current packet that are still to come.
    left: usize,
}

impl Packets {
    /// Reads on with `bytes`; where in them the first flush packet (`0000`) begins. One whose own bytes
    /// come apart is passed over.
    pub fn flush(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut found = None;
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let part = self.left.min(bytes.len() - at);
                (at, self.left) = (at + part, self.left - part);
                continue;
            }
            let start = self.head.is_empty().then_some(at);
            let digits = (4 - self.head.len()).min(bytes.len() - at);
            self.head.extend_from_slice(&bytes[at..at + digits]);
            at += digits;
            let Ok(digits) = <[u8; 4]>::try_from(&self.head[..]) else {
                break;
            };
            self.head.clear();
            let length = length(digits);
            // 0001 to 0003 have no content either; what is no length is no packet.
            self.left = length.unwrap_or(0).saturating_sub(4);
            if length == Some(0) && found.is_none() {
                found = start;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_four_digits_and_no_sign() {
        assert_eq!(length(*b"00fF"), Some(255));
        for bad in [b"+0ff", b"-001", b" 0ff", b"zzzz"] {
            assert_eq!(length(*bad), None);
        }
        assert_eq!(split(b"0007abcrest"), Some((7, &b"abc"[..], &b"rest"[..])));
        assert_eq!(split(b"0000rest"), Some((0, &b""[..], &b"rest"[..])));
        assert_eq!(split(b"0007ab"), None);
        let long = packet(&"ä".repeat(60_000));
        assert_eq!(
            long.first_chunk().copied().and_then(length),
            Some(long.len())
        );
    }

    #[test]
    fn a_flush_packet_is_found_however_the_stream_is_cut() {
        let stream = b"000eversion 1\n0009\x0200000006\x01x0000";
        let at = stream.len() - 4;
        for cut in 0..stream.len() {
            let mut packets = Packets::default();
            let (first, second) = stream.split_at(cut);
            let found = [
                packets.flush(first),
                packets.flush(second).map(|at| at + cut),
            ];
            let expected = if cut > at { None } else { Some(at) };
            assert_eq!(found[0].or(found[1]), expected, "{cut}");
        }
    }
}
