//! The packets of git's protocol in what a server says (gitprotocol-common(5), "pkt-line Format"), as
//! the bytes come.

/// Where a reader is in a stream of packets.
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
            if self.head.len() < 4 {
                break;
            }
            let length = std::str::from_utf8(&self.head).ok();
            let length = length.and_then(|digits| usize::from_str_radix(digits, 16).ok());
            self.head.clear();
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
