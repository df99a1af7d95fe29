//! Shifted runs of UTF-7 (RFC 2152): `+`, base64 of UTF-16, and mostly `-`.

/// The ASCII text that the run at the start of `text` stands for, and how long it is.
pub(crate) fn run(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    // The upper half of a character of ASCII is zero.
    let [b'+', b'A', ..] = text else { return None };
    let (mut units, mut bits, mut held) = (Vec::new(), 0, 0_u32);
    let mut at = 1;
    while let Some(digit) = text.get(at).and_then(|&byte| digit(byte)) {
        held = held << 6 | digit;
        bits += 6;
        at += 1;
        if bits >= 16 {
            bits -= 16;
            let unit = u8::try_from(held >> bits).ok();
            units.push(unit.filter(|unit| matches!(unit, 0x20..=0x7e))?);
            held &= (1 << bits) - 1;
        }
    }
    let length = at + usize::from(text.get(at) == Some(&b'-'));
    (!units.is_empty() && held == 0 && bits < 6).then_some((units, length))
}

fn digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}
