//! The forms in which a text may hold a secret.

use crate::scan::gitleaks::RawFinding;

/// The forms in which the text around `raw`'s secret may hold it: as it is; where gitleaks decoded
/// it, besides as base64, hexadecimal, percent or unicode escapes.
pub fn forms(raw: &RawFinding) -> Vec<Vec<u8>> {
    let secret = raw.secret.as_bytes();
    let mut forms = vec![secret.to_vec()];
    if raw.decoded {
        let each = |write: fn(&u8) -> String| secret.iter().map(write).collect::<String>();
        let escapes = [
            each(|b| format!("{b:02x}")),
            each(|b| format!("{b:02X}")),
            each(|b| format!("%{b:02x}")),
            each(|b| format!("%{b:02X}")),
            each(|b| format!("\\u{b:04x}")),
            each(|b| format!("\\u{b:04X}")),
        ];
        forms.extend(escapes.map(String::into_bytes));
        for last in [b"+/", b"-_"] {
            forms.extend((0..3).map(|shift| base64(secret, shift, last)));
        }
    }
    forms
}

/// The digits of base64 that `secret` alone decides, where `shift` bytes stand in front of it in its
/// group of three. `last` are the last two digits of the alphabet.
fn base64(secret: &[u8], shift: usize, last: &[u8; 2]) -> Vec<u8> {
    let digits: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(*last)
        .collect();
    let bit = |at: usize| usize::from(secret[at / 8 - shift] >> (7 - at % 8) & 1);
    let value = |digit: usize| (6 * digit..6 * digit + 6).fold(0, |value, at| value << 1 | bit(at));
    let whole = (8 * shift).div_ceil(6)..8 * (shift + secret.len()) / 6;
    whole.map(|digit| digits[value(digit)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_three_forms_in_base64() {
        // printf xxsecret | base64, with no, one and two letters in front.
        let forms = [0, 1, 2].map(|shift| base64(b"secret?>", shift, b"+/"));
        assert_eq!(
            forms,
            [b"c2VjcmV0Pz" as &[u8], b"NlY3JldD8+", b"zZWNyZXQ/P"]
        );
        assert_eq!(base64(b"secret?>", 1, b"-_"), b"NlY3JldD8-");
    }
}
